"""RelaySGD: delays, counts, the step that counts, and no harm from heterogeneity."""

import networkx as nx
import numpy as np
import pytest
import torch
from quadratics import LeastSquares, iterate

from ifog import topology as t


def tree(n, seed):
    """Some tree."""
    return t.metropolis(nx.random_labeled_tree(n, seed=seed))


TREES = [t.chain(12), t.star(12), t.binary_tree(12), tree(12, 0), tree(12, 1)]
ids = {"ids": ["chain", "star", "binary tree", "a tree", "another tree"]}


@pytest.mark.parametrize("topology", TREES, **ids)
@pytest.mark.parametrize("mode", ["counts", "world_size"])
@pytest.mark.parametrize("h", [1.0, 10.0])
def test_it_ends_at_the_optimum_on_any_tree_however_much_nodes_differ(topology, mode, h):
    problem = LeastSquares(12, 6, 30, h, 0.1, 0)
    x = iterate("relay_sgd", problem, topology, 800, lr=0.8 / problem.L, mode=mode)
    assert problem.error(x) < 1e-12 * max(1, h)


@pytest.mark.parametrize("mode", ["counts", "world_size"])
@pytest.mark.parametrize("n", [2, 3, 7, 12])
def test_two_trees_end_there_too(mode, n):
    problem = LeastSquares(n, 5, 30, 1.0, 0.1, 0)
    x = iterate("relay_double_sgd", problem, t.double_binary_tree(n), 800, lr=0.8 / problem.L, mode=mode)
    assert problem.error(x) < 1e-12


def test_momentum_is_kept_at_each_node():
    problem = LeastSquares(8, 5, 30, 1.0, 0.1, 0)
    for name, topology in (("relay_sgd", t.chain(8)), ("relay_double_sgd", t.double_binary_tree(8))):
        assert problem.error(iterate(name, problem, topology, 1000, lr=0.1 / problem.L, beta=0.8)) < 1e-12


def test_counts_reach_all_nodes_after_as_many_rounds_as_the_tree_is_wide():
    problem = LeastSquares(6, 2, 5, 1.0, 0.1, 0)
    seen = []

    def count(k, x, s):
        heard = torch.zeros(6, dtype=torch.float64)
        edges = t.chain(6).edges  # sorted by sender
        receivers = np.array(sorted(edges.tolist(), key=lambda edge: (edge[1], edge[0])))[:, 1]
        heard.index_add_(0, torch.from_numpy(receivers), s.c[:, 0])
        seen.append(1 + int(heard[0]))

    iterate("relay_sgd", problem, t.chain(6), 6, lr=0.01, each=count)
    assert seen == [2, 3, 4, 5, 6, 6]


def delays(topology):
    """max(hops − 1, 0) between all nodes."""
    hops = dict(nx.all_pairs_shortest_path_length(topology.to_networkx()))
    return np.array([[max(hops[i][j] - 1, 0) for j in range(topology.n)] for i in range(topology.n)])


@pytest.mark.parametrize("topology", TREES, **ids)
def test_a_model_arrives_one_round_earlier_than_it_has_hops(topology):
    n = topology.n
    first = np.full((n, n), -1)

    def moved(k, x, s):
        first[(first < 0) & (x.numpy() > 0)] = k
        return {"lr": 0.0}

    # in the first iteration node j moves in direction j, and in no other iteration anybody
    iterate("relay_sgd", LeastSquares.of(np.zeros((n, n, n)), np.eye(n)), topology, n, lr=1.0, each=moved)
    assert np.array_equal(first, delays(topology))


@pytest.mark.parametrize("topology", [t.chain(8), t.chain(20), t.binary_tree(8), t.star(8), tree(12, 0)], ids=lambda g: g.label)
@pytest.mark.parametrize("mode", ["counts", "world_size"])
def test_the_step_that_counts_is_divided_by_one_plus_the_mean_delay(topology, mode):
    n = topology.n
    problem = LeastSquares.of(np.zeros((n, 1, 1)), -np.ones((n, 1)))  # all gradients are one, everywhere
    ends = [float(iterate("relay_sgd", problem, topology, steps, lr=1.0, mode=mode).mean()) for steps in (1000, 1100)]
    speed = (ends[0] - ends[1]) / 100
    assert speed == pytest.approx(1 / (1 + delays(topology).mean()), rel=1e-5)


def test_the_mean_delay_of_a_chain_and_of_a_heap():
    assert delays(t.chain(8)).mean() == pytest.approx(7 * 6 / 24)
    assert delays(t.chain(32)).mean() == pytest.approx(31 * 30 / 96)
    assert delays(t.binary_tree(8)).mean() == pytest.approx(1.344, abs=5e-4)


def test_two_messages_an_edge_and_iteration():
    from ifog.network import Network

    problem = LeastSquares(8, 4, 10, 1.0, 0.1, 0)
    net = Network("chain", 8)
    iterate("relay_sgd", problem, net.topology, 10, net=net, lr=0.1)
    assert (net.messages, net.bytes) == (10 * 14, 10 * 14 * 8 * (4 + 1))
    double = Network("double_binary_tree", 8)
    iterate("relay_double_sgd", problem, double.topology, 10, net=double, lr=0.1)
    assert (double.messages, double.bytes) == (10 * 28, 10 * 28 * 8 * (2 + 1))
