"""The same state on all ranks: the parameters and buffers of a model, and what an optimizer remembers.

What is broadcast or averaged changes in place and outside of autograd. It travels in few messages, however many tensors it is.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import torch

from ..errors import ArgumentError, Mismatch
from . import api, graphs
from .world import World

Named = list[tuple[str, torch.Tensor]]

_MESSAGE = 2**27
"""Up to so many bytes travel together. A model of more needs several messages, but not as much memory again."""


# --------------------------------------------------------------------------------------------------------- parameters
def broadcast_parameters(params: Any, root: int = 0) -> None:
    """Overwrite the parameters of every rank with those of the root.

    ``params`` is a module (its parameters and all its buffers), a ``state_dict()``, or any iterable of tensors or of
    ``(name, tensor)``, e.g. ``model.named_parameters()``. All ranks must have the same names, shapes and dtypes.
    """
    here = api._here()
    with api._refusing(here):
        root = graphs.one_rank("root", root, here.size)
        named = _named(params)
    _check_alike(here, _layout(named))
    _broadcast([tensor for _, tensor in named], root)


def average_parameters(params: Any) -> None:
    """Overwrite the parameters of every rank with their mean over all ranks.

    ``params`` as in `broadcast_parameters`. Integers and bools, such as BatchNorm's ``num_batches_tracked``, have no mean: all
    ranks take the largest.
    """
    here = api._here()
    with api._refusing(here):
        named = _named(params)
    _check_alike(here, _layout(named))
    _average(named)


def _named(params: Any) -> Named:
    """The tensors, each once, and what they are called."""
    if isinstance(params, torch.nn.Module):
        items: list[Any] = [*params.named_parameters(), *params.named_buffers()]
    elif isinstance(params, Mapping):
        items = list(params.items())
    elif isinstance(params, Iterable) and not isinstance(params, torch.Tensor):
        items = list(params)
    else:
        raise ArgumentError(
            f"params is of type {type(params).__name__}: give a module, its state_dict(), or tensors, e.g. model.parameters()"
        )
    named, seen = [], set()
    for i, item in enumerate(items):
        name, tensor = item if isinstance(item, tuple) and len(item) == 2 else (f"tensor {i}", item)
        if not isinstance(tensor, torch.Tensor):
            raise ArgumentError(f"{name} is of type {type(tensor).__name__}: params are tensors, or (name, tensor) pairs")
        tensor = tensor.detach()
        memory = tensor.device, tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride()
        if memory not in seen:  # tied parameters, which a state_dict holds under all their names
            seen.add(memory)
            named.append((name, tensor))
    return named


def _broadcast(tensors: list[torch.Tensor], root: int) -> None:
    for message in _messages(tensors):
        api.broadcast(message, root, out=message)


def _average(named: Named, counters: Container[str] = ()) -> None:
    """The mean of what has one, the largest of the rest and of the counters."""
    mean: list[torch.Tensor] = []
    largest: list[torch.Tensor] = []
    for name, tensor in named:
        exact = name in counters or not (tensor.is_floating_point() or tensor.is_complex())
        (largest if exact else mean).append(tensor.view(torch.uint8) if tensor.dtype is torch.bool else tensor)
    for message in _messages(mean):
        api.allreduce(message, "mean", out=message)
    for message in _messages(largest):
        api.allreduce(message, "max", out=message)


def _messages(tensors: list[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    message: list[torch.Tensor] = []
    nbytes = 0
    for tensor in tensors:
        if message and nbytes + tensor.nbytes > _MESSAGE:
            yield message
            message, nbytes = [], 0
        message.append(tensor)
        nbytes += tensor.nbytes
    if message:
        yield message


def _layout(named: Named) -> list[str]:
    return [f"{name} ({str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)})" for name, tensor in named]


def _check_alike(here: World, mine: list[str]) -> None:
    """All ranks have the same layout, or they are told where the first one differs."""
    digest = hashlib.blake2b("\n".join(mine).encode(), digest_size=16).digest()
    if len(set(api.allgather_object(digest))) == 1:
        return
    layouts = api.allgather_object(mine)
    rank, other = next((rank, layout) for rank, layout in enumerate(layouts) if layout != layouts[0])
    first, second = next((a, b) for a, b in itertools.zip_longest(layouts[0], other, fillvalue="nothing more") if a != b)
    error = Mismatch(f"the ranks have different things: rank 0 has {first} where rank {rank} has {second}")
    here.fail(error)
    raise error


# ---------------------------------------------------------------------------------------------------------- optimizers
class _Hole(NamedTuple):
    """Where a tensor was."""

    dtype: torch.dtype
    shape: torch.Size
    on_host: bool
    """A number that is kept on the CPU wherever the parameter lives, such as a count of steps."""


def broadcast_optimizer_state(optimizer: torch.optim.Optimizer, root: int = 0) -> None:
    """Overwrite the state and the options of every rank's optimizer with those of the root.

    The ranks may have made different numbers of steps, or none. States belong to parameters by their position. A tensor that
    fits is overwritten in place, also one among the options, such as ``lr``; everything else is replaced.
    """
    here = api._here()
    with api._refusing(here):
        root = graphs.one_rank("root", root, here.size)
        parameters = _parameters(optimizer)
    _check_alike(here, _layout(parameters))
    params, groups = [p for _, p in parameters], optimizer.param_groups
    tensors: list[torch.Tensor] = []

    def take_out(tensor: torch.Tensor) -> _Hole:
        tensors.append(tensor.detach())
        return _Hole(tensor.dtype, tensor.shape, tensor.is_cpu and tensor.ndim == 0)

    def fill(hole: _Hole, device: torch.device) -> torch.Tensor:
        tensors.append(torch.empty(hole.shape, dtype=hole.dtype, device="cpu" if hole.on_host else device))
        return tensors[-1]

    def put(old: dict[str, Any], new: dict[str, Any], device: torch.device) -> None:
        for key, value in new.items():
            mine = old.get(key)
            if isinstance(value, _Hole) and isinstance(mine, torch.Tensor) and (mine.dtype, mine.shape) == value[:2]:
                tensors.append(mine.detach())
            else:
                old[key] = _each(_Hole, lambda hole: fill(hole, device), value)

    mine = None
    if here.rank == root:
        options = [{key: value for key, value in group.items() if key != "params"} for group in groups]
        mine = _each(torch.Tensor, take_out, (options, [optimizer.state.get(p) for p in params]))
    options, states = api.broadcast_object(mine, root)
    if here.rank != root:
        for group, new in zip(groups, options, strict=True):
            put(group, new, group["params"][0].device)
        for p, new in zip(params, states, strict=True):
            old = optimizer.state.pop(p, {})
            if new is not None:
                optimizer.state[p] = {key: value for key, value in old.items() if key in new}
                put(optimizer.state[p], new, p.device)
    _broadcast(tensors, root)


def average_optimizer_state(optimizer: torch.optim.Optimizer) -> None:
    """Overwrite what every rank's optimizer remembers, such as momenta, with the mean over all ranks.

    Counts of steps become the largest one; options, such as ``lr``, stay. All ranks must remember the same kind of things: each
    makes a step before, or `broadcast_optimizer_state`. LBFGS is refused: the mean of its lists of differences means nothing.
    """
    here = api._here()
    with api._refusing(here):
        parameters = _parameters(optimizer)
        named: Named = []
        counters, numbers = set(), []
        for name, p in parameters:
            state = optimizer.state.get(p, {})
            for key in sorted(state):
                value = state[key]
                if isinstance(value, int | float):
                    value = torch.tensor(value, dtype=torch.float64 if isinstance(value, float) else None, device="cpu")
                    numbers.append((state, key, value))
                if isinstance(value, torch.Tensor):
                    named.append((f"{key!r} of {name}", value.detach()))
                    if key == "step":
                        counters.add(named[-1][0])
                elif value is not None:
                    raise ArgumentError(
                        f"{type(optimizer).__name__} remembers {key!r}, of type {type(value).__name__}, which has no mean: "
                        "ifog.broadcast_optimizer_state gives all ranks what one of them remembers"
                    )
    _check_alike(here, _layout(parameters) + _layout(named))
    _average(named, counters)
    for state, key, number in numbers:
        state[key] = number.item()


def _parameters(optimizer: torch.optim.Optimizer) -> Named:
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise ArgumentError(f"optimizer is of type {type(optimizer).__name__}: give one of torch.optim")
    kind = type(optimizer).__name__
    return [
        (f"parameter {i} in group {g} of {kind}", p)
        for g, group in enumerate(optimizer.param_groups)
        for i, p in enumerate(group["params"])
    ]


def _each(kind: type, change: Callable[[Any], Any], value: Any) -> Any:
    """The same dicts, lists and tuples, with whatever is of that kind changed."""
    if isinstance(value, kind):
        return change(value)
    if isinstance(value, dict):
        return {key: _each(kind, change, part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_each(kind, change, part) for part in value)
    return value
