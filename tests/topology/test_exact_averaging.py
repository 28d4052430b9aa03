"""Who reaches the exact mean, in how many rounds, and what is left where nobody does."""

from itertools import permutations
from math import log, pi, sin

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from topology_claims import dense_rho, label, mean_matrix, product, quiet, steadily, tau

from ifog import topology as t
from ifog.errors import TopologyError

POWERS = [2, 4, 8, 16, 32, 64]
EXACT = {"rtol": 0, "atol": 1e-13}


# ---- one-peer exponential --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", POWERS)
def test_one_peer_exponential_is_exact_from_any_round(n):
    schedule = t.one_peer_exponential(n)
    for start in range(2 * tau(n)):
        later = schedule[start:]
        np.testing.assert_allclose(product(later[k] for k in range(tau(n))), mean_matrix(n), **EXACT)
        assert later.rounds_to_exact == tau(n)


def test_one_peer_exponential_of_a_thousand_nodes():
    assert t.one_peer_exponential(1024).rounds_to_exact == 10
    assert t.one_peer_exponential(1024).consensus_rate == 0


@steadily
@given(st.permutations(range(5)))
def test_the_order_of_the_rounds_does_not_matter(order):
    for schedule in (t.one_peer_exponential(32), t.one_peer_hypercube(32)):
        assert t.schedule([schedule[k] for k in order]).rounds_to_exact == 5


@steadily
@given(st.integers(3, 80))
def test_what_one_peer_exponential_leaves_for_any_n(n):
    schedule = quiet(t.one_peer_exponential, n)
    T = tau(n)
    left = max(abs(sin(pi * m * 2**T / n) / (2**T * sin(pi * m / n))) for m in range(1, n))
    assert dense_rho(product(schedule)) == pytest.approx(left, abs=1e-13)
    assert schedule.consensus_rate**T == pytest.approx(left, abs=1e-12)
    assert (schedule.rounds_to_exact is not None) == (n in (4, 8, 16, 32, 64))


@pytest.mark.parametrize(
    ("n", "left"),
    [
        (3, 0.25),
        (5, 0.2023),
        (6, 0.2165),
        (12, 0.2091),
        (17, 0.0614),
        (33, 0.0311),
        (100, 0.1916),
        (127, 0.0078),
        (4900, 0.1633),
    ],
)
def test_one_peer_exponential_leaves_the_printed_factor_in_a_period(n, left):
    schedule = quiet(t.one_peer_exponential, n)
    assert schedule.consensus_rate**schedule.period == pytest.approx(left, abs=5.1e-5)


@pytest.mark.parametrize("base", [3, 4, 10])
def test_one_peer_exponential_in_base_b_is_exact_when_n_divides_a_power_of_b(base):
    for n in range(2, 101):
        T = next(T for T in range(9) if base**T >= n)
        schedule = quiet(t.one_peer_exponential, n, base=base)
        assert schedule.period == T
        assert schedule.rounds_to_exact == (T if base**T % n == 0 else None), n


def test_one_peer_exponential_in_base_b_has_b_minus_one_neighbours():
    schedule = quiet(t.one_peer_exponential, 64, base=4)
    assert schedule.degree == 3
    assert [sorted((-graph.in_neighbors(0) % 64).tolist()) for graph in schedule] == [[1, 2, 3], [4, 8, 12], [16, 32, 48]]


# ---- hypercube ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_one_peer_hypercube_is_exact_in_any_order(order):
    rounds = [t.one_peer_hypercube(8)[k] for k in order]
    np.testing.assert_allclose(product(rounds), mean_matrix(8), **EXACT)


@pytest.mark.parametrize("n", POWERS)
def test_one_peer_hypercube_pairs_nodes_that_differ_in_one_digit(n):
    for k, graph in enumerate(t.one_peer_hypercube(n)):
        assert graph.edges.tolist() == [[i, i ^ (1 << k)] for i in range(n)]
    assert t.one_peer_hypercube(n).rounds_to_exact == tau(n)


# ---- CECA ------------------------------------------------------------------------------------------------------------

CECA_SIZES = [(n, 2) for n in range(2, 65)] + [(n, 1) for n in range(2, 65, 2)]


def exchanged(schedule, x, watch=lambda *_: None):
    """The rounds as the nodes run them: buffers a and b, one message, four coefficients."""
    a, b = x.copy(), np.full_like(x, 7.0)  # any finite b will do
    for k, graph in enumerate(schedule):
        c = graph.coefficients
        r = {"a": a, "b": b}[c.message][graph.pattern.indices]  # every node hears from exactly one
        a, b = c.a_own * a + c.a_received * r, c.b_own * b + c.b_received * r
        watch(k, a, b)
    return a, b


@pytest.mark.parametrize(("n", "ports"), CECA_SIZES)
def test_ceca_is_exact_in_log2_n_rounds_for_every_n(n, ports):
    schedule = t.ceca(n, ports=ports)
    assert schedule.period == schedule.rounds_to_exact == tau(n)
    assert schedule.consensus_rate == 0
    x = np.random.default_rng(n).standard_normal(n)
    a, b = exchanged(schedule, x)
    np.testing.assert_allclose(a, x.mean(), **EXACT)
    np.testing.assert_allclose(b, (x.sum() - x) / (n - 1), **EXACT)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "ports"), [(100_003, 2), (10**6, 2), (10**6, 1)])
def test_ceca_is_exact_for_large_n(n, ports):
    x = np.random.default_rng(0).standard_normal(n)
    a, _ = exchanged(t.ceca(n, ports=ports), x)
    np.testing.assert_allclose(a, x.mean(), rtol=0, atol=1e-11)


@pytest.mark.parametrize(("n", "ports"), [(2, 1), (3, 2), (6, 1), (6, 2), (7, 2), (17, 2), (34, 1), (64, 2)])
def test_the_blocks_of_cecas_matrix_are_the_mean_of_all_and_of_the_others(n, ports):
    total = np.eye(2 * n)
    for graph in t.ceca(n, ports=ports):
        assert graph.matrix.shape == (2 * n, 2 * n)
        np.testing.assert_allclose(graph.matrix.sum(axis=1), 1, **EXACT)
        total = graph.matrix @ total
    zero = np.zeros((n, n))
    others = (np.ones((n, n)) - np.eye(n)) / (n - 1)
    np.testing.assert_allclose(total, np.block([[mean_matrix(n), zero], [others, zero]]), **EXACT)


@pytest.mark.parametrize("n", [2, 3, 5, 6, 12, 31, 33, 100])
def test_cecas_buffers_are_means_over_a_growing_window(n):
    x = np.random.default_rng(n).standard_normal(n)
    windows = [int(bin(n - 1)[2:][: k + 1], 2) for k in range(tau(n))]

    def watch(k, a, b):
        m = windows[k]
        behind = np.array([[x[(i - back) % n] for back in range(m + 1)] for i in range(n)])
        np.testing.assert_allclose(a, behind.mean(axis=1), **EXACT)
        np.testing.assert_allclose(b, behind[:, 1:].mean(axis=1), **EXACT)
        assert a.mean() == pytest.approx(x.mean(), abs=1e-13)

    exchanged(t.ceca(n), x, watch)


@pytest.mark.parametrize("n", [2, 6, 10, 36, 64])
def test_one_port_ceca_talks_in_pairs_and_keeps_the_mean(n):
    x = np.random.default_rng(n).standard_normal(n)
    schedule = t.ceca(n, ports=1)
    for graph in schedule:
        partner = graph.pattern.indices
        assert (partner[partner] == np.arange(n)).all()
        assert (partner != np.arange(n)).all()
        assert not graph.directed
    exchanged(schedule, x, lambda _, a, __: np.testing.assert_allclose(a.mean(), x.mean(), **EXACT))


@pytest.mark.parametrize(
    ("n", "rounds"),  # (m, d, two-port offset, one-port offset)
    [
        (3, [(0, 1, 1, 1), (1, 0, 1, 3)]),
        (5, [(0, 1, 1, 1), (1, 0, 1, 3), (2, 0, 2, 5)]),
        (6, [(0, 1, 1, 1), (1, 0, 1, 3), (2, 1, 3, 5)]),
        (7, [(0, 1, 1, 1), (1, 1, 2, 3), (3, 0, 3, 7)]),
        (10, [(0, 1, 1, 1), (1, 0, 1, 3), (2, 0, 2, 5), (4, 1, 5, 9)]),
        (17, [(0, 1, 1, 1), (1, 0, 1, 3), (2, 0, 2, 5), (4, 0, 4, 9), (8, 0, 8, 17)]),
    ],
)
def test_cecas_schedule_is_the_known_one(n, rounds):
    for graph, (m, digit, offset, _) in zip(t.ceca(n), rounds, strict=True):
        assert ((np.arange(n) - graph.pattern.indices) % n == offset).all()
        whole = 2 * m + 1
        expected = ("a", 1 / 2, 1 / 2, m / whole, (m + 1) / whole) if digit else ("b", (m + 1) / whole, m / whole, 1 / 2, 1 / 2)
        assert graph.coefficients.message == expected[0]
        np.testing.assert_allclose(graph.coefficients[1:], expected[1:], **EXACT)
    if n % 2 == 0:
        for graph, (_, _, _, distance) in zip(t.ceca(n, ports=1), rounds, strict=True):
            even = np.arange(0, n, 2)
            assert (graph.pattern.indices[even] == (even + distance) % n).all()


@pytest.mark.parametrize("n", POWERS)
def test_ceca_on_powers_of_two_meets_the_peers_of_the_one_peer_exponential(n):
    for exchange, topology in zip(t.ceca(n), t.one_peer_exponential(n), strict=True):
        assert (exchange.pattern != topology.pattern).nnz == 0


def test_ceca_refuses_to_be_a_matrix():
    graph = t.ceca(6)[0]
    for attempt in (lambda: graph.W, lambda: graph @ np.ones(6)):
        with pytest.raises(TopologyError, match=r"two buffers.*coefficients.*matrix"):
            attempt()


# ---- Base-(k+1) ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("n", range(2, 65))
def test_base_graph_is_exact_for_every_n(n, k):
    schedule = t.base_graph(n, k=k)
    np.testing.assert_allclose(product(schedule), mean_matrix(n), **EXACT)
    assert schedule.rounds_to_exact == schedule.period <= 2 * log(n, k + 1) + 2
    assert schedule.degree <= k
    assert schedule.symmetric


ROUNDS = {
    1: {3: 3, 5: 5, 6: 4, 7: 5, 9: 7, 10: 6, 12: 5, 17: 9, 25: 9, 31: 9, 33: 11, 100: 11, 127: 13},
    2: {5: 3, 7: 4, 25: 6, 100: 8},
    4: {25: 2, 100: 3},
}


@pytest.mark.parametrize(("k", "n", "rounds"), [(k, n, rounds) for k, row in ROUNDS.items() for n, rounds in row.items()])
def test_base_graph_needs_the_published_number_of_rounds(k, n, rounds):
    assert t.base_graph(n, k=k).rounds_to_exact == rounds


@pytest.mark.parametrize(("n", "k", "rounds"), [(81, 2, 4), (64, 3, 3), (64, 1, 6), (6, 2, 2), (6, 5, 1), (7, 6, 1)])
def test_base_graph_of_a_smooth_number_takes_a_round_for_each_factor(n, k, rounds):
    assert t.base_graph(n, k=k).rounds_to_exact == rounds


def test_base_graph_of_five_nodes_is_the_papers_example():
    # four nodes average among themselves, one of them takes in the fifth, and the four average once more
    schedule = t.base_graph(5)
    assert schedule.period == 5
    first, second, bridge, third, fourth = schedule
    for pair in ((first, second), (third, fourth)):
        np.testing.assert_allclose(product(pair)[:4, :4], mean_matrix(4), **EXACT)
        assert all(graph.messages == 4 and len(graph.in_neighbors(4)) == 0 for graph in pair)
    (inside,) = bridge.in_neighbors(4).tolist()
    assert bridge.messages == 2
    np.testing.assert_allclose(bridge.W[np.ix_([inside, 4], [inside, 4])], [[0.2, 0.8], [0.8, 0.2]], **EXACT)


# ---- your own rounds, and what is not exact ---------------------------------------------------------------------------


def test_pairings_from_networkx_average_exactly():
    rounds = [nx.Graph([(0, 1), (2, 3)]), nx.Graph([(1, 2), (3, 0)])]
    schedule = t.schedule(rounds, n=4)
    np.testing.assert_allclose(product(schedule), mean_matrix(4), **EXACT)
    assert schedule.rounds_to_exact == 2


def test_exact_averaging_may_need_idle_rounds():
    idle = t.Topology(np.eye(2), connected=False)
    assert t.schedule([idle, idle, t.ring(2)]).rounds_to_exact == 3


def test_a_mean_reached_after_more_than_one_period_is_found():
    first, second = t.one_peer_exponential(4)
    assert t.schedule([first, second], n=4)[:1].rounds_to_exact is None
    # started at its second round, a Base graph must first come round to its beginning
    late = t.base_graph(2049)[1:]
    assert late.period < late.rounds_to_exact <= 2 * late.period


@pytest.mark.parametrize("n", [4, 8, 32])
def test_a_static_graph_can_be_exact_after_several_rounds(n):
    # node i hears from 2i and 2i + 1: after log₂ n rounds from everybody, each by one path
    W = np.zeros((n, n))
    for i in range(n):
        W[i, 2 * i % n] += 1 / 2
        W[i, (2 * i + 1) % n] += 1 / 2
    np.testing.assert_allclose(np.linalg.matrix_power(W, tau(n)), mean_matrix(n), **EXACT)
    assert t.Topology(W).rounds_to_exact == tau(n)


@pytest.mark.parametrize("left", [1e-6, 3e-6, 1e-3, 0.1])
def test_fast_is_not_exact(left):
    almost = t.Topology((1 - left) * mean_matrix(8) + left * np.eye(8))
    assert almost.rounds_to_exact is None
    assert almost.rho == pytest.approx(left, abs=1e-14)


@pytest.mark.parametrize("topology", [t.complete(9), t.ring(3), t.hypercube(2), t.star(2)], ids=label)
def test_one_round_is_enough_when_rho_is_zero(topology):
    assert topology.rounds_to_exact == 1


@pytest.mark.parametrize("topology", [t.ring(8), t.star(5), t.exponential(8), t.random_matching(8), t.od_equidyn(8)], ids=label)
def test_what_only_converges_is_never_exact(topology):
    assert topology.rounds_to_exact is None


# ---- exactness told apart from speed -----------------------------------------------------------------------------------


def test_a_last_exact_round_is_seen_however_little_is_left():
    periodic_averaging = t.schedule([t.exponential(16)] * 24 + [t.complete(16)])
    assert periodic_averaging.rounds_to_exact == 25
    assert periodic_averaging.consensus_rate == 0


def test_a_long_period_is_not_taken_for_exact():
    matchings = t.random_matching(1000)[:200]
    assert matchings.rounds_to_exact is None
    assert 0.6 < matchings.consensus_rate < 0.8
    assert t.schedule([t.star(5)] * 200).consensus_rate == pytest.approx(0.8, rel=1e-9)


def test_several_periods_may_be_needed():
    W = np.zeros((32, 32))
    for i in range(32):  # exact after log₂ 32 rounds, whatever the period is called
        W[i, 2 * i % 32] = W[i, (2 * i + 1) % 32] = 1 / 2
    assert t.schedule([W]).rounds_to_exact == 5
    assert t.schedule([W, W]).rounds_to_exact == 5
    assert t.base_graph(5)[1:].rounds_to_exact > t.base_graph(5).period


def test_agreement_on_something_else_than_the_mean_is_not_exact():
    follow_the_leader = np.zeros((4, 4))
    follow_the_leader[:, 0] = 1
    assert t.Topology(follow_the_leader, connected=False).rounds_to_exact is None
    moved_and_spread = [t.uniform(t.star(4)), t.complete(4)]
    assert t.schedule(moved_and_spread).rounds_to_exact is None
    all_to_one = follow_the_leader.T  # keeps the sum, in one place
    assert t.Topology(all_to_one, connected=False).rounds_to_exact is None
