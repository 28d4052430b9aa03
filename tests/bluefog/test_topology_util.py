"""Each graph is that of its definition, and each schedule says to both ends of an edge the same."""

import itertools

import networkx as nx
import numpy as np
import pytest

from ifog.bluefog import topology_util as t

SIZES = [1, 2, 3, 4, 5, 8, 9, 12, 16, 17]

pytestmark = pytest.mark.filterwarnings("ignore:grid.*is prime:ifog.errors.TopologyWarning")


def circulant(size, distances):
    """Row i has equal weights for those at the distances from i, to which it sends."""
    W = np.zeros((size, size))
    for i, d in itertools.product(range(size), distances):
        W[i, (i + d) % size] = 1
    return W / W.sum(axis=1, keepdims=True)


def powers(size, base):
    return [base**k for k in range(size) if base**k < size]


def mirrored(size, base):
    return [d for d in range(1, size) if min(d, size - d) in powers(size, base)]


def squarest(n):
    rows = max(a for a in range(1, n + 1) if a * a <= n and n % a == 0)
    return rows, n // rows


def mesh(rows, columns):
    n = rows * columns
    A = np.zeros((n, n))
    for a, b in itertools.product(range(n), repeat=2):
        A[a, b] = abs(a // columns - b // columns) + abs(a % columns - b % columns) == 1
    degree = A.sum(axis=1)
    W = A / (1 + np.maximum(degree[:, None], degree[None, :]))
    return W + np.diag(1 - W.sum(axis=1))


def star(size, center):
    W = np.eye(size) * (1 - 1 / size)
    W[center, :] = W[:, center] = 1 / size
    return W


DEFINITIONS = {
    "ExponentialTwoGraph": (t.ExponentialTwoGraph, lambda n: circulant(n, [0, *powers(n, 2)])),
    "ExponentialGraph": (t.ExponentialGraph, lambda n: circulant(n, [0, *powers(n, 2)])),
    "ExponentialGraph, base 3": (lambda n: t.ExponentialGraph(n, base=3), lambda n: circulant(n, [0, *powers(n, 3)])),
    "SymmetricExponentialGraph": (t.SymmetricExponentialGraph, lambda n: circulant(n, [0, *mirrored(n, 4)])),
    "SymmetricExponentialGraph, 2": (lambda n: t.SymmetricExponentialGraph(n, 2), lambda n: circulant(n, [0, *mirrored(n, 2)])),
    "StarGraph": (t.StarGraph, lambda n: star(n, 0)),
    "StarGraph, last": (lambda n: t.StarGraph(n, center_rank=n - 1), lambda n: star(n, n - 1)),
    "RingGraph": (t.RingGraph, lambda n: circulant(n, [0, 1, -1])),
    "RingGraph, left": (lambda n: t.RingGraph(n, connect_style=1), lambda n: circulant(n, [0, -1])),
    "RingGraph, right": (lambda n: t.RingGraph(n, connect_style=2), lambda n: circulant(n, [0, 1])),
    "FullyConnectedGraph": (t.FullyConnectedGraph, lambda n: circulant(n, range(n))),
    "MeshGrid2DGraph": (t.MeshGrid2DGraph, lambda n: mesh(*squarest(n))),
    "MeshGrid2DGraph, one row": (lambda n: t.MeshGrid2DGraph(n, (1, n)), lambda n: mesh(1, n)),
    "MeshGrid2DGraph, one column": (lambda n: t.MeshGrid2DGraph(n, shape=(n, 1)), lambda n: mesh(n, 1)),
}  # fmt: skip


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("make", "definition"), DEFINITIONS.values(), ids=DEFINITIONS)
def test_a_graph_is_that_of_its_definition(make, definition, size):
    graph = make(size)
    W = nx.to_numpy_array(graph)
    assert list(graph) == list(range(size))
    assert np.allclose(W, definition(size), rtol=0, atol=1e-15)
    assert np.allclose([W.sum(axis=0), W.sum(axis=1)], 1)
    for rank in graph:  # so neighbours come in ascending order
        assert list(graph.predecessors(rank)) == sorted(graph.predecessors(rank))
        assert list(graph.successors(rank)) == sorted(graph.successors(rank))


def test_large_powers_are_not_lost_to_rounding():
    assert [x for x in range(1, 1001) if t.isPowerOf(x, 3)] == [1, 3, 9, 27, 81, 243, 729]
    assert t.isPowerOf(10**15, 10)
    assert 243 in t.ExponentialGraph(244, base=3).successors(0)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: t.ExponentialGraph(0),
        lambda: t.ExponentialGraph(4, base=1),
        lambda: t.ExponentialGraph(4, base=2.0),
        lambda: t.RingGraph(4, connect_style=3),
        lambda: t.MeshGrid2DGraph(6, shape=(2, 2)),
        lambda: t.StarGraph(-1),
        lambda: t.isPowerOf(0, 2),
        lambda: t.isPowerOf(4, 1),
        lambda: t.GetExp2DynamicSendRecvMachineRanks(8, 4, 5, 2),
        lambda: t.GetExp2DynamicSendRecvMachineRanks(9, 4, 5, 1),
        lambda: t.GetExp2DynamicSendRecvMachineRanks(4, 4, 1, 1),
        lambda: next(t.GetInnerOuterRingDynamicSendRecvRanks(8, 2, 1)),
        lambda: next(t.GetInnerOuterExpo2DynamicSendRecvRanks(9, 4, 1)),
    ],
)
def test_wrong_arguments_are_assertion_errors(wrong):
    with pytest.raises(AssertionError, match=r"rank|="):
        wrong()


def test_weights_of_a_column_and_of_a_row():
    graph = nx.from_numpy_array(np.array([[0.5, 0.2, 0], [0, 0, 1], [0.1, 0.3, 0.6]]), create_using=nx.DiGraph)
    assert t.GetRecvWeights(graph, 1) == (0.0, {0: 0.2, 2: 0.3})
    assert t.GetSendWeights(graph, 2) == (0.6, {0: 0.1, 1: 0.3})
    plain = nx.DiGraph([(0, 1)])
    assert t.GetRecvWeights(plain, 1) == (0.0, {0: 1.0})


def test_equivalent_means_the_same_edges_and_weights_rank_for_rank():
    ring = t.RingGraph(5)
    assert t.IsTopologyEquivalent(ring, t.RingGraph(5))
    assert t.IsTopologyEquivalent(ring, nx.relabel_nodes(ring, {i: (i + 1) % 5 for i in ring}))
    assert not t.IsTopologyEquivalent(ring, t.RingGraph(6))
    assert not t.IsTopologyEquivalent(t.RingGraph(5, 1), t.RingGraph(5, 2))
    assert not t.IsTopologyEquivalent(ring, None)
    assert not t.IsTopologyEquivalent(None, None)
    heavier = ring.copy()
    heavier.edges[0, 1]["weight"] = 0.5
    assert not t.IsTopologyEquivalent(ring, heavier)


def test_regular_graphs():
    assert t.IsRegularGraph(t.RingGraph(6))
    assert t.IsRegularGraph(t.ExponentialGraph(7))
    assert not t.IsRegularGraph(t.StarGraph(6))
    assert not t.IsRegularGraph(t.MeshGrid2DGraph(6))


def rounds(generator, count):
    return list(itertools.islice(generator, count))


def both_ends_agree(said):
    """Whether in each round i sends to j exactly if j receives from i. ``said[rank]`` has the rounds of a rank."""
    for of_all in zip(*said, strict=True):
        sent = {(i, j) for i, (send, _) in enumerate(of_all) for j in send}
        received = {(i, j) for j, (_, recv) in enumerate(of_all) for i in recv}
        assert sent == received


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("make", [t.ExponentialGraph, t.RingGraph, t.StarGraph, t.MeshGrid2DGraph, t.FullyConnectedGraph])
def test_one_peer_at_a_time_clockwise(make, size):
    graph = make(size)
    bare = nx.DiGraph(graph)
    bare.remove_edges_from([(i, i) for i in graph])
    said = [rounds(t.GetDynamicOnePeerSendRecvRanks(graph, i), 2 * size) for i in graph]
    both_ends_agree(said)
    for i in graph:
        clockwise = sorted((j for j in graph.successors(i) if j != i), key=lambda j: (j - i) % size)
        turns = itertools.islice(itertools.cycle(clockwise), 2 * size) if clockwise else []
        assert [send for send, _ in said[i]] == ([[j] for j in turns] or [[]] * 2 * size)
        assert rounds(t.GetDynamicOnePeerSendRecvRanks(bare, i), 2 * size) == said[i]  # BlueFog needs the loops


@pytest.mark.parametrize(("world", "local"), [(4, 2), (6, 2), (12, 3), (16, 2), (10, 1)])
def test_machines_at_distances_one_two_four(world, local):
    machines = world // local
    said = [rounds(t.GetExp2DynamicSendRecvMachineRanks(world, local, m * local, 0), 9) for m in range(machines)]
    both_ends_agree(said)
    distances = [d for d in (1, 2, 4, 8) if d < machines]
    assert [send for send, _ in said[0]] == [[d] for d in itertools.islice(itertools.cycle(distances), 9)]


@pytest.mark.parametrize("make", [t.GetInnerOuterRingDynamicSendRecvRanks, t.GetInnerOuterExpo2DynamicSendRecvRanks])
@pytest.mark.parametrize(("world", "local"), [(8, 4), (16, 8), (12, 4), (9, 3), (6, 3), (4, 4), (3, 3)])
def test_one_rank_of_a_machine_talks_outside_and_the_others_inside(make, world, local):
    said = [rounds(make(world, local, i), 24) for i in range(world)]
    both_ends_agree(said)
    for i, k in itertools.product(range(world), range(24)):
        send, recv = said[i][k]
        if k % local == i % local:
            assert [j % local for j in send + recv] == [i % local] * (2 if world > local else 0)
            assert all(j // local != i // local for j in send)
        else:
            assert [j // local for j in send + recv] == [i // local] * 2
            assert k % local not in [j % local for j in send + recv]


def test_the_inner_ring_and_the_outer_one():
    said = rounds(t.GetInnerOuterRingDynamicSendRecvRanks(12, 4, 5), 5)  # machine 1, local rank 1
    assert said == [([6], [7]), ([9], [1]), ([7], [4]), ([6], [4]), ([6], [7])]
