"""Mail in simulation: what arrives where, when, and together; and the clock that says when."""

import numpy as np
import pytest
import torch

from ifog import topology as t
from ifog.errors import ArgumentError, MethodError, TopologyError
from ifog.network import Clock, Network, exponential, lose, noise, straggling
from ifog.network.clock import Late
from ifog.network.mailbox import Mail


def values(n, d=3, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((n, d)))


def nodes(topology, **clock):
    """The views of all nodes, with their mail."""
    net = Network(topology)
    if clock:
        net.mailbox = Mail(net, Clock(net.n, **clock))
    return [net.node(i) for i in range(net.n)], net


# ---- what arrives ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("topology", [t.ring(8), t.exponential(8), t.push(t.star(6)), t.grid(9)], ids=lambda g: g.label)
def test_when_all_share_out_and_then_collect_it_is_one_round_of_mixing(topology):
    views, _ = nodes(topology)
    x = values(topology.n)
    left = [view.mailbox.accumulate(x[i : i + 1]) for i, view in enumerate(views)]
    new = torch.cat([view.mailbox.collect(left[i]) for i, view in enumerate(views)])
    torch.testing.assert_close(new, torch.from_numpy(topology.W) @ x, rtol=0, atol=1e-14)


@pytest.mark.parametrize("topology", [t.ring(8), t.exponential(8), t.uniform(t.star(6))], ids=lambda g: g.label)
def test_when_all_put_and_then_get_it_is_one_round_of_mixing(topology):
    views, _ = nodes(topology)
    x = values(topology.n)
    for i, view in enumerate(views):
        view.mailbox.put(torch.full_like(x[i : i + 1], 7.0))
        view.mailbox.put(x[i : i + 1])  # the last one counts
    for _ in range(2):  # looking into the mailbox does not empty it
        new = torch.cat([view.mailbox.get(x[i : i + 1]) for i, view in enumerate(views)])
        torch.testing.assert_close(new, torch.from_numpy(topology.W) @ x, rtol=0, atol=1e-14)


def test_who_has_put_nothing_counts_as_oneself():
    views, _ = nodes(t.ring(4))
    views[1].mailbox.put(torch.full((1, 1), 3.0))
    assert float(views[0].mailbox.get(torch.zeros(1, 1))) == pytest.approx(1.0)
    assert float(views[2].mailbox.get(torch.full((1, 1), 3.0))) == pytest.approx(3.0)


def test_what_is_collected_is_gone_and_what_comes_again_adds_up():
    views, _ = nodes(t.directed_ring(2))
    one = torch.ones(1, 1, dtype=torch.float64)
    for _ in range(3):
        assert float(views[0].mailbox.accumulate(one)) == 0.5
    assert float(views[1].mailbox.collect(one)) == 1 + 3 / 2
    assert float(views[1].mailbox.collect(one)) == 1


def test_several_tensors_are_one_message_and_keep_their_shapes():
    views, net = nodes(t.ring(4))
    x, w = values(4)[:1].view(1, 3, 1), torch.ones(1, 1, dtype=torch.float64)
    kept_x, kept_w = views[0].mailbox.accumulate(x, w)
    assert (kept_x.shape, kept_w.shape) == (x.shape, w.shape)
    got_x, got_w = views[1].mailbox.collect(torch.zeros_like(x), torch.zeros_like(w))
    torch.testing.assert_close(got_x / got_w[..., None], x)
    assert net.messages == 2
    assert net.bytes == 2 * 4 * 8


def test_after_ten_thousand_shares_nothing_is_lost_or_made():
    views, _ = nodes(t.push(t.star(7)))
    w = [torch.ones(1, 1, dtype=torch.float64) for _ in range(7)]
    rng = np.random.default_rng(0)
    for i in rng.integers(7, size=10_000):
        w[i] = views[i].mailbox.accumulate(views[i].mailbox.collect(w[i]))
    total = sum(float(views[i].mailbox.collect(w[i])) for i in range(7))
    assert abs(total - 7) < 1e-12


def test_an_average_is_of_both_at_once():
    views, net = nodes(t.ring(6))
    net.mailbox.values = x = values(6)
    before = x.clone()
    got = views[2].mailbox.average(plus=torch.full((1, 3), 10.0, dtype=torch.float64))
    (j,) = [i for i in range(6) if i != 2 and not torch.equal(x[i], before[i])]
    assert j in (1, 3)
    torch.testing.assert_close(x[j], (before[2] + before[j]) / 2)
    torch.testing.assert_close(x[2], x[j] + 10)
    assert torch.equal(got[0], x[2])
    seen = set()
    for k in range(40):
        views[2].round = k
        before = x.clone()
        x += torch.arange(6.0, dtype=torch.float64)[:, None]
        views[2].mailbox.average(plus=torch.zeros(1, 3, dtype=torch.float64))
        seen |= {i for i in (1, 3) if not torch.equal(x[i], before[i] + i)}
    assert seen == {1, 3}


# ---- when it arrives -------------------------------------------------------------------------------------------------


def test_a_message_arrives_after_its_delay():
    delay = [[0, 5.0], [2.0, 0]]
    views, net = nodes(t.directed_ring(2), delay=delay)
    one = torch.ones(1, 1, dtype=torch.float64)
    views[0].mailbox.accumulate(one)  # to node 1: 2 s
    views[1].mailbox.accumulate(one)  # to node 0: 5 s
    came = []
    for now in (0, 1.9, 2.0, 4.9, 5.0):
        net.mailbox.now = now
        came.append([float(view.mailbox.collect(0 * one)) for view in views])
    assert came == [[0, 0], [0, 0], [0, 0.5], [0, 0], [0.5, 0]]


def test_mail_under_way_can_be_saved_and_goes_on():
    def run(stop):
        views, net = nodes(t.ring(5), delay=exponential(0.5, 1.0), seed=3)
        w = list(values(5, 1).split(1))
        for k in range(20):
            if k == stop:
                state = net.mailbox.state()
                views, net = nodes(t.ring(5), delay=exponential(0.5, 1.0), seed=3)
                net.mailbox.restore(state)
                for view in views:
                    view.round = k
            net.mailbox.now = float(k)
            for i, view in enumerate(views):
                w[i] = view.mailbox.accumulate(view.mailbox.collect(w[i]))
                view.round += 1
        return torch.cat(w)

    assert torch.equal(run(None), run(7))


# ---- the clock -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 7, 16])
def test_with_equal_nodes_a_round_takes_a_computation_and_a_delay(n):
    clock = Clock(n, compute=1.0, delay=0.2)
    for k in range(1, 4):
        waits = 0.2 if n > 1 else 0.0
        np.testing.assert_allclose(clock.round(t.ring(n)), k * (1 + waits))
    np.testing.assert_allclose(clock.round(), 4 * (1 + waits))
    np.testing.assert_allclose(clock.alone(), 4 * (1 + waits) + 1)


def test_one_slow_node_holds_up_all_after_as_many_rounds_as_it_is_away():
    clock = Clock(8, speeds={0: 0.1})
    graph = t.directed_ring(8)
    for k in range(1, 30):
        times = clock.round(graph)
        expected = [k * 10 if i == 0 else max(k - i + 1 > 0 and (k - i + 1) * 10 + i - 1, k) for i in range(8)]
        np.testing.assert_allclose(times, expected)


@pytest.mark.parametrize(
    ("schedule", "seconds"),
    [(None, 1.838), (t.exponential(256), 1.575), (t.one_peer_exponential(256), 1.375), (t.ring(256), 1.41)],
    ids=["allreduce", "exponential", "one-peer", "ring"],
)
def test_rounds_of_random_length_take_as_long_as_the_recursion_says(schedule, seconds):
    """The max-plus recursion of waiting, 1 + 0.1 Exp(1) to compute and 0.2 to travel, run elsewhere at n = 256."""
    clock = Clock(256, compute=exponential(1.0, 0.1), delay=0.2)
    ends = [clock.round(None if schedule is None else schedule[k]).mean() for k in range(160)]
    assert (ends[-1] - ends[79]) / 80 == pytest.approx(seconds, rel=0.02)
    if schedule is None:
        harmonic = sum(1 / k for k in range(1, 257))
        assert (ends[-1] - ends[79]) / 80 == pytest.approx(1.2 + 0.1 * harmonic, rel=0.02)


def test_late_messages_hold_up_only_who_would_use_them_too_early():
    graph = t.ring(8)
    waits = [Clock(8, compute=1.0, delay=2.5) for _ in range(2)]
    for k in range(1, 9):
        np.testing.assert_allclose(waits[0].iteration([[Late(graph, 3)]]), k)  # they are there by then
        times = waits[1].iteration([[Late(graph, 1)]])
        np.testing.assert_allclose(times, 3.5 * (k // 2) + k % 2)  # every second round waits for the one before it
        if k == 5:  # a clock that was kept goes on
            again = Clock(8, compute=1.0, delay=2.5)
            again.restore(waits[1].state())
            waits[1] = again
    overlapped, schedule = Clock(256, compute=exponential(1.0, 0.1), delay=0.2), t.one_peer_exponential(256)
    ends = [overlapped.iteration([[Late(schedule[k], 1)]]).mean() for k in range(160)]
    assert (ends[-1] - ends[79]) / 80 == pytest.approx(1.12, rel=0.01)  # likewise


def one_after_the_other(net, x):
    net.mix(net.mix(x))


def at_once(net, x):
    for under_way in [net.start_mix(x), net.start_mix(2 * x)]:
        under_way.wait()


def at_once_on_two_graphs(net, x):
    for under_way in [net.start_mix(x), net.on("complete").start_mix(x)]:
        under_way.wait()


def the_second_once_the_first_is_there(net, x):
    first = net.start_mix(x)
    net.on("complete").start_mix(first.wait()).wait()


@pytest.mark.parametrize("effects", [[], [noise(0.1)]], ids=["quiet", "noisy"])
@pytest.mark.parametrize(
    ("talk", "seconds"),
    [
        (one_after_the_other, 1 + 2 + 2),
        (at_once, 1 + 2),
        (at_once_on_two_graphs, 1 + 5),
        (the_second_once_the_first_is_there, 1 + 2 + 5),
    ],
)
def test_what_is_started_together_travels_together(talk, seconds, effects):
    net = Network("ring", 4, effects=effects)
    delay = np.where(net.topology.W > 0, 2.0, 5.0)
    for k in (1, 2):
        clock = Clock(4, delay=delay)
        talk(net, torch.zeros(4, 1))
        assert clock.iteration(net.met).tolist() == [seconds] * 4, k
        net.advance()


def test_one_by_one_each_is_ready_as_often_as_it_is_fast():
    clock = Clock(3, speeds=[1, 2, 4])
    clock.start()
    order = []
    for _ in range(14):
        time, i = clock.next()
        order.append((time, i))
        clock.go_on()
    assert order == sorted(order)
    assert [sum(i == node for _, i in order) for node in range(3)] == [2, 4, 8]


def test_stragglers_come_as_often_as_said():
    seconds = straggling(2.0, 0.1, times=10)(np.linspace(0, 1, 10_001)[:-1])
    assert set(seconds) == {2.0, 20.0}
    assert np.mean(seconds == 20.0) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"compute": 0}, "compute=0: give seconds, more than zero, or a function"),
        ({"compute": "fast"}, "compute='fast': give seconds"),
        ({"speeds": [1, 2]}, r"speeds of the shape \(2,\): give one number above zero, 4 of them"),
        ({"speeds": 0}, "speeds=0: give one number above zero"),
        ({"speeds": {4: 1.0}}, "speeds names node 4: the nodes are 0 to 3"),
        ({"speeds": {0: -1}}, "speeds={0: -1}: give one number above zero"),
        ({"speeds": "slow"}, "speeds='slow': give one number"),
        ({"delay": -1}, "delay=-1: give seconds, zero or more"),
        ({"delay": [[0, 1], [1, 0]]}, r"delay as a table of the shape \(2, 2\): it must be 4 × 4 seconds"),
    ],
    ids=str,
)
def test_a_clock_that_cannot_be_is_refused(wrong, said):
    with pytest.raises(ArgumentError, match=said):
        Clock(4, **wrong)


def test_a_function_that_gives_no_seconds_is_refused():
    with pytest.raises(ArgumentError, match="delay gave -1 seconds: they must be finite, zero or more"):
        Clock(4, delay=lambda u: -1.0).round(t.ring(4))
    with pytest.raises(ArgumentError, match=r"graph ring\(5\) has 5 nodes, and the clock 4"):
        Clock(4).round(t.ring(5))


# ---- what a node cannot do -------------------------------------------------------------------------------------------


def test_a_node_alone_cannot_mix_and_is_told_what_it_can():
    views, net = nodes(t.ring(4))
    for name in ("mix", "diff", "mean", "edges", "start_mix"):
        with pytest.raises(MethodError, match=f"net.{name} in an asynchronous method: .* a node alone has net.mailbox"):
            getattr(views[0], name)
    with pytest.raises(AttributeError):
        views[0].nonsense  # noqa: B018
    with pytest.raises(ArgumentError, match="node 4: hosted here are 0 to 3"):
        net.node(4)
    with pytest.raises(MethodError, match=r"net.mailbox.put with all nodes at once: .* is net.node\(i\).mailbox"):
        net.mailbox.put(values(4))
    with pytest.raises(MethodError, match=r"nobody has said where the nodes' x are; set net.mailbox.values = x"):
        views[0].mailbox.average(plus=torch.zeros(1, 2))
    with pytest.raises(TopologyError, match=r"ceca\(8\) has no weight for each edge"):
        Network("ceca", 8).node(0).mailbox.put(torch.zeros(1, 2))


def test_a_node_sees_the_schedule_by_its_own_count_and_a_swap_from_its_beginning():
    views, net = nodes(t.one_peer_exponential(8))
    view, x = views[0], values(8)[:1]
    heard = []
    for k in range(4):
        if k == 2:
            net.topology = t.one_peer_exponential(8)[1:3]
        view.mailbox.put(x)
        heard += [j for j in range(8) if views[j].mailbox._mail.slots(j).pop(0, None) is not None]
        view.round += 1
    assert heard == [1, 2, 2, 4]


def test_effects_meet_mail():
    net = Network("ring", 8, effects=[lose(0.5)])
    view = net.node(0)
    got = 0
    for k in range(200):
        view.round = k
        view.mailbox.put(torch.ones(1, 1))
        got += len(net.mailbox.slots(1))
        net.mailbox.slots(1).clear()
    assert 70 < got < 130
    assert net.messages == 400  # they were sent
    noisy = Network("ring", 8, effects=[noise(0.1)])
    noisy.node(0).mailbox.put(torch.zeros(1, 1000, dtype=torch.float64))
    (came,) = noisy.mailbox.slots(1).values()
    assert float(came.std()) == pytest.approx(0.1, rel=0.1)
    noisy.mailbox.values = torch.zeros(8, 1)
    with pytest.raises(ArgumentError, match="leave it out, or take lose"):
        noisy.node(0).mailbox.average(plus=torch.zeros(1, 1))
