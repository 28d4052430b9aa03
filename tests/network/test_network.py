"""The network simulated: what mixes, travels and is drawn is what its definition says."""

import ctypes
import resource

import numpy as np
import pytest
import torch
from network_claims import WEIGHTED, topologies

from ifog import topology as t
from ifog.errors import ArgumentError, TopologyError
from ifog.network import Network
from ifog.network.hosts import bounds

DTYPES = [torch.float64, torch.float32]


def values(n, d=7, dtype=torch.float64, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((n, d))).to(dtype)


every_family = pytest.mark.parametrize("family", WEIGHTED)
both_dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=str)


# ---- mixing ----------------------------------------------------------------------------------------------------------


@every_family
@both_dtypes
def test_mixing_multiplies_with_this_rounds_matrix(family, dtype):
    for topology in topologies(family):
        net, x = Network(topology), values(topology.n, dtype=dtype)
        for k in range(3):
            W = torch.from_numpy(topology[k].W)
            exact = W @ x.double()
            close = {"rtol": 0, "atol": 1e-14 if dtype == torch.float64 else 1e-6}
            torch.testing.assert_close(net.mix(x).double(), exact, **close)
            torch.testing.assert_close(net.diff(x).double(), W.sum(1, keepdim=True) * x.double() - exact, **close)
            net.advance()


@every_family
@both_dtypes
def test_torch_gives_the_same_bits_as_the_kernel(family, dtype):
    for topology in topologies(family):
        net, x = Network(topology), values(topology.n, dtype=dtype)
        assert torch.equal(net._turn().rows._by_torch({0: x}), net.mix(x))


@pytest.mark.parametrize("shape", [(8,), (8, 1), (8, 2, 3), (8, 0)])
def test_a_row_may_have_any_shape(shape):
    x = torch.from_numpy(np.random.default_rng(0).standard_normal(shape))
    W = torch.from_numpy(t.ring(8).W)
    torch.testing.assert_close(Network("ring", 8).mix(x), torch.tensordot(W, x, dims=1))


def test_several_tensors_travel_as_one_message():
    net, x = Network("ring", 8), values(8)
    y = x[:, :2] ** 2
    mixed_x, mixed_y = net.mix(x, y)
    assert torch.equal(mixed_x, net.mix(x))
    assert torch.equal(mixed_y, net.mix(y))
    assert net.messages == 3 * 16


def test_a_view_mixes_like_its_copy():
    net, x = Network("ring", 8), values(8)
    assert torch.equal(net.mix(x[:, ::2]), net.mix(x[:, ::2].clone()))
    assert torch.equal(net.mix(x[:1].expand(8, 7)), net.mix(x[:1].repeat(8, 1)))


def test_differences_vanish_exactly_where_nodes_agree():
    x = torch.full((12, 3), 0.1, dtype=torch.float32)
    assert (Network("grid", 12).diff(x) == 0).all()
    assert (Network("grid", 12).mix(x) - x).abs().max() < 1e-7


def test_a_hundred_thousand_nodes_mix():
    n = 100_000
    x = torch.arange(n, dtype=torch.float64).unsqueeze(1)
    assert torch.equal(Network("directed_ring", n).mix(x)[1:], x[1:] - 0.5)


def test_its_own_weight_is_the_diagonal():
    for topology in (t.grid(12), t.push(t.star(12)), t.base_graph(5)):
        x = values(topology.n)
        own = Network(topology).own_weight(x)
        assert own.shape == (topology.n, 1)
        assert torch.equal(own[:, 0], torch.from_numpy(np.diag(topology[0].W).copy()))


# ---- two buffers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ports", [1, 2])
def test_a_round_of_two_buffers_is_its_matrix(ports):
    topology = t.ceca(12, ports=ports)
    net, a, b = Network(topology), values(12), values(12, seed=1)
    for k in range(5):
        expected = topology[k].matrix @ np.concatenate([a, b])
        assert net.sends == topology[k].coefficients.message
        a, b = net.mix_pair(a, b)
        np.testing.assert_allclose(np.concatenate([a, b]), expected, rtol=0, atol=1e-14)
        net.advance()
    assert net.messages == 5 * 12


def test_one_buffer_and_two_are_told_apart():
    x = values(8)
    with pytest.raises(TopologyError, match=r"ceca\(8\).* mixes two buffers a node: call mix_pair"):
        Network("ceca", 8).mix(x)
    with pytest.raises(TopologyError, match=r"ring\(8\) mixes one buffer a node: use mix"):
        Network("ring", 8).mix_pair(x, x)


# ---- edges -----------------------------------------------------------------------------------------------------------


@every_family
def test_a_message_arrives_where_its_edge_ends(family):
    for topology in topologies(family):
        net = Network(topology)
        edges = net.edges
        sent = torch.from_numpy(np.stack([edges.origins, edges.targets], axis=1))
        came = edges.exchange(sent)
        assert np.array_equal(came.numpy(), np.stack([edges.senders, edges.receivers], axis=1))
        assert sorted(came.tolist()) == sorted(topology[0].edges.tolist())
        x = values(topology.n)
        heard = edges.sum_in(edges.exchange(edges.to_edges(x)))
        pattern = torch.from_numpy(topology[0].pattern.toarray().astype(float))
        torch.testing.assert_close(heard, pattern @ x, rtol=0, atol=1e-13)


def test_the_way_back_is_the_edge_reversed():
    edges = Network("grid", 12).edges
    came = torch.from_numpy(np.stack([edges.senders, edges.receivers], axis=1))
    assert np.array_equal(edges.reverse(came).numpy(), np.stack([edges.targets, edges.origins], axis=1))


def test_an_edge_without_a_way_back_is_named():
    edges = Network("directed_ring", 8).edges
    with pytest.raises(TopologyError, match="from node 0 to node 1 and none back; choose an undirected graph"):
        edges.reverse(edges.empty(values(8)))


def test_messages_of_the_wrong_number_are_refused():
    with pytest.raises(ArgumentError, match="first axis is over the 16 edges that begin here"):
        Network("ring", 8).edges.exchange(values(8))


def test_several_messages_travel_as_one():
    net, x = Network("ring", 8), values(8)
    a = net.edges.to_edges(x)
    both = net.edges.exchange(a, 2 * a[:, :1])
    assert torch.equal(both[0], net.edges.exchange(a))
    assert torch.equal(both[1], 2 * both[0][:, :1])


# ---- over all nodes --------------------------------------------------------------------------------------------------


def test_the_mean_is_a_row_for_each_node():
    x = values(8)
    mean = Network("ring", 8).mean(x)
    assert mean.shape == x.shape
    torch.testing.assert_close(mean, x.mean(0, keepdim=True).expand_as(x))
    mean[0] = 0  # and each row is its own
    assert (mean[1] != 0).all()


def test_norms_of_vectors_and_of_the_tensors_inside_them():
    net, x = Network("ring", 8), values(8)
    torch.testing.assert_close(net.norm(x)[:, 0], (x**2).sum(1).sqrt())
    by = net.norm(x, by=(3, 4))
    torch.testing.assert_close(by, torch.cat([net.norm(x[:, :3]).expand(8, 3), net.norm(x[:, 3:]).expand(8, 4)], 1))
    torch.testing.assert_close(net.norm(x, order=1)[:, 0], x.abs().sum(1))
    with pytest.raises(ArgumentError, match="the tensors have 6 numbers, and a row of x has 7"):
        net.norm(x, by=(3, 3))


def test_one_number_or_one_for_each_node():
    net, x = Network("ring", 8), values(8)
    assert torch.equal(net.per_node(0.5, x), torch.full((8, 1), 0.5, dtype=torch.float64))
    assert torch.equal(net.per_node(range(8), x)[:, 0], torch.arange(8.0, dtype=torch.float64))
    with pytest.raises(ArgumentError, match=r"the shape \(7,\): give one, or one for each of the 8 nodes"):
        net.per_node(range(7), x)


# ---- random numbers --------------------------------------------------------------------------------------------------


def test_draws_differ_between_nodes_draws_rounds_and_seeds_and_come_again():
    def draws(seed):
        net, found = Network("ring", 8, seed=seed), []
        for _ in range(2):
            found += [net.random.uniform(values(8)), net.random.uniform(values(8))]
            net.advance()
        return torch.cat(found)

    first, second = draws(0), draws(1)
    assert torch.equal(first, draws(0))
    assert len(torch.cat([first, second]).unique()) == 2 * first.numel()


def test_uniform_and_normal_numbers_have_their_moments():
    net, like = Network("ring", 100), torch.empty(100, 1000, dtype=torch.float64)
    u, z = net.random.uniform(like), net.random.normal(like)
    assert 0 <= float(u.min()) < 1e-4 < 1 - 1e-4 < float(u.max()) < 1
    within = 5 / like.numel() ** 0.5
    assert abs(float(u.mean()) - 1 / 2) < within * 12**-0.5
    assert abs(float(z.mean())) < within
    assert abs(float(z.var()) - 1) < within * 2**0.5
    assert abs(float((z**4).mean()) - 3) < within * 96**0.5
    assert abs(float(torch.corrcoef(z).fill_diagonal_(0).abs().max())) < 0.2


def test_the_shared_coin_is_one_for_all():
    net = Network("ring", 8)
    assert net.random.shared(3).shape == (3,)


# ---- topology and traffic --------------------------------------------------------------------------------------------


def test_a_schedule_takes_its_turns_from_when_it_was_set():
    net, x = Network("ring", 8), values(8)
    for _ in range(4):
        net.advance()
    net.topology = t.one_peer_exponential(8)
    for k in range(4):
        torch.testing.assert_close(net.mix(x), torch.from_numpy(t.one_peer_exponential(8)[k].W) @ x)
        net.advance()
    net.topology = "ring"
    torch.testing.assert_close(net.mix(x), torch.from_numpy(t.ring(8).W) @ x)
    with pytest.raises(TopologyError, match=r"topology ring\(7\) has 7 nodes, and n=8: build it with n=8"):
        net.topology = t.ring(7)


def test_a_second_graph_in_the_same_iteration():
    net, x = Network("ring", 8), values(8)
    net.advance()
    other = net.on("one_peer_exponential")
    torch.testing.assert_close(other.mix(x), torch.from_numpy(t.one_peer_exponential(8)[1].W) @ x)
    assert net.on("one_peer_exponential") is other
    assert net.messages == 8
    assert not torch.equal(net.random.uniform(x), other.random.uniform(x))


def test_what_is_sent_is_counted():
    net, x = Network("ring", 8), values(8, dtype=torch.float32)
    net.mix(x)
    assert (net.messages, net.bytes) == (16, 16 * 7 * 4)
    net.mix(x, bits=3)
    assert (net.messages, net.bytes) == (32, 16 * 7 * 4 + 6)
    net.edges.exchange(net.edges.to_edges(x))
    assert (net.messages, net.bytes) == (48, 2 * 16 * 7 * 4 + 6)
    alone = Network("ring", 8)
    alone.mean(x)  # a ring allreduce: each node sends 2(n − 1) messages of M/n
    assert (alone.messages, alone.bytes) == (8 * 14, 14 * 7 * 4)


def test_rows_that_are_not_the_nodes_here_are_refused():
    with pytest.raises(ArgumentError, match=r"shape \(7, 7\): its first axis is over the 8 nodes hosted here"):
        Network("ring", 8).mix(values(7))


def test_slices_are_as_equal_as_can_be():
    assert bounds(8, 3) == [0, 3, 6, 8]
    assert bounds(8, 8) == list(range(9))
    with pytest.raises(ArgumentError, match="n=3: 4 ranks are running"):
        bounds(3, 4)


@both_dtypes
def test_long_rows_are_mixed_piece_by_piece_to_the_same_bits(dtype):
    net, x = Network("exponential", 300), values(300, 10_001, dtype)
    mixed = net.mix(x)
    for begin in (0, 4093, 8190, 9994):
        columns = slice(begin, begin + 7)
        assert torch.equal(mixed[:, columns], net.mix(x[:, columns].clone()))


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="this C library gives large memory back at once")
def test_memory_that_is_freed_is_used_again():
    Network("ring", 4)
    x = torch.ones(5 * 2**20, dtype=torch.float64)  # 40 MB

    def pages():
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

    for _ in range(5):
        x + x
    before = pages()
    for _ in range(20):
        x + x
    assert pages() - before < 20 * 40 * 2**20 / resource.getpagesize() / 4
