"""What two ranks do alone: objects sent from one to the other, and pairwise averaging. Messages over MPI, polled."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import torch

from ..errors import ArgumentError, IfogError, Mismatch
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
    try:
        dest = graphs.one_rank("dest", dest, here.size)
        _check_tag(tag)
    except IfogError as error:
        here.refuse(error)
        raise
    signature = call("send", None, (), ("pair", int(tag)), f" to rank {dest}" + (f" with tag {tag}" if tag else ""))
    return Handle(here, None, signature, _send(here, pickled(value), dest, here.pairs_key(int(tag))))


def recv(here: World, source: int, tag: int) -> Handle[Any]:
    """Receive an object."""
    here.check()
    try:
        source = graphs.one_rank("source", source, here.size)
        _check_tag(tag)
    except IfogError as error:
        here.refuse(error)
        raise
    signature = call("recv", None, (), ("pair", int(tag)), f" from rank {source}" + (f" with tag {tag}" if tag else ""))
    return Handle(here, None, signature, _recv(here, source, here.pairs_key(int(tag))))


def _send(here: World, data: bytes, dest: int, key: int) -> Program[None]:
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


def _recv(here: World, source: int, key: int) -> Program[Any]:
    wire = here.pairs
    head = bytearray(INLINE)
    # claimed one after the other: the head and the chunks of one message belong together
    while (source, key) in here.receiving:
        yield source
    here.receiving.add((source, key))
    try:
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
    finally:
        here.receiving.discard((source, key))


def gossip(
    here: World, x: Any, peer: int, self_weight: float | None, pair_weight: float | None, name: str | None
) -> Handle[Any]:
    """Average with one other rank."""
    here.check()
    try:
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
    except IfogError as error:
        here.refuse(error)
        raise
    signature = call("pair_gossip", name, packed.what, "pair", f" with rank {peer}")
    return Handle(here, name, signature, _gossip(here, packed, peer, weights, name))


def _gossip(here: World, packed: Packed, peer: int, weights: tuple[float, float], name: str | None) -> Program[Any]:
    data = torch.empty(packed.nbytes, dtype=torch.uint8)
    mine = Place(data.data_ptr(), data, 0)
    packed.write(mine)
    key = here.pairs_key(_GOSSIP)
    sending = _send(here, pickled((name, words(packed), data.numpy().tobytes())), peer, key)
    receiving = _recv(here, peer, key)
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
