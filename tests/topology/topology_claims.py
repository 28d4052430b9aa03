"""What every family claims, in one table, and the few dense formulas that the tests compare with."""

import inspect
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import networkx as nx
import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from ifog.errors import TopologyWarning
from ifog.topology import Schedule, Topology, families

Matrix = np.ndarray
steadily = settings(deadline=None, derandomize=True, max_examples=100)


def tau(n: int) -> int:
    return next(k for k in range(99) if 2**k >= n)


def sides(n: int) -> tuple[int, int]:
    """The most square rectangle of n nodes."""
    rows = max(a for a in range(1, n + 1) if n % a == 0 and a * a <= n)
    return rows, n // rows


def is_power(n: int, base: int) -> bool:
    return n in [base**k for k in range(60)]


@dataclass(frozen=True)
class Claim:
    """For n ≥ 2; with one node every family is the same single node."""

    degree: Callable[[int], int | range]
    """The most messages of a node in a round, exactly or as a range."""
    repeats: str = "static"
    """One graph for ever ("static"), or a schedule that repeats ("periodic") or never does ("endless")."""
    symmetric: bool | None = True
    """False: directed for every n ≥ 5. None: depends on the draw."""
    doubly_stochastic: bool = True
    allowed: Callable[[int], bool] = lambda _: True
    """The numbers of nodes it can have; for the others it raises."""
    warns: Callable[[int], bool] = lambda _: False
    """The numbers of nodes for which it warns."""


def lattice_degree(n: int) -> int:
    return sum(min(2, side - 1) for side in sides(n))


def tree_degree(n: int) -> int:
    return max(dict(nx.Graph([(0, 1), *(((child - 1) // 2, child) for child in range(2, n))]).degree).values())


def one_row(n: int) -> bool:
    return n > 3 and sides(n)[0] == 1


CLAIMS = {
    "ring": Claim(lambda n: min(2, n - 1)),
    "directed_ring": Claim(lambda _: 1, symmetric=False),
    "chain": Claim(lambda n: min(2, n - 1)),
    "star": Claim(lambda n: n - 1),
    "complete": Claim(lambda n: n - 1),
    "grid": Claim(lattice_degree, warns=one_row),
    "torus": Claim(lattice_degree, warns=one_row),
    "hypercube": Claim(tau, allowed=lambda n: is_power(n, 2)),
    "one_peer_hypercube": Claim(lambda _: 1, "periodic", allowed=lambda n: is_power(n, 2)),
    "binary_tree": Claim(tree_degree),
    "double_binary_tree": Claim(tree_degree, "periodic"),
    "exponential": Claim(tau, symmetric=False),
    "symmetric_exponential": Claim(lambda n: sum(is_power(min(o, n - o), 4) for o in range(1, n))),
    "one_peer_exponential": Claim(lambda _: 1, "periodic", symmetric=False, warns=lambda n: not is_power(n, 2)),
    "d_equistatic": Claim(lambda n: range(1, tau(n) + 1), symmetric=None),
    "u_equistatic": Claim(lambda n: range(1, 2 * tau(n) + 1)),
    "od_equidyn": Claim(lambda _: 1, "endless", symmetric=False),
    "ou_equidyn": Claim(lambda _: 1, "endless"),
    "ceca": Claim(lambda _: 1, "periodic", symmetric=False, doubly_stochastic=False),
    "base_graph": Claim(lambda _: 1, "periodic"),
    "erdos_renyi": Claim(lambda n: range(1, n)),
    "half_random": Claim(lambda n: range(1, n)),
    "geometric": Claim(lambda n: range(1, n)),
    "random_regular": Claim(lambda n: min(4, n - 1)),
    "small_world": Claim(lambda n: range(1, n)),
    "random_matching": Claim(lambda _: 1, "endless"),
    "random_edge": Claim(lambda _: 1, "endless"),
    "inner_outer": Claim(lambda _: 1, "periodic", symmetric=False, allowed=lambda n: n == 1 or (n % 4 == 0 and n >= 8)),
}
SEEDED = {name for name, family in families().items() if "seed" in inspect.signature(family).parameters}


def quiet(family: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """A member of a family, without the warning that its size deserves."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TopologyWarning)
        return family(*args, **options)


@st.composite
def members(draw: st.DrawFn, largest: int = 80, kinds: tuple[str, ...] = ("static", "periodic", "endless")) -> Schedule:
    name = draw(st.sampled_from([name for name, claim in CLAIMS.items() if claim.repeats in kinds]))
    allowed = [n for n in range(1, largest + 1) if CLAIMS[name].allowed(n)]
    n = draw(st.sampled_from([n for n in (1, 2, 3, 7, 12, 16, 64) if n in allowed]) | st.sampled_from(allowed))
    options = {"seed": draw(st.integers(0, 9))} if name in SEEDED else {}
    return quiet(families()[name], n, **options)


@st.composite
def connected_graphs(draw: st.DrawFn, largest: int = 9) -> nx.Graph:
    """A random tree with random further edges."""
    n = draw(st.integers(3, largest))
    tree = [(draw(st.integers(0, child - 1)), child) for child in range(1, n)]
    more = draw(st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)).filter(lambda e: e[0] != e[1]), max_size=n))
    graph = nx.Graph()
    graph.add_nodes_from(range(n))
    graph.add_edges_from(tree + more)
    return graph


def label(value: Any) -> str:
    """A short name for a test's parameter."""
    return str(getattr(value, "label", value))


def first_rounds(schedule: Schedule, most: int = 12) -> list[Any]:
    return [schedule[k] for k in range(min(schedule.period or most, most))]


# ---- dense formulas --------------------------------------------------------------------------------------------------


def mean_matrix(n: int) -> Matrix:
    return np.full((n, n), 1 / n)


def dense_rho(W: Matrix) -> float:
    return float(np.linalg.norm(W - mean_matrix(len(W)), 2))


def product(rounds: Any) -> Matrix:
    """W_{T−1} ⋯ W_0."""
    total = None
    for graph in rounds:
        total = graph.W if total is None else graph.W @ total
    return total


def energy_factor(matrices: list[Matrix], chances: list[float] | None = None) -> float:
    """The largest eigenvalue of E[WᵀW] away from the constant vector."""
    n = len(matrices[0])
    away = np.eye(n) - mean_matrix(n)
    chances = chances or [1 / len(matrices)] * len(matrices)
    mean = sum(chance * away @ W.T @ away @ W @ away for chance, W in zip(chances, matrices, strict=True))
    return float(np.linalg.eigvalsh(mean)[-1])


def shift(n: int, u: int) -> Matrix:
    """(P x)_i = x_{i−u}."""
    P = np.zeros((n, n))
    for i in range(n):
        P[i, (i - u) % n] += 1
    return P


def undirected_edges(topology: Topology) -> set[frozenset[int]]:
    return {frozenset(edge) for edge in topology.edges.tolist()}
