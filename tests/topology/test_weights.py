"""From a graph to weights: the formulas, what they promise, and the fastest ones against an independent solver."""

from math import cos, pi

import clarabel
import networkx as nx
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from topology_claims import connected_graphs, dense_rho, steadily

from ifog import topology as t
from ifog.errors import TopologyError

PETERSEN = nx.petersen_graph()


def degrees(graph):
    return np.array([graph.degree[i] for i in range(len(graph))])


# ---- formulas --------------------------------------------------------------------------------------------------------


@steadily
@given(connected_graphs())
def test_metropolis_weights(graph):
    d = degrees(graph)
    W = t.metropolis(graph).W
    for i, j in graph.edges:
        assert W[i, j] == W[j, i] == pytest.approx(1 / (1 + max(d[i], d[j])))
    assert np.count_nonzero(W - np.diag(np.diag(W))) == 2 * graph.number_of_edges()
    np.testing.assert_allclose(W.sum(axis=1), 1, rtol=0, atol=1e-14)
    assert (np.diag(W) >= 1 / (1 + d) - 1e-14).all()
    assert np.linalg.eigvalsh(W)[0] > -1


@steadily
@given(connected_graphs(), st.floats(0.01, 2))
def test_laplacian_weights(graph, alpha):
    L = nx.laplacian_matrix(graph, nodelist=range(len(graph))).toarray()
    one = np.eye(len(graph))
    np.testing.assert_allclose(t.laplacian(graph, alpha=alpha).W, one - alpha * L, rtol=0, atol=1e-12)
    np.testing.assert_allclose(t.max_degree(graph).W, one - L / (1 + L.max()), rtol=0, atol=1e-14)


@steadily
@given(connected_graphs())
def test_the_best_constant_weight_is_better_than_its_neighbours(graph):
    L = nx.laplacian_matrix(graph, nodelist=range(len(graph))).toarray()
    eigenvalues = np.linalg.eigvalsh(L)
    best = t.best_constant(graph)
    assert best.rho == pytest.approx((eigenvalues[-1] - eigenvalues[1]) / (eigenvalues[-1] + eigenvalues[1]), abs=1e-9)
    alpha = 2 / (eigenvalues[1] + eigenvalues[-1])
    for other in (0.99 * alpha, 1.01 * alpha):
        assert best.rho <= t.laplacian(graph, alpha=other).rho + 1e-12
    assert t.laplacian(graph) == best


@steadily
@given(st.integers(2, 10), st.integers(0, 10**6))
def test_uniform_weights_pull_and_push_weights_push(n, seed):
    A = np.random.default_rng(seed).random((n, n)) < 0.5
    np.fill_diagonal(A, val=False)
    with_self = A + np.eye(n)
    pull, push = t.uniform(A, connected=False), t.push(A, connected=False)
    np.testing.assert_allclose(pull.W, with_self / with_self.sum(axis=1, keepdims=True), rtol=0, atol=1e-15)
    np.testing.assert_allclose(push.W, with_self / with_self.sum(axis=0, keepdims=True), rtol=0, atol=1e-15)
    assert pull.row_stochastic
    assert push.column_stochastic


@steadily
@given(connected_graphs())
def test_pulling_agrees_on_a_mean_that_favours_the_well_connected(graph):
    d = degrees(graph)
    topology = t.uniform(graph)
    assert topology.doubly_stochastic == (len(set(d)) == 1)
    x = np.random.default_rng(len(graph)).standard_normal(len(graph))
    agreed = np.linalg.matrix_power(topology.W, 4000) @ x
    np.testing.assert_allclose(agreed, (d + 1) @ x / (d + 1).sum(), rtol=0, atol=1e-9)


@steadily
@given(connected_graphs(), st.sampled_from([0.1, 0.5, 0.9]))
def test_lazy_weights_pull_every_eigenvalue_towards_one(graph, amount):
    plain = t.metropolis(graph)
    slow = t.lazy(plain, amount)
    expected = (1 - amount) * np.linalg.eigvalsh(plain.W) + amount
    np.testing.assert_allclose(np.linalg.eigvalsh(slow.W), expected, rtol=0, atol=1e-12)
    if amount == 0.5:
        assert slow.smallest_eigenvalue > 0


@pytest.mark.parametrize("rule", sorted(t.rules()))
def test_weights_replace_those_of_a_topology_and_keep_its_edges(rule):
    before = t.lazy(t.ring(6), 0.9)
    after = t.rules()[rule](before)
    assert after.edges.tolist() == before.edges.tolist()
    assert rule in after.label or rule == "laplacian"


@pytest.mark.parametrize("rule", sorted(t.rules()))
@pytest.mark.parametrize("n", [1, 2])
def test_every_rule_knows_one_and_two_nodes(rule, n):
    W = t.rules()[rule](nx.complete_graph(n)).W
    np.testing.assert_allclose(W, np.full((n, n), 1 / n), rtol=0, atol=1e-9)


@pytest.mark.parametrize("rule", sorted(set(t.rules()) - {"fdla"}))
def test_weights_on_a_disconnected_graph_need_consent(rule):
    apart = nx.Graph([(0, 1), (2, 3), (3, 4)])
    with pytest.raises(TopologyError, match=r"2 pieces.*connected=False"):
        t.rules()[rule](apart)
    allowed = t.rules()[rule](apart, connected=False)
    assert allowed.rho == pytest.approx(1, abs=1e-12) if allowed.symmetric else allowed.rho > 1


def test_no_weights_are_fast_on_a_disconnected_graph():
    with pytest.raises(TopologyError, match="2 pieces"):
        t.fdla(nx.Graph([(0, 1), (2, 3)]))


@pytest.mark.parametrize("rule", ["metropolis", "max_degree", "laplacian", "best_constant", "fdla"])
def test_symmetric_rules_refuse_arrows(rule):
    with pytest.raises(TopologyError, match=r"directed.*uniform.*push"):
        t.rules()[rule](nx.DiGraph([(0, 1), (1, 2), (2, 0)]))


def test_weights_are_given_to_one_graph_at_a_time():
    with pytest.raises(TopologyError, match=r"one_peer_exponential\(8\).*schedule\[0\]"):
        t.metropolis(t.one_peer_exponential(8))


# ---- the fastest -----------------------------------------------------------------------------------------------------


def fastest_by_clarabel(graph):
    """min s with −sI ⪯ I − 11ᵀ/n − Σ w_e a_e a_eᵀ ⪯ sI, as two cones of positive semidefinite matrices."""
    n, edges = len(graph), list(graph.edges)
    upper = [(i, j) for j in range(n) for i in range(j + 1)]

    def stacked(M):
        return np.array([M[i, j] * (1 if i == j else np.sqrt(2)) for i, j in upper])

    columns = []
    for i, j in edges:
        a = np.zeros(n)
        a[i], a[j] = 1, -1
        columns.append(stacked(np.outer(a, a)))
    E = np.column_stack(columns)
    one = stacked(np.eye(n))[:, None]
    M = stacked(np.eye(n) - 1 / n)
    A = sp.csc_matrix(np.block([[-E, -one], [E, -one]]))  # sI − M + Σ w a aᵀ ⪰ 0 and sI + M − Σ w a aᵀ ⪰ 0
    options = clarabel.DefaultSettings()
    options.verbose = False
    options.tol_gap_abs = options.tol_gap_rel = options.tol_feas = 1e-10
    cones = [clarabel.PSDTriangleConeT(n)] * 2
    cost = np.r_[np.zeros(len(edges)), 1.0]
    solver = clarabel.DefaultSolver(sp.csc_matrix((len(cost), len(cost))), cost, A, np.r_[-M, M], cones, options)
    return solver.solve().obj_val


@pytest.mark.parametrize(
    "graph",
    [
        nx.cycle_graph(5),
        nx.cycle_graph(8),
        nx.path_graph(7),
        nx.star_graph(5),
        nx.grid_2d_graph(3, 4),
        nx.balanced_tree(2, 3),
        nx.barbell_graph(4, 2),
        nx.lollipop_graph(5, 3),
        nx.petersen_graph(),
        nx.gnp_random_graph(14, 0.3, seed=4),
        nx.complete_graph(5),
    ],
    ids=lambda graph: f"{len(graph)} nodes, {graph.number_of_edges()} edges",
)
def test_fdla_agrees_with_an_independent_solver(graph):
    graph = nx.convert_node_labels_to_integers(graph)
    fastest = t.fdla(graph)
    assert fastest.rho == pytest.approx(fastest_by_clarabel(graph), abs=1e-6)
    assert fastest.rho == pytest.approx(dense_rho(fastest.W), abs=1e-7)
    assert fastest.symmetric
    assert fastest.doubly_stochastic


@pytest.mark.parametrize(
    ("topology", "rho", "digits"),
    [
        (t.ring(12), (1 + cos(pi / 6)) / (3 - cos(pi / 6)), 1e-8),
        (t.chain(8), cos(pi / 8), 1e-8),
        (t.star(7), 6 / 8, 1e-8),
        (t.torus(16), 0.6, 1e-8),
        (t.hypercube(8), 0.5, 1e-8),
        (t.grid(16), 0.8245, 2e-4),
        (t.binary_tree(15), 0.9587, 2e-4),
    ],
    ids=lambda value: getattr(value, "label", None),
)
def test_fdla_reaches_the_known_optimum(topology, rho, digits):
    assert t.fdla(topology).rho == pytest.approx(rho, abs=digits)


@settings(steadily, max_examples=50)
@given(connected_graphs())
def test_fdla_is_never_slower_than_the_simple_rules(graph):
    fastest = t.fdla(graph).rho
    for other in (t.metropolis, t.best_constant, t.max_degree):
        assert fastest <= other(graph).rho + 1e-8


@settings(steadily, max_examples=50)
@given(connected_graphs(), st.integers(0, 10**6))
def test_no_small_change_makes_fdla_faster(graph, seed):
    fastest = t.fdla(graph)
    pairs = np.array(graph.edges)
    weights = fastest.W[tuple(pairs.T)]
    for step in np.random.default_rng(seed).standard_normal((8, len(pairs))):
        moved = t.from_pairs(len(graph), pairs, weights + 1e-3 * step, signed=True)
        assert moved.rho >= fastest.rho - 1e-8


def test_fdla_that_would_take_hours_is_refused():
    with pytest.raises(TopologyError, match=r"torus\(2500\).*5,000 edges.*best_constant"):
        t.fdla(t.torus(2500))
