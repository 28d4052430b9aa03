"""Products with one matrix per node.

A product and a sum instead of a batched matrix product: BLAS rounds differently by where in memory a matrix lies, and a
node's gradient must be the same to the last bit whether one process holds all nodes or only this one.
"""

from __future__ import annotations

import torch
from torch import Tensor


def times(A: Tensor, x: Tensor) -> Tensor:
    """A_i x_i of every node: [k, K, d] and [k, d] give [k, K]."""
    return (A * x[:, None, :]).sum(2)


def times_points(A: Tensor, points: Tensor) -> Tensor:
    """A_i z_s of every node at points they share: [k, K, d] and [S, d] give [S, k, K].

    By BLAS: the same as `times` but for rounding. One point at a time and each in memory of its own, so that its digits do not
    depend on how many there are.
    """
    rows = A.flatten(0, 1)
    return torch.stack([rows @ z.clone() for z in points]).view(len(points), *A.shape[:2])


def transposed_times(A: Tensor, r: Tensor) -> Tensor:
    """A_iᵀ r_i of every node: [k, K, d] and [k, K] give [k, d]."""
    return (A * r[:, :, None]).sum(1)


def gram(A: Tensor) -> Tensor:
    """A_iᵀ A_i of every node: [k, K, d] gives [k, d, d]."""
    return torch.einsum("ikd,ike->ide", A, A)
