"""The device road: large tensors that lie on a device stay there, and neighbours on the same machine read them where they lie.

What a call publishes is then not the bytes but a description of them, from which a reader opens the block. The first call of an
epoch that comes this way begins with an introduction: each rank opens a block of every other and looks whether it reads what
that one wrote. If anything is amiss anywhere (a container, GPUs that cannot reach each other), all ranks stage such tensors
through the memory of the host instead.

A block must not be freed as long as a peer has it open. So every rank keeps a page that the others read: which of its blocks it
wants to free, and up to which wish it has heard each of the others.
"""

from __future__ import annotations

import collections
import contextlib
import pickle
import secrets
import struct
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from .board import IN_ORDER, fence
from .collectives import _lend_bytes
from .devices import KINDS, Block, Blocks, Device, DeviceError, device_of
from .operation import Call, Publication, Source
from .packing import On, Packed, Place
from .world import INLINE, Program, World

if TYPE_CHECKING:
    import numpy as np

_DESCRIPTION = struct.Struct("<qqq")  # serial number of the block, its size, where in it the bytes begin; then its handle
_PROBE = 64
# the words of a page: how many wishes there have been, the last of them in a ring, and how many were heard of each rank
_WISHES, _RING, _PLACES = 0, 1, 255
_HEARD = _RING + _PLACES
_ALL = 2**62

Introduction = tuple[Publication, Publication] | None


def choose(world: World, packed: Packed) -> None:
    """Take the device road, if this is a call for it: its signature says so, because all ranks must come the same way."""
    kind = packed.device.type
    if packed.nbytes <= INLINE or world.machine_count > 1:
        return
    if kind in KINDS and all(tensor.device.type == kind for tensor in packed.tensors):
        packed.road, packed.block = road_of(world, packed.device), None
        packed.what = (*packed.what, On(kind))


def road_of(world: World, device: torch.device) -> Road:
    """The world's road. It has one device: what lies on another one is copied."""
    if world.road is None:
        world.road = Road(world, device)
    road: Road = world.road
    return road


def empty(world: World, dtype: torch.dtype, shape: torch.Size, device: torch.device) -> torch.Tensor:
    """Memory for a tensor, from the road's pool if it is a tensor for the road."""
    if device.type in KINDS and world.machine_count == 1 and shape.numel():
        with contextlib.suppress(DeviceError):  # what cannot be lent is memory all the same
            blocks = road_of(world, device).blocks
            if device == blocks.device.device:
                return blocks.tensor(blocks.take(shape.numel() * dtype.itemsize), dtype, shape)
    return torch.empty(shape, dtype=dtype, device=device)


class Road:
    """One rank's end of the road: its blocks, and what it has open of the others'."""

    def __init__(self, world: World, device: torch.device) -> None:
        self.world, self._where = world, device
        self.works: bool | None = None
        """Whether the ranks can read each other's memory; None as long as that is not known."""
        self.why = ""
        """Why not."""
        self._introduced = False
        self._blocks: Blocks | None = None
        self._opened: dict[tuple[int, int], Place] = {}  # by rank and serial number
        self._page: torch.Tensor | None = None
        self._pages: dict[int, np.ndarray[Any, Any]] = {}
        self._heard: dict[int, int] = {}  # of each rank, how many wishes
        self._unwished: collections.deque[Block] = collections.deque()  # to be freed, and nobody knows it yet
        self._wished: dict[int, Block] = {}  # by the number of the wish
        self._wishes = 0
        world.listeners.append(self._new_epoch)

    @property
    def blocks(self) -> Blocks:
        """The rank's blocks. Nothing is asked of the device before they are needed."""
        if self._blocks is None:
            self._blocks = Blocks(device_of(self._where), self._retire)
        return self._blocks

    @property
    def device(self) -> Device:
        """The device on which they lie."""
        return self.blocks.device

    # ------------------------------------------------------------------------------------------------ introduction
    def introduce(self, call: Call) -> Introduction:
        """For the first call of an epoch, the publications with which it begins."""
        if self._introduced:
            return None
        self._introduced = True
        return Publication(self.world, call), Publication(self.world, call)

    def agreed(self, introduction: Introduction) -> Program[bool]:
        """Whether the road can be taken, the same on all ranks."""
        self._tend()
        if introduction is None:
            while self.works is None:  # the call that found out is still under way
                yield ~self.world.rank
            return self.works
        hello, verdict = introduction
        world = self.world
        others = [rank for rank in range(world.size) if rank != world.rank]
        why, probe = "", None
        token = secrets.token_bytes(_PROBE)
        yield from hello.free_slot()
        try:
            probe = self.blocks.take(_PROBE)
            probe.bytes[:_PROBE].copy_(torch.frombuffer(bytearray(token), dtype=torch.uint8))
            yield from self.finished()
        except (DeviceError, RuntimeError, OSError) as error:
            why = _in_words(world.rank, error)
        words = (why, token, self._own_page(), b"" if probe is None else self._describe(probe, 0, others))
        _post(hello, pickle.dumps(words), others)
        for source in (yield from hello.read(others)):
            said, token, page, description = pickle.loads(source.place.bytes(0, source.nbytes))
            if said or why:
                why = why or said
                continue
            self._pages[source.rank] = self._page_of(source.rank, page)
            try:
                found = self._reach(source.rank, description).flat(torch.uint8, 0, _PROBE).cpu()
                if bytes(found.tolist()) != token:
                    why = f"rank {world.rank} does not read what rank {source.rank} has written"
            except (DeviceError, RuntimeError, OSError) as error:
                why = _in_words(world.rank, error)
        yield from verdict.free_slot()
        _post(verdict, why.encode()[: INLINE // 2], others)
        for source in (yield from verdict.read(others)):
            why = why or bytes(source.place.bytes(0, source.nbytes)).decode(errors="replace")
        hello.mark(others)
        verdict.mark(others)
        self.why, self.works = why, not why
        yield from hello.released()
        yield from verdict.released()
        if probe is not None:
            self.blocks.give(probe)
        return self.works

    def _new_epoch(self) -> None:
        # some ranks may have been introduced when the last one failed, and others not
        self._introduced, self.works = False, None
        if self._blocks is not None:
            self._blocks.reclaim()

    # ------------------------------------------------------------------------------------------------ lending
    def lend(self, packed: Packed) -> Program[tuple[Block, Place]]:
        """Where the bytes are: in the block in which the tensor lives, or in one to which they are copied."""
        tensor = packed.tensors[0]
        if len(packed.tensors) == 1 and tensor.is_contiguous() and not (tensor.is_conj() or tensor.is_neg()):
            block = self.blocks.holding(tensor)
        else:
            block = None
        if block is None:
            packed.block = block = self.blocks.take(packed.nbytes)
            place = Place(block.address, block.bytes, 0)
            packed.write(place)
        else:
            place = Place(tensor.data_ptr(), block.bytes, tensor.data_ptr() - block.address)
        yield from self.finished()
        return block, place

    def finished(self) -> Program[None]:
        """Wait until the device has done what it was asked."""
        done = self.device.event()
        while not done():
            yield ~self.world.rank

    def post(self, lending: Publication, block: Block, place: Place, readers: Sequence[int], **options: Any) -> None:
        """Publish a place in a block for the readers."""
        _post(lending, self._describe(block, place.offset, readers), readers, **options)

    def give_back(self, packed: Packed) -> None:
        """The neighbours have read it."""
        if packed.block is not None:
            self.blocks.give(packed.block)
            packed.block = None

    def fresh(self, packed: Packed) -> tuple[torch.Tensor, Block, Place]:
        """Memory for a result like this, and where it is."""
        block = self.blocks.take(packed.nbytes)
        if len(packed.tensors) == 1:
            whole = self.blocks.tensor(block, packed.dtype, packed.shape)
        else:
            whole = self.blocks.tensor(block, torch.uint8, (packed.nbytes,))
        return whole, block, Place(block.address, block.bytes, 0)

    def reach(self, sources: Iterable[Source]) -> list[Place]:
        """Where the sources' bytes are, as this process sees them."""
        return [self._reach(source.rank, bytes(source.place.bytes(0, source.nbytes))) for source in sources]

    @staticmethod
    def _describe(block: Block, offset: int, readers: Iterable[int]) -> bytes:
        block.readers.update(readers)
        return _DESCRIPTION.pack(block.serial, block.size, offset) + block.handle

    def _reach(self, rank: int, description: bytes) -> Place:
        serial, size, offset = _DESCRIPTION.unpack_from(description)
        block = self._opened.get((rank, serial))
        if block is None:
            address = self.device.open(description[_DESCRIPTION.size :], size)
            block = self._opened[rank, serial] = Place(address, self.device.view(address, size)[0], 0)
        return Place(block.address + offset, block.memory, offset)

    # ------------------------------------------------------------------------------------------------ freeing
    def _own_page(self) -> int:
        """Where in the rank's shared memory its page is."""
        world = self.world
        if self._page is None:
            size = _HEARD + world.size
            # a tensor holds it: else the pool would take it back after a failure
            self._page = world.pool.tensor(world.pool.take(8 * size), torch.int64, (size,)).zero_()
        offset = world.pool.offset_of(self._page.data_ptr())
        self._pages[world.rank] = self._page_of(world.rank, offset)
        return offset

    def _page_of(self, rank: int, offset: int) -> np.ndarray[Any, Any]:
        size = 8 * (_HEARD + self.world.size)
        return self.world.bytes[rank][offset : offset + size].view(torch.int64).numpy()

    def _retire(self, block: Block) -> None:
        if block.readers:
            self._unwished.append(block)
        else:
            self._free(block)

    def _free(self, block: Block) -> None:
        block.bytes = torch.empty(0, dtype=torch.uint8, device="cpu")
        self.device.free(block.address)

    def _tend(self) -> None:
        """Close what others want to free, free what all have closed, and say what else is to be freed."""
        pages, me = self._pages, self.world.rank
        if me not in pages:
            return
        mine = pages[me]
        for rank, page in pages.items():
            if rank != me and page[_WISHES] > self._heard.get(rank, 0):
                self._close(rank, page)
        for number, block in list(self._wished.items()):
            # a rank that has not been introduced in this epoch may have it open since an earlier one
            if all(rank in pages and pages[rank][_HEARD + me] >= number for rank in block.readers):
                del self._wished[number]
                self._free(block)
        while self._unwished and self._wishes - min(self._wished, default=self._wishes) < _PLACES - 1:
            number = self._wishes + 1
            mine[_RING + number % _PLACES] = self._unwished[0].serial
            self._wished[number] = self._unwished.popleft()
            self._wishes = number
            _publish(mine, _WISHES, number)

    def _close(self, rank: int, page: np.ndarray[Any, Any]) -> None:
        """Close what a rank wants to free."""
        wishes = int(page[_WISHES])
        if not IN_ORDER:
            fence()
        # what has left the ring was heard by all who had it open
        for number in range(max(self._heard.get(rank, 0), wishes - _PLACES) + 1, wishes + 1):
            place = self._opened.pop((rank, int(page[_RING + number % _PLACES])), None)
            if place is not None:
                self.device.settle()  # after a failure, somebody may still read it
                self.device.close(place.address)
        self._heard[rank] = wishes
        _publish(self._pages[self.world.rank], _HEARD + rank, wishes)

    def close(self) -> None:
        """Leave the road. Tensors in blocks stay valid; what a peer may have open stays until the process ends."""
        if self._blocks is not None and not self._blocks.closed:
            with contextlib.suppress(DeviceError, RuntimeError):
                self.device.settle()
                self._tend()
                self._blocks.clear()
                for place in self._opened.values():
                    self.device.close(place.address)
                for rank in self._pages:
                    _publish(self._pages[self.world.rank], _HEARD + rank, _ALL)
            self._opened.clear()
        self.stop("ifog.shutdown() was called")

    def stop(self, why: str) -> None:
        """Touch nothing any more: the world has ended, or this process is a copy of the rank's, where no GPU can be used."""
        if self._blocks is not None:
            self._blocks.closed = why
        self._pages.clear()
        self._page = None


def _post(lending: Publication, data: bytes, readers: Sequence[int], **options: Any) -> None:
    lending.post(_lend_bytes(lending.world, lending, data), len(data), readers, **options)
    lending.inline = False  # the words are in the slot, but not what they are about: that is lent until all have read it


def _publish(page: np.ndarray[Any, Any], word: int, value: int) -> None:
    if not IN_ORDER:
        fence()
    page[word] = value


def _in_words(rank: int, error: Exception) -> str:
    return f"rank {rank}: {(str(error).splitlines() or [type(error).__name__])[0]}"
