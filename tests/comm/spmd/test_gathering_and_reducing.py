"""Reducing, gathering, broadcasting: against torch on the stack of what all ranks bring."""

import numpy as np
import pytest
import torch
from agreement import examples
from hypothesis import strategies as st
from spmd_claims import (
    COMPLEX,
    FLOATS,
    HALVES,
    INEXACT,
    INTEGERS,
    LARGE,
    alone,
    assert_close,
    assert_mixed,
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
from ifog import topology as t

ORDERED = [*FLOATS, *HALVES, torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8]


def share_of(x, rank=me):
    rows = len(x) // n
    return x[rank * rows : (rank + 1) * rows]


# ---- reducing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [*INEXACT, *INTEGERS])
def test_a_sum_and_a_mean_over_all_ranks(dtype):
    for shape in [(), (0, 3), (5,), (8 * LARGE + 3,), (n, 3), (4 * n, LARGE)]:
        xs = everyones(1, shape, dtype)
        for op, weight in {"sum": 1, "mean": 1 / n}.items():
            if op == "mean" and dtype in INTEGERS:
                continue
            y = ifog.allreduce(xs[me], op)
            assert_sum(y, dict.fromkeys(range(n), weight), xs)
            assert all(same(y, other) for other in everywhere(y))
            if shape and shape[0] % n == 0:
                share = ifog.reduce_scatter(xs[me], op)
                assert same(share, share_of(y))


@pytest.mark.parametrize("dtype", [*FLOATS, *COMPLEX])
@pytest.mark.parametrize("length", [5, 3 * LARGE + 1])
def test_a_sum_is_added_up_in_the_order_of_the_ranks(dtype, length):
    xs = everyones(12, (length,), dtype)
    total = xs[0].clone()
    for x in xs[1:]:
        total += x
    assert same(ifog.allreduce(xs[me], "sum"), total)
    mean = torch.view_as_complex(torch.view_as_real(total) / n) if total.is_complex() else total / n
    assert same(ifog.allreduce(xs[me]), mean)
    assert same(ifog.allreduce([xs[me], xs[me][:1]], "sum")[0], total)


@pytest.mark.parametrize("dtype", ORDERED)
@pytest.mark.parametrize("op", ["min", "max"])
def test_the_least_and_the_largest(op, dtype):
    best = torch.amin if op == "min" else torch.amax
    for shape in [(), (0, 3), (5,), (8 * LARGE + 3,), (n, 3), (4 * n, LARGE)]:
        xs = everyones(2, shape, dtype)
        expected = best(torch.stack(xs), 0)
        assert same(ifog.allreduce(xs[me], op), expected)
        if shape and shape[0] % n == 0:
            assert same(ifog.reduce_scatter(xs[me], op), share_of(expected))


@pytest.mark.parametrize("op", ["mean", "sum", "min", "max"])
def test_a_nan_of_one_rank_is_everybodys(op):
    for length in (3, LARGE):
        x = torch.ones(length)
        if me == n - 1:
            x[-1] = float("nan")
        y = ifog.allreduce(x, op)
        assert y[-1].isnan()
        assert not y[:-1].isnan().any()


@examples(30, seed=st.integers(0, 10**6), numel=st.integers(0, 40) | st.integers(3 * LARGE, 9 * LARGE),
          dtype=st.sampled_from([*INEXACT, *INTEGERS]))  # fmt: skip
def test_a_sum_of_any_length(seed, numel, dtype):
    """Lengths that no number of ranks divides: of a long sum each rank adds up one piece."""
    xs = everyones(seed, (numel,), dtype)
    assert_sum(ifog.allreduce(xs[me], "sum"), dict.fromkeys(range(n), 1), xs)


@examples(20, seed=st.integers(0, 10**6), rows=st.integers(0, 3), columns=st.integers(0, 5) | st.integers(LARGE, 3 * LARGE),
          dtype=st.sampled_from([*INEXACT, *INTEGERS]))  # fmt: skip
def test_a_share_of_any_length(seed, rows, columns, dtype):
    xs = everyones(seed, (n * rows, columns), dtype)
    y = ifog.reduce_scatter(xs[me], "sum")
    assert_sum(y, dict.fromkeys(range(n), 1), [share_of(x) for x in xs])


# ---- gathering ---------------------------------------------------------------------------------------------------------


@examples(
    30,
    seed=st.integers(0, 10**6),
    rows=st.lists(st.integers(0, 4) | st.integers(LARGE, 2 * LARGE), min_size=8, max_size=8),
    tail=st.lists(st.integers(0, 3), max_size=2).map(tuple),
    dtype=st.sampled_from([*INEXACT, *INTEGERS]),
)
def test_allgather_of_unequal_lengths(seed, rows, tail, dtype):
    xs = [numbers(seed, (rows[rank % 8], *tail), dtype, rank) for rank in range(n)]
    y = ifog.allgather(xs[me])
    assert same(y, torch.cat(xs))
    assert y.shape == torch.cat(xs).shape


@pytest.mark.parametrize("empty_one", [0, n - 1])
def test_a_rank_may_have_nothing_to_gather(empty_one):
    xs = [numbers(3, (0 if rank == empty_one else 2 + rank, 2), rank=rank) for rank in range(n)]
    assert torch.equal(ifog.allgather(xs[me]), torch.cat(xs))
    assert ifog.allgather(torch.empty(0, 3)).shape == (0, 3)


def test_single_numbers_are_gathered_into_a_row():
    assert ifog.allgather(torch.tensor(float(me))).tolist() == list(range(n))
    assert ifog.allgather(np.array(me)).tolist() == list(range(n))
    assert sorted(ifog.neighbor_allgather(torch.tensor(me)).tolist()) == ifog.in_neighbors()


@pytest.mark.parametrize("rows", [1, LARGE])
@pytest.mark.parametrize("topology", [t.ring(n), t.star(n), t.base_graph(n)], ids=lambda topology: topology.label)
def test_neighbor_allgather_gives_the_in_neighbours_in_ascending_order(topology, rows):
    ifog.set_topology(topology)
    xs = [numbers(4, (rows * (rank + 1), 2), rank=rank) for rank in range(n)]
    for k in range(3):
        sources = ifog.in_neighbors()
        assert sources == [j for j in range(n) if topology[k].W[me, j] and j != me]
        y = ifog.neighbor_allgather(xs[me])
        assert torch.equal(y, torch.cat([xs[j] for j in sources] or [xs[me][:0]]))


@pytest.mark.parametrize("rows", [1, LARGE])
def test_neighbor_allgather_with_edges_of_its_own_gives_them_in_the_order_named(rows):
    xs = [numbers(5, (rows + rank, 2), rank=rank) for rank in range(n)]
    sources = [(me + shift) % n for shift in (3, 1, 2) if shift < n]
    dests = [(me - shift) % n for shift in (1, 2, 3) if shift < n]
    y = ifog.neighbor_allgather(xs[me], src_ranks=sources, dst_ranks=dests)
    assert torch.equal(y, torch.cat([xs[j] for j in sources] or [xs[me][:0]]))
    empty = ifog.neighbor_allgather(xs[me], src_ranks=[], dst_ranks=())
    assert empty.shape == (0, 2)


# ---- broadcasting ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("root", range(n))
def test_broadcast_from_every_root(root):
    for shape in [(), (0,), (3, 2), (LARGE, 2)]:
        for dtype in (torch.float64, torch.bfloat16, torch.complex64, torch.uint16, torch.bool):
            xs = [x > 0 for x in everyones(6, shape)] if dtype is torch.bool else everyones(6, shape, dtype)
            assert same(ifog.broadcast(xs[me], root), xs[root])
    x = xs[me].float()
    assert ifog.broadcast(x, root=np.int64(root), out=x) is x
    assert torch.equal(x, xs[root].float())


def test_a_barrier_waits_for_the_last_one():
    """Nobody leaves before all have come: what each says before it comes is there when it leaves."""
    for last in range(n):
        if me == last:
            handles = [ifog.send_nonblocking("here", rank) for rank in others]
        ifog.barrier()
        if me == last:
            for handle in handles:
                handle.wait()
        else:
            assert ifog.recv(last) == "here"


@alone
def test_a_barrier_is_not_over_before_everybody_is_there():
    if me == 0:
        for rank in others:
            assert ifog.recv(rank) is False
        ifog.barrier()
    else:
        handle = ifog.barrier_nonblocking()
        ifog.send(handle.done, 0)
        assert handle.wait() is None


# ---- two levels --------------------------------------------------------------------------------------------------------


def between_machines(W, xs):
    """Each machine's mean, mixed by W."""
    m, size = ifog.machine_size(), ifog.local_size()
    means = [sum(x.to(torch.complex128 if x.is_complex() else torch.float64) for x in xs[i * size : (i + 1) * size]) / size
             for i in range(m)]  # fmt: skip
    return sum(W[ifog.machine_rank(), j] * means[j] for j in range(m))


@pytest.mark.parametrize("shape", [(), (5,), (n, 0), (LARGE, 3)])
@pytest.mark.parametrize("dtype", INEXACT)
def test_hierarchical_averaging_is_the_mean_of_a_machine_mixed_between_machines(dtype, shape):
    m = ifog.machine_size()
    assert ifog.is_homogeneous()
    tolerance = {torch.float64: 1e-14, torch.complex128: 1e-14, torch.float32: 1e-6, torch.complex64: 1e-6,
                 torch.float16: 4e-3, torch.bfloat16: 3e-2}[dtype]  # fmt: skip
    xs = everyones(7, shape, dtype)
    for topology in (t.ring(m), t.complete(m), t.base_graph(m)):
        ifog.set_machine_topology(topology)
        for k in range(2):
            y = ifog.hierarchical_neighbor_allreduce(xs[me])
            assert y.dtype == dtype
            exact = between_machines(topology[k].W, xs)
            assert_close(y.to(exact.dtype), exact, rtol=tolerance, atol=tolerance)
        first = ifog.machine_rank() * ifog.local_size()
        assert same(y, everywhere(y)[first])  # the same bits on all of a machine


def test_hierarchical_averaging_with_weights_of_ones_own():
    m, machine = ifog.machine_size(), ifog.machine_rank()
    xs = everyones(8, (LARGE,))
    W = np.eye(m) * 0.75 + (np.roll(np.eye(m), 1, axis=0) * 0.25 if m > 1 else 0)
    src = {(machine - 1) % m: 0.5} if m > 1 else {}
    dst = {(machine + 1) % m: 0.5} if m > 1 else {}
    y = ifog.hierarchical_neighbor_allreduce(xs[me], self_weight=0.75, src_machine_weights=src, dst_machine_weights=dst)
    np.testing.assert_allclose(y, between_machines(W, xs), rtol=0, atol=1e-14)
    ifog.set_machine_topology(t.complete(m))
    W = np.full((m, m), 0.5) + 0.5 * np.eye(m)
    src = {j: 0.5 for j in ifog.in_neighbor_machines()}  # noqa: C420
    y = ifog.hierarchical_neighbor_allreduce(xs[me], self_weight=1, src_machine_weights=src)
    np.testing.assert_allclose(y, between_machines(W, xs), rtol=0, atol=1e-14)


def test_what_a_machine_leaves_out_keeps_nobody_waiting():
    m, machine = ifog.machine_size(), ifog.machine_rank()
    ifog.set_machine_topology(t.complete(m))
    xs = everyones(8, (20 * LARGE,))
    W = np.eye(m) * 0.75 + (np.roll(np.eye(m), 1, axis=0) * 0.25 if m > 1 else 0)
    src = {(machine - 1) % m: 0.25} if m > 1 else {}
    y = ifog.hierarchical_neighbor_allreduce(xs[me], self_weight=0.75, src_machine_weights=src)
    np.testing.assert_allclose(y, between_machines(W, xs), rtol=0, atol=1e-14)


def test_hierarchical_averaging_of_several_tensors_and_arrays():
    W = t.exponential(ifog.machine_size()).W
    a, b = everyones(9), everyones(10, (LARGE, 2))
    y = ifog.hierarchical_neighbor_allreduce({"a": a[me], "b": b[me].numpy()})
    np.testing.assert_allclose(y["a"], between_machines(W, a), rtol=0, atol=1e-14)
    np.testing.assert_allclose(y["b"], between_machines(W, b), rtol=0, atol=1e-14)
    assert isinstance(y["b"], np.ndarray)


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool])
def test_integers_have_no_mean_of_a_machine(dtype):
    with refused(ifog.ArgumentError, str(dtype).removeprefix("torch."), "x.double()"):
        ifog.hierarchical_neighbor_allreduce(torch.ones(3, dtype=dtype))


def test_machines_are_numbered_like_their_ranks():
    said = everywhere((ifog.machine_rank(), ifog.local_rank(), ifog.local_size()))
    machines = sorted({machine for machine, _, _ in said})
    assert machines == list(range(ifog.machine_size()))
    for machine in machines:
        mine = [(local, size) for where, local, size in said if where == machine]
        assert [local for local, _ in mine] == list(range(len(mine)))
        assert {size for _, size in mine} == {len(mine)}


@pytest.mark.parametrize("dtype", COMPLEX)
def test_a_mixture_of_complex_numbers_has_real_weights(dtype):
    xs = everyones(11, (4,), dtype)
    y = ifog.neighbor_allreduce(xs[me])
    assert_mixed(y.real.contiguous(), t.exponential(n).W, [x.real.contiguous() for x in xs])
