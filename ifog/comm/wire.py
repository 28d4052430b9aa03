"""Between machines: messages over MPI that are only ever polled, and a thread that keeps the boards alike.

No call here blocks inside MPI. A message's tag holds the epoch and the number of its call, so that what a failed cell left
in flight can never be taken for something new; `drain` throws it away when the next epoch begins.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..errors import SetupError

if TYPE_CHECKING:
    from mpi4py import MPI

    from .world import World

CHUNK = 2**20
HEAD, BODY = 0, 1
"""The lowest bit of a tag: the first message of a publication, or the chunks behind it."""
_TAG_BITS = 20  # 5 of the epoch, 14 of the call and its parts, and the one that tells windows from all else


class Wire:
    """The point-to-point messages of one rank, on a communicator of its own.

    A message is begun and noted in one go: `map` calls MPI and hands its request to the list without a step of Python between,
    after which a SIGINT could raise an error. A request that nobody knows of would write into memory that is no longer there,
    or take, epochs later, a message that is meant for another.
    """

    def __init__(self, comm: MPI.Intracomm) -> None:
        from mpi4py import MPI

        self.mpi = MPI
        self.comm = comm
        self.bits = (int(comm.Get_attr(MPI.TAG_UB) or 32767) + 1).bit_length() - 1
        if self.bits < _TAG_BITS:
            raise SetupError(f"this MPI has tags of {self.bits} bits, and ifog needs {_TAG_BITS}: use MPICH or Open MPI")
        self.sends: list[MPI.Request] = []
        self.receives: list[tuple[int, MPI.Request]] = []  # from whom, and the request

    def tag(self, key: int, part: int) -> int:
        """The tag of a call's messages: some bits of the epoch, some of the call's number, and which part."""
        epoch, number = key >> 32, key & 0xFFFFFFFF
        low = self.bits - 6
        return (epoch % 32) << low + 1 | (number << 1 & (1 << low) - 1) | part

    def window_tag(self, epoch: int, number: int) -> int:
        """The tag of a request of windows (0), or of the answer to one of them: with a bit that no other tag has."""
        low = self.bits - 6
        return (epoch % 32) << low + 1 | 1 << low | (number and 1 + number % ((1 << low) - 1))

    def send(self, buffer: Any, dest: int, tag: int) -> MPI.Request:
        """Start to send a buffer of bytes."""
        if len(self.sends) >= 64:
            self.sends = _unfinished(self.sends)
        self.sends += map(self.comm.Isend, ([buffer, self.mpi.BYTE],), (dest,), (tag,))
        return self.sends[-1]

    def receive(self, buffer: Any, source: int, tag: int) -> MPI.Request:
        """Start to receive into a buffer of bytes."""
        if len(self.receives) >= 64:
            self.receives = self._still_receiving()
        self.receives += zip((source,), map(self.comm.Irecv, ([buffer, self.mpi.BYTE],), (source,), (tag,)), strict=True)
        return self.receives[-1][1]

    def abandon(self) -> None:
        """After a failure nobody waits for what was to be received. What has begun to arrive ends in `drain`."""
        self.receives = self._still_receiving()
        for _, request in self.receives:
            request.Cancel()

    def drain(self) -> int | None:
        """Throw away what is in flight, so that its senders get free and nothing piles up. All ranks have stopped.

        Repeated, undisturbed, until it gives None; before, a rank whose bytes are still arriving in memory that shall be free.
        """
        status = self.mpi.Status()
        while (message := self.comm.Improbe(self.mpi.ANY_SOURCE, self.mpi.ANY_TAG, status)) is not None:
            request = message.Irecv([bytearray(status.Get_count(self.mpi.BYTE)), self.mpi.BYTE])
            self.receives.append((status.Get_source(), request))
        self.sends = _unfinished(self.sends)
        self.receives = self._still_receiving()
        return self.receives[0][0] if self.receives else None

    def nudge(self) -> None:
        """Let MPI move what others still want from this rank."""
        self.comm.Iprobe(self.mpi.ANY_SOURCE, self.mpi.ANY_TAG)

    def _still_receiving(self) -> list[tuple[int, MPI.Request]]:
        return [(source, request) for source, request in self.receives if not self._received(request)]

    def _received(self, request: MPI.Request) -> bool:
        """Whether nothing more comes. More than was expected is an end too: its head has told what the ranks called."""
        try:
            return bool(request.Test())
        except self.mpi.Exception as error:
            if error.Get_error_class() != self.mpi.ERR_TRUNCATE:
                raise
            return True


def _unfinished(requests: list[MPI.Request]) -> list[MPI.Request]:
    return [request for request in requests if not request.Test()]


def chunks(nbytes: int, step: int = CHUNK) -> Iterator[tuple[int, int]]:
    """The pieces in which a long message travels."""
    return ((low, min(low + step, nbytes)) for low in range(0, nbytes, step))


class Pump:
    """A thread that lets messages travel while the user computes: MPI moves them only when it is called."""

    def __init__(self, world: World) -> None:
        self._world = weakref.ref(world)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ifog-pump", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()
        self._thread.join(2.0)

    def _run(self) -> None:
        while not self._stopped.is_set() and (world := self._world()) is not None:
            world.wire.nudge()
            nap = 0.0002 if world.pending else 0.002
            del world
            time.sleep(nap)


class Mirror:
    """A thread that copies the rows of this machine's ranks to the other machines, and theirs to this one's board.

    One rank of each machine has it. A failure reaches the other machines within a few milliseconds. A machine that does not
    listen for a while, because its rank was stopped, keeps nobody else waiting.
    """

    def __init__(self, comm: MPI.Intracomm, world: World) -> None:
        self.comm, self.world = comm, world
        self.others = [ranks[0] for ranks in world.machine_ranks if ranks[0] != world.rank]
        self._told = dict.fromkeys(self.others, b"")  # the rows as each of the others knows them
        self._sends: dict[int, MPI.Request] = {}
        self._arriving: list[tuple[int, bytearray, MPI.Request]] = []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ifog-mirror", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread, after a last copy."""
        self._stopped.set()
        self._thread.join(2.0)

    def _run(self) -> None:
        from mpi4py import MPI

        last = float("inf")
        try:
            while True:
                up_to_date = self._send()
                self._receive()
                if self._stopped.is_set():
                    last = min(last, time.monotonic() + 1.0)
                    if up_to_date or time.monotonic() > last:
                        return
                time.sleep(0.003)
        except MPI.Exception:
            # a peer's process is gone, and its machine's rows with it: what MPI makes of that ends this process too
            return

    def _send(self) -> bool:
        """Tell the others what is new; whether they know all of it."""
        from mpi4py import MPI

        board, locals_ = self.world.board, self.world.locals
        now = b"".join([board.raw_row(rank) for rank in locals_])
        data = b""
        for other in self.others:
            if self._told[other] != now and (other not in self._sends or self._sends[other].Test()):
                data = data or b"".join([board.copy_row(rank) for rank in locals_])
                self._sends[other] = self.comm.Isend([data, MPI.BYTE], other, 0)
                self._told[other] = now
        return all(self._told[other] == now and self._sends[other].Test() for other in self.others)

    def _receive(self) -> None:
        """Write down what the others say, in the order in which each said it."""
        from mpi4py import MPI

        world = self.world
        status = MPI.Status()
        while (message := self.comm.Improbe(MPI.ANY_SOURCE, 0, status)) is not None:
            buffer = bytearray(status.Get_count(MPI.BYTE))
            self._arriving.append((status.Get_source(), buffer, message.Irecv([buffer, MPI.BYTE])))
        late: list[tuple[int, bytearray, MPI.Request]] = []
        for source, buffer, request in self._arriving:
            if any(source == other for other, _, _ in late) or not request.Test():
                late.append((source, buffer, request))
            else:
                self._paste(buffer, world.machine_ranks[world.machine_of[source]])
        self._arriving = late

    def _paste(self, data: bytearray, ranks: list[int]) -> None:
        board = self.world.board
        size = len(data) // len(ranks)
        for i, rank in enumerate(ranks):
            board.paste_row(rank, bytes(data[i * size : (i + 1) * size]))
