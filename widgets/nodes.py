"""What each node of a run holds, as one number by which it can be coloured."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # a topology is shown without torch
    import torch

    from ifog.experiment import Run
    from ifog.problems import Problem

_SMALLEST = 1e-17  # what is drawn of a zero on a logarithmic scale
LOGARITHMIC = {"disagreement", "error"}
"""What is coloured by its logarithm: it falls through many powers of ten."""


def _lengths(rows: torch.Tensor) -> torch.Tensor:
    norms: torch.Tensor = rows.norm(dim=1)
    return norms


def _value(x: torch.Tensor, problem: Problem) -> torch.Tensor:  # noqa: ARG001
    """x_i, or of more than one number ‖x_i‖."""
    return x[:, 0] if x.shape[1] == 1 else _lengths(x)


def _disagreement(x: torch.Tensor, problem: Problem) -> torch.Tensor:  # noqa: ARG001
    """‖x_i − x̄‖."""
    return _lengths(x - x.mean(0))


def _error(x: torch.Tensor, problem: Problem) -> torch.Tensor:
    """‖x_i − x*‖."""
    assert problem.optimum is not None
    return _lengths(x - problem.optimum)


def _loss(x: torch.Tensor, problem: Problem) -> torch.Tensor:
    """f_i(x_i)."""
    return problem.loss(x, problem.nodes)


_MEASURES: dict[str, Callable[[torch.Tensor, Problem], torch.Tensor]] = {
    "value": _value,
    "disagreement": _disagreement,
    "error": _error,
    "loss": _loss,
}
NAMES = tuple(_MEASURES)


def choices(run: Run) -> list[str]:
    """What can be asked of a run's nodes; of one elsewhere, what it has told."""
    problem = run.problem
    if problem is None or len(problem.nodes) < problem.n:
        known = {} if run.nodes is None else run.nodes.numbers
        return [name for name in NAMES if name in known and np.isfinite(known[name]).any()]
    unknown = {"error"} if problem._best.optimum is None else set()
    return [name for name in _MEASURES if name not in unknown and (name != "loss" or problem.knows_loss)]


def iteration(run: Run) -> int:
    """When that is, or was."""
    return run.iteration if run.problem is not None or run.nodes is None else run.nodes.iteration


def measured(run: Run, what: str) -> NDArray[np.float64]:
    """One number for each node, as it is now; of a run elsewhere, as it has told last."""
    if run.problem is not None:
        values = _MEASURES[what](run.x.detach(), run.problem).double().cpu().numpy()
    else:
        assert run.nodes is not None
        values = run.nodes.numbers[what]
    return np.log10(np.maximum(values, _SMALLEST)) if what in LOGARITHMIC else values
