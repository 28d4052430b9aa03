"""Methods in which nobody waits: where they end whatever the speeds are, and what they gain."""

import io
import sys

import numpy as np
import pytest
import torch
from method_claims import directed
from quadratics import ls8

from ifog import algorithms
from ifog import topology as t
from ifog.algorithms import method, ones, zeros
from ifog.errors import ArgumentError, MethodError
from ifog.experiment import Asynchronous
from ifog.network import Clock, Network, exponential, lose

PROBLEM = ls8()
NAMES = [name for name, made in algorithms.all().items() if made.asynchronous]
FAST = {0: 5.0, 3: 5.0}
GRAPH = directed(8)
START = torch.from_numpy(np.random.default_rng(1).standard_normal((8, 5)))


def started(name, topology=GRAPH, *, x=None, aL=0.0, seed=0, effects=(), **options):
    """A run; ``aL`` is its step times L."""
    clock = {key: options.pop(key) for key in ("compute", "speeds", "delay") if key in options}
    parameters = {"lr": aL / PROBLEM.L, **options} if "lr" in algorithms.find(name).parameters else options
    net = Network(topology, 8, seed=seed, effects=effects)
    x = torch.zeros(8, 5, dtype=torch.float64) if x is None else x
    return Asynchronous(net, name, lambda z, nodes, k: PROBLEM.gradient(z, nodes), x, parameters, **clock)


def ended(run, steps, tail=1):
    """The iterates of its last steps."""
    seen = []
    for k in range(steps):
        run.step()
        if k >= steps - tail:
            seen.append(run.x)
    return seen


def none(net, x):
    """A zero for each node, as a column."""
    return 0 * ones(net, x)


def off(iterates, at=None):
    """How far they are from the optimum, or elsewhere, on average."""
    return np.mean([PROBLEM.error(x, at=at) for x in iterates])


@pytest.fixture
def register(monkeypatch):
    module = sys.modules["ifog.algorithms.method"]
    monkeypatch.setattr(module, "_register", dict(module._register))


# ---- averaging -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("clock", [{}, {"speeds": FAST}, {"speeds": FAST, "delay": exponential(0.1, 0.5)}], ids=str)
@pytest.mark.parametrize("topology", [GRAPH, t.push(t.star(8)), t.one_peer_exponential(8)], ids=lambda g: g.label)
def test_push_sum_ends_at_the_exact_mean_whatever_the_speeds_and_delays(topology, clock):
    run = started("async_push_sum", topology, x=START, **clock)
    ended(run, 400)
    run.finish()
    assert abs(float(run.s.w.sum()) - 8) < 1e-12
    torch.testing.assert_close((run.s.w * run.x).sum(0), START.sum(0), rtol=0, atol=1e-12)
    assert PROBLEM.error(run.x, at=START.mean(0).numpy()) < 1e-13


def test_what_is_under_way_is_a_part_of_the_mass():
    run = started("async_push_sum", x=START, delay=3.0)
    ended(run, 30)
    before = float(run.s.w.sum())
    assert before < 7
    flying = sum(float(letter[5][-1]) for letter in run.mail.state()["flying"])
    lying = sum(float(message[-1]) for *_, message in run.mail.state()["lying"])
    assert before + flying + lying == pytest.approx(8, abs=1e-13)
    run.finish()
    assert float(run.s.w.sum()) == pytest.approx(8, abs=1e-13)
    run.step()  # and it goes on
    assert run.time > 0


def test_a_lost_message_is_lost_mass():
    run = started("async_push_sum", x=START, effects=[lose(0.05)])
    ended(run, 100)
    run.finish()
    assert float(run.s.w.sum()) < 7
    assert PROBLEM.error(run.x, at=START.mean(0).numpy()) > 1e-3


@pytest.mark.parametrize("effects", [[], [lose(0.3)]], ids=["", "lost"])
@pytest.mark.parametrize("clock", [{}, {"speeds": FAST, "delay": 0.3}], ids=str)
def test_averaging_in_pairs_keeps_the_sum_even_where_messages_are_lost(clock, effects):
    run = started("ad_psgd", "ring", x=START, effects=effects, **clock)
    ended(run, 300)
    torch.testing.assert_close(run.x.sum(0), START.sum(0), rtol=0, atol=1e-13)
    assert PROBLEM.error(run.x, at=START.mean(0).numpy()) < 1e-10


# ---- descent ---------------------------------------------------------------------------------------------------------


def test_gradient_push_ends_near_the_optimum_though_some_are_five_times_faster():
    errors = [off(ended(started("async_gradient_push", aL=aL, speeds=FAST), 600, 48)) for aL in (0.08, 0.04)]
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.25)
    assert errors[1] < 0.1


def test_without_scaled_steps_the_fast_ones_would_weigh_more(register):
    @method(needs="column_stochastic", mail=("x", "w"), w=ones)
    def unscaled(net, x, grad, s, *, lr):
        g = grad()
        u, w = net.mailbox.collect(s.w * x, s.w)
        if float(w) < 0.25:
            s.w = w
            return u / w
        u, s.w = net.mailbox.accumulate(u - lr * g, w)
        return u / s.w

    scaled, plain = (off(ended(started(name, aL=0.04, speeds=FAST), 600, 48)) for name in ("async_gradient_push", "unscaled"))
    assert plain > 3 * scaled


def test_without_the_guard_it_would_go_astray():
    guarded, bare = (
        off(ended(started("async_gradient_push", aL=0.2, speeds=FAST, least=least), 300, 48)) for least in (0.25, 1e-12)
    )
    assert guarded < 0.5
    assert not bare < 3 * guarded


def test_pairs_end_at_the_optimum_weighted_by_speed():
    weights = np.array([FAST.get(i, 1.0) for i in range(8)])
    weighted = PROBLEM.weighted(weights / weights.sum())
    assert np.linalg.norm(weighted - PROBLEM.optimum) > 0.3
    fast = ended(started("ad_psgd", "ring", aL=0.02, speeds=FAST), 800, 48)
    assert off(fast, at=weighted) < 0.5 * off(fast)
    equal = ended(started("ad_psgd", "ring", aL=0.02), 800, 48)
    assert off(equal) < 0.5 * off(equal, at=weighted)


@pytest.mark.parametrize(("name", "together"), [("async_gradient_push", "sgp"), ("ad_psgd", "dgd")])
def test_with_one_slow_node_who_waits_for_nobody_is_first(name, together):
    """The same step, one node ten times slower: how long until they are this near."""
    topology = GRAPH if together == "sgp" else t.ring(8)
    slow, aL, near = {2: 0.1}, 0.05, 0.6
    run = started(name, topology, aL=aL, speeds=slow, delay=0.1)
    while PROBLEM.error(run.x) > near:
        run.step()

    made, net, clock = algorithms.find(together), Network(topology), Clock(8, speeds=slow, delay=0.1)
    x = torch.zeros(8, 5, dtype=torch.float64)
    s = made.start(net, x)
    while PROBLEM.error(x) > near:
        x = made(net, x, lambda x=x: PROBLEM.gradient(x, range(8)), s, lr=aL / PROBLEM.L)
        clock.round(net.graph)
        net.advance()
    assert run.time < clock.now / 3
    assert clock.now == pytest.approx(10 * net.round, rel=0.05)


# ---- one's own -------------------------------------------------------------------------------------------------------


def test_gossip_with_what_lies_in_the_mailbox_takes_three_lines(register):
    @method(needs="row_stochastic", mail=("x",))
    def stale_gossip(net, x, grad, s):
        x = net.mailbox.get(x)
        net.mailbox.put(x)
        return x

    run = started("stale_gossip", "ring", x=START, speeds=FAST, delay=0.7)
    ended(run, 300)
    assert float((run.x - run.x.mean(0)).abs().max()) < 1e-10
    assert float(run.x.min()) >= float(START.min())


def test_running_sums_make_up_for_what_was_lost(register):
    """Push-sum that puts, again and again, all it has ever shared out: the next message brings what the last one did not."""

    @method(needs=("column_stochastic", "static"), mail=("x", "w"), w=ones, sx=zeros, sw=none, rx=zeros, rw=none)
    def robust_push_sum(net, x, grad, s):
        rx, rw = net.mailbox.get(torch.zeros_like(s.rx), torch.zeros_like(s.rw))
        u, w = s.w * x + rx - s.rx, s.w + rw - s.rw
        s.rx, s.rw = rx, rw
        if float(w) < 0.01:  # of a weight that is nearly gone, the difference of two sums would leave nothing but its rounding
            s.w = w
            return u / w
        s.sx, s.sw = s.sx + u, s.sw + w
        net.mailbox.put(s.sx, s.sw)
        s.w = net.own_weight(x) * w
        return net.own_weight(x) * u / s.w

    away = {}
    for name in ("async_push_sum", "robust_push_sum"):
        run = started(name, x=START, speeds=FAST, effects=[lose(0.3)])
        ended(run, 400 if name == "robust_push_sum" else 30)  # the other one's weights would be gone
        away[name] = PROBLEM.error(run.x, at=START.mean(0).numpy())
    assert away["robust_push_sum"] < 1e-8
    assert away["async_push_sum"] > 1e-2


def test_memory_without_a_row_for_each_node_is_refused(register):
    @method(mail=("x",), m=algorithms.messages)
    def of_edges(net, x, grad, s):
        return x

    with pytest.raises(MethodError, match="of_edges: its memory m has no row for each node"):
        started("of_edges", "ring")


def test_mail_that_was_not_declared_is_refused(register):
    with pytest.raises(MethodError, match=r"mail=\('v',\): name what messages carry, of x, w, such as mail=\(\"x\",\)"):
        method(mail=("v",), w=zeros)


def test_an_activation_is_of_one_node_and_knows_how_often_it_was_active(register):
    seen = []

    @method(mail=("x",))
    def curious(net, x, grad, s):
        seen.append((net.nodes.start, net.round, float(net.per_node(range(8), x)), grad(2 * x).shape, len(x)))
        with pytest.raises(MethodError, match="an activation has one mini-batch"):
            grad(fresh=True)
        return x + net.random.uniform(x)

    run = started("curious", "ring", speeds={1: 2.0})
    run.step()
    assert [(i, k) for i, k, *_ in seen] == [(1, 0), (0, 0), (1, 1), *((i, 0) for i in range(2, 7))]
    assert all((own, shape, rows) == (i, (1, 5), 1) for i, _, own, shape, rows in seen)
    assert len(run.x.unique()) == 7 * 5 + 1  # node 7 has not been active yet
    assert run.round == 1


# ---- the same again --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_is_the_same_run(name):
    def run(seed):
        options = {"seed": seed, "aL": 0.05, "compute": exponential(0.5, 0.5), "delay": exponential(0.0, 0.3)}
        (x,) = ended(started(name, "ring", x=START, **options), 20)
        return x

    assert torch.equal(run(0), run(0))
    assert not torch.equal(run(0), run(1))


@pytest.mark.parametrize("name", NAMES)
def test_saved_and_resumed_it_goes_on_bit_for_bit(name):
    options = {"x": START, "aL": 0.05, "compute": exponential(0.5, 0.5), "delay": exponential(0.0, 2.0), "effects": [lose(0.1)]}
    whole = started(name, "ring", **options)
    ended(whole, 12)
    file = io.BytesIO()
    torch.save(whole.state(), file)
    ended(whole, 15)

    file.seek(0)
    later = started(name, "ring", **options)
    ended(later, 3)  # whatever it did before is forgotten
    later.restore(torch.load(file))
    ended(later, 15)
    assert torch.equal(later.x, whole.x)
    assert all(torch.equal(later.s[part], whole.s[part]) for part in whole.s)
    assert (later.time, later.round) == (whole.time, whole.round)
    assert (later.net.messages, later.net.bytes) == (whole.net.messages, whole.net.bytes)
    whole.finish()
    later.finish()
    assert torch.equal(later.x, whole.x)


def test_what_a_step_gave_is_not_written_to_by_the_next():
    run = started("ad_psgd", "ring", x=START, aL=0.1)
    (x,) = ended(run, 1)
    kept, read = x.clone(), run.s.read
    before = read.clone()
    run.step()
    assert torch.equal(x, kept)
    assert torch.equal(read, before)
    assert not torch.equal(run.x, kept)


def test_parameters_and_topology_may_change_under_way():
    run = started("async_gradient_push", "ring", aL=0.1)
    ended(run, 100)
    run.parameters["lr"] /= 10
    run.net.topology = "exponential"
    assert off(ended(run, 400, 20)) < 0.05
    run.finish()
    assert float(run.s.w.sum()) == pytest.approx(8, abs=1e-12)


# ---- refused ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (lambda: started("dgd", "ring"), MethodError, "dgd mixes in rounds, .* take an asynchronous method"),
        (lambda: started("async_push_sum", t.uniform(t.star(8))), MethodError, "columns sum to one"),
        (lambda: started("ad_psgd", "directed_ring"), MethodError, "edges lead both ways"),
        (lambda: started("ad_psgd", "ring", x=START[:3]), ArgumentError, r"x is .* \(3, 5\): .* each of the 8 nodes"),
        (lambda: started("ad_psgd", "ring", x=3.0), ArgumentError, "x is float: it must be floats, a row"),
        (lambda: started("ad_psgd", "ring", speeds=0), ArgumentError, "speeds=0: give one number above zero"),
        (lambda: started("async_gradient_push", least=1.5), ArgumentError, "least=1.5 .* above 0 and below 1, e.g. least=0.25"),
        (
            lambda: Asynchronous(Network("ring", 8), "ad_psgd", None, START, {"lr": 0.1}, speed=2),
            ArgumentError,
            "speed=…: the clock has compute, speeds and delay",
        ),
        (
            lambda: started("ad_psgd", "ring").restore(started("async_push_sum").state()),
            ArgumentError,
            r"memory w; this run has \(8, 5\) and read: restore it in a run made like",
        ),
    ],
    ids=["method", "columns", "directed", "rows", "type", "clock", "least", "option", "state"],
)
def test_what_is_wrong_is_refused_by_name(make, error, said):
    with pytest.raises(error, match=said):
        make()
