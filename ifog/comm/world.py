"""The ranks' world: how it comes to be, how a rank waits in it, how it fails, and how it starts anew.

Everything that waits is a *program*: a generator that yields the rank it waits for and returns its result. `World.run` drives
it. Between two looks it gives the processor away; it leaves as soon as a rank has failed; it warns when a wait gets long; and
it says so when nobody will ever come::

    def program():
        while not there():
            yield 3                 # waiting for rank 3
        return what_came

An *epoch* is a stretch without failure. When one rank fails, the epoch is over for all: every call raises, until the next
cell (or `recover`, in a script) begins a new one, in which nothing of the old one can be seen.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from ..errors import CommError, Deadlock, Mismatch, PeerFailed, SetupError
from . import cell, ending
from .beginning import agreed, allgather, forget_files_of_mpi, meet, undisturbed
from .board import (
    AGREED,
    DIED,
    ENDED,
    EPOCH,
    FAILED,
    GAVE_UP,
    IDLE,
    LAST_CALL,
    PID,
    RECOVER,
    REFUSED,
    RUNNING,
    SLOTS,
    STATE,
    WAITING,
    Board,
    describe,
    ranks_in_words,
)
from .patience import Patience, seconds_until_warning
from .shared import Pool, Segment, machine_memory
from .wire import Mirror, Pump, Wire

if TYPE_CHECKING:
    from mpi4py import MPI

    from .operation import Handle

T = TypeVar("T")
Program = Generator[int, None, T]

INLINE = 2**15
"""Up to so many bytes a payload is copied into its slot; what is longer is read where it lies."""
_INLINE_AREA = INLINE * SLOTS
_NOT_SHARED = (
    "cannot map the memory of its neighbours on the same machine: all ranks must run as the same user, in the same container, "
    "without a limit on the address space (`ulimit -v`), or share through files (IFOG_SHARED=file)"
)

_NO_READERS: list[tuple[int, list[int], bytes | None]] = [(0, [], b"")] * SLOTS
"""Per slot: its last key, who reads that, and the words in which they say so, as `swift` packs them."""

_current: World | None = None
_lock = threading.RLock()
_last_epoch = 0


def existing() -> World | None:
    """The world, if there is one."""
    return _current


def current() -> World:
    """The world, which begins at its first use."""
    return _current if _current is not None else init()


def init() -> World:
    """Begin the world: find the ranks, the machines, and the memory that they share."""
    global _current
    with _lock:
        if _current is None:
            with undisturbed() as let_through:
                begun = World(meet(let_through))
                with cell.lock:
                    _current = begun
                    cell.catch_up(begun)
        return _current


def shutdown() -> None:
    """End the world on this rank. A later `init` on all ranks begins another one."""
    global _current
    with _lock:
        if _current is not None:
            world, _current = _current, None
            world.close()


class _Introduction(NamedTuple):
    """What a rank says of itself when the world begins."""

    machine: str
    block: int | None
    epoch: int


class World:
    """One rank's place among the others."""

    def __init__(self, comms: list[MPI.Intracomm]) -> None:
        import torch

        comm, side, pairs = comms
        self.rank: int = comm.rank
        self.size: int = comm.size
        self.warn_after = seconds_until_warning()
        last_epoch = self._machines(comm)
        if "OMP_NUM_THREADS" not in os.environ:  # ranks that share the cores do not each need all of them
            torch.set_num_threads(max(1, (os.cpu_count() or 1) // self.local_size))
        self.wire, self.pairs = Wire(comm), Wire(pairs)
        self.receiving: dict[tuple[int, int], list[Any]] = {}  # who receives from a rank under a key, in this order
        self.to_itself: dict[int, deque[bytes]] = {}  # what this rank has sent to itself
        # later than any of an earlier world, whose messages may still be on their way
        self.epoch = last_epoch + 1
        self.sequence = 0
        self.progressed = 0
        self.waited = 0.0  # seconds, in waits that were long enough to be looked at
        """Changes whenever a wait has led to something."""
        self.busy = False
        """Whether a call is being made."""
        self.pending: list[Handle[Any]] = []
        self.readers = list(_NO_READERS)
        self.readers_elsewhere: list[int] = []  # of the last publication, on other machines
        self.said: list[object] = [None] * SLOTS
        self.ways: dict[str, Any] = {}  # short ones, of what all ranks do together: by `swift`
        self.call = b"ifog.init()"
        self.timeline: Any = None
        self.road: Any = None  # for tensors on devices, since the first one
        self.listeners: list[Callable[[], None]] = []  # told when a new epoch begins
        self.closed = False
        self._outdated = 0  # up to this epoch, failures belong to earlier cells: the next call begins a new one
        self._refused = ""  # why the last call was refused here, until the next one
        self._told = False  # the failure of this epoch has been raised here
        self.last_refused = 0
        """The key of the last call that was refused here."""
        self.cell_began_at = 0.0
        self._attach(comm)
        self.threads: list[Any] = []  # what runs beside the user's code while he uses this world
        self._keepers: list[Any] = []  # what runs as long as any rank may use it
        ending.accompany(self)
        if self.machine_count > 1 and self.local_rank == 0:
            self._keepers.append(Mirror(side, self))
        if self.machine_count > 1:
            self._keepers.append(Pump(self))
        if hasattr(os, "pidfd_open") and self.local_size > 1:
            self._keepers.append(ending.DeathWatch(self))

    # ------------------------------------------------------------------------------------------------- beginning
    def _machines(self, comm: MPI.Intracomm) -> int:
        """Which ranks share memory: those that see each other's processes, or blocks of as many as the environment says."""
        from mpi4py import MPI

        name = os.uname().nodename.encode()
        for file in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid", "/proc/self/ns/net"):
            with contextlib.suppress(OSError):
                name += str(Path(file).readlink() if "/ns/" in file else Path(file).read_text()).encode()
        with agreed(comm, "cannot begin"):
            block = _nodes_per_machine()
        machine = hashlib.sha256(name).hexdigest() if block is None else str(self.rank // block)
        said = allgather(comm, _Introduction(machine, block, _last_epoch))
        if len({one.block for one in said}) > 1:
            raise SetupError(f"IFOG_NODES_PER_MACHINE differs between the ranks: {[one.block for one in said]}")
        machines = list(dict.fromkeys(one.machine for one in said))
        if len(machines) > 1 and MPI.Query_thread() < MPI.THREAD_MULTIPLE:
            raise SetupError(
                "between machines MPI must allow several threads: start it with MPI_THREAD_MULTIPLE, as mpi4py does unless "
                "mpi4py.rc.threads or mpi4py.rc.thread_level is changed"
            )
        self.machine_of = [machines.index(one.machine) for one in said]
        self.machine_count = len(machines)
        self.machine_rank = self.machine_of[self.rank]
        self.machine_ranks = [[r for r in range(self.size) if self.machine_of[r] == m] for m in range(len(machines))]
        self.locals = self.machine_ranks[self.machine_rank]
        self.local_rank = self.locals.index(self.rank)
        self.local_size = len(self.locals)
        self.is_local = [machine == self.machine_rank for machine in self.machine_of]
        self.is_homogeneous = all(
            ranks == list(range(ranks[0], ranks[0] + self.local_size)) and len(ranks) == self.local_size
            for ranks in self.machine_ranks
        )
        return max(one.epoch for one in said)

    def _attach(self, comm: MPI.Intracomm) -> None:
        """Make one's own segment, and map the board and the segments of the machine's other ranks."""
        import torch

        mine: list[Segment] = []
        try:
            with agreed(comm, "cannot share memory"):
                mine.append(Segment.create(machine_memory()))
                self.pool = Pool(mine[0], _INLINE_AREA)
                if self.local_rank == 0:
                    self.board = Board.create(self.size, self.rank)
                    mine.append(self.board.segment)
            keys = allgather(comm, [segment.key for segment in mine])
            self.segments: dict[int, Segment] = {self.rank: mine[0]}
            with agreed(comm, _NOT_SHARED):
                if self.local_rank > 0:
                    self.board = Board.attach(keys[self.locals[0]][1], self.size, self.rank)
                for peer in self.locals:
                    if peer != self.rank:
                        self.segments[peer] = Segment.attach(keys[peer][0])
        finally:
            for segment in mine:
                segment.forget_name()
        self.board.words[self.board.mine + PID] = os.getpid()
        self.board.words[self.board.mine + EPOCH] = self.epoch
        self.board.enter(RUNNING)
        self.bytes = {
            peer: self.pool.bytes if peer == self.rank else torch.frombuffer(other.memory, dtype=torch.uint8)
            for peer, other in self.segments.items()
        }
        self.base = {peer: memory.data_ptr() for peer, memory in self.bytes.items()}
        forget_files_of_mpi()
        self.wire.drain()
        self.pairs.drain()
        allgather(comm, None)

    # --------------------------------------------------------------------------------------------------- waiting
    def run(self, program: Program[T]) -> T:
        """Drive a program to its end, and wait wherever it waits."""
        if self.busy:  # two threads have come here at once: whose call comes first is anybody's guess
            self.fail(error := self._in_use())
            raise error
        words, epoch = self.board.words, self.epoch
        polls, patience = 0, None
        step = program.__next__
        try:
            self.busy = True
            self.forget_refusal()
            while True:
                peer = step()
                if words[0] >= epoch:
                    raise self.failure()
                polls += 1
                if polls < 40:
                    os.sched_yield()
                else:
                    if patience is None:
                        patience = Patience(self)
                    patience.wait(peer)
        except StopIteration as end:
            # what was read is only worth something if nobody failed meanwhile: a failed rank may overwrite what it lent
            if words[0] >= epoch:
                raise self.failure() from None
            result: T = end.value
            return result
        except BaseException as error:
            self.fail(error)
            program.close()  # now, and not when the traceback is gone: it may hold a lock
            raise
        finally:
            self.busy = False
            if patience is not None:
                patience.over()

    def progress(self) -> None:
        """Let the non-blocking operations go on as far as they can."""
        if self.busy:
            raise self._in_use()
        self.step_pending()

    def step_pending(self) -> None:
        """The same, from within a call."""
        for handle in list(self.pending):
            handle.step()

    def awake(self) -> None:
        """The wait has led to something: this rank works again."""
        self.progressed += 1
        if self.board.words[self.board.mine + STATE] == WAITING:
            self.board.enter(RUNNING)

    # --------------------------------------------------------------------------------------------------- failing
    def check(self) -> None:
        """Refuse to go on in an epoch that has failed; begin a new one if the failure belongs to an earlier cell."""
        if self.busy:
            raise self._in_use()
        self.forget_refusal()
        while self.board.words[0] >= self.epoch:
            if self.epoch < 0 or not (self._outdated >= self.epoch or self.size == 1):  # alone, there is nobody to agree with
                raise self.failure()
            self.recover()

    def fail(self, error: BaseException) -> None:
        """Say that this rank cannot go on: raise the flag, unless it only follows somebody else's."""
        if self.epoch < 0 or getattr(error, "_from_peer", False):
            return
        # the epoch may be one that the others have begun already, while this rank was interrupted in `recover`
        epoch = max(self.epoch, self.board.words[self.board.mine + EPOCH])
        if self.board.failed_epoch < epoch:
            self.board.fail(epoch, describe(error))

    def refuse(self, error: BaseException) -> None:
        """A call was refused here, before it began. If others wait for it, they shall know why."""
        if self.size > 1:
            self._refused = describe(error)
            self.last_refused = self.key()
            self.board.refuse(self.key(), self._refused)

    def forget_refusal(self) -> None:
        """A call begins that is not refused."""
        if self._refused:
            self.board.words[self.board.mine + REFUSED] = 0
            self._refused = ""

    def failure(self) -> CommError:
        """Why the epoch has failed, as seen from this rank."""
        self._told = True
        return _from_peer(self._failure())

    def _failure(self) -> CommError:
        if self.epoch < 0:
            return CommError(
                f"this process is a child of rank {self.rank}, and no rank itself: only the rank's own process can talk to the "
                "others; what they say must be passed on to the child"
            )
        board, me = self.board, self.rank
        found = board.failures(max(self.epoch, board.failed_epoch))
        for rank in range(self.size):
            if board.state(rank) == DIED:
                text = found.get(rank, "its process has died")
                return PeerFailed(f"rank {rank} failed: {text}\nIt does not come back: start the ranks again.")
        if not found:
            return PeerFailed(f"another rank has failed\n{_next_step()}")
        first, text = next(iter(found.items()))
        kind, _, message = text.partition(": ")
        if kind in _TOGETHER:  # what the ranks did together is everybody's error, in the same words
            return _TOGETHER[kind](message)
        also = [rank for rank in found if rank != first]
        if first == me and not also:
            return PeerFailed(f"this rank has failed before ({text}), and the others were released: {_next_step()}")
        who = f"this rank, {me}," if first == me else f"rank {first}"
        more = f" (then also {ranks_in_words(also)})" if also else ""
        return PeerFailed(f"{who} failed{more}: {text}\n{_next_step()}")

    def gave_up(self, rank: int) -> CommError:
        """A rank whose last cell has ended in an error, while others wait for it to begin a new epoch: why it does not come."""
        after = "To begin anew, run the next cell on all engines." if cell.count else _next_step()
        return _from_peer(PeerFailed(f"rank {rank} failed: {self.board.last_error(rank)}\n{after}"))

    def _in_use(self) -> CommError:
        return CommError(
            f"ifog is in a call already ({self.call.decode()}), in another thread or below a signal handler: "
            "call it from one thread at a time"
        )

    def bury(self, rank: int) -> None:
        """A rank of this machine has died: all leave their waits, and one says why while it can."""
        said = self.board.bury(rank, self.epoch)
        if said:
            os.write(2, f"\nifog: {said}. All ranks must be started again.\n".encode())

    def bury_the_dead(self) -> None:
        """Find out which ranks of this machine have died."""
        for rank in self.locals:
            if rank != self.rank and not self.board.alive(rank):
                self.notice_end(rank)

    def notice_end(self, rank: int) -> None:
        """The process of a rank of this machine has come to its end."""
        if self.epoch > 0 and self.board.state(rank) not in (ENDED, DIED):
            self.bury(rank)

    # ---------------------------------------------------------------------------------------------------- recovering
    def recover(self) -> None:
        """Begin a new epoch, together with all the other ranks. If it is interrupted, it can be called again."""
        if self.epoch < 0:
            raise self.failure()
        if self.busy:
            raise self._in_use()
        try:
            self.busy = True
            self._recover()
        finally:
            self.busy = False

    def _recover(self) -> None:
        board, words = self.board, self.board.words
        if board.failed_epoch < self.epoch:
            # nobody has failed as far as the others know: this rank has, and it says so now
            error = sys.exception()
            board.fail(self.epoch, self._refused or "called ifog.recover()" if error is None else describe(error))
        patience = Patience(self, b"ifog.recover()")
        try:
            self._begin(self.epoch + 1, patience)
            # Interrupted when it was ready, this rank has failed in an epoch that the others began without it. No epoch is left
            # out, not even such a one: `recover` must return as often on every rank.
            while words[board.mine + FAILED] == self.epoch:
                self._begin(self.epoch + 1, patience)
        finally:
            patience.over()

    def _begin(self, epoch: int, patience: Patience) -> None:
        """Begin this epoch, with all the other ranks."""
        board, words = self.board, self.board.words
        for handle in list(self.pending):
            why = str(self.failure()).splitlines()[0]
            handle.abandon(_from_peer(PeerFailed(f"this call did not come to its end, and must be begun again: {why}")))
        self.pending.clear()
        for wire in (self.wire, self.pairs):
            wire.abandon()
        self.receiving.clear()
        self.to_itself.clear()
        self.pool.reclaim()
        # What a rank writes here is for good, however often it is interrupted. RECOVER: it sends nothing old any more. EPOCH:
        # it has thrown away what was sent to it, and is ready. When all are ready, some may begin before others have seen it.
        words[board.mine + RECOVER] = epoch
        self._all_reach(RECOVER, epoch, patience)
        if words[board.mine + EPOCH] < epoch:
            for wire in (self.wire, self.pairs):
                while (source := _drained(wire)) is not None:
                    patience.wait(~source, failing=False)
            words[board.mine + EPOCH] = epoch
        self._all_reach(EPOCH, epoch, patience)
        self.sequence = 0
        self.readers, self.readers_elsewhere = list(_NO_READERS), []
        for begin in self.listeners:
            begin()
        self._told = False
        self.epoch = epoch  # last: until then, every call is refused

    def _all_reach(self, word: int, epoch: int, patience: Patience) -> None:
        for peer in range(self.size):
            while self.board.words[self.board.row(peer) + word] < epoch:
                self.wire.nudge()
                patience.wait(peer, failing=False)

    def key(self) -> int:
        """The key of the next publication."""
        return self.epoch << 32 | self.sequence + 1

    def agreed(self, key: int) -> None:
        """All ranks have made the call with this key."""
        self.board.words[self.board.mine + AGREED] = key

    def has_agreed(self, key: int) -> bool:
        """Whether some rank knows that all have made the call with this key."""
        return any(self.board.words[self.board.row(rank) + AGREED] >= key for rank in range(self.size))

    def told(self) -> list[int]:
        """To whom this rank has given its last tensor."""
        _, readers, _ = max(self.readers, key=lambda publication: publication[0])
        return sorted({*readers, *self.readers_elsewhere} - {self.rank})

    def pairs_key(self, tag: int) -> int:
        """The key of messages between two ranks: they arrive in the order in which they were sent."""
        return self.epoch << 32 | tag

    # ----------------------------------------------------------------------------------------------------- cells
    def cell_began(self) -> None:
        """A cell begins: a failure of an earlier one shall not touch it."""
        board, mine = self.board, self.board.mine
        self.cell_began_at = time.monotonic()
        board.words[mine + GAVE_UP] = 0
        # Another rank may have begun this very cell before this one, and failed in it already: after it was sent.
        sent = self.cell_began_at - (0.0 if cell.sent is None else time.time() - cell.sent)
        failed = board.failed_epoch
        if failed >= self.epoch and (self._told or board.failed_at(failed) < sent):
            self._outdated = failed
        self.board.enter(RUNNING)

    def cell_ended(self, error: BaseException | None) -> None:
        """A cell has ended, perhaps in an error."""
        if error is not None and not isinstance(error, SystemExit):
            self.fail(error)
            self.board.give_up(describe(error).splitlines()[0])
        elif self.pending and not self.busy and self.board.failed_epoch < self.epoch:
            self.step_pending()
        self.board.words[self.board.mine + LAST_CALL] = self.key() - 1
        self.board.enter(IDLE)

    # ------------------------------------------------------------------------------------------------------- end
    def close(self) -> None:
        """Leave the world."""
        global _last_epoch
        if self.closed:
            return
        self.closed = True
        if self.epoch < 0:
            return
        _last_epoch = max(self.epoch, self.board.failed_epoch)
        for handle in list(self.pending):
            handle.abandon(CommError("ifog.shutdown() was called before this call had come to its end"))
        self.pending.clear()
        for wire in (self.wire, self.pairs):
            wire.abandon()
        self.board.enter(ENDED)
        for thread in self.threads:
            thread.stop()
        if self.road is not None:
            self.road.close()
        for offset in list(self.pool.pinned):
            self.pool.unpin(offset)
        self.bytes.clear()
        for segment in self.segments.values():
            segment.close()
        # The board stays, and those who keep it: a peer may still ask why nobody answers, or be the next to fail.

    def stop_keepers(self) -> None:
        """Nobody needs this world any more."""
        for keeper in self._keepers:
            keeper.stop()
        self._keepers.clear()

    def become_child(self) -> None:
        """Refuse every call from now on: this process is a copy of the rank's, and must not touch what they share."""
        self.epoch = -1
        self.pool.close(str(self.failure()))
        if self.road is not None:
            self.road.stop(str(self.failure()))
        self.threads.clear()
        self._keepers.clear()


def _drained(wire: Wire) -> int | None:
    with undisturbed():
        return wire.drain()


# ---------------------------------------------------------------------------------------------------------- beginning
def _nodes_per_machine() -> int | None:
    said = os.environ.get("IFOG_NODES_PER_MACHINE")
    if said is None:
        return None
    if not said.isdecimal() or int(said) == 0:
        raise SetupError(f"IFOG_NODES_PER_MACHINE={said!r}: a number of ranks, at least 1")
    return int(said)


# ------------------------------------------------------------------------------------------------------------- words
_TOGETHER: dict[str, type[CommError]] = {"Mismatch": Mismatch, "Deadlock": Deadlock}


def _next_step() -> str:
    return "The next cell starts clean." if cell.count else "To go on after catching this, call ifog.recover() on all ranks."


def _from_peer(error: CommError) -> CommError:
    error._from_peer = True  # type: ignore[attr-defined]
    return error
