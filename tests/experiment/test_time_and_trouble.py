"""Runs with a simulated clock, with methods in which nobody waits, and with messages that get lost."""

import numpy as np
import pytest
import torch

import ifog
from ifog import problems
from ifog.errors import ArgumentError, ExperimentError
from ifog.network import Clock
from ifog.network.effects import cut, lose, noise

PROBLEM = problems.least_squares(8, seed=3)
LR = 0.05 / PROBLEM.L
SLOW = {0: 0.1}  # node 0 is ten times slower


def seconds(method, topology="ring", steps=50, **options):
    run = ifog.run(method, PROBLEM, topology=topology, steps=steps, lr=LR, every=steps, **options)
    return run.records.last["simulated"] / steps


def test_without_a_clock_there_is_no_simulated_time():
    assert ifog.run("dgd", PROBLEM, topology="ring", steps=3, lr=LR).history["simulated"].isna().all()


@pytest.mark.parametrize("method", ["dgd", "allreduce_sgd", "local_sgd", "relay_sgd"])
def test_whoever_waits_is_as_slow_as_the_slowest(method):
    topology = "chain" if method == "relay_sgd" else "ring"
    assert seconds(method, topology, speeds=SLOW) == pytest.approx(10, rel=1e-6)


def test_messages_take_their_time():
    assert seconds("dgd", delay=0.25) == pytest.approx(1.25)
    assert seconds("allreduce_sgd", delay=0.25) == pytest.approx(1.25)
    assert seconds("local_sgd", delay=0.25, H=5) == pytest.approx(1 + 0.25 / 5)  # it talks in one of five only


def test_messages_one_after_the_other_take_twice_as_long():
    assert seconds("diging", delay=5.0) == pytest.approx(6.0)  # x and y in one message
    assert seconds("gradient_tracking", delay=5.0) == pytest.approx(11.0)  # y, and then x


def test_an_asynchronous_run_that_was_interrupted_does_not_go_on():
    calls = []

    def gradient(x, i):
        calls.append(i)
        if len(calls) == 100:
            raise KeyboardInterrupt
        return x - i

    own = problems.from_gradient(gradient, 4, 2)
    with pytest.raises(KeyboardInterrupt):
        ifog.run("async_gradient_push", own, topology="ring", steps=50, lr=0.1, every=100)
    with pytest.raises(ExperimentError, match="interrupted while mail was taken in"):
        ifog.experiment.runs[-1].extend(10)


def test_a_fast_network_of_neighbours_waits_less_for_stragglers_than_an_allreduce():
    from ifog.network import straggling

    late = {"compute": straggling(1.0, 0.05, times=10.0), "steps": 300}
    assert seconds("dgd", "one_peer_exponential", **late) < seconds("allreduce_sgd", **late)


def test_the_clock_of_a_run_is_the_clock_of_its_graphs():
    run = ifog.run("dgd", PROBLEM, topology="one_peer_exponential", steps=20, lr=LR, speeds=SLOW, delay=0.1)
    clock, graphs = Clock(8, speeds=SLOW, delay=0.1), ifog.topology.one_peer_exponential(8)
    for k in range(20):
        clock.round(graphs[k])
        assert run.history["simulated"].iloc[k + 1] == clock.now


def test_with_one_slow_node_nobody_should_wait():
    runs = ifog.compare(
        ["ad_psgd", "async_gradient_push", "dgd"], problem=PROBLEM, topology="ring", steps=400, lr=LR, speeds=SLOW
    )
    reached = {}
    for run in runs:
        history = run.history
        assert history["simulated"].is_monotonic_increasing
        reached[run.about["method"]] = history["simulated"][history["error_of_mean"] < 0.4].min()
    assert runs[0].records.last["simulated"] < runs[2].records.last["simulated"] / 3
    assert reached["async_gradient_push"] < reached["dgd"] / 3


def test_a_run_in_which_nobody_waits_is_steered_like_any_other():
    import time

    run = ifog.run("ad_psgd", PROBLEM, topology="ring", steps=10_000_000, lr=LR, every=10, wait=False)
    while run.iteration < 10:
        time.sleep(0.01)
    run.topology = "complete"
    run.set(lr=LR / 2)
    while len(run.marks) < 2:
        time.sleep(0.01)
    run.stop()
    assert run.wait(timeout=60).parameters["lr"] == LR / 2


def test_the_clock_goes_on_where_it_was(tmp_path):
    given = {"topology": "ring", "lr": LR, "speeds": SLOW, "delay": 0.1}
    whole = ifog.run("dgd", PROBLEM, steps=30, **given)
    ifog.run("dgd", PROBLEM, steps=13, **given).save(tmp_path / "run")
    on = ifog.Run.load(tmp_path / "run").extend(17)
    np.testing.assert_array_equal(on.history["simulated"], whole.history["simulated"])


def test_effects_go_on_where_they_were(tmp_path):
    given = {"topology": "ring", "lr": LR, "effects": [cut(0.3), noise(1e-3)]}
    whole = ifog.run("dgd", PROBLEM, steps=30, **given)
    ifog.run("dgd", PROBLEM, steps=13, **given).save(tmp_path / "run")
    loaded = ifog.Run.load(tmp_path / "run")
    with pytest.raises(ArgumentError, match="effects could not be kept"):
        loaded.extend(17)
    assert torch.equal(loaded.extend(17, effects=given["effects"]).x, whole.x)


def test_lost_messages_bias_a_method_and_cut_links_do_not():
    exact = problems.quadratic(8, heterogeneity=1.0)
    given = {"topology": "ring", "steps": 3000, "lr": 0.05, "every": 100}
    whole = ifog.run("diging", exact, **given).records.last["error"]
    lossy = ifog.run("diging", exact, effects=[lose(0.2)], **given).records.last["error"]
    cut_ = ifog.run("diging", exact, effects=[cut(0.2)], **given).records.last["error"]
    assert whole < 1e-6
    assert cut_ < 1e-5
    assert lossy > 1e-3


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"speeds": {9: 1}}, "speeds"),
        ({"delay": -1}, "delay"),
        ({"compute": 0}, "compute"),
        ({"effects": [0.1]}, r"effects=\[0\.1\]"),
    ],
)
def test_a_mistake_about_time_or_trouble_is_named(options, says):
    with pytest.raises(ArgumentError, match=says):
        ifog.run("dgd", PROBLEM, topology="ring", steps=3, lr=LR, **options)
