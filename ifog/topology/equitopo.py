"""EquiTopo: random offsets instead of powers of two, with a rate that does not depend on n.

Song, Li, Jin, Shi, Yan, Yin, Yuan, *Communication-efficient topologies for decentralized learning with O(1) consensus
rate*, 2022, https://arxiv.org/abs/2210.07881

All four are built from A(u) = (n−1)/n Pᵘ + 1/n I, where (Pᵘx)ᵢ = xᵢ₋ᵤ; the mean of A(u) over u = 1 … n − 1 is 11ᵀ/n.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ..errors import TopologyError
from .arguments import log2_ceil, share, whole
from .families import family
from .graph import Schedule, Topology, circulant, from_pairs


@family
def d_equistatic(n: int, *, m: int | None = None, seed: int = 0) -> Topology:
    """Directed: each node receives from i − u₁ … i − u_M, with M random offsets that all nodes share.

    W = 1/M Σ A(u). M is ⌈log₂ n⌉ unless given; drawn again until the graph is connected.
    """
    offsets = _connecting_offsets(n, m, seed)
    return circulant(n, _mean_basis(n, offsets))


@family
def u_equistatic(n: int, *, m: int | None = None, seed: int = 0) -> Topology:
    """The same made undirected: W = (D + Dᵀ)/2 for the D of `d_equistatic`."""
    weights: dict[int, float] = {}
    for offset, weight in _mean_basis(n, _connecting_offsets(n, m, seed)).items():
        for side in (offset, -offset % n):
            weights[side] = weights.get(side, 0.0) + weight / 2
    return circulant(n, weights)


@family
def od_equidyn(n: int, *, eta: float = 0.5, seed: int = 0, offsets: Sequence[int] | None = None) -> Schedule:
    """One directed peer a round: all nodes receive from i − u, with a new random u; W = (1 − η) I + η A(u).

    E‖Wx − mean‖² ≤ ((1−η)² + η²(1 − 2/n)) ‖x − mean‖² exactly: at η = 1/2 less than one half, whatever n. ``offsets``
    draws u from a few values only.
    """
    eta, seed = share("eta", eta), whole("seed", seed, minimum=0)
    choices = _choices(n, offsets)
    factor = partial(_od_factor, n, eta) if choices is None else None
    return Schedule(partial(_od_round, n, eta, seed, choices), n=n, period=None, expected_factor=factor)


@family
def ou_equidyn(n: int, *, eta: float = 0.5, seed: int = 0, offsets: Sequence[int] | None = None) -> Schedule:
    """One undirected peer a round: a random offset u pairs nodes i and i + u, from a random start on, while both are free.

    W = (1 − η) I + η (1/n I + (n−1)/n M) with the pairing M; a node that finds no partner idles.
    """
    eta, seed = share("eta", eta), whole("seed", seed, minimum=0)
    choices = _choices(n, offsets)
    factor = partial(_ou_factor, n, eta, choices)
    return Schedule(partial(_ou_round, n, eta, seed, choices), n=n, period=None, expected_factor=factor)


def _connecting_offsets(n: int, m: int | None, seed: int) -> list[int]:
    m = log2_ceil(n) if m is None else whole("m", m, minimum=1, maximum=1_000_000)
    rng = np.random.default_rng(whole("seed", seed, minimum=0))
    while True:
        offsets = [int(u) for u in rng.integers(1, n, m)]
        # the offsets reach every node exactly if they have no common divisor with n
        if math.gcd(n, *offsets) == 1:
            return offsets


def _mean_basis(n: int, offsets: list[int]) -> dict[int, float]:
    weights = {0: 1 / n}
    for u in offsets:
        weights[u] = weights.get(u, 0.0) + (n - 1) / (n * len(offsets))
    return weights


def _choices(n: int, offsets: Sequence[int] | None) -> tuple[int, ...] | None:
    if offsets is None:
        return None
    if not isinstance(offsets, Iterable):
        raise TopologyError(f"offsets={offsets!r}: a list of distances between 1 and {n - 1}, such as [1, {n // 2 or 1}]")
    choices = tuple(whole("offsets", u, minimum=1, maximum=n - 1) for u in offsets)
    if not choices:
        raise TopologyError(f"offsets=[]: give at least one distance between 1 and {n - 1}")
    if math.gcd(n, *choices) != 1:
        raise TopologyError(f"offsets={list(choices)}: they and n={n} have a common divisor, so some nodes would never meet")
    return choices


def _draw(n: int, seed: int, k: int, choices: tuple[int, ...] | None) -> tuple[int, int]:
    """Offset and start of round k: the same on every node that asks, in any order."""
    rng = np.random.default_rng([seed, k])
    u = int(rng.integers(1, n)) if choices is None else choices[int(rng.integers(len(choices)))]
    return u, int(rng.integers(n))


def _od_round(n: int, eta: float, seed: int, choices: tuple[int, ...] | None, k: int) -> Topology:
    u, _ = _draw(n, seed, k, choices)
    return circulant(n, {0: 1 - eta + eta / n, u: eta * (n - 1) / n}, connected=False)


def _od_factor(n: int, eta: float) -> float:
    return (1 - eta) ** 2 + eta**2 * (1 - 2 / n)


def _ou_round(n: int, eta: float, seed: int, choices: tuple[int, ...] | None, k: int) -> Topology:
    u, start = _draw(n, seed, k, choices)
    pairs = (pairing(n, u) + start) % n
    return from_pairs(n, pairs, eta * (n - 1) / n, connected=False)


def pairing(n: int, u: int) -> NDArray[np.int64]:
    """The pairs made by going through i = 0 … n − 1 and pairing i with i + u (mod n) where both are still free.

    Without the loop: cut the nodes into blocks of u. Block 0 meets block 1 free and takes it, block 2 takes block 3, and
    so on; an offset beyond n/2 is one of n − u the other way round, whose block 0 takes the last block.
    """
    i = np.arange(n)
    if 2 * u <= n:
        first = i[(i // u % 2 == 0) & (i + u < n)]
        return np.column_stack([first, first + u])
    back = n - u
    wrapping = i[:back]  # these take the last block: i + u, still free
    later = i[(i // back % 2 == 0) & (i >= back) & (i < n - back)]
    return np.column_stack([np.concatenate([wrapping, later]), np.concatenate([wrapping + u, later - back])])


def paired(n: int, u: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many pairs `pairing` makes: the places below n − b that lie in an even block of b = min(u, n − u)."""
    b = np.minimum(u, n - u)
    counts: NDArray[np.int64] = (n - b) // (2 * b) * b + np.minimum((n - b) % (2 * b), b)
    return counts


def _ou_factor(n: int, eta: float, choices: tuple[int, ...] | None) -> float:
    """The largest eigenvalue of E[W²] away from the constant vector, over all offsets and starts.

    W = a I + b M with M² = I, so W² = (a² + b²) I + 2ab M; the mean of M over the starts is circulant: with q the share
    of nodes that found a partner, M's mean moves q/2 each way by u and leaves 1 − q where it was.
    """
    a_idle = 1 - eta + eta / n
    b = eta * (n - 1) / n
    u = np.arange(1, n) if choices is None else np.array(choices)
    share = 2 * paired(n, u) / n
    kernel = (np.bincount(u, share / 2, minlength=n) + np.bincount(n - u, share / 2, minlength=n)) / len(u)
    kernel[0] = 1 - share.mean()
    mean_pairing = np.fft.fft(kernel).real
    return float(((a_idle**2 + b**2) + 2 * a_idle * b * mean_pairing)[1:].max())
