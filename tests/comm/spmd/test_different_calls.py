"""The ranks call different things: an error on all of them that says who called what, and no wrong numbers."""

import pytest
import torch
from agreement import settle
from spmd_claims import LARGE, all_is_well, alone, me, n, numbers

import ifog
from ifog import topology as t

pytestmark = alone
x = torch.ones(3)


def mismatch(call, *words, silent=False):
    """The call fails as a Mismatch on every rank, in these words; then all recover.

    Between machines a rank hears of nothing that is not sent to it: two may wait for each other, until they notice that.
    """
    settle()
    errors = (ifog.Mismatch, ifog.Deadlock) if silent and ifog.machine_size() > 1 else ifog.Mismatch
    with pytest.raises(errors) as caught:
        (call(), ifog.barrier())
    ifog.recover()
    all_is_well()
    settle()
    for word in words:
        assert errors is not ifog.Mismatch or word in str(caught.value), f"{word!r} is not in: {caught.value}"


DIFFERENT = {
    "operation": (lambda: ifog.allreduce(x), lambda: ifog.broadcast(x), "allreduce of float32 [3], mean", "broadcast of"),
    "nothing sent": (ifog.barrier, lambda: ifog.allreduce(x), "barrier", "allreduce"),
    "name": (lambda: ifog.allreduce(x, name="a"), lambda: ifog.allreduce(x, name="b"), "allreduce('a')", "allreduce('b')"),
    "no name": (lambda: ifog.allreduce(x, name="a"), lambda: ifog.allreduce(x), "allreduce('a')", "allreduce of"),
    "shape": (lambda: ifog.allreduce(x), lambda: ifog.allreduce(torch.ones(4)), "float32 [3]", "float32 [4]"),
    "a long shape": (
        lambda: ifog.allreduce(torch.ones(9 * LARGE)), lambda: ifog.allreduce(torch.ones(9 * LARGE + 1)),
        f"[{9 * LARGE}]", f"[{9 * LARGE + 1}]",
    ),
    "a short and a long one": (
        lambda: ifog.allreduce(x), lambda: ifog.allreduce(torch.ones(9 * LARGE)), "float32 [3]", f"[{9 * LARGE}]",
    ),
    "dimensions": (
        lambda: ifog.allreduce(torch.ones(2, 3)), lambda: ifog.allreduce(torch.ones(6)), "float32 [2, 3]", "float32 [6]",
    ),
    "dtype": (lambda: ifog.allreduce(x), lambda: ifog.allreduce(x.int(), "sum"), "float32 [3]", "int32 [3]"),
    "dtype of the same width": (
        lambda: ifog.allreduce(x.half()), lambda: ifog.allreduce(x.bfloat16()), "float16 [3]", "bfloat16 [3]",
    ),
    "op": (lambda: ifog.allreduce(x, "sum"), lambda: ifog.allreduce(x, "max"), ", sum", ", max"),
    "op of shares": (
        lambda: ifog.reduce_scatter(torch.ones(n), "sum"), lambda: ifog.reduce_scatter(torch.ones(n), "max"), ", sum", ", max",
    ),
    "root": (lambda: ifog.broadcast(x, 0), lambda: ifog.broadcast(x, 1), "from rank 0", "from rank 1"),
    "root of an object": (
        lambda: ifog.broadcast_object(1, 0), lambda: ifog.broadcast_object(1, 1), "from rank 0", "from rank 1",
    ),
    "one or several": (lambda: ifog.allreduce(x), lambda: ifog.allreduce([x]), "of float32 [3]", "1 tensors (float32 [3])"),
    "how many": (lambda: ifog.allreduce([x, x]), lambda: ifog.allreduce([x]), "2 tensors", "1 tensors"),
    "names in a dict": (
        lambda: ifog.allreduce({"a": x}), lambda: ifog.allreduce({"b": x}), "named a", "named b",
    ),
    "width of rows": (
        lambda: ifog.allgather(torch.ones(2, 3)), lambda: ifog.allgather(torch.ones(2, 4)), "3]", "4]",
    ),
    "dtype of rows": (lambda: ifog.allgather(x), lambda: ifog.allgather(x.double()), "float32", "float64"),
    "own edges or the topology's": (
        lambda: ifog.neighbor_allreduce(x),
        lambda: ifog.neighbor_allreduce(x, self_weight=1, src_weights={}, dst_weights=[]),
        "exponential", "with dst_weights",
    ),
    "topology": (
        lambda: ifog.set_topology(t.ring(n)), lambda: ifog.set_topology(t.directed_ring(n)),
        f"(ring({n}))", f"(directed_ring({n}))",
    ),
    "topology of what": (
        lambda: ifog.set_topology(t.complete(n)), ifog.barrier, f"set_topology(complete({n}))", "barrier",
    ),
    "averaging": (
        lambda: ifog.neighbor_allreduce(x), lambda: ifog.neighbor_allgather(x), "neighbor_allreduce", "neighbor_allgather",
    ),
    "averaging on two levels": (
        lambda: ifog.hierarchical_neighbor_allreduce(x), lambda: ifog.neighbor_allreduce(x),
        "hierarchical_neighbor_allreduce of", ": neighbor_allreduce of",
    ),
}  # fmt: skip


@pytest.mark.parametrize("culprit", [0, n - 1])
@pytest.mark.parametrize("what", DIFFERENT)
def test_who_called_what(what, culprit):
    usual, different, *words = DIFFERENT[what]
    if n == 2 and what == "topology":
        pytest.skip("the rings of two are the same")
    silent = what.startswith(("root", "own edges", "averaging on"))
    mismatch(different if me == culprit else usual, *words, f"rank {culprit}: ", silent=silent)


@pytest.mark.parametrize("call", [lambda: ifog.broadcast(x, me), lambda: ifog.broadcast_object(1, me)])
def test_if_everybody_means_itself_as_the_root_all_are_told(call):
    mismatch(call, "rank 0: broadcast", f"rank {n - 1}: broadcast", f"from rank {n - 1}", silent=True)


@pytest.mark.parametrize("topology", [t.ring(n), t.exponential(n), t.star(n)], ids=lambda topology: topology.label)
@pytest.mark.parametrize("length", [3, LARGE])
def test_neighbours_of_neighbours_are_told_too(topology, length):
    ifog.set_topology(topology)
    x = numbers(1, (length,))
    mismatch(lambda: ifog.neighbor_allreduce(x[me == n - 1 :]), f"[{length}]", f"[{length - 1}]")


def test_nonblocking_calls_are_compared_too():
    def call():
        handles = [ifog.allreduce_nonblocking(numbers(k, (LARGE,))) for k in range(3)]
        handles.append(ifog.allreduce_nonblocking(x, "max" if me == 0 else "min"))
        handles.append(ifog.allreduce_nonblocking(x))
        return [handle.wait() for handle in handles]

    mismatch(call, ", max", ", min")


def test_a_handle_ends_when_the_epoch_does():
    handle = ifog.recv_nonblocking((me + 1) % n)
    settle()
    with pytest.raises(ifog.Mismatch):
        (ifog.allreduce(x, "max" if me == 0 else "min"), ifog.barrier())
    for _ in range(2):
        assert handle.done
        with pytest.raises(ifog.Mismatch, match=", max"):
            handle.wait()
    ifog.recover()
    assert handle.done
    with pytest.raises(ifog.Mismatch, match=", max"):
        handle.wait()
    all_is_well()


def test_both_forms_of_a_call_are_the_same_call():
    """Blocking on one rank, nonblocking on the others; in place on one, from an array on another."""
    y = ifog.allreduce(x) if me == 0 else ifog.allreduce_nonblocking(x).wait()
    assert torch.equal(y, x)
    y = ifog.neighbor_allreduce(x.numpy()) if me == 0 else ifog.neighbor_allreduce(x, out=torch.empty(3))
    assert torch.equal(torch.as_tensor(y), x) or abs(torch.as_tensor(y) - 1).max() < 1e-6


# ---- edges that one end names ------------------------------------------------------------------------------------------


def one_sided(*, sends=False, expects=False):
    return {
        "self_weight": 1.0,
        "src_weights": {0: 1.0} if me == n - 1 and expects else {},
        "dst_weights": {n - 1: 1.0} if me == 0 and sends else {},
    }


@pytest.mark.parametrize("length", [3, LARGE])
def test_an_edge_that_only_its_receiver_names(length):
    x = numbers(2, (length,))
    mismatch(
        lambda: ifog.neighbor_allreduce(x, **one_sided(expects=True)),
        f"rank {n - 1} expects something from rank 0",
        "dst_weights",
    )


@pytest.mark.parametrize("length", [3, LARGE])
def test_an_edge_that_only_its_sender_names(length):
    x = numbers(3, (length,))
    mismatch(
        lambda: ifog.neighbor_allreduce(x, **one_sided(sends=True)), f"rank 0 sends something to rank {n - 1}", "src_weights"
    )


def test_an_edge_that_one_end_of_neighbor_allgather_names():
    ranks = {"src_ranks": [0] if me == n - 1 else [], "dst_ranks": []}
    mismatch(lambda: ifog.neighbor_allgather(x, **ranks), f"rank {n - 1} expects something from rank 0")
    ranks = {"src_ranks": [], "dst_ranks": [n - 1] if me == 0 else []}
    mismatch(lambda: ifog.neighbor_allgather(x, **ranks), f"rank 0 sends something to rank {n - 1}")


def test_an_edge_between_machines_that_one_end_names():
    m, machine = ifog.machine_size(), ifog.machine_rank()
    if m == 1:
        pytest.skip("there is one machine")
    src = {0: 1.0} if machine == m - 1 else {}
    call = ifog.hierarchical_neighbor_allreduce
    mismatch(lambda: call(x, self_weight=1, src_machine_weights=src, dst_machine_weights=[]), "expects something from")


# ---- pairs -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("usual", "different", "words"), [
    ({}, {"x": torch.ones(4)}, ("float32 [3]", "float32 [4]")),
    ({}, {"x": x.double()}, ("float32 [3]", "float64 [3]")),
    ({"name": "a"}, {"name": "b"}, ("'a'", "'b'")),
    ({}, {"x": [x]}, ("1 tensors",)),
])  # fmt: skip
def test_a_pair_that_brings_different_things(usual, different, words):
    if me < 2:
        mismatch_here = {"x": x} | (different if me else usual)
        with pytest.raises(ifog.Mismatch) as caught:
            ifog.pair_gossip(peer=1 - me, **mismatch_here)
        for word in words:
            assert word in str(caught.value)
    else:
        with pytest.raises(ifog.Mismatch):
            ifog.barrier()
    ifog.recover()
    all_is_well()


@pytest.mark.skipif(n == 1, reason="an edge has two ends")
@pytest.mark.parametrize("sends", [True, False], ids=["the sender", "the receiver"])
def test_both_ends_hear_in_this_very_call_of_an_edge_that_only_one_names(sends):
    settle()
    for _ in range(20):  # whichever of them comes first
        if me in (0, n - 1):
            with pytest.raises(ifog.Mismatch) as caught:
                ifog.neighbor_allreduce(x, **one_sided(sends=sends, expects=not sends))
            assert (f"rank 0 sends something to rank {n - 1}" in str(caught.value)) == sends
            assert (f"rank {n - 1} expects something from rank 0" in str(caught.value)) != sends
        else:
            with pytest.raises(ifog.Mismatch):
                (ifog.neighbor_allreduce(x, **one_sided(sends=sends, expects=not sends)), ifog.barrier())
        ifog.recover()
    all_is_well()
    settle()
