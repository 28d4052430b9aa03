"""A run records what it should, goes where its method goes, and says what is wrong with what it is given."""

import inspect
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from method_claims import CLAIMS

import ifog
from ifog import problems
from ifog.algorithms import Method
from ifog.errors import ArgumentError, Diverged, ExperimentError, MethodError, ProblemError, TopologyError
from ifog.experiment.records import Records
from ifog.network import noise

PROBLEM = problems.least_squares(8, seed=3)
LR = 0.05 / PROBLEM.L


def test_every_recorded_number_is_what_its_name_says():
    run = ifog.run("dgd", PROBLEM, topology="ring", steps=50, lr=LR, every=7)
    history = run.history
    assert history["iteration"].tolist() == [0, 7, 14, 21, 28, 35, 42, 49, 50]

    x = PROBLEM.start(range(8))
    W = torch.from_numpy(ifog.topology.ring(8).W.copy())
    for k in range(51):
        row = history[history["iteration"] == k]
        if len(row):
            apart = x - PROBLEM.optimum
            mean = x.mean(0)
            expected = {
                "error": (apart**2).sum(1).mean().sqrt(),
                "error_of_mean": apart.mean(0).norm(),
                "disagreement": ((x - mean) ** 2).sum(1).mean().sqrt(),
                "loss": PROBLEM.loss(mean.expand(8, -1), range(8)).mean(),
                "gradient_norm": PROBLEM.gradient(x, range(8)).mean(0).norm(),
                "size": mean.norm(),
                "messages": torch.tensor(16.0 * k),
                "bytes": torch.tensor(16.0 * k * PROBLEM.d * 8),
            }
            for name, value in expected.items():
                assert row[name].item() == pytest.approx(value.item(), rel=1e-9, abs=1e-14), (k, name)
        x = W @ x - LR * PROBLEM.gradient(x, range(8))
    assert (history["seconds"].diff().dropna() >= 0).all()
    assert (history["compute"] + history["copy"] <= history["seconds"] + 1e-3).all()


def test_long_runs_are_recorded_less_often_unless_one_says_otherwise():
    for steps, every in ((0, 1), (1999, 1), (2000, 2), (150_000, 100)):
        run = ifog.run("dgd", PROBLEM, topology="ring", steps=steps, lr=LR, wait=False)
        assert run.about["every"] == every
        run.stop()
        run.wait(timeout=60)
    run = ifog.run("dgd", PROBLEM, topology="ring", steps=2500, lr=LR, every=1)
    assert len(run.history) == 2501
    run = ifog.run("dgd", PROBLEM, topology="ring", steps=2500, lr=LR)
    assert run.history["iteration"].tolist() == list(range(0, 2501, 2))


@pytest.mark.parametrize("every", [1, 10])
def test_many_snapshots_at_once_give_the_numbers_of_each_alone(every, monkeypatch):
    from ifog.experiment import records

    together = ifog.run("gradient_tracking", PROBLEM, topology="ring", steps=100, lr=LR, every=every).history
    monkeypatch.setattr(records, "_AT_ONCE", 1)
    alone = ifog.run("gradient_tracking", PROBLEM, topology="ring", steps=100, lr=LR, every=every).history
    for name in ("error", "disagreement", "loss", "gradient_norm"):
        np.testing.assert_allclose(together[name], alone[name], rtol=1e-12)


def test_a_problem_whose_function_is_for_plain_tensors_only_is_measured_too():
    own = problems.from_gradient(lambda x, i: x.numpy() - i, 4, 1, loss=lambda x, i: ((x.numpy() - i) ** 2 / 2).item())
    run = ifog.run("dgd", own, topology="ring", steps=100, lr=0.1)
    assert run.history["gradient_norm"].iloc[-1] < 1e-3
    assert run.history["loss"].iloc[0] == (0 + 1 + 4 + 9) / 2 / 4


def test_a_problem_without_a_function_has_no_loss_to_record():
    run = ifog.run("dgd", problems.from_gradient(lambda x, i: x - i, 4, 1), topology="ring", steps=20, lr=0.1)
    assert run.history["loss"].isna().all()


def test_what_a_problem_measures_besides_is_recorded():
    run = ifog.run("atc", problems.digits(4), topology="ring", steps=4, lr=0.1, every=2)
    assert "accuracy" in run.history
    assert run.history["accuracy"].between(0, 1).all()


def test_the_same_seed_gives_the_same_history_and_another_one_another():
    noisy = problems.quadratic(6, noise=0.1)

    def errors(seed):
        return ifog.run("atc", noisy, topology="ring", steps=40, lr=0.1, seed=seed).history["error"].tolist()

    assert errors(1) == errors(1)
    assert errors(1) != errors(2)


def test_mini_batches_are_of_the_size_that_is_asked_for():
    exact = ifog.run("atc", PROBLEM, topology="ring", steps=300, lr=LR).history["error_of_mean"].iloc[-1]
    rough = ifog.run("atc", PROBLEM, topology="ring", steps=300, lr=LR, batch=1).history["error_of_mean"].iloc[-1]
    assert rough > 2 * exact


@pytest.mark.parametrize("start", [3.0 * torch.ones(PROBLEM.d), np.full((8, PROBLEM.d), 3.0)])
def test_the_nodes_begin_where_they_are_told_to(start):
    run = ifog.run("dgd", PROBLEM, topology="ring", steps=0, lr=LR, start=start)
    assert run.history["size"].tolist() == [pytest.approx(3 * PROBLEM.d**0.5)]
    assert run.status == "done"


@pytest.mark.parametrize("name", [name for name, claim in CLAIMS.items() if claim.ends == "mean"])
def test_methods_that_average_have_a_problem_of_their_own(name):
    claim = CLAIMS[name]
    problem = problems.averaging(16, d=10, seed=1)
    history = ifog.run(name, problem, topology=claim.topology(16), steps=claim.steps, **claim.parameters).history
    apart = problem.start(range(16)) - problem.optimum
    assert history["error"].iloc[0] == pytest.approx(float(apart.square().sum(1).mean().sqrt()))
    assert history["error"].iloc[-1] < claim.within


def test_one_node_alone_runs_too():
    run = ifog.run("diging", "least_squares", n=1, topology="ring", steps=400, lr=0.2)
    assert run.history["error"].iloc[-1] < 1e-10


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_numbers_are_of_the_problems_type(dtype):
    run = ifog.run("extra", PROBLEM.to(dtype=dtype), topology="ring", steps=500, lr=0.5 / PROBLEM.L)
    assert run.x.dtype == dtype
    assert run.history["error"].iloc[-1] < (1e-4 if dtype == torch.float32 else 1e-6)


def test_a_run_that_diverges_says_when_where_and_what_to_try():
    with pytest.raises(
        Diverged, match=r"dgd on ring\(8\) diverged: by iteration \d+, first of all at node \d; lr=9 .*try lr=0\.\d"
    ) as raised:
        ifog.run("dgd", PROBLEM, topology="ring", steps=10_000, lr=9.0)
    assert int(str(raised.value).split("iteration ")[1].split(",")[0]) < 100
    run = ifog.experiment.runs[-1]
    assert run.status == "failed"
    assert len(run.history) > 3  # what was recorded up to then is kept
    with pytest.raises(Diverged):
        run.wait()


def test_numbers_that_are_none_end_a_run():
    own = problems.from_gradient(lambda x, i: x * torch.nan if x.any() else x + 1, 4, 2)
    with pytest.raises(Diverged, match="iteration 1, "):
        ifog.run("dgd", own, topology="ring", steps=100, lr=0.1)


NEXT_TO_RIGHT = {
    "a name that is almost one": ({"method": "extr"}, MethodError, "did you mean extra"),
    "a topology for another n": ({"topology": ifog.topology.ring(9)}, TopologyError, r"ring\(9\) has 9 nodes.*n=8"),
    "a topology that does not fit": ({"method": "extra", "topology": "exponential"}, MethodError, "symmetric.*try ring"),
    "no step size": ({"lr": None}, ArgumentError, "lr"),
    "a parameter that is none": ({"beta": 0.9}, ArgumentError, "has no parameter 'beta'"),
    "steps that are no number": ({"steps": "many"}, ArgumentError, r"steps='many': steps must be a whole number"),
    "steps below zero": ({"steps": -1}, ArgumentError, "steps=-1"),
    "every of zero": ({"every": 0}, ArgumentError, "every=0"),
    "a batch of half": ({"batch": 0.5}, ArgumentError, r"batch=0\.5"),
    "a seed that is none": ({"seed": -1}, ArgumentError, "seed=-1"),
    "a problem by name without n": ({"problem": "least_squares"}, ArgumentError, "n=16"),
    "another n than the problem's": ({"n": 9}, ArgumentError, "least_squares.*has 8 nodes"),
    "a problem that is none": ({"problem": 3}, ProblemError, "problem=3"),
    "a start that is a word": ({"start": "zero"}, ArgumentError, "start='zero'"),
    "a start that is nowhere": ({"start": torch.full((PROBLEM.d,), torch.nan)}, ArgumentError, "give finite ones"),
    "effects that are none": ({"effects": 0.1}, ArgumentError, r"effects=0\.1"),
    "a start of another length": ({"start": torch.ones(3)}, ArgumentError, r"start has the shape \(3,\)"),
}


@pytest.mark.parametrize("mistake", NEXT_TO_RIGHT, ids=str)
def test_a_mistake_is_named_before_the_first_step(mistake):
    change, error, says = NEXT_TO_RIGHT[mistake]
    right = {"method": "dgd", "problem": PROBLEM, "topology": "ring", "steps": 5, "lr": LR}
    given = {key: value for key, value in (right | change).items() if value is not None}
    with pytest.raises(error, match=says):
        ifog.run(**given)


def test_a_gradient_of_the_wrong_shape_is_named():
    own = problems.from_gradient(lambda x, i: x, 4, 2)
    own._gradient = lambda x, **data: x[:, :1]
    with pytest.raises(ProblemError, match=r"the gradient of .* has the shape \(4, 1\), and x \(4, 2\)"):
        ifog.run("dgd", own, topology="ring", steps=3, lr=0.1)


def test_a_method_of_three_lines_is_run_recorded_and_kept(tmp_path):
    from ifog.algorithms import method
    from ifog.algorithms.method import _register

    try:

        @method(needs="doubly_stochastic")
        def half_a_step(net, x, grad, s, *, lr):
            return net.mix(x) - lr / 2 * grad()

        assert "half_a_step" in ifog.algorithms.all()
        run = ifog.run("half_a_step", PROBLEM, topology="ring", steps=30, lr=2 * LR)
        same = ifog.run("dgd", PROBLEM, topology="ring", steps=30, lr=LR)
        assert torch.equal(run.x, same.x)
        run.save(tmp_path / "run")
        assert torch.equal(ifog.Run.load(tmp_path / "run").extend(20).x, same.extend(20).x)
    finally:
        _register.pop("half_a_step", None)


@pytest.mark.parametrize("wait", [True, False])
def test_an_error_in_a_gradient_ends_the_run_and_is_its_error(wait):
    own = problems.from_gradient(lambda x, i: 1 / 0 if x[0] > 0.5 else x - i, 4, 2)
    with pytest.raises(ZeroDivisionError):
        ifog.run("dgd", own, topology="ring", steps=100, lr=0.1, wait=wait).wait(timeout=60)
    run = ifog.experiment.runs[-1]
    assert run.status == "failed"
    assert isinstance(run.error, ZeroDivisionError)
    assert len(run.history) > 1


def combine_then_adapt(net, x, grad, s, *, lr):
    x = net.mix(x)
    return x - lr * grad(x)


@pytest.mark.parametrize("method", ["diging", Method(combine_then_adapt, (), {})], ids=["adapts first", "combines first"])
def test_an_interrupted_iteration_can_be_made_again(method):
    calls = []

    def gradient(x, i):
        calls.append(i)
        if len(calls) == 4 * 30 + 2:
            raise KeyboardInterrupt
        return x - i

    def run(gradient):
        own = problems.from_gradient(gradient, 4, 2)
        return ifog.run(method, own, topology="ring", steps=50, lr=0.1, every=100, effects=[noise(0.01)])

    with pytest.raises(KeyboardInterrupt):
        run(gradient)
    interrupted = ifog.experiment.runs[-1]
    assert interrupted.status == "stopped"
    whole = run(lambda x, i: x - i)
    assert torch.equal(interrupted.extend(50 - interrupted.iteration).x, whole.x)
    assert interrupted.records.last["messages"] == whole.records.last["messages"]


def test_an_iteration_that_was_made_is_not_made_again(monkeypatch):
    def interrupted(records):
        if records._last == 30:
            raise KeyboardInterrupt

    def run():
        return ifog.run("diging", PROBLEM, topology="ring", steps=50, lr=LR)

    monkeypatch.setattr(Records, "take_gradient", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run()
    monkeypatch.undo()
    stopped, whole = ifog.experiment.runs[-1], run()
    assert (stopped.status, stopped.iteration) == ("stopped", 31)
    assert torch.equal(stopped.extend(19).x, whole.x)
    assert stopped.history["iteration"].tolist() == list(range(51))
    assert stopped.records.last["messages"] == whole.records.last["messages"]


def test_what_comes_too_late_for_a_run_does_not_meet_the_next():
    run = ifog.run("dgd", PROBLEM, topology="ring", steps=10, lr=LR)
    run.wishes.add(ifog.experiment.Command("pause"))
    assert run.extend(10, wait=False).wait(timeout=60).iteration == 20


def test_an_ended_run_goes_on_with_other_parameters_and_every_row_is_there():
    run = ifog.run("dgd", PROBLEM, topology="ring", steps=15, lr=LR, every=10)
    time.sleep(0.3)
    run.extend(10, lr=LR / 2, topology="complete")
    assert run.history["iteration"].tolist() == [0, 10, 15, 20, 25]
    assert run.parameters["lr"] == LR / 2
    assert [what for _, what in run.marks] == ["complete(8)", f"lr = {LR / 2}"]
    assert run.history["seconds"].iloc[-1] < 0.3  # the time in between is nobody's
    assert ifog.experiment.runs.count(run) == 1
    with pytest.raises(ArgumentError, match="lr=-1"):
        run.extend(10, lr=-1)


def test_a_run_that_is_stopped_records_where():
    run = ifog.run("dgd", PROBLEM, topology="ring", steps=10**9, lr=LR, every=1000, wait=False)
    while run.iteration < 10:
        time.sleep(0.001)
    run.stop()
    run.wait(timeout=60)
    assert run.records.last["iteration"] == run.iteration
    assert run.records.last["size"] == pytest.approx(run.x.mean(0).norm().item())


def test_a_parameter_that_decides_how_memory_begins_cannot_be_changed():
    run = ifog.run("overlap_sgp", PROBLEM, topology="ring", steps=10, lr=LR, tau=1)
    with pytest.raises(ArgumentError, match="tau of overlap_sgp decides how its memory begins"):
        run.extend(10, tau=3)


def test_no_name_that_a_run_needs_itself_was_forgotten():
    from ifog.algorithms.method import _TAKEN

    assert {p.name for p in inspect.signature(ifog.run).parameters.values() if p.kind is not p.VAR_KEYWORD} == _TAKEN


def test_the_names_that_a_run_needs_itself_are_none_for_parameters():
    from ifog.algorithms import method

    with pytest.raises(MethodError, match=r"delay of mine: ifog\.run has an argument of that name"):

        @method()
        def mine(net, x, grad, s, *, delay):
            return x


def test_recording_does_not_hold_on_to_more_than_a_bounded_number_of_iterates():
    from ifog.experiment import records

    d = 16 * records._AT_ONCE
    wide = problems.from_function(lambda x, c: ((x - c) ** 2).sum() / 2, torch.zeros(4, 1), d=d)
    run = ifog.run("dgd", wide, topology="ring", steps=40, lr=0.1)
    assert len(run.history) == 41


def test_a_notebook_goes_on_while_it_runs():
    began = time.perf_counter()
    run = ifog.run("dgd", PROBLEM, topology="ring", steps=10_000_000, lr=LR, every=1000, wait=False)
    assert time.perf_counter() - began < 2
    with pytest.raises(TimeoutError, match="still running"):
        run.wait(timeout=0.1)
    run.stop()
    assert run.wait(timeout=60).status == "stopped"


def test_a_run_can_be_awaited():
    import asyncio

    async def cell():
        return await ifog.run("dgd", PROBLEM, topology="ring", steps=100, lr=LR, wait=False)

    assert asyncio.run(cell()).iteration == 100


def test_python_may_end_while_something_runs():
    code = """
import time, ifog
for pause in (False, True):
    run = ifog.run("dgd", "least_squares", n=16, topology="ring", steps=10**9, lr=0.02, wait=False)
    while run.iteration < 10: time.sleep(0.01)
    if pause: run.pause()
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_an_error_in_the_background_is_raised_where_it_is_waited_for():
    run = ifog.run("dgd", PROBLEM, topology="ring", steps=10_000, lr=9.0, wait=False)
    with pytest.raises(Diverged):
        run.wait(timeout=60)
    assert run.status == "failed"
    with pytest.raises(ExperimentError, match="is failed"):
        run.set(lr=0.1)
