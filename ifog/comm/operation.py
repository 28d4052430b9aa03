"""One call on the ranks: how it is named, published, read by the neighbours and finished.

A call publishes its bytes in a slot under its number; its readers find them there, read them where they lie, and mark that
they have. Whoever called something else has another signature in his slot, and that is an error with both names in it. Between
machines the same publication travels as messages.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Generator, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from ..errors import ArgumentError, CommError, Mismatch
from .board import FACTORS, IN_ORDER, KEY, NBYTES, OFFSET, ROWS, SIGNATURE, SLOTS, fence, ranks_in_words
from .packing import Packed, Place, weigh, what_in_bytes, what_in_words
from .wire import BODY, HEAD, chunks
from .world import INLINE, Program, World

T = TypeVar("T")

_HEAD = struct.Struct("<qqqqd")  # key, signature, bytes, rows, factor
_HEAD_TEXT = 264  # so that what follows begins at a multiple of 16 bytes, as a view of complex128 must
_HEAD_BYTES = _HEAD.size + _HEAD_TEXT


class Call(NamedTuple):
    """What a call is: all ranks that take part must have called the same."""

    number: int
    text: bytes
    nbytes: int


_calls: dict[tuple[Any, ...], Call] = {}


def call(kind: str, name: str | None, what: tuple[Any, ...], token: object = None, said: str = "") -> Call:
    """The signature of a call. ``token`` is what else must agree (a topology, a root), ``said`` the same in words."""
    key = (kind, name, what, token)
    found = _calls.get((key, said))
    if found is None:
        import hashlib

        if len(_calls) > 4096:
            _calls.clear()
        digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
        text = f"{kind}({name!r})" if name else kind
        if what:
            text += f" of {what_in_words(what)}"
        number = int.from_bytes(digest, "little", signed=True)
        found = _calls[key, said] = Call(number, (text + said).encode(), what_in_bytes(what))
    return found


def perform(world: World, call: Call, program: Program[T], verb: str = "") -> T:
    """Make a call, to its end."""
    world.call = call.text
    if world.timeline is None:
        return world.run(program)
    result: T = world.timeline.run(call, program, verb)
    return result


class Source(NamedTuple):
    """What a rank gives to this one: where its bytes are, how many, and the sender's factor."""

    rank: int
    place: Place
    nbytes: int
    rows: int
    factor: float
    arrivals: Sequence[tuple[int, Any]]
    """Between machines: up to which byte it is there when a request is done."""


class Publication:
    """One exchange of a call: bytes lent to some ranks, and those of others read."""

    __slots__ = ("call", "inline", "key", "nbytes", "place", "readers", "sends", "slot", "staging", "world")

    def __init__(self, world: World, call: Call, key: int | None = None) -> None:
        if key is None:
            key = world.key()
            world.sequence += 1
        self.world, self.call, self.key = world, call, key
        self.slot = key & SLOTS - 1
        self.sends: list[tuple[int, Any]] = []
        self.staging: list[int] = []
        self.readers: list[int] = []
        self.inline = True

    def free_slot(self) -> Program[None]:
        """Wait until the last publication in this slot has been made, and read by all who read it."""
        world = self.world
        before = self.key - SLOTS
        if before & 0xFFFFFFFF == 0 or before >> 32 != world.epoch:
            return
        while world.readers[self.slot][0] != before:  # so many calls are under way that it is still to come
            yield ~world.rank
        words, mark = world.board.words, world.board.mark
        for reader in world.readers[self.slot][1]:
            at = mark(reader, self.slot, world.rank)
            while words[at] < before:
                yield reader if reader != world.rank else ~reader  # its own call waits for somebody else

    def say(self) -> None:
        """Write into the slot, in words, what call this is."""
        world = self.world
        if world.said[self.slot] is not self.call.text:
            world.said[self.slot] = self.call.text
            world.board.say_slot(world.board.slot(world.rank, self.slot), self.call.text)

    def post(
        self,
        place: Place,
        nbytes: int,
        readers: Sequence[int],
        *,
        rows: int = 0,
        factors: dict[int, float] | None = None,
        accepts: Sequence[int] | None = None,
        pieces: dict[int, tuple[int, int]] | None = None,
    ) -> None:
        """Publish the bytes for the readers, each of them the whole, or its piece."""
        world = self.world
        board, words = world.board, world.board.words
        at = board.slot(world.rank, self.slot)
        words[at + KEY] = 0  # whoever still looks at the last publication sees that it is gone
        if not IN_ORDER:
            fence()
        self.say()
        words[at + SIGNATURE] = self.call.number
        words[at + OFFSET] = place.offset
        words[at + NBYTES] = nbytes
        words[at + ROWS] = rows
        if accepts is not None:
            reals, n = board.reals, world.size
            base = at + 64
            for peer in range(n):
                reals[base + peer] = math.nan
                reals[base + n + peer] = 0.0
            for peer in readers:
                reals[base + peer] = 1.0 if factors is None else factors[peer]
            for peer in accepts:
                reals[base + n + peer] = 1.0
        words[at + FACTORS] = accepts is not None
        self.place, self.nbytes = place, nbytes
        self.inline = nbytes <= INLINE
        if world.machine_count == 1:
            self.readers = list(readers)
        else:
            self.readers = [reader for reader in readers if world.is_local[reader]]
            world.readers_elsewhere = [reader for reader in readers if not world.is_local[reader]]
            for reader in readers:
                if not world.is_local[reader]:
                    self._send(reader, factors[reader] if factors else 1.0, rows, *(pieces or {}).get(reader, (0, nbytes)))
        # this rank reads its own bytes too, perhaps later than all the others
        world.readers[self.slot] = (self.key, [*self.readers, world.rank], None)
        if not IN_ORDER:
            fence()
        words[at + KEY] = self.key  # last: from now on it is there
        if world.timeline is not None:
            world.timeline.lent(self.key, readers)

    def _send(self, dest: int, factor: float, rows: int, low: int, high: int) -> None:
        wire, key = self.world.wire, self.key
        head = bytearray(_HEAD_BYTES)
        _HEAD.pack_into(head, 0, key, self.call.number, high - low, rows, factor)
        text = self.call.text[:_HEAD_TEXT]
        head[_HEAD.size : _HEAD.size + len(text)] = text
        if high - low <= INLINE:
            head += bytes(self.place.bytes(low, high)) if high > low else b""
        self.sends.append((dest, wire.send(head, dest, wire.tag(key, HEAD))))
        if high - low > INLINE:
            for begin, end in chunks(high - low):
                self.sends.append((dest, wire.send(self.place.bytes(low + begin, low + end), dest, wire.tag(key, BODY))))

    def read(
        self, ranks: Sequence[int], *, piece: tuple[int, int] | None = None, expected: int = 0
    ) -> Generator[int, None, list[Source]]:
        """Wait for what the ranks have published, and say where it lies; of each, only a piece is needed.

        Between machines, messages whose length can be ``expected`` begin to arrive at once, while the user computes.
        """
        world = self.world
        board, words = world.board, world.board.words
        arriving = {}
        if world.machine_count > 1:
            for rank in ranks:
                if not world.is_local[rank]:
                    buffer = bytearray(_HEAD_BYTES + INLINE)
                    request = world.wire.receive(buffer, rank, world.wire.tag(self.key, HEAD))
                    body = self._body(rank, expected) if expected > INLINE else None
                    arriving[rank] = buffer, request, body
        sources = []
        for rank in ranks:
            if rank in arriving:
                sources.append((yield from self._receive(rank, *arriving[rank])))
                if world.timeline is not None:
                    world.timeline.found(self.key, sources[-1])
                continue
            at = board.slot(rank, self.slot)
            while words[at + KEY] != self.key:
                if words[at + KEY] > self.key and words[at + KEY] >> 32 == world.epoch:
                    raise Mismatch(f"rank {rank} has gone on to {board.slot_text(rank, self.slot)} while {self._mine()}")
                yield rank
            if not IN_ORDER:
                fence()
            if words[at + SIGNATURE] != self.call.number:
                raise (yield from self._mismatch(rank))
            place = Place(world.base[rank] + words[at + OFFSET], world.bytes[rank], words[at + OFFSET])
            factor = board.reals[at + 64 + world.rank] if words[at + FACTORS] else 1.0
            low = 0 if piece is None else piece[0]
            sources.append(Source(rank, place, words[at + NBYTES] - low, words[at + ROWS], factor, ()))
            if piece is not None:
                sources[-1] = sources[-1]._replace(
                    place=Place(place.address + low, place.memory, place.offset + low), nbytes=piece[1] - low
                )
            if world.timeline is not None:
                world.timeline.found(self.key, sources[-1])
        return sources

    def _receive(
        self, rank: int, buffer: bytearray, request: Any, body: tuple[Place, list[tuple[int, Any]]] | None
    ) -> Generator[int, None, Source]:
        """The first message from a rank of another machine, and the chunks behind it on their way."""
        import torch

        while not request.Test():
            yield rank
        _, number, nbytes, rows, factor = _HEAD.unpack_from(buffer)
        if number != self.call.number:
            text = bytes(buffer[_HEAD.size : _HEAD_BYTES]).rstrip(b"\0").decode()
            raise Mismatch(f"the ranks called different things: {self._mine()}; rank {rank}: {text}")
        if nbytes <= INLINE:
            data = torch.frombuffer(buffer, dtype=torch.uint8)
            return Source(rank, Place(data.data_ptr() + _HEAD_BYTES, data, _HEAD_BYTES), nbytes, rows, factor, ())
        place, arrivals = body or self._body(rank, nbytes)
        return Source(rank, place, nbytes, rows, factor, arrivals)

    def _body(self, rank: int, nbytes: int) -> tuple[Place, list[tuple[int, Any]]]:
        """Where the chunks of a long message arrive."""
        world = self.world
        offset = world.pool.take(nbytes)
        self.staging.append(offset)
        place = Place(world.pool.base + offset, world.pool.bytes, offset)
        tag = world.wire.tag(self.key, BODY)
        return place, [(high, world.wire.receive(place.bytes(low, high), rank, tag)) for low, high in chunks(nbytes)]

    def add_up(
        self, out: Place, packed: Packed, terms: Sequence[Place], weights: Sequence[float], sources: Sequence[Source]
    ) -> Program[None]:
        """The weighted sum of the terms; of what travels, chunk by chunk as it arrives."""
        self.world.awake()
        travelling = [source for source in sources if source.arrivals]
        if not travelling:
            weigh(packed.segments, out, terms, weights)
            return
        for i, (low, high) in enumerate(chunks(packed.nbytes)):
            for source in travelling:
                request = source.arrivals[i][1]
                while not request.Test():
                    yield ~source.rank
            self.world.awake()
            weigh(packed.segments, out, terms, weights, low, high)

    def arrived(self, sources: Sequence[Source]) -> Program[None]:
        """Wait for all of what the sources send; on one machine it is there."""
        for source in sources:
            for _, request in source.arrivals:
                while not request.Test():
                    yield ~source.rank
                self.world.awake()
        self.world.awake()

    def mark(self, ranks: Sequence[int]) -> None:
        """Tell the owners that their bytes have been read."""
        words, mark, me = self.world.board.words, self.world.board.mark, self.world.rank
        if not IN_ORDER:
            fence()
        for rank in ranks:
            if self.world.is_local[rank]:
                words[mark(me, self.slot, rank)] = self.key
        for offset in self.staging:
            self.world.pool.give(offset)
        self.staging.clear()

    def released(self) -> Program[None]:
        """Wait until the readers have read what this rank lent them. Bytes in the slot itself need no waiting."""
        words, mark, me = self.world.board.words, self.world.board.mark, self.world.rank
        words[mark(me, self.slot, me)] = self.key
        if not self.inline:
            for reader in self.readers:
                at = mark(reader, self.slot, me)
                while words[at] < self.key:  # later ones may have been marked already
                    yield reader
        for dest, request in self.sends:
            while not request.Test():
                yield ~dest
            self.world.awake()

    def check_partners(self, sources: Sequence[int], dests: Sequence[int]) -> Program[None]:
        """In a call with edges of its own, both ends of each must name it; so each looks at all others, named or not."""
        world = self.world
        board, words, reals, n, me = world.board, world.board.words, world.board.reals, world.size, world.rank
        for rank in world.locals:
            if rank == me:
                continue
            at = board.slot(rank, self.slot)
            while words[at + KEY] < self.key:
                yield rank
            if words[at + KEY] != self.key:  # it has gone on, so it agreed with this rank
                continue
            if not IN_ORDER:
                fence()
            if words[at + SIGNATURE] != self.call.number and words[at + KEY] == self.key:
                raise (yield from self._mismatch(rank))
            sends, receives = not math.isnan(reals[at + 64 + me]), reals[at + 64 + n + me] != 0
            if (rank in sources) != sends or (rank in dests) != receives:
                problem = disagreement(me, rank, rank in sources, rank in dests, sends=sends)
                if words[at + KEY] == self.key:  # else it has gone on meanwhile, and this was the next call's
                    raise problem

    def _mine(self) -> str:
        return f"rank {self.world.rank}: {self.call.text.decode()}"

    def _mismatch(self, rank: int) -> Generator[int, None, Mismatch]:
        """Who called what. The others get a moment to say what they call, so that the message is complete."""
        import time

        world = self.world
        board, words = world.board, world.board.words
        until = time.monotonic() + 0.1
        slots = {peer: board.slot(peer, self.slot) for peer in world.locals}
        while time.monotonic() < until and any(words[at + KEY] != self.key for at in slots.values()):
            yield rank
        said: dict[str, list[int]] = {}
        for peer, at in slots.items():
            if words[at + KEY] == self.key:
                said.setdefault(board.slot_text(peer, self.slot), []).append(peer)
        return Mismatch(
            "the ranks called different things: " + "; ".join(f"{ranks_in_words(r)}: {text}" for text, r in said.items())
        )


def disagreement(me: int, rank: int, source: bool, dest: bool, *, sends: bool) -> Mismatch:
    """An edge that only one end names, in the same words on both.

    Here the other rank is named as a source, as a destination, or not; there it sends something to this one, or not.
    """
    if source != sends:
        to, by, named_by_sender = me, rank, sends
    else:
        to, by, named_by_sender = rank, me, dest
    if named_by_sender:
        return Mismatch(f"rank {by} sends something to rank {to} (dst_weights), but rank {to} does not expect it (src_weights)")
    return Mismatch(f"rank {to} expects something from rank {by}, but rank {by} sends nothing to rank {to} (dst_weights)")


class Handle(Generic[T]):
    """A call under way: ``wait`` gives its result, ``done`` says whether it is there."""

    def __init__(self, world: World, name: str | None, call: Call, program: Program[T]) -> None:
        self._world, self._name, self._call = world, name, call
        self._program = program if world.timeline is None else world.timeline.under_way(call, program)
        self._result: T | None = None
        self._error: BaseException | None = None
        self._peer = world.rank
        self._running = True
        world.pending.append(self)
        self.step()

    @property
    def name(self) -> str | None:
        """The name that the call was given."""
        return self._name

    @property
    def done(self) -> bool:
        """Whether the result is there: `wait` would not wait."""
        if self._running:
            self._world.progress()
        return not self._running

    def wait(self) -> T:
        """The result. Waiting a second time gives it again."""
        if self._running:
            perform(self._world, self._call, self._drive(), "wait: ")
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]

    def step(self) -> bool:
        """Go on as far as possible without waiting; whether that was to the end."""
        if self._running:
            world = self._world
            if world.board.words[0] >= world.epoch:
                self.abandon(world.failure())
                return True
            try:
                self._peer = next(self._program)
            except StopIteration as end:
                self._result = end.value
                if world.board.words[0] >= world.epoch:
                    self._error = world.failure()
                self._finish()
            except BaseException as error:
                self._error = error
                world.fail(error)
                self._finish()
                if not isinstance(error, Exception):  # an interrupt is for whoever waits, perhaps for something else
                    raise
        return not self._running

    def abandon(self, error: CommError) -> None:
        """The epoch is over."""
        if self._running:
            self._error = error
            self._finish()

    def _finish(self) -> None:
        self._running = False
        self._program.close()
        if self in self._world.pending:
            self._world.pending.remove(self)

    def _drive(self) -> Program[None]:
        while not self.step():
            yield self._peer
        if self._error is not None:
            raise self._error

    def __repr__(self) -> str:
        return f"<{self._call.text.decode()}: {'under way' if self._running else 'done'}>"


def start(world: World, name: str | None, call: Call, program: Program[T]) -> Handle[T]:
    """Begin a call that the user waits for later."""
    return Handle(world, name, call, program)


def check_name(world: World, kind: str, name: str | None) -> None:
    """A name tells calls apart, so it is in use only once at a time."""
    if name is not None and not isinstance(name, str):
        raise ArgumentError(f"name={name!r} of {kind}: a string, e.g. name='gradients'")
    if name is not None and world.pending:
        for handle in world.pending:
            if handle.name == name:
                raise ArgumentError(f"name {name!r} of {kind} is still in use by {handle!r}: wait for that one first")
