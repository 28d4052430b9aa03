"""A run in a file goes on bit for bit; runs are repeated and laid side by side."""

import math

import numpy as np
import pytest
import torch

import ifog
from ifog import algorithms, problems
from ifog.errors import ArgumentError, ExperimentError, MethodError
from ifog.experiment import report, steer
from ifog.network import Network, lose

PROBLEM = problems.least_squares(8, seed=3)
LR = 0.05 / PROBLEM.L
DGD = {"method": "dgd", "problem": PROBLEM, "topology": "ring", "steps": 300}
FITTING = ["ring", "chain", "one_peer_exponential", "double_binary_tree", "ceca", "one_peer_hypercube", "exponential"]


def fitting(method):
    """A topology that the method can take."""
    for name in FITTING:
        if name in ifog.topology.families():
            try:
                method.check_topology(Network(name, 8))
            except MethodError:
                continue
            return name
    raise AssertionError(f"no topology for {method.name}")


def needed(method):
    from method_claims import CLAIMS

    claim = CLAIMS[method.name]
    return {**claim.parameters, **({"lr": LR} if "lr" in method.parameters else {})}


@pytest.mark.parametrize("name", algorithms.all())
def test_every_method_goes_on_bit_for_bit(name, tmp_path):
    method = algorithms.find(name)
    given = {"topology": fitting(method), "batch": 4, "seed": 5, **needed(method)}
    whole = ifog.run(name, PROBLEM, steps=24, **given)
    half = ifog.run(name, PROBLEM, steps=11, **given)
    half.save(tmp_path / "half")
    loaded = ifog.Run.load(tmp_path / "half")
    np.testing.assert_array_equal(loaded.history.to_numpy(), half.history.to_numpy())
    others = {key: given[key] for key in loaded._kept_out}
    on = loaded.extend(13, **others)
    assert on.status == "done"
    assert torch.equal(on.x, whole.x)
    for column in ("iteration", "error", "disagreement", "loss", "gradient_norm", "messages", "bytes"):
        np.testing.assert_array_equal(on.history[column], whole.history[column], err_msg=column)
    assert (on.history[["seconds", "compute", "copy"]].diff().dropna() >= 0).all(axis=None)


def test_a_run_that_was_changed_goes_on_with_the_changes(tmp_path):
    run = ifog.run("diging", PROBLEM, topology="ring", steps=100_000_000, lr=LR, every=10, wait=False)
    run.topology, _ = "one_peer_exponential", run.set(lr=LR / 2)
    while len(run.marks) < 2:
        pass
    run.stop()
    run.wait()
    run.save(tmp_path / "run")
    loaded = ifog.Run.load(tmp_path / "run")
    assert loaded.marks == run.marks
    assert loaded.topology == run.topology
    assert torch.equal(loaded.extend(20).x, run.extend(20).x)


@pytest.mark.parametrize(
    "topology",
    [
        lambda: ifog.topology.od_equidyn(8, seed=3),
        lambda: ifog.topology.lazy(ifog.topology.ring(8)),
        lambda: ifog.topology.metropolis(np.roll(np.eye(8), 1, 0) + np.roll(np.eye(8), -1, 0)),
    ],
)
def test_a_topology_comes_back_as_it_was(topology, tmp_path):
    run = ifog.run("dgd", PROBLEM, topology=topology(), steps=5, lr=LR)
    run.save(tmp_path / "run")
    loaded = ifog.Run.load(tmp_path / "run")
    assert torch.equal(loaded.extend(20).x, run.extend(20).x)


def test_what_cannot_be_kept_must_be_given_again(tmp_path):
    own = problems.from_function(lambda x, c: ((x - c) ** 2).sum(), torch.arange(8.0, dtype=torch.float64)[:, None], d=1)
    run = ifog.run("dgd", own, topology="ring", steps=5, lr=0.1)
    run.save(tmp_path / "run")
    loaded = ifog.Run.load(tmp_path / "run")
    assert len(loaded.history) == 6
    with pytest.raises(ArgumentError, match=r"its problem, .*give it again, as in extend\(5, problem=…\)"):
        loaded.extend(5)
    assert torch.equal(loaded.extend(5, problem=own).x, run.extend(5).x)


def test_a_problem_of_ones_own_with_a_famous_name_is_not_taken_for_it(tmp_path):
    def quadratic(x, c):
        return ((x - c) ** 2).sum()

    own = problems.from_function(quadratic, torch.arange(8.0, dtype=torch.float64)[:, None], d=1)
    ifog.run("dgd", own, topology="ring", steps=5, lr=0.1).save(tmp_path / "run")
    with pytest.raises(ArgumentError, match="give it again"):
        ifog.Run.load(tmp_path / "run").extend(3)


def test_numbers_of_numpy_are_kept_like_others(tmp_path):
    given = {"topology": "ring", "lr": np.float64(LR), "speeds": np.full(8, 0.5), "delay": np.zeros((8, 8))}
    run = ifog.run("dgd", PROBLEM, steps=5, **given)
    run.save(tmp_path / "run")
    assert torch.equal(ifog.Run.load(tmp_path / "run").extend(3).x, run.extend(3).x)


def test_a_file_can_be_made_of_a_loaded_run(tmp_path):
    run = ifog.run("diging", PROBLEM, topology="ring", steps=5, lr=LR)
    run.save(tmp_path / "run")
    ifog.Run.load(tmp_path / "run").save(tmp_path / "copy")
    assert torch.equal(ifog.Run.load(tmp_path / "copy").extend(3, progress=False).x, run.extend(3).x)


def test_a_clock_may_begin_with_a_loaded_run(tmp_path):
    ifog.run("dgd", PROBLEM, topology="ring", steps=5, lr=LR).save(tmp_path / "run")
    assert ifog.Run.load(tmp_path / "run").extend(3, compute=1.0).records.last["simulated"] == 3


def test_a_file_that_cannot_be_written_is_an_error_of_the_run(tmp_path):
    run = ifog.run("dgd", PROBLEM, topology="ring", steps=5, lr=LR)
    with pytest.raises(ExperimentError, match="could not be written"):
        run.save(tmp_path / "nowhere" / "run")


def test_a_damaged_file_is_refused_by_name(tmp_path):
    run = ifog.run("dgd", PROBLEM, topology="ring", steps=5, lr=LR)
    path = tmp_path / "run"
    run.save(path)
    content = path.read_bytes()
    with pytest.raises(ExperimentError, match="there is no such file"):
        ifog.Run.load(tmp_path / "other")
    for damaged in (content[: len(content) // 2], b"", b"something else", bytes(reversed(content))):
        path.write_bytes(damaged)
        with pytest.raises(ExperimentError, match="no whole file"):
            ifog.Run.load(path)
    torch.save({"format": "something"}, path)
    with pytest.raises(ExperimentError, match="no file of a run"):
        ifog.Run.load(path)
    torch.save({"format": "ifog run", "version": 99}, path)
    with pytest.raises(ExperimentError, match="version 99"):
        ifog.Run.load(path)


def test_a_file_is_replaced_as_a_whole(tmp_path, monkeypatch):
    run = ifog.run("dgd", PROBLEM, topology="ring", steps=5, lr=LR)
    path = tmp_path / "run"
    run.save(path)

    def full(*args):
        raise OSError("no space left")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(ExperimentError, match="no space"):
        run.save(path)
    assert [file.name for file in tmp_path.iterdir()] == ["run"]
    assert len(ifog.Run.load(path).history) == 6


# ------------------------------------------------------------------------------------------------------------ compared
def test_runs_are_compared_in_one_tidy_table():
    compared = ifog.compare(
        [("dgd", "ring"), ("extra", "ring"), {"method": "dgd", "topology": "complete"}], problem=PROBLEM, steps=200, lr=LR
    )
    table = compared.table.set_index("run")
    assert list(table.index) == ["dgd on ring(8)", "extra on ring(8)", "dgd on complete(8)"]
    assert table.loc["extra on ring(8)", "error"] < table.loc["dgd on ring(8)", "error"]
    history = compared.history
    assert list(history.columns[:4]) == ["run", "method", "topology", "seed"]
    assert len(history) == 3 * 201
    assert set(history.groupby("run")["topology"].first()) == {"ring(8)", "complete(8)"}


def test_one_that_diverges_does_not_spoil_the_comparison():
    compared = ifog.compare([{"lr": 9.0}, {"lr": LR}], method="dgd", topology="ring", problem=PROBLEM, steps=500)
    assert compared.table["status"].tolist() == ["failed", "done"]
    assert "diverged" in compared.table["reason"].iloc[0]


class Elsewhere:
    """A place, which is here."""

    def __init__(self):
        self.runs = []

    def submit(self, task):
        self.runs.append(ifog.run(**{**task, "wait": False}))
        return str(len(self.runs) - 1)

    def records(self, key, begin):
        return report(self.runs[int(key)], begin)

    def command(self, key, command):
        steer(self.runs[int(key)], command)


@pytest.mark.parametrize("on", [None, Elsewhere()], ids=["here", "elsewhere"])
def test_whatever_ends_a_run_the_others_are_kept(on):
    def gradient(x, i):
        if x[0] > 0.5:
            raise ZeroDivisionError("too far")
        return x - i

    failing = {"problem": problems.from_gradient(gradient, 8, PROBLEM.d)}
    compared = ifog.compare([{"lr": 9.0}, failing, {}], **{"lr": LR, **DGD}, on=on)
    assert [run.status for run in compared] == ["failed", "failed", "done"]
    assert ["diverged" in reason for reason in compared.table["reason"]] == [True, False, False]
    assert "too far" in compared.table["reason"][1]
    assert compared.wait() is compared
    with pytest.raises(ArgumentError, match="has no parameter 'gamma'"):
        ifog.compare([{}, {"gamma": 1}], lr=LR, **DGD)


def test_a_run_elsewhere_is_kept_there(tmp_path):
    given = {**DGD, "lr": LR, "on": Elsewhere(), "checkpoint": tmp_path / "run"}
    run = ifog.run(**given).wait()
    with pytest.raises(ExperimentError, match="works elsewhere: have it kept there, by checkpoint="):
        run.save(tmp_path / "other")
    assert ifog.Run.load(tmp_path / "run").iteration == 300


@pytest.mark.parametrize("on", [None, Elsewhere()], ids=["here", "elsewhere"])
@pytest.mark.parametrize("wait", [False, True])
def test_repeated_runs_are_called_by_their_seeds_also_if_they_fail(on, wait):
    for lr, status in ((9.0, "failed"), (LR, "done")):
        repeated = ifog.repeat("dgd", PROBLEM, seeds=[3, 5], topology="ring", steps=200, lr=lr, batch=1, on=on, wait=wait)
        assert [run.status for run in repeated.wait()] == [status] * 2
        assert [run.name[-6:] for run in repeated] == ["seed 3", "seed 5"]


def test_runs_of_one_name_are_told_apart_by_their_parameters():
    compared = ifog.compare([{"lr": LR}, {"lr": LR / 2}], method="dgd", topology="ring", problem=PROBLEM, steps=5)
    assert len({run.name for run in compared}) == 2
    assert f"lr {LR / 2:g}" in compared[1].name


@pytest.mark.parametrize(
    ("entries", "names"),
    [
        ([{"batch": 1}, {}], ["dgd on ring(8), batch 1", "dgd on ring(8), batch None"]),
        ([{"seed": 1, "lr": LR}, {"seed": 2, "lr": LR}], ["dgd on ring(8), seed 1", "dgd on ring(8), seed 2"]),
        ([{"speeds": {0: 0.1}}, {"speeds": 1.0}], ["dgd on ring(8), speeds {0: 0.1}", "dgd on ring(8), speeds 1"]),
        ([{"effects": [lose(0.2)]}, {}], ["dgd on ring(8), effects [lose(p=0.2)]", "dgd on ring(8), effects ()"]),
        ([{"name": "mine"}, {"name": "mine", "method": "atc"}], ["mine, method dgd", "mine, method atc"]),
        ([{}, {"start": torch.ones(PROBLEM.d)}, {"method": "atc"}], ["dgd on ring(8)", "dgd on ring(8) (2)", "atc on ring(8)"]),
    ],
)
def test_runs_of_one_name_are_told_apart_by_whatever_differs(entries, names):
    given = [{"method": "dgd", **entry} for entry in entries]
    compared = ifog.compare(given, problem=PROBLEM, topology="ring", steps=3, **({} if "lr" in given[0] else {"lr": LR}))
    assert [run.name for run in compared] == names


def test_the_figure_has_a_curve_for_each_run_and_a_mark_for_each_change():
    compared = ifog.compare([("dgd", "ring"), ("extra", "ring")], problem=PROBLEM, steps=50, lr=LR)
    compared[0].marks.append((20, "lr = 0.1"))
    figure = compared.figure()
    assert [trace.name for trace in figure.data] == ["dgd on ring(8)", "extra on ring(8)"]
    assert figure.layout.yaxis.type == "log"
    assert figure.layout.annotations[0].text == "lr = 0.1"
    np.testing.assert_array_equal(figure.data[1].y, compared[1].history["error"])
    with pytest.raises(ArgumentError, match="y='accuracy'"):
        compared.figure(y="accuracy")


def test_a_run_is_repeated_with_other_seeds():
    noisy = problems.quadratic(6, noise=0.3)
    repeated = ifog.repeat("atc", noisy, seeds=np.arange(4), topology="ring", steps=60, lr=0.1)
    assert len({run.records.last["error"] for run in repeated}) == 4
    mean = repeated.mean("error")
    assert (mean["min"] <= mean["mean"]).all()
    assert (mean["mean"] <= mean["max"]).all()
    assert mean["mean"].iloc[-1] == pytest.approx(np.mean([run.records.last["error"] for run in repeated]))
    with pytest.raises(ArgumentError, match="seeds"):
        ifog.repeat("atc", noisy, seeds=range(4), seed=1, topology="ring", steps=60, lr=0.1)


@pytest.mark.parametrize(
    ("entries", "says"),
    [("dgd", "give a list"), ([("dgd", "ring", 3)], "is no entry"), (["dgd"], "topology is missing for dgd")],
)
def test_a_mistake_in_a_comparison_is_named(entries, says):
    with pytest.raises(ArgumentError, match=says):
        ifog.compare(entries, problem=PROBLEM, steps=5, lr=LR)


def test_a_short_word_about_a_run():
    run = ifog.run("dgd", PROBLEM, topology="ring", steps=5, lr=LR)
    assert repr(run).startswith("<run dgd on ring(8): done, iteration 5 of 5, error ")
    assert math.isclose(run.records.last["error"], run.history["error"].iloc[-1])
