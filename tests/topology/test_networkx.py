"""The same graphs as networkx where it has them, and there and back again."""

import networkx as nx
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from topology_claims import connected_graphs, label, members, sides, steadily, undirected_edges

from ifog import topology as t
from ifog.errors import TopologyError


def relabelled(graph, number):
    return {frozenset((number(a), number(b))) for a, b in graph.edges}


@pytest.mark.parametrize("n", [3, 4, 9, 16])
@pytest.mark.parametrize(
    ("family", "generator"),
    [
        (t.ring, nx.cycle_graph),
        (t.chain, nx.path_graph),
        (t.star, lambda n: nx.star_graph(n - 1)),
        (t.complete, nx.complete_graph),
    ],
)
def test_the_classics_are_networkxs(family, generator, n):
    assert undirected_edges(family(n)) == relabelled(generator(n), int)


@pytest.mark.parametrize("n", [2, 6, 12, 16, 30, 49])
@pytest.mark.parametrize("periodic", [False, True])
def test_grid_and_torus_are_networkxs_grid(n, periodic):
    rows, columns = sides(n)
    expected = relabelled(nx.grid_2d_graph(rows, columns, periodic=periodic), lambda node: node[0] * columns + node[1])
    assert undirected_edges((t.torus if periodic else t.grid)(n)) == expected


@pytest.mark.parametrize("d", [1, 2, 3, 5])
def test_hypercube_is_networkxs(d):
    cube = nx.hypercube_graph(d)
    number = int if d == 1 else lambda node: sum(bit << k for k, bit in enumerate(node))
    assert undirected_edges(t.hypercube(2**d)) == relabelled(cube, number)


@pytest.mark.parametrize("height", [1, 2, 4])
def test_binary_tree_is_networkxs_balanced_tree(height):
    tree = nx.balanced_tree(2, height)
    assert undirected_edges(t.binary_tree(len(tree))) == relabelled(tree, int)


@pytest.mark.parametrize("n", [5, 8, 13, 32, 40])
def test_symmetric_exponential_is_networkxs_circulant_graph(n):
    distances = [o for o in (1, 4, 16) if o <= n // 2]
    assert undirected_edges(t.symmetric_exponential(n)) == relabelled(nx.circulant_graph(n, distances), int)


@steadily
@given(members(largest=30))
def test_there_and_back_again(schedule):
    graph = schedule[0]
    if isinstance(graph, t.Topology):
        assert t.from_networkx(graph.to_networkx(), weights="given", connected=False) == graph
    assert sorted(map(list, nx.DiGraph(graph.to_networkx()).edges)) == sorted(
        [*graph.edges.tolist(), *([i, i] for i in range(graph.n) if isinstance(graph, t.Topology) and graph.W[i, i])]
    )


@pytest.mark.parametrize(
    "topology",
    [
        t.push(nx.DiGraph([(0, 1), (1, 2), (2, 0), (0, 2)])),
        t.Topology([[0, 0.5, 1], [0.5, 0, 0], [0.5, 0.5, 0]]),  # columns sum to one, and nobody keeps anything
        t.Topology([[0, 0.5, 0.5], [1, 0, 0], [0, 1, 0]]),
        t.best_constant(t.star(6)),
    ],
    ids=label,
)
def test_any_weights_come_back_from_networkx(topology):
    signed = bool((topology.W < 0).any())
    again = t.from_networkx(topology.to_networkx(), weights="given", signed=signed)
    np.testing.assert_array_equal(again.W, topology.W)


def test_an_arrow_points_from_sender_to_receiver():
    graph = nx.DiGraph([(0, 1), (1, 2), (2, 0)])
    graph.add_edge(0, 2)
    topology = t.from_networkx(graph, weights="uniform")
    assert topology.out_neighbors(0).tolist() == [1, 2]
    assert topology.in_neighbors(2).tolist() == [0, 1]
    np.testing.assert_allclose(topology.W[2], [1 / 3, 1 / 3, 1 / 3])
    np.testing.assert_allclose(t.from_networkx(graph, weights="push").W[:, 0], [1 / 3, 1 / 3, 1 / 3])


def test_given_weights_sit_in_the_row_of_the_receiver():
    graph = nx.DiGraph()
    graph.add_weighted_edges_from([(0, 1, 0.3), (1, 2, 0.6), (2, 0, 1.0)])
    np.testing.assert_allclose(t.from_networkx(graph, weights="given").W, [[0, 0, 1], [0.3, 0.7, 0], [0, 0.6, 0.4]])


def test_weights_from_a_dict_sit_where_the_dict_says():
    graph = nx.DiGraph([("a", "b"), ("b", "a")])
    topology = t.from_networkx(graph, weights={("b", "a"): 0.25, ("a", "b"): 1.0})
    np.testing.assert_allclose(topology.W, [[0, 1], [0.25, 0.75]])


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 1, 0, 2], [2, 3, 1, 0]])
def test_nodes_keep_their_numbers_whatever_their_order(order):
    graph = nx.Graph()
    graph.add_nodes_from(order)
    graph.add_edges_from([(0, 1), (1, 2), (2, 3)])
    assert t.from_networkx(graph) == t.chain(4)
    assert t.metropolis(graph) == t.chain(4)


def test_nodes_without_numbers_are_numbered_in_their_order():
    graph = nx.Graph([("hub", "a"), ("hub", "b"), ("hub", "c")])
    assert t.from_networkx(graph) == t.star(4)
    assert t.from_networkx(nx.Graph([(10, 20), (20, 30)])) == t.chain(3)
    assert t.from_networkx(nx.grid_2d_graph(3, 4)) == t.grid(12)


@steadily
@given(connected_graphs())
def test_networkx_scipy_and_numpy_say_the_same(graph):
    A = nx.to_numpy_array(graph, nodelist=range(len(graph)))
    expected = t.metropolis(A)
    assert t.metropolis(graph) == t.metropolis(sp.coo_array(A)) == t.from_networkx(graph) == t.as_topology(graph) == expected
    assert t.as_topology(expected.W) == t.as_topology(expected.matrix) == t.as_topology(expected.W.tolist()) == expected


def test_as_topology_takes_given_weights_when_every_edge_has_one():
    graph = nx.Graph([(0, 1, {"weight": 0.25}), (1, 2, {"weight": 0.5})])
    np.testing.assert_allclose(t.as_topology(graph).W, [[0.75, 0.25, 0], [0.25, 0.25, 0.5], [0, 0.5, 0.5]])
    assert t.as_topology(nx.DiGraph([(0, 1), (1, 0)])).column_stochastic


def test_as_topology_hands_through_what_is_one():
    schedule = t.one_peer_exponential(8)
    assert t.as_topology(schedule) is schedule
    assert t.as_topology("ring", 8) == t.ring(8)
    assert t.as_topology(schedule, 8) is schedule


def test_a_networkx_name_becomes_the_topologys():
    assert "petersen" in t.metropolis(nx.petersen_graph()).label.lower()


# ---- schedules of your own ---------------------------------------------------------------------------------------------


def test_a_list_repeats_and_a_function_never_ends():
    listed = t.schedule([t.ring(6), t.star(6), nx.path_graph(6), t.complete(6).W])
    assert [listed[k] for k in range(8)] == 2 * [t.ring(6), t.star(6), t.chain(6), t.complete(6)]
    assert listed.period == 4
    asked = t.schedule(lambda k: [t.ring(6), t.star(6)][k % 2], n=6)
    assert asked.period is None
    assert [asked[k] for k in (0, 7)] == [t.ring(6), t.star(6)]


def test_nodes_that_idle_in_a_round_keep_their_values():
    schedule = t.schedule([nx.Graph([(0, 1)]), nx.Graph([(1, 2)])], n=3)
    np.testing.assert_allclose(schedule[0].W, [[0.5, 0.5, 0], [0.5, 0.5, 0], [0, 0, 1]])


def test_rounds_that_never_connect_are_refused():
    rounds = [nx.Graph([(0, 1), (2, 3)]), nx.Graph([(1, 0)])]
    with pytest.raises(TopologyError, match=r"all rounds together.*connected=False"):
        t.schedule(rounds, n=4)
    assert not t.schedule(rounds, n=4, connected=False).jointly_connected


def test_slices_start_later_or_repeat_a_beginning():
    schedule = t.one_peer_exponential(8)
    assert [schedule[2:][k] for k in range(4)] == [schedule[k] for k in (2, 0, 1, 2)]
    assert [schedule[:2][k] for k in range(4)] == [schedule[k] for k in (0, 1, 0, 1)]
    assert [schedule[1:5][k] for k in range(5)] == [schedule[k] for k in (1, 2, 0, 1, 1)]
    endless = t.random_matching(8)
    assert endless[5:].period is None
    assert endless[5:][3] == endless[8]
    assert endless[5:7].period == 2
    assert list(endless[5:7]) == [endless[5], endless[6]]


def test_an_endless_schedule_is_not_iterated_to_its_end():
    with pytest.raises(TypeError, match=r"never ends.*schedule\[:10\]"):
        list(t.random_matching(8))


@pytest.mark.parametrize("k", [1.5, "a", None, (0, 1)])
def test_a_schedule_is_indexed_by_whole_rounds(k):
    with pytest.raises(TypeError, match=r"ring\(8\).*round"):
        t.ring(8)[k]


@pytest.mark.parametrize("k", [-1, slice(-2, None), slice(3, 1), slice(0, 4, 2), slice(2, 2)])
def test_rounds_are_counted_from_zero_forwards(k):
    with pytest.raises(IndexError, match="ring"):
        t.ring(8)[k]
