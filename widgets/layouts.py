"""Where to draw the nodes: as they live, on a circle, on a grid, by springs, as a tree, or each on its machine."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.csgraph import breadth_first_order, shortest_path

from ifog.errors import ArgumentError
from ifog.topology import Graph, Schedule, draw

Points = NDArray[np.float64]

_PIVOTS = 24  # nodes from which the distances are known: enough to see the shape
_ALL_PAIRS = 700  # so many nodes push each other away in no time
_RING = 16  # nodes of a machine that have room on a circle


def arrange(graph: Graph, pattern: sp.csr_array, kind: str) -> Points:
    """The places of the nodes as (n, 2) points in the unit square; ``pattern`` holds the edges of all rounds."""
    if graph.n == 1:
        return np.array([[0.5, 0.5]])
    return _fitted(draw.layout(graph) if kind == "natural" else LAYOUTS[kind](sp.csr_array(pattern + pattern.T)))


@dataclass(frozen=True)
class Machines:
    """Which node is on which machine."""

    names: list[str]
    of: NDArray[np.int64]
    """The number of each node's machine."""

    def nodes(self) -> list[tuple[str, NDArray[np.int64]]]:
        """The nodes of each machine."""
        return [(name, np.flatnonzero(self.of == k)) for k, name in enumerate(self.names)]


def machines(given: int | Sequence[Any] | None, n: int) -> Machines:
    """From a number of machines that share n nodes evenly, or from the machine of each node, by number or name."""
    if given is None:
        return Machines([], np.zeros(n, np.int64))
    if isinstance(given, int | np.integer) and not isinstance(given, bool) and 1 <= given <= n:
        return Machines([f"machine {k}" for k in range(int(given))], np.arange(n) * int(given) // n)
    if not isinstance(given, list | tuple | range | np.ndarray) or len(given) != n:
        raise ArgumentError(
            f"machines={given!r:.60}: how many machines share the {n} nodes, from 1 to {n}, or a list with that of each node"
        )
    found = list(dict.fromkeys(given))
    place = {name: k for k, name in enumerate(found)}
    return Machines(
        [name if isinstance(name, str) else f"machine {name}" for name in found], np.array([place[x] for x in given])
    )


def by_machine(machine: NDArray[np.int64]) -> Points:
    """Each machine's nodes on a circle of their own, or filling one where they are many; the machines side by side."""
    count = int(machine.max()) + 1
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    places = np.zeros((len(machine), 2))
    for k in range(count):
        here = np.flatnonzero(machine == k)
        places[here] = _round(len(here)) + np.array([k % columns, k // columns])
    places += [0.5, 0.5 + (columns - rows) / 2]
    return places / columns


def _round(n: int) -> Points:
    """So many points on a circle, or if they are many, in one as sunflowers have their seeds."""
    if n == 1:
        return np.zeros((1, 2))
    if n <= _RING:
        return 0.33 * _circle_of(n)
    k = np.arange(n)
    angle, far = k * math.pi * (3 - math.sqrt(5)), 0.38 * np.sqrt((k + 0.5) / n)
    return np.column_stack([far * np.cos(angle), far * np.sin(angle)])


def all_edges(schedule: Schedule, rounds: int) -> sp.csr_array:
    """Who talks to whom in any of the first rounds."""
    union = schedule[0].pattern
    for k in range(1, rounds):
        union = union + schedule[k].pattern
    return sp.csr_array(union)


def _circle(both: sp.csr_array) -> Points:
    return _circle_of(both.shape[0])


def _circle_of(n: int) -> Points:
    angle = 2 * np.pi * np.arange(n) / n
    return np.column_stack([np.sin(angle), -np.cos(angle)])


def _grid(both: sp.csr_array) -> Points:
    n = both.shape[0]
    row, column = np.divmod(np.arange(n), math.ceil(math.sqrt(n)))
    return np.column_stack([column, row]).astype(np.float64)


def _tree(both: sp.csr_array) -> Points:
    """Level by level from the best connected node; what cannot be reached hangs below."""
    n = both.shape[0]
    root = int(np.diff(both.indptr).argmax())
    order, parent = breadth_first_order(both, root, directed=False)
    lost = np.setdiff1d(np.arange(n), order)
    depth = np.zeros(n)
    for node in order[1:]:
        depth[node] = depth[parent[node]] + 1
    depth[lost] = depth.max() + 1
    x, places = np.zeros(n), np.concatenate([order, lost])
    for level in range(int(depth.max()) + 1):
        here = places[depth[places] == level]
        x[here] = (np.arange(len(here)) + 0.5) / len(here)
    return np.column_stack([x, depth])


def _spring(both: sp.csr_array) -> Points:
    """Distances in the graph as distances in the plane (pivot MDS), then pushed apart where nodes crowd."""
    n = both.shape[0]
    pivots = np.unique(np.linspace(0, n - 1, min(n, _PIVOTS)).astype(np.int64))
    hops = shortest_path(both, unweighted=True, directed=False, indices=pivots).T
    hops[~np.isfinite(hops)] = 1.5 * hops[np.isfinite(hops)].max() + 1
    squares = hops**2
    centred = squares - squares.mean(axis=0) - squares.mean(axis=1, keepdims=True) + squares.mean()
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    # nodes that look the same from all pivots would lie on each other for ever
    points = _fitted(centred @ axes[:2].T) + np.random.default_rng(0).normal(0, 0.01, (n, 2))
    return _pushed_apart(points, both) if n <= _ALL_PAIRS else points


def _pushed_apart(points: Points, both: sp.csr_array, steps: int = 80) -> Points:
    """Fruchterman and Reingold: edges pull, all nodes push, and the moves grow smaller."""
    n = len(points)
    k = 1 / math.sqrt(n)
    i, j = sp.coo_array(both).coords
    for step in range(steps):
        apart = points[:, None] - points[None]
        squares = (apart**2).sum(axis=2) + 1e-9
        force = (apart * (k**2 / squares)[:, :, None]).sum(axis=1)
        along = points[i] - points[j]
        pull = along * (np.linalg.norm(along, axis=1) / k)[:, None]
        np.subtract.at(force, i, pull)
        length = np.linalg.norm(force, axis=1, keepdims=True) + 1e-12
        points = points + force / length * np.minimum(length, 0.1 * (1 - step / steps))
    return points


LAYOUTS: dict[str, Callable[[sp.csr_array], Points]] = {"circle": _circle, "grid": _grid, "spring": _spring, "tree": _tree}


def _fitted(points: Points) -> Points:
    """Moved and stretched into the unit square; shapes keep their proportions."""
    low, span = points.min(axis=0), np.ptp(points, axis=0)
    scaled: Points = (points - low - span / 2) / (span.max() or 1.0) + 0.5
    return scaled
