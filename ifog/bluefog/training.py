"""The same parameters, and the same state of optimizers, on all ranks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch

from ..comm import state
from .session import run

Params = Mapping[str, torch.Tensor] | Iterable[torch.Tensor | tuple[str, torch.Tensor]]


def broadcast_parameters(params: Params, root_rank: int) -> None:
    """Overwrite the parameters of every rank with the root's: a ``state_dict()``, a list, or what a model iterates over."""
    run(state.broadcast_parameters, _sorted(params), root_rank)


def allreduce_parameters(params: Params) -> None:
    """Overwrite the parameters of every rank with their mean. Integers, such as counters, become the largest."""
    run(state.average_parameters, _sorted(params))


def broadcast_optimizer_state(optimizer: torch.optim.Optimizer, root_rank: int) -> None:
    """Overwrite options and state of every rank's optimizer with the root's, however many steps each has made."""
    run(state.broadcast_optimizer_state, optimizer, root_rank)


def _sorted(params: Params) -> Params:
    return dict(sorted(params.items())) if isinstance(params, Mapping) else params
