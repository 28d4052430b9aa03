"""Every family against its textbook: ρ, weights and neighbours that can be written down."""

from math import cos, pi, sqrt

import numpy as np
import pytest
from topology_claims import dense_rho, label, mean_matrix, product, shift, tau

from ifog import topology as t
from ifog.errors import TopologyWarning

EVEN = range(2, 202, 2)
ODD = range(3, 201, 2)


@pytest.mark.parametrize("n", [3, 4, 5, 8, 31, 100, 997])
def test_ring(n):
    assert t.ring(n).rho == pytest.approx(1 / 3 + 2 / 3 * cos(2 * pi / n), abs=1e-13)
    np.testing.assert_allclose(t.ring(n).W, (np.eye(n) + shift(n, 1) + shift(n, -1)) / 3, rtol=0, atol=1e-15)


@pytest.mark.parametrize("n", [4, 6, 16, 98])
def test_a_ring_of_even_length_has_the_eigenvalue_minus_one_third(n):
    assert t.ring(n).smallest_eigenvalue == pytest.approx(-1 / 3, abs=1e-13)


@pytest.mark.parametrize("n", [3, 4, 7, 64])
def test_lazy_ring(n):
    slow = t.laplacian(t.ring(n), alpha=1 / 4)
    np.testing.assert_allclose(slow.W, np.eye(n) / 2 + shift(n, 1) / 4 + shift(n, -1) / 4, rtol=0, atol=1e-15)
    assert slow.rho == pytest.approx(cos(pi / n) ** 2, abs=1e-13)
    assert slow.smallest_eigenvalue > -1e-12


@pytest.mark.parametrize("n", [4, 6, 12, 40])
def test_best_constant_ring_of_even_length(n):
    c = cos(2 * pi / n)
    best = t.best_constant(t.ring(n))
    assert best.W[0, 1] == pytest.approx(1 / (3 - c), abs=1e-12)
    assert best.rho == pytest.approx((1 + c) / (3 - c), abs=1e-12)


@pytest.mark.parametrize("n", [2, 3, 8, 25, 300])
def test_directed_ring(n):
    assert t.directed_ring(n).rho == pytest.approx(cos(pi / n), abs=1e-13)
    np.testing.assert_allclose(t.directed_ring(n).W, (np.eye(n) + shift(n, 1)) / 2, rtol=0, atol=0)


@pytest.mark.parametrize("n", [3, 4, 9, 60])
def test_star(n):
    W = t.star(n).W
    assert t.star(n).rho == pytest.approx(1 - 1 / n, abs=1e-12)
    np.testing.assert_allclose(W[0], 1 / n, rtol=0, atol=1e-14)
    np.testing.assert_allclose(np.diag(W)[1:], 1 - 1 / n, rtol=0, atol=1e-15)


@pytest.mark.parametrize("n", [4, 9, 60])
def test_best_constant_star_gives_its_hub_a_negative_weight(n):
    best = t.best_constant(t.star(n))
    assert best.W[0, 1] == pytest.approx(2 / (n + 1), abs=1e-12)
    assert best.W[0, 0] == pytest.approx((3 - n) / (n + 1), abs=1e-12)
    assert best.rho == pytest.approx((n - 1) / (n + 1), abs=1e-12)


@pytest.mark.parametrize("n", [3, 4, 8, 50])
def test_chain(n):
    W = t.chain(n).W
    assert t.chain(n).rho == pytest.approx(1 / 3 + 2 / 3 * cos(pi / n), abs=1e-12)
    assert W[0, 0] == W[-1, -1] == pytest.approx(2 / 3)
    assert t.chain(n).diameter == n - 1


@pytest.mark.parametrize("n", [4, 8, 50])
def test_a_chain_with_half_on_every_edge(n):
    assert t.laplacian(t.chain(n), alpha=1 / 2).rho == pytest.approx(cos(pi / n), abs=1e-12)


@pytest.mark.parametrize(("rows", "columns"), [(3, 3), (4, 4), (3, 7), (10, 6)])
def test_max_degree_grid(rows, columns):
    slow = t.max_degree(t.grid(rows * columns, rows=rows))
    assert slow.rho == pytest.approx(3 / 5 + 2 / 5 * cos(pi / max(rows, columns)), abs=1e-12)


def test_the_four_by_four_grid():
    assert t.grid(16).rho == pytest.approx(0.8686, abs=5e-5)


@pytest.mark.parametrize(("rows", "columns"), [(4, 4), (3, 5), (8, 3), (10, 10)])
def test_torus(rows, columns):
    torus = t.torus(rows * columns, rows=rows)
    assert torus.rho == pytest.approx((3 + 2 * cos(2 * pi / max(rows, columns))) / 5, abs=1e-12)
    np.testing.assert_allclose(torus.matrix.data, 1 / 5, rtol=0, atol=1e-15)


@pytest.mark.parametrize(("n", "rho"), [(9, 0.4), (4, 1 / 3), (6, 0.5)])
def test_small_tori_merge_double_edges(n, rho):
    assert t.torus(n).rho == pytest.approx(rho, abs=1e-12)


@pytest.mark.parametrize("d", range(1, 10))
def test_hypercube(d):
    cube = t.hypercube(2**d)
    assert cube.rho == pytest.approx((d - 1) / (d + 1), abs=1e-12)
    assert cube.diameter == cube.degree == d
    assert cube.in_neighbors(0).tolist() == [2**k for k in range(d)]


def test_complete():
    np.testing.assert_allclose(t.complete(7).W, mean_matrix(7), rtol=0, atol=1e-16)
    assert t.complete(7).rho < 1e-15


# ---- exponential -----------------------------------------------------------------------------------------------------


def test_exponential_of_even_size_has_the_printed_rho():
    for n in EVEN:
        assert t.exponential(n).rho == pytest.approx(1 - 2 / (tau(n) + 1), abs=1e-12), n
    assert t.exponential(4900).rho == pytest.approx(1 - 2 / 14, abs=1e-12)


def test_exponential_of_odd_size_is_faster():
    for n in ODD:
        assert t.exponential(n).rho < 1 - 2 / (tau(n) + 1) - 1e-6, n


def test_exponential_of_six_nodes_is_the_matrix_of_the_paper():
    expected = [[1 / 4 if (i - j) % 6 in {0, 1, 2, 4} else 0 for j in range(6)] for i in range(6)]
    np.testing.assert_allclose(t.exponential(6).W, expected, rtol=0, atol=0)


@pytest.mark.parametrize(("n", "base", "rho"), [(27, 3, 0.7088), (64, 4, 0.8183)])
def test_exponential_in_other_bases(n, base, rho):
    assert t.exponential(n, base=base).rho == pytest.approx(rho, abs=5e-5)


@pytest.mark.parametrize(
    ("n", "base", "largest"), [(244, 3, 243), (300, 3, 243), (243, 3, 81), (1001, 10, 1000), (1000, 10, 100)]
)
def test_no_power_is_lost_to_floating_point(n, base, largest):
    offsets = sorted((-t.exponential(n, base=base).in_neighbors(0) % n).tolist())
    assert offsets == [base**k for k in range(20) if base**k < n]
    assert offsets[-1] == largest


@pytest.mark.parametrize(("n", "rho"), [(8, 0.5), (16, 0.6), (32, 0.6667), (64, 0.7143), (100, 0.8578)])
def test_symmetric_exponential(n, rho):
    topology = t.symmetric_exponential(n)
    assert topology.rho == pytest.approx(rho, abs=5e-5)
    distances = {min(j, n - j) for j in topology.in_neighbors(0).tolist()}
    assert distances == {4**k for k in range(5) if 4**k <= n // 2}


def test_a_distance_of_half_the_ring_is_one_neighbour():
    assert t.symmetric_exponential(32).degree == 5  # ±1, ±4 and 16
    assert t.symmetric_exponential(64).degree == 6


@pytest.mark.parametrize("n", [3, 5, 6, 12, 17, 33, 100, 127])
def test_one_peer_exponential_receives_from_the_power_before(n):
    with pytest.warns(TopologyWarning, match="power of two"):
        schedule = t.one_peer_exponential(n)
    for k in range(2 * tau(n)):
        np.testing.assert_allclose(schedule[k].W, (np.eye(n) + shift(n, 2 ** (k % tau(n)))) / 2, rtol=0, atol=0)


# ---- trees -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "rho"), [(15, 0.9758), (31, 0.9899)])
def test_binary_tree(n, rho):
    assert t.binary_tree(n).rho == pytest.approx(rho, abs=5e-5)


@pytest.mark.parametrize("n", [2, 3, 6, 7, 8, 16, 33])
def test_binary_tree_is_a_heap(n):
    edges = {(i, j) for i, j in t.binary_tree(n).edges.tolist() if i < j}
    assert edges == {((child - 1) // 2, child) for child in range(1, n)}


@pytest.mark.parametrize(("n", "diameter"), [(8, 5), (16, 7)])
def test_diameter_of_a_heap(n, diameter):
    assert t.binary_tree(n).diameter == diameter


@pytest.mark.parametrize("n", range(2, 40))
def test_no_node_is_inside_both_trees(n):
    one, other = t.double_binary_tree(n)
    mirrored = {(n - 1 - i, n - 1 - j) for i, j in one.edges.tolist()}
    assert mirrored == set(map(tuple, other.edges.tolist()))
    parents = {(child - 1) // 2 for child in range(1, n)}
    assert not parents & {n - 1 - i for i in parents}
    both = one.pattern + other.pattern
    assert (one.out_degrees + other.out_degrees).max() <= 4
    assert both.sum() >= 2 * (2 * (n - 1) - 2) or n < 4  # one or two of the edges coincide


# ---- machines --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("machines", [t.ring(5), t.exponential(6), t.star(4), t.best_constant(t.star(6)), t.push(t.star(4))])
@pytest.mark.parametrize("local", [1, 3])
def test_hierarchical_mixes_as_fast_as_its_machines(machines, local):
    topology = t.hierarchical(machines, local)
    np.testing.assert_allclose(topology.W, np.kron(machines.W, mean_matrix(local)), rtol=0, atol=1e-15)
    assert topology.rho == pytest.approx(machines.rho, abs=1e-12)
    assert topology.doubly_stochastic == machines.doubly_stochastic


@pytest.mark.parametrize("kind", ["ring", "exponential"])
@pytest.mark.parametrize(("machines", "local"), [(2, 3), (2, 4), (3, 4), (5, 3), (4, 7), (8, 8)])
def test_every_inner_outer_round_is_half_a_permutation_without_fixed_points(machines, local, kind):
    n = machines * local
    for graph in (schedule := t.inner_outer(n, local=local, kind=kind)):
        P = 2 * graph.W - np.eye(n)
        np.testing.assert_allclose(P @ P.T, np.eye(n), rtol=0, atol=1e-14)
        assert set(np.unique(P)) == {0.0, 1.0}
        assert np.trace(P) == 0
        crossing = [(j, i) for j, i in graph.edges.tolist() if i // local != j // local]
        assert len(crossing) == machines
        assert all(i % local == j % local for j, i in crossing)
    assert schedule.jointly_connected


@pytest.mark.parametrize(
    ("kind", "side", "factor"), [("ring", 4, 0.900), ("ring", 8, 0.985), ("exponential", 4, 0.861), ("exponential", 8, 0.964)]
)
def test_inner_outer_mixes_as_measured(kind, side, factor):
    schedule = t.inner_outer(side * side, local=side, kind=kind)
    left = product(schedule) - mean_matrix(side * side)
    assert np.abs(np.linalg.eigvals(left)).max() ** (1 / schedule.period) == pytest.approx(factor, abs=1e-3)
    assert schedule.consensus_rate == pytest.approx(np.linalg.norm(left, 2) ** (1 / schedule.period), abs=1e-12)


# ---- random graphs: what theory says about them on average ---------------------------------------------------------------


@pytest.mark.parametrize(("n", "rho"), [(32, 0.52), (64, 0.40), (128, 0.29), (256, 0.21)])
def test_half_random_mixes_like_the_root_of_n(n, rho):
    assert np.mean([t.half_random(n, seed=seed).rho for seed in range(5)]) == pytest.approx(rho, rel=0.12)


@pytest.mark.parametrize(("n", "rho"), [(32, 0.85), (64, 0.89), (128, 0.93), (256, 0.96)])
def test_geometric_mixes_slowly(n, rho):
    assert np.mean([t.geometric(n, seed=seed).rho for seed in range(10)]) == pytest.approx(rho, abs=0.03)


@pytest.mark.parametrize("n", [32, 128, 256])
def test_erdos_renyi_does_not_slow_down_with_its_size(n):
    drawn = [t.erdos_renyi(n, seed=seed) for seed in range(10)]
    assert np.mean([topology.rho for topology in drawn]) == pytest.approx(0.80, abs=0.06)
    assert np.mean([topology.messages for topology in drawn]) == pytest.approx(2 * np.log(n) / n * n * (n - 1), rel=0.1)


def test_every_pair_of_an_erdos_renyi_graph_is_as_likely():
    n, p, draws = 9, 0.6, 400
    seen = sum(t.erdos_renyi(n, p=p, seed=seed).pattern.toarray().astype(float) for seed in range(draws))[np.triu_indices(n, 1)]
    assert np.abs(seen / draws - p).max() < 4.5 * sqrt(p * (1 - p) / draws)
    assert t.erdos_renyi(7, p=1).messages == 42


def test_geometric_neighbours_are_the_near_ones():
    topology = t.geometric(40, radius=0.4, seed=3)
    apart = np.linalg.norm(topology.positions[:, None] - topology.positions[None], axis=2)
    np.testing.assert_array_equal(topology.pattern.toarray(), (apart < 0.4) & ~np.eye(40, dtype=bool))


@pytest.mark.parametrize(("n", "degree"), [(10, 3), (12, 5), (9, 2), (8, 7)])
def test_random_regular_is_regular(n, degree):
    topology = t.random_regular(n, degree=degree, seed=1)
    assert set(topology.out_degrees) == {degree}
    np.testing.assert_allclose(topology.matrix.data, 1 / (degree + 1), rtol=0, atol=1e-15)


@pytest.mark.parametrize("n", [5, 9, 20])
def test_an_unrewired_small_world_is_a_ring_with_four_neighbours(n):
    topology = t.small_world(n, p=0)
    assert set(((topology.edges[:, 0] - topology.edges[:, 1]) % n).tolist()) == {1, 2, n - 1, n - 2}
    assert t.small_world(n, p=1, seed=2).messages == 4 * n


# ---- what noise leaves of consensus ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("topology", "variance", "digits"),
    [
        (t.ring(32), 3.45, 0.005),
        (t.grid(32), 0.886, 0.0005),
        (t.torus(32), 0.387, 0.0005),
        (t.exponential(32), 0.185, 0.0005),
        (t.ring(1024), 127, 0.5),
        (t.grid(1024), 1.61, 0.005),
        (t.torus(1024), 0.98, 0.005),
        (t.exponential(1024), 0.117, 0.0005),
    ],
    ids=label,
)
def test_noise_leaves_the_known_disagreement(topology, variance, digits):
    # C(W) = Σ_j (‖Wʲ‖² − 1)/n over j ≥ 1, a geometric series in each eigenvalue of a normal W
    energy = np.abs(topology.eigenvalues[1:]) ** 2
    assert float((energy / (1 - energy)).sum()) / topology.n == pytest.approx(variance, abs=1.01 * digits)


@pytest.mark.parametrize("n", [8, 32, 256])
def test_noise_leaves_less_than_one_on_the_one_peer_exponential(n):
    state, variance = np.eye(n), 0.0
    for graph in t.one_peer_exponential(n):
        state = graph @ state
        variance += ((state**2).sum() - 1) / n
    assert variance == pytest.approx(1 - 1 / n - tau(n) / n, abs=1e-12)


@pytest.mark.parametrize("topology", [t.ring(9), t.grid(12), t.exponential(11), t.star(6)], ids=label)
def test_a_disagreement_shrinks_by_rho_in_every_round_at_worst(topology):
    x = np.random.default_rng(0).standard_normal(topology.n)
    mean = x.mean()
    first = np.linalg.norm(x - mean)
    for k in range(1, 30):
        x = topology @ x
        assert np.linalg.norm(x - mean) <= dense_rho(topology.W) ** k * first + 1e-12
        assert x.mean() == pytest.approx(mean, abs=1e-13)
