"""The classics: rings, chains, stars, grids, tori, complete graphs, hypercubes and trees."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ..errors import TopologyError
from .arguments import power_of_two, warn, whole
from .families import family
from .graph import Schedule, Topology, circulant, from_pairs, metropolis_pairs


@family
def ring(n: int) -> Topology:
    """Each node talks to the one on its left and the one on its right, with weights 1/3.

    ρ = 1/3 + 2/3 cos(2π/n): the gap closes like 1/n², which is why large rings are slow.

    >>> ring(8).W[0]
    array([0.33333333, 0.33333333, 0.        , 0.        , 0.        ,
           0.        , 0.        , 0.33333333])
    """
    return chain(n) if n == 2 else circulant(n, {0: 1 / 3, 1: 1 / 3, -1: 1 / 3})


@family
def directed_ring(n: int) -> Topology:
    """Each node receives from i − 1 only, with weight 1/2. ρ = cos(π/n)."""
    return circulant(n, {0: 1 / 2, 1: 1 / 2})


@family
def chain(n: int) -> Topology:
    """A line: like the ring, but its ends do not meet. ρ = 1/3 + 2/3 cos(π/n) for n ≥ 3."""
    i = np.arange(n - 1)
    return metropolis_pairs(n, np.column_stack([i, i + 1]))


@family
def star(n: int) -> Topology:
    """Node 0 talks to everybody, the others to node 0 only, with weights 1/n. ρ = 1 − 1/n for n ≥ 3."""
    leaves = np.arange(1, n)
    return metropolis_pairs(n, np.column_stack([np.zeros_like(leaves), leaves]))


@family
def complete(n: int) -> Topology:
    """Everybody talks to everybody: the exact mean in one round, for n − 1 messages a node."""
    if n > 10_000:
        raise TopologyError(
            f"complete(n={n}): its matrix has no zeros and would take {n * n * 12 / 1e9:,.0f} GB; "
            f"the mean itself needs no matrix, and ceca(n) reaches it in {(n - 1).bit_length()} rounds"
        )
    return Topology(np.full((n, n), 1 / n))


@family
def grid(n: int, *, rows: int | None = None) -> Topology:
    """A rectangle in which each node talks to those above, below, left and right; Metropolis weights.

    The rectangle is as square as n allows, or has the given number of rows. Nodes are numbered row by row.
    """
    rows, columns = shape = _rectangle(n, rows, "grid")
    return metropolis_pairs(n, _grid_edges(rows, columns), grid_shape=shape)


@family
def torus(n: int, *, rows: int | None = None) -> Topology:
    """A grid whose left edge meets the right and whose top meets the bottom: all nodes look alike. Weights 1/5.

    ρ = (3 + 2 cos(2π/m)) / 5 with the longer side m ≥ 4. A side of two has one edge between its ends, not two.
    """
    rows, columns = shape = _rectangle(n, rows, "torus")
    node = np.arange(n).reshape(shape)
    pairs = [_grid_edges(rows, columns)]
    if rows > 2:
        pairs.append(np.column_stack([node[-1], node[0]]))
    if columns > 2:
        pairs.append(np.column_stack([node[:, -1], node[:, 0]]))
    return metropolis_pairs(n, np.concatenate(pairs), grid_shape=shape)


@family
def hypercube(n: int) -> Topology:
    """Nodes whose binary numbers differ in one digit are neighbours. n = 2^d, weights 1/(d + 1), ρ = (d − 1)/(d + 1)."""
    d = power_of_two(n, "hypercube", "exponential(n) works for every n")
    i = np.arange(n)
    pairs = np.concatenate([np.column_stack([i, i ^ (1 << k)])[(i >> k) & 1 == 0] for k in range(d)])
    return from_pairs(n, pairs, 1 / (d + 1), grid_shape=(2,) * d)


@family
def one_peer_hypercube(n: int) -> Schedule:
    """One digit of the hypercube at a time: round k pairs i with i xor 2^(k mod d). Exact in d = log₂ n rounds."""
    d = power_of_two(n, "one_peer_hypercube", "base_graph(n) and ceca(n) are exact for every n")
    return Schedule(partial(_hypercube_round, n), n=n, period=d)


def _hypercube_round(n: int, k: int) -> Topology:
    i = np.arange(n)
    lower = i[(i >> k) & 1 == 0]
    shape = (2,) * (n.bit_length() - 1)
    return from_pairs(n, np.column_stack([lower, lower ^ (1 << k)]), 1 / 2, grid_shape=shape, connected=False)


@family
def binary_tree(n: int) -> Topology:
    """A complete binary tree: the parent of node i is (i − 1) // 2; Metropolis weights."""
    return metropolis_pairs(n, _tree_edges(n))


@family
def double_binary_tree(n: int) -> Schedule:
    """Two trees in turn: the binary tree, and its mirror image i → n − 1 − i.

    A node inside the one is a leaf of the other, so that a message cut into two halves, one for each tree, loads all
    nodes alike. RelaySGD sends both halves in the same iteration: ``schedule[0]`` and ``schedule[1]`` are its trees.
    """
    return Schedule(partial(_mirrored_tree, n), n=n, period=2)


def _mirrored_tree(n: int, k: int) -> Topology:
    edges = _tree_edges(n)
    return metropolis_pairs(n, n - 1 - edges if k else edges)


def _tree_edges(n: int) -> NDArray[np.int64]:
    child = np.arange(1, n)
    return np.column_stack([(child - 1) // 2, child])


def _grid_edges(rows: int, columns: int) -> NDArray[np.int64]:
    node = np.arange(rows * columns).reshape(rows, columns)
    across = np.column_stack([node[:, :-1].ravel(), node[:, 1:].ravel()])
    down = np.column_stack([node[:-1].ravel(), node[1:].ravel()])
    return np.concatenate([across, down])


def _rectangle(n: int, rows: int | None, name: str) -> tuple[int, int]:
    """Rows and columns of a rectangle of n nodes, as square as can be."""
    if rows is not None:
        rows = whole("rows", rows, minimum=1, maximum=n)
        if n % rows:
            raise TopologyError(f"{name}(n={n}, rows={rows}): n must be a multiple of rows; {n} is not one of {rows}")
        return rows, n // rows
    rows = next(a for a in range(math.isqrt(n), 0, -1) if n % a == 0)
    if rows == 1 and n > 3:
        line = "chain" if name == "grid" else "ring"
        side = math.isqrt(n)
        warn(
            f"{name}(n={n}): {n} is prime, so the {name} is one row, a {line}; n={side * side} would be {side} × {side}",
        )
    return rows, n // rows
