r"""Least squares, every node with its own rows.

.. math::
    f_i(x) = \frac{1}{2K} \|A_i x - b_i\|^2, \qquad
    \nabla f_i(x) = \frac1K A_i^\top (A_i x - b_i) = H_i x - c_i, \qquad
    x^\star = \Big(\sum_i H_i\Big)^{-1} \sum_i c_i
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ..errors import ProblemError
from .arguments import real, whole
from .contract import Problem
from .register import problem
from .stacked import gram, times, times_points, transposed_times


class Squares(Problem):
    """f_i(x) = ‖A_i x − b_i‖² / (2K), with K samples: the rows of A_i."""

    def _f(self, x: Tensor, A: Tensor, b: Tensor) -> Tensor:
        r = times(A, x) - b
        return (r * r).mean(1) / 2

    def _f_at(self, points: Tensor, A: Tensor, b: Tensor) -> Tensor:
        r = times_points(A, points) - b
        return (r * r).mean(2) / 2

    def _gradient(self, x: Tensor, A: Tensor, b: Tensor) -> Tensor:
        return transposed_times(A, times(A, x) - b) / A.shape[1]

    def _curvature(self, A: Tensor, b: Tensor) -> tuple[float, float]:  # noqa: ARG002
        H = gram(A) / A.shape[1]
        return float(torch.linalg.eigvalsh(H).max()), max(0.0, float(torch.linalg.eigvalsh(H.mean(0))[0]))


class LeastSquares(Squares):
    """Made by `least_squares`."""

    def _minimizer(self, A: Tensor, b: Tensor) -> Tensor:
        x: Tensor = torch.linalg.solve(gram(A).sum(0), transposed_times(A, b).sum(0))
        return x

    def limit(self, W: ArrayLike, lr: float, form: str = "atc") -> Tensor:
        """Where decentralized gradient descent with a constant step and the weights W ends: [n, d].

        ``form="awc"``, x⁺ = W x − α ∇f(x), ends where (I − W) x + α ∇f(x) = 0;
        ``form="atc"``, x⁺ = W (x − α ∇f(x)), where (I − W) x + α W ∇f(x) = 0: linear systems, solved here densely.
        """
        self._all_here("limit")
        if form not in ("atc", "awc"):
            raise ProblemError(f"form={form!r}: it must be 'atc' (adapt, then combine) or 'awc' (adapt with combine)")
        weights: NDArray[np.float64] = np.asarray(W, dtype=np.float64)
        if weights.shape != (self.n, self.n):
            raise ProblemError(f"W has shape {weights.shape}: {self.label} needs one of ({self.n}, {self.n}), such as ring.W")
        exact: Any = self._exact()._data
        A, b, K = exact["A"], exact["b"], exact["A"].shape[1]
        H: Tensor = torch.block_diag(*gram(A) / K)  # type: ignore[no-untyped-call]
        one = torch.eye(len(H), dtype=H.dtype)
        mix = torch.kron(torch.tensor(weights), one[: self.d, : self.d])
        S = lr * (mix if form == "atc" else one)
        x: Tensor = torch.linalg.solve(one - mix + S @ H, S @ (transposed_times(A, b) / K).flatten())
        return x.reshape(self.n, self.d).to(self.device, self.dtype)


@problem
def least_squares(
    n: int, *, d: int = 10, samples: int = 30, heterogeneity: float = 1.0, noise: float = 0.1, seed: int = 0
) -> LeastSquares:
    """f_i(x) = ‖A_i x − b_i‖² / (2K): linear regression, K = ``samples`` a node. All is known in closed form.

    The rows of A_i are N(0, I) and b_i = A_i ξ_i + noise · N(0, I), where the ξ_i scatter around one point by
    ``heterogeneity`` in each coordinate: with heterogeneity = noise = 0 all nodes agree, b² = 0. ``noise`` is that of the
    data; stochastic gradients come from batches of samples.
    """
    d, K = whole("d", d, minimum=1), whole("samples", samples, minimum=1)
    h, noise = real("heterogeneity", heterogeneity, at_least=0), real("noise", noise, at_least=0)
    if n * K < d:
        raise ProblemError(f"samples={K}: {n * K} samples in all do not determine d={d} unknowns; take at least {-(-d // n)}")
    r = np.random.default_rng(whole("seed", seed))
    x0 = r.standard_normal(d)
    A = r.standard_normal((n, K, d))
    xi = x0 + h * r.standard_normal((n, d))
    b = np.einsum("ikd,id->ik", A, xi) + noise * r.standard_normal((n, K))
    return LeastSquares(d=d, data={"A": torch.from_numpy(A), "b": torch.from_numpy(b)}, samples=K)
