"""How fast a matrix mixes: eigenvalues, ρ and the spectral gap, from 1 to a million nodes.

Three roads lead to ρ = ‖W − 11ᵀ/n‖₂, and the first that is open is taken:

1. **Fourier.** On a ring, a torus, a hypercube or an exponential graph every node sees the same picture, so W commutes
   with the translations of a grid and its eigenvalues are the FFT of one column: exact, O(n log n).
2. **Dense** linear algebra while n is small.
3. **Sparse.** Lanczos where the gap is wide (expanders, where a factorisation would fill up), and Lanczos on the inverse
   of the Laplacian I − W where the gap is narrow (chains, grids, trees, where the factorisation stays thin). The inverse
   gives even a gap of 10⁻¹⁰ to many digits, which 1 − ρ could not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
import scipy.sparse.csgraph as csgraph
import scipy.sparse.linalg as spla
from numpy.typing import NDArray

Shape = tuple[int, ...]
Vector = NDArray[np.float64]

DENSE = 1000  # up to here a dense solver is as fast as a sparse one
DENSE_LIMIT = 5000  # beyond this a dense n × n matrix is refused: all eigenvalues would take minutes
_THIN = 6  # entries a row up to which a factorisation of a large graph is cheap
_WIDE = 0.01  # a gap that Lanczos finds quickly on any graph


class Fourier(NamedTuple):
    """The eigenvalues of a matrix that commutes with the translations of a grid, at the grid's frequencies."""

    grid: Shape
    eigenvalues: NDArray[np.complex128]


def fourier(matrix: sp.csr_array, grids: Sequence[Shape]) -> Fourier | None:
    """The eigenvalues of a matrix that commutes with the translations of one of the grids, else None.

    Such a matrix is a convolution with its own first column. One random vector, sent both through the matrix and through
    the convolution, proves it: a matrix that is no convolution would have to be orthogonal to that vector's differences.
    """
    n = matrix.shape[0]
    first = matrix @ np.eye(1, n)[0]
    probe = np.random.default_rng(0).standard_normal(n)
    answer = matrix @ probe
    for grid in grids:
        if math.prod(grid) == n:
            transfer = np.fft.fftn(first.reshape(grid))
            convolved = np.fft.ifftn(transfer * np.fft.fftn(probe.reshape(grid))).real.ravel()
            if np.allclose(answer, convolved, rtol=0, atol=1e-11):
                return Fourier(grid, transfer.ravel())
    return None


def gap(matrix: sp.csr_array, found: Fourier | None, *, symmetric: bool, doubly_stochastic: bool) -> float:
    """1 − ρ, where ρ = ‖W − 11ᵀ/n‖₂. Negative when W enlarges a disagreement."""
    n = matrix.shape[0]
    if n == 1:
        return 1.0
    if found is not None:  # W is normal, so its norm is the largest modulus away from the constant vector
        slowest = 1 + int(np.abs(found.eigenvalues[1:]).argmax())
        return _gap_at(matrix, found.grid, slowest)
    if n <= DENSE:
        return 1.0 - _dense_norm(matrix.toarray(), symmetric=symmetric and doubly_stochastic)
    if not doubly_stochastic:
        return 1.0 - norm(lambda x: matrix @ x - x.mean(), lambda x: matrix.T @ x - x.sum() / n, n)
    if symmetric:
        upper = _second_gap(matrix)
        # Gershgorin's circles often prove that the negative end of the spectrum does not matter
        return upper if -lower_bound(matrix) <= 1 - upper else min(upper, 1 + smallest(matrix))
    # singular values of W are the roots of the eigenvalues of WᵀW, itself symmetric and doubly stochastic
    return _one_minus_root(_second_gap(sp.csr_array(matrix.T @ matrix)))


def smallest(matrix: sp.csr_array) -> float:
    """The smallest eigenvalue of a symmetric matrix."""
    if matrix.shape[0] <= DENSE:
        return float(np.linalg.eigvalsh(matrix.toarray())[0])
    return _smallest_of_many(matrix)


def norm(forward: Callable[[Vector], Vector], backward: Callable[[Vector], Vector], n: int) -> float:
    """The largest singular value of a linear map given by its action on columns and that of its transpose."""
    if n <= DENSE:
        return float(np.linalg.norm(forward(np.eye(n)), 2))
    square = spla.LinearOperator((n, n), matvec=lambda x: backward(forward(x.ravel())), dtype=np.float64)
    largest = spla.eigsh(square, k=1, which="LA", tol=1e-9, ncv=60, v0=_start(n), return_eigenvectors=False)[0]
    return math.sqrt(max(0.0, float(largest)))


def laplacian_extremes(laplacian: sp.csr_array, grids: Sequence[Shape]) -> tuple[float, float]:
    """The second smallest and the largest eigenvalue of a connected graph's Laplacian."""
    n = laplacian.shape[0]
    found = fourier(laplacian, grids)
    if found is not None:
        return float(found.eigenvalues.real[1:].min()), float(found.eigenvalues.real.max())
    if n <= DENSE:
        eigenvalues = np.linalg.eigvalsh(laplacian.toarray())
        return float(eigenvalues[1]), float(eigenvalues[-1])
    scale = float(2 * laplacian.diagonal().max())  # every eigenvalue lies in [0, scale]
    second = scale * _second_gap(sp.csr_array(sp.eye_array(n) - laplacian / scale))
    return second, -_smallest_of_many(sp.csr_array(-laplacian))


def lower_bound(matrix: sp.csr_array) -> float:
    """A number below all eigenvalues of a symmetric matrix: the leftmost point of Gershgorin's circles."""
    diagonal = matrix.diagonal()
    return float((diagonal - (abs(matrix).sum(axis=1) - abs(diagonal))).min())


def _smallest_of_many(matrix: sp.csr_array) -> float:
    """The smallest eigenvalue of a large symmetric matrix, to some eight digits."""
    n = matrix.shape[0]
    options = {"k": 1, "tol": 1e-6, "v0": _start(n), "return_eigenvectors": False}
    try:
        return float(spla.eigsh(matrix, which="SA", ncv=40, maxiter=30, **options)[0])
    except spla.ArpackNoConvergence:
        # crowded at the end, as on a long chain: seen from just outside, the inverse pulls the crowd apart
        outside = lower_bound(matrix) - 1e-6
        return float(spla.eigsh(sp.csc_array(matrix), sigma=outside, which="LM", **options)[0])


def _gap_at(matrix: sp.csr_array, shape: Shape, frequency: int) -> float:
    """1 − |λ| at one frequency of a convolution Σ w_o Pᵒ, from 1 − λ = Σ w_o (1 − e^{−iθ}) without cancellation."""
    n = matrix.shape[0]
    kernel = matrix @ np.eye(1, n)[0]
    offsets = np.flatnonzero(kernel)
    turns = np.zeros(len(offsets))
    for m, offset, side in zip(np.unravel_index(frequency, shape), np.unravel_index(offsets, shape), shape, strict=True):
        turns += m * offset % side / side
    real = float(kernel[offsets] @ (2 * np.sin(np.pi * turns) ** 2))
    imaginary = float(kernel[offsets] @ np.sin(2 * np.pi * turns))
    modulus = math.hypot(1 - real, imaginary)
    # of the two ways to say it, the one that does not cancel
    return 1 - modulus if modulus < 0.5 else _one_minus_root(2 * real - real**2 - imaginary**2)


def _one_minus_root(s: float) -> float:
    """1 − √(1 − s), without its cancellation for small s."""
    return s / (1 + math.sqrt(max(0.0, 1 - s)))


def _dense_norm(W: Vector, *, symmetric: bool) -> float:
    deviation = W - 1.0 / len(W)
    if symmetric:
        return float(np.abs(np.linalg.eigvalsh(deviation)).max())
    return float(np.linalg.norm(deviation, 2))


def _second_gap(matrix: sp.csr_array) -> float:
    """1 − λ₂ of a large symmetric matrix whose rows sum to one."""
    n = matrix.shape[0]
    if csgraph.connected_components(matrix, directed=False, return_labels=False) > 1:
        return 0.0  # a vector that is constant on each piece stays as it is
    deflated = spla.LinearOperator((n, n), matvec=lambda x: matrix @ x.ravel() - x.mean(), dtype=np.float64)

    def lanczos(tol: float, ncv: int, restarts: int) -> float | None:
        try:
            found = spla.eigsh(
                deflated, k=1, which="LA", tol=tol, ncv=ncv, maxiter=restarts, v0=_start(n), return_eigenvectors=False
            )
        except spla.ArpackNoConvergence:
            return None
        return 1.0 - float(found[0])

    rough = lanczos(tol=1e-3, ncv=20, restarts=30)
    narrow = rough is None or rough < _WIDE
    # with negative weights between nodes λ₂ may lie beyond 1, where the inverse of I − W does not look
    if narrow and matrix.nnz <= _THIN * n and lower_bound(sp.csr_array(sp.eye_array(n) - matrix)) > -1e-9:
        return _narrow_gap(matrix)
    found = lanczos(tol=1e-7, ncv=40, restarts=1000)
    return _narrow_gap(matrix) if found is None else found


def _narrow_gap(matrix: sp.csr_array) -> float:
    """1 − λ₂ by Lanczos on the pseudo-inverse of the Laplacian I − W, one node held at zero to make it invertible."""
    n = matrix.shape[0]
    grounded = sp.csc_array(sp.eye_array(n) - matrix)[1:, 1:]
    solve = spla.splu(grounded, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True}).solve

    def inverse(x: Vector) -> Vector:
        x = x.ravel() - x.mean()
        y = np.concatenate([[0.0], solve(x[1:])])
        centred: Vector = y - y.mean()
        return centred

    operator = spla.LinearOperator((n, n), matvec=inverse, dtype=np.float64)
    return 1.0 / float(spla.eigsh(operator, k=1, which="LA", tol=1e-12, v0=_start(n), return_eigenvectors=False)[0])


def _start(n: int) -> Vector:
    """A fixed start for Lanczos, so that the same graph gives the same digits every time."""
    return np.random.default_rng(1).standard_normal(n)
