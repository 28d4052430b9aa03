"""One-sided: what a rank writes into its neighbours' windows, and the mass that asynchronous push-sum keeps."""

import random
import textwrap
import time

import numpy as np
import pytest
import torch
from agreement import settle
from spmd_claims import FLOATS, LARGE, all_is_well, alone, everyones, everywhere, me, n, numbers, others, refused, same

import ifog
from ifog.comm import patience, windows, world
from ifog.comm.board import IDLE, REFUSED, RUNNING

between_machines = pytest.mark.skipif(ifog.machine_size() == 1, reason="on one machine no thread is needed")
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


def test_buffers_begin_as_zeros_or_as_copies_of_the_own_value():
    x = numbers(3)
    with ifog.Window(x, zero=False) as w:
        assert (w.update(0.0, dict.fromkeys(sources, 1.0)) - len(sources) * x).abs().max() <= 1e-15 * len(sources)
    with ifog.Window(x) as w:
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


def test_the_example_keeps_the_mass_and_finds_the_mean():
    """That of the docstring, as it stands there: first the ranks run it as fast as each can, then on in step."""
    x = numbers(14)
    mean = sum(everyones(14)) / n
    code = textwrap.dedent(windows.__doc__.partition("::\n")[2].partition("\n\nOn one machine")[0])
    names = {"ifog": ifog, "x": x}
    exec(code, names)
    w = names["w"]
    ifog.barrier()
    w.collect()
    assert abs(sum(everywhere(w.p)) - n) <= 1e-12
    assert (sum(everywhere(w.value)) - n * mean).abs().max() <= 1e-12
    _, loop = code.split("\nfor ")
    for _ in range(60):
        exec("for " + loop.replace("100", "1"), names)
        ifog.barrier()
    assert (names["z"] - mean).abs().max() <= 1e-9
    ifog.barrier()
    w.free()


def test_a_pending_accumulate_shares_out_what_was_there_when_it_began():
    """What is collected while it waits for a neighbour is shared out the next time: nothing is lost, or sent twice."""
    ifog.set_topology(ifog.topology.complete(n))
    last = n - 1
    if last < 1:
        return
    with ifog.Window(torch.ones(3, dtype=torch.float64)) as w:
        if me == last:
            w.accumulate(dst_weights={0: 0.5}, self_weight=0.5)  # half of it waits in a buffer at rank 0
        ifog.barrier()
        if me == last:
            with w.mutex(for_self=True):  # nobody writes into the buffers here
                ifog.send("held", 0)
                ifog.recv(0)
        elif me == 0:
            ifog.recv(last)
            share = 1 / n
            handle = w.accumulate_nonblocking(dst_weights=dict.fromkeys(others, share), self_weight=share)
            w.collect()
            assert not handle.done
            ifog.send("collected", last)
            handle.wait()
        ifog.barrier()
        w.collect()
        assert abs(sum(everywhere(w.p)) - n) <= 1e-14
        assert (sum(everywhere(w.value)) - n).abs().max() <= 1e-14


def test_what_is_assigned_to_the_value_is_what_neighbours_get():
    with ifog.Window(torch.zeros(2, 2, dtype=torch.float64)) as w:
        memory = w.value
        w.value = torch.full((2, 2), me + 1.0, dtype=torch.float64, requires_grad=True)
        w.value += 1
        w.value = w.value.t()
        w.value = w.value.numpy() + 0.0
        assert w.value is memory
        assert not w.value.requires_grad
        ifog.barrier()
        w.get()
        ifog.barrier()
        assert (w.update(0.0, dict.fromkeys(sources, 1.0)) == sum(j + 2.0 for j in sources)).all()
        for wrong, word in [(torch.zeros(3), "float32"), (torch.zeros(4, dtype=torch.float64), "[4]"), (3.0, "float")]:
            with refused(ifog.ArgumentError, word):
                w.value = wrong
    with refused(ifog.ArgumentError, "freed"):
        w.value = torch.zeros(2, 2, dtype=torch.float64)


def test_the_value_is_written_through_a_view_of_itself():
    with ifog.Window(torch.arange(6.0).view(2, 3)) as w:
        w.value = w.value.flip(0).flip(0).view(3, 2).t().reshape(2, 3)
        assert w.value.tolist() == torch.arange(6.0).view(3, 2).t().reshape(2, 3).tolist()


@pytest.mark.parametrize("shape", [(), (0,), (2, 0)])
def test_windows_of_a_number_and_of_nothing(shape):
    with ifog.Window(torch.full(shape, me + 1.0)) as w:
        assert w.value.shape == shape
        w.put(w.value * 2)
        ifog.barrier()
        assert (w.collect() == me + 1 + sum(2 * (j + 1) for j in sources)).all()
        ifog.barrier()
        w.get()
        ifog.barrier()
        assert w.collect().shape == shape


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


@pytest.mark.skipif(n < 3, reason="it takes three")
def test_a_mutex_is_opened_for_a_rank_while_another_one_waits_to_write():
    """Rank 1 waits for rank 0, which is updating, which waits for the mutex of rank 2: it must be heard opening it."""
    ifog.set_topology(ifog.topology.complete(n))
    with ifog.Window(numbers(15)) as w:
        if me == 2:
            with w.mutex([0]):
                ifog.send("held", 0), ifog.send("held", 1)
                time.sleep(0.3)
        elif me == 0:
            ifog.recv(2)
            w.update()
        elif me == 1:
            ifog.recv(2)
            time.sleep(0.1)
            w.put(dst_weights=[0])
        ifog.barrier()
        assert me > 0 or w.versions()[1] == 1


@alone
def test_a_mutex_that_a_recovery_has_opened_is_not_opened_again():
    with ifog.Window(numbers(16)) as w:
        with w.mutex():
            settle()
            ifog.recover()
        for _ in range(2):
            w.put()
            ifog.barrier()
        with w.mutex(), w.mutex():
            pass
        w.update()
        ifog.barrier()


@between_machines
def test_an_error_in_the_thread_that_serves_windows_is_everybodys(monkeypatch):
    w = ifog.Window(numbers(17))
    settle()
    if me == 0:
        monkeypatch.setattr(w, "_write", lambda *_: 1 / 0)
    with pytest.raises(ifog.PeerFailed, match="ZeroDivisionError"):
        w.put(dst_weights=[0]) if 0 in dests and me == n - 1 else ifog.barrier()
    monkeypatch.undo()
    ifog.recover()
    w.put()
    ifog.barrier()
    assert w.versions() == dict.fromkeys(sources, 1)
    w.free()


@between_machines
def test_a_rank_serves_others_beyond_the_end_of_its_cell(monkeypatch):
    """What takes longer to arrive than a deadlock to be called one."""
    ifog.set_topology(ifog.topology.complete(n))
    here = world.current()
    w = ifog.Window(numbers(18))
    settle()
    if me == n - 1:
        real = w._write
        monkeypatch.setattr(w, "_write", lambda *a: (time.sleep(0.8), real(*a)))
        here.board.enter(IDLE)
    elif me == 0:
        monkeypatch.setattr(patience, "DEADLOCK_AFTER", 0.2)
        time.sleep(0.3)
        w.put(dst_weights=[n - 1])
    settle()
    if me == n - 1:
        here.board.enter(RUNNING)
        assert w.versions()[0] == 1
    settle()
    w.free()


@between_machines
def test_who_has_let_go_of_a_window_says_so():
    ifog.set_topology(ifog.topology.complete(n))
    w = ifog.Window(numbers(19), "w")
    settle()
    if me == n - 1:
        w.__exit__(ValueError)  # as after an error in a with-statement
    settle()
    if me == 0:
        with pytest.raises(ifog.Mismatch, match=f"rank {n - 1} has freed window 'w'"):
            w.put(dst_weights=[n - 1])
    settle()
    ifog.recover()
    w.__exit__(ValueError)


@pytest.mark.parametrize("mistake", [
    lambda w: w.put(torch.zeros(99)),
    lambda w: w.accumulate(self_weight="much"),
    lambda w: w.get([me]),
    lambda w: w.update(1.0),
    lambda w: w.mutex([me]).__enter__(),
])  # fmt: skip
def test_a_mistake_of_one_is_nobody_elses(mistake):
    board = world.current().board
    with ifog.Window(numbers(20)) as w:
        with pytest.raises(ifog.ArgumentError):
            mistake(w)
        assert not board.words[board.mine + REFUSED]


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


def test_averages_of_two_keep_the_sum_and_find_the_mean():
    """Whoever averages with whom, all at once and in no order: rows here and elsewhere, and what is added stays."""
    ifog.set_topology(ifog.topology.complete(n))
    xs = everyones(15, (2, 3))
    order = random.Random(me)
    with ifog.Window(xs[me]) as w:
        got = w.average(me, mine=1, theirs=1, plus=torch.ones(3, dtype=torch.float64))
        assert torch.equal(got, xs[me][1] + 1)
        assert torch.equal(got, w.value[1])
        ifog.barrier()
        for _ in range(60):
            w.average(order.randrange(n), mine=order.randrange(2), theirs=order.randrange(2))
        ifog.barrier()
        mean = (sum(xs).sum(0) + n) / (2 * n)
        assert (ifog.allreduce(w.value.sum(0), "sum") / (2 * n) - mean).abs().max() <= 1e-13
        assert (w.value - mean).abs().max() < 0.1
        assert w.p == 1.0


def test_averages_that_cannot_be_are_refused():
    ifog.set_topology(ifog.topology.directed_ring(n))
    with ifog.Window(torch.zeros(2, 3)) as w:
        with refused(ifog.ArgumentError, "mine=2: the rows of window"):
            w.average(me, mine=2)
        with refused(ifog.ArgumentError, "plus is torch.float32 of the shape (2,)"):
            w.average(me, plus=torch.zeros(2))
        if n > 2:
            with refused(ifog.ArgumentError, "which is no out-neighbor"):
                w.average((me - 1) % n)
        ifog.barrier()
    with ifog.Window(torch.zeros(2, dtype=torch.int64)) as w, refused(ifog.ArgumentError, "average needs rows of floats"):
        w.average(me)
