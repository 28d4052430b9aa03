"""Between two ranks: objects sent and received, pairwise averaging; and objects for all."""

import numpy as np
import pytest
import torch
from agreement import settle
from spmd_claims import (
    COMPLEX,
    FLOATS,
    HALVES,
    LARGE,
    all_is_well,
    alone,
    assert_sum,
    everyones,
    everywhere,
    me,
    n,
    numbers,
    others,
    refused,
    same,
)

import ifog
from ifog.comm import world
from ifog.comm.board import REFUSED

right, left = (me + 1) % n, (me - 1) % n
OBJECTS = [
    None,
    3,
    "ä" * 10,
    {"a": [1, (2.5, None)]},
    np.arange(6).reshape(2, 3),
    torch.ones(2, dtype=torch.bfloat16),
    b"\0" * 40_000,
]


def equal(a, b):
    return type(a) is type(b) and (bool((a == b).all()) if isinstance(a, np.ndarray | torch.Tensor) else a == b)


@pytest.mark.parametrize("value", OBJECTS, ids=lambda value: type(value).__name__)
def test_what_is_sent_is_received(value):
    handle = ifog.send_nonblocking((me, value), right)
    sender, received = ifog.recv(left)
    handle.wait()
    assert sender == left
    assert equal(received, value)


@alone
@pytest.mark.parametrize("length", [3, 700_000])
def test_in_both_orders(length):
    """Blocking: even ranks send before they receive, odd ones receive before they send. 5.6 MB travel in pieces."""
    x = numbers(1, (length,))
    peer = me ^ 1
    if peer < n:
        for first_sender in (0, 1):
            if me % 2 == first_sender:
                ifog.send(x, peer)
                received = ifog.recv(peer)
            else:
                received = ifog.recv(peer)
                ifog.send(x, peer)
            assert same(received, numbers(1, (length,), rank=peer))


@pytest.mark.parametrize("value", ["me", b"x" * 10_000_000], ids=["short", "long"])
def test_to_oneself(value):
    handle = ifog.send_nonblocking(value, me)
    assert ifog.recv(me) == value
    handle.wait()
    ifog.send(value, me)
    ifog.send("second", me)
    assert [ifog.recv(me), ifog.recv(me)] == [value, "second"]
    handle = ifog.recv_nonblocking(me, tag=3)
    assert not handle.done
    ifog.send(value, me, tag=3)
    assert handle.wait() == value


def test_nobody_waits_for_what_only_he_himself_could_send():
    for prepare in (lambda: None, lambda: ifog.send("another tag", me, tag=1)):
        prepare()
        with refused(ifog.ArgumentError, f"source={me}", "itself", "ifog.send"):
            ifog.recv(me)
    assert ifog.recv(me, tag=1) == "another tag"
    first = ifog.recv_nonblocking(me)
    ifog.send(1, me)
    with pytest.raises(ifog.ArgumentError, match="itself"):
        ifog.recv(me)  # what is there is for the first one
    assert first.wait() == 1


@pytest.mark.parametrize("length", [3, LARGE])
def test_messages_of_one_pair_arrive_in_order(length):
    sent = [ifog.send_nonblocking(numbers(k, (length,)), right) for k in range(10)]
    handles = [ifog.recv_nonblocking(left) for _ in range(10)]
    for k in range(10):
        assert same(handles[k].wait(), numbers(k, (length,), rank=left))
    for handle in sent:
        handle.wait()


@pytest.mark.parametrize("length", [3, LARGE])
@pytest.mark.parametrize("order", [(0, 4, 3, 1, 2), (4, 3, 2, 1, 0)])
def test_messages_are_received_in_the_order_of_the_calls_however_these_are_waited_for(order, length):
    handles = [ifog.recv_nonblocking(left) for _ in range(5)]
    ifog.barrier()  # only now is there something to receive
    sent = [ifog.send_nonblocking(numbers(k, (length,)), right) for k in range(5)]
    found = {k: handles[k].wait() for k in order}
    for k in range(5):
        assert same(found[k], numbers(k, (length,), rank=left))
        sent[k].wait()


@pytest.mark.parametrize("length", [3, LARGE])
def test_tags_keep_messages_apart(length):
    sent = [ifog.send_nonblocking(numbers(tag, (length,)), right, tag=tag) for tag in (0, 7, 4095)]
    for tag in (4095, 0, 7):
        assert same(ifog.recv(left, tag=tag), numbers(tag, (length,), rank=left))
    for handle in sent:
        handle.wait()


def test_many_messages_and_calls_are_under_way_at_once():
    sent = [ifog.send_nonblocking(k, rank, tag=k) for rank in range(n) for k in range(20)]
    got = {(rank, k): ifog.recv_nonblocking(rank, tag=k) for rank in range(n) for k in range(20)}
    total = ifog.allreduce_nonblocking(numbers(2, (LARGE,)), "sum")
    assert {handle.wait() for (_, k), handle in got.items() if k == 3} == {3}
    assert all(handle.wait() == k for (_, k), handle in got.items())
    assert_sum(total.wait(), dict.fromkeys(range(n), 1), everyones(2, (LARGE,)))
    assert [handle.wait() for handle in sent] == [None] * len(sent)


def test_a_message_waits_while_others_average():
    handle = ifog.send_nonblocking(me, right)
    all_is_well()
    assert ifog.recv(left) == left
    handle.wait()


# ---- pairs -------------------------------------------------------------------------------------------------------------


@alone
@pytest.mark.parametrize("dtype", [*FLOATS, *HALVES, *COMPLEX])
def test_two_ranks_average_while_the_others_do_nothing(dtype):
    peer = me ^ 1
    if peer < n:
        for shape in [(), (0, 2), (3, 2), (LARGE, 3)]:
            xs = everyones(3, shape, dtype)
            y = ifog.pair_gossip(xs[me], peer)
            assert_sum(y, {me: 0.5, peer: 0.5}, xs)
            other = ifog.send_nonblocking(y, peer)
            assert same(y, ifog.recv(peer))  # the two have the same bits
            other.wait()


@alone
def test_a_pair_may_have_weights_each_its_own():
    peer = me ^ 1
    if peer < n:
        xs = everyones(4)
        own = 0.25 + me
        y = ifog.pair_gossip(xs[me], peer, self_weight=own, pair_weight=-0.5)
        assert_sum(y, {me: own, peer: -0.5}, xs)


@alone
def test_all_pairs_gossip_at_once():
    xs = everyones(5, (LARGE,))
    handles = {peer: ifog.pair_gossip_nonblocking(xs[me], peer, name=f"{min(me, peer)}–{max(me, peer)}") for peer in others}
    for peer in reversed(others):
        assert_sum(handles[peer].wait(), {me: 0.5, peer: 0.5}, xs)


@alone
@pytest.mark.parametrize("order", [(0, 3, 2, 1), (3, 0, 1, 2)])
def test_a_pair_gossips_in_the_order_of_the_calls_however_these_are_waited_for(order):
    peer = me ^ 1
    if peer < n:
        if me > peer:
            ifog.recv(peer)  # the other one has begun its calls, and waits
        handles = [ifog.pair_gossip_nonblocking(numbers(k), peer) for k in range(4)]
        if me < peer:
            ifog.send("begun", peer)
        found = {k: handles[k].wait() for k in order}
        for k in range(4):
            assert_sum(found[k], {me: 0.5, peer: 0.5}, everyones(k))


def test_gossip_is_not_taken_for_a_request_of_windows_in_any_epoch():
    with ifog.Window(numbers(9)) as w:
        settle()
        while world.current().epoch % 32:
            ifog.recover()
        for epoch in range(2):
            for peer in others:
                assert_sum(ifog.pair_gossip_nonblocking(numbers(9), peer).wait(), {me: 0.5, peer: 0.5}, everyones(9))
            w.put()
            settle()
            if not epoch:
                ifog.recover()
        ifog.barrier()


@alone
def test_a_pair_gossips_arrays_and_several_tensors():
    peer = me ^ 1
    if peer < n:
        a, b = everyones(6), everyones(7, (2, 2), torch.float32)
        y = ifog.pair_gossip({"a": a[me].numpy(), "b": b[me]}, peer)
        assert isinstance(y["a"], np.ndarray)
        assert_sum(y["a"], {me: 0.5, peer: 0.5}, a)
        assert_sum(y["b"], {me: 0.5, peer: 0.5}, b)


@alone
def test_a_result_of_gossip_is_ones_own():
    peer = me ^ 1
    if peer < n:
        x = numbers(8, (LARGE,))
        y = ifog.pair_gossip(x, peer)
        kept = y.clone()
        x.fill_(0)
        ifog.pair_gossip(x, peer)
        assert same(y, kept)


# ---- objects for all ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", OBJECTS, ids=lambda value: type(value).__name__)
def test_objects_for_all(value):
    for root in range(n):
        rank, received = ifog.broadcast_object((me, value) if me == root else None, root)
        assert rank == root
        assert equal(received, value)
    said = ifog.allgather_object((me, value))
    assert [rank for rank, _ in said] == list(range(n))
    assert all(equal(received, value) for _, received in said)


def test_objects_of_very_different_sizes():
    said = ifog.allgather_object("x" * 10 ** (me % 7))
    assert [len(text) for text in said] == [10 ** (rank % 7) for rank in range(n)]


# ---- mistakes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("call", "words"), [
    (lambda: ifog.send(1, n), ("dest", f"rank {n}", f"0 to {n - 1}")),
    (lambda: ifog.send(1, -1), ("dest", "rank -1")),
    (lambda: ifog.send(1, "0"), ("dest", "'0'", "whole number")),
    (lambda: ifog.send_nonblocking(1, 0, tag=-1), ("tag=-1", "between 0 and 4095")),
    (lambda: ifog.recv(n), ("source", f"rank {n}")),
    (lambda: ifog.recv(0, tag=4096), ("tag=4096", "between 0 and 4095")),
    (lambda: ifog.recv(0, tag=0.5), ("tag=0.5",)),
    (lambda: ifog.recv(0, tag=True), ("tag=True",)),
    (lambda: ifog.broadcast_object(1, root=n), ("root", f"rank {n}")),
    (lambda: ifog.pair_gossip(torch.ones(1), n), ("peer", f"rank {n}")),
    (lambda: ifog.pair_gossip(torch.ones(1), me), ("peer", f"rank {me}", "itself")),
])  # fmt: skip
def test_a_wrong_rank_or_tag_is_refused(call, words):
    with refused(ifog.ArgumentError, *words):
        call()


@alone
@pytest.mark.parametrize(("arguments", "words"), [
    ({"self_weight": 0.5}, ("self_weight and pair_weight come together",)),
    ({"pair_weight": 0.5}, ("self_weight and pair_weight come together",)),
    ({"self_weight": "much", "pair_weight": 1}, ("self_weight='much'", "number")),
    ({"self_weight": 0.5, "pair_weight": float("nan")}, ("pair_weight=nan", "finite")),
    ({"x": torch.ones(2, dtype=torch.int64)}, ("int64", "x.double()")),
    ({"x": torch.ones(2, dtype=torch.bool)}, ("bool",)),
    ({"x": "text"}, ("x is of type str",)),
])  # fmt: skip
def test_wrong_arguments_of_gossip_are_refused(arguments, words):
    with refused(ifog.ArgumentError, *words):
        ifog.pair_gossip(**({"x": torch.ones(2), "peer": left if n > 2 else 1 - me} | arguments))


@pytest.mark.parametrize("mistake", [
    lambda: ifog.send(1, n),
    lambda: ifog.recv(0, tag=-1),
    lambda: ifog.pair_gossip(torch.ones(1), me),
])  # fmt: skip
def test_a_mistake_of_one_is_nobody_elses_where_nobody_else_takes_part(mistake):
    board = world.current().board
    with pytest.raises(ifog.ArgumentError):
        mistake()
    assert not board.words[board.mine + REFUSED]


def test_everybody_hears_what_everybody_says():
    assert everywhere(me) == list(range(n))
