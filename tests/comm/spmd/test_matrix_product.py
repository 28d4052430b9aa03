"""`neighbor_allreduce` is the matrix product W x: for every family, with weights of one's own, for every dtype."""

import warnings

import numpy as np
import pytest
import torch
from agreement import examples
from hypothesis import strategies as st
from spmd_claims import COMPLEX, FLOATS, HALVES, INEXACT, INTEGERS, LARGE, alone, assert_mixed, everyones, me, n, refused, same

import ifog
from ifog import topology as t
from ifog.errors import TopologyError, TopologyWarning


def member(name):
    """The family's member for so many ranks, None if there is none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TopologyWarning)
        try:
            return t.make(name, n)
        except TopologyError:
            return None


MEMBERS = {name: made for name in t.families() if (made := member(name)) is not None}


def in_order(W, xs):
    """W x as ifog says that it adds: own term first, then ascending j, each product and sum rounded."""
    total = W[me, me] * xs[me].numpy()
    for j in range(n):
        if j != me and W[me, j]:
            total = total + W[me, j] * xs[j].numpy()
    return torch.from_numpy(np.asarray(total))


@pytest.mark.parametrize("name", [name for name in MEMBERS if name != "ceca"])
def test_every_family_multiplies_by_its_matrix_round_after_round(name):
    topology = MEMBERS[name]
    ifog.set_topology(topology)
    assert ifog.topology() == topology
    for k in range(min(2 * (topology.period or 4), 8) + 1):
        W = topology[k].W
        xs = everyones(k, (LARGE if k == 1 else 5,))
        assert ifog.in_neighbors() == [j for j in range(n) if W[me, j] and j != me]
        assert ifog.out_neighbors() == [i for i in range(n) if W[i, me] and i != me]
        y = ifog.neighbor_allreduce(xs[me])
        assert_mixed(y, W, xs)
        assert same(y, in_order(W, xs))


@alone
def test_ceca_is_refused_by_name():
    ifog.set_topology(t.ceca(n))
    with refused(TopologyError, f"ceca({n})", "two buffers"):
        ifog.neighbor_allreduce(torch.ones(3))


@pytest.mark.parametrize("dtype", INEXACT)
def test_every_dtype_is_averaged_to_its_rounding(dtype):
    for topology in (t.ring(n), t.exponential(n), t.complete(n)):
        ifog.set_topology(topology)
        for shape in [(7, 3), (2 * LARGE,)]:
            xs = everyones(1, shape, dtype)
            assert_mixed(ifog.neighbor_allreduce(xs[me]), topology.W, xs)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_with_whole_weights_wrap_around_as_integers_do(dtype):
    W = whole_weights()
    for shape in [(7, 3), (8 * LARGE,)]:
        xs = everyones(1, shape, dtype)
        assert_mixed(ifog.neighbor_allreduce(xs[me], **row(W)), W, xs)


def whole_weights():
    return np.array([[(i * n + 2 * j) % 5 - 2 if i != j else 1 for j in range(n)] for i in range(n)])


def row(W):
    """This rank's part of a call with the edges of W: it weights what it receives, and names whom it sends to."""
    return {
        "self_weight": float(W[me, me]),
        "src_weights": {j: float(W[me, j]) for j in range(n) if j != me and W[me, j]},
        "dst_weights": [i for i in range(n) if i != me and W[i, me]],
    }


def test_a_sum_does_not_depend_on_time():
    """The same bits for the same numbers: again, nonblocking, in place, and on every rank that adds the same terms."""
    ifog.set_topology(t.complete(n))
    for dtype in INEXACT:
        for shape in [(5,), (LARGE,)]:
            x = everyones(3, shape, dtype)[me]
            first = ifog.neighbor_allreduce(x)
            for _ in range(3):
                assert same(ifog.neighbor_allreduce(x), first)
            assert same(ifog.neighbor_allreduce_nonblocking(x).wait(), first)
            assert same(ifog.neighbor_allreduce(x, out=torch.empty_like(x)), first)
            total = ifog.allreduce(x)
            assert same(ifog.allreduce(x), total)
            assert same(ifog.allreduce_nonblocking(x).wait(), total)
            assert all(same(other, total) for other in ifog.allgather_object(total))


# ---- weights of one's own --------------------------------------------------------------------------------------------


@examples(30, seed=st.integers(0, 10**6), density=st.sampled_from([0.0, 0.3, 0.7, 1.0]), dtype=st.sampled_from(INEXACT),
          large=st.sampled_from([False, False, True]))  # fmt: skip
def test_a_call_with_edges_of_its_own_multiplies_the_weights_of_both_sides(seed, density, dtype, large):
    rng = np.random.default_rng(seed)
    edges = (rng.random((n, n)) < density) & ~np.eye(n, dtype=bool)  # any: also ranks that only send, or only receive
    src, dst, own = rng.normal(size=(n, n)), rng.normal(size=(n, n)), rng.normal(size=n) * (rng.random(n) < 0.8)
    W = np.where(edges, src * dst.T, 0) + np.diag(own)
    xs = everyones(seed, (2 * LARGE,) if large else (4, 2), dtype)
    y = ifog.neighbor_allreduce(
        xs[me],
        self_weight=own[me],
        src_weights={j: src[me, j] for j in range(n) if edges[me, j]},
        dst_weights={i: dst[me, i] for i in range(n) if edges[i, me]},
    )
    assert_mixed(y, W, xs)


def test_dst_weights_may_be_a_list_of_ranks():
    W = np.roll(np.eye(n), 1, axis=0) * 0.25 + np.eye(n) * 0.75
    xs = everyones(5)
    assert_mixed(ifog.neighbor_allreduce(xs[me], **row(W)), W, xs)
    assert_mixed(ifog.neighbor_allreduce(xs[me], **(row(W) | {"dst_weights": tuple(row(W)["dst_weights"])})), W, xs)


def test_a_rank_may_only_send_and_another_only_receive():
    W = np.eye(n)
    W[n - 1, 0] = 0.5 if n > 1 else 1.0
    xs = everyones(6)
    y = ifog.neighbor_allreduce(
        xs[me],
        self_weight=1.0,
        src_weights={0: 0.5} if me == n - 1 > 0 else {},
        dst_weights={n - 1: 1.0} if me == 0 < n - 1 else {},
    )
    assert_mixed(y, W, xs)


def test_without_dst_weights_the_senders_are_those_of_the_topology():
    topology = t.star(n)
    ifog.set_topology(topology)
    W = np.where(topology.W != 0, 0.125, 0.0) + np.eye(n)
    xs = everyones(7)
    y = ifog.neighbor_allreduce(xs[me], self_weight=W[me, me], src_weights=dict.fromkeys(ifog.in_neighbors(), 0.125))
    assert_mixed(y, W, xs)


@pytest.mark.parametrize("length", [3, LARGE])
def test_a_subset_of_the_in_neighbors_is_enough(length):
    ifog.set_topology(t.complete(n))
    W = np.diag(np.full(n, 0.5)) + np.triu(np.full((n, n), 0.25), 1)  # each listens only to those above
    xs = everyones(8, (length,))
    for _ in range(3):  # those who are not heard are free to go on too
        y = ifog.neighbor_allreduce(xs[me], self_weight=0.5, src_weights=dict.fromkeys(range(me + 1, n), 0.25))
        assert_mixed(y, W, xs)


def test_self_weight_alone_replaces_the_own_weight():
    topology = t.ring(n)
    ifog.set_topology(topology)
    W = topology.W - np.diag(np.diag(topology.W)) + 3 * np.eye(n)
    xs = everyones(9)
    assert_mixed(ifog.neighbor_allreduce(xs[me], self_weight=3), W, xs)


def test_weights_may_be_of_any_kind_of_number():
    xs = everyones(10)
    right, left = (me + 1) % n, (me - 1) % n
    W = np.eye(n) * 0.5 + (np.roll(np.eye(n), 1, axis=0) * 0.25 if n > 1 else 0)
    for kind in (float, np.float32, np.float64, torch.tensor):
        y = ifog.neighbor_allreduce(
            xs[me],
            self_weight=kind(0.5),
            src_weights={np.int64(left): kind(0.25)} if n > 1 else {},
            dst_weights={np.int64(right): kind(1.0)} if n > 1 else [],
        )
        assert_mixed(y, W, xs)


def test_a_call_with_edges_of_its_own_leaves_the_schedule_in_its_round():
    topology = t.one_peer_exponential(n) if n & (n - 1) == 0 else t.base_graph(n)
    ifog.set_topology(topology)
    xs = everyones(11)
    for k in range(3):
        ifog.neighbor_allreduce(xs[me], **row(np.eye(n)))
        assert_mixed(ifog.neighbor_allreduce(xs[me]), topology[k].W, xs)


def test_a_schedule_takes_a_round_with_weights_of_ones_own_too():
    topology = t.base_graph(n)
    ifog.set_topology(topology)
    xs = everyones(12)
    for k in range(4):
        W = np.where(topology[k].W != 0, 2.0, 0.0)
        y = ifog.neighbor_allreduce(xs[me], self_weight=2.0, src_weights=dict.fromkeys(ifog.in_neighbors(), 2.0))
        assert_mixed(y, W - np.diag(np.diag(W)) + 2 * np.eye(n), xs)


def test_negative_weights_and_no_weight_on_oneself():
    xs = everyones(13, (LARGE,))
    W = -1.5 * (np.ones((n, n)) - np.eye(n))
    assert_mixed(ifog.neighbor_allreduce(xs[me], **row(W)), W, xs)
    assert not ifog.neighbor_allreduce(xs[me], self_weight=0, src_weights={}, dst_weights=[]).any()


@pytest.mark.parametrize("dtype", [*FLOATS, *HALVES, *COMPLEX])
def test_what_is_not_finite_stays_so(dtype):
    ifog.set_topology(t.complete(n))
    x = torch.ones(3, dtype=dtype)
    if me == n - 1:
        x[1], x[2] = float("nan"), float("inf")
    y = ifog.neighbor_allreduce(x)
    assert y[1].isnan()
    assert y[2].isinf() or dtype.is_complex
    assert abs(y[0] - 1) < 0.01
