"""Calls that only begin: handles waited for in any order, many at once, and names."""

import random

import numpy as np
import pytest
import torch
from spmd_claims import LARGE, alone, assert_mixed, assert_sum, everyones, me, n, numbers, refused, same

import ifog
from ifog import topology as t

PAIRS = [
    (ifog.neighbor_allreduce, ifog.neighbor_allreduce_nonblocking),
    (ifog.allreduce, ifog.allreduce_nonblocking),
    (ifog.reduce_scatter, ifog.reduce_scatter_nonblocking),
    (ifog.allgather, ifog.allgather_nonblocking),
    (ifog.neighbor_allgather, ifog.neighbor_allgather_nonblocking),
    (ifog.broadcast, ifog.broadcast_nonblocking),
    (ifog.hierarchical_neighbor_allreduce, ifog.hierarchical_neighbor_allreduce_nonblocking),
]


@pytest.mark.parametrize("length", [2, LARGE])
@pytest.mark.parametrize(("blocking", "nonblocking"), PAIRS)
def test_both_forms_of_a_call_give_the_same_bits(blocking, nonblocking, length):
    x = numbers(1, (length * n,))
    handle = nonblocking(x)
    assert isinstance(handle, ifog.Handle)
    assert same(handle.wait(), blocking(x))
    assert same(nonblocking(x.numpy()).wait(), blocking(x.numpy()))


@pytest.mark.parametrize("length", [3, LARGE])
@pytest.mark.parametrize("order", ["first to last", "last to first", "each rank its own"])
def test_handles_are_waited_for_in_any_order(order, length):
    W = t.exponential(n).W
    xs = [everyones(k, (length,)) for k in range(12)]
    handles = [ifog.neighbor_allreduce_nonblocking(x[me]) for x in xs]
    chosen = list(range(12))
    if order == "last to first":
        chosen.reverse()
    elif order == "each rank its own":
        random.Random(me).shuffle(chosen)
    results = {k: handles[k].wait() for k in chosen}
    for k in range(12):
        assert_mixed(results[k], W, xs[k])


@pytest.mark.parametrize("length", [3, LARGE])
def test_a_hundred_calls_are_under_way_at_once(length):
    """More than there are slots: each rank waits for them in an order of its own, with other calls in between."""
    xs = [everyones(k, (length,)) for k in range(100)]
    handles = [ifog.neighbor_allreduce_nonblocking(x[me]) for x in xs]
    total = ifog.allreduce(torch.ones(1), "sum")
    order = list(range(100))
    random.Random(me).shuffle(order)
    for k in order:
        assert_mixed(handles[k].wait(), t.exponential(n).W, xs[k])
    assert total.item() == n


def test_calls_of_all_kinds_are_under_way_at_once():
    x = numbers(2, (2 * n,))
    big = numbers(3, (n * LARGE,))
    begun = [(blocking, data, nonblocking(data)) for data in (x, big) for blocking, nonblocking in PAIRS for _ in range(3)]
    barrier = ifog.barrier_nonblocking()
    for blocking, data, handle in reversed(begun):
        assert same(handle.wait(), blocking(data))
    assert barrier.wait() is None


def test_a_handle_says_when_it_is_done():
    handle = ifog.neighbor_allreduce_nonblocking(numbers(4))
    ifog.barrier()
    while not handle.done:  # all ranks have begun it: it comes to its end without a wait
        pass
    assert "done" in repr(handle)
    assert_mixed(handle.wait(), t.exponential(n).W, everyones(4))
    assert handle.done


@alone
def test_a_handle_is_not_done_before_the_neighbours_have_begun():
    ifog.set_topology(t.complete(n))
    if me == 0:
        for rank in range(1, n):
            ifog.recv(rank)  # it has begun, and seen that it is not done
        handle = ifog.allreduce_nonblocking(torch.ones(1))
    else:
        handle = ifog.allreduce_nonblocking(torch.ones(1))
        assert not handle.done
        assert "under way" in repr(handle)
        ifog.send("begin", 0)
    assert handle.wait() == 1


def test_waiting_twice_gives_the_same_result():
    handle = ifog.allreduce_nonblocking(numbers(5))
    assert handle.wait() is handle.wait()


def test_the_input_may_be_overwritten_after_the_wait():
    W = t.exponential(n).W
    for k in range(6):
        xs = everyones(k, (LARGE,))
        x = ifog.share(xs[me])
        y = ifog.neighbor_allreduce_nonblocking(x).wait()
        x.fill_(float("nan"))
        assert_mixed(y, W, xs)


def test_blocking_calls_pass_those_that_are_under_way():
    handles = [ifog.neighbor_allreduce_nonblocking(numbers(k, (LARGE,))) for k in range(5)]
    for k in range(40):
        assert ifog.allreduce(torch.tensor([float(k)]), "max").item() == k
    for k, handle in enumerate(handles):
        assert_mixed(handle.wait(), t.exponential(n).W, everyones(k, (LARGE,)))


def test_a_schedule_gives_each_call_under_way_a_round_of_its_own():
    topology = t.base_graph(n)
    ifog.set_topology(topology)
    handles = [ifog.neighbor_allreduce_nonblocking(numbers(6)) for _ in range(5)]
    for k in reversed(range(5)):
        assert_mixed(handles[k].wait(), topology[k].W, everyones(6))


def test_a_topology_may_be_swapped_while_calls_are_under_way():
    handles = []
    for topology in (t.ring(n), t.complete(n), t.star(n)):
        ifog.set_topology(topology)
        handles.append((topology, ifog.neighbor_allreduce_nonblocking(numbers(7, (LARGE,)))))
    for topology, handle in reversed(handles):
        assert_mixed(handle.wait(), topology.W, everyones(7, (LARGE,)))


# ---- names -------------------------------------------------------------------------------------------------------------


def test_a_name_is_in_use_until_the_wait_is_over():
    x = torch.ones(LARGE)
    first = ifog.allreduce_nonblocking(x, name="gradients")
    assert first.name == "gradients"
    second = ifog.allreduce_nonblocking(x, name="momentum")
    first.wait()
    second.wait()
    ifog.allreduce(x, name="gradients")
    ifog.allreduce_nonblocking(x, name="gradients").wait()


@alone
@pytest.mark.parametrize("again", [
    lambda x: ifog.allreduce_nonblocking(x, name="x"), lambda x: ifog.neighbor_allreduce(x, name="x"),
    lambda x: ifog.allgather(x, name="x"), lambda x: ifog.broadcast(x, name="x"), lambda x: ifog.reduce_scatter(x, name="x"),
    lambda _: ifog.barrier(name="x"),
])  # fmt: skip
def test_a_name_used_twice_at_once_is_refused(again):
    # rank 0 has begun only when it hears from all, and they begin before they speak: so it cannot be over too soon
    x = torch.ones(n)
    if me == 0:
        held = [ifog.recv_nonblocking(rank) for rank in range(1, n)]
    first = ifog.allreduce_nonblocking(x, name="x") if me else None
    if me:
        with pytest.raises(ifog.ArgumentError, match=r"name 'x' of .* is still in use by <allreduce"):
            again(x)
        ifog.send(None, 0)
    else:
        for handle in held:
            handle.wait()
        first = ifog.allreduce_nonblocking(x, name="x")
    assert first.wait().tolist() == [1] * n


def test_the_same_name_serves_again_and_again():
    for k in range(5):
        assert_sum(ifog.allreduce(numbers(k), "sum", name="x"), dict.fromkeys(range(n), 1), everyones(k))


def test_a_refused_call_is_not_under_way():
    with refused(ifog.ArgumentError, "op='median'"):
        ifog.allreduce_nonblocking(np.ones(3), "median")
