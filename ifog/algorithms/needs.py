"""What methods need of W, what that is called in words, and what to do where it does not hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ..topology import Graph, Schedule, Topology
from ..topology.ceca import Exchange


class Need(NamedTuple):
    """One property of a topology."""

    words: str
    holds: Callable[[Schedule], bool]
    advice: str


TWO_BUFFERS = "its rounds mix two buffers a node, which is for dsgd_ceca and ceca_consensus"


def two_buffers(topology: Schedule) -> bool:
    """Whether its rounds are exchanges of two buffers (or there is nobody to exchange with)."""
    return isinstance(topology[0], Exchange) if topology.n > 1 else topology.name == "ceca"


def _weighted(topology: Schedule) -> bool:
    return topology.n == 1 or isinstance(topology[0], Topology)


def _row(topology: Schedule) -> bool:
    return _weighted(topology) and topology.row_stochastic


def _column(topology: Schedule) -> bool:
    return _weighted(topology) and topology.column_stochastic


def _doubly(topology: Schedule) -> bool:
    return _weighted(topology) and topology.doubly_stochastic


def _symmetric(topology: Schedule) -> bool:
    return _weighted(topology) and topology.symmetric


def _undirected(topology: Schedule) -> bool:
    return not topology.directed


def _tree(topology: Schedule) -> bool:
    return (
        isinstance(topology, Graph)
        and not topology.directed
        and topology.messages == 2 * (topology.n - 1)
        and topology.connected
    )


def _two_trees(topology: Schedule) -> bool:
    return topology.period in (1, 2) and _tree(topology[0]) and _tree(topology[1])


def _d2(topology: Schedule) -> bool:
    return isinstance(topology, Topology) and topology.symmetric and topology.smallest_eigenvalue > -1 / 3 + 1e-12


_TRY = "try ring, grid or symmetric_exponential"
NEEDS = {
    "row_stochastic": Need("a W whose rows sum to one", _row, "choose weights such as metropolis(graph)"),
    "column_stochastic": Need("a W whose columns sum to one", _column, "choose weights such as push(graph)"),
    "doubly_stochastic": Need(
        "a W whose rows and columns sum to one", _doubly, "choose weights such as metropolis(graph), or a push-sum method"
    ),
    "symmetric": Need("a symmetric W", _symmetric, f"{_TRY}, or a gradient-tracking method, which directed graphs do not hurt"),
    "static": Need(
        "the same W in every round", lambda t: t.static, "choose a fixed graph, or a method for changing ones such as diging"
    ),
    "undirected": Need("a graph whose edges lead both ways", _undirected, _TRY),
    "tree": Need("a tree", _tree, "choose chain, star or binary_tree"),
    "two_trees": Need("a schedule of two trees", _two_trees, "choose double_binary_tree"),
    "above_minus_one_third": Need(
        "a symmetric W with all eigenvalues above −1/3",
        _d2,
        "take lazy(topology), or extra or exact_diffusion, which do so themselves",
    ),
    "two_buffers": Need("a schedule of two buffers", two_buffers, "choose ceca(n)"),
}
"""By name, what ``@method(needs=…)`` may say."""
