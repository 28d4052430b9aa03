"""Runs on the ranks of an MPI world: ``mpiexec -n 3 python together.py FOLDER``."""

import sys
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import ifog
from ifog import algorithms
from ifog.experiment import crew, drive, runs
from ifog.problems import from_function, least_squares, quadratic

PROBLEM = least_squares(8, seed=3)
LR = 0.05 / PROBLEM.L
FOREVER = 100_000_000


def simulated(*args, **options):
    """The same in this process alone."""
    real = drive.crew
    drive.crew = crew.Alone
    try:
        return ifog.run(*args, **options)
    finally:
        drive.crew = real


def agreed(value):
    """Whether all ranks have the same."""
    return all(other == value for other in ifog.allgather_object(value))


def until(true):
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.002)


def the_history_is_that_of_the_simulation():
    for method, topology, problem, options in [
        ("diging", "one_peer_exponential", PROBLEM, {}),
        ("dgd", "ring", quadratic(7, noise=0.1), {"seed": 4}),
        ("relay_sgd", "chain", PROBLEM, {"every": 7, "batch": 3}),
    ]:
        given = {"topology": topology, "steps": 100, "lr": LR, **options}
        here, there = simulated(method, problem, **given), ifog.run(method, problem, **given)
        assert there.about["ranks"] == ifog.size()
        nodes = there._experiment.steps.net.nodes
        torch.testing.assert_close(there.x, here.x[nodes.start : nodes.stop], rtol=1e-11, atol=1e-13)
        for name in ("iteration", "error", "error_of_mean", "disagreement", "loss", "gradient_norm", "messages", "bytes"):
            np.testing.assert_allclose(
                there.history[name], here.history[name], rtol=1e-8, atol=1e-12, err_msg=f"{method} {name}"
            )
        assert (there.history[["compute", "wait", "copy"]] >= 0).all(axis=None)


def the_numbers_may_be_of_any_type():
    for dtype in (torch.float32, torch.bfloat16):
        given = {"topology": "ring", "steps": 50, "lr": LR}
        here, there = (run("dgd", PROBLEM.to(dtype=dtype), **given) for run in (simulated, ifog.run))
        nodes = there._experiment.steps.net.nodes
        torch.testing.assert_close(there.x, here.x[nodes.start : nodes.stop])


def a_method_of_three_lines_is_the_same_in_both_worlds():
    @algorithms.method(needs="doubly_stochastic", m=algorithms.zeros)
    def three_lines(net, x, grad, s, *, lr):
        s.m = 0.5 * s.m + grad()
        return net.mix(x - lr * s.m)

    given = {"topology": "one_peer_exponential", "steps": 200, "lr": LR}
    here, there = simulated("three_lines", PROBLEM, **given), ifog.run("three_lines", PROBLEM, **given)
    nodes = there._experiment.steps.net.nodes
    torch.testing.assert_close(there.x, here.x[nodes.start : nodes.stop], rtol=1e-12, atol=1e-14)


def what_any_rank_asks_for_is_done_at_the_same_iteration_everywhere():
    for rank in {0, ifog.size() - 1}:
        steered_by(rank)


def steered_by(asks):
    paused, before = [], len(runs)

    def steer():
        until(lambda: len(runs) > before and runs[-1].iteration > 20)
        run = runs[-1]
        run.topology = "complete"
        until(lambda: run.marks)
        run.set(lr=LR / 2)
        until(lambda: len(run.marks) == 2)
        run.pause()
        until(lambda: run.status == "paused")
        paused.append(run.iteration)
        time.sleep(0.3)
        paused.append(run.iteration)
        run.watch()
        run.step(20)
        until(lambda: run.iteration == paused[0] + 20 and run.nodes)
        time.sleep(0.1)
        paused.append(run.iteration)
        run.pace = 200
        run.resume()
        began = time.monotonic()
        until(lambda: run.iteration > paused[-1] + 30)
        assert time.monotonic() - began > 25 / 200  # slower is always possible
        run.watch(False)
        run.stop()

    steering = threading.Thread(target=steer)
    if ifog.rank() == asks:
        steering.start()
    run = ifog.run("dgd", PROBLEM, topology="ring", steps=FOREVER, lr=LR, every=5)
    if ifog.rank() == asks:
        steering.join()
        assert paused == [paused[0], paused[0], paused[0] + 20]
    assert run.status == "stopped"
    assert [what for _, what in run.marks] == ["complete(8)", f"lr = {LR / 2}"]
    assert agreed((run.iteration, run.marks, run.topology.label, dict(run.parameters), run.pace))
    held = run.history.set_index("iteration").loc[run.nodes.iteration]
    for name in ("error", "disagreement"):
        np.testing.assert_allclose(np.sqrt(np.mean(run.nodes.numbers[name] ** 2)), held[name], rtol=1e-8)
    assert agreed({name: values.tolist() for name, values in run.nodes.numbers.items()})

    # the same changes at the same iterations give the same numbers in a simulation
    (swapped, _), (changed, _) = run.marks
    alone = simulated("dgd", PROBLEM, topology="ring", steps=swapped, lr=LR, every=5)
    experiment = alone._experiment
    drive.crew, real = crew.Alone, drive.crew
    experiment.steps.swap(ifog.topology.complete(8))
    alone.extend(changed - swapped)
    experiment.steps.parameters = {"lr": LR / 2}
    alone.extend(run.iteration - changed)
    drive.crew = real
    nodes = run._experiment.steps.net.nodes
    torch.testing.assert_close(run.x, alone.x[nodes.start : nodes.stop], rtol=1e-11, atol=1e-13)


def a_run_is_kept_by_all_and_taken_up_by_all():
    folder = Path(sys.argv[1])
    for method, topology in (("diging", "ring"), ("relay_sgd", "chain")):
        run = ifog.run(method, PROBLEM, topology=topology, steps=30, lr=LR)
        run.save(folder / method)
        loaded = ifog.Run.load(folder / method).extend(20)
        assert torch.equal(loaded.x, run.extend(20).x), method
        assert loaded.history["messages"].iloc[-1] == run.history["messages"].iloc[-1]
        # and by one process alone
        drive.crew, real = crew.Alone, drive.crew
        alone = ifog.Run.load(folder / method).extend(20)
        drive.crew = real
        nodes = run._experiment.steps.net.nodes
        torch.testing.assert_close(alone.x[nodes.start : nodes.stop], run.x, rtol=1e-11, atol=1e-13)


def a_run_in_which_nobody_waits_is_measured_at_the_end():
    run = ifog.run("ad_psgd", PROBLEM, topology="ring", steps=300, lr=LR, every=50)
    assert run.history["iteration"].tolist() == list(range(0, 301, 50))
    assert run.history["simulated"].isna().all()
    assert run.records.last["error"] < run.history["error"].iloc[0] / 3
    assert agreed(run.records.last["error"])
    assert run.x.shape == (len(run._experiment.steps.net.nodes), PROBLEM.d)
    try:
        run.extend(10)
        raise AssertionError("it went on")
    except ifog.ExperimentError as error:
        assert "begin another run with start=" in str(error)


def a_run_in_which_nobody_waits_is_measured_on_slices_of_unequal_length():
    centres = torch.arange(ifog.size() + 1.0, dtype=torch.float64)[:, None]
    own = from_function(lambda x, c: ((x - c) ** 2).sum() / 2, centres, d=3000)  # some snapshots at once, and not all
    run = ifog.run("ad_psgd", own, topology="ring", steps=20, lr=0.1)
    assert run.history["iteration"].tolist() == list(range(21))
    assert agreed(run.history["disagreement"].tolist())


def what_differs_between_the_ranks_is_named():
    generator = torch.Generator().manual_seed(ifog.rank())
    data = torch.randn(4, 2, generator=generator)
    own = from_function(lambda x, c: ((x - c) ** 2).sum(), data, d=2)
    for given, says in [
        ({"problem": own}, "problem: rank 1 has other data"),
        ({"problem": PROBLEM, "lr": 0.01 * (1 + ifog.rank())}, "lr: rank 0 has 0.01 and rank 1 0.02"),
    ]:
        try:
            ifog.run("dgd", topology="ring", steps=5, **{"lr": LR, **given})
            raise AssertionError("it ran")
        except ifog.ArgumentError as error:
            assert says in str(error), error


def a_loop_has_its_topology_from_the_beginning():
    x = torch.tensor([float(ifog.rank() == 1)])
    ifog.set_topology(ifog.topology.ring(ifog.size()))
    for _ in ifog.loop(1, topology="star"):
        x = ifog.neighbor_allreduce(x)
    assert abs(x.item() - ifog.topology.star(ifog.size()).W[ifog.rank(), 1]) < 1e-6


def a_run_that_diverges_does_so_everywhere():
    try:
        ifog.run("dgd", PROBLEM, topology="ring", steps=10_000, lr=9.0)
        raise AssertionError("it has not diverged")
    except ifog.Diverged as error:
        said = str(error)
    assert agreed(said)
    assert ifog.size() == 1 or runs[-1].status == "failed"


def what_all_ranks_ask_for_is_done_once():
    for k in (loop := ifog.loop(lr=1.0)):
        if k == 5:
            loop.run.set(lr=0.5)
        if loop.lr == 0.5:
            loop.run.stop()
    assert loop.run.status == "stopped"
    assert [what for _, what in loop.run.marks] == ["lr = 0.5"]
    assert agreed((loop.run.iteration, loop.run.marks))


def a_loop_that_is_left_keeps_its_rows():
    for k in (loop := ifog.loop(1000)):
        loop.record(rank=ifog.rank())
        time.sleep(0.002)
        if k == 150:
            break
    ifog.barrier()
    assert loop.run.status == "stopped"
    history = loop.run.history.set_index("iteration")["rank"]
    assert history.index.tolist() == list(range(151))
    ((begins, what),) = loop.run.marks
    assert what == f"from here on, of rank {ifog.rank()} alone"
    assert 0 < begins <= 150
    assert (history.loc[: begins - 1] == (ifog.size() - 1) / 2).all()
    assert (history.loc[begins:] == ifog.rank()).all()


def a_loop_is_averaged_and_steered():
    loop = ifog.loop(name="mine", lr=1.0, topology=ifog.topology.ring(ifog.size()))
    ifog.set_topology(ifog.topology.ring(ifog.size()))
    x = torch.tensor([float(ifog.rank())])
    for k in loop:
        x = ifog.neighbor_allreduce(x) * loop.lr
        loop.record(rank=ifog.rank(), size=x.norm())
        if ifog.rank() == 0 and k == 20:
            loop.run.set(lr=0.5)
            loop.run.topology = ifog.topology.complete(ifog.size())
        if loop.lr == 0.5 and ifog.rank() == 0:
            loop.run.stop()
    run = loop.run
    assert run.status == "stopped"
    assert agreed((run.iteration, run.marks))
    assert ifog.current_topology() == ifog.topology.complete(ifog.size())
    history = run.history
    assert (history["rank"] == (ifog.size() - 1) / 2).all()
    assert history["iteration"].tolist() == list(range(run.iteration))
    changed = run.marks[0][0]
    shrinks = history["size"].iloc[changed] / history["size"].iloc[changed - 1]
    assert abs(shrinks - 0.5) < 1e-3


if __name__ == "__main__":
    warnings.simplefilter("error")
    ifog.init()
    done = 0
    for name, test in list(globals().items()):
        if name.startswith(("the_", "what_", "a_")) and callable(test):
            test()
            done += 1
    ifog.barrier()
    if ifog.rank() == 0:
        print(f"{done} held")
    assert isinstance(runs[0].history, pd.DataFrame)
