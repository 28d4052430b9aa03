"""ρ, gap, eigenvalues, diameter and rates: three roads, one answer, and a dense computation that knows it."""

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from topology_claims import connected_graphs, dense_rho, label, members, product, quiet, steadily

from ifog import topology as t
from ifog.errors import TopologyError

directed = st.tuples(st.integers(2, 12), st.integers(0, 10**6))


def random_digraph(n, seed):
    """A ring in one direction with random shortcuts: strongly connected."""
    rng = np.random.default_rng(seed)
    A = rng.random((n, n)) < 0.3
    A[np.arange(n), np.arange(n) - 1] = True
    np.fill_diagonal(A, val=False)
    return A


def doubly_stochastic(n, seed):
    """A convex combination of random permutations, one of them a cycle through all nodes: neither symmetric nor normal."""
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.ones(5))
    W = shares[0] * np.eye(n) + shares[1] * np.roll(np.eye(n), 1, axis=1)
    return W + sum(share * np.eye(n)[rng.permutation(n)] for share in shares[2:])


def with_eigenvalues(values, seed=0):
    """A dense symmetric matrix with rows that sum to one and these other eigenvalues."""
    n = len(values) + 1
    basis = np.column_stack([np.ones(n), np.random.default_rng(seed).standard_normal((n, n - 1))])
    Q, _ = np.linalg.qr(basis)
    W = (Q * np.r_[1.0, values]) @ Q.T
    return (W + W.T) / 2


# ---- ρ ---------------------------------------------------------------------------------------------------------------


@steadily
@given(members(kinds=("static",)))
def test_rho_of_a_family_is_the_dense_norm(topology):
    assert topology.rho == pytest.approx(dense_rho(topology.W), abs=1e-12)
    assert topology.gap == pytest.approx(1 - dense_rho(topology.W), abs=1e-12)
    assert topology.consensus_rate == topology.rho


@steadily
@given(connected_graphs(), st.sampled_from(sorted(set(t.rules()) - {"fdla", "laplacian"})))
def test_rho_of_weights_is_the_dense_norm(graph, rule):
    topology = t.rules()[rule](graph)
    assert topology.rho == pytest.approx(dense_rho(topology.W), abs=1e-12)


@steadily
@given(directed)
def test_rho_of_a_directed_graph_is_the_dense_norm(size_and_seed):
    A = random_digraph(*size_and_seed)
    for topology in (t.uniform(A), t.push(A), t.Topology(doubly_stochastic(*size_and_seed))):
        assert topology.rho == pytest.approx(dense_rho(topology.W), abs=1e-12)


def test_rho_may_exceed_one_where_a_round_enlarges_a_disagreement():
    star = t.uniform(t.star(20))
    assert star.rho == pytest.approx(dense_rho(star.W), abs=1e-12)
    assert star.rho > 1
    assert star.gap < 0


@pytest.mark.parametrize("n", [2, 3, 7, 64, 500])
def test_rho_is_zero_to_the_last_digit_where_a_round_is_exact(n):
    assert t.complete(n).rho < 1e-14
    assert t.circulant(n, dict.fromkeys(range(n), 1 / n)).rho < 1e-14


@steadily
@given(st.integers(2, 60), st.floats(1e-9, 0.999))
def test_rho_keeps_its_digits_whether_small_or_large(n, rho):
    W = rho * np.eye(n) + (1 - rho) / n
    assert t.Topology(W).rho == pytest.approx(rho, abs=1e-13)


def test_rho_does_not_trust_a_matrix_that_only_resembles_a_convolution():
    almost = np.array(t.ring(12).W)
    almost[3, [3, 4]] += [1e-3, -1e-3]
    almost[4, [3, 4]] += [-1e-3, 1e-3]
    assert t.Topology(almost).rho == pytest.approx(dense_rho(almost), abs=1e-13)
    assert t.Topology(almost).rho != pytest.approx(t.ring(12).rho, abs=1e-6)


# ---- the sparse road ---------------------------------------------------------------------------------------------------

LARGE = [
    t.chain(150),
    t.star(100),
    t.grid(144),
    t.binary_tree(127),
    t.erdos_renyi(128, seed=1),
    t.half_random(90),
    t.geometric(128, seed=2),
    t.random_regular(100),
    t.small_world(101),
    t.max_degree(t.grid(120)),
    t.best_constant(t.grid(120)),
    t.best_constant(t.star(80)),
    t.lazy(t.binary_tree(100)),
    t.uniform(t.geometric(90)),
    t.push(t.binary_tree(90)),
    t.uniform(t.exponential(90)),
    t.uniform(random_digraph(80, 3)),
    t.push(random_digraph(80, 4)),
    t.Topology(doubly_stochastic(100, 5)),
    t.hierarchical(t.chain(30), 3),
    t.hierarchical(t.directed_ring(30), 3),
]


@pytest.mark.parametrize("topology", LARGE, ids=label)
def test_the_sparse_road_leads_to_the_dense_rho(topology, sparse_road):
    assert topology.gap == pytest.approx(1 - dense_rho(topology.W), rel=1e-7, abs=1e-10)


@pytest.mark.parametrize("topology", [topology for topology in LARGE if topology.symmetric], ids=label)
def test_the_sparse_road_leads_to_the_dense_smallest_eigenvalue(topology, sparse_road):
    assert topology.smallest_eigenvalue == pytest.approx(np.linalg.eigvalsh(topology.W)[0], abs=1e-6)


def test_the_sparse_road_sees_a_negative_end_that_positive_weights_could_not_have(sparse_road):
    # its diagonal is positive throughout, and yet an eigenvalue is −0.95
    W = with_eigenvalues(np.r_[-0.95, np.linspace(0.6, 0.9, 78)])
    assert np.diag(W).min() > 0.5
    assert t.Topology(W, signed=True).rho == pytest.approx(0.95, abs=1e-8)


@pytest.mark.parametrize("values", [np.linspace(-0.9, -0.1, 79), np.linspace(-0.99, 0.98, 79), np.linspace(-0.5, 1.3, 79)])
def test_the_sparse_road_finds_the_end_that_is_further_out(values, sparse_road):
    assert t.Topology(with_eigenvalues(values), signed=True).rho == pytest.approx(np.abs(values).max(), abs=1e-8)


def test_the_sparse_road_without_a_connection(sparse_road):
    apart = t.metropolis(nx.disjoint_union(nx.path_graph(50), nx.path_graph(50)), connected=False)
    assert apart.rho == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize(
    "schedule",
    [
        quiet(t.one_peer_exponential, 100),
        t.double_binary_tree(80),
        t.inner_outer(80),
        t.inner_outer(96, local=8, kind="exponential"),
        t.schedule([t.uniform(t.star(70)), t.push(t.star(70)), t.ring(70)]),
    ],
    ids=label,
)
def test_the_sparse_road_leads_to_the_dense_rates(schedule, sparse_road):
    away = np.eye(schedule.n) - 1 / schedule.n  # only disagreements count, but for them also a mean that moves
    left = np.linalg.norm(product(schedule) @ away, 2)
    assert schedule.consensus_rate == pytest.approx(left ** (1 / schedule.period), rel=1e-8)
    mean = sum(away @ graph.W.T @ graph.W @ away for graph in schedule) / schedule.period
    assert schedule.expected_factor == pytest.approx(np.linalg.eigvalsh(mean)[-1], rel=1e-8)


# ---- eigenvalues -------------------------------------------------------------------------------------------------------


@steadily
@given(members(kinds=("static",)))
def test_eigenvalues_are_numpys_with_the_largest_first(topology):
    found = topology.eigenvalues
    assert found.shape == (topology.n,)
    assert (np.diff(np.abs(found)) <= 1e-12).all()
    assert found[0] == pytest.approx(1, abs=1e-10)
    if topology.symmetric:
        assert found.dtype == float
        np.testing.assert_allclose(np.sort(found), np.linalg.eigvalsh(topology.W), rtol=0, atol=1e-10)
    else:
        trace = [np.trace(np.linalg.matrix_power(topology.W, power)) for power in (1, 2, 3)]
        np.testing.assert_allclose([(found**power).sum() for power in (1, 2, 3)], trace, rtol=0, atol=1e-9)


@steadily
@given(members(kinds=("static",)))
def test_positive_definite_is_what_the_smallest_eigenvalue_says(topology):
    if not topology.symmetric:
        assert not topology.positive_definite
        return
    smallest = np.linalg.eigvalsh(topology.W)[0]
    assert topology.smallest_eigenvalue == pytest.approx(smallest, abs=1e-10)
    if abs(smallest) > 1e-9:
        assert topology.positive_definite == (smallest > 0)


def test_a_matrix_that_is_not_symmetric_has_no_smallest_eigenvalue():
    with pytest.raises(TopologyError, match=r"exponential\(8\).*not symmetric"):
        _ = t.exponential(8).smallest_eigenvalue


def test_all_eigenvalues_of_a_large_irregular_graph_are_refused():
    with pytest.raises(TopologyError, match=r"chain\(20000\).*limit.*\.rho and \.gap"):
        _ = t.chain(20_000).eigenvalues


def test_a_large_dense_matrix_is_refused():
    with pytest.raises(TopologyError, match=r"ring\(100000\).*80 GB.*\.matrix"):
        _ = t.ring(100_000).W


# ---- schedules ---------------------------------------------------------------------------------------------------------


@steadily
@given(members(largest=40, kinds=("periodic",)))
def test_the_consensus_rate_of_a_schedule_is_that_of_its_product(schedule):
    if schedule.name == "ceca":
        return
    left = dense_rho(product(schedule)) ** (1 / schedule.period)
    assert schedule.consensus_rate == pytest.approx(left if left**schedule.period > 1e-12 else 0, abs=1e-8)


def test_the_consensus_rate_of_cecas_first_rounds_is_that_of_the_upper_left_block():
    begun = t.ceca(7)[:2]
    total = begun[1].matrix @ begun[0].matrix
    assert begun.consensus_rate == pytest.approx(np.sqrt(dense_rho(total.toarray()[:7, :7])), abs=1e-10)


# ---- hops --------------------------------------------------------------------------------------------------------------


@steadily
@given(members(largest=40, kinds=("static",)))
def test_the_diameter_is_networkxs(topology):
    assert topology.diameter == nx.diameter(topology.to_networkx())


@steadily
@given(connected_graphs(largest=14))
def test_the_diameter_of_any_graph_is_networkxs(graph):
    assert t.metropolis(graph).diameter == nx.diameter(graph)


@steadily
@given(directed)
def test_the_diameter_of_a_directed_graph_follows_the_arrows(size_and_seed):
    topology = t.uniform(random_digraph(*size_and_seed))
    assert topology.diameter == nx.diameter(topology.to_networkx())


def test_there_is_no_diameter_without_a_connection():
    assert t.Topology(np.eye(3), connected=False).diameter is None


# ---- many nodes, unfriendly weights ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("every", "weight"), [(1000, -0.3), (10, -0.1)])
def test_the_thin_road_sees_an_eigenvalue_beyond_one(every, weight, sparse_road):
    # a chain with some negative weights between nodes: W enlarges a disagreement
    weights = np.full(199, 0.3)
    weights[every // 2 :: every] = weight
    pairs = np.column_stack([np.arange(199), np.arange(1, 200)])
    topology = t.from_pairs(200, pairs, weights, signed=True)
    assert topology.rho == pytest.approx(dense_rho(topology.W), abs=1e-7)


@pytest.mark.slow
def test_the_ends_of_the_spectrum_of_many_nodes():
    n = 20_000
    crowded = -1 / 3 + 2 / 3 * (1 - np.cos(np.pi / n))  # the chain's lowest eigenvalue, to within its crowd
    assert t.chain(n).smallest_eigenvalue == pytest.approx(crowded, abs=1e-6)
    assert not t.chain(n).positive_definite
    assert t.lazy(t.chain(n)).positive_definite
    c = np.cos(np.pi / n)
    assert t.best_constant(t.chain(n)).matrix[0, 1] == pytest.approx(2 / ((2 - 2 * c) + (2 + 2 * c)), abs=1e-6)
    c = np.cos(2 * np.pi / n)
    assert t.best_constant(t.ring(n)).matrix[0, 1] == pytest.approx(1 / (3 - c), abs=1e-9)
