"""The programs of the calls: each says, step by step, what one rank lends, whom it waits for, and what it makes of it."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch

from . import arithmetic
from .operation import Call, Publication, Source, disagreement
from .packing import Packed, Place, Segment, pickled, plain, weigh
from .world import INLINE, Program, World

T = TypeVar("T")

SMALL = INLINE
"""Up to so many bytes every rank reads all the others in an allreduce; of more, each rank adds up one piece for all."""


class Plan(NamedTuple):
    """From whom this rank receives, to whom it gives, and with which weights."""

    self_weight: float
    sources: tuple[int, ...]
    weights: tuple[float, ...]
    dests: tuple[int, ...]
    factors: Mapping[int, float] | None = None
    """What this rank scales its bytes with, for each destination."""
    ignored: tuple[int, ...] = ()
    """Neighbours that lend this rank something that it does not want."""
    dynamic: bool = False


def mix(world: World, call: Call, packed: Packed, plan: Plan, out: Packed | None) -> Program[Any]:
    """``x_i ← w_ii x_i + Σ_j w_ij x_j``, own term first, then ascending j."""
    if packed.road is not None:
        from . import on_device

        return on_device.mix(world, packed.road, call, packed, plan, out)
    lending = Publication(world, call)
    return mixing(world, lending, packed, plan, out, telling=_telling(world, call, plan.dynamic))


def mixing(
    world: World,
    lending: Publication,
    packed: Packed,
    plan: Plan,
    out: Packed | None = None,
    *,
    telling: Publication | None = None,
    own: Place | None = None,
) -> Program[Any]:
    """`mix`, with its publications; ``own`` is where this rank's bytes lie, if they have been published already."""
    if own is None:
        yield from lending.free_slot()
        own = packed.lend(world, lending.slot)
        if plan.dynamic:
            lending.post(own, packed.nbytes, plan.dests, factors=dict(plan.factors or {}), accepts=plan.sources)
            yield from lending.check_partners(plan.sources, plan.dests)
            yield from _check_between_machines(world, telling, plan.sources, plan.dests)
        else:
            lending.post(own, packed.nbytes, plan.dests)
    # what comes from another machine must be received, wanted or not: its sender waits for that
    unwanted = [rank for rank in plan.ignored if not world.is_local[rank]]
    sources = yield from lending.read([*plan.sources, *unwanted], expected=packed.nbytes)
    sources, thrown_away = sources[: len(plan.sources)], sources[len(plan.sources) :]
    if plan.self_weight == 0:
        terms, weights = [source.place for source in sources], list(plan.weights)
    else:
        terms, weights = [own, *(source.place for source in sources)], [plan.self_weight, *plan.weights]
    if plan.dynamic:
        for i, source in enumerate(sources):
            weights[i - len(sources)] *= source.factor
    whole, place = (None, None) if out is None else direct(packed, own, out)
    if place is None:
        whole, place = packed.fresh(world)
    yield from lending.add_up(place, packed, terms, weights, sources)
    yield from lending.arrived(thrown_away)
    lending.mark([*plan.sources, *plan.ignored])
    yield from lending.released()
    packed.give_back(world)
    return packed.deliver(whole, out)


def direct(packed: Packed, own: Place, out: Packed) -> tuple[None, Place | None]:
    """Where the result can be written at once: in the user's own tensor, unless its old content is still being read there."""
    if len(out.tensors) == 1 and packed.nbytes:
        tensor = out.tensors[0]
        if plain(tensor):
            address = tensor.data_ptr()
            if address + packed.nbytes <= own.address or own.address + packed.nbytes <= address:
                torch.autograd.graph.increment_version(tensor)  # autograd shall know that it has changed
                return None, Place(address, tensor.detach(), 0)
    return None, None


def _telling(world: World, call: Call, dynamic: bool) -> Publication | None:
    # numbered when the call begins, like all publications: so the ranks agree on the numbers in whatever order they finish
    return Publication(world, call) if dynamic and world.machine_count > 1 else None


def _check_between_machines(
    world: World, telling: Publication | None, origins: Sequence[int], dests: Sequence[int]
) -> Program[None]:
    """Every rank tells every one of another machine whom it names; both ends of an edge find out if one does not."""
    if telling is None:
        return
    yield from telling.free_slot()
    named = np.zeros((2, world.size), np.uint8)
    named[0, list(origins)] = 1
    named[1, list(dests)] = 1
    place = _lend_bytes(world, telling, named.tobytes())
    others = [r for r in range(world.size) if r != world.rank]
    telling.post(place, named.nbytes, others)
    for source in (yield from telling.read(others)):
        theirs = np.frombuffer(source.place.bytes(0, source.nbytes), np.uint8).reshape(2, -1)
        rank, me = source.rank, world.rank
        if named[0, rank] != theirs[1, me] or named[1, rank] != theirs[0, me]:
            raise disagreement(me, rank, bool(named[0, rank]), bool(named[1, rank]), sends=bool(theirs[1, me]))
    telling.mark(others)
    yield from telling.released()


# -------------------------------------------------------------------------------------------------------- gathering
def gather(
    world: World, call: Call, packed: Packed, sources: Sequence[int], dests: Sequence[int], *, dynamic: bool = False
) -> Program[Any]:
    """What the sources have, one below the other."""
    return _gather(world, Publication(world, call), _telling(world, call, dynamic), packed, sources, dests, dynamic=dynamic)


def _gather(
    world: World,
    lending: Publication,
    telling: Publication | None,
    packed: Packed,
    sources: Sequence[int],
    dests: Sequence[int],
    *,
    dynamic: bool,
) -> Program[Any]:
    yield from lending.free_slot()
    rows = packed.shape[0]
    own = packed.lend(world, lending.slot)
    others = [rank for rank in sources if rank != world.rank]
    readers = [rank for rank in dests if rank != world.rank]
    if dynamic:
        lending.post(own, packed.nbytes, readers, rows=rows, accepts=others)
        yield from lending.check_partners(others, readers)
        yield from _check_between_machines(world, telling, others, readers)
    else:
        lending.post(own, packed.nbytes, readers, rows=rows)
    found = {source.rank: source for source in (yield from lending.read(others))}
    found[world.rank] = Source(world.rank, own, packed.nbytes, rows, 1.0, ())
    total = Packed.like(packed, sum(found[rank].rows for rank in sources))
    whole, place = total.fresh(world)
    yield from lending.arrived(list(found.values()))
    at = 0
    for rank in sources:
        numel = found[rank].nbytes // packed.dtype.itemsize
        if numel:
            place.flat(packed.dtype, at, numel).copy_(found[rank].place.flat(packed.dtype, 0, numel))
        at += found[rank].nbytes
    lending.mark(others)
    yield from lending.released()
    packed.give_back(world)
    return total.unpack(whole)


def visit(
    world: World, call: Call, packed: Packed, sources: Sequence[int], dests: Sequence[int], use: Callable[[list[Source]], T]
) -> Program[T]:
    """Let ``use`` read what the sources have, where it lies; each may have another length."""
    return _visit(world, Publication(world, call), packed, sources, dests, use)


def _visit(
    world: World,
    lending: Publication,
    packed: Packed,
    sources: Sequence[int],
    dests: Sequence[int],
    use: Callable[[list[Source]], T],
) -> Program[T]:
    yield from lending.free_slot()
    lending.post(packed.lend(world, lending.slot), packed.nbytes, dests)
    found = yield from lending.read(sources)
    yield from lending.arrived(found)
    result = use(found)
    lending.mark(sources)
    yield from lending.released()
    packed.give_back(world)
    return result


def objects(world: World, call: Call, value: Any, sources: Sequence[int], dests: Sequence[int]) -> Program[list[Any]]:
    """The Python objects of the sources, in that order."""
    return _objects(world, Publication(world, call), value, sources, dests)


def _objects(
    world: World, lending: Publication, value: Any, sources: Sequence[int], dests: Sequence[int]
) -> Program[list[Any]]:
    data = pickled(value) if dests else b""
    yield from lending.free_slot()
    place = _lend_bytes(world, lending, data)
    others = seen_from(world, *sources, *dests)
    lending.post(place, len(data), others)
    found = yield from lending.read(others)
    yield from lending.arrived(found)
    said = {s.rank: pickle.loads(s.place.bytes(0, s.nbytes)) for s in found if s.rank in sources}
    lending.mark(others)
    yield from lending.released()
    if not lending.inline:
        world.pool.give(place.offset)
    return [value if rank == world.rank else said[rank] for rank in sources]


def seen_from(world: World, *ranks: int) -> list[int]:
    """Whom this rank looks at in a call with a root: the root at all and all at the root, to find out if they mean another one.

    A rank of another machine that means another root sends nothing here, and who waits for it would never know why. So those
    of one machine look at each other first.
    """
    mates = world.locals if world.machine_count > 1 else ()
    return [rank for rank in dict.fromkeys([*mates, *ranks]) if rank != world.rank]


def _lend_bytes(world: World, lending: Publication, data: bytes) -> Place:
    offset = lending.slot * INLINE if len(data) <= INLINE else world.pool.take(len(data))
    world.segments[world.rank].memory[offset : offset + len(data)] = data
    return Place(world.pool.base + offset, world.pool.bytes, offset)


# --------------------------------------------------------------------------------------------------------- reducing
def reduce(world: World, call: Call, packed: Packed, ranks: Sequence[int], op: str, out: Packed | None) -> Program[Any]:
    """The mean, sum, least or largest over the ranks, the same bits on all of them."""
    if packed.road is not None:
        from . import on_device

        return on_device.reduce(world, packed.road, call, packed, ranks, op, out)
    if packed.nbytes <= SMALL or len(ranks) == 1:
        return reducing(world, Publication(world, call), packed, ranks, op, out)
    return _reduce_large(world, Publication(world, call), Publication(world, call), packed, ranks, op, out)


def reducing(
    world: World,
    lending: Publication,
    packed: Packed,
    ranks: Sequence[int],
    op: str,
    out: Packed | None = None,
    *,
    own: Place | None = None,
) -> Program[Any]:
    """`reduce` of few bytes, with its publication; ``own`` is where this rank's lie, if they have been published already."""
    others = [rank for rank in ranks if rank != world.rank]
    if own is None:
        yield from lending.free_slot()
        own = packed.lend(world, lending.slot)
        lending.post(own, packed.nbytes, others)
    sources = yield from lending.read(others)
    yield from lending.arrived(sources)
    places = {world.rank: own} | {source.rank: source.place for source in sources}
    whole, place = packed.fresh(world)
    _combine(packed.segments, place, [places[rank] for rank in sorted(places)], op, 0, packed.nbytes)
    lending.mark(others)
    yield from lending.released()
    packed.give_back(world)
    return packed.deliver(whole, out)


def _reduce_large(
    world: World,
    scatter: Publication,
    spread: Publication,
    packed: Packed,
    ranks: Sequence[int],
    op: str,
    out: Packed | None,
) -> Program[Any]:
    """Each rank adds up one piece for all, and then takes the other pieces from the others."""
    others = [rank for rank in ranks if rank != world.rank]
    pieces = _pieces(packed.nbytes, ranks)
    low, high = pieces[world.rank]
    yield from scatter.free_slot()
    own = packed.lend(world, scatter.slot)
    scatter.post(own, packed.nbytes, others, pieces=pieces)
    sources = yield from scatter.read(others, piece=(low, high))
    yield from scatter.arrived(sources)
    whole, place = packed.fresh(world)
    # every term is written as if it began where the whole does: so one address serves pieces and wholes
    places = {world.rank: own} | {
        source.rank: Place(source.place.address - low, source.place.memory, source.place.offset - low) for source in sources
    }
    _combine(packed.segments, place, [places[rank] for rank in sorted(places)], op, low, high)
    scatter.mark(others)
    yield from spread.free_slot()
    mine = Place(place.address, place.memory, place.offset)
    spread.post(mine, packed.nbytes, others, pieces=dict.fromkeys(others, (low, high)))
    for rank in others:
        begin, end = pieces[rank]
        (source,) = yield from spread.read([rank], piece=(begin, end))
        yield from spread.arrived([source])
        if end > begin:
            place.flat(torch.uint8, begin, end - begin).copy_(source.place.flat(torch.uint8, 0, end - begin))
        spread.mark([rank])
    yield from scatter.released()
    yield from spread.released()
    packed.give_back(world)
    return packed.deliver(whole, out)


def _pieces(nbytes: int, ranks: Sequence[int]) -> dict[int, tuple[int, int]]:
    step = -(-nbytes // (64 * len(ranks))) * 64
    return {rank: (min(i * step, nbytes), min((i + 1) * step, nbytes)) for i, rank in enumerate(ranks)}


def _combine(segments: Sequence[Segment], out: Place, terms: Sequence[Place], op: str, low: int, high: int) -> None:
    n = len(terms)
    if op in ("sum", "mean"):
        half = [s for s in segments if s.dtype.itemsize == 2 and s.dtype.is_floating_point]
        full = [s for s in segments if s not in half]
        if half:  # rounded once, at the very end
            weigh(half, out, terms, [1.0 / n if op == "mean" else 1.0] * n, low, high)
        weigh(full, out, terms, [1.0] * n, low, high)
        if op == "mean":
            for dtype, begin, numel in full:
                last = min(begin + numel * dtype.itemsize, high)
                first = max(begin, low)
                if last > first:
                    result = out.flat(dtype, first, (last - first) // dtype.itemsize)
                    # by a real number, not by n + 0i, of which every kind of processor makes something else
                    (torch.view_as_real(result) if dtype.is_complex else result).div_(n)
        return
    for dtype, begin, numel in segments:
        last, first = min(begin + numel * dtype.itemsize, high), max(begin, low)
        if last > first:
            count = (last - first) // dtype.itemsize
            arithmetic.combine(out.flat(dtype, first, count), [t.flat(dtype, first, count) for t in terms], op)  # type: ignore[arg-type]


def scatter_reduced(world: World, call: Call, packed: Packed, rows: int, op: str) -> Program[Any]:
    """The sum or mean over all ranks, of which this one gets its share of the rows."""
    return _scatter_reduced(world, Publication(world, call), packed, rows, op)


def _scatter_reduced(world: World, lending: Publication, packed: Packed, rows: int, op: str) -> Program[Any]:
    others = [rank for rank in range(world.size) if rank != world.rank]
    share = Packed.like(packed, rows)
    pieces = {rank: (rank * share.nbytes, (rank + 1) * share.nbytes) for rank in range(world.size)}
    low, high = pieces[world.rank]
    yield from lending.free_slot()
    own = packed.lend(world, lending.slot)
    lending.post(own, packed.nbytes, others, pieces=pieces)
    sources = yield from lending.read(others, piece=(low, high))
    yield from lending.arrived(sources)
    places = {source.rank: source.place for source in sources}
    places[world.rank] = Place(own.address + low, own.memory, own.offset + low)
    whole, place = share.fresh(world)
    _combine(share.segments, place, [places[rank] for rank in sorted(places)], op, 0, share.nbytes)
    lending.mark(others)
    yield from lending.released()
    packed.give_back(world)
    return share.unpack(whole)


# ------------------------------------------------------------------------------------------------- from one to all
def broadcast(world: World, call: Call, packed: Packed, root: int, out: Packed | None) -> Program[Any]:
    """What the root has, on every rank."""
    if packed.road is not None:
        from . import on_device

        return on_device.broadcast(world, packed.road, call, packed, root, out)
    return _broadcast(world, Publication(world, call), packed, root, out)


def _broadcast(world: World, lending: Publication, packed: Packed, root: int, out: Packed | None) -> Program[Any]:
    yield from lending.free_slot()
    if world.rank == root:
        others = seen_from(world, *range(world.size))
        place = packed.lend(world, lending.slot)
        lending.post(place, packed.nbytes, others)
        yield from lending.read(others)  # they have nothing to say but that they mean this root
    else:
        others = seen_from(world, root)
        place = Place(world.pool.base + lending.slot * INLINE, world.pool.bytes, lending.slot * INLINE)
        lending.post(place, 0, others)
        sources = yield from lending.read(others)
        yield from lending.arrived(sources)
        place = next(source.place for source in sources if source.rank == root)
    whole, fresh = packed.fresh(world)
    if packed.nbytes:
        fresh.flat(torch.uint8, 0, packed.nbytes).copy_(place.flat(torch.uint8, 0, packed.nbytes))
    lending.mark(others)
    yield from lending.released()
    packed.give_back(world)
    return packed.deliver(whole, out)


def agree(world: World, call: Call) -> Program[None]:
    """Every rank waits for all the others to make the same call: a barrier."""
    return _agree(world, Publication(world, call))


def _agree(world: World, lending: Publication) -> Program[None]:
    yield from lending.free_slot()
    others = [rank for rank in range(world.size) if rank != world.rank]
    nothing = Place(world.pool.base + lending.slot * INLINE, world.pool.bytes, lending.slot * INLINE)
    lending.post(nothing, 0, others)
    yield from lending.read(others)
    lending.mark(others)
    yield from lending.released()


# ------------------------------------------------------------------------------------------------------- two levels
def hierarchical(world: World, call: Call, packed: Packed, plan: Plan) -> Program[Any]:
    """The mean within each machine, mixed between machines. Each local rank carries one piece of it to its counterparts."""
    publications = [Publication(world, call) for _ in range(3)]
    return _hierarchical(world, publications, _telling(world, call, plan.dynamic), packed, plan)


def _hierarchical(
    world: World, publications: Sequence[Publication], telling: Publication | None, packed: Packed, plan: Plan
) -> Program[Any]:
    inside, between, back = publications
    mates = [rank for rank in world.locals if rank != world.rank]
    pieces = _pieces(packed.nbytes, world.locals)
    low, high = pieces[world.rank]
    counterpart = {machine: ranks[world.local_rank] for machine, ranks in enumerate(world.machine_ranks)}

    yield from inside.free_slot()
    own = packed.lend(world, inside.slot)
    inside.post(own, packed.nbytes, mates)
    sources = yield from inside.read(mates)
    mean, place = packed.fresh(world)
    places = {world.rank: own} | {source.rank: source.place for source in sources}
    _combine(packed.segments, place, [places[rank] for rank in sorted(places)], "mean", low, high)
    inside.mark(mates)

    yield from between.free_slot()
    dests = [counterpart[machine] for machine in plan.dests]
    origins = [counterpart[machine] for machine in plan.sources]
    lent = _lend_piece(world, between, place, low, high)
    factors = {counterpart[m]: f for m, f in plan.factors.items()} if plan.factors else None
    if plan.dynamic:
        between.post(lent, high - low, dests, factors=factors, accepts=origins)
        yield from between.check_partners(origins, dests)
        yield from _check_between_machines(world, telling, origins, dests)
    else:
        between.post(lent, high - low, dests)
    # what comes from another machine must be received, wanted or not: its sender waits for that
    unwanted = [counterpart[machine] for machine in plan.ignored]
    sources = yield from between.read([*origins, *unwanted])
    yield from between.arrived(sources)
    sources = sources[: len(origins)]
    whole, result = packed.fresh(world)
    terms = [place] if plan.self_weight else []
    weights = [plan.self_weight] if plan.self_weight else []
    for source, weight in zip(sources, plan.weights, strict=True):
        at = source.place
        terms.append(Place(at.address - low, at.memory, at.offset - low))
        weights.append(weight * source.factor)
    weigh(packed.segments, result, terms, weights, low, high)
    between.mark(origins)

    yield from back.free_slot()
    back.post(_lend_piece(world, back, result, low, high), high - low, mates)
    for rank in mates:
        begin, end = pieces[rank]
        (source,) = yield from back.read([rank])
        if end > begin:
            result.flat(torch.uint8, begin, end - begin).copy_(source.place.flat(torch.uint8, 0, end - begin))
        back.mark([rank])
    yield from inside.released()
    yield from between.released()
    yield from back.released()
    packed.give_back(world)
    del mean
    return packed.unpack(whole)


def _lend_piece(world: World, lending: Publication, place: Place, low: int, high: int) -> Place:
    """A piece of a result, where the others can read it: a short result is not in shared memory, and is copied."""
    if place.memory is world.pool.bytes and high - low > INLINE:
        return Place(place.address + low, place.memory, place.offset + low)
    offset = lending.slot * INLINE
    lent = Place(world.pool.base + offset, world.pool.bytes, offset)
    if high > low:
        lent.flat(torch.uint8, 0, high - low).copy_(place.flat(torch.uint8, low, high - low))
    return lent
