"""The α–β model: its formulas, a worked table, and published measurements."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from topology_claims import quiet, steadily, tau

from ifog import topology as t
from ifog.errors import TopologyError
from ifog.topology import cost

MB = 1e6
RESNET = 102 * MB
LINK = t.Link(latency=50e-6, bandwidth=3.125e9)
links = st.builds(t.Link, latency=st.floats(0, 1e-2), bandwidth=st.floats(1e6, 1e12))
sizes = st.floats(0, 1e10)


@steadily
@given(st.integers(2, 10**6), sizes, links)
def test_collectives_cost_what_their_formulas_say(n, M, link):
    L, B = link.latency, link.bandwidth
    formulas = {
        cost.parameter_server: 2 * (L + n * M / B),
        cost.sharded_parameter_server: 2 * (L + (n - 1) * M / (n * B)),
        cost.ring_allreduce: 2 * (n - 1) * L + 2 * (n - 1) / n * M / B,
        cost.halving_doubling: 2 * tau(n) * L + 2 * (n - 1) / n * M / B,
        cost.recursive_doubling: tau(n) * (L + M / B),
        cost.tree_allreduce: 2 * tau(n) * (L + M / B),
        cost.double_tree_allreduce: 2 * tau(n) * L + 2 * M / B,
    }
    for collective, seconds in formulas.items():
        assert collective(n, M, link) == pytest.approx(seconds, rel=1e-9, abs=1e-12), collective.__name__


def test_one_node_has_nothing_to_send():
    assert all(way.seconds(1, RESNET, LINK) == 0 for way in cost.COLLECTIVES.values())
    assert cost.round_time(t.ring(1), RESNET, LINK) == 0


def test_ring_allreduce_takes_as_long_as_its_messages_one_after_the_other():
    n, M = 6, 12 * MB
    clock = np.zeros(n)
    for _ in range(2 * (n - 1)):  # in each step every node passes a piece on, once it holds it
        clock = np.maximum(clock, np.roll(clock, 1)) + LINK.latency + M / n / LINK.bandwidth
    assert cost.ring_allreduce(n, M, LINK) == pytest.approx(clock.max())


@pytest.mark.parametrize(
    ("n", "milliseconds"),
    [
        (8, {"parameter_server": 522, "ring_allreduce": 57.8}),
        (256, {"parameter_server": 16712, "ring_allreduce": 90.5, "halving_doubling": 65.8}),
        (4096, {"ring_allreduce": 475, "halving_doubling": 66.5}),
        (10**6, {"ring_allreduce": 100065, "halving_doubling": 67.3}),
    ],
)
def test_the_worked_table_of_collectives(n, milliseconds):
    for name, expected in milliseconds.items():
        assert getattr(cost, name)(n, RESNET, LINK) * 1e3 == pytest.approx(expected, rel=2e-3)
        assert getattr(cost, name)(n, RESNET) == getattr(cost, name)(n, RESNET, LINK)  # 25 GbE is the link when none is named


@pytest.mark.parametrize(
    ("schedule", "milliseconds"),
    [
        (t.exponential(8), 98.0),
        (t.one_peer_exponential(8), 32.7),
        (t.one_peer_exponential(4096), 32.7),
        (t.random_matching(256), 32.7),
        (t.ceca(100), 32.7),
        (t.base_graph(100), 32.7),
    ],
    ids=lambda value: getattr(value, "label", None),
)
def test_the_worked_table_of_topologies(schedule, milliseconds):
    assert cost.round_time(schedule, RESNET, LINK) * 1e3 == pytest.approx(milliseconds, abs=0.05)


@steadily
@given(st.integers(3, 60), sizes, links)
def test_a_round_takes_as_long_as_the_busiest_node(n, M, link):
    L, B = link.latency, link.bandwidth
    degrees = {
        t.ring(n): 2,
        t.exponential(n): tau(n),
        t.star(n): n - 1,
        quiet(t.one_peer_exponential, n): 1,
        t.od_equidyn(n): 1,
    }
    for schedule, degree in degrees.items():
        assert cost.round_time(schedule, M, link) == pytest.approx(L + degree * M / B)
        assert cost.round_time(schedule, M, link, one_port=True) == pytest.approx(degree * (L + M / B))


def test_receiving_is_as_slow_as_sending():
    # node 0 hears from all others, who are heard by one each
    W = np.eye(5) * 0.5
    W[1:, 0] = 0  # rows: node 0 receives from everybody
    W[0] = 0.2
    W[1:] += np.roll(np.eye(5), 1, axis=1)[1:] * 0.5
    topology = t.Topology(W)
    assert topology.out_degrees.max() < topology.in_degrees.max() == 4
    assert cost.round_time(topology, MB, LINK) == pytest.approx(LINK.latency + 4 * MB / LINK.bandwidth)


def test_a_schedule_costs_the_mean_of_its_rounds():
    schedule = t.schedule([t.complete(5), t.directed_ring(5)])
    assert cost.round_time(schedule, MB, LINK) == pytest.approx(LINK.latency + (4 + 1) / 2 * MB / LINK.bandwidth)


@pytest.mark.parametrize(("size", "allreduce", "gossip"), [(102 * MB, 0.278, 0.150), (1320 * MB, 1.469, 0.567)])
def test_the_fitted_link_repeats_what_was_measured_on_256_gpus(size, allreduce, gossip):
    assert cost.ring_allreduce(256, size, "v100-25g") == pytest.approx(allreduce, rel=0.03)
    assert cost.round_time(t.one_peer_exponential(256), size, "v100-25g") == pytest.approx(gossip, rel=0.03)


# ---- side by side ------------------------------------------------------------------------------------------------------


def compared(*schedules, **options):
    return t.compare(*schedules, size=RESNET, link=LINK, **options)


def test_compare_is_a_table_with_the_cheapest_round_first():
    table = compared(t.ring(64), t.exponential(64), t.one_peer_exponential(64), t.ceca(64))
    assert isinstance(table, pd.DataFrame)
    assert table.columns.tolist() == ["messages", "bytes", "seconds", "rate", "rounds", "total"]
    assert set(table.index) == {"ring(64)", "exponential(64)", "one_peer_exponential(64)", "ceca(64)", *cost.COLLECTIVES}
    assert table["seconds"].is_monotonic_increasing
    np.testing.assert_allclose(table["total"], table["rounds"] * table["seconds"])
    assert table.loc["ring(64)", "messages"] == 2
    assert table.loc["ring(64)", "bytes"] == 2 * RESNET
    assert table.loc["exponential(64)", "bytes"] == 6 * RESNET
    assert table.loc["ring allreduce", "bytes"] == pytest.approx(2 * 63 / 64 * RESNET)
    assert table.loc["ring allreduce", "messages"] == 2 * 63
    assert table.loc["ring(64)", "seconds"] == cost.round_time(t.ring(64), RESNET, LINK)


@pytest.mark.parametrize("accuracy", [1e-2, 1e-6])
def test_compare_counts_the_rounds_until_the_accuracy_is_reached(accuracy):
    table = compared(t.ring(16), t.one_peer_exponential(16), t.random_matching(16), accuracy=accuracy)
    rho = t.ring(16).rho
    rounds = table.loc["ring(16)", "rounds"]
    assert rho**rounds <= accuracy < rho ** (rounds - 1)
    assert table.loc["one_peer_exponential(16)", "rounds"] == 4
    factor = 14 / 30
    rounds = table.loc["random_matching(16)", "rounds"]
    assert factor ** (rounds / 2) <= accuracy < factor ** ((rounds - 1) / 2)


def test_compare_knows_what_never_gets_there():
    apart = t.Topology(np.eye(4), connected=False)
    table = compared(apart, t.random_matching(4))
    assert table.loc[apart.label, "rounds"] == math.inf


@pytest.mark.parametrize("schedule", [t.random_matching(2), t.random_edge(2)], ids=lambda schedule: schedule.label)
def test_compare_with_a_random_pair_that_always_meets(schedule):
    assert compared(schedule).loc[schedule.label, "rounds"] == 1


def test_compare_of_collectives_alone():
    assert set(compared(n=256).index) == set(cost.COLLECTIVES)


def test_compare_takes_any_kind_of_number():
    for size in (1000, 1000.0, np.int64(1000), np.float32(1000)):
        assert t.compare(t.ring(4), size=size).loc["ring(4)", "bytes"] == 2000


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: compared(t.ring(4), t.ring(5)), r"4, 5.*same n"),
        (lambda: compared(t.ring(4), n=5), r"4, 5.*same n"),
        (lambda: compared(), r"at least one"),
        (lambda: compared("ring"), r"compare\('ring'\).*ring\(8\)"),
        (lambda: compared(t.ring(4), accuracy=0), r"accuracy=0\b.*above 0 and below 1"),
        (lambda: compared(t.ring(4), accuracy="high"), r"accuracy='high'.*above 0 and below 1"),
        (lambda: t.compare(t.ring(4), size=-1), r"size=-1.*bytes"),
        (lambda: t.compare(t.ring(4), size=float("nan")), r"size=nan.*bytes"),
        (lambda: t.compare(t.ring(4), size="102MB"), r"size='102MB'.*bytes"),
        (lambda: t.compare(t.ring(4), size=1, link="5G"), r"link='5G'.*'25GbE'.*'v100-25g'"),
        (lambda: cost.round_time(t.ring(4), 1, ["25GbE"]), r"link=\['25GbE'\]"),
        (lambda: cost.round_time("ring", 1), r"'ring'"),
        (lambda: cost.ring_allreduce(8, -1), r"size=-1.*bytes"),
        (lambda: cost.parameter_server(8, float("inf")), r"size=inf.*bytes"),
        (lambda: t.Link(-1, 1), r"latency=-1.*zero or more"),
        (lambda: t.Link("slow", 1), r"latency='slow'.*seconds"),
        (lambda: t.Link(0, 0), r"bandwidth=0.*more than zero"),
        (lambda: t.Link(0, float("nan")), r"bandwidth=nan.*more than zero"),
        (lambda: t.Link(0, 1, overhead=-1), r"overhead=-1.*zero or more"),
        (lambda: t.Link(0, 1, collective_bandwidth=-1), r"collective_bandwidth=-1.*more than zero"),
    ],
)
def test_a_comparison_that_cannot_be_is_refused(call, message):
    with pytest.raises(TopologyError, match=message):
        call()
