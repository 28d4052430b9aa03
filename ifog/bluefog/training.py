"""The same parameters on all ranks, and BlueFog's optimizers by name.

The optimizers come with ifog's deep training. Until then each raises an error that says which lines do the same today.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

import torch

from ..comm import state
from .session import run

Params = Mapping[str, torch.Tensor] | Iterable[torch.Tensor | tuple[str, torch.Tensor]]


# ------------------------------------------------------------------------------------------------------------ state
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


# ------------------------------------------------------------------------------------------------------- optimizers


class CommunicationType(enum.Enum):
    """How an optimizer's parameters are averaged."""

    neighbor_allreduce = "neighbor.allreduce"
    hierarchical_neighbor_allreduce = "hierarchical.neighbor.allreduce"
    allreduce = "allreduce"
    empty = "empty"


_PARAMETERS = "x = [p.detach() for p in model.parameters()]"
_MIX = {
    CommunicationType.neighbor_allreduce: "ifog.neighbor_allreduce(x, out=x)",
    CommunicationType.allreduce: "ifog.allreduce(x, out=x)",
    CommunicationType.hierarchical_neighbor_allreduce: (
        "for p, mean in zip(x, ifog.hierarchical_neighbor_allreduce(x)): p.copy_(mean)"
    ),
    CommunicationType.empty: "pass",
}


def _later(name: str, *instead: str) -> NoReturn:
    lines = "".join(f"\n    {line}" for line in instead)
    raise NotImplementedError(
        f"{name} comes with ifog's deep training. Until then these lines of a training loop do the same:{lines}"
    )


def DistributedAdaptThenCombineOptimizer(
    optimizer: Any,
    model: Any,
    communication_type: CommunicationType = CommunicationType.neighbor_allreduce,
    num_steps_per_communication: int = 1,
) -> NoReturn:
    """x⁺ = W (x − α g(x)). Not yet: the error says which lines do the same today."""
    mix = _MIX[communication_type]
    _later("DistributedAdaptThenCombineOptimizer", "loss.backward()", "optimizer.step()", _PARAMETERS, mix)


def DistributedAdaptWithCombineOptimizer(
    optimizer: Any,
    model: Any,
    communication_type: CommunicationType = CommunicationType.neighbor_allreduce,
    num_steps_per_communication: int = 1,
) -> NoReturn:
    """x⁺ = W x − α g(x). Not yet: the error says which lines do the same today."""
    mix = _MIX[communication_type]
    _later("DistributedAdaptWithCombineOptimizer", "loss.backward()", _PARAMETERS, mix, "optimizer.step()")


def DistributedGradientAllreduceOptimizer(optimizer: Any, model: Any, num_steps_per_communication: int = 1) -> NoReturn:
    """The mean of all gradients, on every rank. Not yet: the error says which lines do the same today."""
    gradients = "g = [p.grad for p in model.parameters()]"
    lines = ("loss.backward()", gradients, "ifog.allreduce(g, out=g)", "optimizer.step()")
    _later("DistributedGradientAllreduceOptimizer", *lines)


def DistributedAllreduceOptimizer(optimizer: Any, model: Any, num_steps_per_communication: int = 1) -> NoReturn:
    """x⁺ = mean(x) − α g(x). Not yet: the error says which lines do the same today."""
    mix = _MIX[CommunicationType.allreduce]
    _later("DistributedAllreduceOptimizer", "loss.backward()", _PARAMETERS, mix, "optimizer.step()")


def DistributedNeighborAllreduceOptimizer(optimizer: Any, model: Any, num_steps_per_communication: int = 1) -> NoReturn:
    """x⁺ = W x − α g(x). Not yet: the error says which lines do the same today."""
    mix = _MIX[CommunicationType.neighbor_allreduce]
    _later("DistributedNeighborAllreduceOptimizer", "loss.backward()", _PARAMETERS, mix, "optimizer.step()")


def DistributedHierarchicalNeighborAllreduceOptimizer(
    optimizer: Any, model: Any, num_steps_per_communication: int = 1
) -> NoReturn:
    """x⁺ = W x − α g(x), machine by machine. Not yet: the error says which lines do the same today."""
    mix = _MIX[CommunicationType.hierarchical_neighbor_allreduce]
    _later("DistributedHierarchicalNeighborAllreduceOptimizer", "loss.backward()", _PARAMETERS, mix, "optimizer.step()")


def DistributedWinPutOptimizer(
    optimizer: Any, model: Any, num_steps_per_communication: int = 1, window_prefix: str | None = None
) -> NoReturn:
    """x⁺ = W x − α g(x) with whatever x has arrived. Not yet: the error says which lines do the same today."""
    _later(
        "DistributedWinPutOptimizer",
        "windows = {name: ifog.Window(p.detach(), name, zero=False) for name, p in model.named_parameters()}  # once",
        "loss.backward()",
        "for name, p in model.named_parameters():",
        "    windows[name].value.copy_(p.detach())",
        "    windows[name].put()",
        "    p.detach().copy_(windows[name].update())",
        "optimizer.step()",
    )
