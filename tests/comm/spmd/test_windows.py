"""One-sided: what a rank writes into its neighbours' windows, and the mass that asynchronous push-sum keeps."""

import time

import numpy as np
import pytest
import torch
from agreement import settle
from spmd_claims import FLOATS, LARGE, all_is_well, alone, everyones, everywhere, me, n, numbers, others, refused, same

import ifog

graph = ifog.topology.exponential(n)
W = graph.W
sources = sorted(int(j) for j in graph.in_neighbors(me))
dests = sorted(int(j) for j in graph.out_neighbors(me))


@pytest.fixture(params=[3, LARGE], ids=["short", "long"])
def length(request):
    return request.param


def test_put_and_update_are_the_matrix_product(length):
    xs = everyones(1, (length,))
    with ifog.Window(xs[me]) as w:
        w.put()
        ifog.barrier()
        assert w.versions() == dict.fromkeys(sources, 1)
        y = w.update()
        exact = sum(W[me, j] * xs[j] for j in range(n) if W[me, j])
        assert (y - exact).abs().max() <= 1e-14
        assert w.versions() == dict.fromkeys(sources, 0)
        assert y.data_ptr() == w.value.data_ptr()


def test_get_and_update_are_the_matrix_product(length):
    xs = everyones(2, (length,))
    with ifog.Window(xs[me], zero=True) as w:
        w.get()
        ifog.barrier()  # else a neighbour that updates early would change what this rank still has to get
        exact = sum(W[me, j] * xs[j] for j in range(n) if W[me, j])
        assert (w.update() - exact).abs().max() <= 1e-14


def test_buffers_begin_as_copies_of_the_own_value_or_as_zeros():
    x = numbers(3)
    with ifog.Window(x) as w:
        assert (w.update(0.0, dict.fromkeys(sources, 1.0)) - len(sources) * x).abs().max() <= 1e-15 * len(sources)
    with ifog.Window(x, zero=True) as w:
        assert not w.update(0.0, dict.fromkeys(sources, 1.0)).any()


def test_accumulate_adds_and_put_overwrites():
    with ifog.Window(torch.ones(2, dtype=torch.float64), zero=True) as w:
        for _ in range(3):
            w.accumulate(dst_weights=dict.fromkeys(dests, 2.0))
        ifog.barrier()
        assert w.update(0.0, dict.fromkeys(sources, 1.0), reset=True).tolist() == [6.0 * len(sources)] * 2
        ifog.barrier()
        for k in range(3):
            w.put(torch.full((2,), float(k), dtype=torch.float64))
        ifog.barrier()
        assert w.collect().tolist() == [6.0 * len(sources) + 2.0 * len(sources)] * 2
        assert w.collect().tolist() == [8.0 * len(sources)] * 2, "collected twice"


def test_what_is_kept_is_scaled_with_its_p():
    with ifog.Window(torch.full((2,), 8.0, dtype=torch.float64)) as w:
        w.put(dst_weights=[], self_weight=0.25)
        assert (w.value.tolist(), w.p) == ([2.0, 2.0], 0.25)
        w.p = 3.0
        assert w.p == 3.0


def test_p_travels_with_the_value():
    with ifog.Window(numbers(4), zero=True) as w:
        w.accumulate(dst_weights=dict.fromkeys(dests, 0.5), self_weight=0.5)
        ifog.barrier()
        w.collect()
        assert w.p == 0.5 + 0.5 * len(sources)


def test_asynchronous_push_sum_keeps_its_mass_and_finds_the_mean(length):
    """Ranks at very different speeds, in no step with each other: Σ p = n and Σ x stay, and x/p goes to the mean."""
    xs = everyones(5, (length,))
    mean = sum(xs) / n
    w = ifog.Window(xs[me], zero=True)
    share = 1 / (len(dests) + 1)
    turns, until = 0, time.monotonic() + 0.4
    while time.monotonic() < until or turns < 8:
        w.accumulate(dst_weights=dict.fromkeys(dests, share), self_weight=share)
        w.collect()
        time.sleep(0.002 * (me % 3))
        turns += 1
    ifog.barrier()
    w.collect()
    total = ifog.allreduce(torch.tensor([w.p], dtype=torch.float64), "sum").item()
    assert abs(total - n) <= 1e-12
    assert (ifog.allreduce(w.value, "mean") - mean).abs().max() <= 1e-12
    # from here on in step: what is unevenly spread is mixed to the end
    for _ in range(60):
        w.accumulate(dst_weights=dict.fromkeys(dests, share), self_weight=share)
        ifog.barrier()
        w.collect()
        ifog.barrier()
    assert (w.value / w.p - mean).abs().max() <= 1e-9
    w.free()


@pytest.mark.parametrize("dtype", [*FLOATS, torch.bfloat16, torch.complex128, torch.int64])
def test_windows_of_other_dtypes(dtype):
    with ifog.Window(torch.full((3, 2), me + 1, dtype=dtype), zero=True) as w:
        w.accumulate()
        ifog.barrier()
        y = w.collect()
        assert y.dtype == dtype
        assert y.shape == (3, 2)
        assert y[0, 0].item() == me + 1 + sum(j + 1 for j in sources)


@alone
def test_under_a_mutex_nobody_reads_half_of_what_is_written():
    """Two puts that belong together: the owner sees both or none."""
    with ifog.Window(torch.zeros(1, dtype=torch.float64), zero=True) as a, ifog.Window(torch.zeros(1), zero=True) as b:
        for k in range(20):
            with a.mutex():
                a.put(torch.tensor([float(k)], dtype=torch.float64))
                b.put(torch.tensor([float(k)]))
            with a.mutex(for_self=True):
                ones = a.update(0.0, dict.fromkeys(sources, 1.0)).item()
                twos = b.update(0.0, dict.fromkeys(sources, 1.0)).item()
            assert ones == twos
        ifog.barrier()


@alone
def test_an_error_under_a_mutex_opens_it():
    w = ifog.Window(numbers(6))
    if me == 0:
        with pytest.raises(ZeroDivisionError), w.mutex():
            1 / 0  # noqa: B018
    ifog.barrier()
    with w.mutex(for_self=True):  # whatever rank 0 held is free again
        w.update()
    ifog.barrier()
    w.free()


@alone
def test_a_rank_that_fails_with_a_mutex_held_releases_the_others():
    w = ifog.Window(numbers(7))
    settle()  # else rank 0 may fail while another one is still about to leave the constructor
    error = None
    try:
        if me == 0:
            with w.mutex():
                raise RuntimeError("rank 0 has had enough")
        ifog.barrier()
    except Exception as raised:  # noqa: BLE001
        error = raised
        ifog.recover()
    assert isinstance(error, RuntimeError if me == 0 else ifog.PeerFailed)
    assert "rank 0 has had enough" in str(error)
    w.put()  # the window lives on in the new epoch
    ifog.barrier()
    w.update()
    ifog.barrier()
    w.free()


@pytest.mark.filterwarnings("ignore::ifog.errors.TopologyWarning")  # that one_peer_exponential wants a power of two
def test_windows_of_a_schedule_know_the_neighbours_of_all_rounds():
    ifog.set_topology(ifog.topology.one_peer_exponential(n))
    with ifog.Window(numbers(8)) as w:
        assert w.in_neighbors == sources
        assert w.out_neighbors == dests


def test_nonblocking_forms_do_the_same():
    with ifog.Window(numbers(9), zero=True) as w:
        first, second = w.accumulate_nonblocking(), w.accumulate_nonblocking()
        second.wait(), first.wait()
        ifog.barrier()
        assert w.versions() == dict.fromkeys(sources, 2)
        ifog.barrier()
        w.get_nonblocking().wait()
        ifog.barrier()


def test_what_was_given_is_copied_and_the_value_outlives_its_window():
    x = numbers(10)
    before = x.clone()
    w = ifog.Window(x)
    w.update(2.0, {})
    assert same(x, before)
    kept = w.value
    w.free()
    for k in range(4):
        ifog.allreduce(torch.full((LARGE,), float(k)))
    assert same(kept, 2 * before)


def test_windows_are_listed_by_name():
    a, b = ifog.Window(numbers(11), "a"), ifog.Window(numbers(12))
    assert [w.name for w in ifog.windows()] == ["a", b.name]
    assert "'a'" in repr(a)
    with refused(ifog.ArgumentError, "'a'", "free it first"):
        ifog.Window(numbers(11), "a")
    a.free(), b.free()
    assert ifog.windows() == []
    with refused(ifog.ArgumentError, "'a'", "freed"):
        a.put()


def test_memory_comes_back():
    import gc

    from ifog.comm import world

    pool = world.current().pool
    gc.collect()
    pool.kept  # noqa: B018  (what the garbage collector has freed is noted here)
    before = pool.held
    for _ in range(5):
        with ifog.Window(torch.zeros(LARGE)):
            pass
    gc.collect()
    pool.kept  # noqa: B018
    assert pool.held == before


@alone
def test_bad_arguments_are_refused_by_name():
    with ifog.Window(numbers(13), "w") as w:
        with refused(ifog.ArgumentError, "dst_weights", "itself"):
            w.put(dst_weights={me: 1.0})
        with refused(ifog.ArgumentError, "dst_weights", str(n)):
            w.put(dst_weights={n: 1.0})
        with refused(ifog.ArgumentError, "window 'w' holds", "float32"):
            w.put(torch.zeros(3))
        with refused(ifog.ArgumentError, "self_weight", "src_weights"):
            w.update(1.0)
        with refused(ifog.ArgumentError, "finite"):
            w.accumulate(self_weight=float("nan"))
        strangers = [rank for rank in others if rank not in dests]
        if len(everywhere(strangers)) == n and all(everywhere(bool(strangers))):
            with refused(ifog.ArgumentError, "no out-neighbor"):
                w.put(dst_weights=[strangers[0]])
    with refused(ifog.ArgumentError, "bool"):
        ifog.Window(torch.zeros(2, dtype=torch.bool))
    with refused(ifog.ArgumentError, "name=3"):
        ifog.Window(torch.zeros(2), 3)
    whole = ifog.Window(torch.zeros(2, dtype=torch.int64))
    with refused(ifog.ArgumentError, "whole numbers"):
        whole.accumulate(dst_weights=dict.fromkeys(dests, 0.5))
    whole.free()


@alone
def test_windows_of_different_shapes_are_a_mismatch():
    with pytest.raises(ifog.Mismatch, match="Window"):
        ifog.Window(torch.zeros(2 + (me == 0)))
    ifog.recover()
    all_is_well()


def test_numpy_arrays_make_windows_too():
    with ifog.Window(np.arange(3.0)) as w:
        assert w.value.tolist() == [0.0, 1.0, 2.0]
