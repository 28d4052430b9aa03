"""The programs of the calls whose tensors lie on a device: those of `collectives`, along the road of `roads`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from . import arithmetic, collectives
from .collectives import Plan
from .operation import Call, Publication
from .packing import Packed, Place, Segment
from .roads import Introduction, Road
from .world import Program, World


# Each program is made in two steps: publications are numbered when the call begins, so that all ranks agree on their numbers.
# Those of the introduction come first, where the readers of any other call find out that this is not theirs.
def mix(world: World, road: Road, call: Call, packed: Packed, plan: Plan, out: Packed | None) -> Program[Any]:
    """``x_i ← w_ii x_i + Σ_j w_ij x_j``, own term first, then ascending j."""
    return _mix(world, road, road.introduce(call), Publication(world, call), packed, plan, out)


def _mix(
    world: World,
    road: Road,
    introduction: Introduction,
    lending: Publication,
    packed: Packed,
    plan: Plan,
    out: Packed | None,
) -> Program[Any]:
    if not (yield from road.agreed(introduction)):
        return (yield from collectives.mixing(world, lending, packed, plan, out))
    yield from lending.free_slot()
    block, own = yield from road.lend(packed)
    if plan.dynamic:
        road.post(lending, block, own, plan.dests, factors=dict(plan.factors or {}), accepts=plan.sources)
        yield from lending.check_partners(plan.sources, plan.dests)
    else:
        road.post(lending, block, own, plan.dests)
    sources = yield from lending.read(plan.sources)
    world.awake()
    terms = road.reach(sources)
    weights = [weight * source.factor for weight, source in zip(plan.weights, sources, strict=True)]
    if plan.self_weight != 0:
        terms, weights = [own, *terms], [plan.self_weight, *weights]
    whole, place = (None, None) if out is None else _direct(packed, own, out)
    if place is None:
        whole, _, place = road.fresh(packed)
    for result, parts in _parts(packed.segments, place, terms, 0, packed.nbytes):
        arithmetic.weighted_sum_by_torch(result, parts, weights)
    yield from road.finished()
    lending.mark([*plan.sources, *plan.ignored])
    yield from lending.released()
    road.give_back(packed)
    return packed.deliver(whole, out)


def reduce(
    world: World, road: Road, call: Call, packed: Packed, ranks: Sequence[int], op: str, out: Packed | None
) -> Program[Any]:
    """The mean, sum, least or largest over the ranks, the same bits on all of them."""
    introduction = road.introduce(call)
    publications = Publication(world, call), Publication(world, call)
    return _reduce(world, road, introduction, publications, packed, ranks, op, out)


def _reduce(
    world: World,
    road: Road,
    introduction: Introduction,
    publications: tuple[Publication, Publication],
    packed: Packed,
    ranks: Sequence[int],
    op: str,
    out: Packed | None,
) -> Program[Any]:
    """Each rank adds up one piece for all, and then takes the other pieces from the others."""
    scatter, spread = publications
    if not (yield from road.agreed(introduction)):
        return (yield from collectives._reduce_large(world, scatter, spread, packed, ranks, op, out))
    others = [rank for rank in ranks if rank != world.rank]
    pieces = collectives._pieces(packed.nbytes, ranks)
    low, high = pieces[world.rank]
    yield from scatter.free_slot()
    block, own = yield from road.lend(packed)
    road.post(scatter, block, own, others)
    sources = yield from scatter.read(others)
    world.awake()
    places = dict(zip(others, road.reach(sources), strict=True)) | {world.rank: own}
    whole, block, place = road.fresh(packed)
    _combine(packed.segments, place, [places[rank] for rank in sorted(places)], op, low, high)
    yield from road.finished()
    scatter.mark(others)
    yield from spread.free_slot()
    road.post(spread, block, place, others)
    for source in (yield from spread.read(others)):
        (found,) = road.reach([source])
        begin, end = pieces[source.rank]
        place.flat(torch.uint8, begin, end - begin).copy_(found.flat(torch.uint8, begin, end - begin))
    yield from road.finished()
    spread.mark(others)
    yield from scatter.released()
    yield from spread.released()
    road.give_back(packed)
    return packed.deliver(whole, out)


def broadcast(world: World, road: Road, call: Call, packed: Packed, root: int, out: Packed | None) -> Program[Any]:
    """What the root has, on every rank."""
    return _broadcast(world, road, road.introduce(call), Publication(world, call), packed, root, out)


def _broadcast(
    world: World,
    road: Road,
    introduction: Introduction,
    lending: Publication,
    packed: Packed,
    root: int,
    out: Packed | None,
) -> Program[Any]:
    if not (yield from road.agreed(introduction)):
        return (yield from collectives._broadcast(world, lending, packed, root, out))
    yield from lending.free_slot()
    if world.rank == root:
        block, place = yield from road.lend(packed)
        others = collectives.seen_from(world, *range(world.size))
        road.post(lending, block, place, others)
        yield from lending.read(others)  # they have nothing to say but that they mean this root
    else:
        others = [root]
        lending.post(collectives._lend_bytes(world, lending, b""), 0, others)
        sources = yield from lending.read([root])
        world.awake()
        (place,) = road.reach(sources)
    whole, _, fresh = road.fresh(packed)
    fresh.flat(torch.uint8, 0, packed.nbytes).copy_(place.flat(torch.uint8, 0, packed.nbytes))
    yield from road.finished()
    lending.mark(others)
    yield from lending.released()
    road.give_back(packed)
    return packed.deliver(whole, out)


def _direct(packed: Packed, own: Place, out: Packed) -> tuple[None, Place | None]:
    """Where the result can be written at once: in the user's own tensor, unless its old content is still being read there."""
    tensor = out.tensors[0]
    if len(out.tensors) == 1 and tensor.device == own.memory.device and tensor.is_contiguous():
        address = tensor.data_ptr()
        apart = address + packed.nbytes <= own.address or own.address + packed.nbytes <= address
        if apart and not (tensor.is_conj() or tensor.is_neg()):
            return None, Place(address, tensor.detach(), 0)
    return None, None


def _parts(
    segments: Sequence[Segment], out: Place, terms: Sequence[Place], low: int, high: int
) -> Iterator[tuple[torch.Tensor, list[torch.Tensor]]]:
    """Per dtype, the result and the terms between two bytes."""
    for dtype, begin, numel in segments:
        first, last = max(begin, low), min(begin + numel * dtype.itemsize, high)
        if last > first:
            count = (last - first) // dtype.itemsize
            yield out.flat(dtype, first, count), [term.flat(dtype, first, count) for term in terms]


def _combine(segments: Sequence[Segment], out: Place, terms: Sequence[Place], op: str, low: int, high: int) -> None:
    """As in `collectives`, to the same bits."""
    n = len(terms)
    for result, parts in _parts(segments, out, terms, low, high):
        if op in ("min", "max"):
            arithmetic.extremum(result, parts, op)
            continue
        half = result.dtype.itemsize == 2 and result.is_floating_point()
        arithmetic.weighted_sum_by_torch(result, parts, [1 / n if half and op == "mean" else 1] * n)
        if op == "mean" and not half:
            real = torch.view_as_real(result) if result.is_complex() else result
            # A number of the host would do on the CPU; but a GPU multiplies by its reciprocal, and rounds twice.
            real.div_(torch.full((), n, dtype=real.dtype, device=real.device))
