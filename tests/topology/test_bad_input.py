"""What cannot be is refused by a TopologyError that names the argument, what came and what would be right."""

import networkx as nx
import numpy as np
import pytest
import scipy.sparse as sp

from ifog import topology as t
from ifog.errors import IfogError, TopologyError
from ifog.topology import cost

nan, inf = float("nan"), float("inf")


def weighted(*edges):
    graph = nx.Graph()
    graph.add_weighted_edges_from(edges)
    return graph


def test_a_topology_error_is_an_ifog_error_and_a_value_error():
    assert issubclass(TopologyError, IfogError)
    assert issubclass(TopologyError, ValueError)


MATRICES = {
    "not square": ([[0.5, 0.5, 0], [0.5, 0.5, 0]], r"W has shape \(2, 3\).*square"),
    "a vector": ([1.0, 0.0], r"W has shape \(2,\).*square"),
    "a stack": (np.zeros((2, 2, 2)), r"W has shape \(2, 2, 2\).*square"),
    "a number": (1.0, r"W has shape \(\).*square"),
    "nothing": (None, r"W "),
    "empty": (np.zeros((0, 0)), r"W is empty.*at least one node"),
    "ragged": ([[1, 0], [1]], r"W=\[\[1, 0\], \[1\]\].*rows have different lengths"),
    "nan": ([[nan, 1], [0.5, 0.5]], r"W\[0, 0\] is nan.*finite"),
    "inf": ([[0.5, 0.5], [inf, 0.5]], r"W\[1, 0\] is inf.*finite"),
    "neither stochastic": ([[0.5, 0.4], [0.5, 0.5]], r"neither row- nor column-stochastic.*row 0 sums to 0\.9"),
    "an adjacency matrix": ([[0, 1, 1], [1, 0, 1], [1, 1, 0]], r"neither row- nor column-stochastic.*metropolis"),
    "negative": ([[1.5, -0.5], [-0.5, 1.5]], r"W\[0, 1\] = -0\.5 is negative.*signed=True"),
    "complex": (np.eye(2) * 1j, r"W holds complex128.*real"),
    "text": ([["a", "b"], ["c", "d"]], r"W holds .*real"),
    "disconnected": (np.eye(3), r"3 pieces.*connected=False"),
    "one way only": ([[1, 0], [0.5, 0.5]], r"2 pieces.*connected=False"),
    "sparse nan": (sp.coo_array([[nan, 1], [0.5, 0.5]]), r"W\[0, 0\] is nan.*finite"),
    "sparse not square": (sp.coo_array(np.ones((2, 3))), r"W has shape \(2, 3\).*square"),
}


@pytest.mark.parametrize("case", MATRICES)
@pytest.mark.parametrize("make", [t.Topology, t.as_topology])
def test_a_matrix_that_mixes_nothing_is_refused(case, make):
    W, message = MATRICES[case]
    if make is t.as_topology and case in ("a number", "nothing"):
        message = "topology=.*matrix W"
    with pytest.raises(TopologyError, match=message):
        make(W)


def test_what_was_refused_is_taken_when_it_is_meant():
    assert t.Topology([[1.5, -0.5], [-0.5, 1.5]], signed=True).rho == pytest.approx(2)
    assert t.Topology(np.eye(3), connected=False).rho == pytest.approx(1)
    assert not t.Topology([[1, 0], [0.5, 0.5]], connected=False).connected


def test_a_rounding_error_is_no_negative_weight():
    assert t.Topology([[-3e-17, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5]]).messages == 4


@pytest.mark.parametrize("n", [0, -1, 2.5, "8", None, nan, True])
@pytest.mark.parametrize(
    "call",
    [
        lambda n: t.make("ring", n),
        lambda n: t.circulant(n, {0: 0.5, 1: 0.5}),
        lambda n: t.from_pairs(n, [(0, 1)], 0.5),
        lambda n: t.schedule(lambda _: t.ring(4), n=n),
        lambda n: cost.ring_allreduce(n, 1e6),
        lambda n: cost.parameter_server(n, 1e6),
        lambda n: cost.halving_doubling(n, 1e6),
        lambda n: cost.recursive_doubling(n, 1e6),
    ],
    ids=["make", "circulant", "from_pairs", "schedule", "ring_allreduce", "parameter_server", "halving", "doubling"],
)
def test_a_number_of_nodes_is_whole_and_positive_wherever_it_is_asked_for(call, n):
    with pytest.raises(TopologyError, match=r"\bn\b"):
        call(n)


@pytest.mark.parametrize("n", [0, -1, 2.5, "8"])
def test_compare_and_as_topology_want_a_whole_number_too(n):
    with pytest.raises(TopologyError, match=r"\bn="):
        t.compare(size=1e6, n=n)
    with pytest.raises(TopologyError, match=r"\bn="):
        t.as_topology("ring", n=n)


GRAPHS = {
    "a missing edge": (
        lambda: t.from_networkx(nx.path_graph(3), weights={(0, 2): 0.5}),
        r"weights\[0, 2\] = 0\.5: the graph has no edge from 2 to 0",
    ),
    "a missing arrow": (
        lambda: t.from_networkx(nx.DiGraph([("a", "b"), ("b", "c"), ("c", "a")]), weights={("a", "b"): 0.5}),
        r"weights\['a', 'b'\] = 0\.5: the graph has no edge from 'b' to 'a'",
    ),
    "a missing node": (lambda: t.from_networkx(nx.path_graph(3), weights={(0, 7): 0.5}), r"weights.*node 7"),
    "a missing weight": (
        lambda: t.from_networkx(nx.path_graph(3), weights="given"),
        r"weights='given'.*edge \(0, 1\).*no 'weight'",
    ),
    "an unknown rule": (lambda: t.from_networkx(nx.path_graph(3), weights="metro"), r"weights='metro'.*'metropolis'"),
    "a nan weight": (lambda: t.from_networkx(weighted((0, 1, nan)), weights="given"), r"nan.*finite"),
    "a text weight": (lambda: t.from_networkx(weighted((0, 1, "heavy")), weights="given"), r"weight.*heavy"),
    "a negative weight": (
        lambda: t.from_networkx(weighted((0, 1, -0.5)), weights="given"),
        r"W\[0, 1\].*negative.*signed=True",
    ),
    "a disconnected graph": (lambda: t.from_networkx(nx.Graph([(0, 1), (2, 3)])), r"2 pieces.*connected=False"),
    "an empty graph": (lambda: t.from_networkx(nx.Graph()), r"empty.*at least one node"),
    "a multigraph": (lambda: t.from_networkx(nx.MultiGraph([(0, 1), (0, 1)])), r"multigraph.*nx\.Graph"),
    "a number for a graph": (lambda: t.metropolis(5), r"graph=5.*networkx graph.*adjacency matrix"),
    "a name for a graph": (lambda: t.metropolis("ring"), r"graph='ring'.*networkx graph.*adjacency matrix"),
    "a ragged adjacency matrix": (lambda: t.metropolis([[0, 1], [1]]), r"graph=.*rows have different lengths"),
    "a nan in it": (lambda: t.metropolis([[0, nan], [1, 0]]), r"graph.*not finite"),
    "a name without a size": (lambda: t.as_topology("ring"), r"topology='ring'.*n="),
    "another size": (lambda: t.as_topology(t.ring(8), n=4), r"ring\(8\) has 8 nodes.*4.*n=4"),
    "no topology at all": (lambda: t.as_topology(3.5), r"topology=3\.5.*Topology.*networkx.*matrix"),
    "no alpha": (lambda: t.laplacian(nx.path_graph(3), alpha=-1), r"alpha=-1.*positive"),
    "a text alpha": (lambda: t.laplacian(nx.path_graph(3), alpha="best"), r"alpha='best'.*positive"),
    "too lazy": (lambda: t.lazy(t.ring(4), 1.0), r"amount=1\.0.*at least 0 and below 1"),
    "lazy by a word": (lambda: t.lazy(t.ring(4), "half"), r"amount='half'.*at least 0 and below 1"),
    "lazy without weights": (lambda: t.lazy(nx.path_graph(3)), r"Topology.*metropolis"),
    "no local nodes": (lambda: t.hierarchical(t.ring(4), 0), r"local=0.*at least 1"),
    "no machines": (lambda: t.hierarchical("ring", 2), r"machines='ring'.*Topology"),
    "no offsets": (lambda: t.circulant(4, {}), r"weights.*empty|weights=\{\}"),
    "a pair beyond the nodes": (lambda: t.from_pairs(3, [(0, 5)], 0.5), r"pairs.*5.*0 to 2"),
    "a pair before the nodes": (lambda: t.from_pairs(3, [(0, -1)], 0.5), r"pairs.*-1.*0 to 2"),
    "a triple for a pair": (lambda: t.from_pairs(3, [(0, 1, 2)], 0.5), r"pairs.*two|pairs.*\(i, j\)"),
    "too many weights": (lambda: t.from_pairs(3, [(0, 1)], [0.5, 0.2]), r"weights.*2.*1 pair|weights.*one for each"),
    "a node beyond": (lambda: t.ring(4).in_neighbors(4), r"node 4 of ring\(4\).*0 to 3"),
}


@pytest.mark.parametrize("case", GRAPHS)
def test_a_graph_that_cannot_be_is_refused(case):
    call, message = GRAPHS[case]
    with pytest.raises(TopologyError, match=message):
        call()


SCHEDULES = {
    "no rounds": (lambda: t.schedule([]), r"rounds.*at least one"),
    "no list": (lambda: t.schedule(5), r"rounds=5"),
    "a name": (lambda: t.schedule("ring"), r"rounds='ring'"),
    "different sizes": (lambda: t.schedule([t.ring(4), t.ring(5)]), r"rounds.*4.*5"),
    "another size": (lambda: t.schedule([t.ring(4)], n=8), r"4.*n=8|n=8.*4"),
    "another size from a function": (lambda: t.schedule(lambda _: t.ring(4), n=8)[0], r"4.*n=8|n=8.*4"),
    "a function without a size": (lambda: t.schedule(lambda _: t.ring(4)), r"n="),
    "a schedule as a round": (lambda: t.schedule([t.one_peer_exponential(8)]), r"one_peer_exponential\(8\) is a schedule"),
    "never connected": (
        lambda: t.schedule([nx.Graph([(0, 1)]), nx.Graph([(2, 3)])], n=4),
        r"all rounds together.*connected=False",
    ),
    "a bad matrix": (lambda: t.schedule([[[0.5, 0.4], [0.5, 0.5]]]), r"neither row- nor column-stochastic"),
}


@pytest.mark.parametrize("case", SCHEDULES)
def test_a_schedule_that_cannot_be_is_refused(case):
    call, message = SCHEDULES[case]
    with pytest.raises(TopologyError, match=message):
        call()


@pytest.mark.parametrize("x", [np.ones(3), np.ones((5, 2)), np.float64(1)])
def test_averaging_the_wrong_number_of_values_is_refused(x):
    with pytest.raises(ValueError, match=r"4|dimension|[Ss]calar"):
        t.ring(4) @ x


def test_rounds_must_agree_on_the_names_of_nodes():
    with pytest.raises(TopologyError, match=r"nodes \['b', 'a', 'c', 'd'\].*0 to 3.*relabel_nodes"):
        t.schedule([nx.Graph([("b", "a"), ("c", "d")]), nx.Graph([("a", "c"), ("b", "d")])])


def test_a_round_keeps_the_weights_of_its_networkx_graph():
    lazy = t.lazy(t.star(4))
    assert t.schedule([lazy.to_networkx(), t.ring(4)])[0] == lazy
    assert t.schedule(["ring", "star"], n=4)[1] == t.star(4)


def test_weights_that_mean_something_else_are_told_apart():
    with pytest.raises(TopologyError, match=r"do not make a mixing matrix.*from_networkx\(graph, weights=\"metropolis\"\)"):
        t.as_topology(nx.karate_club_graph())


def test_a_function_that_is_not_a_function_of_the_round_is_found_out():
    rng = np.random.default_rng(0)
    with pytest.raises(TopologyError, match=r"two different graphs for round 0.*default_rng\(\[seed, k\]\)"):
        t.schedule(lambda k: t.random_matching(6, seed=int(rng.integers(99)))[k], n=6)


def test_one_and_two_buffers_do_not_mix():
    with pytest.raises(TopologyError, match="rounds mixes"):
        t.schedule([t.ceca(6)[0], t.ring(6)])


@pytest.mark.parametrize("what", ["W", "rho", "gap", "eigenvalues"])
def test_a_schedule_asked_for_what_a_round_has_says_so(what):
    with pytest.raises(AttributeError, match=rf"one_peer_exponential\(8\).*schedule\[k\]\.{what}"):
        getattr(t.one_peer_exponential(8), what)
    with pytest.raises(TopologyError, match=r"schedule\[k\] @ x"):
        t.one_peer_exponential(8) @ np.ones(8)


@pytest.mark.parametrize("W", [t.ring(4), "ring", nx.cycle_graph(4)], ids=["Topology", "name", "networkx"])
def test_what_is_no_matrix_is_sent_to_as_topology(W):
    with pytest.raises(TopologyError, match=r"must be a matrix; as_topology"):
        t.Topology(W)


def test_options_without_measure_are_refused_or_harmless():
    assert t.base_graph(8, k=10**9).rounds_to_exact == 1
    assert t.one_peer_exponential(2, base=10**9)[0].W.tolist() == [[0.5, 0.5], [0.5, 0.5]]
    with pytest.raises(TopologyError, match=r"n=1000000000000: n must be at least 1 and at most 10000000"):
        t.ring(10**12)
    with pytest.raises(TopologyError, match="tolerance"):
        t.fdla(t.grid(16), tolerance=0)


MISMATCHES = {
    "too short": (lambda: t.ring(8) @ np.arange(7.0), r"ring\(8\) @ x: x has shape \(7,\).*one row for each of the 8 nodes"),
    "a cube": (lambda: t.ring(8) @ np.ones((8, 2, 2)), r"shape \(8, 2, 2\)"),
    "a word": (lambda: t.ring(8) @ "abc", r"x has shape \(\)"),
    "another topology": (lambda: t.ring(8) @ t.star(8), r"A\.W @ B\.W"),
    "from the left": (lambda: np.ones(8) @ t.ring(8), r"topology @ x"),
    "a graph without weights": (lambda: t.Graph(t.ring(4).pattern, name="bare", connected=True) @ np.ones(4), "metropolis"),
}


@pytest.mark.parametrize(("mix", "says"), MISMATCHES.values(), ids=MISMATCHES)
def test_what_cannot_be_mixed_is_refused(mix, says):
    with pytest.raises(TopologyError, match=says):
        mix()


@pytest.mark.parametrize(
    ("pairs", "says"), [([(0, 1), (1, 0)], r"\(0, 1\) twice"), ([(0, 1), (2, 2)], r"\(2, 2\).*own weight")]
)
def test_an_edge_is_given_once_and_joins_two_nodes(pairs, says):
    with pytest.raises(TopologyError, match=says):
        t.from_pairs(3, pairs, 0.25)


def test_fdla_says_when_it_would_take_too_long():
    with pytest.raises(TopologyError, match=r"3,000 nodes and 3,000 edges.*limit.*best_constant"):
        t.fdla(t.ring(3000))


def test_a_misspelt_property_is_answered_with_the_right_one():
    with pytest.raises(AttributeError, match=r"ring\(8\) has no 'roh': did you mean 'rho'"):
        t.ring(8).roh  # noqa: B018
    with pytest.raises(AttributeError, match=r"has no 'in_neighbours': did you mean 'in_neighbors'"):
        t.ring(8).in_neighbours  # noqa: B018
