"""Random objectives to try descents on, in plain NumPy: f_i(x) = ½ xᵀ H_i x − c_iᵀ x, so ∇f_i(x) = H_i x − c_i."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

Array = NDArray[np.float64]


def solved(A: Array, b: Array) -> Array:
    """The x of A x = b."""
    return np.asarray(np.linalg.solve(A, b), np.float64)


@dataclass(frozen=True)
class Quadratics:
    """Those of n nodes."""

    H: Array
    """[n, d, d]"""
    c: Array
    """[n, d]"""

    def gradient(self, x: Array) -> Array:
        """That of each node, at its own row of x."""
        return np.asarray(np.einsum("nij,nj->ni", self.H, x), np.float64) - self.c

    @property
    def optimum(self) -> Array:
        """Of the mean of all."""
        return solved(self.H.sum(0), self.c.sum(0))

    @property
    def own_optima(self) -> Array:
        """Of each node alone."""
        return solved(self.H, self.c[..., None])[..., 0]

    @property
    def block(self) -> Array:
        """All H_i along the diagonal of one matrix."""
        n, d, _ = self.H.shape
        found = np.zeros((n * d, n * d))
        for i in range(n):
            found[i * d : (i + 1) * d, i * d : (i + 1) * d] = self.H[i]
        return found

    def parking(self, W: Array, lr: float, *, atc: bool = False) -> Array:
        """Where gradient descent with neighbours ends: (I − W) x + α ∇f(x) = 0, or with α W ∇f(x)."""
        n, d = self.c.shape
        mix, one = np.kron(W, np.eye(d)), np.eye(n * d)
        step = lr * (mix if atc else one)
        return solved(one - mix + step @ self.block, step @ self.c.ravel()).reshape(n, d)

    def distance(self, x: Array) -> float:
        """From the optimum, in the mean over nodes."""
        return float(np.sqrt(((x - self.optimum) ** 2).sum(1).mean()))


def draw(random: np.random.Generator, n: int, d: int) -> Quadratics:
    """Random ones: H_i = A_iᵀ A_i / m with 4d rows, and the optima of the nodes scattered by one."""
    A = random.standard_normal((n, 4 * d, d))
    H = np.einsum("nki,nkj->nij", A, A) / (4 * d)
    own = random.standard_normal(d) + random.standard_normal((n, d))
    return Quadratics(H, np.einsum("nij,nj->ni", H, own))


class Gradient:
    """∇f(x) = H x − c of one node, as its engine gets it."""

    def __init__(self, H: Array, c: Array) -> None:
        self.H, self.c = torch.from_numpy(H), torch.from_numpy(c)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """The gradient at x."""
        return self.H @ x - self.c
