"""What each node holds at an iteration: measured only while somebody watches.

It travels with the sums of the records, so nobody waits for it: each rank adds the columns of its own nodes, and zeros.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from .steps import Stepper


class Nodes(NamedTuple):
    """Numbers of all nodes: ``error`` ‖x_i − x*‖, ``disagreement`` ‖x_i − x̄‖, ``loss`` f_i(x_i), ``value`` ‖x_i‖, or x_i."""

    iteration: int
    numbers: Mapping[str, NDArray[np.float64]]


NAMES = ("error", "disagreement", "loss", "value")


def measured(steps: Stepper, x: torch.Tensor, mean: torch.Tensor, optimum: torch.Tensor) -> torch.Tensor:
    """Of all nodes, those that are hosted here: a row for each of `NAMES`, and zeros where others have theirs."""
    problem, here = steps.problem, steps.net.nodes
    table = torch.zeros((len(NAMES), steps.net.n), dtype=torch.float64)
    away = [torch.linalg.vector_norm((x - point).flatten(1), dim=1, dtype=torch.float64) for point in (optimum, mean)]
    loss = problem.loss(x, here).double() if problem.knows_loss else torch.full((len(x),), math.nan, dtype=torch.float64)
    value = x[:, 0].double() if x.shape[1] == 1 else torch.linalg.vector_norm(x, dim=1, dtype=torch.float64)
    table[:, here.start : here.stop] = torch.stack([*away, loss, value]).cpu()
    return table


def nodes(iteration: int, total: torch.Tensor) -> Nodes:
    """The sum over all ranks, by name."""
    return Nodes(iteration, dict(zip(NAMES, total.numpy(), strict=True)))
