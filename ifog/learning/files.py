"""The original files of data sets: found in a folder, checked against the published checksums, fetched where asked for."""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import hashlib
import http.client
import io
import os
import tarfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ArgumentError, ProblemError, SetupError

_PATIENCE = 30.0  # seconds without a byte
_PIECE = 1 << 16


@dataclass(frozen=True)
class Origin:
    """Where the files of a data set come from, and what is known of them."""

    name: str
    url: str
    """Before the name of the file."""
    files: Mapping[str, str | None]
    """The MD5 of each by its name; None for one of which none was published."""
    folders: tuple[str, ...] = ()
    """In which folders other tools put them."""


MNIST = Origin(
    "MNIST",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",  # the mirror that torchvision uses: the original place refuses downloads
    {
        "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
        "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
        "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
        "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
        "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
        "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
        "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
    },
    ("MNIST/raw", "raw"),
)

FASHION = Origin(
    "Fashion-MNIST",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    {
        "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
        "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
        "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
        "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
    },
    ("FashionMNIST/raw", "raw"),
)

CIFAR10 = Origin(
    "CIFAR-10",
    "https://www.cs.toronto.edu/~kriz/",
    {
        "cifar-10-python.tar.gz": "c58f30108f718f92721af3b95e74349a",
        "cifar-10-binary.tar.gz": "c32a1d4ab5d03f1284b67883e8d87530",
        "cifar-10-batches-py/data_batch_1": "c99cafc152244af753f735de768cd75f",
        "cifar-10-batches-py/data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "cifar-10-batches-py/data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "cifar-10-batches-py/data_batch_4": "634d18415352ddfa80567beed471001a",
        "cifar-10-batches-py/data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        "cifar-10-batches-py/test_batch": "40351d587109b95175f43aff81a1287e",
        "cifar-10-batches-py/batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
    },
)

CIFAR100 = Origin(
    "CIFAR-100",
    "https://www.cs.toronto.edu/~kriz/",
    {
        "cifar-100-python.tar.gz": "eb9058c3a382ffc7106e4002c42a8d85",
        "cifar-100-binary.tar.gz": "03b5dce01913d631647c71ecec9e9cb8",
        "cifar-100-python/train": "16019d7e3df5f24257cddd939b257f8d",
        "cifar-100-python/test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
        "cifar-100-python/meta": "7973b15100ade9c7d40fb424638fde48",
    },
)


class Files:
    """The files of one origin in a folder of the user's."""

    def __init__(self, origin: Origin, folder: Any, *, download: bool, verify: bool) -> None:
        try:
            self.folder = Path(folder).expanduser()
        except TypeError:
            raise ArgumentError(
                f"folder={folder!r}: give the name of the folder where the files of {origin.name} are"
            ) from None
        if self.folder.exists() and not self.folder.is_dir():
            raise ArgumentError(f"folder={str(folder)!r}: it is a file, and must be the folder where it is")
        self.origin, self.download, self.verify = origin, download, verify

    def find(self, name: str) -> Path | None:
        """Where the file is: in the folder itself, or where other tools put it."""
        places = [self.folder / inside / name for inside in ("", *self.origin.folders)]
        if "/" in name:
            places.append(self.folder / Path(name).name if self.folder.name == Path(name).parent.name else places[0])
        return next((place for place in places if place.is_file()), None)

    def get(self, name: str, *instead: str) -> tuple[str, bytes, Path]:
        """The first of these files that is there, whole and checked; if none is, the first of them is fetched."""
        for wanted in (name, *instead):
            if path := self.find(wanted):
                return wanted, self.read(path, wanted), path
        if not self.download:
            raise self.missing(name, *instead)
        path = self.folder / name
        fetch(self.origin.url + name, path, self.origin.files[name])
        return name, self.read(path, name), path

    def missing(self, *names: str) -> SetupError:
        """There are none of these."""
        return SetupError(
            f"{' or '.join(names)} is not in {self.folder}: put the original files of {self.origin.name} there, or say "
            "download=True. The digits, ifog.learning.data.digits(), need no files"
        )

    def read(self, path: Path, name: str) -> bytes:
        """All of the file, unpacked if it is one that was packed alone.

        It is the published one, unless nothing is known of it or nothing is to be verified.
        """
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ProblemError(f"{path}: it cannot be read: {error.strerror}") from error
        if name.removesuffix(".gz") in self.origin.files:  # what is inside counts: some have packed it anew
            content, name = unzipped(content, path) if name.endswith(".gz") else content, name.removesuffix(".gz")
        wanted = self.origin.files.get(name)
        if self.verify and wanted is not None and (found := digest(content)) != wanted:
            raise ProblemError(
                f"{path}: its MD5 is {found}, and that of the published file is {wanted}: it is damaged or another file. "
                "Delete it and fetch it again, with download=True for example; or say verify=False, if it is meant to differ"
            )
        return content


def digest(content: bytes) -> str:
    """The MD5, which is what is published; it finds damage, not bad will."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def unzipped(content: bytes, path: Path) -> bytes:
    """What is in a .gz file, all of it."""
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise ProblemError(f"{path}: it cannot be unpacked, because it is truncated or damaged: {error}") from error


def members(content: bytes, wanted: Collection[str], path: Path) -> dict[str, bytes]:
    """Some files of a .tar.gz file, all of each. Nothing is written anywhere."""
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(unzipped(content, path)), mode="r:") as archive:
            for member in archive:
                name = member.name.removeprefix("./")
                if name in wanted and (file := archive.extractfile(member)):
                    found[name] = file.read()
    except (OSError, tarfile.TarError) as error:
        raise ProblemError(f"{path}: it cannot be unpacked, because it is truncated or damaged: {error}") from error
    if left := sorted(set(wanted) - found.keys()):
        raise ProblemError(f"{path}: {', '.join(left)} is not in it: it is truncated or another file")
    return found


# ---- fetching ------------------------------------------------------------------------------------------------------------


def fetch(url: str, path: Path, wanted: str | None) -> None:
    """The file, once: processes that want it at the same time wait for the one that began. There is all of it, or nothing."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _alone(path.parent):
            if path.is_file():
                return
            part = path.with_name(path.name + ".part")
            try:
                content = _fetched(url, path.name)
                if wanted is not None and (found := digest(content)) != wanted:
                    raise ProblemError(
                        f"what came from {url} has the MD5 {found}, and the published file {wanted}: nothing was kept. "
                        f"Try again later, or get it elsewhere and put it into {path.parent}"
                    )
                part.write_bytes(content)
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)
    except (OSError, http.client.HTTPException) as error:  # URLError and time-outs are among the first
        reason = getattr(error, "reason", None) or error
        if isinstance(error, urllib.error.HTTPError):
            reason = str(error)
            error.close()
        raise SetupError(
            f"{path.name} could not be downloaded from {url}: {reason}. Without internet, get it elsewhere and put it into "
            f"{path.parent}; or take the digits, ifog.learning.data.digits(), which need no files"
        ) from error


def _fetched(url: str, name: str) -> bytes:
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    content = io.BytesIO()
    with urllib.request.urlopen(url, timeout=_PATIENCE) as answer, Progress(*columns) as progress:
        total = int(answer.headers["Content-Length"]) if answer.headers["Content-Length"] else None
        task = progress.add_task(name, total=total)
        while piece := answer.read(_PIECE):
            content.write(piece)
            progress.update(task, advance=len(piece))
    if total is not None and content.tell() != total:
        raise ConnectionError(f"the connection ended after {content.tell():,} of {total:,} bytes")
    return content.getvalue()


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Held by one process at a time. It ends with the process, whatever becomes of that."""
    held = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


Reader = Callable[[str], tuple[bytes, str]]
"""By the name of a file: all of it, and what to call it in an error."""
