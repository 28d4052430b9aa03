"""What a call is given and gives back, as bytes in a row: a tensor, an array, or several of them that travel as one."""

from __future__ import annotations

import ctypes
import io
import math
import pickle
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from ..errors import ArgumentError
from . import arithmetic, devices
from .devices import HOST
from .world import INLINE

if TYPE_CHECKING:
    from .devices import Block
    from .roads import Road
    from .world import World

_ALIGN = 64
_KERNEL_DTYPES = {torch.float32, torch.float64, torch.complex64, torch.complex128}
_UNSIGNED = {torch.uint16: torch.int16, torch.uint32: torch.int32, torch.uint64: torch.int64}
_DTYPES = {
    *_KERNEL_DTYPES,
    *(torch.float16, torch.bfloat16, torch.bool, torch.int8, torch.uint8),
    *_UNSIGNED,
    *_UNSIGNED.values(),
}


class Place(NamedTuple):
    """Some bytes: where they lie, as an address and as a part of a tensor."""

    address: int
    memory: torch.Tensor
    offset: int

    def flat(self, dtype: torch.dtype, low: int, numel: int) -> torch.Tensor:
        """The elements that begin ``low`` bytes from here."""
        begin = self.offset + low
        memory = self.memory
        if memory.dtype is not torch.uint8 or memory.dim() != 1:
            memory = _row(memory)
        return memory[begin : begin + numel * dtype.itemsize].view(dtype)

    def bytes(self, low: int, high: int) -> memoryview:
        """The bytes themselves, for MPI."""
        return _row(self.memory)[self.offset + low : self.offset + high].numpy().data


def _row(memory: torch.Tensor) -> torch.Tensor:
    """The bytes of a contiguous tensor. Not by ``view(-1)``: where there is one element, the stride may be anything."""
    return memory.as_strided((memory.numel(),), (1,)).view(torch.uint8)


class Segment(NamedTuple):
    """Elements of one dtype in the row of bytes."""

    dtype: torch.dtype
    low: int
    numel: int


class On(str):
    """The kind of device on which tensors stay, in the signature of a call."""

    __slots__ = ()


class Packed:
    """The tensors of one call, and how they lie in its row of bytes."""

    __slots__ = (
        *("starts", "arrays", "block", "device", "dtype", "form", "given"),
        *("nbytes", "road", "segments", "shape", "staged", "tensors", "what"),
    )
    block: Block | None
    """What the road has lent for this call, if the tensors were not in its memory."""
    given: Any
    """What the user gave for the result."""

    def __init__(self, value: Any, argument: str = "x") -> None:
        if type(value) is torch.Tensor or type(value) is torch.nn.Parameter:
            self.form: Any = torch.Tensor
            tensor = value
        elif isinstance(value, torch.Tensor):
            self.form, tensor = torch.Tensor, value
        elif isinstance(value, np.ndarray):
            self.form, tensor = np.ndarray, _from_numpy(value, argument)
        else:
            self._several(value, argument)
            return
        dtype = tensor.dtype
        if dtype not in _DTYPES or tensor.layout is not torch.strided or tensor.is_meta:
            raise ArgumentError(
                f"{argument} is a tensor of {dtype} with layout {tensor.layout} on {tensor.device}: "
                "give a dense one of another dtype and with numbers in it, e.g. of torch.float32 on the CPU"
            )
        self.tensors = [tensor]
        self.device = tensor.device
        self.dtype, self.shape = dtype, tensor.shape
        numel = tensor.numel()
        self.nbytes = numel * dtype.itemsize
        self.segments = [Segment(dtype, 0, numel)]
        self.what: tuple[Any, ...] = (dtype, tensor.shape)
        self.staged = -1
        self.road: Road | None = None
        self.starts = [0]

    def _several(self, value: Any, argument: str) -> None:
        """A list, a tuple or a dict: tensors of one dtype lie side by side, so that they are added up in one go."""
        if isinstance(value, Mapping):
            items = list(value.values())
            self.form = names = list(value)
        elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
            items = list(value)
            self.form = type(value) if type(value) in (list, tuple) else list
            names = list(range(len(items)))
        else:
            raise ArgumentError(
                f"{argument} is of type {type(value).__name__}: give a torch tensor, a numpy array, or a list or dict of them"
                + (f", e.g. torch.tensor([{value}])" if isinstance(value, int | float) else "")
            )
        for name, item in zip(names, items, strict=True):
            if isinstance(item, list | tuple | Mapping):
                raise ArgumentError(
                    f"{argument}[{name!r}] is a {type(item).__name__}: give all tensors in one list or dict, not one in another"
                )
        singles = [Packed(item, f"{argument}[{name!r}]") for name, item in zip(names, items, strict=True)]
        self.arrays = [single.form is np.ndarray for single in singles]
        self.tensors = [single.tensors[0] for single in singles]
        self.starts = [0] * len(singles)
        self.segments = []
        at = 0
        for dtype in dict.fromkeys(single.dtype for single in singles):
            at = -(-at // _ALIGN) * _ALIGN
            begin = at
            for i, single in enumerate(singles):
                if single.dtype is dtype:
                    self.starts[i] = at
                    at += single.nbytes
            self.segments.append(Segment(dtype, begin, (at - begin) // dtype.itemsize))
        self.nbytes = at
        self.dtype = self.segments[0].dtype if self.segments else torch.float32
        self.shape = self.tensors[0].shape if len(items) == 1 else torch.Size([len(items)])
        self.device = self.tensors[0].device if items else torch.device("cpu")
        keys = tuple(map(str, self.form)) if isinstance(self.form, list) else ()
        self.what = (keys, *(single.what for single in singles))
        self.staged = -1
        self.road = None

    @classmethod
    def like(cls, other: Packed, rows: int) -> Packed:
        """A tensor like this one with another number of rows, of which only the form is needed."""
        made = cls(torch.empty((), dtype=other.dtype, device="cpu").expand(rows, *other.shape[1:]))
        made.form, made.device = other.form, other.device
        return made

    # ---------------------------------------------------------------------------------------------------- going out
    def lend(self, world: World, slot: int) -> Place:
        """Put the bytes where the neighbours can read them: in the slot, in a block, or just where they already are."""
        pool = world.pool
        if self.nbytes <= INLINE:
            place = Place(pool.base + slot * INLINE, pool.bytes, slot * INLINE)
        else:
            if len(self.tensors) == 1:
                tensor = self.tensors[0]
                if plain(tensor):
                    offset = pool.offset_of(tensor.data_ptr())
                    if offset >= 0:
                        return Place(pool.base + offset, pool.bytes, offset)
            self.staged = pool.take(self.nbytes)
            if self.device not in HOST:
                devices.pin(pool, self.staged, self.device)
            place = Place(pool.base + self.staged, pool.bytes, self.staged)
        self.write(place)
        return place

    def write(self, place: Place) -> None:
        """Copy the bytes there."""
        if len(self.tensors) == 1:
            tensor = self.tensors[0]
            if tensor.is_cpu and tensor.is_contiguous() and not tensor.is_conj() and not tensor.is_neg():
                ctypes.memmove(place.address, tensor.data_ptr(), self.nbytes)  # a tenth of the time of a copy by torch
                return
        with torch.no_grad():
            for tensor, start in zip(self.tensors, self.starts, strict=True):
                if tensor.numel():
                    place.flat(tensor.dtype, start, tensor.numel()).view(tensor.shape).copy_(tensor.detach())

    def give_back(self, world: World) -> None:
        """The neighbours have read it."""
        if self.staged >= 0:
            world.pool.give(self.staged)
            self.staged = -1

    # ---------------------------------------------------------------------------------------------------- coming in
    def fresh(self, world: World) -> tuple[Any, Place]:
        """Memory for a result like this, and where it is."""
        if self.nbytes <= INLINE:
            if len(self.tensors) == 1:
                tensor = self.tensors[0]
                if tensor.is_cpu and tensor.is_contiguous():  # several times faster than torch.empty
                    whole = torch.empty_like(tensor, memory_format=torch.contiguous_format)
                else:
                    whole = torch.empty(self.shape, dtype=self.dtype, device="cpu")
            else:
                whole = torch.empty(self.nbytes, dtype=torch.uint8, device="cpu")
            return whole, Place(whole.data_ptr(), whole, 0)
        offset = world.pool.take(self.nbytes)
        if self.device not in HOST:
            devices.pin(world.pool, offset, self.device)
        if len(self.tensors) == 1:
            whole = world.pool.tensor(offset, self.dtype, self.shape)
        else:
            whole = world.pool.tensor(offset, torch.uint8, (self.nbytes,))
        return whole, Place(world.pool.base + offset, world.pool.bytes, offset)

    def unpack(self, whole: torch.Tensor) -> Any:
        """The result in the form in which the input came."""
        if self.form is torch.Tensor:
            return whole if self.device.type == "cpu" else whole.to(self.device)
        if self.form is np.ndarray:
            return whole.numpy()
        if len(self.tensors) == 1:
            parts: list[Any] = [whole.to(self.tensors[0].device)]
        else:
            parts = [
                whole[start : start + tensor.numel() * tensor.dtype.itemsize]
                .view(tensor.dtype)
                .view(tensor.shape)
                .to(tensor.device)
                for tensor, start in zip(self.tensors, self.starts, strict=True)
            ]
        parts = [part.numpy() if array else part for part, array in zip(parts, self.arrays, strict=True)]
        return dict(zip(self.form, parts, strict=True)) if isinstance(self.form, list) else self.form(parts)

    def deliver(self, whole: torch.Tensor | None, out: Packed | None) -> Any:
        """The result, or what the user gave for it; no ``whole`` if it has been written there already."""
        if out is None:
            assert whole is not None
            return self.unpack(whole)
        if whole is not None:
            with torch.no_grad():
                for tensor, start in zip(out.tensors, self.starts, strict=True):
                    if len(out.tensors) > 1:
                        part = whole[start : start + tensor.numel() * tensor.dtype.itemsize].view(tensor.dtype)
                    else:
                        part = whole
                    tensor.copy_(part.view(tensor.shape))
        return out.given


def plain(tensor: torch.Tensor) -> bool:
    """Whether a tensor's numbers lie in memory as they are, one after the other."""
    return tensor.is_cpu and tensor.is_contiguous() and not (tensor.is_conj() or tensor.is_neg())


def check_out(packed: Packed, out: Any) -> Packed:
    """The tensors for the result; they must be like those that go in."""
    wanted = Packed(out, "out")
    if wanted.what != packed.what:
        raise ArgumentError(f"out is {words(wanted)}: it must be like x, {words(packed)}")
    items = [out] if isinstance(out, torch.Tensor | np.ndarray) else out.values() if isinstance(out, Mapping) else out
    for item, tensor in zip(items, wanted.tensors, strict=True):
        if isinstance(item, np.ndarray) and not np.shares_memory(item, tensor.numpy()) and item.size:
            raise ArgumentError(
                "out is an array that torch cannot write to: it is read-only, or has strides that are negative or no "
                "multiple of its elements; give a plain one, e.g. np.empty_like(x)"
            )
        if _overlaps_itself(tensor):
            raise ArgumentError("out is a tensor whose elements share their memory, e.g. an expanded one: give out.clone()")
    if len({tensor.data_ptr() for tensor in wanted.tensors if tensor.numel()}) < sum(t.numel() > 0 for t in wanted.tensors):
        raise ArgumentError("out names a tensor twice: give one for each result")
    wanted.given = out
    return wanted


def _overlaps_itself(tensor: torch.Tensor) -> bool:
    """Whether two elements may lie in the same place: from the smallest stride on, each must reach past all before it."""
    reach = 0
    for stride, length in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if length > 1:
            if stride <= reach:
                return True
            reach += stride * (length - 1)
    return False


def weigh(
    segments: Sequence[Segment],
    out: Place,
    terms: Sequence[Place],
    weights: Sequence[float],
    low: int = 0,
    high: int | None = None,
) -> None:
    """Add up the terms, or the part of them between two bytes."""
    for dtype, begin, numel in segments:
        if high is not None:
            last = min(begin + numel * dtype.itemsize, high)
            begin = max(begin, low)
            numel = max(0, last - begin) // dtype.itemsize
        if arithmetic.COMPILED and dtype in _KERNEL_DTYPES:
            arithmetic.weighted_sum_at(out.address + begin, [t.address + begin for t in terms], weights, numel, dtype)
        elif numel:
            arithmetic.weighted_sum(out.flat(dtype, begin, numel), [t.flat(dtype, begin, numel) for t in terms], weights)


class _Pickler(pickle.Pickler):
    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, torch.Tensor) and value.dtype in _UNSIGNED:  # torch writes these, but cannot read them
            return _viewed, (value.view(_UNSIGNED[value.dtype]), value.dtype)
        return NotImplemented


def _viewed(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return tensor.view(dtype)


def pickled(value: Any) -> bytes:
    """A Python object as bytes, for ``pickle.loads``; tensors of every dtype included."""
    file = io.BytesIO()
    _Pickler(file).dump(value)
    return file.getvalue()


def words(packed: Packed) -> str:
    """What it is, for a message."""
    return what_in_words(packed.what)


def what_in_words(what: tuple[Any, ...]) -> str:
    """The same, from the part of a signature."""
    if what and isinstance(what[-1], On):
        return f"{what_in_words(what[:-1])} on {what[-1]}"
    if what and isinstance(what[0], torch.dtype):
        return f"{str(what[0]).removeprefix('torch.')} {list(what[1])}"
    if not what:
        return "nothing"
    keys, *parts = what
    said = ", ".join(what_in_words(part) for part in parts[:4]) + (", …" if len(parts) > 4 else "")
    return f"{len(parts)} tensors ({said})" + (f" named {', '.join(keys[:4])}" if keys else "")


def what_in_bytes(what: tuple[Any, ...]) -> int:
    """How many bytes that is; 0 if a length is left open."""
    if what and isinstance(what[0], torch.dtype):
        return 0 if "any" in what[1] else math.prod(what[1]) * what[0].itemsize
    return sum(what_in_bytes(part) for part in what[1:] if not isinstance(part, On))


def _from_numpy(value: np.ndarray[Any, Any], argument: str) -> torch.Tensor:
    try:
        if not value.flags.writeable or any(stride < 0 or stride % max(1, value.itemsize) for stride in value.strides):
            value = value.copy()
        return torch.from_numpy(value)
    except (TypeError, ValueError) as error:
        raise ArgumentError(
            f"{argument} is an array of {value.dtype} in {value.dtype.byteorder!r} byte order: torch has no such dtype"
        ) from error
