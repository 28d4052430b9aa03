"""Who trains together: all ranks of an MPI world, or this process alone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from ..comm import api, state, world
from ..errors import ArgumentError
from ..experiment.crew import crew


def memory(numel: int, *, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """An uninitialised vector that the neighbours can read where it lies."""
    if crew().size == 1 or device.type != "cpu":  # what is mixed on a GPU passes through pinned memory of the host
        return torch.empty(numel, dtype=dtype, device=device)
    return api.empty(numel, dtype=dtype)


def epoch() -> int:
    """The stretch without failure that this is: a new one begins with the first call after a failure, on all ranks."""
    if crew().size == 1:
        return 0
    here = world.current()
    here.check()
    return here.epoch


def begin_alike(model: nn.Module) -> None:
    """The parameters and buffers of rank 0, on every rank: a collective."""
    if crew().size > 1:
        state.broadcast_parameters(model, 0)


def check_alike(**mine: Any) -> None:
    """An error on every rank if the ranks were given different things: a collective."""
    theirs = crew().all_of(mine)
    for rank, other in enumerate(theirs):
        for name in [*theirs[0], *other]:
            here, there = theirs[0].get(name), other.get(name)
            if here != there:
                raise ArgumentError(f"{name}: rank 0 has {here!r} and rank {rank} {there!r}; give the same on all ranks")


def average_buffers(model: nn.Module) -> None:
    """Overwrite the buffers of a model, such as BatchNorm's statistics, with their mean over all ranks: a collective.

    Training mixes parameters only. Each node's statistics are those of its own data, so they are averaged before a model is
    judged or kept; of counters it is the largest.
    """
    buffers = dict(model.named_buffers())
    if buffers and crew().size > 1:
        state.average_parameters(buffers)


@contextlib.contextmanager
def averaged(model: nn.Module) -> Iterator[nn.Module]:
    """Within it, the model is the mean over all ranks, parameters and buffers: to be judged or kept. A collective.

    >>> from torch import nn
    >>> with averaged(nn.Linear(2, 1)) as mean:
    ...     y = mean(torch.ones(1, 2))
    """
    if crew().size == 1:
        yield model
        return
    tensors = [tensor for _, tensor in state._named(model)]
    own = [tensor.clone() for tensor in tensors]
    state.average_parameters(model)
    try:
        yield model
    finally:
        with torch.no_grad():
            for tensor, mine in zip(tensors, own, strict=True):
                tensor.copy_(mine)
