"""One-sided communication: a rank writes into its neighbours' memory without their help.

A `Window` has, on every rank, a value and a buffer for each in-neighbour. ``put`` and ``accumulate`` write into one's own
buffer at the out-neighbours, ``get`` fills the buffers from the neighbours' values, and ``update`` averages value and buffers.
With each value travels a number p in float64, which starts at one: the weight of push-sum. What ``accumulate`` shares out and
``collect`` gathers keeps the sums of all values and of all p, however fast or slow the ranks are, so value / p finds the mean::

    w = ifog.Window(x)
    for _ in range(100):
        share = 1 / (len(ifog.out_neighbors()) + 1)
        w.accumulate(dst_weights={j: share for j in ifog.out_neighbors()}, self_weight=share)
        w.collect()
        z = w.value / w.p

On one machine the buffers lie in shared memory, each behind a lock that knows its owner and opens if that one dies. Between
machines a thread on the target's side writes what arrives, so it moves while the target computes. A put returns when it is
there: after a millisecond or two if the target sleeps or computes in torch, after some tens if it runs a loop in Python, which
gives the interpreter's lock away only every few, and as long as the call if it is in a C function that keeps that lock.
"""

from __future__ import annotations

import contextlib
import itertools
import struct
import threading
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch

from ..errors import ArgumentError
from . import api, collectives, graphs
from .locks import Locks
from .operation import Handle, call, perform
from .packing import Packed, Place, weigh, words
from .world import Program, World

_PUT, _ACCUMULATE, _GET, _LOCK, _UNLOCK = range(5)
_REQUEST, _REPLY = 2**13, 2**13 + 1  # tags on the communicator for pairs, above those of send
_HEAD = struct.Struct("<qqqd")  # window, kind, number of the request, p
_MANY_ROUNDS = 64


class Region(NamedTuple):
    """Where a rank's part of a window lies in its segment."""

    start: int
    peers: tuple[int, ...]
    """Its in-neighbours, in the order of their buffers."""


class Window:
    """A value on every rank into whose neighbourhood all its neighbours can write; collective to make and to free.

    ``x`` is the first value; the neighbours are those of the topology in force, of all rounds of a schedule. The buffers
    begin as copies of this rank's x, or as zeros with ``zero=True``, and their p as zeros.
    """

    def __init__(self, x: Any, name: str | None = None, *, zero: bool = False) -> None:
        here = api._here()
        with api._refusing(here):
            packed = api._one(x, "Window")
            if name is not None and not isinstance(name, str):
                raise ArgumentError(f"name={name!r}: a string")
            if name in [window.name for window in _windows(here).values()]:
                raise ArgumentError(f"name={name!r}: there is a window of that name; free it first, or choose another one")
            if packed.dtype is torch.bool:
                raise ArgumentError("x is bool, which has no sum: convert it first, e.g. x.float()")
        self._here, self._packed = here, packed
        self.shape, self.dtype = x.shape, packed.dtype
        followed = api._followed(here)
        period = followed.schedule.period
        if period is None or period > _MANY_ROUNDS:
            sources = dests = set(range(here.size)) - {here.rank}
        else:
            plans = [followed.at(k).plan for k in range(period)]
            sources, dests = {j for p in plans for j in p.sources}, {j for p in plans for j in p.dests}
        self.in_neighbors, self.out_neighbors = sorted(sources), sorted(dests)
        m = len(self.in_neighbors)
        if period == 1:
            plan = followed.at(0).plan
            self._weights = plan.self_weight, dict(zip(plan.sources, plan.weights, strict=True))
        else:
            self._weights = 1 / (m + 1), dict.fromkeys(self.in_neighbors, 1 / (m + 1))
        self._start = 0
        self._allocate(zero=zero)
        region = Region(self._start, tuple(self.in_neighbors))
        signature = call("Window", name, packed.what, (zero, followed.token), f" on {followed.schedule.label}")
        self._number = here.key()  # the same on all ranks: they make the same calls
        everyone = range(here.size)
        gathering = collectives.objects(here, signature, region, everyone, everyone)
        self._regions: list[Region] = perform(here, signature, gathering)
        self.name: str = name or f"window-{self._number & 0xFFFFFFFF}"
        _windows(here)[self._number] = self
        if here.machine_count > 1:
            _serve(here)
        api.barrier()  # a neighbour may write as soon as it is through here: the server must know the window

    def _allocate(self, *, zero: bool) -> None:
        here, packed, m = self._here, self._packed, len(self.in_neighbors)
        self._stride = -(-packed.nbytes // 64) * 64
        self._head = -(-8 * (2 * m + 1) // 64) * 64
        self._start = here.pool.take(self._head + (m + 1) * self._stride)
        self._memory = here.pool.tensor(self._start, torch.uint8, (self._head + (m + 1) * self._stride,))
        self._memory.zero_()
        self._p = self._memory[: 8 * (m + 1)].view(torch.float64).numpy()
        self._versions = self._memory[8 * (m + 1) : 8 * (2 * m + 1)].view(torch.int64).numpy()
        self._p[0] = 1.0
        value = self._memory[self._head : self._head + packed.nbytes].view(self.dtype).view(self.shape)
        packed.write(self._place(here.rank, 0))
        for i in range(m):
            if not zero:
                packed.write(self._place(here.rank, i + 1))
        self.value: torch.Tensor = value
        """What this rank has. It is this very memory that neighbours `get`, and that `update` overwrites."""

    # ------------------------------------------------------------------------------------------------------- reading
    @property
    def p(self) -> float:
        """The weight of push-sum that belongs to the value."""
        self._alive()
        return float(self._p[0])

    @p.setter
    def p(self, value: float) -> None:
        self._alive()
        self._p[0] = value

    def versions(self) -> dict[int, int]:
        """How often each in-neighbour's buffer was written since the last `update`."""
        self._alive()
        return {rank: int(count) for rank, count in zip(self.in_neighbors, self._versions, strict=True)}

    # ------------------------------------------------------------------------------------------------------- writing
    def put(self, x: Any = None, *, dst_weights: Any = None, self_weight: float = 1.0) -> None:
        """Overwrite one's buffers at the out-neighbours with ``dst_weights[j] · x``, and scale the value by ``self_weight``.

        x is the window's own value unless given; ``dst_weights`` a dict or a list of out-neighbours, all of them by default.
        """
        self.put_nonblocking(x, dst_weights=dst_weights, self_weight=self_weight).wait()

    def put_nonblocking(self, x: Any = None, *, dst_weights: Any = None, self_weight: float = 1.0) -> Handle[None]:
        """`put` that only begins."""
        return self._begin("put", self._push(x, dst_weights, self_weight, _PUT))

    def accumulate(self, x: Any = None, *, dst_weights: Any = None, self_weight: float = 1.0) -> None:
        """Like `put`, but adds to what the buffers hold: nothing that was sent before is lost."""
        self.accumulate_nonblocking(x, dst_weights=dst_weights, self_weight=self_weight).wait()

    def accumulate_nonblocking(self, x: Any = None, *, dst_weights: Any = None, self_weight: float = 1.0) -> Handle[None]:
        """`accumulate` that only begins."""
        return self._begin("accumulate", self._push(x, dst_weights, self_weight, _ACCUMULATE))

    def get(self, src_weights: Any = None) -> None:
        """Fill the buffers of in-neighbours with ``src_weights[j]`` times their values."""
        self.get_nonblocking(src_weights).wait()

    def get_nonblocking(self, src_weights: Any = None) -> Handle[None]:
        """`get` that only begins."""
        return self._begin("get", self._pull(src_weights))

    def update(
        self, self_weight: float | None = None, src_weights: Mapping[int, float] | None = None, *, reset: bool = False
    ) -> torch.Tensor:
        """``value ← self_weight · value + Σ_j src_weights[j] · buffer_j``, and the same with p. Gives the value.

        The weights are the topology's unless given. ``reset`` empties the buffers that were used, in the same instant.
        """
        value: torch.Tensor = self._begin("update", self._combine(self_weight, src_weights, reset=reset)).wait()
        return value

    def collect(self) -> torch.Tensor:
        """Add all that has arrived to the value, and empty the buffers: the receiving half of push-sum."""
        return self.update(1.0, dict.fromkeys(self.in_neighbors, 1.0), reset=True)

    @contextlib.contextmanager
    def mutex(self, ranks: Sequence[int] | None = None, *, for_self: bool = False) -> Iterator[None]:
        """While it is held, this rank's buffers at those out-neighbours are not read or emptied by them.

        With ``for_self`` the other way round: those in-neighbours do not write into their buffers here. It is opened when the
        block ends, also by an error, and by the system if this process dies.
        """
        here = self._alive()
        with api._refusing(here):
            known = self.in_neighbors if for_self else self.out_neighbors
            chosen = list(known) if ranks is None else graphs.ranks_of("ranks", ranks, here.size, here.rank)
            self._check_known("ranks", chosen, known, "in" if for_self else "out")
        taken: list[tuple[int, int]] = []
        try:
            for rank in sorted(chosen):  # in the same order everywhere, so that two ranks never wait for each other
                edge = (here.rank, rank) if for_self else (rank, here.rank)
                perform(here, call(f"mutex of window {self.name!r}", None, ()), self._lock(*edge))
                taken.append(edge)
            yield
        finally:
            for edge in taken:
                self._unlock(*edge)

    def free(self) -> None:
        """Give the memory back: a collective. The value stays readable while somebody holds it."""
        here = self._alive()
        api._agree(here, "Window.free", self.name, f" of {self.name!r}")
        del _windows(here)[self._number]
        self._number = 0
        self._memory = self._p = self._versions = None  # type: ignore[assignment]

    def __enter__(self) -> Window:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.free()
        elif self._number:  # after a failure the ranks no longer act together: each lets go for itself
            _windows(self._here).pop(self._number, None)
            self._number = 0

    def __repr__(self) -> str:
        state = "" if self._number else ", freed"
        return f"<Window {self.name!r}: {words(self._packed)}, from {self.in_neighbors} to {self.out_neighbors}{state}>"

    # ------------------------------------------------------------------------------------------------------ programs
    def _push(self, x: Any, dst_weights: Any, self_weight: float, kind: int) -> Program[None]:
        here = self._alive()
        with api._refusing(here):
            weights = self._edge_weights("dst_weights", dst_weights, self.out_neighbors, "out")
            keep = graphs._weight("self_weight", self_weight)
            packed = self._packed if x is None else Packed(x)
            if packed.what != self._packed.what:
                raise ArgumentError(f"x is {words(packed)}, but window {self.name!r} holds {words(self._packed)}")
            self._check_weights([*weights.values(), keep])
        return self._pushing(packed if x is not None else None, weights, keep, kind)

    def _pushing(self, packed: Packed | None, weights: dict[int, float], keep: float, kind: int) -> Program[None]:
        here, me = self._here, self._here.rank
        source = self._place(me, 0)
        if packed is not None:
            source = _private(packed)
        # each rank begins behind itself, so that not all of them queue at rank 0
        for rank in sorted(weights, key=lambda r: (r - me) % here.size):
            weight = weights[rank]
            if here.is_local[rank]:
                yield from self._lock(rank, me)
                try:
                    self._write(rank, me, source, weight, weight * float(self._p[0]), kind)
                finally:
                    self._unlock(rank, me)
            else:
                scaled = torch.empty(self._packed.nbytes, dtype=torch.uint8)
                weigh(self._packed.segments, Place(scaled.data_ptr(), scaled, 0), [source], [weight])
                yield from _ask(here, rank, self._number, kind, weight * float(self._p[0]), scaled.numpy().tobytes())
        if keep != 1.0:
            yield from self._lock(me, me)
            try:
                mine = self._place(me, 0)
                weigh(self._packed.segments, mine, [mine], [keep])
                self._p[0] *= keep
            finally:
                self._unlock(me, me)

    def _write(self, owner: int, peer: int, source: Place, weight: float, p: float, kind: int) -> None:
        """Write into the buffer of a peer at its owner; the lock is held."""
        i = self._regions[owner].peers.index(peer)
        buffer = self._place(owner, i + 1)
        ps, versions = self._numbers(owner)
        if kind == _ACCUMULATE:
            weigh(self._packed.segments, buffer, [buffer, source], [1.0, weight])
            ps[i + 1] += p
        else:
            weigh(self._packed.segments, buffer, [source], [weight])
            ps[i + 1] = p
        versions[i] += 1

    def _pull(self, src_weights: Any) -> Program[None]:
        here = self._alive()
        with api._refusing(here):
            weights = self._edge_weights("src_weights", src_weights, self.in_neighbors, "in")
            self._check_weights(list(weights.values()))
        return self._pulling(weights)

    def _pulling(self, weights: dict[int, float]) -> Program[None]:
        here, me = self._here, self._here.rank
        for rank, weight in weights.items():
            if here.is_local[rank]:
                copy = torch.empty(self._packed.nbytes, dtype=torch.uint8)
                yield from self._lock(rank, rank)
                try:
                    value = self._place(rank, 0)
                    copy.copy_(value.flat(torch.uint8, 0, self._packed.nbytes))
                    p = float(self._numbers(rank)[0][0])
                finally:
                    self._unlock(rank, rank)
            else:
                reply = yield from _ask(here, rank, self._number, _GET, 0.0, b"")
                p = struct.unpack_from("<d", reply)[0]
                copy = torch.frombuffer(bytearray(reply[8:]) or bytearray(1), dtype=torch.uint8)
            yield from self._lock(me, rank)
            try:
                self._write(me, rank, Place(copy.data_ptr(), copy, 0), weight, weight * p, _PUT)
            finally:
                self._unlock(me, rank)

    def _combine(self, self_weight: float | None, src_weights: Any, *, reset: bool) -> Program[torch.Tensor]:
        with api._refusing(self._alive()):
            if (self_weight is None) != (src_weights is None):
                raise ArgumentError("self_weight and src_weights come together: give both, or none for the topology's")
            own, weights = self._weights if self_weight is None else (graphs._weight("self_weight", self_weight), src_weights)
            weights = self._edge_weights("src_weights", weights, self.in_neighbors, "in")
            self._check_weights([own, *weights.values()])
        return self._combining(own, weights, reset=reset)

    def _combining(self, own: float, weights: dict[int, float], *, reset: bool) -> Program[torch.Tensor]:
        me = self._here.rank
        value, segments = self._place(me, 0), self._packed.segments
        taken: list[tuple[int, int]] = []
        try:
            # all locks first: whoever fails while he waits for one of them has not changed anything yet
            for rank in [me, *(rank for rank in self.in_neighbors if rank in weights)]:
                yield from self._lock(me, rank)
                taken.append((me, rank))
            weigh(segments, value, [value], [own])
            self._p[0] *= own
            for i, rank in enumerate(self.in_neighbors):
                if rank not in weights:
                    continue
                buffer = self._place(me, i + 1)
                weigh(segments, value, [value, buffer], [1.0, weights[rank]])
                self._p[0] += weights[rank] * self._p[i + 1]
                if reset:
                    buffer.flat(torch.uint8, 0, self._packed.nbytes).zero_()
                    self._p[i + 1] = 0.0
                self._versions[i] = 0
        finally:
            for edge in taken:
                self._unlock(*edge)
        return self.value

    # ------------------------------------------------------------------------------------------------------- helpers
    def _begin(self, kind: str, program: Program[Any]) -> Handle[Any]:
        here = self._here
        signature = call(f"{kind} of window {self.name!r}", None, ())
        here.call = signature.text
        return Handle(here, None, signature, program)

    def _place(self, owner: int, i: int) -> Place:
        """The value (0) of a rank of this machine, or one of its buffers."""
        start = self._start if owner == self._here.rank else self._regions[owner].start
        m = len(self.in_neighbors) if owner == self._here.rank else len(self._regions[owner].peers)
        offset = start + -(-8 * (2 * m + 1) // 64) * 64 + i * self._stride
        return Place(self._here.base[owner] + offset, self._here.bytes[owner], offset)

    def _numbers(self, owner: int) -> tuple[Any, Any]:
        """The p's and the versions of a rank of this machine."""
        m, start = len(self._regions[owner].peers), self._regions[owner].start
        memory = self._here.bytes[owner][start : start + 8 * (2 * m + 1)]
        return memory[: 8 * (m + 1)].view(torch.float64).numpy(), memory[8 * (m + 1) :].view(torch.int64).numpy()

    def _byte(self, owner: int, peer: int) -> int:
        n = self._here.size
        return (self._number * n + owner) * n + peer

    def _lock(self, owner: int, peer: int) -> Program[None]:
        here = self._here
        if not here.is_local[owner]:
            yield from _ask(here, owner, self._number, _LOCK, 0.0, b"")
            return
        byte, locks = self._byte(owner, peer), _locks(here)
        while not locks.try_acquire(byte, here.rank):
            yield owner if owner != here.rank else peer if peer != here.rank else ~peer

    def _unlock(self, owner: int, peer: int) -> None:
        here = self._here
        if here.is_local[owner]:
            _locks(here).release(self._byte(owner, peer))
        else:
            _tell(here, owner, _HEAD.pack(self._number, _UNLOCK, 0, 0.0))

    def _alive(self) -> World:
        here = api._here()
        if not self._number or here is not self._here:
            raise ArgumentError(f"window {self.name!r} was freed: make another one with ifog.Window(x)")
        return here

    def _edge_weights(self, argument: str, weights: Any, known: Sequence[int], side: str) -> dict[int, float]:
        here = self._here
        if weights is None:
            return dict.fromkeys(known, 1.0)
        if not isinstance(weights, Mapping):
            weights = dict.fromkeys(graphs.ranks_of(argument, weights, here.size, here.rank), 1.0)
        found = graphs._weights(argument, weights, here.size, here.rank, "rank")
        self._check_known(argument, list(found), known, side)
        return found

    def _check_known(self, argument: str, ranks: Sequence[int], known: Sequence[int], side: str) -> None:
        for rank in ranks:
            if rank not in known:
                raise ArgumentError(
                    f"{argument} names rank {rank}, which is no {side}-neighbor of rank {self._here.rank} in window "
                    f"{self.name!r} (they are {list(known)})"
                )

    def _check_weights(self, weights: Sequence[float]) -> None:
        if not (self.dtype.is_floating_point or self.dtype.is_complex) and any(w != int(w) for w in weights):
            raise ArgumentError(f"window {self.name!r} holds {self.dtype}, and the weights are not whole numbers: use floats")


def _private(packed: Packed) -> Place:
    """The bytes of what the user gave, in memory of our own: he may go on."""
    data = torch.empty(packed.nbytes, dtype=torch.uint8)
    place = Place(data.data_ptr(), data, 0)
    packed.write(place)
    return place


def windows() -> list[Window]:
    """The windows of this rank, in the order in which they were made."""
    return list(_windows(api._here()).values())


def _windows(here: World) -> dict[int, Window]:
    found: dict[int, Window] = here.__dict__.setdefault("windows", {})
    return found


def _locks(here: World) -> Locks:
    locks = here.__dict__.get("locks")
    if locks is None:
        locks = here.__dict__["locks"] = Locks(here.board.segment.key.descriptor)
        here.listeners.append(lambda: locks.release_others(here.rank))
    found: Locks = locks
    return found


# -------------------------------------------------------------------------------------------------- between machines
def _tell(here: World, rank: int, message: bytes) -> None:
    here.pairs.send(bytearray(message), rank, _REQUEST)


def _ask(here: World, rank: int, window: int, kind: int, p: float, data: bytes) -> Program[bytes]:
    """A request to the thread that serves a rank's windows, and its answer."""
    server = _serve(here)
    number = next(server.numbers)
    _tell(here, rank, _HEAD.pack(window, kind, number, p) + data)
    while number not in server.answers:  # another request of this rank may have received it
        message = _probe(here, rank, _REPLY)
        if message is None:
            yield rank
        else:
            _, answer = message
            server.answers[int.from_bytes(answer[:8], "little")] = bytes(answer[8:])
    return server.answers.pop(number)


def _probe(here: World, source: int | None, tag: int) -> tuple[int, bytearray] | None:
    """A message that has arrived, and from whom."""
    from mpi4py import MPI

    status = MPI.Status()
    message = here.pairs.comm.Improbe(MPI.ANY_SOURCE if source is None else source, tag, status)
    if message is None:
        return None
    buffer = bytearray(status.Get_count(MPI.BYTE))
    request = message.Irecv([buffer, MPI.BYTE])
    while not request.Test():
        time.sleep(0)
    return status.Get_source(), buffer


def _serve(here: World) -> _Server:
    server = here.__dict__.get("window_server")
    if server is None:
        server = here.__dict__["window_server"] = _Server(here)
    found: _Server = server
    return found


class _Server:
    """The thread that writes into this rank's windows what ranks of other machines send, while the rank computes."""

    def __init__(self, here: World) -> None:
        self._here = weakref.ref(here)
        self.numbers = itertools.count(1)
        self.answers: dict[int, bytes] = {}
        self._waiting: list[tuple[int, Window, int]] = []  # ranks that want a lock which is taken
        self._sends: list[Any] = []
        here.listeners.append(self._forget)
        here.threads.append(self)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ifog-windows", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()
        self._thread.join(2.0)

    def _forget(self) -> None:
        self._waiting.clear()
        self.answers.clear()

    def _run(self) -> None:
        quiet = 0
        while (here := self._here()) is not None and not self._stopped.is_set():
            message = _probe(here, None, _REQUEST)
            if message is not None:
                self._serve(here, *message)
            self._waiting = [asked for asked in self._waiting if not self._try(here, *asked)]
            quiet = 0 if message is not None else quiet + 1
            del here
            if message is None:
                time.sleep(0 if quiet < 50 else 0.0005)

    def _serve(self, here: World, source: int, message: bytearray) -> None:
        number, kind, request, p = _HEAD.unpack_from(message)
        window = _windows(here).get(number)
        if window is None:  # freed, or of an epoch that has failed
            return
        if kind == _LOCK:
            self._waiting.append((source, window, request))
            return
        byte = window._byte(here.rank, source)
        if kind == _UNLOCK:
            _locks(here).release(byte)
            return
        locks = _locks(here)
        own = window._byte(here.rank, here.rank)
        at = own if kind == _GET else byte
        while not locks.try_acquire(at, source):
            time.sleep(0.0001)
        try:
            if kind == _GET:
                value = window._place(here.rank, 0)
                reply = struct.pack("<d", window._numbers(here.rank)[0][0]) + bytes(value.bytes(0, window._packed.nbytes))
            else:
                data = torch.frombuffer(message, dtype=torch.uint8)
                window._write(here.rank, source, Place(data.data_ptr() + _HEAD.size, data, _HEAD.size), 1.0, p, kind)
                reply = b""
        finally:
            locks.release(at)
        self._answer(here, source, request, reply)

    def _try(self, here: World, source: int, window: Window, request: int) -> bool:
        if not _locks(here).try_acquire(window._byte(here.rank, source), source):
            return False
        self._answer(here, source, request, b"")
        return True

    def _answer(self, here: World, source: int, request: int, reply: bytes) -> None:
        data = bytearray(request.to_bytes(8, "little") + reply)
        # kept until it has left; by this thread alone, because the lists of `Wire` are the main thread's
        self._sends = [send for send in self._sends if not send.Test()]
        self._sends.append(here.pairs.comm.Isend([data, here.pairs.mpi.BYTE], source, _REPLY))
