"""What two ranks do alone: objects sent from one to the other, and pairwise averaging. Messages over MPI, polled."""

from __future__ import annotations

import pickle
import weakref
from collections import deque
from typing import Any

import numpy as np
import torch

from ..errors import ArgumentError, Mismatch
from . import graphs
from .operation import Handle, call, check_name
from .packing import Packed, Place, pickled, weigh, words
from .wire import BODY, HEAD, chunks
from .world import INLINE, Program, World

_GOSSIP = 2**12
"""The tag of `pair_gossip`; those of `send` are below."""
_LENGTH = 8


def send(here: World, value: Any, dest: int, tag: int) -> Handle[None]:
    """Send an object."""
    here.check()
    dest = graphs.one_rank("dest", dest, here.size)
    _check_tag(tag)
    signature = call("send", None, (), ("pair", int(tag)), f" to rank {dest}" + (f" with tag {tag}" if tag else ""))
    return Handle(here, None, signature, _send(here, pickled(value), dest, here.pairs_key(int(tag))))


def recv(here: World, source: int, tag: int, *, begin: bool = False) -> Handle[Any]:
    """Receive an object, or only begin to."""
    here.check()
    source = graphs.one_rank("source", source, here.size)
    _check_tag(tag)
    key = here.pairs_key(int(tag))
    ahead = sum(other() is not None for other in here.receiving.get((source, key), ()))
    if source == here.rank and not begin and len(here.to_itself.get(key, ())) <= ahead:
        raise ArgumentError(
            f"source={source} is this rank itself, which has sent itself nothing that is still to be received"
            + (f" with tag={tag}" if tag else "")
            + f": call ifog.send(value, {source}) first, or ifog.recv_nonblocking({source})"
        )
    ticket = _Ticket(here, source, key)
    signature = call("recv", None, (), ("pair", int(tag)), f" from rank {source}" + (f" with tag {tag}" if tag else ""))
    return Handle(here, None, signature, _recv(here, source, key, ticket))


def _send(here: World, data: bytes, dest: int, key: int) -> Program[None]:
    if dest == here.rank:  # MPI may keep a sender waiting until somebody receives, and here nobody else does
        here.to_itself.setdefault(key, deque()).append(data)
        return
    wire = here.pairs
    head = bytearray(len(data).to_bytes(_LENGTH, "little"))
    head += data[: INLINE - _LENGTH]
    requests = [wire.send(head, dest, wire.tag(key, HEAD))]
    rest = memoryview(data)[INLINE - _LENGTH :]
    requests += [wire.send(rest[low:high], dest, wire.tag(key, BODY)) for low, high in chunks(len(rest))]
    for request in requests:
        while not request.Test():
            yield dest
        here.awake()


class _Ticket:
    """A place in the line of those who receive from one rank under one key, in the order of their calls.

    The line does not keep it: whoever has received, or was given up before, is out of the line.
    """

    __slots__ = ("__weakref__", "_line")

    def __init__(self, here: World, source: int, key: int) -> None:
        self._line: list[weakref.ref[_Ticket]] = here.receiving.setdefault((source, key), [])
        self._line.append(weakref.ref(self))

    @property
    def first(self) -> bool:
        """Whether it is its turn."""
        line = self._line
        while line[0]() is None:
            del line[0]
        return line[0]() is self


def _recv(here: World, source: int, key: int, ticket: _Ticket) -> Program[Any]:
    # one after the other: the head and the chunks of one message belong together
    while not ticket.first:
        yield source
    if source == here.rank:
        while not here.to_itself.get(key):
            yield source
        return pickle.loads(here.to_itself[key].popleft())
    wire = here.pairs
    head = bytearray(INLINE)
    request = wire.receive(head, source, wire.tag(key, HEAD))
    while not request.Test():
        yield source
    length = int.from_bytes(head[:_LENGTH], "little")
    if length <= INLINE - _LENGTH:
        return pickle.loads(memoryview(head)[_LENGTH : _LENGTH + length])
    data = bytearray(length)
    data[: INLINE - _LENGTH] = head[_LENGTH:]
    rest = memoryview(data)[INLINE - _LENGTH :]
    requests = [wire.receive(rest[low:high], source, wire.tag(key, BODY)) for low, high in chunks(len(rest))]
    for request in requests:
        while not request.Test():
            yield ~source
        here.awake()
    return pickle.loads(data)


def gossip(
    here: World, x: Any, peer: int, self_weight: float | None, pair_weight: float | None, name: str | None
) -> Handle[Any]:
    """Average with one other rank."""
    here.check()
    (peer,) = graphs.ranks_of("peer", [peer], here.size, here.rank)
    packed = Packed(x)
    if (self_weight is None) != (pair_weight is None):
        raise ArgumentError("self_weight and pair_weight come together; without them the result is the mean of the two")
    weights = (0.5, 0.5)
    if self_weight is not None and pair_weight is not None:
        weights = graphs._weight("self_weight", self_weight), graphs._weight("pair_weight", pair_weight)
    for segment in packed.segments:
        if not (segment.dtype.is_floating_point or segment.dtype.is_complex):
            raise ArgumentError(f"x is {segment.dtype}, and an average would be rounded: convert it, e.g. x.double()")
    check_name(here, "pair_gossip", name)
    key = here.pairs_key(_GOSSIP)
    ticket = _Ticket(here, peer, key)
    signature = call("pair_gossip", name, packed.what, "pair", f" with rank {peer}")
    return Handle(here, name, signature, _gossip(here, packed, peer, weights, name, key, ticket))


def _gossip(
    here: World, packed: Packed, peer: int, weights: tuple[float, float], name: str | None, key: int, ticket: _Ticket
) -> Program[Any]:
    data = torch.empty(packed.nbytes, dtype=torch.uint8, device="cpu")
    mine = Place(data.data_ptr(), data, 0)
    packed.write(mine)
    sending = _send(here, pickled((name, words(packed), data.numpy().tobytes())), peer, key)
    receiving = _recv(here, peer, key, ticket)
    waiting = {sending: None, receiving: None}
    result: Any = None
    while waiting:
        for program in list(waiting):
            try:
                next(program)
            except StopIteration as end:
                del waiting[program]
                if program is receiving:
                    result = end.value
        if waiting:
            yield peer
    theirs, said, received = result
    if (theirs, said) != (name, words(packed)):
        raise Mismatch(
            f"the ranks called different things: rank {here.rank}: pair_gossip({name!r}) of {words(packed)}; "
            f"rank {peer}: pair_gossip({theirs!r}) of {said}"
        )
    other = torch.frombuffer(bytearray(received), dtype=torch.uint8) if received else data
    whole, place = packed.fresh(here)
    # the smaller rank's term first, on both: with equal weights the two results have the same bits
    terms = [(mine, weights[0]), (Place(other.data_ptr(), other, 0), weights[1])]
    if peer < here.rank:
        terms.reverse()
    weigh(packed.segments, place, [term for term, _ in terms], [weight for _, weight in terms])
    return packed.unpack(whole)


def _check_tag(tag: Any) -> None:
    if isinstance(tag, bool) or not isinstance(tag, int | np.integer) or not 0 <= tag < _GOSSIP:
        raise ArgumentError(f"tag={tag!r}: a whole number between 0 and {_GOSSIP - 1}")
