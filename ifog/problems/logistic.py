r"""Logistic regression, convex, and with a regulariser that is not.

.. math::
    f_i(x) &= \frac1K \sum_l \ln\big(1 + e^{-y_{il} h_{il}^\top x}\big) + R(x), \qquad
    R(x) = \frac\rho2 \|x\|^2 + R_0 \sum_j \frac{x_j^2}{1 + x_j^2} \\
    \nabla f_i(x) &= -\frac1K \sum_l \frac{y_{il} h_{il}}{1 + e^{y_{il} h_{il}^\top x}} + \nabla R(x), \qquad
    \nabla_j R(x) = \rho x_j + \frac{2 R_0 x_j}{(1 + x_j^2)^2}
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import softplus

from ..errors import ProblemError
from .arguments import real, whole
from .contract import Problem
from .register import problem
from .stacked import gram, times, times_points, transposed_times

_EXACT = 1e-12  # what may be left of the gradient at the optimum, relative to that of a single sample


class Logistic(Problem):
    """Made by `logistic`: h are the features [k, K, d], y = ±1 the labels [k, K]."""

    l2: float
    """ρ."""
    nonconvex: float
    """R₀."""

    def _f(self, x: Tensor, h: Tensor, y: Tensor) -> Tensor:
        return softplus(-y * times(h, x)).mean(1) + self._R(x)

    def _f_at(self, points: Tensor, h: Tensor, y: Tensor) -> Tensor:
        return softplus(-y * times_points(h, points)).mean(2) + self._R(points)[:, None]

    def _R(self, x: Tensor) -> Tensor:
        x2 = x * x
        return self.l2 / 2 * x2.sum(1) + self.nonconvex * (x2 / (1 + x2)).sum(1)

    def _gradient(self, x: Tensor, h: Tensor, y: Tensor) -> Tensor:
        dR = self.l2 * x + 2 * self.nonconvex * x / (1 + x * x) ** 2
        return transposed_times(h, -y * torch.sigmoid(-y * times(h, x))) / h.shape[1] + dR

    def _hessian(self, x: Tensor, h: Tensor, y: Tensor) -> Tensor:
        """∇²f_i(x_i), [k, d, d]."""
        s = torch.sigmoid(y * times(h, x))
        ddR = self.l2 + 2 * self.nonconvex * (1 - 3 * x * x) / (1 + x * x) ** 3
        return torch.einsum("ikd,ik,ike->ide", h, s * (1 - s), h) / h.shape[1] + torch.diag_embed(ddR)

    def _curvature(self, h: Tensor, y: Tensor) -> tuple[float, float | None]:  # noqa: ARG002
        # s(1 − s) ≤ 1/4, and −R₀/2 ≤ R₀ (x²/(1 + x²))'' ≤ 2 R₀
        L = float(torch.linalg.eigvalsh(gram(h) / h.shape[1]).max()) / 4 + self.l2 + 2 * self.nonconvex
        mu = self.l2 - self.nonconvex / 2
        return L, mu if mu > 0 else None

    def _minimizer(self, h: Tensor, y: Tensor) -> Tensor:
        """Newton from 0, with the step halved until f falls."""
        h, y = h.flatten(0, 1)[None], y.flatten()[None]  # all samples at one node: there are equally many everywhere
        small = _EXACT * float(h.norm(dim=2).mean())
        x = best = torch.zeros(1, self.d, dtype=h.dtype)
        least = torch.inf
        for _ in range(100):
            g = self._gradient(x, h, y)[0]
            if float(g.norm()) >= least and least <= small:
                break  # as far as rounding lets it come
            if float(g.norm()) < least:
                best, least = x, float(g.norm())
            x = x - self._downhill(x, g, h, y)
        flat = torch.linalg.eigvalsh(self._hessian(best, h, y)[0]).abs().min() < 1e-9 * float(h.norm(dim=2).mean())
        if least > small or flat:
            raise ProblemError(
                f"{self.label}: f has no minimum that Newton's method can find, for some direction separates the labels or "
                f"leaves f as it is; take more samples than {self.samples}, or l2 above {self.l2:g}"
            )
        return best[0]

    def _downhill(self, x: Tensor, g: Tensor, h: Tensor, y: Tensor) -> Tensor:
        H = self._hessian(x, h, y)[0]
        shift, unit = 0.0, torch.eye(self.d, dtype=H.dtype)
        while True:  # where f is not convex, the Hessian is shifted until it is
            factor, failed = torch.linalg.cholesky_ex(H + shift * unit)
            if not failed:
                break
            shift = max(2 * shift, 1e-3 * float(H.diagonal().abs().max()) + 1e-12)
        p: Tensor = torch.cholesky_solve(g[:, None], factor)[:, 0]
        f, slope, t = float(self._f(x, h, y)), float(g @ p), 1.0
        rounding = 1e-14 * abs(f)
        while float(self._f(x - t * p, h, y)) > f - 1e-4 * t * slope + rounding and t > 1e-8:
            t /= 2
        return t * p


@problem
def logistic(
    n: int,
    *,
    d: int = 10,
    samples: int = 200,
    heterogeneity: float = 1.0,
    l2: float = 0.01,
    nonconvex: float = 0.0,
    seed: int = 0,
) -> Logistic:
    """Logistic regression: f_i(x) = (1/K) Σ ln(1 + exp(−y h·x)) + R(x), K = ``samples`` a node.

    R is ``l2``/2 ‖x‖² + ``nonconvex`` · Σ x_j² / (1 + x_j²). Features are N(0, I), and node i draws its labels from the
    logistic model with weights w_i, which scatter around one point by ``heterogeneity`` in each coordinate: with 0 the nodes
    differ by their samples only. The optimum is Newton's from 0; with ``nonconvex`` it is a stationary point. L and μ bound
    the curvature everywhere; μ is None when ``nonconvex`` is not outweighed by ``l2``.
    """
    d, K = whole("d", d, minimum=1), whole("samples", samples, minimum=1)
    spread = real("heterogeneity", heterogeneity, at_least=0)
    rho, R0 = real("l2", l2, at_least=0), real("nonconvex", nonconvex, at_least=0)
    r = np.random.default_rng(whole("seed", seed))
    w = r.standard_normal(d) + spread * r.standard_normal((n, d))
    h = r.standard_normal((n, K, d))
    y = np.where(r.random((n, K)) < 1 / (1 + np.exp(-np.einsum("ikd,id->ik", h, w))), 1.0, -1.0)
    made = Logistic(d=d, data={"h": torch.from_numpy(h), "y": torch.from_numpy(y)}, samples=K)
    made.l2, made.nonconvex = rho, R0
    return made
