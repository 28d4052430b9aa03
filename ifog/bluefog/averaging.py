"""Averaging and gathering, with all ranks or with neighbours, and the numbers that stand for calls under way."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ParamSpec, TypeVar

import numpy as np
import torch

from ..comm import api, graphs
from ..comm.operation import Handle
from ..errors import ArgumentError, Mismatch
from .session import Neighborhood, check, homogeneous, local_size, mismatched, rank, refused, run, session, size

P = ParamSpec("P")
T = TypeVar("T")
Tensor = torch.Tensor
Weights = Mapping[int, float]


# ---------------------------------------------------------------------------------------------------------- handles
_numbers = itertools.count(1)
_handles: dict[int, tuple[Handle[Any], Tensor | None]] = {}


def _keep(handle: Handle[Any], target: Tensor | None = None) -> int:
    """A number for a call under way, and the tensor that it changes in place."""
    number = next(_numbers)
    _handles[number] = handle, target
    return number


def poll(handle: int) -> bool:
    """Whether `synchronize` would return at once."""
    if handle not in _handles:
        raise ValueError(f"handle {handle!r} was not given by a nonblocking call, or it has been waited for already")
    return _handles[handle][0].done


def synchronize(handle: int) -> Tensor:
    """The result of a nonblocking call. It is given once."""
    if handle not in _handles:
        raise ValueError(f"cannot find handle {handle!r}: it was not given by a nonblocking call, or was waited for already")
    waiting, target = _handles.pop(handle)
    try:
        result: Tensor = waiting.wait()
    except Mismatch as error:
        raise mismatched(error) from None
    return result if target is None else target


def wait(handle: int) -> Tensor:
    """The same as `synchronize`."""
    return synchronize(handle)


def _plain(tensor: Any) -> Any:
    """BlueFog's calls are not differentiable, and take parameters as they are."""
    return tensor.detach() if isinstance(tensor, Tensor) else tensor


def _named(kind: str, name: str | None) -> str | None:
    """Calls of different kinds may have the same name at the same time."""
    return None if name is None else f"{kind}.{name}"


# --------------------------------------------------------------------------------------------------- with all ranks
def allreduce(tensor: Tensor, average: bool = True, is_hierarchical_local: bool = False, name: str | None = None) -> Tensor:
    """The mean (or the sum) over all ranks, or over those of this machine."""
    result: Tensor = _allreduce(tensor, average, is_hierarchical_local, name, wait=True)
    return result


def allreduce_nonblocking(
    tensor: Tensor, average: bool = True, is_hierarchical_local: bool = False, name: str | None = None
) -> int:
    """`allreduce` that only begins."""
    return _keep(_allreduce(tensor, average, is_hierarchical_local, name, wait=False))


def allreduce_(tensor: Tensor, average: bool = True, is_hierarchical_local: bool = False, name: str | None = None) -> Tensor:
    """`allreduce` in place."""
    _allreduce(tensor, average, is_hierarchical_local, name, wait=True, out=tensor)
    return tensor


def allreduce_nonblocking_(
    tensor: Tensor, average: bool = True, is_hierarchical_local: bool = False, name: str | None = None
) -> int:
    """`allreduce_` that only begins."""
    return _keep(_allreduce(tensor, average, is_hierarchical_local, name, wait=False, out=tensor), tensor)


def _allreduce(tensor: Tensor, average: bool, local: bool, name: str | None, *, wait: bool, out: Any = None) -> Any:
    check()
    if average and isinstance(tensor, Tensor) and not (tensor.is_floating_point() or tensor.is_complex()):
        raise refused(AssertionError(f"the mean of {tensor.dtype} would be rounded: give average=False, or tensor.double()"))
    op, ranks = "mean" if average else "sum", api._here().locals if local else None
    return run(api._allreduce, _plain(tensor), op, _named("allreduce", name), _plain(out), wait=wait, ranks=ranks)  # type: ignore[arg-type]


def broadcast(tensor: Tensor, root_rank: int, name: str | None = None) -> Tensor:
    """What the root has, on every rank."""
    result: Tensor = run(api.broadcast, _plain(tensor), root_rank, name=_named("broadcast", name))
    return result


def broadcast_nonblocking(tensor: Tensor, root_rank: int, name: str | None = None) -> int:
    """`broadcast` that only begins."""
    return _keep(run(api.broadcast_nonblocking, _plain(tensor), root_rank, name=_named("broadcast", name)))


def broadcast_(tensor: Tensor, root_rank: int, name: str | None = None) -> Tensor:
    """`broadcast` in place."""
    run(api.broadcast, _plain(tensor), root_rank, name=_named("broadcast", name), out=_plain(tensor))
    return tensor


def broadcast_nonblocking_(tensor: Tensor, root_rank: int, name: str | None = None) -> int:
    """`broadcast_` that only begins."""
    plain = _plain(tensor)
    return _keep(run(api.broadcast_nonblocking, plain, root_rank, name=_named("broadcast", name), out=plain), tensor)


def allgather(tensor: Tensor, name: str | None = None) -> Tensor:
    """What all ranks have, one below the other in their order. The first lengths may differ."""
    result: Tensor = run(api.allgather, _plain(tensor), name=_named("allgather", name))
    return result


def allgather_nonblocking(tensor: Tensor, name: str | None = None) -> int:
    """`allgather` that only begins."""
    return _keep(run(api.allgather_nonblocking, _plain(tensor), name=_named("allgather", name)))


def barrier() -> None:
    """Wait until all ranks are here."""
    for window in session.windows.values():
        window.publish()
    run(api.barrier)


# --------------------------------------------------------------------------------------------------- with neighbours
def neighbor_allgather(
    tensor: Tensor,
    *,
    src_ranks: list[int] | None = None,
    dst_ranks: list[int] | None = None,
    enable_topo_check: bool = True,
    name: str | None = None,
) -> Tensor:
    """What the in-neighbours have, one below the other, own not included: in ascending order, or in that of ``src_ranks``.

    ``src_ranks`` and ``dst_ranks`` together make other neighbours for this call. They are always checked against each
    other, at no cost, whatever ``enable_topo_check`` says.
    """
    result: Tensor = run(
        api.neighbor_allgather,
        _plain(tensor),
        src_ranks=src_ranks,
        dst_ranks=dst_ranks,
        name=_named("neighbor.allgather", name),
    )
    return result


def neighbor_allgather_nonblocking(
    tensor: Tensor,
    *,
    src_ranks: list[int] | None = None,
    dst_ranks: list[int] | None = None,
    enable_topo_check: bool = True,
    name: str | None = None,
) -> int:
    """`neighbor_allgather` that only begins."""
    begin, name = api.neighbor_allgather_nonblocking, _named("neighbor.allgather", name)
    return _keep(run(begin, _plain(tensor), src_ranks=src_ranks, dst_ranks=dst_ranks, name=name))


def _deprecated(**instead: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Keywords of BlueFog before 0.3, which many tutorials still use: refused, with their new names."""

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(function)
        def refusing(*arguments: P.args, **options: P.kwargs) -> T:
            for old, new in instead.items():
                if old in options:
                    raise refused(TypeError(f"Argument {old} is deprecated in {function.__name__}: Use {new} instead"))
            return function(*arguments, **options)

        return refusing

    return decorate


_of_ranks = _deprecated(neighbor_weights="src_weights", send_neighbors="dst_weights")
_of_machines = _deprecated(neighbor_machine_weights="src_machine_weights", send_neighbor_machines="dst_machine_weights")


@_of_ranks
def neighbor_allreduce(
    tensor: Tensor,
    *,
    self_weight: float | None = None,
    src_weights: dict[int, float] | None = None,
    dst_weights: dict[int, float] | list[int] | None = None,
    enable_topo_check: bool = True,
    name: str | None = None,
) -> Tensor:
    """The average with the in-neighbours: by equal weights, those of a weighted topology, or those given.

    With ``dst_weights`` (a dict, or a list for weights of one) the call has edges of its own, inside the topology or not:
    i gives to what comes from j ``src_weights[j]`` (said by i) times ``dst_weights[i]`` (said by j). An edge that only one
    end names is an error on both, whatever ``enable_topo_check`` says. The result never shares memory with the tensor.
    """
    result: Tensor = _mix(tensor, self_weight, src_weights, dst_weights, name, wait=True)
    return result


@_of_ranks
def neighbor_allreduce_nonblocking(
    tensor: Tensor,
    *,
    self_weight: float | None = None,
    src_weights: dict[int, float] | None = None,
    dst_weights: dict[int, float] | list[int] | None = None,
    enable_topo_check: bool = True,
    name: str | None = None,
) -> int:
    """`neighbor_allreduce` that only begins."""
    return _keep(_mix(tensor, self_weight, src_weights, dst_weights, name, wait=False))


def _mix(tensor: Any, self_weight: float | None, src: Weights | None, dst: Any, name: str | None, *, wait: bool) -> Any:
    check()
    self_weight, src = _weights(session.ranks, self_weight, src, dst, "src_weights", "dst_weights")
    call = api.neighbor_allreduce if wait else api.neighbor_allreduce_nonblocking
    return run(
        call,
        _plain(tensor),
        self_weight=self_weight,
        src_weights=src,
        dst_weights=dst,
        name=_named("neighbor.allreduce", name),
    )


def _weights(
    followed: Neighborhood | None, own: float | None, src: Weights | None, dst: Any, src_name: str, dst_name: str
) -> tuple[float | None, Weights | None]:
    """The weights of a call: what it says, or what the topology says."""
    if (own is None) != (src is None):
        raise refused(
            ArgumentError(f"self_weight and {src_name} come together: give both, e.g. self_weight=0.5, {src_name}={{1: 0.5}}")
        )
    if dst is not None:
        if src is None:
            raise refused(
                ArgumentError(
                    f"{dst_name} is given without self_weight and {src_name}: a call with edges of its own names both ends"
                )
            )
        if isinstance(dst, Iterable) and len(set(dst)) != len(dst):  # type: ignore[arg-type]
            raise refused(ArgumentError(f"{dst_name}={dst!r} names a destination twice"))
    elif src is None and followed is not None and followed.weights is not None:
        return followed.weights
    return own, src


@_of_machines
def hierarchical_neighbor_allreduce(
    tensor: Tensor,
    *,
    self_weight: float | None = None,
    src_machine_weights: dict[int, float] | None = None,
    dst_machine_weights: dict[int, float] | list[int] | None = None,
    enable_topo_check: bool = False,
    name: str | None = None,
) -> Tensor:
    """The average within each machine, and then with its neighbours along the machine topology; the same on all its ranks."""
    result: Tensor = _mix_machines(tensor, self_weight, src_machine_weights, dst_machine_weights, name, wait=True)
    return result


@_of_machines
def hierarchical_neighbor_allreduce_nonblocking(
    tensor: Tensor,
    *,
    self_weight: float | None = None,
    src_machine_weights: dict[int, float] | None = None,
    dst_machine_weights: dict[int, float] | list[int] | None = None,
    enable_topo_check: bool = False,
    name: str | None = None,
) -> int:
    """`hierarchical_neighbor_allreduce` that only begins."""
    return _keep(_mix_machines(tensor, self_weight, src_machine_weights, dst_machine_weights, name, wait=False))


def _mix_machines(
    tensor: Any, self_weight: float | None, src: Weights | None, dst: Any, name: str | None, *, wait: bool
) -> Any:
    check()
    homogeneous()
    if local_size() == 1:
        raise refused(AssertionError("every machine has one rank only: neighbor_allreduce does the same"))
    machines = session.machines
    if machines is None:
        raise refused(RuntimeError("there is no machine topology: call bf.set_machine_topology(…) first"))
    if (src is None) != (dst is None):
        raise refused(
            ArgumentError("self_weight, src_machine_weights and dst_machine_weights come together: give all three, or none")
        )
    for argument, given, known in (("src", src, machines.sources), ("dst", dst, machines.dests)):
        strangers = set(given or ()) - set(known) if isinstance(given, Iterable) else ()
        if strangers:
            raise refused(
                ArgumentError(
                    f"{argument}_machine_weights names machine {min(strangers)}, which is no neighbor in the machine "
                    f"topology (they are {known})"
                )
            )
    self_weight, src = _weights(machines, self_weight, src, dst, "src_machine_weights", "dst_machine_weights")
    call = api.hierarchical_neighbor_allreduce if wait else api.hierarchical_neighbor_allreduce_nonblocking
    return run(
        call,
        _plain(tensor),
        self_weight=self_weight,
        src_machine_weights=src,
        dst_machine_weights=dst,
        name=_named("neighbor.allreduce", name),
    )


# -------------------------------------------------------------------------------------------------------- inference
def InferSourceFromDestinationRanks(dst_ranks: list[int], construct_adjacency_matrix: bool = False) -> Any:
    """Who sends to this rank, if each rank says to whom it sends; and, if asked for, BlueFog's matrix of equal weights.

    In the matrix, row i has an entry in column j where i sends to j; columns sum to one.
    """
    everyone = _said_by_all("dst_ranks", dst_ranks)
    sources = [i for i, dests in enumerate(everyone) if rank() in dests]
    edges = [(i, j) for i, dests in enumerate(everyone) for j in dests]
    return (sources, _averaging_matrix(edges)) if construct_adjacency_matrix else sources


def InferDestinationFromSourceRanks(src_ranks: list[int], construct_adjacency_matrix: bool = False) -> Any:
    """To whom this rank sends, if each rank says from whom it receives; and, if asked for, the same matrix."""
    everyone = _said_by_all("src_ranks", src_ranks)
    dests = [j for j, sources in enumerate(everyone) if rank() in sources]
    edges = [(i, j) for j, sources in enumerate(everyone) for i in sources]
    return (dests, _averaging_matrix(edges)) if construct_adjacency_matrix else dests


def _said_by_all(argument: str, ranks: list[int]) -> list[list[int]]:
    check()
    try:
        mine = graphs.ranks_of(argument, ranks, size(), rank())
    except ArgumentError as error:
        raise refused(AssertionError(str(error))) from None
    return run(api.allgather_object, mine)


def _averaging_matrix(edges: list[tuple[int, int]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    W = np.eye(size())
    for i, j in edges:
        W[i, j] = 1
    averaging: np.ndarray[Any, np.dtype[np.float64]] = W / W.sum(axis=0)
    return averaging
