"""Memory on devices that the ranks of a machine can read from each other: what a device must offer, and a rank's pool of it.

A block of such memory has a *handle*, some bytes with which a peer opens it. Results live in blocks, so that the input of the
next call is often where the neighbours can read it already. When the last tensor in a block is gone it goes back to the pool.
"""

from __future__ import annotations

import collections
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import torch

from ..errors import CommError, SetupError

if TYPE_CHECKING:
    from .shared import Pool

# What a pool keeps for the next call beyond what the user holds: two buffers of the largest size in use.
_WARM_BUFFERS = 2


class DeviceError(SetupError):
    """A device, or its driver, cannot do what it was asked."""


class Device(Protocol):
    """What the ranks need of a device to read each other's memory."""

    @property
    def device(self) -> torch.device:
        """What torch calls it."""

    @property
    def grain(self) -> int:
        """Sizes of blocks are multiples of this."""

    def allocate(self, nbytes: int) -> tuple[int, bytes]:
        """A new block: its address and its handle."""

    def free(self, address: int) -> None:
        """Give a block back to the system. No peer has it open any more."""

    def open(self, handle: bytes, nbytes: int) -> int:
        """The address at which this process sees a block of another one."""

    def close(self, address: int) -> None:
        """Let go of another's block."""

    def view(self, address: int, nbytes: int) -> tuple[torch.Tensor, Any]:
        """Memory as bytes, and an object that lives as long as any tensor made of them."""

    def stream(self) -> int:
        """The stream to which torch gives its work now."""

    def event(self) -> Callable[[], bool]:
        """What says, when called, whether all is done that this stream has been given until now."""

    def settle(self) -> None:
        """Wait until all work of this process is done."""

    def relieve(self) -> None:
        """Memory has run out: give back what is kept in reserve."""

    def pin(self, address: int, nbytes: int) -> Callable[[], None]:
        """Let the device copy from and to this memory of the host at full speed; what is returned takes that back."""


def _cuda(device: torch.device) -> Device:
    from .cuda import Cuda

    return Cuda(device)


KINDS: dict[str, Callable[[torch.device], Device]] = {"cuda": _cuda}
"""Per type of torch's devices, how one is made."""

HOST = {torch.device("cpu")}
"""Where tensors lie that are on no device: a look into this set is all that they pay for the others."""

_devices: dict[torch.device, Device] = {}


def device_of(device: torch.device) -> Device:
    """The device that torch calls so."""
    if device not in _devices:
        _devices[device] = KINDS[device.type](device)
    return _devices[device]


def pin(pool: Pool, offset: int, device: torch.device) -> None:
    """A block of the host's memory stages tensors of a device: it shall not be slower than it must."""
    if offset not in pool.pinned and device.type in KINDS:
        try:
            pool.pinned[offset] = device_of(device).pin(pool.base + offset, pool.used[offset])
        except (DeviceError, RuntimeError, OSError):  # a limit on locked memory, say: then it is slower
            pool.pinned[offset] = _nothing


def _nothing() -> None:
    pass


class Block:
    """Some memory of a device that belongs to this rank."""

    __slots__ = ("address", "bytes", "handle", "readers", "serial", "size", "stream")

    def __init__(self, address: int, size: int, handle: bytes, serial: int, view: torch.Tensor) -> None:
        self.address, self.size, self.handle = address, size, handle
        self.serial = serial
        """Tells it from another one that comes to lie at its address later."""
        self.bytes = view
        self.readers: set[int] = set()
        """The ranks that may have it open."""
        self.stream = 0


class _Watch(weakref.ref[Any]):
    """Tells when the tensors in a block are gone."""

    __slots__ = ("address",)
    address: int


class Blocks:
    """A rank's blocks on a device. What it needs no more it hands to ``retire``, which frees it when no peer has it open.

    As in `shared.Pool`, a block passes from one book to the next without a call between, after which a SIGINT could raise an
    error: in both books it would be handed out twice, in none it would be lost.
    """

    def __init__(self, device: Device, retire: Callable[[Block], None]) -> None:
        self.device, self._retire = device, retire
        self.used: dict[int, Block] = {}  # by address
        self.closed = ""
        """Why nothing may be taken."""
        self._warm: collections.OrderedDict[int, Block] = collections.OrderedDict()  # free; oldest first
        self._gone: collections.deque[_Watch] = collections.deque()
        self._watchers: dict[int, _Watch] = {}
        self._serial = 0

    def take(self, nbytes: int) -> Block:
        """A block of at least that size; `give` returns it."""
        if self.closed:
            raise CommError(self.closed)
        self._collect()
        size = max(1, -(-nbytes // self.device.grain)) * self.device.grain
        stream = self.device.stream()
        for block in reversed(self._warm.values()):
            # Work that still uses what has been dropped comes before ours only on the same stream. torch holds it likewise.
            if block.size == size and block.stream == stream:
                del self._warm[block.address]
                break
        else:
            block = self._fresh(size)
        self.used[block.address] = block
        block.stream = stream
        return block

    def give(self, block: Block) -> None:
        """The block is free again."""
        self._warm[block.address] = block
        del self.used[block.address]
        if len(self._warm) > _WARM_BUFFERS:
            self._cool()

    def tensor(self, block: Block, dtype: torch.dtype, shape: torch.Size | tuple[int, ...]) -> torch.Tensor:
        """The block as a tensor that owns it: when its last view is gone, the block is free."""
        shape = torch.Size(shape)
        whole, held = self.device.view(block.address, block.size)
        watch = _Watch(held, self._gone.append)  # it only takes a note, wherever the garbage collector runs
        watch.address = block.address
        self._watchers[block.address] = watch
        return whole[: shape.numel() * dtype.itemsize].view(dtype).view(shape)

    def holding(self, tensor: torch.Tensor) -> Block | None:
        """The block in which a tensor lives, if it lives in one."""
        return self.used.get(tensor.untyped_storage().data_ptr())

    def reclaim(self) -> None:
        """Take back the blocks that calls had lent when they failed: those in which no tensor lives."""
        self._collect()
        for block in [block for address, block in self.used.items() if address not in self._watchers]:
            self.give(block)

    def clear(self) -> None:
        """Give back all that is free."""
        self._collect()
        while self._warm:
            self._retire(self._warm.popitem(last=False)[1])

    @property
    def held(self) -> int:
        """Bytes in blocks that are in use."""
        self._collect()
        return sum(block.size for block in self.used.values())

    @property
    def kept(self) -> int:
        """Bytes in free blocks that are kept for the next call."""
        self._collect()
        return sum(block.size for block in self._warm.values())

    def _collect(self) -> None:
        while self._gone:
            watch = self._gone[0]
            if self._watchers.get(watch.address) is watch:  # if not, an interrupt came between here and the last line
                del self._watchers[watch.address]
                if watch.address in self.used:
                    self.give(self.used[watch.address])
            self._gone.popleft()

    def _fresh(self, size: int) -> Block:
        try:
            address, handle = self.device.allocate(size)
        except DeviceError:
            self.clear()
            self.device.relieve()
            address, handle = self.device.allocate(size)
        self._serial += 1
        return Block(address, size, handle, self._serial, self.device.view(address, size)[0])

    def _cool(self) -> None:
        largest = max(block.size for book in (self._warm, self.used) for block in book.values())
        while sum(block.size for block in self._warm.values()) > _WARM_BUFFERS * largest:
            self._retire(self._warm.popitem(last=False)[1])
