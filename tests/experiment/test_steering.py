"""Whatever runs can be held, stopped and changed, and what does not fit is refused while it goes on."""

import contextlib
import time

import numpy as np
import pytest
import torch

import ifog
from ifog import problems
from ifog.errors import ArgumentError, ExperimentError, MethodError, TopologyError

PROBLEM = problems.least_squares(8, seed=3)
LR = 0.05 / PROBLEM.L
FOREVER = 100_000_000


@pytest.fixture
def run():
    run = ifog.run("dgd", PROBLEM, topology="ring", steps=FOREVER, lr=LR, every=50, wait=False)
    yield run
    run.stop()
    run.wait(timeout=60)


def until(true, seconds=60):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.005)


def test_it_pauses_and_goes_on(run):
    until(lambda: run.iteration > 100)
    run.pause()
    until(lambda: run.status == "paused")
    held = run.iteration
    assert run.history["iteration"].iloc[-1] == held // 50 * 50 - (50 if held % 50 == 0 else 0)  # all of it is measured
    time.sleep(0.2)
    assert run.iteration == held
    run.resume()
    until(lambda: run.iteration > held)
    assert run.status == "running"


def test_it_makes_single_steps(run):
    run.pause()
    until(lambda: run.status == "paused")
    held = run.iteration
    for steps in (1, 120):
        run.step(steps)
        until(lambda: run.iteration == held + steps)  # noqa: B023
        time.sleep(0.1)
        held += steps
        assert (run.iteration, run.status) == (held, "paused")
    assert run.history["iteration"].iloc[-1] == (held - 1) // 50 * 50
    run.resume()
    until(lambda: run.iteration > held + 100)
    run.step()  # also while it goes on
    until(lambda: run.status == "paused")


def test_its_pace_can_be_held_and_let_go(run):
    until(lambda: run.iteration > 100)
    run.pace = 100
    until(lambda: run.pace == 100)
    began, at = time.monotonic(), run.iteration
    until(lambda: run.iteration >= at + 30)
    assert time.monotonic() - began > 20 / 100  # one that is slower is always possible
    run.pause()
    until(lambda: run.status == "paused")
    run.pace = None
    run.resume()
    at = run.iteration
    until(lambda: run.iteration > at + 3000)


def test_a_run_is_saved_where_it_stands_still(tmp_path):
    noisy = problems.quadratic(8, noise=0.1)
    run = ifog.run("diging", noisy, topology="ring", steps=FOREVER, lr=0.05, every=50, wait=False, paused=True)
    run.step(3000)
    until(lambda: run.iteration > 0)
    run.save(tmp_path / "run")
    assert run.iteration == 3000
    run.resume()
    with contextlib.suppress(ExperimentError):  # it may go on already
        run.save(tmp_path / "run")
    run.stop()
    loaded = ifog.Run.load(tmp_path / "run")
    assert loaded.iteration == 3000
    assert loaded.history["iteration"].tolist() == list(range(0, 3000, 50))
    assert torch.equal(loaded.x, ifog.run("diging", noisy, topology="ring", steps=3000, lr=0.05, every=50).x)
    run.wait(timeout=60)


def test_a_run_can_begin_standing_still_and_slowly():
    run = ifog.run("dgd", PROBLEM, topology="ring", steps=3, lr=LR, wait=False, paused=True, pace=1e3)
    run.step()
    until(lambda: run.iteration == 1)
    assert run.status == "paused"
    run.resume()
    assert run.wait(timeout=60).history["iteration"].tolist() == [0, 1, 2, 3]
    with pytest.raises(ArgumentError, match="wait=False"):
        ifog.run("dgd", PROBLEM, topology="ring", steps=3, lr=LR, wait=True, paused=True)


def test_what_each_node_holds_is_measured_while_somebody_watches(run):
    until(lambda: run.iteration > 100)
    assert run.nodes is None
    run.watch()
    until(lambda: run.nodes)
    run.pause()
    until(lambda: run.status == "paused")
    k, numbers = run.nodes
    held = run.history.set_index("iteration").loc[k]
    for name in ("error", "disagreement"):
        assert (numbers[name] ** 2).mean() ** 0.5 == pytest.approx(held[name])
    run.watch(False)
    run.step(100)
    until(lambda: run.iteration > k + 100)
    assert run.nodes.iteration == k


def test_each_node_is_measured_as_the_problem_says(run):
    run.pause()
    until(lambda: run.status == "paused")
    run.watch()
    run.step(50 - run.iteration % 50)
    until(lambda: run.iteration % 50 == 0)
    x = run.x
    run.step()
    until(lambda: run.nodes and run.nodes.iteration == run.iteration - 1)
    numbers = run.nodes.numbers
    assert numbers["loss"] == pytest.approx(PROBLEM.loss(x, range(8)).numpy())
    assert numbers["error"] == pytest.approx((x - PROBLEM.optimum).norm(dim=1).numpy())
    assert numbers["value"] == pytest.approx(x.norm(dim=1).numpy())


def test_the_time_of_a_pause_is_not_counted(run):
    until(lambda: run.iteration > 100)
    run.pause()
    until(lambda: run.status == "paused")
    time.sleep(0.5)
    last = run.history["seconds"].iloc[-1]
    run.resume()
    until(lambda: run.history["seconds"].iloc[-1] > last)
    assert run.history["seconds"].diff().max() < 0.45


def test_another_topology_takes_effect_at_a_marked_iteration(run):
    until(lambda: len(run.records) > 2)
    run.topology = "complete"
    until(lambda: run.marks)
    ((k, what),) = run.marks
    assert what == "complete(8)"
    assert run.topology == ifog.topology.complete(8)
    until(lambda: run.iteration > k + 300)
    run.stop()
    run.wait(timeout=60)
    messages = run.history.set_index("iteration")["messages"].diff() / 50
    assert messages[messages.index <= k].dropna().unique().tolist() == [16]
    assert messages[messages.index >= k + 50].dropna()[:-1].unique().tolist() == [56]


def test_another_step_size_moves_where_it_ends(run):
    until(lambda: run.iteration > 3000)
    far = run.history["error"].iloc[-1]
    run.set(lr=LR / 10)
    until(lambda: run.history["error"].iloc[-1] < far / 3)
    assert run.marks[-1][1] == f"lr = {LR / 10}"
    assert run.parameters["lr"] == LR / 10


@pytest.mark.parametrize(
    ("wish", "error", "says"),
    [
        (lambda run: run.set(lrr=0.1), ArgumentError, "has no parameter 'lrr': did you mean lr"),
        (lambda run: run.set(lr=-1), ArgumentError, "lr=-1"),
        (lambda run: run.step(0), ArgumentError, "count=0"),
        (lambda run: setattr(run, "pace", 0), ArgumentError, "pace=0: give iterations a second"),
        (lambda run: run.set(), ArgumentError, "lr=0.01"),
        (lambda run: setattr(run, "topology", "rign"), TopologyError, "did you mean 'ring'"),
        (lambda run: setattr(run, "topology", ifog.topology.ring(9)), TopologyError, "9 nodes"),
        (lambda run: run.extend(10), ExperimentError, "is running"),
        (lambda run: run.save("nowhere"), ExperimentError, "pause it"),
    ],
)
def test_what_cannot_be_is_refused_and_the_run_goes_on(run, wish, error, says):
    until(lambda: run.iteration > 0)
    with pytest.raises(error, match=says):
        wish(run)
    before = run.iteration
    until(lambda: run.iteration > before)
    assert run.status == "running"


def test_a_topology_that_the_method_cannot_take_is_refused(run):
    exact = ifog.run("extra", PROBLEM, topology="ring", steps=FOREVER, lr=LR, every=1000, wait=False)
    with pytest.raises(MethodError, match="needs a symmetric W"):
        exact.topology = "exponential"
    exact.topology = "grid"
    until(lambda: exact.marks)
    exact.stop()
    assert exact.wait(timeout=60).status == "stopped"


def test_messages_on_edges_begin_anew_with_another_tree():
    problem = problems.quadratic(7)
    run = ifog.run("relay_sgd", problem, topology="chain", steps=FOREVER, lr=0.05, every=100, wait=False)
    until(lambda: run.iteration > 500)
    run.topology = "star"
    until(lambda: run.marks)
    begun = run.iteration
    until(lambda: run.iteration > begun + 6000)
    run.stop()
    run.wait(timeout=60)
    assert run.history["error_of_mean"].iloc[-1] < 1e-6


def test_a_method_may_say_what_a_swap_does_to_its_memory():
    from ifog.algorithms import method, zeros
    from ifog.algorithms.method import _register

    swaps = []

    def forget(net, x, s):
        swaps.append(net.topology.label)
        s.m = torch.zeros_like(x)

    try:

        @method(needs="doubly_stochastic", on_swap=forget, m=zeros)
        def heavy(net, x, grad, s, *, lr):
            s.m = s.m + 1
            return net.mix(x - lr * grad())

        run = ifog.run("heavy", PROBLEM, topology="ring", steps=FOREVER, lr=LR, every=100, wait=False)
        until(lambda: run.iteration > 10)
        run.topology = "grid"
        until(lambda: run.marks)
        run.stop()
        run.wait(timeout=60)
        assert swaps == ["grid(8)"]
        assert run._state()["memory"]["m"].max() == run.iteration - run.marks[0][0]
    finally:
        _register.pop("heavy", None)


def test_listeners_hear_of_rows_until_they_leave(run):
    heard = []
    leave = run.listen(lambda: heard.append(len(run.records)))
    until(lambda: len(heard) > 3)
    leave()
    time.sleep(0.3)
    count = len(heard)
    time.sleep(0.3)
    assert len(heard) == count
    assert heard == sorted(heard)


def test_a_listener_that_fails_is_dropped_and_the_run_goes_on():
    heard = []

    def broken():
        heard.append(1)
        raise ZeroDivisionError("nobody can draw that")

    loop = ifog.loop(50)
    loop.run.listen(broken)
    loop.run.listen(lambda: heard.append(2))
    with pytest.warns(UserWarning, match=r"broken listened to a run, failed, .*: ZeroDivisionError: nobody can") as warned:
        list(loop)
    assert len(warned) == 1
    assert heard.count(1) == 1
    assert heard.count(2) == 2  # it runs, and it is done
    assert loop.run.status == "done"
    assert loop.run.iteration == 50


# ------------------------------------------------------------------------------------------------ a loop of one's own
def test_a_loop_is_recorded_and_shows_its_last_numbers():
    for k in (loop := ifog.loop(100, name="mine", lr=0.5)):
        loop.record(value=loop.lr * k, square=torch.tensor(float(k**2)))
    history = loop.run.history
    assert history["value"].tolist() == [0.5 * k for k in range(100)]
    assert history["square"].tolist() == [k**2 for k in range(100)]
    assert loop.run.status == "done"
    assert len(loop) == 100
    assert "mine: done" in repr(loop.run)


def test_a_loop_records_what_is_there_then_also_where_it_is_written_over_later():
    x, y = torch.zeros(1), np.zeros(())
    for _ in (loop := ifog.loop(200)):
        x += 1
        y += 1
        loop.record(x=x[0], y=y)
    assert loop.run.history["x"].tolist() == loop.run.history["y"].tolist() == list(range(1, 201))


def test_a_loop_follows_what_others_ask_of_its_run():
    seen = []
    loop = ifog.loop(lr=1.0, topology=ifog.topology.ring(4))
    for k in loop:
        seen.append((loop.lr, loop.topology.label))
        if k == 10:
            loop.run.set(lr=0.5)
            loop.run.topology = "star"
        if loop.lr == 0.5:
            loop.run.stop()
        time.sleep(0.0005)
    assert seen[10] == (1.0, "ring(4)")
    assert seen[-1] == (0.5, "star(4)")
    assert loop.run.status == "stopped"
    assert [what for _, what in loop.run.marks] == ["lr = 0.5", "star(4)"]


def test_a_parameter_can_be_set_within_the_loop_and_from_outside():
    seen = []
    for k in (loop := ifog.loop(lr=1.0)):
        if k == 3:
            loop.lr = 0.5
        if k == 10:
            loop.run.set(lr=0.25)
        seen.append(loop.lr)
        if loop.lr == 0.25:
            break
    assert seen[:5] == [1.0, 1.0, 1.0, 0.5, 0.5]
    assert loop.run.parameters["lr"] == 0.25


def test_a_loop_that_is_left_has_ended():
    for k in (loop := ifog.loop(100)):
        loop.record(value=k)
        if k == 5:
            break
    assert loop.run.status == "stopped"
    assert loop.run.history["value"].tolist() == [0, 1, 2, 3, 4, 5]


def test_what_is_recorded_now_and_then_has_gaps():
    for k in (loop := ifog.loop(4)):
        loop.record(often=k)
        if k % 2:
            loop.record(seldom=k)
    assert loop.run.history["seldom"].isna().tolist() == [True, False, True, False]


@pytest.mark.parametrize(
    ("wrong", "error", "says"),
    [
        (lambda: ifog.loop(-1), ArgumentError, "steps=-1"),
        (lambda: ifog.loop(1.5), ArgumentError, r"steps=1\.5"),
        (lambda: ifog.loop(3, record=1), ArgumentError, "record=1"),
        (lambda: ifog.loop(3, run=1), ArgumentError, "run=1"),
        (lambda: ifog.loop(3, lr=1).ll, AttributeError, "no parameter 'll'"),
        (
            lambda: [loop.record(x=torch.ones(2)) for loop in [ifog.loop(3)] for _ in loop],
            ArgumentError,
            r"record\(x=Tensor of shape \(2,\)\)",
        ),
        (
            lambda: [loop.record(seconds=2) for loop in [ifog.loop(3)] for _ in loop],
            ArgumentError,
            "seconds is recorded anyway",
        ),
        (lambda: ifog.loop(3).run.x, ExperimentError, "no iterates"),
        (lambda: ifog.loop(3).run.extend(3), ExperimentError, "loop of your own"),
    ],
)
def test_a_mistake_with_a_loop_is_named(wrong, error, says):
    with pytest.raises(error, match=says):
        wrong()
