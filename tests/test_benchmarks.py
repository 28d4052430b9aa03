import json
import subprocess
import sys
from pathlib import Path

import pytest
from lab import skip_without_a_browser


@pytest.mark.slow
def test_the_quick_benchmark_measures_every_family_and_saves_what_it_found(tmp_path):
    command = [sys.executable, "-W", "error", "-m", "benchmarks.topology", "--quick", "--output", str(tmp_path)]
    run = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=240)
    assert run.returncode == 0, run.stderr
    assert len((tmp_path / "topology.csv").read_text().splitlines()) == 1 + 12 * 2
    assert (tmp_path / "topology.svg").read_text().count("<polyline") >= 12


MIXED = ("ifog, shared", "ifog, copied in", "mpi4py")
ROWS = {
    "static exponential": {*MIXED, "gloo", "floor"},
    "one-peer exponential": {*MIXED, "gloo", "floor"},
    "ring": {*MIXED, "floor"},
    "allreduce": {*MIXED, "gloo", "floor"},
    "list of 16 tensors": {*MIXED},
    "nonblocking, waited for": {"ifog, shared", "ifog, copied in"},
    "x -= lr*g; x = W x": {"ifog", "mpi4py"},
    "x = W (x - lr*g)": {"ifog", "mpi4py"},
    "triad a = b + s*c": {"torch"},
}


@pytest.mark.slow
def test_the_quick_benchmark_of_the_ranks_has_every_row_right_and_saves_numbers_and_picture(tmp_path):
    command = [sys.executable, "-W", "error", "-m", "benchmarks.comm", "--quick", "--out", str(tmp_path)]
    command += ["--ranks", "2", "3", "--sizes", "1e2", "5001", "--rounds", "3", "--seconds", "0.001"]
    run = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=240)
    assert run.returncode == 0, run.stdout + run.stderr

    found = json.loads((tmp_path / "comm.json").read_text())
    overlap = found["between machines"]["overlap"]
    assert [line["size"] for line in overlap] == [100_000] * 2 + [3_200_000] * 2
    for line in overlap:
        talk, work, both = (line[what] for what in ("talk", "work", "both"))
        assert line["overlap"] * min(talk, work) == pytest.approx(talk + work - both)
        assert min(talk, work, line["start"]) > 0
    worlds = found["worlds"]
    assert [world["ranks"] for world in worlds] == [2, 3]
    for world in worlds:
        absent = {missing["method"] for missing in world["missing"]}
        assert absent <= {"gloo"}, world["missing"]  # not every torch has it
        for size in (100, 5001):
            rows = [row for row in world["rows"] if row["size"] == size]
            found = {operation: {row["method"] for row in rows if row["operation"] == operation} for operation in ROWS}
            assert found == {operation: methods - absent for operation, methods in ROWS.items()}
            assert all(row["error"] < 1e-5 and len(row["seconds"]) == 3 and min(row["seconds"]) > 0 for row in rows)
        assert {"loop", "private"} <= set(world["memory"])
    assert "Plotly.newPlot" in (tmp_path / "comm.html").read_text(encoding="utf-8")


def test_the_benchmark_of_the_ranks_says_how_to_call_it():
    command = [sys.executable, "-m", "benchmarks.comm", "--help"]
    said = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=60).stdout
    assert all(option in said for option in ("--quick", "--ranks", "--sizes", "--overlap", "--lateness", "--out"))
    assert "--worker" not in said


@pytest.mark.slow
def test_the_quick_benchmark_of_simulations_measures_all_of_them_and_saves_what_it_found(tmp_path):
    command = [sys.executable, "-W", "error", "-m", "benchmarks.simulate", "--quick", "--output", str(tmp_path)]
    run = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=240)
    assert run.returncode == 0, run.stdout + run.stderr
    found = json.loads((tmp_path / "simulate.json").read_text())
    assert [result["topology"] for result in found["results"]] == ["ring", "grid", "exponential", "one_peer_exponential"]
    assert all(set(result["seconds"]) == {"floor", "ifog", "scipy", "numpy"} for result in found["results"])
    assert len(found["goals"]) == 16


@pytest.mark.slow
def test_the_quick_benchmark_of_recording_says_what_it_costs(tmp_path):
    command = [sys.executable, "-W", "error", "-m", "benchmarks.experiment", "--quick", "--output", str(tmp_path)]
    run = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=240)
    assert run.returncode == 0, run.stderr
    (found,) = json.loads((tmp_path / "experiment_1.json").read_text()).values()
    assert set(found) == {"1", "10", "100", "iteration"}
    assert all(value > 0 for value in found.values())


@pytest.mark.slow
def test_the_quick_benchmark_of_starting_measures_both_and_what_idle_engines_take(tmp_path):
    command = [sys.executable, "-m", "benchmarks.start", "--quick", "--out", str(tmp_path)]
    run = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=280)
    assert run.returncode == 0, run.stdout + run.stderr
    found = json.loads((tmp_path / "start.json").read_text())
    assert [row["engines"] for row in found["start"]] == [2]
    assert found["telemetry"]["arrived"] + found["telemetry"]["dropped"] == found["telemetry"]["published"] == 10_000
    assert found["idle"]["engine MB"] > 10


@pytest.mark.slow
def test_the_quick_benchmark_of_training_measures_all_methods_and_their_memory(tmp_path):
    command = [sys.executable, "-W", "error", "-m", "benchmarks.train", "--quick", "--ranks", "2", "--rounds", "1"]
    run = subprocess.run(
        [*command, "--out", str(tmp_path)], cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=280
    )
    assert run.returncode == 0, run.stdout + run.stderr
    found = json.loads((tmp_path / "train.json").read_text())
    (seconds,) = found["iterations"].values()
    assert len(seconds) == 7
    assert all(time > 0 for times in seconds.values() for time in times)
    assert max(found["buffers"][method] for method in ("atc", "dgd", "allreduce")) <= 3  # those that do nothing but mix


@pytest.mark.slow
def test_the_quick_benchmark_of_the_widgets_draws_all_of_them(tmp_path):
    skip_without_a_browser()
    command = [sys.executable, "-m", "benchmarks.widgets", "--quick", "--output", str(tmp_path)]
    run = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=280)
    assert run.returncode == 0, run.stdout + run.stderr
    found = json.loads((tmp_path / "widgets.json").read_text())
    assert min(found["networks"]["64"].values()) > 0
    assert found["networks"]["64"]["bytes"] > 4 * 64  # a number of four bytes for each node, and what they are
    assert found["curves"]["updates"] > 0
    ((processor, clock),) = found["curves"]["slowdown"]
    assert min(processor, clock) > 0


@pytest.mark.slow
def test_the_quick_benchmark_of_virtual_nodes_has_both_sides_alike():
    command = [sys.executable, "-W", "error", "-m", "benchmarks.virtual_nodes", "--quick"]
    run = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=240)
    assert run.returncode == 0, run.stdout + run.stderr
    assert all(name in run.stdout for name in ("softmax regression", "MLP, 64 hidden"))
