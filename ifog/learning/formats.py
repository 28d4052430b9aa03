"""What stands in the files of MNIST and CIFAR. Each function reads one file whole, or says what is wrong with it.

The formats: https://yann.lecun.com/exdb/mnist for idx, https://www.cs.toronto.edu/~kriz/cifar.html for the other two.
"""

from __future__ import annotations

import io
import math
import pickle
import struct
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..errors import ProblemError

_PIXELS = (3, 32, 32)  # of CIFAR: all red ones, row by row, then the green ones, then the blue ones


def idx(content: bytes, axes: int, where: str) -> Tensor:
    """Two zeros, the code of the type, the number of axes; the length of each, highest byte first; the numbers."""
    head = 4 + 4 * axes
    if content[:4] != bytes([0, 0, 8, axes]):  # 8: bytes without a sign
        raise ProblemError(
            f"{where}: it begins with {content[:4].hex(' ') or 'nothing'}, and an idx file of bytes with {axes} "
            f"{'axis' if axes == 1 else 'axes'} with 00 00 08 {axes:02x}: it is damaged or another file"
        )
    if len(content) < head:
        raise ProblemError(f"{where}: it ends within its first {head} bytes: it is truncated")
    shape = struct.unpack(f">{axes}I", content[4:head])
    _long_enough(content, head + math.prod(shape), where)
    return _bytes(content[head:]).view(shape)


def cifar_pickle(content: bytes, labels: str, where: str) -> tuple[Tensor, Tensor]:
    """The pictures [N, 3, 32, 32] and their labels [N] of a batch of the Python version."""
    found = _unpickled(content, where)
    data, classes = found.get("data"), found.get(labels)
    if not isinstance(data, _Array) or not isinstance(classes, list):
        raise ProblemError(f"{where}: it has no 'data' and {labels!r} as CIFAR's batches have, but {sorted(found)}")
    x = data.tensor(where)
    if x.shape != (len(classes), math.prod(_PIXELS)) or not all(type(label) is int and 0 <= label < 256 for label in classes):
        raise ProblemError(
            f"{where}: {len(classes)} labels and pictures of shape {list(x.shape)}: "
            f"it must have a label and {math.prod(_PIXELS)} bytes for each"
        )
    return x.view(-1, *_PIXELS), torch.tensor(classes, dtype=torch.int64)


def cifar_names(content: bytes, key: str, where: str) -> tuple[str, ...]:
    """What the classes are called, of the Python version."""
    names = _unpickled(content, where).get(key)
    if not isinstance(names, list) or not all(isinstance(name, bytes | str) for name in names):
        raise ProblemError(f"{where}: it has no list of names {key!r}")
    return tuple(name.decode() if isinstance(name, bytes) else name for name in names)


def cifar_binary(content: bytes, labels: int, which: int, where: str) -> tuple[Tensor, Tensor]:
    """The same of the binary version: for each picture so many labels, of which one is wanted, and its bytes."""
    record = labels + math.prod(_PIXELS)
    if not content or len(content) % record:
        raise ProblemError(f"{where}: {len(content):,} bytes are not a whole number of pictures of {record:,}: it is truncated")
    rows = _bytes(content).view(-1, record)
    return rows[:, labels:].reshape(-1, *_PIXELS), rows[:, which].long()


def cifar_text(content: bytes, where: str) -> tuple[str, ...]:
    """What the classes are called, of the binary version: a name a line."""
    try:
        return tuple(line.strip() for line in content.decode("ascii").splitlines() if line.strip())
    except UnicodeDecodeError:
        raise ProblemError(f"{where}: it must be plain text with a name of a class in each line") from None


def _bytes(content: bytes) -> Tensor:
    return torch.frombuffer(bytearray(content), dtype=torch.uint8) if content else torch.empty(0, dtype=torch.uint8)


def _long_enough(content: bytes, wanted: int, where: str) -> None:
    if len(content) != wanted:
        short = "it is truncated" if len(content) < wanted else "something is appended to it"
        raise ProblemError(f"{where}: it has {len(content):,} bytes, and its head announces {wanted:,}: {short}")


# ---- pickles, without what makes them dangerous --------------------------------------------------------------------------
#
# A pickle may call whatever can be imported. Here nothing can but the names by which an old NumPy writes an array, and these
# lead to the two classes below, which remember what they are given and do nothing.


class _Type:
    """What stands for `numpy.dtype`."""

    def __init__(self, code: Any = None, *_: Any) -> None:
        self.code = code

    def __setstate__(self, state: Any) -> None:
        """The order of bytes, which a byte has not."""


class _Array:
    """What stands for `numpy.ndarray`."""

    state: Any = None

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def tensor(self, where: str) -> Tensor:
        """Of bytes, as many as its shape says, row by row or column by column: or it is refused."""
        match self.state:
            case (_, tuple() as shape, _Type(code="u1" | b"u1"), by_columns, bytes() as content) if all(
                type(size) is int and size >= 0 for size in shape
            ) and math.prod(shape) == len(content):
                return _bytes(content).view(shape[::-1]).T.contiguous() if by_columns else _bytes(content).view(shape)
        raise ProblemError(f"{where}: its 'data' are not an array of bytes as CIFAR's are")


def _latin(text: Any, coding: Any = None) -> bytes:
    """What stands for `_codecs.encode`, by which Python 3 writes bytes in an old pickle."""
    if not isinstance(text, str) or coding != "latin1":
        raise pickle.UnpicklingError("text in an unknown coding")
    return text.encode("latin1")


_KNOWN: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy.core.multiarray", "_reconstruct"): lambda *_: _Array(),
    ("numpy._core.multiarray", "_reconstruct"): lambda *_: _Array(),
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Type,
    ("_codecs", "encode"): _latin,
}


class _Safe(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if known := _KNOWN.get((module, name)):
            return lambda *given: known(*given)  # one of its own: a pickle may also write into what it is given
        raise pickle.UnpicklingError(f"it wants to use {module}.{name}, which no file of CIFAR does: it is not opened")

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError(f"it refers to something outside of it, {pid!r}")


def _unpickled(content: bytes, where: str) -> dict[str, Any]:
    try:
        found = _Safe(io.BytesIO(content), encoding="bytes").load()
    except Exception as error:  # a damaged pickle may raise anything
        raise ProblemError(f"{where}: it cannot be read as a pickle: {error or type(error).__name__}") from error
    if not isinstance(found, dict):
        raise ProblemError(f"{where}: it holds a {type(found).__name__} instead of a dict")
    return {key.decode("latin1") if isinstance(key, bytes) else str(key): value for key, value in found.items()}
