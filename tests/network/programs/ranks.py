"""The network on the ranks of an MPI world, beside its simulation in this process: `tests/network/test_on_ranks.py`."""

import sys
import warnings
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from network_claims import WEIGHTED, topologies

import ifog
from ifog import topology as t
from ifog.network import Network, cut, lose, noise


def values(n, dtype, seed=0):
    """The same on every rank."""
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((n, 7))).to(dtype)


def same(simulated, real, x, k):
    """One round of everything gives the same bits."""
    nodes = slice(real.nodes.start, real.nodes.stop)
    mine = x[nodes]
    said = (real.topology.label, k, ifog.rank())
    pending = real.start_mix(mine, mine[:, ::2])
    assert torch.equal(real.diff(mine), simulated.diff(x)[nodes]), said  # another message while the first is under way
    mixed, half = pending.wait()
    assert torch.equal(mixed, simulated.mix(x)[nodes]), said
    assert torch.equal(half, simulated.mix(x[:, ::2])[nodes]), said
    assert torch.equal(real.own_weight(mine), simulated.own_weight(x)[nodes]), said
    along_edges(simulated, real, x, nodes, said)
    draws(simulated, real, x, nodes, said)


def along_edges(simulated, real, x, nodes, said):
    """Messages that differ from edge to edge arrive at the same places, and sum to the same bits."""
    all_edges, edges = simulated.edges, real.edges
    out = all_edges.to_edges(x) * torch.arange(1, len(all_edges.origins) + 1, dtype=x.dtype)[:, None]
    begin = int((all_edges.origins < nodes.start).sum())
    came = edges.exchange(out[begin : begin + len(edges.origins)])
    expected = all_edges.exchange(out)
    end = int((all_edges.receivers < nodes.start).sum())
    assert torch.equal(came, expected[end : end + len(edges.senders)]), said
    assert torch.equal(edges.sum_in(came), all_edges.sum_in(expected)[nodes]), said
    if not real.topology.directed:
        assert torch.equal(edges.reverse(came), all_edges.reverse(expected)[begin : begin + len(edges.origins)]), said


def draws(simulated, real, x, nodes, said):
    """The random numbers do not depend on where a node lives."""
    assert torch.equal(real.random.uniform(x[nodes]), simulated.random.uniform(x)[nodes]), said
    assert torch.equal(real.random.normal(x[nodes]), simulated.random.normal(x)[nodes]), said
    assert (real.random.shared(2) == simulated.random.shared(2)).all(), said


def main():
    """Raise where the two worlds differ."""
    rounds = 0
    for family in WEIGHTED:
        for topology in topologies(family):
            for dtype in (torch.float64, torch.float32):
                x = values(topology.n, dtype)
                simulated, real = Network(topology, seed=3), Network.on_ranks(topology, seed=3)
                for k in range(3):
                    same(simulated, real, x, k)
                    simulated.advance()
                    real.advance()
                    rounds += 1
    effects()
    pairs()
    others()
    if ifog.rank() == 0:
        print(f"{rounds} rounds are the same")  # noqa: T201


def effects():
    """What goes wrong does not depend on where a node lives either."""
    for topology in (t.ring(8), t.push(t.star(12)), t.one_peer_exponential(8)):
        broken = [lose(0.2), noise(0.1), cut(0.1)]
        simulated, real = Network(topology, seed=3, effects=broken), Network.on_ranks(topology, seed=3, effects=broken)
        nodes = slice(real.nodes.start, real.nodes.stop)
        x = values(topology.n, torch.float64)
        for k in range(4):
            said = (topology.label, k, ifog.rank())
            all_edges, edges = simulated.edges, real.edges
            came = all_edges.exchange(all_edges.to_edges(x)), all_edges.exchange(all_edges.to_edges(x))
            for expected in came:
                begin = int((all_edges.receivers < nodes.start).sum())
                assert torch.equal(edges.exchange(edges.to_edges(x[nodes])), expected[begin : begin + len(edges.senders)]), said
            mine, x = x[nodes], simulated.mix(x)
            assert torch.equal(real.mix(mine), x[nodes]), said
            simulated.advance()
            real.advance()


def pairs():
    """Two buffers."""
    for n in (5, 8, 12):
        simulated, real = Network("ceca", n), Network.on_ranks("ceca", n)
        nodes = slice(real.nodes.start, real.nodes.stop)
        a, b = values(n, torch.float64), values(n, torch.float64, 1)
        mine = a[nodes], b[nodes]
        for _ in range(5):
            a, b = simulated.mix_pair(a, b)
            mine = real.mix_pair(*mine)
            assert torch.equal(mine[0], a[nodes])
            assert torch.equal(mine[1], b[nodes])
            simulated.advance()
            real.advance()


def others():
    """The mean, a second graph, and another topology from some iteration on."""
    x = values(8, torch.float64)
    simulated, real = Network("ring", 8), Network.on_ranks("ring", 8)
    nodes = slice(real.nodes.start, real.nodes.stop)
    torch.testing.assert_close(real.mean(x[nodes]), simulated.mean(x)[nodes], rtol=1e-14, atol=1e-15)
    assert torch.equal(real.on("star").mix(x[nodes]), simulated.on("star").mix(x)[nodes])
    for net in (simulated, real):
        net.advance()
        net.topology = t.one_peer_exponential(8)
        net.advance()
    assert torch.equal(real.mix(x[nodes]), simulated.mix(x)[nodes])
    assert Network.on_ranks("ring").n == ifog.size()


if __name__ == "__main__":
    warnings.simplefilter("error")
    ifog.init()
    main()
