"""One list, and everyone on it is held to everything."""

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from topology_claims import CLAIMS, first_rounds, members, quiet, steadily

from ifog import topology
from ifog.errors import TopologyError, TopologyWarning
from ifog.topology import Exchange, Schedule, Topology, as_topology, families, make

NOT_ALLOWED = [(name, n) for name, claim in CLAIMS.items() for n in range(1, 34) if not claim.allowed(n)]
WARNED = [(name, n) for name, claim in CLAIMS.items() for n in range(1, 20) if claim.allowed(n) and claim.warns(n)]


def test_every_family_has_its_row_of_claims():
    assert set(families()) == set(CLAIMS), "CLAIMS in topology_claims.py has a row for each family"


@pytest.mark.parametrize("name", CLAIMS)
def test_one_node_is_a_node_that_keeps_its_value(name):
    alone = families()[name](1)
    assert isinstance(alone, Topology)
    np.testing.assert_array_equal(alone.W, [[1.0]])
    assert len(alone.in_neighbors(0)) == len(alone.out_neighbors(0)) == len(alone.edges) == alone.messages == 0
    assert (alone.rho, alone.degree, alone.diameter, alone.rounds_to_exact, alone.connected) == (0, 0, 0, 0, True)
    assert alone.name == name


@pytest.mark.parametrize("name", ["ring", "chain", "star", "complete", "grid", "torus", "hypercube", "exponential"])
def test_two_nodes_meet_in_the_middle(name):
    np.testing.assert_allclose(make(name, 2).W, [[0.5, 0.5], [0.5, 0.5]], rtol=0, atol=1e-15)


@pytest.mark.parametrize("name", sorted(set(CLAIMS) - {"ceca", "inner_outer", "od_equidyn", "ou_equidyn"}))
def test_two_nodes_of_any_family_talk_to_each_other(name):
    for graph in first_rounds(make(name, 2), 3):
        assert sorted(graph.edges.tolist()) == [[0, 1], [1, 0]]


@steadily
@given(members())
def test_no_weight_is_negative(schedule):
    assert all(graph.matrix.data.min() >= 0 for graph in first_rounds(schedule))


@steadily
@given(members())
def test_rows_and_columns_sum_to_one_where_claimed(schedule):
    doubly = CLAIMS[schedule.name].doubly_stochastic or schedule.n == 1
    for graph in first_rounds(schedule):
        np.testing.assert_allclose(graph.matrix.sum(axis=1), 1, rtol=0, atol=1e-12)
        if doubly:
            np.testing.assert_allclose(graph.matrix.sum(axis=0), 1, rtol=0, atol=1e-12)
    assert schedule.row_stochastic
    assert schedule.doubly_stochastic == schedule.column_stochastic == doubly


@steadily
@given(members())
def test_symmetric_where_claimed(schedule):
    claimed = CLAIMS[schedule.name].symmetric
    measured = all(isinstance(graph, Topology) and np.allclose(graph.W, graph.W.T) for graph in first_rounds(schedule, 32))
    assert schedule.symmetric == measured
    if claimed:
        assert measured
        assert not schedule.directed
    if claimed is False and schedule.n >= 5:
        assert not measured


@steadily
@given(members())
def test_degree_is_as_claimed(schedule):
    if schedule.n == 1:
        assert schedule.degree == 0
        return
    claimed = CLAIMS[schedule.name].degree(schedule.n)
    assert schedule.degree in (claimed if isinstance(claimed, range) else [claimed])
    assert schedule.degree == max(graph.out_degrees.max() for graph in first_rounds(schedule, 200 if schedule.period else 32))


@steadily
@given(members())
def test_repeats_as_claimed(schedule):
    claimed = "static" if schedule.n == 1 else CLAIMS[schedule.name].repeats
    assert isinstance(schedule, Topology) == (claimed == "static")
    assert schedule.static == (schedule.period == 1)
    assert (schedule.period is None) == (claimed == "endless")
    if schedule.period:
        assert [schedule[k + schedule.period] for k in range(3)] == [schedule[k] for k in range(3)]
        assert len(list(schedule)) == schedule.period
    else:
        assert len({schedule[k] for k in range(30)}) > 1 or schedule.n == 2


@steadily
@given(members())
def test_neighbours_are_the_places_of_the_weights(schedule):
    for graph in first_rounds(schedule, 5):
        # a round of CECA has no W: its pattern is all there is
        off = graph.pattern.toarray() if isinstance(graph, Exchange) else graph.W != 0
        off = off & ~np.eye(graph.n, dtype=bool)
        for i in range(graph.n):
            assert graph.in_neighbors(i).tolist() == np.flatnonzero(off[i]).tolist()
            assert graph.out_neighbors(i).tolist() == np.flatnonzero(off[:, i]).tolist()
        assert sorted(map(tuple, graph.edges.tolist())) == sorted(
            (j, i) for i, j in zip(*map(list, off.nonzero()), strict=True)
        )
        np.testing.assert_array_equal(graph.in_degrees, off.sum(axis=1))
        np.testing.assert_array_equal(graph.out_degrees, off.sum(axis=0))
        assert graph.messages == off.sum()
        assert graph.directed == (off != off.T).any()


@steadily
@given(members())
def test_all_rounds_together_connect_everybody(schedule):
    most = schedule.period or 40 * schedule.n
    union = nx.DiGraph()
    union.add_nodes_from(range(schedule.n))
    for k in range(most):
        union.add_edges_from(schedule[k].edges.tolist())
        if nx.is_strongly_connected(union):
            break
    assert nx.is_strongly_connected(union)
    assert schedule.jointly_connected
    for graph in first_rounds(schedule, 3):
        assert graph.connected == nx.is_strongly_connected(graph.to_networkx())


@pytest.mark.parametrize("seed", [0, 17])
def test_gossip_on_random_edges_connects_everybody_whatever_the_seed(seed):
    assert make("random_edge", 80, seed=seed).jointly_connected


@steadily
@given(members())
def test_a_member_is_made_again_from_its_name_and_parameters(schedule):
    again = quiet(make, schedule.name, **schedule.parameters)
    assert again == schedule
    assert again.label == schedule.label
    assert [again[k] for k in (0, 1, 37)] == [schedule[k] for k in (0, 1, 37)]


@steadily
@given(members())
def test_averaging_is_the_product_with_the_matrix_and_keeps_the_mean(schedule):
    x = np.random.default_rng(schedule.n).standard_normal((schedule.n, 3))
    for graph in first_rounds(schedule, 4):
        if isinstance(graph, Topology):
            np.testing.assert_allclose(graph @ x, graph.W @ x, rtol=0, atol=1e-13)
            np.testing.assert_allclose((graph @ x).mean(axis=0), x.mean(axis=0), rtol=0, atol=1e-13)


@pytest.mark.parametrize(("name", "n"), NOT_ALLOWED)
def test_a_size_that_cannot_be_is_refused_by_its_name(name, n):
    with pytest.raises(TopologyError, match=rf"{name}\(n={n}\b.*n must be"):
        families()[name](n)


@pytest.mark.parametrize("name", CLAIMS)
@pytest.mark.parametrize("n", [0, -3, 2.0, 2.5, "8", None, True, float("nan"), [8]])
def test_a_number_of_nodes_that_is_none_is_refused(name, n):
    with pytest.raises(TopologyError, match=r"^n=.*n must be .*at least 1"):
        families()[name](n)


def test_numpy_integers_are_whole_numbers():
    assert make("ring", np.int64(8)) == make("ring", 8)


@pytest.mark.parametrize(("name", "n"), WARNED)
def test_a_size_that_disappoints_is_warned_about_at_the_callers_line(name, n):
    for way in (families()[name], lambda n: make(name, n), lambda n: as_topology(name, n)):
        with pytest.warns(TopologyWarning, match=rf"{name}\(n={n}\)") as caught:
            way(n)
        assert len(caught) == 1
        assert caught[0].filename == __file__


def test_the_right_sizes_are_silent():
    for name, claim in CLAIMS.items():  # warnings are errors in these tests
        for n in (1, 2, 3, 4, 8, 16, 64):
            if claim.allowed(n) and not claim.warns(n):
                families()[name](n)


def test_a_wrong_name_is_answered_with_a_near_one():
    with pytest.raises(TopologyError, match=r"'rign'.*did you mean 'ring'"):
        make("rign", 8)
    with pytest.raises(TopologyError, match=r"'exponentail'.*'exponential'"):
        as_topology("exponentail", n=8)


def test_the_list_of_families_is_a_copy():
    families().clear()
    assert isinstance(make("ring", 3), Schedule)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("grid", {"rows": 5}, r"rows=5.*multiple of rows"),
        ("torus", {"rows": 0}, r"rows=0.*at least 1"),
        ("exponential", {"base": 1}, r"base=1\b.*at least 2"),
        ("exponential", {"base": 2.5}, r"base=2\.5.*whole number"),
        ("one_peer_exponential", {"base": 0}, r"base=0\b.*at least 2"),
        ("d_equistatic", {"m": 0}, r"m=0\b.*at least 1"),
        ("od_equidyn", {"eta": 0}, r"eta=0\b.*above 0"),
        ("ou_equidyn", {"eta": 1.5}, r"eta=1\.5.*at most 1"),
        ("od_equidyn", {"eta": "half"}, r"eta='half'.*number"),
        ("od_equidyn", {"offsets": [0]}, r"offsets=.*0.*at least 1"),
        ("od_equidyn", {"offsets": [2, 4]}, r"offsets=\[2, 4\].*common divisor"),
        ("od_equidyn", {"offsets": []}, r"offsets=\[\].*at least one|offsets=\[\].*empty"),
        ("od_equidyn", {"offsets": 3}, r"offsets=3"),
        ("ceca", {"ports": 3}, r"ports=3.*2.*1"),
        ("base_graph", {"k": 0}, r"k=0\b.*at least 1"),
        ("erdos_renyi", {"p": 1.5}, r"p=1\.5.*at most 1"),
        ("erdos_renyi", {"p": 1e-9}, r"p=1e-09.*connected.*larger p"),
        ("geometric", {"radius": -1}, r"radius=-1.*above 0"),
        ("geometric", {"radius": 1e-9}, r"radius=1e-09.*connected.*larger radius"),
        ("random_regular", {"degree": 8}, r"degree=8.*at most 7"),
        ("small_world", {"neighbors": 1}, r"neighbors=1\b.*at least 2"),
        ("small_world", {"p": -0.5}, r"p=-0\.5.*at least 0"),
        ("inner_outer", {"local": 2}, r"local=2\b.*at least 3"),
        ("inner_outer", {"kind": "star"}, r"kind='star'.*'ring'.*'exponential'"),
    ],
)
def test_an_option_that_cannot_be_is_refused_by_its_name(name, options, message):
    with pytest.raises(TopologyError, match=message):
        families()[name](8, **options)


@pytest.mark.parametrize("name", [name for name in CLAIMS if "seed" in make(name, 1).parameters])
@pytest.mark.parametrize("seed", [-1, 0.5, "zero", None])
def test_a_seed_is_a_whole_number_from_zero_on(name, seed):
    with pytest.raises(TopologyError, match=r"^seed=.*at least 0"):
        families()[name](8, seed=seed)


def test_random_regular_needs_an_even_number_of_ends():
    with pytest.raises(TopologyError, match=r"n=7, degree=3.*even"):
        families()["random_regular"](7, degree=3)


def test_one_port_ceca_needs_pairs():
    with pytest.raises(TopologyError, match=r"n=7, ports=1.*even n"):
        families()["ceca"](7, ports=1)


def test_the_complete_graph_is_refused_where_it_would_fill_the_memory():
    with pytest.raises(TopologyError, match=r"complete\(n=1000000\).*ceca"):
        families()["complete"](10**6)


def test_a_typing_error_is_told_what_was_meant():
    with pytest.raises(AttributeError, match=r"ifog.topology has no 'rign': did you mean 'ring'\?"):
        topology.rign(8)
    assert not hasattr(topology, "nothing_like_that")
