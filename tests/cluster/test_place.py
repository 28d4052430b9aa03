"""`ifog.run(…, on=cluster)`: a run on the engines, watched and steered from here."""

import pytest
from engines_and_notebooks import until
from runs_elsewhere import refuses_swaps_pauses_grows_and_stops

import ifog
from ifog.errors import CellFailed, ExperimentError
from ifog.problems import least_squares

pytestmark = pytest.mark.slow
PROBLEM = least_squares(8, seed=3)
LR = 0.05 / PROBLEM.L


def test_a_run_on_engines_is_watched_and_steered_from_here(four):
    cluster, _ = four
    run = ifog.run("extra", PROBLEM, topology="ring", steps=100_000_000, lr=LR, every=5, on=cluster)
    until(lambda: run.iteration > 0, 60)
    assert run.about["ranks"] == 4
    run.topology = "grid"
    until(lambda: run.marks)
    run.set(lr=LR / 2)
    until(lambda: len(run.marks) == 2)
    refuses_swaps_pauses_grows_and_stops(run)


def test_it_gives_what_a_simulation_gives(four):
    cluster, _ = four
    task = {"topology": "ring", "steps": 60, "lr": LR}
    here, there = ifog.run("diging", PROBLEM, **task), ifog.run("diging", PROBLEM, **task, on=cluster, wait=True)
    assert there.history["error"].to_numpy() == pytest.approx(here.history["error"].to_numpy(), rel=1e-9)


def test_several_are_worked_one_after_the_other(four):
    cluster, _ = four
    runs = [ifog.run(name, PROBLEM, topology="ring", steps=50, lr=LR, on=cluster) for name in ("dgd", "extra", "diging")]
    assert [run.wait(timeout=60).status for run in runs] == ["done"] * 3
    assert [len(run.history) for run in runs] == [51] * 3


def test_an_error_there_is_an_error_here(four):
    cluster, _ = four
    run = ifog.run("dgd", PROBLEM, topology="ring", steps=10_000, lr=9.0, on=cluster)
    with pytest.raises(ExperimentError, match=r"dgd .*diverged"):
        run.wait(timeout=60)
    assert len(run.history) > 0
    run = ifog.run("dgd", PROBLEM, topology="ring", steps=10, lrr=9.0, on=cluster)
    with pytest.raises(Exception, match="lr"):
        run.wait(timeout=60)


def test_engines_that_die_end_the_run_and_what_came_stays(four):
    import os
    import signal

    cluster, _ = four
    run = ifog.run("dgd", PROBLEM, topology="ring", steps=100_000_000, lr=LR, every=5, on=cluster)
    until(lambda: len(run.history) > 2, 60)
    os.kill(cluster.said()["engines"][3]["pid"], signal.SIGKILL)
    with pytest.raises(CellFailed, match=r"rank 3 .*killed.*ifog restart"):
        run.wait(timeout=60)
    assert len(run.history) > 2
    with pytest.raises(CellFailed, match="ifog restart"):
        ifog.run("dgd", PROBLEM, topology="ring", steps=10, lr=LR, on=cluster)


DEFINED = """
import ifog, torch
from ifog.algorithms import method, zeros

@method(needs="doubly_stochastic", m=zeros)
def heavy_ball(net, x, grad, s, *, lr, beta=0.5):
    s.m = beta * s.m + grad()
    return net.mix(x - lr * s.m)

class Small(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(64, 10)

    def forward(self, images):
        return self.layer(images.flatten(1))

problem = ifog.problems.least_squares(8, seed=3)
there = dict(topology="ring", steps=60, on=ifog.connect())
"""


def test_methods_models_and_functions_of_the_notebook_travel_to_the_engines(four):
    _, notebook = four
    notebook.good(DEFINED)
    end = ".wait().history['error'].iloc[-1]"
    both = f"[ifog.run(heavy_ball, problem, lr=0.02, **how){end} for how in (there, {{**there, 'on': None}})]"
    first, second = eval(notebook.good(f"[float(x) for x in {both}]").value)
    assert first == pytest.approx(second, rel=1e-9)
    assert notebook.good(f"bool(ifog.run('heavy_ball', problem, lr=0.02, **there){end} < 1)").value == "True"
    notebook.good("pulled = ifog.problems.from_function(lambda x, c: ((x - c) ** 2).sum(), torch.arange(4.0)[:, None], d=1)")
    assert notebook.good("ifog.run('dgd', pulled, lr=0.1, **there).wait().status").value == "'done'"
    notebook.good("from ifog.learning import data, fit")
    trained = (
        "fit(Small(), data.digits()[0], nodes=4, method='atc', topology='ring', epochs=1, batch=32, lr=0.1, on=there['on'])"
    )
    assert notebook.good(f"{trained}.wait().status").value == "'done'"


def test_what_the_engines_do_not_know_is_said_in_one_line(four):
    cluster, _ = four
    run = ifog.run("dgd", PROBLEM, topology="ring", steps=10, lrr=9.0, on=cluster)
    with pytest.raises(ExperimentError, match=r"^ranks? [0-9, –]+: ArgumentError: dgd has no parameter 'lrr': did you mean lr"):
        run.wait(timeout=60)
