"""The topology along which the ranks talk, how it is swapped, and how the ranks' world begins, ends and begins anew."""

import networkx as nx
import numpy as np
import pytest
import torch
from agreement import settle
from spmd_claims import LARGE, all_is_well, alone, assert_mixed, everyones, everywhere, me, n, numbers, refused

import ifog
from ifog import topology as t
from ifog.errors import TopologyError


def label(given):
    return getattr(given, "label", type(given).__name__)


def test_a_session_starts_on_the_static_exponential_graph():
    ifog.shutdown()
    assert ifog.topology() == t.exponential(n)
    assert ifog.machine_topology() == t.exponential(ifog.machine_size())
    assert_mixed(ifog.neighbor_allreduce(numbers(1)), t.exponential(n).W, everyones(1))


@pytest.mark.parametrize("given", [
    t.ring(n), "star", nx.complete_graph(n), np.full((n, n), 1 / n), t.base_graph(n), t.od_equidyn(n, seed=3),
    t.schedule([t.ring(n), t.complete(n)]),
], ids=label)  # fmt: skip
def test_whatever_describes_a_topology_can_be_set(given):
    expected = t.as_topology(given, n)
    ifog.set_topology(given)
    assert ifog.topology() == expected
    for k in range(4):
        assert ifog.in_neighbors() == [j for j in range(n) if expected[k].W[me, j] and j != me]
        assert_mixed(ifog.neighbor_allreduce(numbers(k)), expected[k].W, everyones(k))


@alone
def test_neighbours_are_those_of_a_directed_graph():
    ifog.set_topology(nx.DiGraph([(i, (i + 1) % n) for i in range(n)]))
    assert ifog.in_neighbors() == [(me - 1) % n]
    assert ifog.out_neighbors() == [(me + 1) % n]
    ifog.set_topology(t.star(n))
    assert ifog.in_neighbors() == ifog.out_neighbors() == ([0] if me else list(range(1, n)))


def test_neighbours_are_copies():
    ifog.set_topology(t.complete(n))
    ifog.in_neighbors().clear()
    ifog.out_neighbors().append(99)
    assert ifog.in_neighbors() == ifog.out_neighbors() == [j for j in range(n) if j != me]


def test_topologies_are_swapped_between_calls():
    xs = everyones(2, (LARGE,))
    for topology in (t.ring(n), t.star(n), t.complete(n), t.base_graph(n), t.ring(n), t.exponential(n)):
        ifog.set_topology(topology)
        for k in range(2):
            assert_mixed(ifog.neighbor_allreduce(xs[me]), topology[k].W, xs)


def test_setting_a_schedule_again_begins_with_its_first_round():
    schedule = t.base_graph(n)
    for _ in range(3):
        ifog.set_topology(schedule)
        assert_mixed(ifog.neighbor_allreduce(numbers(3)), schedule[0].W, everyones(3))


def test_other_calls_leave_the_schedule_in_its_round():
    schedule = t.base_graph(n)
    ifog.set_topology(schedule)
    for k in range(4):
        ifog.allreduce(torch.ones(2))
        ifog.barrier()
        ifog.broadcast(torch.ones(2))
        with pytest.raises(ifog.ArgumentError):
            ifog.neighbor_allreduce("not a tensor")
        with pytest.raises(ifog.ArgumentError):
            ifog.neighbor_allreduce(torch.ones(2, dtype=torch.bool))
        with pytest.raises(ifog.ArgumentError):
            ifog.neighbor_allreduce(torch.ones(2), out=torch.ones(3))
        assert ifog.in_neighbors() == [j for j in range(n) if schedule[k].W[me, j] and j != me]
        ifog.barrier()
        assert_mixed(ifog.neighbor_allreduce(numbers(k)), schedule[k].W, everyones(k))


@alone
@pytest.mark.parametrize("given", [t.ring(n + 1), nx.path_graph(n + 2), t.ring(n + 3).W, t.base_graph(2 * n)], ids=label)
def test_a_topology_of_another_size_is_refused(given):
    with refused(TopologyError, "nodes, but", f"n={n}"):
        ifog.set_topology(given)
    assert ifog.topology() == t.exponential(n)


@pytest.mark.parametrize("given", ["rnig", 3, None, object(), [[1, 2], [3]], np.ones((n, n + 1))], ids=label)
def test_what_is_no_topology_is_refused(given):
    with refused((TopologyError, ifog.ArgumentError)):
        ifog.set_topology(given)
    assert ifog.topology() == t.exponential(n)


def test_machines_have_a_topology_of_their_own():
    m, machine = ifog.machine_size(), ifog.machine_rank()
    for topology in (t.ring(m), t.complete(m)):
        ifog.set_machine_topology(topology)
        assert ifog.machine_topology() == topology
        assert ifog.in_neighbor_machines() == [j for j in range(m) if topology.W[machine, j] and j != machine]
        assert ifog.out_neighbor_machines() == [i for i in range(m) if topology.W[i, machine] and i != machine]
        assert ifog.topology() == t.exponential(n)
    with refused(TopologyError, "machines"):
        ifog.set_machine_topology(t.ring(m + 1))
    assert ifog.machine_topology() == t.complete(m)


# ---- life --------------------------------------------------------------------------------------------------------------


def test_a_rank_knows_where_it_is():
    assert everywhere(ifog.rank()) == list(range(n))
    assert set(everywhere(ifog.size())) == {n}
    assert 0 <= ifog.local_rank() < ifog.local_size() <= n
    assert 0 <= ifog.machine_rank() < ifog.machine_size() <= n


def test_init_again_only_sets_the_topology():
    kept = ifog.allreduce(numbers(4, (LARGE,)))
    value = kept.clone()
    ifog.init()
    assert ifog.topology() == t.exponential(n)
    ifog.init(t.ring(n))
    assert ifog.topology() == t.ring(n)
    ifog.init()
    assert ifog.topology() == t.ring(n)
    all_is_well()
    assert torch.equal(kept, value)


def test_after_shutdown_a_new_world_begins_and_old_results_stay():
    for _ in range(3):
        kept = ifog.allreduce(numbers(5, (LARGE,)))
        value = kept.clone()
        ifog.set_topology(t.star(n))
        ifog.shutdown()
        assert torch.equal(kept, value)
        ifog.init("ring")
        assert ifog.topology() == t.ring(n)
        assert (ifog.rank(), ifog.size()) == (me, n)
        all_is_well()
        assert_mixed(ifog.neighbor_allreduce(kept), t.ring(n).W, [value] * n)
        assert torch.equal(kept, value)


def test_shutdown_twice_is_as_good_as_once():
    ifog.shutdown()
    ifog.shutdown()
    all_is_well()


def test_recover_without_a_failure_begins_an_epoch_too():
    kept = ifog.allreduce(numbers(6, (LARGE,)))
    value = kept.clone()
    schedule = t.base_graph(n)
    ifog.set_topology(schedule)
    ifog.neighbor_allreduce(numbers(7))
    for _ in range(5):
        settle()
        ifog.recover()
        all_is_well()
    assert ifog.topology() == schedule
    assert_mixed(ifog.neighbor_allreduce(numbers(8)), schedule[0].W, everyones(8))  # from its first round on
    assert torch.equal(kept, value)


def test_what_was_under_way_ends_with_the_epoch():
    handle = ifog.recv_nonblocking((me + 1) % n)
    settle()
    ifog.recover()
    with pytest.raises(ifog.CommError):
        handle.wait()
    assert handle.done
    all_is_well()
    sent = ifog.send_nonblocking("new", (me - 1) % n)
    assert ifog.recv((me + 1) % n) == "new"
    sent.wait()
