"""What is drawn of a topology: lines between nodes, round by round, and how it can be changed with the mouse."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ifog.topology import Graph, Schedule, Topology, metropolis, push
from ifog.topology.spectrum import DENSE

from .layouts import all_edges

Pairs = NDArray[np.uint32]
Floats = NDArray[np.float32]
Complex = NDArray[np.complex128]

NODES, LINES = 25_000, 150_000
"""What is drawn line by line at most; above that, as blocks."""
_ROUNDS = 64
_BUDGET = 400_000  # numbers that a page is sent for all rounds together
_CELLS = 128  # W in blocks
_SQUARES = 256**2  # values in blocks
_SYMMETRIC, _OTHERS, _DOTS = 600, 300, 5000  # nodes of which all eigenvalues are known within a quarter of a second


@dataclass(frozen=True)
class Lines:
    """One round: pairs of nodes a < b, with the weights W[b, a] and W[a, b] (NaN where nothing is sent), and the diagonal."""

    pairs: Pairs
    weights: Floats
    own: Floats


def lines(graph: Graph) -> Lines:
    """The lines of one round."""
    n = graph.n
    entries = (graph.matrix if isinstance(graph, Topology) else graph.pattern).tocoo()
    receiver, sender = entries.row.astype(np.int64), entries.col.astype(np.int64)
    value = entries.data.astype(np.float32)
    own = np.zeros(n, np.float32)
    itself = receiver == sender
    own[receiver[itself]] = value[itself]
    receiver, sender, value = receiver[~itself], sender[~itself], value[~itself]
    a, b = np.minimum(receiver, sender), np.maximum(receiver, sender)
    keys, place = np.unique(a * n + b, return_inverse=True)
    weights = np.full((len(keys), 2), np.nan, np.float32)
    weights[place, (receiver == a).astype(np.int64)] = value
    return Lines(np.column_stack(np.divmod(keys, n)).astype(np.uint32), weights, own)


@dataclass(frozen=True)
class Drawing:
    """All rounds that are drawn."""

    rounds: list[Lines]
    pattern: sp.csr_array
    """Who sends to whom in any of them."""

    @property
    def union(self) -> Pairs:
        """The lines of all rounds, each once."""
        if len(self.rounds) == 1:
            return self.rounds[0].pairs
        return np.unique(np.concatenate([each.pairs for each in self.rounds]), axis=0)


def drawing(schedule: Schedule) -> Drawing | None:
    """The rounds of a topology as lines; None if there are too many to draw."""
    first = schedule[0]
    if first.n > NODES or first.messages > 2 * LINES:
        return None
    fit = max(1, _BUDGET // (first.n + 4 * first.messages))
    count = min(schedule.period or _ROUNDS, _ROUNDS, fit)
    rounds = [lines(schedule[k]) for k in range(count)]
    return Drawing(rounds, all_edges(schedule, count))


def blocks(graph: Graph) -> NDArray[np.float32]:
    """Where the weights of a large matrix are: the sum of their sizes in each of cells × cells blocks, the largest being 1."""
    cells = min(graph.n, _CELLS)
    entries = (graph.matrix if isinstance(graph, Topology) else graph.pattern).tocoo()
    row, column = (index.astype(np.int64) * cells // graph.n for index in (entries.row, entries.col))
    sums = np.bincount(row * cells + column, np.abs(entries.data.astype(np.float64)), minlength=cells**2)
    return (sums / (sums.max() or 1.0)).astype(np.float32)


def sums(graph: Graph) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What the rows of W sum to, and its columns; of many, the mean of each block as `blocks` has them."""
    cells = min(graph.n, _CELLS)
    entries = (graph.matrix if isinstance(graph, Topology) else graph.pattern).tocoo()
    block = np.arange(graph.n) * cells // graph.n
    count = np.bincount(block, minlength=cells)
    row, column = (
        np.bincount(block[index], entries.data.astype(np.float64), minlength=cells) / count
        for index in (entries.row, entries.col)
    )
    return row, column


def squares(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The values of many nodes, or where there are too many, the means of as many neighbours in number as are needed."""
    each = -(-len(values) // _SQUARES)
    if each == 1:
        return values
    begins = np.arange(0, len(values), each)
    return np.add.reduceat(values, begins) / np.diff(np.append(begins, len(values)))


def spectrum(schedule: Schedule) -> tuple[str, Complex]:
    """All eigenvalues, if they are quick to know, and what they are of: W, or the product of a schedule's rounds."""
    if isinstance(schedule, Topology):
        quick = schedule.n <= (_SYMMETRIC if schedule.symmetric else _OTHERS)
        if quick or (schedule._fourier is not None and schedule.n <= _DOTS):
            return "eigenvalues of W", schedule.eigenvalues.astype(np.complex128)
    elif schedule.period is not None and schedule.period <= _ROUNDS and schedule.n * schedule.period <= _OTHERS:
        rounds = list(schedule)
        if all(isinstance(each, Topology) for each in rounds):
            product = np.eye(schedule.n)
            for each in rounds:
                product = each.matrix @ product
            return f"eigenvalues of W{_low(schedule.period - 1)}…W₀", np.linalg.eigvals(product).astype(np.complex128)
    return "", np.zeros(0, np.complex128)


def _low(number: int) -> str:
    return "".join("₀₁₂₃₄₅₆₇₈₉"[int(digit)] for digit in str(number))


def facts(schedule: Schedule) -> list[str]:
    """What is said beside it; only what is quick to know."""
    if schedule.n == 1:
        return ["one node, nothing to average"]
    if not isinstance(schedule, Topology):
        return schedule._facts()
    quick = schedule.n <= DENSE or schedule._fourier is not None
    if not quick:
        speed = []
    elif 0 < schedule.gap < 1e-3:
        speed = [f"ρ = 1 − {schedule.gap:.3g}", f"gap {schedule.gap:.3g}"]
    else:
        speed = [f"ρ = {max(0.0, schedule.rho):.4g}", f"gap {schedule.gap:.3g}"]
    return [*speed, f"degree {schedule.degree}", *schedule.kind]


def changed(topology: Topology, what: str, a: int, b: int) -> Topology:
    """The topology with an edge or a node more or less; new weights: Metropolis', or of a directed one, of push-sum."""
    edges, n = topology.edges, topology.n
    pair = (edges == (a, b)).all(axis=1) | ((edges == (b, a)).all(axis=1) & (not topology.directed))
    if what == "add_edge" and not pair.any():
        edges = np.vstack([edges, [(a, b)] if topology.directed else [(a, b), (b, a)]])
    elif what == "remove_edge":
        edges = edges[~pair]
    elif what == "add_node":
        n += 1
    elif what == "remove_node":
        edges = edges[(edges != a).all(axis=1)]
        edges, n = edges - (edges > a), n - 1
    sender, receiver = edges.T
    pattern = sp.csr_array(sp.coo_array((np.ones(len(edges), bool), (receiver, sender)), shape=(n, n)))
    graph = Graph(pattern, name="drawn", connected=False)
    rule = push if topology.directed else metropolis
    return rule(graph, connected=False)
