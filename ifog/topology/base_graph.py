"""Base-(k+1) graphs: exact averaging for every n in finitely many undirected rounds of at most k neighbours each.

Takezawa, Sato, Bao, Niwa, Yamada, *Beyond exponential graph: communication-efficient topologies for decentralized learning
via finite-time convergence*, 2023, https://arxiv.org/abs/2305.11420
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from .arguments import whole
from .families import family
from .graph import Schedule, Topology, from_pairs

Nodes = NDArray[np.int64]
Edges = list[tuple[Nodes, Nodes, float]]
"""The edges of a round, in bunches: nodes i, their partners j, and the weight they share."""


@family
def base_graph(n: int, *, k: int = 1) -> Schedule:
    """Exact for every n, symmetric, at most k neighbours a round; about log_{k+1} n rounds, at most 2 log_{k+1} n + 2.

    >>> [base_graph(n).rounds_to_exact for n in (4, 5, 6, 7)]
    [2, 5, 4, 5]
    """
    k = min(whole("k", k, minimum=1), n - 1)  # nobody has more neighbours than that
    rounds = _base(n, k)
    return Schedule(partial(_round, n, rounds), n=n, period=len(rounds))


def _round(n: int, rounds: list[Edges], k: int) -> Topology:
    edges = rounds[k]
    i = np.concatenate([np.empty(0, np.int64), *(i for i, _, _ in edges)])
    j = np.concatenate([np.empty(0, np.int64), *(j for _, j, _ in edges)])
    weights = np.concatenate([np.empty(0), *(np.full(len(i), weight) for i, _, weight in edges)])
    return from_pairs(n, np.column_stack([i, j]), weights, connected=False)


def _base(n: int, k: int) -> list[Edges]:
    """The shorter of two ways: in one go, or groups in parallel and then across the groups."""
    nodes = np.arange(n)
    simple = _simple(nodes, k)
    smooth = _smooth_part(n, k)
    if smooth in (1, n):
        return simple
    groups = nodes.reshape(smooth, n // smooth)
    together = [_merge(parts) for parts in zip(*(_simple(group, k) for group in groups), strict=True)]
    across = [_merge(parts) for parts in zip(*(_cliques(column, k) for column in groups.T), strict=True)]
    return min(simple, together + across, key=len)


def _simple(nodes: Nodes, k: int) -> list[Edges]:
    """Any number of nodes: blocks whose sizes are the digits of n in base k + 1, which then even out their means."""
    if _smooth_part(len(nodes), k) == len(nodes):
        return _cliques(nodes, k)
    blocks = _blocks(nodes, k)
    inside = [_cliques(block.ravel(), k) for block in blocks]
    warm_up = len(inside[0])
    rounds: list[Edges] = [[] for _ in range(warm_up + 1 + len(_cliques(blocks[0][0], k)))]
    # 1: every block averages within itself, the small ones again and again while the largest needs longer
    for r in range(warm_up):
        for averaging in inside:
            if averaging:
                rounds[r] += averaging[r % len(averaging)]
    for turn, block in enumerate(blocks[:-1]):
        # 2: each later node takes one fresh node from each part of this block; the parts then hold the common mean …
        later = np.concatenate([other.ravel() for other in blocks[turn + 1 :]])
        weight = block.size / (len(block) * (block.size + len(later)))
        rounds[warm_up + turn] += [(later, part[: len(later)], weight) for part in block]
        # 3: … in the mean over the part, and average once more to hold it each
        for part in block:
            for r, edges in enumerate(_cliques(part, k)):
                rounds[warm_up + turn + 1 + r] += edges
    return rounds


def _blocks(nodes: Nodes, k: int) -> list[NDArray[np.int64]]:
    """The nodes cut into blocks of a·(k+1)ᵖ for the digits a of n in base k + 1, largest first; a block is an (a, …) array."""
    blocks = []
    taken, remaining = 0, len(nodes)
    part = 1
    while part * (k + 1) <= remaining:
        part *= k + 1
    while remaining:
        digit = remaining // part
        if digit:
            blocks.append(nodes[taken : taken + digit * part].reshape(digit, part))
            taken, remaining = taken + digit * part, remaining - digit * part
        part //= k + 1
    return blocks


def _cliques(nodes: Nodes, k: int) -> list[Edges]:
    """A number of nodes without prime factors above k + 1: one round for each factor f, in cliques of f along one axis."""
    factors = []
    rest = len(nodes)
    while rest > 1:
        factor = max(f for f in range(2, k + 2) if rest % f == 0)
        factors.append(factor)
        rest //= factor
    factors.sort()
    box = nodes.reshape(factors)
    rounds: list[Edges] = []
    for axis, factor in enumerate(factors):
        lines = np.moveaxis(box, axis, -1).reshape(-1, factor)
        rounds.append([(lines[:, p], lines[:, q], 1 / factor) for p in range(factor) for q in range(p + 1, factor)])
    return rounds


def _smooth_part(n: int, k: int) -> int:
    """The largest divisor of n without prime factors above k + 1."""
    smooth = 1
    for factor in range(2, k + 2):
        while n % factor == 0:
            smooth, n = smooth * factor, n // factor
    return smooth


def _merge(parts: tuple[Edges, ...]) -> Edges:
    return [edges for part in parts for edges in part]
