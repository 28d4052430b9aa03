"""A short message goes its own way, in C; whoever takes part in the same call by the long way cannot tell."""

import pytest
import torch
from agreement import settle
from spmd_claims import alone, assert_close, assert_mixed, everyones, me, n, same

import ifog
from ifog import topology as t
from ifog.comm import arithmetic, swift, world
from ifog.comm.board import SLOTS

HERE = arithmetic.COMPILED and ifog.machine_size() == 1


def long(x):
    return ifog.neighbor_allreduce(x, out=torch.empty_like(x))


@pytest.fixture
def taken(monkeypatch):
    """How often this rank has gone the short way."""
    calls = []
    exchange = swift.exchange
    monkeypatch.setattr(swift, "exchange", lambda *arguments: (calls.append(1), exchange(*arguments))[1])
    return calls


def test_short_plain_tensors_take_it_from_the_second_time_on(taken):
    for x in [torch.ones(100), torch.ones(0), torch.tensor(1.0), torch.ones(2, 3, dtype=torch.float64)] * 3:
        ifog.neighbor_allreduce(x)
    assert len(taken) == (8 if HERE else 0)


def test_so_do_sums_and_means_over_all_ranks_and_barriers(taken):
    ones = torch.ones(100)
    calls = [
        lambda: ifog.allreduce(ones),
        lambda: ifog.allreduce(ones, "sum"),
        lambda: ifog.allreduce(ones.double()),
        lambda: ifog.barrier(),
    ]
    for call in calls:
        call()
        taken.clear()
        call()
        assert len(taken) == HERE


def test_also_after_calls_that_go_another_way(taken):
    x = torch.ones(5)
    for _ in range(2 * SLOTS):
        ifog.allgather_object(me)
        ifog.neighbor_allreduce(x)
        ifog.allreduce(x, "max")
    assert len(taken) == (2 * SLOTS - 1 if HERE else 0)
    if HERE:  # the last one has been through: its slot says where its readers mark
        here = world.current()
        assert here.readers[here.sequence - 1 & SLOTS - 1][2]


def test_other_tensors_do_not(taken):
    ones = torch.ones(3, 2)
    others = [torch.ones(10_000), ones.bfloat16(), ones.T, torch.ones(2, dtype=torch.complex64), [ones], [ones, ones]]
    for x in others * 2:
        ifog.neighbor_allreduce(x)
    ifog.neighbor_allreduce(ones, name="with a name")
    ifog.neighbor_allreduce(ones, self_weight=1.0, src_weights={})
    ifog.neighbor_allreduce_nonblocking(ones).wait()
    long(ones)
    for _ in range(2):
        ifog.allreduce(ones.bfloat16())
        ifog.allreduce(ones, "max")
        ifog.allreduce(ones, name="with a name")
        ifog.barrier(name="with a name")
    assert not taken


@pytest.mark.parametrize("name", ["ring", "complete", *["one_peer_exponential"] * (n in (1, 2, 4, 8))])
def test_both_ways_meet_in_a_call(name):
    topology = t.make(name, n)
    ifog.set_topology(topology)
    for k in range(3 * SLOTS):
        xs = everyones(k, (7,))
        short = (k + me) % 3 == 0
        y = ifog.neighbor_allreduce(xs[me]) if short else long(xs[me])
        assert_mixed(y, topology[k].W, xs)


@pytest.mark.parametrize("op", ["sum", "mean"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_both_ways_give_the_same_bits_over_all_ranks(op, dtype):
    for k in range(3 * SLOTS):
        xs = everyones(k, (37,), dtype)
        expected = torch.empty_like(xs[me])
        arithmetic.weighted_sum_by_torch(expected, xs, [1.0] * n)
        short = (k + me) % 3 == 0
        y = ifog.allreduce(xs[me], op, out=None if short else torch.empty_like(xs[me]))
        assert same(y, expected / n if op == "mean" else expected)


def test_both_ways_meet_in_a_barrier():
    for k in range(3 * SLOTS):
        ifog.barrier() if (k + me) % 3 == 0 else ifog.barrier_nonblocking().wait()


def test_what_is_under_way_since_long_is_not_overwritten():
    """More calls are made than there are slots, while the first of them waits to be finished."""
    W = ifog.topology().W
    first = everyones(0, (50,))
    handle = ifog.neighbor_allreduce_nonblocking(first[me])
    for k in range(1, 2 * SLOTS):
        xs = everyones(k, (5,))
        assert_mixed(ifog.neighbor_allreduce(xs[me]), W, xs)
    assert_mixed(handle.wait(), W, first)


def test_the_result_may_be_the_next_input_and_the_input_may_change_at_once():
    W = torch.from_numpy(ifog.topology().W)
    xs = torch.stack(everyones(1, (20,), torch.float64))
    x = xs[me].clone()
    for _ in range(50):
        y = ifog.neighbor_allreduce(x)
        x.fill_(float("nan"))
        x = y
        xs = W @ xs
    assert_close(x, xs[me], rtol=0, atol=1e-12)


def test_on_either_way_it_is_known_whom_a_rank_has_told_last():
    for _ in range(2):
        ifog.neighbor_allreduce(torch.ones(3))
        assert world.current().told() == ifog.out_neighbors()
        ifog.allreduce(torch.ones(3))
        assert world.current().told() == [rank for rank in range(n) if rank != me]


@alone
def test_a_failure_on_the_short_way_is_everybodys():
    x = torch.ones(4)
    ifog.neighbor_allreduce(x)
    settle()
    with pytest.raises(ifog.CommError):
        (ifog.neighbor_allreduce(x if me else torch.ones(5)), ifog.barrier())
    ifog.recover()
    assert same(ifog.neighbor_allreduce(x), x)
