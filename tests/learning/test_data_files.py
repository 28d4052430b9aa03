"""The files of MNIST and CIFAR, small ones made as the published descriptions say, byte by byte."""

import gzip
import hashlib
import http.server
import io
import os
import pickle
import shutil
import socket
import struct
import tarfile
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from ifog.errors import ArgumentError, ProblemError, SetupError
from ifog.learning import data, files

R = np.random.default_rng(0)
CLASSES = {"cifar10": 10, "cifar100": 100}


# ---- making files, not with what reads them --------------------------------------------------------------------------------


def idx(array):
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def python2_string(text):
    content = text if isinstance(text, bytes) else text.encode()
    return b"U" + bytes([len(content)]) + content if len(content) < 256 else b"T" + struct.pack("<i", len(content)) + content


def python2_int(value):
    return b"K" + bytes([value]) if value < 256 else b"J" + struct.pack("<i", value)


def python2_array(array):
    """As NumPy 1 wrote one in Python 2: _reconstruct(ndarray, (0,), 'b') and then its state."""
    dtype = (
        b"cnumpy\ndtype\n"
        + python2_string("u1")
        + b"K\x00K\x01\x87R(K\x03"
        + python2_string("|")
        + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    )
    empty = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + python2_string("b") + b"\x87R"
    shape = b"".join(map(python2_int, array.shape)) + (b"\x86" if array.ndim == 2 else b"\x85")
    return empty + b"(K\x01" + shape + dtype + b"\x89" + python2_string(array.tobytes()) + b"tb"


def python2_list(items):
    return b"](" + b"".join(items) + b"e"


def python2_dict(**items):
    return b"\x80\x02}(" + b"".join(python2_string(key) + value for key, value in items.items()) + b"u."


def pixels(n):
    return R.integers(256, size=(n, 3, 32, 32), dtype=np.uint8)


def cifar10_python(x, y, names):
    batches = [
        (f"data_batch_{i + 1}", *part)
        for i, part in enumerate(zip(np.array_split(x[:-2], 5), np.array_split(y[:-2], 5), strict=True))
    ]
    made = {
        f"cifar-10-batches-py/{name}": python2_dict(
            batch_label=python2_string("a batch"),
            labels=python2_list(map(python2_int, labels)),
            data=python2_array(pictures.reshape(len(labels), -1)),
        )
        for name, pictures, labels in [*batches, ("test_batch", x[-2:], y[-2:])]
    }
    meta = python2_dict(num_vis=python2_int(3072), label_names=python2_list(map(python2_string, names)))
    return {"cifar-10-batches-py/batches.meta": meta, **made}


def cifar10_binary(x, y, names):
    def records(x, y):
        return b"".join(bytes([label]) + picture.tobytes() for picture, label in zip(x, y, strict=True))

    parts = zip(np.array_split(x[:-2], 5), np.array_split(y[:-2], 5), strict=True)
    made = {f"cifar-10-batches-bin/data_batch_{i + 1}.bin": records(*part) for i, part in enumerate(parts)}
    made["cifar-10-batches-bin/test_batch.bin"] = records(x[-2:], y[-2:])
    return {**made, "cifar-10-batches-bin/batches.meta.txt": ("\n".join(names) + "\n\n").encode()}


def cifar100_python(x, y, names):
    def batch(x, y):  # as Python 3 writes it, too
        return pickle.dumps(
            {b"fine_labels": y.tolist(), b"coarse_labels": (y // 5).tolist(), b"data": x.reshape(len(y), -1)}, 2
        )

    coarse = [f"group {i}" for i in range(20)]
    meta = pickle.dumps(
        {b"fine_label_names": [name.encode() for name in names], b"coarse_label_names": [c.encode() for c in coarse]}, 2
    )
    return {
        "cifar-100-python/train": batch(x[:-2], y[:-2]),
        "cifar-100-python/test": batch(x[-2:], y[-2:]),
        "cifar-100-python/meta": meta,
    }


def cifar100_binary(x, y, names):
    def records(x, y):
        return b"".join(bytes([label // 5, label]) + picture.tobytes() for picture, label in zip(x, y, strict=True))

    names = {"fine": names, "coarse": [f"group {i}" for i in range(20)]}
    texts = {f"cifar-100-binary/{kind}_label_names.txt": "\n".join(some).encode() for kind, some in names.items()}
    return {
        "cifar-100-binary/train.bin": records(x[:-2], y[:-2]),
        "cifar-100-binary/test.bin": records(x[-2:], y[-2:]),
        **texts,
    }


VERSIONS = {
    "cifar-10-python": ("cifar10", cifar10_python),
    "cifar-10-binary": ("cifar10", cifar10_binary),
    "cifar-100-python": ("cifar100", cifar100_python),
    "cifar-100-binary": ("cifar100", cifar100_binary),
}


def put(folder, made, archive=None):
    if archive:
        with tarfile.open(folder / archive, "w:gz") as packed:
            for name, content in made.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                packed.addfile(member, io.BytesIO(content))
        return
    for name, content in made.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)


@pytest.fixture
def mnist(tmp_path):
    """A folder with four small files, and what is in them."""
    there = {}
    for which, n in (("train", 7), ("t10k", 3)):
        there[which] = R.integers(256, size=(n, 28, 28), dtype=np.uint8), R.integers(10, size=n, dtype=np.uint8)
        for (kind, axes), array in zip((("images", 3), ("labels", 1)), there[which], strict=True):
            (tmp_path / f"{which}-{kind}-idx{axes}-ubyte.gz").write_bytes(gzip.compress(idx(array)))
    return tmp_path, there


def known(monkeypatch, name, folder):
    """As if what is in the folder now were the published files."""
    origin = getattr(files, name)
    sums = {}
    for file in origin.files:
        if (folder / file).is_file():
            content = (folder / file).read_bytes()
            sums[file] = hashlib.md5(content).hexdigest()
            if file.endswith("ubyte.gz"):
                sums[file.removesuffix(".gz")] = hashlib.md5(gzip.decompress(content)).hexdigest()
    monkeypatch.setattr(data, name, replace(origin, files=sums))
    return origin


# ---- what is read --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("inside", ["", "MNIST/raw"])
@pytest.mark.parametrize("packed", [True, False])
def test_mnist_is_read_as_it_was_written(mnist, tmp_path, packed, inside):
    folder, there = mnist
    place = tmp_path / "data" / inside
    place.mkdir(parents=True)
    for path in folder.glob("*.gz"):
        (place / (path.name if packed else path.stem)).write_bytes(
            path.read_bytes() if packed else gzip.decompress(path.read_bytes())
        )
    for found, (x, y) in zip(data.mnist(tmp_path / "data", verify=False), there.values(), strict=True):
        assert torch.equal(found.x, torch.from_numpy(x)[:, None].float() / 255)
        assert found.y.tolist() == y.tolist()
        assert found.classes == tuple("0123456789")
    train, _ = data.mnist(tmp_path / "data", verify=False, dtype=torch.uint8)
    assert torch.equal(train.x[:, 0], torch.from_numpy(there["train"][0]))


@pytest.mark.parametrize("archive", [True, False])
@pytest.mark.parametrize("version", VERSIONS)
def test_cifar_is_read_as_it_was_written(tmp_path, version, archive):
    which, make = VERSIONS[version]
    x, y = pixels(14), R.integers(CLASSES[which], size=14)
    y[0] = CLASSES[which] - 1
    names = [f"class {i}" for i in range(CLASSES[which])]
    put(tmp_path, make(x, y, names), f"{version}.tar.gz" if archive else None)
    load = getattr(data, which)
    train, test = load(tmp_path, verify=False, dtype=torch.uint8)
    assert torch.equal(torch.cat([train.x, test.x]), torch.from_numpy(x))
    assert torch.cat([train.y, test.y]).tolist() == y.tolist()
    assert train.classes == test.classes == tuple(names)
    assert torch.equal(load(tmp_path, verify=False)[1].x, test.x.float() / 255)
    if which == "cifar100":
        train, test = load(tmp_path, coarse=True, verify=False)
        assert torch.cat([train.y, test.y]).tolist() == (y // 5).tolist()
        assert train.classes[3] == "group 3"
    if not archive:  # the folder itself, too
        (inside,) = (path for path in tmp_path.iterdir() if path.is_dir())
        assert len(load(inside, verify=False)[0]) == 12


def test_an_array_may_be_written_column_by_column(tmp_path):
    x, y = pixels(12), R.integers(10, size=12)
    made = cifar10_python(x, y, "abcdefghij")
    wide = np.asfortranarray(x[-2:].reshape(2, -1))
    made["cifar-10-batches-py/test_batch"] = pickle.dumps({b"data": wide, b"labels": y[-2:].tolist()}, 2)
    put(tmp_path, made)
    assert torch.equal(data.cifar10(tmp_path, verify=False, dtype=torch.uint8)[1].x, torch.from_numpy(x[-2:]))


# ---- checksums -----------------------------------------------------------------------------------------------------------


def test_the_checksums_in_the_catalogue_are_those_of_the_files(mnist, monkeypatch):
    """With sums of our files in it, these are taken, and one changed bit is not; the catalogue's own are of others."""
    folder, _ = mnist
    with pytest.raises(ProblemError, match=r"its MD5 is .* and that of the published file is 6bbc9ace"):
        data.mnist(folder)
    known(monkeypatch, "MNIST", folder)
    assert len(data.mnist(folder)[0]) == 7
    for file in folder.glob("*.gz"):
        before = file.read_bytes()
        content = bytearray(gzip.decompress(before))
        content[-1] ^= 1
        file.write_bytes(gzip.compress(bytes(content)))
        with pytest.raises(ProblemError, match=rf"{file.name}: its MD5 is .*damaged or another file"):
            data.mnist(folder)
        file.write_bytes(gzip.compress(gzip.decompress(before), 1))  # packed anew, it is the same
        assert len(data.mnist(folder)[0]) == 7


@pytest.mark.parametrize("archive", [True, False])
def test_every_file_of_cifar_is_checked(tmp_path, monkeypatch, archive):
    put(
        tmp_path,
        cifar10_python(pixels(12), R.integers(10, size=12), "abcdefghij"),
        "cifar-10-python.tar.gz" if archive else None,
    )
    known(monkeypatch, "CIFAR10", tmp_path)
    data.cifar10(tmp_path)
    made = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(made) == (1 if archive else 7)
    for path in made:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 16
        kept = path.read_bytes()
        path.write_bytes(content)
        with pytest.raises(ProblemError, match=rf"{path.name}: its MD5"):
            data.cifar10(tmp_path)
        path.write_bytes(kept)


def test_the_catalogue_is_whole():
    origins = (files.MNIST, files.FASHION, files.CIFAR10, files.CIFAR100)
    sums = [md5 for origin in origins for md5 in origin.files.values()]
    assert len(set(sums)) == len(sums) == 30
    assert all(len(md5) == 32 and int(md5, 16) for md5 in sums)


# ---- broken files --------------------------------------------------------------------------------------------------------


def broken_idx(content):
    yield content[:-1], "announces.*truncated"
    yield content + b"\0", "appended"
    yield content[:7], "truncated"
    yield b"", "nothing"
    yield content[:2] + b"\x0d" + content[3:], "begins with 00 00 0d"
    yield content[:4] + b"\xff" * 4 + content[8:], "announces"


def test_a_broken_idx_file_is_named(mnist):
    folder, _ = mnist
    path = folder / "t10k-labels-idx1-ubyte.gz"
    whole = gzip.decompress(path.read_bytes())
    for content, says in broken_idx(whole):
        path.write_bytes(gzip.compress(content))
        with pytest.raises(ProblemError, match=rf"t10k-labels-idx1-ubyte.gz: .*{says}"):
            data.mnist(folder, verify=False)
    for content in (gzip.compress(whole)[:-9], b"not a gzip file", gzip.compress(whole)[:-1]):
        path.write_bytes(content)
        with pytest.raises(ProblemError, match=r"t10k-labels-idx1-ubyte.gz: it cannot be unpacked.*truncated"):
            data.mnist(folder, verify=False)
    path.write_bytes(gzip.compress(idx(np.array([1, 2], np.uint8))))
    with pytest.raises(ProblemError, match="3 pictures and 2 labels"):
        data.mnist(folder, verify=False)
    path.write_bytes(gzip.compress(idx(np.array([1, 2, 11], np.uint8))))
    with pytest.raises(ProblemError, match="label 11, and there are 10 classes"):
        data.mnist(folder, verify=False)


def test_a_broken_archive_is_named(tmp_path):
    made = cifar10_binary(pixels(12), R.integers(10, size=12), "abcdefghij")
    path = tmp_path / "cifar-10-binary.tar.gz"
    put(tmp_path, made, path.name)
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], whole[:-4000], b"", b"not an archive", whole[:1000] + bytes(100) + whole[1100:]):
        path.write_bytes(content)
        with pytest.raises(ProblemError, match=r"cifar-10-binary.tar.gz: .*(truncated|damaged)"):
            data.cifar10(tmp_path, verify=False)
    del made["cifar-10-batches-bin/data_batch_3.bin"]
    put(tmp_path, made, path.name)
    with pytest.raises(ProblemError, match=r"data_batch_3.bin is not in it"):
        data.cifar10(tmp_path, verify=False)
    made["cifar-10-batches-bin/data_batch_3.bin"] = bytes(3074)
    put(tmp_path, made, path.name)
    with pytest.raises(ProblemError, match=r"data_batch_3.bin: 3,074 bytes.*truncated"):
        data.cifar10(tmp_path, verify=False)


class Evil:
    def __reduce__(self):
        return os.mkdir, ("evil",)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (pickle.dumps(Evil(), 2), r"wants to use posix.mkdir"),
        (pickle.dumps({b"data": Evil(), b"labels": []}, 2), "wants to use"),
        (pickle.dumps({b"data": np.array([Evil()], object), b"labels": [1]}, 2), "wants to use"),
        (pickle.dumps({b"data": np.zeros((1, 3072)), b"labels": [1]}, 2), "not an array of bytes"),
        (pickle.dumps({b"data": np.zeros((3072, 2), np.uint8).T, b"labels": [1]}, 2), "1 labels and pictures of shape"),
        (pickle.dumps({b"data": np.zeros((2, 3072), np.uint8), b"labels": [1]}, 2), "1 labels and pictures of shape"),
        (pickle.dumps({b"data": np.zeros((1, 3072), np.uint8), b"labels": [-1]}, 2), "a label and 3072 bytes for each"),
        (pickle.dumps({b"labels": [1]}, 2), "no 'data'"),
        (pickle.dumps([1], 2), "holds a list"),
        (pickle.dumps({b"data": np.zeros((1, 3072), np.uint8), b"labels": [1]}, 2)[:-100], "cannot be read as a pickle"),
        (b"", "cannot be read as a pickle"),
        (b"cos\nsystem\n(S'touch evil'\ntR.", "wants to use os.system"),
        (b"\x80\x02Q.", "pickle"),
    ],
)
def test_a_pickle_can_do_nothing_but_hold_bytes(tmp_path, monkeypatch, content, says):
    monkeypatch.chdir(tmp_path)
    put(tmp_path, cifar10_python(pixels(12), R.integers(10, size=12), "abcdefghij"))
    (tmp_path / "cifar-10-batches-py" / "data_batch_4").write_bytes(content)
    with pytest.raises(ProblemError, match=rf"data_batch_4: .*{says}"):
        data.cifar10(tmp_path, verify=False)
    assert not (tmp_path / "evil").exists()


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(
        SetupError, match=r"train-images-idx3-ubyte.gz or train-images-idx3-ubyte is not in .*download=True.*digits"
    ):
        data.mnist(tmp_path)
    with pytest.raises(SetupError, match=r"cifar-100-python.tar.gz or cifar-100-binary.tar.gz"):
        data.cifar100(tmp_path / "nowhere")
    put(tmp_path, cifar10_python(pixels(12), R.integers(10, size=12), "abcdefghij"))
    (tmp_path / "cifar-10-batches-py" / "data_batch_2").unlink()
    with pytest.raises(SetupError, match=r"data_batch_2 is not in"):
        data.cifar10(tmp_path, verify=False)
    with pytest.raises(ArgumentError, match="it is a file"):
        data.mnist(tmp_path / "cifar-10-batches-py" / "test_batch")
    with pytest.raises(ArgumentError, match="folder=None"):
        data.mnist(None)


def test_other_types_of_numbers_are_refused(mnist):
    with pytest.raises(ArgumentError, match=r"dtype=torch.int64.*floating point"):
        data.mnist(mnist[0], verify=False, dtype=torch.int64)


# ---- fetching ------------------------------------------------------------------------------------------------------------


class Server(http.server.SimpleHTTPRequestHandler):
    """Counts, may cut what it sends short, and says nothing."""

    asked, short = [], 0

    def do_GET(self):
        self.asked.append(self.path)
        super().do_GET()

    def copyfile(self, source, outputfile):
        content = source.read()
        outputfile.write(content[: len(content) - self.short])

    def log_message(self, *_):
        pass


@pytest.fixture
def served(mnist, monkeypatch):
    folder, _ = mnist
    origin = known(monkeypatch, "MNIST", folder)
    monkeypatch.setattr(Server, "asked", [])
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Server, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        monkeypatch.setattr(data, "MNIST", replace(data.MNIST, url=f"http://127.0.0.1:{server.server_port}/"))
        yield folder, origin
        server.shutdown()


def test_files_are_fetched_once_also_by_many_at_a_time(served, tmp_path, capsys):
    target = tmp_path / "new" / "folder"
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda _: data.mnist(target, download=True), range(3)))
    assert all(torch.equal(train.x, found[0][0].x) for train, _ in found)
    assert sorted(Server.asked) == sorted(f"/{path.name}" for path in served[0].glob("*.gz"))
    assert sorted(path.name for path in target.iterdir()) == sorted(path.name for path in served[0].glob("*.gz"))
    assert "train-images-idx3-ubyte.gz" in capsys.readouterr().out, "a bar shows how far it is"


def test_what_came_wrong_is_not_kept(served, tmp_path, monkeypatch):
    _, origin = served
    target = tmp_path / "new"
    monkeypatch.setattr(Server, "short", 5)
    with pytest.raises(SetupError, match=r"train-images.* could not be downloaded from http.*: the connection ended after"):
        data.mnist(target, download=True)
    assert list(target.iterdir()) == []
    monkeypatch.setattr(Server, "short", 0)
    monkeypatch.setattr(data, "MNIST", replace(data.MNIST, files=origin.files))  # what is served is not what is published
    with pytest.raises(ProblemError, match=r"what came from http.* has the MD5 .*nothing was kept"):
        data.mnist(target, download=True)
    assert list(target.iterdir()) == []
    shutil.rmtree(target)
    monkeypatch.setattr(data, "MNIST", replace(data.MNIST, url=data.MNIST.url + "elsewhere/"))
    with pytest.raises(SetupError, match=r"HTTP Error 404"):
        data.mnist(target, download=True)


def test_without_internet_it_says_what_to_do(tmp_path, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]  # nobody listens there afterwards
    monkeypatch.setattr(data, "CIFAR10", replace(files.CIFAR10, url=f"http://127.0.0.1:{port}/"))
    with pytest.raises(SetupError, match=r"cifar-10-python.tar.gz could not be downloaded.*refused.*get it elsewhere.*digits"):
        data.cifar10(tmp_path, download=True)
