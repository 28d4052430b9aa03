"""The SPMD surface: what ``import ifog`` offers in a cell on the engines, or in a script under ``mpiexec``.

Every rank runs the same code, and a rank is a node. Calls that exchange something have a ``_nonblocking`` form too, which
returns a `Handle`.
A call is a collective unless it says otherwise: all ranks make the same ones, in the same order.
"""

from __future__ import annotations

import contextlib
import functools
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import torch

from ..errors import ArgumentError, IfogError, PeerFailed
from ..topology import Schedule, exponential
from . import collectives, graphs, packing, roads, swift, world
from .devices import HOST
from .graphs import Followed
from .operation import Call, Handle, call, check_name, perform
from .packing import Packed
from .swift import NOTHING
from .world import Program, World

_REQUIRES_GRAD = operator.attrgetter("requires_grad")
Weights = Mapping[int, float]
Op = Literal["mean", "sum", "min", "max"]


class _State:
    """What the calls remember between them."""

    world: World | None = None
    followed: Followed | None = None
    machines: Followed | None = None


_state = _State()


# ------------------------------------------------------------------------------------------------------------- life
def init(topology: Any = None) -> None:
    """Begin: find the other ranks. Every other call does it by itself; a second time it only sets the topology, if given.

    The topology is the static exponential graph unless another is given.
    """
    _here()
    if topology is not None:
        set_topology(topology)


def shutdown() -> None:
    """Leave the ranks' world. A later `init` on all ranks enters a new one; results of earlier calls stay valid."""
    world.shutdown()
    _state.world = _state.followed = _state.machines = None


def recover() -> None:
    """After a failure that was caught, begin anew: a collective. In a notebook the next cell does it by itself."""
    _here().recover()


def rank() -> int:
    """The number of this rank, from 0."""
    return _here().rank


def size() -> int:
    """How many ranks there are."""
    return _here().size


def local_rank() -> int:
    """The number of this rank among those of its machine."""
    return _here().local_rank


def local_size() -> int:
    """How many ranks run on this machine."""
    return _here().local_size


def machine_rank() -> int:
    """The number of this machine."""
    return _here().machine_rank


def machine_size() -> int:
    """How many machines there are."""
    return _here().machine_count


def is_homogeneous() -> bool:
    """Whether every machine has equally many ranks, numbered one after the other."""
    return _here().is_homogeneous


def _here() -> World:
    here = world.current()
    if here is not _state.world:
        _state.world = here
        _state.followed = _state.machines = None
        here.listeners.append(_new_epoch)
    return here


def _new_epoch() -> None:
    # some ranks may have taken a round that others have not: a schedule begins anew, at the same round on all
    for followed in (_state.followed, _state.machines):
        if followed is not None:
            followed.round = 0


# --------------------------------------------------------------------------------------------------------- topology
def set_topology(topology: Any) -> None:
    """Talk along this topology from now on: one of `ifog.topology`, a schedule, or a networkx graph; the same on all ranks."""
    here = _here()
    with _refusing(here):
        followed = graphs.follow(topology, here.size, here.rank)

    def take() -> None:
        _state.followed = followed

    _agree(here, "set_topology", followed.token, f"({followed.schedule.label})", take)


def current_topology() -> Schedule:
    """The topology in force. ``ifog.topology()`` is the same."""
    return _followed(_here()).schedule


def set_machine_topology(topology: Any) -> None:
    """The topology between machines, of which each is a node, for `hierarchical_neighbor_allreduce`."""
    here = _here()
    with _refusing(here):
        followed = graphs.follow(topology, here.machine_count, here.machine_rank, "machine")

    def take() -> None:
        _state.machines = followed

    _agree(here, "set_machine_topology", followed.token, f"({followed.schedule.label})", take)


def machine_topology() -> Schedule:
    """The topology between machines in force."""
    return _between_machines(_here()).schedule


def in_neighbors() -> list[int]:
    """The ranks from which this one receives, in the next round of the topology."""
    return list(_followed(_here()).now().plan.sources)


def out_neighbors() -> list[int]:
    """The ranks to which this one sends, in the next round of the topology."""
    return list(_followed(_here()).now().plan.dests)


def in_neighbor_machines() -> list[int]:
    """The machines from which this one receives."""
    return list(_between_machines(_here()).now().plan.sources)


def out_neighbor_machines() -> list[int]:
    """The machines to which this one sends."""
    return list(_between_machines(_here()).now().plan.dests)


def _followed(here: World) -> Followed:
    if _state.followed is None:
        _state.followed = graphs.follow(exponential(here.size), here.size, here.rank)
    return _state.followed


def _between_machines(here: World) -> Followed:
    if _state.machines is None:
        _state.machines = graphs.follow(exponential(here.machine_count), here.machine_count, here.machine_rank, "machine")
    return _state.machines


# ------------------------------------------------------------------------------------------------- how a call begins
def _ready() -> World:
    """The world, after `World.check`: which is left out where every microsecond counts and nothing is the matter."""
    here = _state.world or _here()
    if here.board.words[0] >= here.epoch or here.busy or here.closed:
        here = _here()
        here.check()
    return here


@contextlib.contextmanager
def _refusing(here: World) -> Iterator[None]:
    """An argument is refused before anything is sent; those who already wait for this call shall know why."""
    here.check()
    try:
        yield
    except IfogError as error:
        here.refuse(error)
        raise


def _finish(here: World, signature: Call, program: Program[Any], name: str | None, *, wait: bool) -> Any:
    return perform(here, signature, program) if wait else Handle(here, name, signature, program)


def _agree(here: World, kind: str, token: object, said: str = "", then: Callable[[], None] | None = None) -> None:
    """Have all ranks call the same, and then do something; all of them, or none."""
    here.check()
    signature, key = call(kind, None, (), token, said), here.key()
    try:
        _finish(here, signature, collectives.agree(here, signature), None, wait=True)
        here.agreed(key)
    except PeerFailed:
        if then is not None and here.has_agreed(key):  # it has failed afterwards, and has done it already
            then()
        raise
    if then is not None:
        then()


# -------------------------------------------------------------------------------------------------------- averaging
def neighbor_allreduce(
    x: Any,
    *,
    self_weight: float | None = None,
    src_weights: Weights | None = None,
    dst_weights: Weights | Sequence[int] | None = None,
    name: str | None = None,
    out: Any = None,
) -> Any:
    """Average with the neighbours: ``x_i ← w_ii x_i + Σ_j w_ij x_j``, with the topology's weights unless others are given.

    ``src_weights[j]`` is what this rank gives to what it receives from j, ``self_weight`` what it keeps of its own. With
    ``dst_weights`` the call has edges of its own, which need not be in the topology: j contributes to i with
    ``src_weights[j]`` (given at i) times ``dst_weights[i]`` (given at j), and both ends must name the edge.

    x is a tensor, an array, or a list or dict of them, which travel as one message. Terms are added in a fixed order (own
    first, then ascending j), so results are the same bit for bit, run after run. 16-bit floats are added up in float32.
    ``out`` receives the result; it may be x itself. Differentiable: the gradient travels along the reversed edges.
    """
    return _neighbor_allreduce(x, self_weight, src_weights, dst_weights, name, out, wait=True)


def neighbor_allreduce_nonblocking(
    x: Any,
    *,
    self_weight: float | None = None,
    src_weights: Weights | None = None,
    dst_weights: Weights | Sequence[int] | None = None,
    name: str | None = None,
    out: Any = None,
) -> Handle[Any]:
    """`neighbor_allreduce` that only begins: the handle's ``wait`` gives the result. Until then x is not to be changed."""
    handle: Handle[Any] = _neighbor_allreduce(x, self_weight, src_weights, dst_weights, name, out, wait=False)
    return handle


def _neighbor_allreduce(
    x: Any,
    self_weight: float | None,
    src_weights: Weights | None,
    dst_weights: Weights | Sequence[int] | None,
    name: str | None,
    out: Any,
    *,
    wait: bool,
) -> Any:
    here = _ready()
    followed = _state.followed or _followed(here)
    usual = self_weight is None and src_weights is None and dst_weights is None
    plain = usual and wait and out is name is None and type(x) is torch.Tensor and not x.requires_grad
    try:
        turn = followed.now()
        if plain and here.timeline is None:
            known = turn.way.known.get((x.dtype, x.shape))
            if known is not None and x.is_cpu and x.is_contiguous() and not x.is_neg():
                followed.round += 1
                return swift.exchange(here, known, x)
        packed = Packed(x)
        if usual:
            plan, token, said = turn.plan, turn.token, turn.said
        else:
            plan = followed.own_weights(here.size, self_weight, src_weights, dst_weights)
            token, said = ("dynamic", " with dst_weights") if plan.dynamic else (turn.token, turn.said)
        _can_be_weighted(packed, plan)
        target = None if out is None else packing.check_out(packed, out)
        check_name(here, "neighbor_allreduce", name)
        differentiable = torch.is_grad_enabled() and any(map(_REQUIRES_GRAD, packed.tensors))
        if differentiable and (out is not None or not wait):
            raise ArgumentError(
                "x requires a gradient: neighbor_allreduce(x) is differentiable, its in-place and nonblocking forms are not; "
                "give x.detach()"
            )
    except IfogError as error:
        here.refuse(error)
        raise
    if not plan.dynamic:
        followed.round += 1
    if packed.device not in HOST:
        roads.choose(here, packed)
    if differentiable:
        from . import autograd

        return autograd.neighbor_allreduce(here, packed, plan, token, said, name)
    signature = call("neighbor_allreduce", name, packed.what, token, said)
    if plain:
        turn.way.remember(here, packed, signature, functools.partial(collectives.mixing, plan=plan))
    return _finish(here, signature, collectives.mix(here, signature, packed, plan, target), name, wait=wait)


def _not_differentiable(packed: Packed, kind: str) -> None:
    if torch.is_grad_enabled() and any(map(_REQUIRES_GRAD, packed.tensors)):
        raise ArgumentError(
            f"x requires a gradient, and {kind} is not differentiable (neighbor_allreduce and allreduce are): give x.detach()"
        )


def _can_be_weighted(packed: Packed, plan: collectives.Plan) -> None:
    dtype = packed.dtype
    if len(packed.segments) == 1 and (dtype.is_floating_point or dtype.is_complex):
        return
    weights = [plan.self_weight, *plan.weights, *(plan.factors or {}).values()]
    for segment in packed.segments:
        if segment.dtype is torch.bool:
            raise ArgumentError("x is bool, which has no sum: convert it first, e.g. x.float()")
        if not (segment.dtype.is_floating_point or segment.dtype.is_complex) and any(w != int(w) for w in weights):
            raise ArgumentError(
                f"x is {str(segment.dtype).removeprefix('torch.')}, and the weights are not whole numbers ({weights[0]:g}, …): "
                "an average would be rounded; convert it first, e.g. x.double()"
            )


def hierarchical_neighbor_allreduce(
    x: Any,
    *,
    self_weight: float | None = None,
    src_machine_weights: Weights | None = None,
    dst_machine_weights: Weights | Sequence[int] | None = None,
    name: str | None = None,
) -> Any:
    """Average within each machine, then with the neighbouring machines along the machine topology. Same result on all mates."""
    return _hierarchical(x, self_weight, src_machine_weights, dst_machine_weights, name, wait=True)


def hierarchical_neighbor_allreduce_nonblocking(
    x: Any,
    *,
    self_weight: float | None = None,
    src_machine_weights: Weights | None = None,
    dst_machine_weights: Weights | Sequence[int] | None = None,
    name: str | None = None,
) -> Handle[Any]:
    """`hierarchical_neighbor_allreduce` that only begins."""
    handle: Handle[Any] = _hierarchical(x, self_weight, src_machine_weights, dst_machine_weights, name, wait=False)
    return handle


def _hierarchical(
    x: Any,
    self_weight: float | None,
    src_weights: Weights | None,
    dst_weights: Weights | Sequence[int] | None,
    name: str | None,
    *,
    wait: bool,
) -> Any:
    here = _here()
    with _refusing(here):
        if not here.is_homogeneous:
            raise ArgumentError(
                f"hierarchical_neighbor_allreduce needs equally many ranks on every machine; they are {here.machine_ranks}"
            )
        packed = Packed(x)
        _not_differentiable(packed, "hierarchical_neighbor_allreduce")
        for segment in packed.segments:
            if not (segment.dtype.is_floating_point or segment.dtype.is_complex):
                raise ArgumentError(
                    f"x is {segment.dtype}, and the mean of a machine would be rounded: convert it, e.g. x.double()"
                )
        between = _between_machines(here)
        if self_weight is None and src_weights is None and dst_weights is None:
            turn = between.now()
            plan, token, said = turn.plan, turn.token, turn.said
        else:
            plan = between.own_weights(here.machine_count, self_weight, src_weights, dst_weights)
            turn = between.now()
            token, said = ("dynamic", " with dst_machine_weights") if plan.dynamic else (turn.token, turn.said)
        check_name(here, "hierarchical_neighbor_allreduce", name)
    if not plan.dynamic:
        between.round += 1
    signature = call("hierarchical_neighbor_allreduce", name, packed.what, token, said)
    return _finish(here, signature, collectives.hierarchical(here, signature, packed, plan), name, wait=wait)


def allreduce(x: Any, op: Op = "mean", *, name: str | None = None, out: Any = None) -> Any:
    """The mean (or sum, min, max) over all ranks; the same bits on all of them. Mean and sum are differentiable."""
    return _allreduce(x, op, name, out, wait=True)


def allreduce_nonblocking(x: Any, op: Op = "mean", *, name: str | None = None, out: Any = None) -> Handle[Any]:
    """`allreduce` that only begins."""
    handle: Handle[Any] = _allreduce(x, op, name, out, wait=False)
    return handle


def _allreduce(x: Any, op: Op, name: str | None, out: Any, *, wait: bool, ranks: Sequence[int] | None = None) -> Any:
    here = _ready()
    plain = wait and ranks is None and out is name is None and type(x) is torch.Tensor and not x.requires_grad
    way = swift.all_ranks(here, op) if plain and op in ("mean", "sum") else None
    if way is not None and here.timeline is None:
        known = way.known.get((x.dtype, x.shape))
        if known is not None and x.is_cpu and x.is_contiguous() and not x.is_neg():
            return swift.exchange(here, known, x)
    with _refusing(here):
        packed = Packed(x)
        _can_be_reduced(packed, op)
        target = None if out is None else packing.check_out(packed, out)
        check_name(here, "allreduce", name)
        differentiable = torch.is_grad_enabled() and any(map(_REQUIRES_GRAD, packed.tensors))
        if differentiable and (out is not None or not wait or op not in ("mean", "sum")):
            raise ArgumentError(
                f"x requires a gradient: allreduce(x) is differentiable as a mean or a sum, not with op={op!r}, in place or "
                "nonblocking; give x.detach()"
            )
    if ranks is None and packed.device not in HOST:
        roads.choose(here, packed)
    if differentiable:
        from . import autograd

        return autograd.allreduce(here, packed, op, name)
    signature = call("allreduce", name, packed.what, (op, ranks is not None), f", {op}")
    if way is not None:
        way.remember(here, packed, signature, functools.partial(collectives.reducing, ranks=range(here.size), op=op))
    program = collectives.reduce(here, signature, packed, ranks or range(here.size), op, target)
    return _finish(here, signature, program, name, wait=wait)


def _can_be_reduced(packed: Packed, op: str) -> None:
    if op not in ("mean", "sum", "min", "max"):
        raise ArgumentError(f"op={op!r}: 'mean', 'sum', 'min' or 'max'")
    for segment in packed.segments:
        name = str(segment.dtype).removeprefix("torch.")
        if segment.dtype is torch.bool:
            raise ArgumentError("x is bool, which has no sum: convert it first, e.g. x.int()")
        if op in ("min", "max") and segment.dtype.is_complex:
            raise ArgumentError(f"x is {name}: complex numbers have no {op}")
        if op in ("min", "max") and segment.dtype in (torch.uint16, torch.uint32, torch.uint64):
            raise ArgumentError(f"x is {name}, which torch cannot compare: convert it first, e.g. x.to(torch.int64)")
        if op == "mean" and not (segment.dtype.is_floating_point or segment.dtype.is_complex):
            raise ArgumentError(f"x is {name}, and a mean would be rounded: use op='sum', or convert it, e.g. x.double()")


def reduce_scatter(x: Any, op: Op = "mean", *, name: str | None = None) -> Any:
    """The mean (or sum, min, max) over all ranks, of which each rank gets its share: the rank-th of ``size`` equal parts."""
    return _reduce_scatter(x, op, name, wait=True)


def reduce_scatter_nonblocking(x: Any, op: Op = "mean", *, name: str | None = None) -> Handle[Any]:
    """`reduce_scatter` that only begins."""
    handle: Handle[Any] = _reduce_scatter(x, op, name, wait=False)
    return handle


def _reduce_scatter(x: Any, op: Op, name: str | None, *, wait: bool) -> Any:
    here = _here()
    with _refusing(here):
        packed = _one(x, "reduce_scatter")
        _can_be_reduced(packed, op)
        if not packed.shape or packed.shape[0] % here.size:
            raise ArgumentError(
                f"x has shape {list(packed.shape)}: its first length must be a multiple of {here.size}, the number of ranks"
            )
        check_name(here, "reduce_scatter", name)
    signature = call("reduce_scatter", name, packed.what, op, f", {op}")
    program = collectives.scatter_reduced(here, signature, packed, packed.shape[0] // here.size, op)
    return _finish(here, signature, program, name, wait=wait)


# -------------------------------------------------------------------------------------------------------- gathering
def neighbor_allgather(
    x: Any, *, src_ranks: Sequence[int] | None = None, dst_ranks: Sequence[int] | None = None, name: str | None = None
) -> Any:
    """What the in-neighbours have, one below the other (own not included), in ascending order or in that of ``src_ranks``.

    The first lengths may differ. With ``src_ranks`` and ``dst_ranks`` the call has edges of its own.
    """
    return _neighbor_allgather(x, src_ranks, dst_ranks, name, wait=True)


def neighbor_allgather_nonblocking(
    x: Any, *, src_ranks: Sequence[int] | None = None, dst_ranks: Sequence[int] | None = None, name: str | None = None
) -> Handle[Any]:
    """`neighbor_allgather` that only begins."""
    handle: Handle[Any] = _neighbor_allgather(x, src_ranks, dst_ranks, name, wait=False)
    return handle


def _neighbor_allgather(
    x: Any, src_ranks: Sequence[int] | None, dst_ranks: Sequence[int] | None, name: str | None, *, wait: bool
) -> Any:
    here = _here()
    with _refusing(here):
        packed = _one(x, "neighbor_allgather")
        dynamic = src_ranks is not None
        if (src_ranks is None) != (dst_ranks is None):
            raise ArgumentError("src_ranks and dst_ranks come together: a call with edges of its own names both ends")
        if src_ranks is not None and dst_ranks is not None:
            sources: Sequence[int] = graphs.ranks_of("src_ranks", src_ranks, here.size, here.rank)
            dests: Sequence[int] = graphs.ranks_of("dst_ranks", dst_ranks, here.size, here.rank)
            token: object = "dynamic"
            said = " with src_ranks and dst_ranks"
        else:
            turn = _followed(here).now()
            plan, token, said = turn.plan, turn.token, turn.said
            sources, dests = plan.sources, plan.dests
        check_name(here, "neighbor_allgather", name)
    if not dynamic:
        _followed(here).round += 1
    signature = call("neighbor_allgather", name, _rows(packed), token, said)
    return _finish(
        here, signature, collectives.gather(here, signature, packed, sources, dests, dynamic=dynamic), name, wait=wait
    )


def allgather(x: Any, *, name: str | None = None) -> Any:
    """What all ranks have, one below the other in their order.

    The first lengths may differ; where one rank's rows end, ``itertools.accumulate(ifog.allgather_object(len(x)))`` says.
    """
    return _allgather(x, name, wait=True)


def allgather_nonblocking(x: Any, *, name: str | None = None) -> Handle[Any]:
    """`allgather` that only begins."""
    handle: Handle[Any] = _allgather(x, name, wait=False)
    return handle


def _allgather(x: Any, name: str | None, *, wait: bool) -> Any:
    here = _here()
    with _refusing(here):
        packed = _one(x, "allgather")
        check_name(here, "allgather", name)
    signature = call("allgather", name, _rows(packed))
    everyone = range(here.size)
    return _finish(here, signature, collectives.gather(here, signature, packed, everyone, everyone), name, wait=wait)


def _one(x: Any, kind: str) -> Packed:
    if isinstance(x, list | tuple | Mapping):
        raise ArgumentError(
            f"{kind} takes one tensor at a time, not a {type(x).__name__}: call it once for each, or with torch.cat"
        )
    packed = Packed(x)
    return packed if packed.shape or kind == "reduce_scatter" else Packed(x.reshape(1))


def _rows(packed: Packed) -> tuple[Any, ...]:
    """A signature in which the first length is left open."""
    return (packed.dtype, ("any", *packed.shape[1:]))


def broadcast(x: Any, root: int = 0, *, name: str | None = None, out: Any = None) -> Any:
    """What the root has, on every rank. On the others x says the shape and dtype; ``out=x`` overwrites it."""
    return _broadcast(x, root, name, out, wait=True)


def broadcast_nonblocking(x: Any, root: int = 0, *, name: str | None = None, out: Any = None) -> Handle[Any]:
    """`broadcast` that only begins."""
    handle: Handle[Any] = _broadcast(x, root, name, out, wait=False)
    return handle


def _broadcast(x: Any, root: int, name: str | None, out: Any, *, wait: bool) -> Any:
    here = _here()
    with _refusing(here):
        packed = Packed(x)
        root = graphs.one_rank("root", root, here.size)
        target = None if out is None else packing.check_out(packed, out)
        check_name(here, "broadcast", name)
    if packed.device not in HOST:
        roads.choose(here, packed)
    signature = call("broadcast", name, packed.what, root, f" from rank {root}")
    return _finish(here, signature, collectives.broadcast(here, signature, packed, root, target), name, wait=wait)


def barrier(*, name: str | None = None) -> None:
    """Wait until all ranks are here."""
    _barrier(name, wait=True)


def barrier_nonblocking(*, name: str | None = None) -> Handle[None]:
    """`barrier` that only begins."""
    handle: Handle[None] = _barrier(name, wait=False)
    return handle


def _barrier(name: str | None, *, wait: bool) -> Any:
    here = _ready()
    way = swift.all_ranks(here, "barrier") if wait and name is None else None
    if way is not None and here.timeline is None:
        known = way.known.get((NOTHING.dtype, NOTHING.shape))
        if known is not None:
            return swift.exchange(here, known, NOTHING)
    with _refusing(here):
        check_name(here, "barrier", name)
    signature = call("barrier", name, ())
    if way is not None:
        add_up = functools.partial(collectives.reducing, ranks=range(here.size), op="sum")
        way.remember(here, Packed(NOTHING), signature, add_up)
    return _finish(here, signature, collectives.agree(here, signature), name, wait=wait)


# ---------------------------------------------------------------------------------------------------------- objects
def broadcast_object(value: Any, root: int = 0) -> Any:
    """A Python object of the root, on every rank (by pickle)."""
    here = _here()
    with _refusing(here):
        root = graphs.one_rank("root", root, here.size)
    signature = call("broadcast_object", None, (), root, f" from rank {root}")
    dests = range(here.size) if here.rank == root else ()
    return _finish(here, signature, collectives.objects(here, signature, value, [root], dests), None, wait=True)[0]


def allgather_object(value: Any) -> list[Any]:
    """The Python objects of all ranks, in their order (by pickle)."""
    here = _here()
    here.check()
    signature = call("allgather_object", None, ())
    everyone = range(here.size)
    found: list[Any] = _finish(
        here, signature, collectives.objects(here, signature, value, everyone, everyone), None, wait=True
    )
    return found


# ----------------------------------------------------------------------------------------------------- two by two
def send(value: Any, dest: int, *, tag: int = 0) -> None:
    """Send a Python object or tensor to one rank, which calls `recv`. Not a collective.

    What a rank sends to itself is kept until it receives it. After a failure the ranks first begin a new epoch together:
    with a call of all of them, with `recover`, or, in a notebook, with the first call of a cell that runs on all engines.
    """
    send_nonblocking(value, dest, tag=tag).wait()


def send_nonblocking(value: Any, dest: int, *, tag: int = 0) -> Handle[None]:
    """`send` that only begins."""
    from . import pairs

    return pairs.send(_here(), value, dest, tag)


def recv(source: int, *, tag: int = 0) -> Any:
    """Receive what one rank sends, in the order in which it was sent. Not a collective; after a failure see `send`."""
    from . import pairs

    return pairs.recv(_here(), source, tag).wait()


def recv_nonblocking(source: int, *, tag: int = 0) -> Handle[Any]:
    """`recv` that only begins."""
    from . import pairs

    return pairs.recv(_here(), source, tag, begin=True)


def pair_gossip(
    x: Any, peer: int, *, self_weight: float | None = None, pair_weight: float | None = None, name: str | None = None
) -> Any:
    """Average with one other rank, which calls the same with this one: the mean, or with weights. Nobody else takes part.

    Not a collective; after a failure see `send`.
    """
    return pair_gossip_nonblocking(x, peer, self_weight=self_weight, pair_weight=pair_weight, name=name).wait()


def pair_gossip_nonblocking(
    x: Any, peer: int, *, self_weight: float | None = None, pair_weight: float | None = None, name: str | None = None
) -> Handle[Any]:
    """`pair_gossip` that only begins."""
    from . import pairs

    return pairs.gossip(_here(), x, peer, self_weight, pair_weight, name)


# ----------------------------------------------------------------------------------------------------------- memory
def empty(
    *shape: int | Iterable[int], dtype: torch.dtype | None = None, device: torch.device | str | int | None = None
) -> torch.Tensor:
    """An uninitialised tensor in the memory that neighbours read: handed to a call, it need not be copied first.

    Results of calls are such tensors too, so that ``x = ifog.neighbor_allreduce(x)`` in a loop is fast by itself.
    ``device="cuda"`` gives memory of the GPU that the ranks of the same machine read from each other's GPUs.

    A forked child shares this memory with its parent, unlike other tensors: let it clone before it writes.
    """
    here = _here()
    dtype = torch.get_default_dtype() if dtype is None else dtype
    try:
        lengths = torch.Size(shape[0] if len(shape) == 1 and isinstance(shape[0], Iterable) else shape)  # type: ignore[arg-type]
    except TypeError:
        lengths = None
    if lengths is None or any(length < 0 for length in lengths):
        raise ArgumentError(f"shape {shape}: whole numbers that are not negative, e.g. ifog.empty(3, 2)")
    if not isinstance(dtype, torch.dtype):
        raise ArgumentError(f"dtype={dtype!r}: a dtype of torch, e.g. torch.float32")
    if device is not None:
        try:
            where = torch.empty(0, device=device).device  # which of them, if only the kind is said
        except (TypeError, RuntimeError, AssertionError) as error:
            raise ArgumentError(f"device={device!r}: a device that torch has here, e.g. 'cuda' ({error})") from error
        if where not in HOST:
            return roads.empty(here, dtype, lengths, where)
    if not lengths.numel():
        return torch.empty(lengths, dtype=dtype, device="cpu")
    return here.pool.tensor(here.pool.take(lengths.numel() * dtype.itemsize), dtype, lengths)


def share(x: torch.Tensor) -> torch.Tensor:
    """A copy of x in the memory that neighbours read."""
    (tensor,) = _one(x, "share").tensors
    where = None if tensor.is_cpu else tensor.device
    return empty(x.shape, dtype=tensor.dtype, device=where).copy_(tensor.view(x.shape))
