"""What each node of a run holds, as one number by which it can be coloured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # a topology is shown without torch
    import torch

    from ifog.experiment import Run
    from ifog.problems import Problem

_SMALLEST = 1e-17  # what is drawn of a zero on a logarithmic scale
NAMES = ("value", "disagreement", "error", "loss")
LOGARITHMIC = {"disagreement", "error"}
"""What is coloured by its logarithm: it falls through many powers of ten."""


def _now(x: torch.Tensor, problem: Problem, what: str) -> torch.Tensor:
    from ifog.experiment import nodes

    if what == "value":
        return nodes.value(x)
    if what == "loss":
        return nodes.loss(x, problem, problem.nodes)
    point = x.mean(0) if what == "disagreement" else problem.optimum
    assert point is not None
    return nodes.distance(x, point)


def choices(run: Run) -> list[str]:
    """What can be asked of a run's nodes; of one elsewhere, what it has told."""
    problem = run.problem
    if problem is None or len(problem.nodes) < problem.n:
        known = {} if run.nodes is None else run.nodes.numbers
        return [name for name in NAMES if name in known and np.isfinite(known[name]).any()]
    unknown = {"error"} if problem._best.optimum is None else set()
    return [name for name in NAMES if name not in unknown and (name != "loss" or problem.knows_loss)]


def iteration(run: Run) -> int:
    """When that is, or was."""
    return run.iteration if run.problem is not None or run.nodes is None else run.nodes.iteration


def measured(run: Run, what: str) -> NDArray[np.float64]:
    """One number for each node, as it is now; of a run elsewhere, as it has told last."""
    if run.problem is not None:
        values = _now(run.x.detach(), run.problem, what).cpu().numpy()
    else:
        assert run.nodes is not None
        values = run.nodes.numbers[what]
    return np.log10(np.maximum(values, _SMALLEST)) if what in LOGARITHMIC else values
