r"""The lasso: least squares with a penalty that makes most unknowns exactly zero.

.. math::
    f(x) = \frac1n \sum_i \frac{1}{2K} \|A_i x - b_i\|^2 + \lambda \|x\|_1, \qquad
    \mathrm{prox}(x) = \operatorname{sign}(x) \max(|x| - \mathrm{lr}\,\lambda,\, 0)
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import ProblemError
from .arguments import real, whole
from .least_squares import Squares
from .register import problem
from .stacked import gram, transposed_times

Vector = NDArray[np.float64]

_SWEEPS = 10_000


class Lasso(Squares):
    """Made by `lasso`. ``loss`` and ``gradient`` are those of the smooth part; optimum, smallest and objective of the whole."""

    l1: float
    """λ."""

    def penalty(self, x: Tensor) -> Tensor:
        """λ ‖x_i‖₁ for each row, [k]."""
        return self.l1 * x.abs().sum(1)

    def prox(self, x: Tensor, lr: float | Tensor) -> Tensor:
        """Each entry is moved towards zero by lr · λ, and stays there. ``lr`` may be one for each row, [k, 1]."""
        return torch.sign(x) * torch.clamp(x.abs() - lr * self.l1, min=0)

    def _minimizer(self, A: Tensor, b: Tensor) -> Tensor:
        """Coordinate descent until the signs are right; then x* solves a linear system, and is checked."""
        K = A.shape[1]
        H: Vector = (gram(A) / K).mean(0).numpy()
        c: Vector = (transposed_times(A, b) / K).mean(0).numpy()
        x = np.zeros(self.d)
        for _ in range(_SWEEPS):
            for j in range(self.d):
                r = c[j] - H[j] @ x + H[j, j] * x[j]
                x[j] = np.sign(r) * max(abs(r) - self.l1, 0) / H[j, j]
            solved = self._with_signs(np.sign(x), H, c)
            if solved is not None:
                return torch.from_numpy(solved)
        raise ProblemError(f"{self.label}: no optimum was found in {_SWEEPS:,} sweeps; take more samples or a larger l1")

    def _with_signs(self, signs: Vector, H: Vector, c: Vector) -> Vector | None:
        """The optimum if these are its signs: H x − c = −λ sign(x) where x is not zero, and |H x − c| ≤ λ where it is."""
        there = signs != 0
        x = np.zeros(self.d)
        try:
            x[there] = np.linalg.solve(H[np.ix_(there, there)], c[there] - self.l1 * signs[there])
        except np.linalg.LinAlgError:
            return None
        right = np.array_equal(np.sign(x), signs) and (np.abs(H @ x - c)[~there] <= self.l1).all()
        return x if right else None


@problem
def lasso(
    n: int,
    *,
    d: int = 20,
    samples: int = 30,
    l1: float = 0.1,
    nonzeros: int | None = None,
    heterogeneity: float = 1.0,
    noise: float = 0.1,
    seed: int = 0,
) -> Lasso:
    """Least squares as in `least_squares` plus λ ‖x‖₁, λ = ``l1``: a composite problem, with `prox`.

    The point around which the nodes' ξ_i scatter has ``nonzeros`` entries that are not zero (a quarter unless given), and
    only these scatter. ``heterogeneity`` of the result is b² = (1/n) Σ ‖∇f_i(x*)‖² of the smooth parts.
    """
    d, K = whole("d", d, minimum=1), whole("samples", samples, minimum=1)
    some = max(1, d // 4) if nonzeros is None else whole("nonzeros", nonzeros, maximum=d)
    h, noise = real("heterogeneity", heterogeneity, at_least=0), real("noise", noise, at_least=0)
    penalty = real("l1", l1, at_least=0)
    r = np.random.default_rng(whole("seed", seed))
    there = np.zeros(d)
    there[r.permutation(d)[:some]] = 1
    x0 = r.standard_normal(d)
    A = r.standard_normal((n, K, d))
    xi = there * (x0 + h * r.standard_normal((n, d)))
    b = np.einsum("ikd,id->ik", A, xi) + noise * r.standard_normal((n, K))
    made = Lasso(d=d, data={"A": torch.from_numpy(A), "b": torch.from_numpy(b)}, samples=K)
    made.l1 = penalty
    return made
