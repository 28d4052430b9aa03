r"""Quadratics with one Hessian and different centres: everything about them is chosen, and exact.

.. math::
    f_i(x) = \tfrac12 (x - c_i)^\top H (x - c_i), \qquad
    \nabla f_i(x) = H (x - c_i), \qquad
    x^\star = \frac1n \sum_i c_i
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..errors import ProblemError
from .arguments import real, whole
from .contract import Problem
from .register import problem


class Quadratic(Problem):
    """f_i(x) = ½ (x − c_i)ᵀ H (x − c_i)."""

    def _f(self, x: Tensor, c: Tensor) -> Tensor:
        return ((x - c) * self._gradient(x, c)).sum(1) / 2

    def _gradient(self, x: Tensor, c: Tensor) -> Tensor:
        return (self._shared["H"] * (x - c)[:, None, :]).sum(2)

    def _f_at(self, points: Tensor, c: Tensor) -> Tensor:
        return torch.stack([((z - c) * ((z - c) @ self._shared["H"])).sum(1) / 2 for z in points])

    def _minimizer(self, c: Tensor) -> Tensor:
        return c.mean(0)

    def _curvature(self, c: Tensor) -> tuple[float, float]:  # noqa: ARG002
        eigenvalues = torch.linalg.eigvalsh(self._shared["H"])
        return float(eigenvalues[-1]), float(eigenvalues[0])


@problem
def quadratic(
    n: int, *, d: int = 10, condition: float | None = None, heterogeneity: float = 1.0, noise: float = 0.0, seed: int = 0
) -> Quadratic:
    """f_i(x) = ½ (x − c_i)ᵀ H (x − c_i), with L = 1, μ = 1 / ``condition`` and b² = ``heterogeneity``.

    The eigenvalues of H are spaced evenly on a logarithmic scale, in a random basis; the condition number is 10 unless given,
    and 1 for d = 1. ``heterogeneity=0`` gives all nodes the same f_i; a single node has b² = 0 whatever is asked. Stochastic
    gradients have normal noise of standard deviation ``noise`` in each entry.
    """
    d = whole("d", d, minimum=1)
    kappa = (10.0 if d > 1 else 1.0) if condition is None else real("condition", condition, at_least=1)
    if d == 1 and kappa != 1:
        raise ProblemError(f"condition={condition!r}: with d=1 there is one eigenvalue, and the condition number is 1")
    b2, sigma = real("heterogeneity", heterogeneity, at_least=0), real("noise", noise, at_least=0)
    r = np.random.default_rng(whole("seed", seed))
    Q, _ = np.linalg.qr(r.standard_normal((d, d)))
    eigenvalues = np.geomspace(1 / kappa, 1, d)
    center = r.standard_normal(d)
    g = r.standard_normal((n, d))  # −∇f_i(x*): of mean zero, and mean square b²
    g -= g.mean(0)
    size = np.sqrt((g * g).sum(1).mean())
    g *= np.sqrt(b2) / size if n > 1 else 0.0
    c = center + g @ (Q / eigenvalues) @ Q.T
    H = (Q * eigenvalues) @ Q.T
    data, shared = {"c": torch.from_numpy(c)}, {"H": torch.from_numpy((H + H.T) / 2)}
    return Quadratic(d=d, data=data, shared=shared, gradient_noise=sigma)
