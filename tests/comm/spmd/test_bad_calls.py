"""Mistakes in the arguments: refused on every rank before anything is sent, with words that say what would be right.

If all ranks make the same mistake, the next call works. If one rank alone makes it, the others, who wait for its call, are
released and told, and all go on after `ifog.recover()`.
"""

import time

import numpy as np
import pytest
import torch
from agreement import settle
from spmd_claims import LARGE, all_is_well, alone, me, n, others, refused

import ifog
from ifog import topology as t

left, right = (me - 1) % n, (me + 1) % n
x = torch.ones(3)
half = {"self_weight": 0.5}


def floating(numel=3):
    return torch.ones(numel)


# ---- everybody makes the same mistake ----------------------------------------------------------------------------------


@alone
@pytest.mark.parametrize(("arguments", "words"), [
    ({"src_weights": {left: 0.5}}, ("src_weights is given without self_weight", "self_weight=0.5")),
    ({"dst_weights": {right: 0.5}}, ("dst_weights is given without", "names both ends")),
    ({**half, "dst_weights": {right: 0.5}}, ("dst_weights is given without", "src_weights")),
    ({**half, "src_weights": {n: 0.5}}, ("src_weights", f"rank {n}", f"0 to {n - 1}")),
    ({**half, "src_weights": {-1: 0.5}}, ("src_weights", "rank -1", f"0 to {n - 1}")),
    ({**half, "src_weights": {"0": 0.5}}, ("src_weights", "'0'", "whole number")),
    ({**half, "src_weights": {1.5: 0.5}}, ("src_weights", "1.5", "whole number")),
    ({**half, "src_weights": {True: 0.5}}, ("src_weights", "True", "whole number")),
    ({**half, "src_weights": {me: 0.5}}, ("src_weights", f"rank {me} itself", "self_weight")),
    ({**half, "src_weights": {left: "much"}}, (f"src_weights[{left}]='much'", "number")),
    ({**half, "src_weights": {left: float("nan")}}, (f"src_weights[{left}]=nan", "finite")),
    ({**half, "src_weights": {left: None}}, (f"src_weights[{left}]=None", "number")),
    ({**half, "src_weights": {left: torch.ones(2)}}, (f"src_weights[{left}]=", "number")),
    ({**half, "src_weights": {left: np.ones(1)}}, (f"src_weights[{left}]=", "number")),
    ({**half, "src_weights": {left: 1j}}, (f"src_weights[{left}]=1j", "number")),
    ({**half, "src_weights": {left: 10**400}}, (f"src_weights[{left}]=1000", "number")),
    ({**half, "src_weights": [left]}, ("src_weights=", "a dict from rank to weight")),
    ({**half, "src_weights": 0.5}, ("src_weights=0.5", "a dict from rank to weight")),
    ({"self_weight": float("inf")}, ("self_weight=inf", "finite")),
    ({"self_weight": "0.5"}, ("self_weight='0.5'", "number")),
    ({**half, "src_weights": {}, "dst_weights": {n: 1}}, ("dst_weights", f"rank {n}", f"0 to {n - 1}")),
    ({**half, "src_weights": {}, "dst_weights": [me]}, ("dst_weights", f"rank {me} itself")),
    ({**half, "src_weights": {}, "dst_weights": [right, right]}, ("dst_weights", f"rank {right} twice")),
    ({**half, "src_weights": {}, "dst_weights": {right: float("nan")}}, (f"dst_weights[{right}]=nan", "finite")),
    ({**half, "src_weights": {}, "dst_weights": right}, (f"dst_weights={right}", "a list of ranks")),
    ({**half, "src_weights": {}, "dst_weights": "01"}, ("dst_weights='01'", "a list of ranks")),
    ({"x": "text"}, ("x is of type str", "a torch tensor, a numpy array")),
    ({"x": 1.0}, ("x is of type float", "torch.tensor([1.0])")),
    ({"x": None}, ("x is of type NoneType",)),
    ({"x": [x, 1.0]}, ("x[1] is of type float",)),
    ({"x": {"a": x, "b": None}}, ("x['b'] is of type NoneType",)),
    ({"x": [[x, x], [x]]}, ("x[0] is a list", "one list or dict")),
    ({"x": {"a": {"b": x}}}, ("x['a'] is a dict",)),
    ({"x": torch.ones(3, dtype=torch.bool)}, ("x is bool", "x.float()")),
    ({"x": [x, torch.ones(3, dtype=torch.bool)]}, ("bool",)),
    ({"x": torch.ones(3, dtype=torch.int64)}, ("x is int64", "whole numbers", "x.double()")),
    ({"x": torch.ones(3, dtype=torch.uint16)}, ("x is uint16", "whole numbers")),
    ({"x": [x, torch.ones(3, dtype=torch.int32)]}, ("int32", "whole numbers")),
    ({"x": [torch.ones(3, dtype=torch.complex64), torch.ones(3, dtype=torch.int8)]}, ("int8", "whole numbers")),
    ({"x": torch.eye(3).to_sparse()}, ("x is a tensor", "sparse", "dense")),
    ({"x": torch.ones(3).to(torch.float8_e4m3fn)}, ("float8_e4m3fn",)),
    ({"x": torch.empty(3, device="meta")}, ("meta", "numbers in it")),
    ({"x": np.array(["a"])}, ("x is an array of <U1", "no such dtype")),
    ({"x": np.array([None])}, ("x is an array of object",)),
    ({"x": np.ones(3, ">f8")}, ("x is an array of >f8",)),
    ({"x": np.ones(3, "datetime64[s]")}, ("x is an array of datetime64[s]",)),
    ({"out": torch.ones(4)}, ("out is float32 [4]", "like x, float32 [3]")),
    ({"out": torch.ones(3, 1)}, ("out is float32 [3, 1]",)),
    ({"out": torch.ones(3, dtype=torch.float64)}, ("out is float64 [3]",)),
    ({"out": [torch.ones(3)]}, ("out is 1 tensors (float32 [3])",)),
    ({"x": {"a": x}, "out": {"b": x}}, ("out is", "named b", "named a")),
    ({"out": torch.ones(1).expand(3)}, ("out is a tensor whose elements share", "expanded", "out.clone()")),
    ({"x": torch.ones(2, 3), "out": torch.ones(9).as_strided((2, 3), (1, 1))}, ("out is a tensor whose elements share",)),
    ({"x": [x, x], "out": [x, x]}, ("out names a tensor twice",)),
    ({"out": 3}, ("out is of type int",)),
    ({"x": np.ones(3), "out": np.ones(3)[::-1]}, ("out is an array", "strides that are negative")),
    ({"x": np.ones(3), "out": np.broadcast_to(np.ones(3), 3)}, ("out is an array", "read-only")),
    ({"x": np.ones(3, "f4"), "out": np.zeros(3, [("a", "f4"), ("b", "i2")])["a"]}, ("out is an array", "no multiple")),
    ({"name": ["x"]}, ("name=['x'] of neighbor_allreduce", "a string")),
])  # fmt: skip
@pytest.mark.parametrize("wait", [True, False])
def test_wrong_arguments_of_neighbor_allreduce(arguments, words, wait):
    call = ifog.neighbor_allreduce if wait else ifog.neighbor_allreduce_nonblocking
    with refused(ifog.ArgumentError, *words):
        call(**({"x": x} | arguments))


@pytest.mark.skipif(n < 3, reason="any two ranks that can agree at all are neighbours")
@pytest.mark.parametrize("wait", [True, False])
def test_weights_for_no_neighbour(wait):
    call = ifog.neighbor_allreduce if wait else ifog.neighbor_allreduce_nonblocking
    ifog.set_topology(t.directed_ring(n))
    words = ("src_weights names", "no in-neighbor of rank", "(they are [", "for an edge outside the topology give dst_weights")
    with refused(ifog.ArgumentError, *words):
        call(x, self_weight=0.5, src_weights={right: 0.5})


@alone
@pytest.mark.parametrize(("call", "words"), [
    (lambda: ifog.allreduce(x, "median"), ("op='median'", "'mean', 'sum', 'min' or 'max'")),
    (lambda: ifog.allreduce(x, None), ("op=None",)),
    (lambda: ifog.allreduce(x, ["sum"]), ("op=['sum']",)),
    (lambda: ifog.allreduce(x > 0), ("x is bool", "x.int()")),
    (lambda: ifog.allreduce(x.int()), ("x is int32", "op='sum'", "x.double()")),
    (lambda: ifog.allreduce([x, x.int()]), ("x is int32", "op='sum'")),
    (lambda: ifog.allreduce(x + 1j, "max"), ("complex64", "no max")),
    (lambda: ifog.allreduce(x.to(torch.uint32), "min"), ("uint32", "compare", "int64")),
    (lambda: ifog.allreduce(x, out=torch.ones(2)), ("out is float32 [2]",)),
    (lambda: ifog.allreduce(1.0), ("x is of type float",)),
    (lambda: ifog.reduce_scatter(torch.ones(n + 1)), (f"shape [{n + 1}]", f"multiple of {n}")),
    (lambda: ifog.reduce_scatter(torch.tensor(1.0)), ("shape []", f"multiple of {n}")),
    (lambda: ifog.reduce_scatter([torch.ones(n)]), ("reduce_scatter takes one tensor", "list")),
    (lambda: ifog.reduce_scatter(torch.ones(n), "median"), ("op='median'",)),
    (lambda: ifog.allgather([x, x]), ("allgather takes one tensor", "torch.cat")),
    (lambda: ifog.allgather("text"), ("x is of type str",)),
    (lambda: ifog.neighbor_allgather({"a": x}), ("neighbor_allgather takes one tensor", "dict")),
    (lambda: ifog.neighbor_allgather(x, src_ranks=[left]), ("src_ranks and dst_ranks come together",)),
    (lambda: ifog.neighbor_allgather(x, dst_ranks=[left]), ("src_ranks and dst_ranks come together",)),
    (lambda: ifog.neighbor_allgather(x, src_ranks=[n], dst_ranks=[]), ("src_ranks", f"rank {n}")),
    (lambda: ifog.neighbor_allgather(x, src_ranks=[], dst_ranks=[me]), ("dst_ranks", f"rank {me} itself")),
    (lambda: ifog.neighbor_allgather(x, src_ranks=[left, left], dst_ranks=[]), ("src_ranks", "twice")),
    (lambda: ifog.neighbor_allgather(x, src_ranks=left, dst_ranks=[]), ("src_ranks", "a list of ranks")),
    (lambda: ifog.broadcast(x, n), ("root", f"rank {n}", f"0 to {n - 1}")),
    (lambda: ifog.broadcast(x, -1), ("root", "rank -1")),
    (lambda: ifog.broadcast(x, None), ("root", "None", "whole number")),
    (lambda: ifog.broadcast(x, 0, out=x.double()), ("out is float64 [3]",)),
    (lambda: ifog.hierarchical_neighbor_allreduce("text"), ("x is of type str",)),
    (lambda: ifog.hierarchical_neighbor_allreduce(x, src_machine_weights={}), ("without self_weight",)),
    (lambda: ifog.hierarchical_neighbor_allreduce(x, self_weight=1, src_machine_weights={ifog.machine_size(): 1}),
     ("machine", str(ifog.machine_size()))),
    (lambda: ifog.empty(-1), ("(-1,)", "not negative")),
    (lambda: ifog.empty(2, -3), ("(2, -3)", "not negative")),
    (lambda: ifog.empty("3"), ("'3'", "whole numbers")),
    (lambda: ifog.empty(2.5), ("2.5", "whole numbers")),
    (lambda: ifog.empty(3, dtype=np.float32), ("dtype=", "torch.float32")),
    (lambda: ifog.share("text"), ("x is of type str",)),
])  # fmt: skip
def test_wrong_arguments_of_the_other_calls(call, words):
    with refused(ifog.ArgumentError, *words):
        call()


def test_a_mistake_is_a_value_error_and_an_ifog_error():
    with refused(ValueError, "op='median'"):
        ifog.allreduce(x, "median")
    with refused(ifog.IfogError, "op='median'"):
        ifog.allreduce(x, "median")


@alone
def test_a_mistake_of_all_ranks_may_be_mended_by_one_later_than_by_the_others():
    with refused(ifog.ArgumentError, "op='median'"):
        try:
            ifog.allreduce(x, "median")
        finally:
            time.sleep(0.5 * (me == n - 1))


# ---- one rank alone makes it -------------------------------------------------------------------------------------------

MISTAKES = {
    "an unknown op": (lambda: ifog.allreduce(x, "median"), lambda: ifog.allreduce(x), "op='median'"),
    "no tensor": (lambda: ifog.allreduce("text"), lambda: ifog.allreduce(x), "x is of type str"),
    "a long one of another kind": (
        lambda: ifog.allreduce(torch.ones(9 * LARGE) > 0), lambda: ifog.allreduce(torch.ones(9 * LARGE)), "x is bool",
    ),
    "out of another shape": (
        lambda: ifog.neighbor_allreduce(x, out=torch.ones(4)), lambda: ifog.neighbor_allreduce(x), "out is float32 [4]",
    ),
    "an unknown rank": (
        lambda: ifog.neighbor_allreduce(x, self_weight=1, src_weights={n: 1}),
        lambda: ifog.neighbor_allreduce(x, self_weight=1, src_weights=dict.fromkeys(others, 1)),
        f"rank {n}",
    ),
    "an unknown root": (lambda: ifog.broadcast(x, n), lambda: ifog.broadcast(x, n - 1), f"root names rank {n}"),
    "an indivisible length": (
        lambda: ifog.reduce_scatter(torch.ones(n + 1)), lambda: ifog.reduce_scatter(torch.ones(n)), "multiple of",
    ),
    "a list": (lambda: ifog.allgather([x]), lambda: ifog.allgather(x), "one tensor at a time"),
    "a bool between machines": (
        lambda: ifog.hierarchical_neighbor_allreduce(x > 0), lambda: ifog.hierarchical_neighbor_allreduce(x), "bool",
    ),
    "a topology of another size": (
        lambda: ifog.set_topology(t.ring(n + 1)), lambda: ifog.set_topology(t.ring(n)), f"ring({n + 1})",
    ),
    "a gradient in place": (
        lambda: ifog.neighbor_allreduce(torch.ones(3, requires_grad=True), out=torch.ones(3)),
        lambda: ifog.neighbor_allreduce(x),
        "x requires a gradient",
    ),
}  # fmt: skip


@alone
@pytest.mark.parametrize("culprit", [0, n - 1])
@pytest.mark.parametrize("mistake", MISTAKES)
def test_when_one_rank_errs_the_others_are_told(mistake, culprit):
    wrong, right, word = MISTAKES[mistake]
    ifog.set_topology(t.complete(n))
    settle()
    if me == culprit:
        with pytest.raises(ifog.IfogError) as caught:
            wrong()
        assert not isinstance(caught.value, ifog.CommError)
    else:
        with pytest.raises(ifog.PeerFailed, match=f"rank {culprit} failed") as caught:
            (right(), ifog.barrier())  # who does not wait for the culprit in this call does so in the next
    ifog.recover()
    all_is_well()
    assert word in str(caught.value)


@alone
def test_a_rank_that_waits_for_others_than_the_culprit_is_told_too():
    """On a directed ring the culprit is the neighbour of one rank only; the rest wait for those who wait for it."""
    ifog.set_topology(t.directed_ring(n))
    big = torch.ones(2 * LARGE)
    settle()
    if me == 0:
        with pytest.raises(ifog.ArgumentError):
            ifog.neighbor_allreduce("text")
    else:
        with pytest.raises(ifog.PeerFailed, match="rank 0 failed") as caught:
            [ifog.neighbor_allreduce(big) for _ in range(n + 1)]  # a long way around
    ifog.recover()
    all_is_well()
    assert me == 0 or "x is of type str" in str(caught.value)


@alone
def test_an_error_of_ones_own_between_calls_releases_the_others():
    if me == 0:
        with pytest.raises(ZeroDivisionError):
            1 / 0  # noqa: B018
    else:
        with pytest.raises(ifog.PeerFailed, match="rank 0"):  # that rank 0 recovers is how they learn it
            ifog.allreduce(x)
    ifog.recover()
    all_is_well()
