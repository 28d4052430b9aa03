"""Memory that every rank of a machine can read: a segment for each rank, and the pool of blocks that it hands out.

A segment is an anonymous file (``memfd``): it has no name in any folder, so whatever happens to its owner, nothing is left
behind, and the small /dev/shm of a container does not limit it. It is as large as the machine's memory, but only the pages
that were written exist; so every peer maps it once, and a block is just an offset in it.

Results live in the pool. A tensor handed out holds its block by a reference; when the last view of it is gone, the block
goes back. The input of the next call is then often already where the neighbours can read it: that is the whole secret of
``x = neighbor_allreduce(x)`` without a copy.
"""

from __future__ import annotations

import collections
import contextlib
import mmap
import os
import tempfile
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import CommError, SetupError

if TYPE_CHECKING:
    import torch

PAGE = 4096
# What a pool keeps warm for the next call beyond what the user holds: two buffers of the largest size in use.
_WARM_BUFFERS = 2


@dataclass(frozen=True)
class Key:
    """What a peer on the same machine needs to map a segment."""

    pid: int
    descriptor: int
    path: str
    size: int


class Segment:
    """One mapping of shared memory: `create` makes it, `attach` maps that of a peer."""

    def __init__(self, descriptor: int, size: int, path: str = "") -> None:
        self.size = size
        self.path = path
        self._in_folder = bool(path)
        self._descriptor = descriptor
        self.memory = mmap.mmap(descriptor, size)

    @classmethod
    def create(cls, size: int) -> Segment:
        """New memory, all zero, of which only what is written takes place."""
        if hasattr(os, "memfd_create") and os.environ.get("IFOG_SHARED") != "file":
            descriptor, path = os.memfd_create("ifog"), ""
        else:  # macOS, or a /proc that hides other processes: a file whose name goes as soon as all have opened it
            descriptor, path = tempfile.mkstemp(prefix="ifog-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
        while True:
            try:
                os.ftruncate(descriptor, size)
                return cls(descriptor, size, path)
            except (OSError, ValueError, OverflowError) as error:  # a limit on the address space (ulimit -v)
                size //= 2
                if size < 2**26:
                    os.close(descriptor)
                    if path:
                        Path(path).unlink()
                    raise SetupError(
                        f"no 64 MiB of shared memory can be mapped ({error}): raise the limit `ulimit -v`"
                    ) from error

    @classmethod
    def attach(cls, key: Key, *, keep_file: bool = False) -> Segment:
        """The memory of a peer; what is mapped needs no open file, unless somebody wants to lock it."""
        descriptor = os.open(key.path or f"/proc/{key.pid}/fd/{key.descriptor}", os.O_RDWR)
        try:
            segment = cls(descriptor, key.size)
        except BaseException:
            os.close(descriptor)
            raise
        if not keep_file:
            os.close(descriptor)
            segment._descriptor = -1
        return segment

    @property
    def key(self) -> Key:
        """What a peer needs to attach it."""
        return Key(os.getpid(), self._descriptor, self.path, self.size)

    def reserve(self, offset: int, size: int) -> None:
        """Make sure that there is room. To write into a file of a folder that is full would kill the process."""
        if self._in_folder and hasattr(os, "posix_fallocate"):
            try:
                os.posix_fallocate(self._descriptor, offset, size)
            except OSError as error:
                raise SetupError(
                    f"{size / 2**20:.0f} MiB of shared memory do not fit in its folder ({error.strerror}): make /dev/shm "
                    "larger, or unset IFOG_SHARED"
                ) from error

    def forget_name(self) -> None:
        """All have attached it: a file loses its name, so that nothing can be left behind."""
        if self.path:
            with contextlib.suppress(FileNotFoundError):
                Path(self.path).unlink()
            self.path = ""

    def close(self) -> None:
        """Let go of it. Tensors that still live in it keep the memory, not the descriptor."""
        self.forget_name()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        with contextlib.suppress(BufferError):
            self.memory.close()


class _Watch(weakref.ref[memoryview]):
    """Tells when the tensors in a block are gone."""

    __slots__ = ("offset",)
    offset: int


class Pool:
    """Blocks of one's own segment, from ``start`` on; each goes back when the last tensor in it is gone.

    A SIGINT may raise an error after any call of a function. So a block passes from one book to the next without such a call
    between: in both it would be handed out twice, in none it would be lost.
    """

    def __init__(self, segment: Segment, start: int) -> None:
        import torch

        self.segment = segment
        self.bytes: torch.Tensor = torch.frombuffer(segment.memory, dtype=torch.uint8)
        self.base: int = self.bytes.data_ptr()
        self.start = start
        self.used: dict[int, int] = {}  # offset → size
        self._top = start
        self._warm: collections.OrderedDict[int, int] = collections.OrderedDict()  # freed, pages still there; oldest first
        self._cold: list[tuple[int, int]] = []  # (offset, size) given back to the system, sorted
        self._gone: collections.deque[_Watch] = collections.deque()  # freed by the garbage collector, wherever that ran
        self._watchers: dict[int, _Watch] = {}
        self._closed = ""  # why nothing may be taken
        self.pinned: dict[int, Callable[[], None]] = {}
        """The blocks that devices copy from and to, and how they are let go again."""
        segment.reserve(0, start)

    def offset_of(self, address: int) -> int:
        """Where in the segment an address lies; negative if it is not in the pool."""
        offset = address - self.base
        return offset if self.start <= offset < self.segment.size else -1

    def take(self, nbytes: int) -> int:
        """A block of at least that size, by its offset; `give` returns it."""
        if self._gone:
            self._collect()
        size = max(PAGE, -(-nbytes // PAGE) * PAGE)
        for offset in reversed(self._warm):  # the last one freed is the likeliest to be in a cache
            if self._warm[offset] == size:
                del self._warm[offset]
                break
        else:
            offset = self._fresh(size)
        self.used[offset] = size
        return offset

    def give(self, offset: int) -> None:
        """The block is free again."""
        self._warm[offset] = self.used[offset]
        del self.used[offset]
        if len(self._warm) > _WARM_BUFFERS:
            self._cool()

    def tensor(self, offset: int, dtype: torch.dtype, shape: torch.Size | tuple[int, ...]) -> torch.Tensor:
        """The block as a tensor that owns it: when its last view is gone, the block is free."""
        import torch

        held = memoryview(self.segment.memory)[offset : offset + self.used[offset]]
        # The callback may come from the garbage collector in the middle of anything, so it only takes a note. It is no Python
        # code, in which a SIGINT could raise an error that the collector would swallow, and the note with it.
        watch = _Watch(held, self._gone.append)
        watch.offset = offset
        self._watchers[offset] = watch
        numel = 1
        for length in shape:
            numel *= length
        return torch.frombuffer(held, dtype=dtype, count=numel).view(shape)

    def reclaim(self) -> None:
        """Take back the blocks that calls had lent when they failed: those in which no tensor lives."""
        self._collect()
        for offset in [offset for offset in self.used if offset not in self._watchers]:
            self.give(offset)

    def _collect(self) -> None:
        while self._gone:
            watch = self._gone[0]
            if self._watchers.get(watch.offset) is watch:  # if not, an interrupt came between here and the last line
                del self._watchers[watch.offset]
                if watch.offset in self.used:
                    self.give(watch.offset)
            self._gone.popleft()

    def close(self, why: str) -> None:
        """Hand out nothing any more, and give nothing back."""
        self._closed = why
        self.used.clear()
        self._warm.clear()
        self._cold.clear()
        self.pinned.clear()

    def unpin(self, offset: int) -> None:
        """The block's pages may go: to a device that still held them they would be others than to the processor."""
        if offset in self.pinned:
            with contextlib.suppress(SetupError):
                self.pinned[offset]()
            del self.pinned[offset]

    def _fresh(self, size: int) -> int:
        if self._closed:
            raise CommError(self._closed)
        for i, (offset, room) in enumerate(self._cold):
            if room >= size:
                self.segment.reserve(offset, size)
                if room == size:
                    del self._cold[i]
                else:
                    self._cold[i] = (offset + size, room - size)
                return offset
        if self._top + size > self.segment.size:
            raise SetupError(
                f"the shared memory of this rank is full: {self.held / 2**20:.0f} MiB are held by tensors, and another "
                f"{size / 2**20:.0f} MiB do not fit in its {self.segment.size / 2**30:.1f} GiB"
            )
        self.segment.reserve(self._top, size)
        self._top += size
        return self._top - size

    def _cool(self) -> None:
        """Give back to the system what is more than two warm buffers of the largest size in use."""
        largest = max(self._warm.values())
        largest = max(largest, max(self.used.values(), default=0))
        budget = _WARM_BUFFERS * largest
        while sum(self._warm.values()) > budget:
            offset = next(iter(self._warm))
            size = self._warm[offset]
            if self.pinned:
                self.unpin(offset)
            if hasattr(mmap, "MADV_REMOVE"):
                with contextlib.suppress(OSError):
                    self.segment.memory.madvise(mmap.MADV_REMOVE, offset, size)
            del self._warm[offset]
            self._cold += [(offset, size)]
        self._cold.sort()
        merged: list[tuple[int, int]] = []
        for offset, size in self._cold:
            if merged and sum(merged[-1]) == offset:
                merged[-1] = (merged[-1][0], merged[-1][1] + size)
            else:
                merged.append((offset, size))
        if merged and sum(merged[-1]) == self._top:
            self._top = merged.pop()[0]
        self._cold = merged

    @property
    def held(self) -> int:
        """Bytes in blocks that are in use."""
        self._collect()
        return sum(self.used.values())

    @property
    def kept(self) -> int:
        """Bytes in free blocks that are kept for the next call."""
        self._collect()
        return sum(self._warm.values())


def machine_memory() -> int:
    """How much memory the machine has, in bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
