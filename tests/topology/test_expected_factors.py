"""What a random round leaves of a disagreement on average, by going through all the rounds there can be."""

from itertools import combinations
from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from topology_claims import energy_factor, label, mean_matrix, quiet, shift, steadily

from ifog import topology as t
from ifog.errors import TopologyError
from ifog.topology.equitopo import pairing

etas = st.floats(0.05, 1.0)


def basis(n, u):
    return (n - 1) / n * shift(n, u) + np.eye(n) / n


def scan(n, u, start):
    """Through i = start, start + 1, … (cyclic): pair i with i + u where both are free."""
    partner = list(range(n))
    for step in range(n):
        i = (start + step) % n
        j = (i + u) % n
        if partner[i] == i and partner[j] == j and i != j:
            partner[i], partner[j] = j, i
    return np.eye(n)[partner]


def undirected_rounds(n, eta):
    one = np.eye(n)
    return [(1 - eta) * one + eta * (one / n + (n - 1) / n * scan(n, u, start)) for u in range(1, n) for start in range(n)]


def matchings(nodes):
    """All ways to pair up as many nodes as possible."""
    if len(nodes) < 2:
        yield []
    elif len(nodes) % 2:
        for idle in nodes:
            yield from matchings([node for node in nodes if node != idle])
    else:
        first, *others = nodes
        for other in others:
            for rest in matchings([node for node in others if node != other]):
                yield [(first, other), *rest]


def meeting(n, pairs):
    W = np.eye(n)
    for i, j in pairs:
        W[[i, i, j, j], [i, j, i, j]] = 1 / 2
    return W


# ---- EquiTopo --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 3, 8, 17])
def test_the_mean_over_all_offsets_is_the_exact_mean(n):
    np.testing.assert_allclose(sum(basis(n, u) for u in range(1, n)) / (n - 1), mean_matrix(n), rtol=0, atol=1e-15)


@steadily
@given(st.integers(2, 40), etas)
def test_od_equidyn_has_its_expected_factor_exactly(n, eta):
    rounds = [(1 - eta) * np.eye(n) + eta * basis(n, u) for u in range(1, n)]
    factor = t.od_equidyn(n, eta=eta).expected_factor
    assert factor == pytest.approx(energy_factor(rounds), abs=1e-12)
    assert factor == pytest.approx((1 - eta) ** 2 + eta**2 * (1 - 2 / n), abs=1e-12)
    assert t.od_equidyn(n, eta=eta).consensus_rate == pytest.approx(sqrt(factor), abs=1e-12)


@pytest.mark.parametrize("n", [2, 3, 17, 1000])
def test_od_equidyn_halves_a_disagreement_whatever_n(n):
    assert t.od_equidyn(n).expected_factor == pytest.approx((n - 1) / (2 * n))
    assert t.od_equidyn(n).expected_factor < 1 / 2


def test_the_best_eta_for_seventeen_nodes_is_just_above_one_half():
    best = (17 - 2) / (2 * (17 - 1))
    assert t.od_equidyn(17, eta=0.53125).expected_factor == pytest.approx(best)
    assert all(t.od_equidyn(17, eta=eta).expected_factor > best + 1e-5 for eta in (0.5, 0.52, 0.54, 1))


@steadily
@given(st.integers(2, 14), etas)
def test_ou_equidyn_has_its_expected_factor_exactly(n, eta):
    factor = t.ou_equidyn(n, eta=eta).expected_factor
    assert factor == pytest.approx(energy_factor(undirected_rounds(n, eta)), abs=1e-12)


@pytest.mark.parametrize(("n", "factor"), [(6, 0.5139), (8, 0.5078), (17, 0.5481), (30, 0.561), (64, 0.568)])
def test_ou_equidyn_has_the_printed_factor(n, factor):
    assert t.ou_equidyn(n).expected_factor == pytest.approx(factor, abs=5.1e-4 if n > 17 else 5.1e-5)


def test_ou_equidyn_with_eta_one_is_slow():
    assert t.ou_equidyn(64, eta=1).expected_factor == pytest.approx(0.973, abs=5e-4)
    assert all(t.ou_equidyn(n).expected_factor <= 2 / 3 for n in range(2, 80))


@steadily
@given(st.integers(2, 60), st.data())
def test_pairing_without_the_loop_is_the_loop(n, data):
    u = data.draw(st.integers(1, n - 1))
    paired = np.arange(n)
    i, j = pairing(n, u).T
    paired[i], paired[j] = j, i
    np.testing.assert_array_equal(np.eye(n)[paired], scan(n, u, 0))


@steadily
@given(st.integers(2, 40), st.integers(0, 5), etas)
def test_od_equidyn_rounds_are_those_of_an_offset(n, seed, eta):
    possible = [(1 - eta) * np.eye(n) + eta * basis(n, u) for u in range(1, n)]
    for graph in t.od_equidyn(n, seed=seed, eta=eta)[:5]:
        assert min(np.abs(graph.W - W).max() for W in possible) < 1e-14


@steadily
@given(st.integers(2, 14), st.integers(0, 5), etas)
def test_ou_equidyn_rounds_are_those_of_an_offset_and_a_start(n, seed, eta):
    possible = undirected_rounds(n, eta)
    for graph in t.ou_equidyn(n, seed=seed, eta=eta)[:5]:
        assert min(np.abs(graph.W - W).max() for W in possible) < 1e-14


@pytest.mark.parametrize("family", [t.od_equidyn, t.ou_equidyn])
def test_offsets_may_be_restricted_to_a_few(family):
    schedule = family(12, offsets=[3, 4], seed=1)
    steps = {int(step) for graph in schedule[:30] for step in (graph.edges[:, 1] - graph.edges[:, 0]) % 12}
    assert steps == ({3, 4} if family is t.od_equidyn else {3, 4, 8, 9})
    rounds = (
        [np.eye(12) / 2 + basis(12, u) / 2 for u in (3, 4)]
        if family is t.od_equidyn
        else [np.eye(12) / 2 + (np.eye(12) / 12 + 11 / 12 * scan(12, u, s)) / 2 for u in (3, 4) for s in range(12)]
    )
    assert schedule.expected_factor == pytest.approx(energy_factor(rounds), abs=1e-12)
    with pytest.raises(TopologyError, match=r"offsets=\[4, 6\].*n=12.*common divisor"):
        family(12, offsets=[4, 6])


@pytest.mark.parametrize("n", [5, 16, 100])
@pytest.mark.parametrize("seed", range(4))
def test_d_equistatic_is_the_mean_over_its_offsets(n, seed):
    topology = t.d_equistatic(n, seed=seed, m=6)
    first_column = topology.W[:, 0]
    assert first_column[0] == pytest.approx(1 / n)
    shares = first_column[1:] * 6 * n / (n - 1)  # how often each offset was drawn
    np.testing.assert_allclose(shares, np.round(shares), rtol=0, atol=1e-12)
    assert shares.sum() == pytest.approx(6)
    np.testing.assert_allclose(
        topology.W, sum(round(share) / 6 * basis(n, u) for u, share in enumerate(shares, 1)), rtol=0, atol=1e-14
    )
    assert topology.rho < 1 - 1e-9
    np.testing.assert_allclose(t.u_equistatic(n, seed=seed, m=6).W, (topology.W + topology.W.T) / 2, rtol=0, atol=1e-14)


@pytest.mark.parametrize("seed", range(40))
def test_an_equistatic_graph_is_never_disconnected(seed):
    assert t.d_equistatic(16, m=2, seed=seed).connected  # two even offsets in a quarter of the draws
    assert t.u_equistatic(16, m=2, seed=seed).rho < 1 - 1e-9


def test_equistatic_mixes_as_fast_as_published():
    drawn = range(30)
    assert np.mean([t.d_equistatic(300, m=9, seed=seed).rho for seed in drawn]) == pytest.approx(0.736, abs=0.04)
    assert np.mean([t.u_equistatic(300, m=9, seed=seed).rho for seed in drawn]) == pytest.approx(0.652, abs=0.04)
    assert t.d_equistatic(100, m=81).rho < 0.5


# ---- gossip ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", range(2, 8))
def test_random_matching_has_its_expected_factor_exactly(n):
    rounds = [meeting(n, pairs) for pairs in matchings(list(range(n)))]
    assert t.random_matching(n).expected_factor == pytest.approx(energy_factor(rounds), abs=1e-12)


@pytest.mark.parametrize("n", [10, 50, 11, 51])
def test_random_matching_has_the_closed_form(n):
    assert t.random_matching(n).expected_factor == pytest.approx((n - 2) / (2 * (n - 1)) if n % 2 == 0 else 1 / 2)


@pytest.mark.parametrize("n", [2, 3, 5, 10, 30])
def test_random_edge_has_its_expected_factor_exactly(n):
    rounds = [meeting(n, [pair]) for pair in combinations(range(n), 2)]
    factor = t.random_edge(n).expected_factor
    assert factor == pytest.approx(energy_factor(rounds), abs=1e-12)
    assert factor == pytest.approx(1 - 1 / (n - 1))


@pytest.mark.parametrize("n", [2, 7, 30])
def test_a_matching_pairs_everybody_but_an_odd_one_out(n):
    for graph in t.random_matching(n, seed=3)[:10]:
        assert graph.messages == n // 2 * 2
        np.testing.assert_allclose(graph.W @ graph.W, graph.W, rtol=0, atol=1e-15)  # meeting twice changes nothing


def test_every_pair_is_as_likely_to_meet():
    n, rounds = 6, 2000
    for schedule, chance in ((t.random_edge(n, seed=1), 1 / 15), (t.random_matching(n, seed=1), 1 / 5)):
        met = np.zeros((n, n))
        for k in range(rounds):
            met[tuple(schedule[k].edges.T)] += 1
        share = met[np.triu_indices(n, 1)] / rounds
        assert np.abs(share - chance).max() < 4.5 * sqrt(chance * (1 - chance) / rounds)


@pytest.mark.parametrize("family", [t.random_matching, t.random_edge, t.od_equidyn, t.ou_equidyn])
def test_a_disagreement_shrinks_by_the_expected_factor_and_no_faster(family):
    n, draws = 8, 1000
    schedule = family(n, seed=5)
    x = np.random.default_rng(2).standard_normal(n)
    x -= x.mean()
    ratios = [float(((schedule[k] @ x) ** 2).sum() / (x**2).sum()) for k in range(draws)]
    assert np.mean(ratios) <= schedule.expected_factor + 4.5 * np.std(ratios) / sqrt(draws)


@pytest.mark.parametrize("family", [t.random_matching, t.random_edge, t.od_equidyn, t.ou_equidyn])
def test_a_round_is_the_same_whoever_asks_and_in_whatever_order(family):
    forwards, backwards = family(9, seed=4), family(9, seed=4)
    there = [forwards[k] for k in range(60)]
    back = [backwards[k] for k in reversed(range(60))][::-1]
    assert there == back
    assert [family(9, seed=5)[k] for k in range(20)] != there[:20]


# ---- schedules without a closed form -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "schedule",
    [
        quiet(t.one_peer_exponential, 6),
        t.one_peer_hypercube(8),
        t.base_graph(7, k=2),
        t.double_binary_tree(6),
        t.inner_outer(12),
        t.schedule([t.star(5), t.uniform(t.star(5)), t.ring(5)]),
    ],
    ids=label,
)
def test_the_expected_factor_of_a_schedule_is_that_of_a_round_drawn_from_its_period(schedule):
    rounds = [graph.W for graph in schedule]
    assert schedule.expected_factor == pytest.approx(energy_factor(rounds), abs=1e-12)


@pytest.mark.parametrize("topology", [t.ring(7), t.exponential(9), t.star(4)], ids=label)
def test_the_expected_factor_of_a_topology_is_rho_squared(topology):
    assert topology.expected_factor == pytest.approx(topology.rho**2)
    assert topology.consensus_rate == topology.rho


def test_the_expected_factor_of_an_own_random_schedule_is_estimated():
    given = t.schedule(lambda k: t.random_matching(6, seed=8)[k], n=6)
    assert given.period is None
    assert given.expected_factor == pytest.approx(4 / 10, abs=0.1)
