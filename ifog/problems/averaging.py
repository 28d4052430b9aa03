r"""Averaging as a problem: each node starts where it wants to stay, and all together are best off at the mean.

.. math::
    f_i(x) = \tfrac12 \|x - c_i\|^2, \qquad
    \nabla f_i(x) = x - c_i, \qquad
    x^\star = \frac1n \sum_i c_i, \qquad
    x_i^0 = c_i
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .arguments import whole
from .contract import Nodes, Problem
from .register import problem


class Averaging(Problem):
    """f_i(x) = ½ ‖x − c_i‖², from the start c_i."""

    def _f(self, x: Tensor, c: Tensor) -> Tensor:
        return (x - c).square().sum(1) / 2

    def _gradient(self, x: Tensor, c: Tensor) -> Tensor:
        return x - c

    def _minimizer(self, c: Tensor) -> Tensor:
        return c.mean(0)

    def _curvature(self, c: Tensor) -> tuple[float, float]:  # noqa: ARG002
        return 1.0, 1.0

    def start(self, nodes: Nodes) -> Tensor:
        """Where the nodes start, [k, d]: each at its own c_i."""
        rows, _ = self._rows(nodes)
        return self._data["c"][rows].clone()


@problem
def averaging(n: int, *, d: int = 10, seed: int = 0) -> Averaging:
    """f_i(x) = ½ ‖x − c_i‖², where node i starts at c_i, ``d`` normal numbers: the optimum is the mean of the starts.

    For methods that average without gradients, whose ``error`` is then the distance to what they are to find.
    """
    c = np.random.default_rng(whole("seed", seed)).standard_normal((n, whole("d", d, minimum=1)))
    return Averaging(d=c.shape[1], data={"c": torch.from_numpy(c)})
