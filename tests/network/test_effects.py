"""What goes wrong on the way, and what is counted."""

import numpy as np
import pytest
import torch

from ifog import topology as t
from ifog.errors import ArgumentError
from ifog.network import Network, cut, lose, noise


def values(n, d=3, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((n, d)))


def weights(net, graph):
    """The W that a round mixes with."""
    return net.mix(torch.eye(graph.n, dtype=torch.float64))


# ---- lost ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("graph", [t.ring(12), t.grid(12), t.exponential(12)], ids=lambda g: g.label)
def test_who_averages_takes_his_own_value_for_what_was_lost(graph):
    net = Network(graph, effects=[lose(0.3)])
    lost = 0
    for _ in range(20):
        W = weights(net, graph)
        torch.testing.assert_close(W.sum(1), torch.ones(12, dtype=torch.float64))
        off = ~torch.eye(12, dtype=torch.bool)
        full = torch.from_numpy(graph.W)
        assert ((W == 0) | (full == W))[off].all()
        lost += int(((W == 0) & (full > 0))[off].sum())
        net.advance()
    assert lost / (20 * graph.messages) == pytest.approx(0.3, abs=0.05)
    assert net.messages == 20 * graph.messages  # sent they were


def test_who_sums_misses_it():
    graph = t.push(t.star(12))
    net = Network(graph, effects=[lose(0.3)])
    W, full = weights(net, graph), torch.from_numpy(graph.W)
    assert ((W == 0) | (full == W)).all()
    assert (torch.diag(W) == torch.diag(full)).all()
    assert float(W.sum()) < 12


def test_a_link_that_is_down_is_down_both_ways():
    net = Network("grid", 12, effects=[cut(0.4)])
    seen = set()
    for _ in range(10):
        W = weights(net, net.graph)
        assert torch.equal(W, W.T)
        torch.testing.assert_close(W.sum(0), torch.ones(12, dtype=torch.float64))
        seen.add(int((W == 0).sum()))
        net.advance()
    assert len(seen) > 1


def test_losing_single_messages_moves_the_mean_and_losing_links_does_not():
    x = values(16)
    away = {}
    for effect in (lose(0.2), cut(0.2)):
        net, y = Network("ring", 16, effects=[effect]), x
        for _ in range(1500):
            y = net.mix(y)
            net.advance()
        assert float((y - y.mean(0)).abs().max()) < 1e-10  # both agree
        away[type(effect).__name__] = float((y.mean(0) - x.mean(0)).abs().max())
    assert away["cut"] < 1e-13
    assert away["lose"] > 1e-2


def test_push_sum_loses_its_mass_with_its_messages():
    net, x = Network(t.push(t.star(8)), effects=[lose(0.1)]), values(8)
    w = torch.ones(8, 1, dtype=torch.float64)
    u = x
    for _ in range(60):
        u, w = net.mix(u, w)
        net.advance()
    assert float(w.sum()) < 4
    z = u / w
    assert float((z - z.mean(0)).abs().max()) < 1e-10
    assert float((z[0] - x.mean(0)).abs().max()) > 1e-2


def test_on_edges_zeros_come_in_place_of_what_was_lost():
    net = Network("ring", 8, effects=[lose(0.4)])
    ones = torch.ones(16, 2, dtype=torch.float64)
    a, b = net.edges.exchange(ones, 3 * ones[:, :1])
    assert set(a[:, 0].tolist()) == {0.0, 1.0}
    assert torch.equal(b[:, 0], 3 * a[:, 0])  # of one message nothing comes without the rest
    net.advance()
    assert not torch.equal(net.edges.exchange(ones), a)


def test_two_buffers_lose_too():
    net, clean = Network("ceca", 8, effects=[lose(0.5)]), Network("ceca", 8)
    a, b = values(8), values(8, seed=1)
    same = (net.mix_pair(a, b)[0] == clean.mix_pair(a, b)[0]).all(1)
    assert 0 < int(same.sum()) < 8


# ---- noise -----------------------------------------------------------------------------------------------------------


def test_noise_is_that_of_all_messages_heard():
    x = torch.zeros(12, 4000, dtype=torch.float64)
    for graph in (t.ring(12), t.star(12)):
        W = graph.W - np.diag(np.diag(graph.W))
        got = Network(graph, effects=[noise(0.03), noise(0.04)]).mix(x).std(1)
        np.testing.assert_allclose(got, 0.05 * np.sqrt((W**2).sum(1)), rtol=0.1)


def test_noise_on_edges_is_each_edges_own():
    net = Network("ring", 8, effects=[noise(0.1)])
    zeros = torch.zeros(16, 1000, dtype=torch.float64)
    a, b = net.edges.exchange(zeros), net.edges.exchange(zeros)
    assert float(a.std()) == pytest.approx(0.1, rel=0.05)
    assert abs(float(torch.corrcoef(torch.cat([a, b])).fill_diagonal_(0).abs().max())) < 0.2


# ---- all together ----------------------------------------------------------------------------------------------------


def test_the_same_seed_loses_the_same():
    def run(seed):
        net, x = Network("ring", 8, seed=seed, effects=[lose(0.2), noise(0.01), cut(0.1)]), values(8)
        for _ in range(5):
            x = net.mix(x)
            net.advance()
        return x

    assert torch.equal(run(0), run(0))
    assert not torch.equal(run(0), run(1))


def test_without_effects_nothing_changes():
    x = values(8)
    for effects in ([], [lose(0.0)], [noise(0.0)]):
        assert torch.equal(Network("ring", 8, effects=effects).mix(x), Network("ring", 8).mix(x))


def test_a_second_graph_suffers_from_the_same():
    net = Network("ring", 8, effects=[lose(0.5)])
    assert not torch.equal(net.on("star").mix(values(8)), Network("star", 8).mix(values(8)))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: lose(1.0), r"lose\(p=1.0\): give a probability from 0 on and below 1, such as 0.1"),
        (lambda: cut("much"), r"cut\(p='much'\): give a probability"),
        (lambda: noise(-1), r"noise\(sigma=-1\): give a standard deviation, zero or more, such as 1e-3"),
        (lambda: Network("ring", 4, effects=[0.1]), r"effects=\[0.1\]: give a list of effects, such as \[lose\(0.1\)"),
        (lambda: Network("ring", 4, effects=lose(0.1)), r"effects=lose\(p=0.1\): give a list"),
    ],
    ids=["lose", "cut", "noise", "number", "no list"],
)
def test_wrong_effects_are_refused(make, said):
    with pytest.raises(ArgumentError, match=said):
        make()


# ---- counted ---------------------------------------------------------------------------------------------------------


def test_what_is_sent_is_counted_by_node_and_by_edge():
    net, x = Network("star", 5, per_edge=True), values(5, 4)
    for _ in range(3):
        net.mix(x)
        net.advance()
    assert net.traffic.messages.tolist() == [12, 3, 3, 3, 3]
    assert net.traffic.bytes.tolist() == [12 * 32, 96, 96, 96, 96]
    assert net.traffic.edges == {tuple(edge): (3, 96.0) for edge in t.star(5).edges.tolist()}
    net.on("ring").mix(x)
    assert net.traffic.edges[1, 2] == (1, 32.0)
    assert net.traffic.edges[0, 1] == (4, 128.0)
    net.edges.exchange(net.edges.to_edges(x))
    assert net.traffic.edges[0, 1] == (5, 160.0)
    net.node(3).mailbox.put(x[3:4])
    assert net.traffic.edges[3, 0] == (5, 160.0)
    net.mean(x)
    assert int(net.traffic.messages.sum()) == net.messages
    assert float(net.traffic.bytes.sum()) == pytest.approx(net.bytes)


def test_edges_are_only_counted_when_asked_for():
    net = Network("star", 5)
    net.mix(values(5))
    assert net.traffic.edges == {}
    assert net.traffic.messages.tolist() == [4, 1, 1, 1, 1]
