"""Equality, hashing, pickling, and that nothing made can be changed."""

import pickle
import subprocess
import sys
from contextlib import suppress

import networkx as nx
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from topology_claims import label, members, quiet, steadily

from ifog import topology as t
from ifog.errors import TopologyError
from ifog.topology import Graph, Schedule, Topology

ALL = [quiet(t.make, name, 8) for name in t.families()]


@pytest.mark.parametrize("schedule", ALL, ids=label)
@pytest.mark.parametrize("looked_at", [False, True])
def test_everything_can_be_pickled(schedule, looked_at):
    if looked_at:  # what has been worked out and remembered does not get in the way
        _ = repr(schedule), schedule[0], schedule.jointly_connected, hash(schedule)
    again = pickle.loads(pickle.dumps(schedule))
    assert type(again) is type(schedule)
    assert again == schedule
    assert again.label == schedule.label
    assert dict(again.parameters) == dict(schedule.parameters)
    assert [again[k] for k in range(5)] == [schedule[k] for k in range(5)]
    assert again.consensus_rate == schedule.consensus_rate
    with pytest.raises(AttributeError, match="cannot be changed"):
        again.n = 9


@pytest.mark.parametrize(
    "schedule",
    [
        t.schedule([nx.path_graph(4), nx.cycle_graph(4)]),
        t.one_peer_exponential(8)[1:],
        t.random_matching(6)[3:],
        t.random_matching(6)[3:9],
        t.metropolis(nx.petersen_graph()),
        t.fdla(t.chain(4)),
        t.hierarchical(t.ring(4), 2),
    ],
    ids=label,
)
def test_what_is_made_from_others_can_be_pickled_too(schedule):
    again = pickle.loads(pickle.dumps(schedule))
    assert again == schedule
    assert [again[k] for k in range(5)] == [schedule[k] for k in range(5)]


def test_a_pickle_does_not_carry_what_can_be_worked_out_again():
    schedule = t.random_matching(500)
    small = len(pickle.dumps(schedule))
    _ = [schedule[k] for k in range(20)], repr(schedule)
    assert len(pickle.dumps(schedule)) == small < 3000


@steadily
@given(members(largest=30))
def test_equal_topologies_have_equal_hashes(schedule):
    again = quiet(t.make, schedule.name, **schedule.parameters)
    assert again == schedule
    assert again is not schedule
    assert hash(again) == hash(schedule)
    assert len({again, schedule}) == 1


def test_no_two_families_are_taken_for_each_other():
    drawn = [quiet(t.make, name, 16) for name in t.families()]
    same = {frozenset((a.name, b.name)) for a in drawn for b in drawn if a.name < b.name and a == b}
    assert same == set()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (t.ring(8), t.ring(9)),
        (t.ring(8), t.lazy(t.ring(8))),
        (t.od_equidyn(8, seed=0), t.od_equidyn(8, seed=1)),
        (t.od_equidyn(8, eta=0.5), t.od_equidyn(8, eta=0.4)),
        (t.one_peer_exponential(8), t.one_peer_exponential(8)[1:]),
        (t.ceca(8, ports=1), t.ceca(8, ports=2)),
        (t.base_graph(9, k=1), t.base_graph(9, k=2)),
        (t.directed_ring(8), t.Topology(t.directed_ring(8).W.T)),
    ],
)
def test_different_weights_are_different_topologies(one, other):
    assert one != other
    assert one.fingerprint != other.fingerprint


def test_equality_is_about_weights_not_about_names():
    assert t.ring(4) == t.Topology(t.ring(4).W, name="mine")
    assert t.chain(4) == t.metropolis(nx.path_graph(4)) == t.grid(4, rows=1)
    assert t.hypercube(4) == t.torus(4)
    assert t.ring(4) != "ring(4)"
    assert t.one_peer_exponential(8)[3:] == t.one_peer_exponential(8)


def test_a_topology_is_a_schedule_of_length_one():
    once = t.schedule([t.ring(8)])
    assert once == t.ring(8)
    assert t.ring(8) == once
    assert hash(once) == hash(t.ring(8))
    assert t.ring(8)[5:] == t.ring(8)
    assert isinstance(t.ring(8), Schedule)
    assert list(t.ring(8)) == [t.ring(8)]


def test_the_storage_of_the_weights_does_not_matter():
    W = t.star(5).W
    entries = sp.coo_array(W)
    backwards = sp.coo_array((entries.data[::-1], (entries.row[::-1], entries.col[::-1])), shape=(5, 5))
    padded = sp.csr_array(W)
    padded.data = padded.data.copy()
    longhand = sp.csr_array(padded.tocoo().astype(np.float64))
    longhand.indices = longhand.indices.astype(np.int64)
    longhand.indptr = longhand.indptr.astype(np.int64)
    halves = sp.coo_array(
        (np.r_[entries.data, entries.data] / 2, (np.r_[entries.row, entries.row], np.r_[entries.col, entries.col]))
    )
    for same in (backwards, longhand, sp.csc_array(W), sp.csr_matrix(W), halves, W.tolist(), np.asfortranarray(W)):
        assert Topology(same) == t.star(5)


def test_fingerprints_are_the_same_in_another_process():
    families = "exponential", "od_equidyn", "ceca"
    code = f"from ifog import topology as t; print(*(t.make(name, 9).fingerprint for name in {families}))"
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert there == [t.make(name, 9).fingerprint for name in families]


# ---- nothing made can be changed -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", [t.ring(8), t.ceca(8), t.ceca(8)[0], t.od_equidyn(8)], ids=label)
def test_attributes_can_be_neither_set_nor_deleted(schedule):
    for attribute in ("n", "name", "period", "novel"):
        with pytest.raises(AttributeError, match="cannot be changed"):
            setattr(schedule, attribute, 3)
    with pytest.raises(AttributeError):
        del schedule.name
    with pytest.raises(TypeError):
        schedule.parameters["n"] = 3


@pytest.mark.parametrize("made_by", [lambda: t.geometric(8), lambda: pickle.loads(pickle.dumps(t.geometric(8)))])
def test_the_arrays_inside_are_read_only(made_by):
    topology = made_by()
    arrays = [topology.matrix.data, topology.matrix.indices, topology.matrix.indptr]
    arrays += [topology.pattern.data, topology.pattern.indices, topology.pattern.indptr, topology.positions]
    for array in arrays:
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_the_matrix_of_an_exchange_is_read_only():
    exchange = t.ceca(6)[0]
    for array in (exchange.matrix.data, exchange.pattern.data, exchange.pattern.indices):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


@pytest.mark.parametrize("given_as", [np.array, sp.csr_array, sp.coo_array])
def test_the_matrix_it_was_made_from_stays_the_users(given_as):
    W = given_as([[0.75, 0.25], [0.25, 0.75]])
    topology = Topology(W)
    if sp.issparse(W):
        W.data[:] = 0.5
    else:
        W[:] = 0.5
    np.testing.assert_array_equal(topology.W, [[0.75, 0.25], [0.25, 0.75]])


def test_what_is_handed_out_is_a_copy():
    topology = t.ring(6)
    topology.W[0] = 9
    topology.in_neighbors(0)[:] = 9
    topology.out_neighbors(0)[:] = 9
    topology.edges[:] = 9
    topology.in_degrees[:] = 9
    topology.to_networkx().clear()
    assert topology.W[0, 0] == pytest.approx(1 / 3)
    assert topology.in_neighbors(0).tolist() == topology.out_neighbors(0).tolist() == [1, 5]
    assert topology.edges[0].tolist() == [0, 1]
    assert topology.in_degrees[0] == 2


def test_eigenvalues_once_found_stay():
    topology = t.ring(6)
    first = topology.eigenvalues.copy()
    with suppress(ValueError):  # read-only is as good as a copy
        topology.eigenvalues[:] = 9
    np.testing.assert_array_equal(topology.eigenvalues, first)


def test_a_list_given_as_a_parameter_stays_the_users():
    offsets = [1, 3]
    schedule = t.od_equidyn(8, offsets=offsets)
    named = schedule.label
    offsets.append(5)
    assert schedule.label == named


def test_a_graph_without_weights_is_itself():
    one, other = (Graph(t.ring(n).pattern, name="plain", connected=True) for n in (5, 6))
    again = Graph(t.ring(5).pattern, name="plain", connected=True)
    assert one == again
    assert hash(one) == hash(again)
    assert one != other
    assert pickle.loads(pickle.dumps(one)) == one
    assert one != t.ring(5)


# ---- the same by any way of writing it ---------------------------------------------------------------------------------


@pytest.mark.parametrize("n", range(3, 20))
def test_the_last_bit_of_a_weight_makes_no_other_graph(n):
    assert t.metropolis(t.ring(n)) == t.ring(n)
    assert t.lazy(t.lazy(t.ring(n)), 0.0) != t.ring(n)


def test_options_are_pythons_own_values():
    assert t.random_matching(8, seed=np.int64(3)) == t.random_matching(8, seed=3)
    assert t.od_equidyn(8, eta=np.float64(0.3)).label == "od_equidyn(8, eta=0.3)"
    ways = [[1, 3], (1, 3), np.array([1, 3])]
    assert len({t.od_equidyn(8, offsets=offsets) for offsets in ways}) == 1
    assert {t.od_equidyn(8, offsets=offsets).parameters["offsets"] for offsets in ways} == {(1, 3)}


def test_slices_of_slices_are_slices():
    schedule = t.random_matching(8)
    assert schedule[0:] == schedule
    assert schedule[3:][2:] == schedule[5:]
    assert schedule[3:].expected_factor == schedule.expected_factor


def test_a_matrix_that_went_through_float32_is_taken():
    for n in (3, 7, 100):
        rounded = t.metropolis(t.star(n)).W.astype(np.float32)
        assert t.Topology(rounded).doubly_stochastic
    with pytest.raises(TopologyError, match=r"row \d sums to 1\.00002"):
        t.Topology(t.star(5).W * 1.00002)


def test_the_matrix_that_is_handed_out_cannot_replace_the_one_inside():
    topology = t.ring(4)
    topology.matrix.data = np.ones(12)
    np.testing.assert_allclose(topology.W.sum(axis=1), 1)
