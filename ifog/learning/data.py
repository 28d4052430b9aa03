"""Data to train on: pictures and what they show, from the original files, from scikit-learn, or made up.

>>> train, test = digits()
>>> train
digits: 1,437 samples of 1 × 8 × 8 in 10 classes
>>> x, y = train[[0, 1, 2]]
>>> x.shape, y.dtype
(torch.Size([3, 1, 8, 8]), torch.int64)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from ..errors import ArgumentError, ProblemError
from ..problems.arguments import real, whole
from ..problems.digits import pictures
from . import formats
from .files import CIFAR10, CIFAR100, FASHION, MNIST, Files, Origin, Reader, members


class Labelled(TensorDataset):
    """Samples ``x`` [N, …] and the number of the class of each, ``y`` [N]: a torch data set, all of it in memory."""

    def __init__(self, x: Any, y: Any, classes: Sequence[str] | int | None = None, name: str = "data") -> None:
        """``classes`` are their names, or how many there are."""
        x, y = torch.as_tensor(x), torch.as_tensor(y)
        if y.ndim != 1 or y.is_floating_point() or y.is_complex() or x.ndim < 1 or len(x) != len(y) or not len(y):
            raise ProblemError(
                f"x has shape {list(x.shape)} and y {list(y.shape)} of {str(y.dtype).removeprefix('torch.')}: give as many "
                "samples as whole numbers that say their classes, one at least"
            )
        if classes is None:
            classes = max(int(y.max()) + 1, 1)
        if not isinstance(classes, Sequence):
            classes = [str(i) for i in range(whole("classes", classes, minimum=1))]
        self.classes = tuple(classes)
        """What they are called."""
        if y.min() < 0 or y.max() >= len(self.classes):
            raise ProblemError(f"y holds {int(y.min())} to {int(y.max())}, and classes are 0 to {len(self.classes) - 1}")
        self.name = name
        super().__init__(x, y.long())

    @property
    def x(self) -> Tensor:
        """The samples."""
        return self.tensors[0]

    @property
    def y(self) -> Tensor:
        """Their classes."""
        return self.tensors[1]

    def take(self, samples: Any) -> Labelled:
        """Some of the samples, by their numbers: ``train.take(partition[3])`` is what node 3 has."""
        chosen = torch.as_tensor(samples)
        return Labelled(self.x[chosen], self.y[chosen], self.classes, self.name)

    def to(self, *where: Any, **how: Any) -> Labelled:
        """The samples on another device, or of another type; what their classes are goes along."""
        x = self.x.to(*where, **how)
        return Labelled(x, self.y.to(x.device), self.classes, self.name)

    def statistics(self) -> tuple[Tensor, Tensor]:
        """The mean and the standard deviation of each channel, with numbers from 0 to 1: what `normalize` takes away."""
        rows = self.x.transpose(0, 1).flatten(1) if self.x.ndim > 1 else self.x[None]
        scale = _scale(self.x)
        means = torch.stack([row.double().mean() for row in rows]) / scale
        deviations = torch.stack([row.double().std(correction=0) for row in rows]) / scale
        return means.float(), deviations.float()

    def normalized(self, by: Labelled | None = None) -> Labelled:
        """With mean 0 and standard deviation 1 in each channel: of these samples, or ``by`` those of another set."""
        mean, deviation = (by or self).statistics()
        return Labelled(normalize(self.x, mean, deviation), self.y, self.classes, self.name)

    def __repr__(self) -> str:
        size = " × ".join(map(str, self.x.shape[1:])) or "one number"
        return f"{self.name}: {len(self):,} samples of {size} in {len(self.classes)} classes"


# ---- without a file ------------------------------------------------------------------------------------------------------


def digits(seed: int = 0) -> tuple[Labelled, Labelled]:
    """Handwritten digits of 8 × 8, which come with scikit-learn: 1,437 for training and 360 for testing, by the seed.

    The same as those of `ifog.problems.digits`. https://doi.org/10.24432/C50P49
    """
    found, classes, train, test = pictures(whole("seed", seed))
    x = torch.from_numpy(found).float().view(-1, 1, 8, 8)
    y = torch.from_numpy(classes)
    return tuple(Labelled(x[some], y[some], 10, "digits") for some in (train, test))  # type: ignore[return-value]


def synthetic(
    shape: Sequence[int] = (3, 32, 32), classes: int = 10, samples: int = 1024, *, noise: float = 1.0, seed: int = 0
) -> Labelled:
    """Pictures of any size, made up: each is the one of its class and normal ``noise``. For measuring how fast training is.

    The entries of a class's own picture are normal numbers too, so classes are easily told apart.
    """
    if not isinstance(shape, tuple | list | torch.Size) or not len(shape):
        raise ArgumentError(f"shape={shape!r}: it must be the shape of one sample, such as (3, 32, 32)")
    size = [whole("shape", side, minimum=1, error=ArgumentError) for side in shape]
    classes = whole("classes", classes, minimum=1, error=ArgumentError)
    r = np.random.default_rng(whole("seed", seed, error=ArgumentError))
    own = r.standard_normal((classes, *size), dtype=np.float32)
    y = r.integers(classes, size=whole("samples", samples, minimum=1, error=ArgumentError))
    x = r.standard_normal((len(y), *size), dtype=np.float32)
    x *= np.float32(real("noise", noise, at_least=0))
    x += own[y]
    return Labelled(x, y, classes, "synthetic")


class Text(TensorDataset):
    """Pieces of text as numbers of characters: ``x`` [N, length], and ``y``, which is what follows each of them."""

    def __init__(
        self, x: Tensor, y: Tensor, topic: Tensor, classes: tuple[str, ...], topics: tuple[str, ...], name: str
    ) -> None:
        super().__init__(x, y)
        self.topic, self.topics, self.classes, self.name = topic, topics, classes, name

    @property
    def x(self) -> Tensor:
        """The pieces."""
        return self.tensors[0]

    @property
    def y(self) -> Tensor:
        """What follows each character."""
        return self.tensors[1]

    def encode(self, text: str) -> Tensor:
        """Text as numbers."""
        numbers = {character: i for i, character in enumerate(self.classes)}
        if unknown := sorted(set(text) - numbers.keys()):
            raise ProblemError(f"text has the characters {''.join(unknown)!r}, which are in none of the documents")
        return torch.tensor([numbers[character] for character in text], dtype=torch.int64)

    def decode(self, numbers: Any) -> str:
        """Numbers as text."""
        return "".join(self.classes[i] for i in torch.as_tensor(numbers).flatten().tolist())

    def __repr__(self) -> str:
        size, kinds = self.x.shape[1], len(self.classes)
        return f"{self.name}: {len(self):,} pieces of {size} of {kinds} characters, {len(self.topics)} topics"


def text(documents: Any = None, length: int = 64, *, held_out: float = 0.1, seed: int = 0) -> tuple[Text, Text]:
    """Text for `models.gpt`, character by character, cut into pieces: for training, and some at random for testing.

    ``documents`` are texts by their topics; without them it is the reference that every Python has with it, in about 80 topics.
    Which piece belongs to which topic stands in ``topic``, so that ``partition(train.topic, 8, alpha=0.1)`` gives each node
    other topics. Train with ``loss=models.next_token``.
    """
    if documents is None:
        from pydoc_data.topics import topics as documents
    if not isinstance(documents, Mapping) or not all(isinstance(each, str) for item in documents.items() for each in item):
        raise ArgumentError(f"documents is of type {type(documents).__name__}: give texts by their topics, {{'tea': 'Take …'}}")
    length = whole("length", length, minimum=1, error=ArgumentError)
    share = real("held_out", held_out, at_least=0)
    classes = tuple(sorted(set("".join(documents.values()))))
    numbers = {character: i for i, character in enumerate(classes)}
    pieces, follow, topic = [], [], []
    for k, document in enumerate(documents.values()):
        coded = torch.tensor([numbers[character] for character in document], dtype=torch.int64)
        count = max(0, len(coded) - 1) // length
        pieces.append(coded[: count * length].view(count, length))
        follow.append(coded[1 : count * length + 1].view(count, length))
        topic += [k] * count
    out = round(share * len(topic))
    if not len(topic) > out:
        raise ArgumentError(f"length={length}, held_out={held_out}: nothing is left for training of {len(topic)} pieces")
    x, y, about = torch.cat(pieces), torch.cat(follow), torch.tensor(topic)
    order = torch.from_numpy(np.random.default_rng(whole("seed", seed)).permutation(len(x)))
    return tuple(  # type: ignore[return-value]
        Text(x[some], y[some], about[some], classes, tuple(documents), "text") for some in (order[out:].sort()[0], order[:out])
    )


# ---- from the original files ---------------------------------------------------------------------------------------------

_FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


def mnist(
    folder: str | Path, *, download: bool = False, verify: bool = True, dtype: torch.dtype = torch.float32
) -> tuple[Labelled, Labelled]:
    """Handwritten digits of 28 × 28: 60,000 for training and 10,000 for testing, from the four idx files, as .gz or unpacked.

    They are looked for in the ``folder``, also in the folders in it that torchvision makes, and with ``download`` fetched into
    it if they are not there. Their checksums are compared with the published ones unless ``verify=False``: then they may be
    others of the same format. Numbers are from 0 to 1, or with ``dtype=torch.uint8`` bytes from 0 to 255, which take a
    quarter of the memory; `normalize` and `crop_and_flip` take both.
    LeCun, Cortes, Burges, *The MNIST database*, https://yann.lecun.com/exdb/mnist
    """
    return _idx(MNIST, folder, download, verify, dtype, tuple("0123456789"))


def fashion_mnist(
    folder: str | Path, *, download: bool = False, verify: bool = True, dtype: torch.dtype = torch.float32
) -> tuple[Labelled, Labelled]:
    """Clothes, in files and with arguments as `mnist`: harder, and otherwise the same.

    On Debian and Ubuntu the package ``dataset-fashion-mnist`` has them, in ``/usr/share/datasets/fashion-mnist``.
    Xiao, Rasul, Vollgraf, *Fashion-MNIST*, 2017, https://arxiv.org/abs/1708.07747
    """
    return _idx(FASHION, folder, download, verify, dtype, _FASHION)


def cifar10(
    folder: str | Path, *, download: bool = False, verify: bool = True, dtype: torch.dtype = torch.float32
) -> tuple[Labelled, Labelled]:
    """Colour pictures of 32 × 32 in 10 classes: 50,000 for training and 10,000 for testing.

    From ``cifar-10-python.tar.gz`` or ``cifar-10-binary.tar.gz`` or what is unpacked from them; otherwise as `mnist`. Of the
    binary version's unpacked files no checksums were published, so only their sizes and labels are checked.
    Krizhevsky, *Learning multiple layers of features from tiny images*, 2009, https://www.cs.toronto.edu/~kriz/cifar.html
    """
    batches = tuple(f"data_batch_{i}" for i in range(1, 6))
    python = _Version("cifar-10-python.tar.gz", "cifar-10-batches-py", batches, "test_batch", "batches.meta", "labels", 0)
    binary = _Version("cifar-10-binary.tar.gz", "cifar-10-batches-bin", batches, "test_batch", "batches.meta.txt", "", 1)
    return _cifar(CIFAR10, folder, download, verify, dtype, python, binary, "label_names", 0)


def cifar100(
    folder: str | Path,
    *,
    coarse: bool = False,
    download: bool = False,
    verify: bool = True,
    dtype: torch.dtype = torch.float32,
) -> tuple[Labelled, Labelled]:
    """As `cifar10`, in 100 classes, or with ``coarse`` in the 20 groups that these make up."""
    kind = "coarse" if coarse else "fine"
    python = _Version("cifar-100-python.tar.gz", "cifar-100-python", ("train",), "test", "meta", f"{kind}_labels", 0)
    binary = _Version("cifar-100-binary.tar.gz", "cifar-100-binary", ("train",), "test", f"{kind}_label_names.txt", "", 2)
    return _cifar(CIFAR100, folder, download, verify, dtype, python, binary, f"{kind}_label_names", 0 if coarse else 1)


def _idx(
    origin: Origin, folder: Any, download: bool, verify: bool, dtype: torch.dtype, classes: tuple[str, ...]
) -> tuple[Labelled, Labelled]:
    files = Files(origin, folder, download=download, verify=verify)
    sets = []
    for which in ("train", "t10k"):
        parts = []
        for name, axes in ((f"{which}-images-idx3-ubyte", 3), (f"{which}-labels-idx1-ubyte", 1)):
            _, content, path = files.get(f"{name}.gz", name)
            parts.append(formats.idx(content, axes, str(path)))
        sets.append(_labelled(parts[0][:, None], parts[1], classes, origin.name, dtype, str(path)))
    return sets[0], sets[1]


class _Version:
    """One of the two forms in which CIFAR is published: the names of its files, and the number of labels in a binary record."""

    def __init__(
        self, archive: str, folder: str, train: tuple[str, ...], test: str, names: str, labels: str, record: int
    ) -> None:
        end = ".bin" if record else ""
        self.archive, self.labels, self.record = archive, labels, record
        self.train, self.test = [f"{folder}/{name}{end}" for name in train], f"{folder}/{test}{end}"
        self.names = f"{folder}/{names}"
        self.all = [*self.train, self.test, self.names]


def _cifar(
    origin: Origin,
    folder: Any,
    download: bool,
    verify: bool,
    dtype: torch.dtype,
    python: _Version,
    binary: _Version,
    names: str,
    which: int,
) -> tuple[Labelled, Labelled]:
    files = Files(origin, folder, download=download, verify=verify)
    version, read = _reader(files, python, binary)
    content, where = read(version.names)
    classes = formats.cifar_text(content, where) if version.record else formats.cifar_names(content, names, where)

    def batch(name: str) -> Labelled:
        content, where = read(name)
        if version.record:
            x, y = formats.cifar_binary(content, version.record, which, where)
        else:
            x, y = formats.cifar_pickle(content, version.labels, where)
        return _labelled(x, y, classes, origin.name, torch.uint8, where)

    batches = [batch(name) for name in version.train]
    x, y = torch.cat([b.x for b in batches]), torch.cat([b.y for b in batches])
    test = batch(version.test)
    return (
        _labelled(x, y, classes, origin.name, dtype, str(files.folder)),
        _labelled(test.x, test.y, classes, origin.name, dtype, str(files.folder)),
    )


def _reader(files: Files, python: _Version, binary: _Version) -> tuple[_Version, Reader]:
    """Which version is there, and how its files are read: from an archive, or where they were unpacked."""
    for version in (python, binary):
        if files.find(version.train[0]):

            def read(name: str) -> tuple[bytes, str]:
                path = files.find(name)
                if path is None:
                    raise files.missing(name)
                return files.read(path, name), str(path)

            return version, read
    found, content, path = files.get(python.archive, binary.archive)
    version = binary if found == binary.archive else python
    inside = members(content, version.all, path)
    return version, lambda name: (inside[name], f"{path}, {name}")


def _labelled(x: Tensor, y: Tensor, classes: tuple[str, ...], name: str, dtype: torch.dtype, where: str) -> Labelled:
    if len(x) != len(y) or not len(x):
        raise ProblemError(f"{where}: there are {len(x):,} pictures and {len(y):,} labels: the files do not belong together")
    if int(y.max()) >= len(classes):
        raise ProblemError(f"{where}: it has the label {int(y.max())}, and there are {len(classes)} classes: it is damaged")
    if dtype == torch.uint8:
        return Labelled(x, y, classes, name)
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise ArgumentError(f"dtype={dtype!r}: it must be one of floating point, such as torch.float32, or torch.uint8")
    return Labelled(x.to(dtype).div_(255), y, classes, name)


# ---- what is done to a batch of pictures ---------------------------------------------------------------------------------


def normalize(x: Tensor, mean: Any, deviation: Any) -> Tensor:
    """Pictures [N, channels, …] with ``mean`` taken off each channel and divided by its standard ``deviation``.

    Both belong to numbers from 0 to 1, as `Labelled.statistics` has them; bytes are taken to be 255 times as large.
    """
    kind = x.dtype if x.is_floating_point() else torch.float32
    shape = (-1, *(1 for _ in x.shape[2:]))
    m, s = (torch.as_tensor(value, dtype=torch.float32, device=x.device).view(shape) for value in (mean, deviation))
    for name, value in (("mean", m), ("deviation", s)):
        if x.ndim < 2 or len(value) not in (1, x.shape[1]):
            raise ArgumentError(
                f"{name}: {len(value)} numbers for x of shape {list(x.shape)}: there must be one for each channel"
            )
    flat = torch.where(s > 0, s, 1)  # a channel that never changes stays at 0
    return ((x.to(torch.promote_types(kind, torch.float32)) / _scale(x) - m) / flat).to(kind)


def crop_and_flip(x: Tensor, generator: torch.Generator | None = None, *, padding: int = 4) -> Tensor:
    """Each picture of [N, channels, height, width] shifted by up to ``padding`` in both directions, half of them mirrored.

    What comes in from outside is 0, so normalise before. It is the usual augmentation for CIFAR: a generator with a seed,
    ``torch.Generator().manual_seed(0)``, makes it the same on every device.
    """
    if x.ndim != 4:
        raise ArgumentError(f"x has shape {list(x.shape)}: it must be a batch of pictures, [N, channels, height, width]")
    padding = whole("padding", padding, error=ArgumentError)
    n, _, height, width = x.shape
    down, right = torch.randint(2 * padding + 1, (2, n, 1), generator=generator)
    flip = torch.rand(n, 1, generator=generator) < 0.5
    rows = (torch.arange(height) + down).to(x.device)
    columns = torch.arange(width).expand(n, -1)
    columns = (torch.where(flip, width - 1 - columns, columns) + right).to(x.device)
    wide = torch.nn.functional.pad(x, (padding,) * 4)
    every = torch.arange(n, device=x.device)
    return (
        wide.permute(0, 2, 3, 1)[every[:, None, None], rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()
    )


def _scale(x: Tensor) -> int:
    return 1 if x.is_floating_point() else 255
