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

from ..problems import Problem, contract
from .steps import Stepper


class Nodes(NamedTuple):
    """Numbers of all nodes: ``error`` ‖x_i − x*‖, ``disagreement`` ‖x_i − x̄‖, ``loss`` f_i(x_i), ``value`` ‖x_i‖, or x_i."""

    iteration: int
    numbers: Mapping[str, NDArray[np.float64]]


NAMES = ("error", "disagreement", "loss", "value")


def value(x: torch.Tensor) -> torch.Tensor:
    """x_i, or of more than one number ‖x_i‖."""
    return x[:, 0].double() if x.shape[1] == 1 else _length(x)


def distance(x: torch.Tensor, point: torch.Tensor) -> torch.Tensor:
    """‖x_i − point‖."""
    return _length(x - point)


def loss(x: torch.Tensor, problem: Problem, here: contract.Nodes) -> torch.Tensor:
    """f_i(x_i) of the nodes that are here; NaN where it is not known."""
    return problem.loss(x, here).double() if problem.knows_loss else x.new_full((len(x),), math.nan, dtype=torch.float64)


def _length(rows: torch.Tensor) -> torch.Tensor:
    norms: torch.Tensor = torch.linalg.vector_norm(rows, dim=1, dtype=torch.float64)
    return norms


def measured(steps: Stepper, x: torch.Tensor, mean: torch.Tensor, optimum: torch.Tensor) -> torch.Tensor:
    """Of all nodes, those that are hosted here: a row for each of `NAMES`, and zeros where others have theirs."""
    here = steps.net.nodes
    table = torch.zeros((len(NAMES), steps.net.n), dtype=torch.float64)
    mine = [distance(x, optimum), distance(x, mean), loss(x, steps.problem, here), value(x)]
    table[:, here.start : here.stop] = torch.stack(mine).cpu()
    return table


def nodes(iteration: int, total: torch.Tensor) -> Nodes:
    """The sum over all ranks, by name."""
    return Nodes(iteration, dict(zip(NAMES, total.numpy(), strict=True)))
