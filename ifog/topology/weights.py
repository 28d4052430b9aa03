"""From a graph to weights: each rule takes a graph and gives a `Topology`.

A graph is a `Topology` or other `Graph` (whose weights are then replaced), a networkx graph, or an adjacency matrix with
``A[i, j] ≠ 0`` where node i receives from node j.

============== ================================== ====================================================
rule           weight on a neighbour              what the matrix is
============== ================================== ====================================================
metropolis     1 / (1 + max(dᵢ, dⱼ))              symmetric, doubly stochastic; the safe default
max_degree     1 / (1 + d_max)                    symmetric, doubly stochastic
laplacian      α, so W = I − α L                  symmetric, doubly stochastic
best_constant  the α that mixes fastest           the same; the own weight may be negative
fdla           the fastest weights there are      the same
uniform        1 / (1 + in-degree of i)           row stochastic: agrees, but not on the mean
push           1 / (1 + out-degree of j)          column stochastic: keeps the sum, for push-sum methods
lazy           (I + W) / 2                        like W, without negative eigenvalues
============== ================================== ====================================================
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from ..errors import TopologyError
from . import spectrum
from .arguments import real, share
from .graph import Graph, Schedule, Topology, from_pairs, metropolis_weights
from .matrix import as_array, is_networkx, networkx_pattern, pattern_of

if TYPE_CHECKING:
    import networkx as nx

GraphLike: TypeAlias = "Graph | nx.Graph[Any] | ArrayLike | sp.sparray"
Vector = NDArray[np.float64]
Rule = TypeVar("Rule", bound=Callable[..., Topology])

_MOST_UNKNOWNS = 1500  # nodes and edges that fdla optimises in less than a minute

_RULES: dict[str, Callable[..., Topology]] = {}


def rules() -> dict[str, Callable[..., Topology]]:
    """Every rule that turns a plain graph into a topology, by name."""
    return dict(_RULES)


def _rule(function: Rule) -> Rule:
    _RULES[function.__name__] = function
    return function


@_rule
def metropolis(graph: GraphLike, *, connected: bool = True) -> Topology:
    """Metropolis–Hastings weights 1 / (1 + max(dᵢ, dⱼ)), and what is left for oneself.

    >>> import networkx as nx
    >>> metropolis(nx.star_graph(3)).W[0]
    array([0.25, 0.25, 0.25, 0.25])
    """
    plain = as_graph(graph)
    i, j, degree = _undirected(plain, "metropolis")
    return _weighted("metropolis", plain, i, j, metropolis_weights(degree, i, j), connected)


@_rule
def max_degree(graph: GraphLike, *, connected: bool = True) -> Topology:
    """The same weight 1 / (1 + d_max) on every edge."""
    plain = as_graph(graph)
    i, j, degree = _undirected(plain, "max_degree")
    return _weighted("max_degree", plain, i, j, np.full(len(i), 1 / (1 + degree.max())), connected)


@_rule
def laplacian(graph: GraphLike, *, alpha: float | None = None, connected: bool = True) -> Topology:
    """W = I − α L with the graph's Laplacian L; without ``alpha``, the α of `best_constant`."""
    if alpha is None:
        return best_constant(graph, connected=connected)
    plain = as_graph(graph)
    i, j, _ = _undirected(plain, "laplacian")
    alpha = real("alpha", alpha, "the weight of an edge must be a positive number", above=0)
    return _weighted("laplacian", plain, i, j, np.full(len(i), alpha), connected, signed=True, alpha=alpha)


@_rule
def best_constant(graph: GraphLike, *, connected: bool = True) -> Topology:
    """The one weight for all edges that mixes fastest: α = 2 / (λ₂ + λ_max) of the Laplacian (Xiao and Boyd 2004).

    On a graph whose edges all look alike (ring, star, hypercube) no weights are faster.
    """
    plain = as_graph(graph)
    i, j, degree = _undirected(plain, "best_constant")
    alpha = 0.0
    if len(i):
        adjacency = plain.pattern.astype(np.float64)
        second, largest = spectrum.laplacian_extremes(
            sp.csr_array(sp.diags_array(degree.astype(float)) - adjacency), plain._grids
        )
        alpha = 2 / (max(second, 0.0) + largest)
    return _weighted("best_constant", plain, i, j, np.full(len(i), alpha), connected, signed=True)


@_rule
def fdla(graph: GraphLike, *, tolerance: float = 1e-9) -> Topology:
    """The fastest weights of a graph: min ‖W − 11ᵀ/n‖₂ over all symmetric W with its edges (Xiao and Boyd 2004).

    A convex problem, solved by an interior-point method until its bound on the distance of ρ from the optimum is below
    ``tolerance``. The time grows with (nodes + edges)³: a tenth of a second for an 8 × 8 grid, half a minute for a tree of
    500 nodes. Weights may be negative.
    """
    tolerance = real("tolerance", tolerance, "tolerance must be a number from 1e-12 on", at_least=1e-12)
    plain = as_graph(graph)
    i, j, degree = _undirected(plain, "fdla")
    if plain.n + len(i) > _MOST_UNKNOWNS:
        raise TopologyError(
            f"fdla of {plain.label}: {plain.n:,} nodes and {len(i):,} edges would take longer than a minute (the limit is "
            f"{_MOST_UNKNOWNS:,} together); best_constant(graph) optimises one weight for all and works for any n"
        )
    start = metropolis_weights(degree, i, j)
    # with one edge or none there is nothing to choose: ρ = |1 − 2w| is zero at w = 1/2
    w = _fastest(plain.n, i, j, start, tolerance) if plain.n > 2 and plain.connected else start
    return _weighted("fdla", plain, i, j, w, True, signed=True)


@_rule
def uniform(graph: GraphLike, *, connected: bool = True) -> Topology:
    """Each node averages itself and what it receives with equal weights 1 / (1 + in-degree).

    Row stochastic only, unless all degrees are equal: the nodes agree, but on a mean that favours the well connected.
    """
    plain = as_graph(graph)
    scale = sp.diags_array(1 / (1 + plain.in_degrees.astype(float)))
    return Topology(scale @ _with_self(plain), **_dress("uniform", plain, connected=connected))


@_rule
def push(graph: GraphLike, *, connected: bool = True) -> Topology:
    """Each node splits what it has equally between itself and those it sends to: 1 / (1 + out-degree of the sender).

    Column stochastic, on any directed graph: the sum is kept, and push-sum finds the mean.
    """
    plain = as_graph(graph)
    scale = sp.diags_array(1 / (1 + plain.out_degrees.astype(float)))
    return Topology(_with_self(plain) @ scale, **_dress("push", plain, connected=connected))


def lazy(topology: Topology, amount: float = 0.5) -> Topology:
    """(1 − amount) W + amount I: with amount = 1/2 and symmetric W, no eigenvalue is negative.

    >>> from ifog.topology import ring
    >>> round(ring(4).smallest_eigenvalue, 6), round(lazy(ring(4)).smallest_eigenvalue, 6)
    (-0.333333, 0.333333)
    """
    if not isinstance(topology, Topology):
        raise TopologyError(f"lazy({topology!r}): it needs a Topology; from a plain graph, lazy(metropolis(graph))")
    amount = share("amount", amount, with_zero=True, with_one=False)
    matrix = (1 - amount) * topology.matrix + amount * sp.eye_array(topology.n)
    signed = bool((topology.matrix.data < 0).any())
    extra = {} if amount == 0.5 else {"amount": amount}
    return Topology(matrix, **_dress("lazy", topology, connected=topology.connected, signed=signed, **extra))


# ---- the fastest weights ---------------------------------------------------------------------------------------------


def _fastest(n: int, i: NDArray[np.int64], j: NDArray[np.int64], w: Vector, tolerance: float) -> Vector:
    r"""Edge weights that minimise ‖M(w)‖₂, M(w) = I − 11ᵀ/n − Σ_e w_e a_e a_eᵀ with a_e = e_i − e_j.

    minimise t subject to −tI ⪯ M(w) ⪯ tI, by Newton's method on t/μ − log det(tI − M) − log det(tI + M). Its minimiser is
    within 2nμ of the best t, and every derivative is a product with the two inverses: ∂/∂w_e is a_eᵀ S a_e, and the
    Hessian's entries are (a_eᵀ S a_f)².
    """
    edges = len(i)
    incidence = np.zeros((n, edges))
    incidence[i, np.arange(edges)], incidence[j, np.arange(edges)] = 1.0, -1.0
    identity = np.eye(n)
    deviation = identity - 1 / n

    def barrier(w: Vector, t: float, mu: float) -> float:
        M = deviation - (incidence * w) @ incidence.T
        try:
            roots = [np.linalg.cholesky(t * identity - M), np.linalg.cholesky(t * identity + M)]
        except np.linalg.LinAlgError:
            return math.inf
        return t / mu - 2 * sum(float(np.log(np.diag(root)).sum()) for root in roots)

    def newton(w: Vector, t: float, mu: float) -> tuple[Vector, float]:
        """The Newton step for (w, t), and how much it promises."""
        M = deviation - (incidence * w) @ incidence.T
        upper, lower = np.linalg.inv(t * identity - M), np.linalg.inv(t * identity + M)
        across_upper, across_lower = incidence.T @ upper @ incidence, incidence.T @ lower @ incidence
        mixed = ((upper @ incidence) ** 2).sum(axis=0) - ((lower @ incidence) ** 2).sum(axis=0)
        gradient = np.append(np.diag(across_lower) - np.diag(across_upper), 1 / mu - float(np.trace(upper) + np.trace(lower)))
        hessian = np.empty((edges + 1, edges + 1))
        hessian[:-1, :-1] = across_upper**2 + across_lower**2
        hessian[:-1, -1] = hessian[-1, :-1] = mixed
        hessian[-1, -1] = float((upper**2).sum() + (lower**2).sum())
        # edges that cannot be told apart leave flat directions; the tiny ridge picks the shortest step along them
        ridge = 1e-14 * float(np.trace(hessian)) / (edges + 1)
        step = np.linalg.solve(hessian + ridge * np.eye(edges + 1), -gradient)
        return step, float(-gradient @ step)

    t = 1.1 * float(np.abs(np.linalg.eigvalsh(deviation - (incidence * w) @ incidence.T)).max()) + 0.01
    mu = 1.0
    while True:
        for _ in range(60):
            step, promise = newton(w, t, mu)
            if promise < 1e-6:
                break
            now, length = barrier(w, t, mu), 1.0
            while barrier(w + length * step[:-1], t + length * step[-1], mu) > now - 0.1 * length * promise and length > 1e-12:
                length /= 2
            w, t = w + length * step[:-1], t + length * float(step[-1])
        if 2 * n * mu < tolerance:
            return w
        mu /= 10


# ---- shared by the rules ---------------------------------------------------------------------------------------------


def as_graph(graph: Any) -> Graph:
    """Whatever describes a graph, as a `Graph` without weights."""
    if isinstance(graph, Graph):
        return graph
    if isinstance(graph, Schedule):
        raise TopologyError(f"{graph.label} is a schedule: weights are given to one graph at a time, such as schedule[0]")
    if is_networkx(graph):
        return Graph(networkx_pattern(graph), name=graph.name or "graph", connected=False)
    matrix = as_array("graph", graph)
    if getattr(matrix, "ndim", 0) != 2 or matrix.shape[0] != matrix.shape[1] or matrix.shape[0] == 0:
        raise TopologyError(
            f"graph={graph!r:.80}: give a Topology, a networkx graph, or a square adjacency matrix with one row for each node"
        )
    if matrix.dtype.kind not in "biuf":
        raise TopologyError(f"graph holds {matrix.dtype} values: an adjacency matrix holds zeros and ones")
    entries = sp.coo_array(matrix)
    if not np.isfinite(entries.data).all():
        raise TopologyError("graph holds values that are not finite: an adjacency matrix holds zeros and ones")
    edge = (entries.row != entries.col) & (entries.data != 0)
    pattern = pattern_of(matrix.shape[0], entries.row[edge], entries.col[edge])
    return Graph(pattern, name="graph", connected=False)


def _undirected(graph: Graph, rule: str) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Each edge once as (i, j) with i < j, and the degrees."""
    if graph.directed:
        raise TopologyError(
            f"{rule} weights need edges that go both ways, and {graph.label} is directed: use uniform(graph) to pull or "
            f"push(graph) for push-sum methods"
        )
    edges = graph.edges
    edges = edges[edges[:, 0] < edges[:, 1]]
    return edges[:, 0], edges[:, 1], graph.in_degrees


def _weighted(
    rule: str,
    graph: Graph,
    i: NDArray[np.int64],
    j: NDArray[np.int64],
    w: Vector,
    connected: bool,
    *,
    signed: bool = False,
    **extra: Any,
) -> Topology:
    options = _dress(rule, graph, connected=connected, signed=signed, **extra)
    return from_pairs(graph.n, np.column_stack([i, j]), w, **options)


def _dress(rule: str, graph: Graph, *, connected: bool, signed: bool = False, **extra: Any) -> dict[str, Any]:
    """What a topology keeps of the graph its weights are for: its place in the plane, and its name inside the rule's."""
    options = "".join(f", {key}={value}" for key, value in extra.items())
    source = graph.source or graph.label
    return {
        "name": f"{rule}({graph.label if rule == 'lazy' else source}{options})",  # the other rules replace the weights
        "signed": signed,
        "connected": connected,
        "grid_shape": graph.grid_shape,
        "positions": graph.positions,
        "source": source,
    }


def _with_self(graph: Graph) -> sp.csr_array:
    return sp.csr_array(graph.pattern.astype(np.float64) + sp.eye_array(graph.n))
