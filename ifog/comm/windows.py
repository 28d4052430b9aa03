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

from ..errors import ArgumentError, Mismatch
from . import api, collectives, graphs
from .locks import Locks
from .operation import Handle, call, perform
from .packing import Packed, Place, weigh, words
from .patience import Served
from .world import Program, World

_PUT, _ACCUMULATE, _GET, _LOCK, _UNLOCK, _AVERAGE = range(6)
_HEAD = struct.Struct("<qqqd")  # window, kind, number of the request, p
_ANSWER = struct.Struct("<qd")  # whether the window was there, p
_ROW = struct.Struct("<q")  # which row is to be averaged
_MANY_ROUNDS = 64


class Region(NamedTuple):
    """Where a rank's part of a window lies in its segment."""

    start: int
    peers: tuple[int, ...]
    """Its in-neighbours, in the order of their buffers."""


class Window:
    """A value on every rank into whose neighbourhood all its neighbours can write; collective to make and to free.

    ``x`` is the first value; the neighbours are those of the topology in force, of all rounds of a schedule. The buffers
    begin as zeros, or as copies of this rank's x with ``zero=False``, and their p as zeros.

    `put`, `accumulate` and `get` have a ``_nonblocking`` form; `update`, `collect`, `average`, `mutex` and `free` do not. None
    of them but `free` is a collective; after a failure the ranks first begin a new epoch together: with a call of all of them,
    with `ifog.recover`, or, in a notebook, with the first call of a cell that runs on all engines.
    """

    def __init__(self, x: Any, name: str | None = None, *, zero: bool = True) -> None:
        here = api._here()
        with api._refusing(here):
            api._one(x, "Window")  # not a list of them
            packed = Packed(x)
            if name is not None and not isinstance(name, str):
                raise ArgumentError(f"name={name!r}: a string")
            if name in [window.name for window in _windows(here).values()]:
                raise ArgumentError(f"name={name!r}: there is a window of that name; free it first, or choose another one")
            if packed.dtype is torch.bool:
                raise ArgumentError("x is bool, which has no sum: convert it first, e.g. x.float()")
        self._here, self._packed = here, packed
        self.shape, self.dtype = packed.shape, packed.dtype
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
        self._value = self._memory[self._head : self._head + packed.nbytes].view(self.dtype).view(self.shape)
        packed.write(self._place(here.rank, 0))
        for i in range(m):
            if not zero:
                packed.write(self._place(here.rank, i + 1))

    # ------------------------------------------------------------------------------------------------------- reading
    @property
    def value(self) -> torch.Tensor:
        """What this rank has. It is this very memory that neighbours `get`, and that `update` overwrites.

        What is assigned to it is copied there.
        """
        return self._value

    @value.setter
    def value(self, x: Any) -> None:
        self._alive()
        if x is self._value:  # w.value += 1
            return
        given = _private(self._fitting(x))
        self._place(self._here.rank, 0).bytes(0, self._packed.nbytes)[:] = given.bytes(0, self._packed.nbytes)

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
        Value and p are read and scaled in one instant, however long the ways are.
        """
        self.put_nonblocking(x, dst_weights=dst_weights, self_weight=self_weight).wait()

    def put_nonblocking(self, x: Any = None, *, dst_weights: Any = None, self_weight: float = 1.0) -> Handle[None]:
        """`put` that only begins. Until it is waited for, the value is not to be written, except by calls on the window."""
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

        The weights are the topology's unless given. ``reset`` empties the buffers that were used, in the same instant. Without
        it, weights that sum to more than one let value and p grow with every update, in the end to infinity.
        """
        value: torch.Tensor = self._begin("update", self._combine(self_weight, src_weights, reset=reset)).wait()
        return value

    def collect(self) -> torch.Tensor:
        """Add all that has arrived to the value, and empty the buffers: the receiving half of push-sum."""
        return self.update(1.0, dict.fromkeys(self.in_neighbors, 1.0), reset=True)

    def average(self, rank: int, *, mine: int = 0, theirs: int = 0, plus: Any = None) -> torch.Tensor:
        """A row of the value here and one of the value at an out-neighbour, or here too, both become their mean.

        Then ``plus`` is added to the own row, of which a copy is given. On one machine all that is one instant for everybody:
        the locks of both values are taken in the order of the ranks, and held for no longer, so that nobody waits in a circle.
        Between machines nobody is kept waiting with a lock in hand: the other row becomes the mean in one instant, this one in
        another, by the same difference, so that their sum is kept whoever comes between. p stays as it is.
        """
        row: torch.Tensor = self._begin("average", self._meet(rank, mine, theirs, plus)).wait()
        return row

    @contextlib.contextmanager
    def mutex(self, ranks: Sequence[int] | None = None, *, for_self: bool = False) -> Iterator[None]:
        """While it is held, this rank's buffers at those out-neighbours are not read or emptied by them.

        With ``for_self`` the other way round: those in-neighbours do not write into their buffers here. It is opened when the
        block ends, also by an error, when a new epoch begins, and by the system if this process dies.
        """
        here = self._begins()
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
        self._begins()
        weights = self._edge_weights("dst_weights", dst_weights, self.out_neighbors, "out")
        keep = graphs._weight("self_weight", self_weight)
        self._check_weights([*weights.values(), keep])
        given = None if x is None else _private(self._fitting(x))
        return self._pushing(given, weights, keep, kind)

    def _pushing(self, source: Place | None, weights: dict[int, float], keep: float, kind: int) -> Program[None]:
        here, me = self._here, self._here.rank
        mine, nbytes = self._place(me, 0), self._packed.nbytes
        # in one instant: what is shared out and what is kept belong together, whatever is collected until all has arrived
        yield from self._lock(me, me)
        try:
            p = float(self._p[0])
            if source is None:
                source = _room(nbytes)
                if weights:
                    source.bytes(0, nbytes)[:] = mine.bytes(0, nbytes)
            if keep != 1.0:
                weigh(self._packed.segments, mine, [mine], [keep])
                self._p[0] *= keep
        finally:
            self._unlock(me, me)
        # each rank begins behind itself, so that not all of them queue at rank 0
        for rank in sorted(weights, key=lambda r: (r - me) % here.size):
            weight = weights[rank]
            if here.is_local[rank]:
                yield from self._lock(rank, me)
                try:
                    self._write(rank, me, source, weight, weight * p, kind)
                finally:
                    self._unlock(rank, me)
            else:
                scaled = _room(nbytes)
                weigh(self._packed.segments, scaled, [source], [weight])
                yield from self._ask(rank, kind, weight * p, scaled.bytes(0, nbytes))

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
        self._begins()
        weights = self._edge_weights("src_weights", src_weights, self.in_neighbors, "in")
        self._check_weights(list(weights.values()))
        return self._pulling(weights)

    def _pulling(self, weights: dict[int, float]) -> Program[None]:
        here, me, nbytes = self._here, self._here.rank, self._packed.nbytes
        for rank, weight in weights.items():
            if here.is_local[rank]:
                copy = _room(nbytes)
                yield from self._lock(rank, rank)
                try:
                    copy.bytes(0, nbytes)[:] = self._place(rank, 0).bytes(0, nbytes)
                    p = float(self._numbers(rank)[0][0])
                finally:
                    self._unlock(rank, rank)
            else:
                answer = yield from self._ask(rank, _GET, 0.0)
                p = _ANSWER.unpack_from(answer)[1]
                data = torch.frombuffer(answer, dtype=torch.uint8)
                copy = Place(data.data_ptr() + _ANSWER.size, data, _ANSWER.size)
            yield from self._lock(me, rank)
            try:
                self._write(me, rank, copy, weight, weight * p, _PUT)
            finally:
                self._unlock(me, rank)

    def _combine(self, self_weight: float | None, src_weights: Any, *, reset: bool) -> Program[torch.Tensor]:
        self._begins()
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

    def _meet(self, rank: Any, mine: Any, theirs: Any, plus: Any) -> Program[torch.Tensor]:
        here = self._begins()
        rank = graphs.one_rank("rank", rank, here.size)
        if rank != here.rank:
            self._check_known("rank", [rank], self.out_neighbors, "out")
        if not self.shape or not (self.dtype.is_floating_point or self.dtype.is_complex):
            raise ArgumentError(f"window {self.name!r} holds {words(self._packed)}: average needs rows of floats")
        for name, row in (("mine", mine), ("theirs", theirs)):
            if not isinstance(row, int) or not 0 <= row < self.shape[0]:
                raise ArgumentError(f"{name}={row!r}: the rows of window {self.name!r} are 0 to {self.shape[0] - 1}")
        if plus is not None and (tuple(plus.shape), plus.dtype) != (tuple(self.shape[1:]), self.dtype):
            raise ArgumentError(
                f"plus is {plus.dtype} of the shape {tuple(plus.shape)}: a row of window {self.name!r} is {self.dtype} of "
                f"{tuple(self.shape[1:])}"
            )
        return self._meeting(rank, mine, theirs, plus)

    def _meeting(self, rank: int, mine: int, theirs: int, plus: torch.Tensor | None) -> Program[torch.Tensor]:
        here, me = self._here, self._here.rank
        own, local = self._value_row(me, mine), here.is_local[rank]
        if not local:
            yield from self._lock(me, me)
            sent = own.clone()
            self._unlock(me, me)
            bytes_sent = bytearray(_ROW.pack(theirs)) + _as_bytes(sent)
            answer = yield from self._ask(rank, _AVERAGE, 0.0, memoryview(bytes_sent))
            found = torch.frombuffer(answer, dtype=torch.uint8)[_ANSWER.size :].clone().view(self.dtype)
        taken: list[int] = []
        try:
            for holder in sorted({me, rank} if local else {me}):
                yield from self._lock(holder, holder)
                taken.append(holder)
            if local:
                other = self._value_row(rank, theirs)
                own.copy_(other.copy_((own + other) / 2))
            else:
                own += (found - sent) / 2
            if plus is not None:
                own += plus.detach().cpu().flatten()
            return own.clone().view(self.shape[1:])
        finally:
            for holder in taken:
                self._unlock(holder, holder)

    # ------------------------------------------------------------------------------------------------------- helpers
    def _value_row(self, owner: int, row: int) -> torch.Tensor:
        """A row of the value of a rank of this machine, as one vector."""
        numel = self._value[0].numel()
        return self._place(owner, 0).flat(self.dtype, row * numel * self.dtype.itemsize, numel)

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
            yield from self._ask(owner, _LOCK, 0.0)
            return
        byte, locks = self._byte(owner, peer), _locks(here)
        waits_for = owner if owner != here.rank else peer
        if owner == peer:  # its value, which nobody keeps for long: each of those who get it opens it by himself
            waits_for = Served(~owner)
        while not locks.try_acquire(byte, here.rank):
            yield waits_for

    def _unlock(self, owner: int, peer: int) -> None:
        here = self._here
        if here.is_local[owner]:
            _locks(here).release(self._byte(owner, peer), here.rank)
        else:
            _tell(here, owner, bytearray(_HEAD.pack(self._number, _UNLOCK, 0, 0.0)))

    def _ask(self, rank: int, kind: int, p: float, data: memoryview | None = None) -> Program[bytearray]:
        """A request to the thread that serves the window on a rank of another machine, and its answer."""
        here = self._here
        number = next(_serve(here).numbers)
        message = bytearray(_HEAD.pack(self._number, kind, number, p))
        if data is not None:
            message += data
        size = self._packed.nbytes if kind == _GET else self._packed.nbytes // self.shape[0] if kind == _AVERAGE else 0
        answer = bytearray(_ANSWER.size + size)
        arriving = here.pairs.receive(answer, rank, here.pairs.window_tag(here.epoch, number))
        _tell(here, rank, message)
        while not arriving.Test():
            yield Served(rank if kind == _LOCK else ~rank)
        here.awake()
        if not _ANSWER.unpack_from(answer)[0]:
            raise Mismatch(f"rank {rank} has freed window {self.name!r}, to which rank {here.rank} still turns")
        return answer

    def _alive(self) -> World:
        here = api._here()
        if not self._number or here is not self._here:
            raise ArgumentError(f"window {self.name!r} was freed: make another one with ifog.Window(x)")
        return here

    def _begins(self) -> World:
        """What is wrong with a call is this rank's own affair: nobody else takes part in it."""
        here = self._alive()
        here.check()
        return here

    def _fitting(self, x: Any) -> Packed:
        packed = Packed(x)
        if packed.what != self._packed.what:
            raise ArgumentError(f"x is {words(packed)}, but window {self.name!r} holds {words(self._packed)}")
        return packed

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
    place = _room(packed.nbytes)
    packed.write(place)
    return place


def _as_bytes(row: torch.Tensor) -> memoryview:
    return row.view(torch.uint8).numpy().data


def _room(nbytes: int) -> Place:
    data = torch.empty(nbytes, dtype=torch.uint8, device="cpu")
    return Place(data.data_ptr(), data, 0)


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
        here.listeners.append(locks.release_all)
    found: Locks = locks
    return found


# -------------------------------------------------------------------------------------------------- between machines
def _tell(here: World, rank: int, message: bytearray) -> None:
    here.pairs.send(message, rank, here.pairs.window_tag(here.epoch, 0))


def _serve(here: World) -> _Server:
    server = here.__dict__.get("window_server")
    if server is None:
        server = here.__dict__["window_server"] = _Server(here)
    found: _Server = server
    return found


class _Request(NamedTuple):
    """What a rank of another machine wants here."""

    source: int
    window: int
    kind: int
    number: int
    p: float
    message: bytearray


class _Server:
    """The thread that writes into this rank's windows what ranks of other machines send, while the rank computes.

    It waits for nobody. What wants a lock that is taken stands in a line, and what follows is heard: it may open that lock.
    """

    def __init__(self, here: World) -> None:
        self._here = weakref.ref(here)
        self.numbers = itertools.count(1)
        # the lists of `Wire` are the main thread's
        self._arriving: list[tuple[int, int, bytearray, Any]] = []  # epoch, from whom, the message, and its request
        self._sends: list[Any] = []
        self._line: list[_Request] = []
        self._over = 0  # the last epoch of which nothing is served any more
        self._turn = threading.Lock()
        _locks(here)
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
        here = self._here()
        with self._turn:
            if here is not None:
                self._over = here.epoch
                _locks(here).release_all()
            self._line.clear()

    def _run(self) -> None:
        quiet = 0
        while (here := self._here()) is not None and not self._stopped.is_set():
            heard = False
            try:
                with self._turn:
                    heard = self._hear(here)
                    self._serve(here)
            except Exception as error:  # noqa: BLE001 (those who wait for an answer shall know)
                here.fail(error)
            del here
            quiet = 0 if heard or self._line or self._arriving else quiet + 1
            if not heard:
                time.sleep(0 if quiet < 50 and not self._line else 0.0005)

    def _hear(self, here: World) -> bool:
        """Take in what arrives, of each rank in the order in which it was sent; whether anything has."""
        mpi, comm, epoch = here.pairs.mpi, here.pairs.comm, here.epoch
        status = mpi.Status()
        began = False
        while (message := comm.Improbe(mpi.ANY_SOURCE, here.pairs.window_tag(epoch, 0), status)) is not None:
            buffer = bytearray(status.Get_count(mpi.BYTE))
            self._arriving.append((epoch, status.Get_source(), buffer, message.Irecv([buffer, mpi.BYTE])))
            began = True
        late: list[tuple[int, int, bytearray, Any]] = []
        for arriving in self._arriving:
            sent_in, source, buffer, request = arriving
            if any(source == other for _, other, _, _ in late) or not request.Test():
                late.append(arriving)
            elif sent_in > self._over:
                window, kind, number, p = _HEAD.unpack_from(buffer)
                self._line.append(_Request(source, window, kind, number, p, buffer))
        self._arriving = late
        return began

    def _serve(self, here: World) -> None:
        """Do what can be done, of each rank and lock in the order in which it was asked for."""
        line: list[_Request] = []
        waiting: set[tuple[int, int]] = set()
        while self._line:
            request = self._line.pop(0)
            window = _windows(here).get(request.window)
            if window is None:  # freed
                if request.kind != _UNLOCK:
                    self._answer(here, request, there=False)
                continue
            byte = window._byte(here.rank, here.rank if request.kind in (_GET, _AVERAGE) else request.source)
            if request.kind == _UNLOCK:
                _locks(here).release(byte, request.source)
            elif (byte, request.source) in waiting or not _locks(here).try_acquire(byte, request.source):
                waiting.add((byte, request.source))
                line.append(request)
            else:
                self._do(here, window, request, byte)
        self._line = line

    def _do(self, here: World, window: Window, request: _Request, byte: int) -> None:
        """What a rank wants; its lock is held."""
        if request.kind == _LOCK:
            self._answer(here, request)
            return
        try:
            if request.kind == _GET:
                data = window._place(here.rank, 0).bytes(0, window._packed.nbytes)
                self._answer(here, request, float(window._numbers(here.rank)[0][0]), data)
                return
            if request.kind == _AVERAGE:
                row = window._value_row(here.rank, _ROW.unpack_from(request.message, _HEAD.size)[0])
                before = row.clone()
                sent = torch.frombuffer(request.message, dtype=torch.uint8)[_HEAD.size + _ROW.size :].clone().view(row.dtype)
                row.copy_((row + sent) / 2)
                self._answer(here, request, data=_as_bytes(before))
                return
            message = torch.frombuffer(request.message, dtype=torch.uint8)
            place = Place(message.data_ptr() + _HEAD.size, message, _HEAD.size)
            window._write(here.rank, request.source, place, 1.0, request.p, request.kind)
        finally:
            _locks(here).release(byte, request.source)
        self._answer(here, request)

    def _answer(
        self, here: World, request: _Request, p: float = 0.0, data: memoryview | None = None, *, there: bool = True
    ) -> None:
        answer = bytearray(_ANSWER.pack(there, p))
        if data is not None:
            answer += data
        self._sends = [send for send in self._sends if not send.Test()]
        tag = here.pairs.window_tag(here.epoch, request.number)
        self._sends.append(here.pairs.comm.Isend([answer, here.pairs.mpi.BYTE], request.source, tag))
