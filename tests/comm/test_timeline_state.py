"""The timeline where no rank is needed, or where the ranks end before it does. For the rest see ``spmd``."""

import json
import subprocess
import sys
import time
from collections import deque
from types import SimpleNamespace

import pytest

import ifog
from ifog.comm import timeline, world
from ifog.comm.mpi import find
from ifog.comm.timeline import Comparison


def run(script, path, n=2):
    mpi = find()
    command = mpi.command(n, "-c", f"import sys, ifog\nifog.start_timeline({str(path)!r})\nifog.barrier()\n{script}")
    return subprocess.run(command, env=mpi.environment(), capture_output=True, text=True, timeout=60)


def calls(path):
    return [event["name"] for event in json.loads(path.read_text())["traceEvents"] if event["ph"] == "X"]


def test_ranks_that_fail_or_just_end_leave_what_they_have_recorded(tmp_path):
    script = "if ifog.rank() == 0: raise ValueError('boom')\nwith ifog.span('alone'): ifog.barrier()"
    failed = run(script, tmp_path / "failed.json")
    assert failed.returncode != 0
    assert "boom" in failed.stderr
    assert "barrier" in calls(tmp_path / "failed.rank0.json")
    assert calls(tmp_path / "failed.rank1.json")[-1] == "alone"
    assert run("", tmp_path / "ended.json").returncode == 0
    for rank in (0, 1):
        assert "barrier" in calls(tmp_path / f"ended.rank{rank}.json")


def test_a_span_begins_no_world():
    with ifog.span("nothing"):
        assert world.existing() is None


def test_the_processes_of_a_machine_read_the_same_clock():
    before = time.monotonic_ns()
    child = int(subprocess.run([sys.executable, "-c", "import time; print(time.monotonic_ns())"], capture_output=True).stdout)
    assert before < child < time.monotonic_ns()


@pytest.mark.parametrize("drift", [0, 50_000])
def test_times_between_the_two_comparisons_of_the_clocks_are_interpolated(drift):
    # our clock is 7 s behind, and loses 50 µs in the 10 s between them
    began, ended = Comparison(10**9, 7 * 10**9, 30_000, 8 * 10**9), Comparison(11 * 10**9, 7 * 10**9 + drift, 20_000, 0)
    events = deque(("X", 1, t * 10**9, (t + 1) * 10**9, f"at {t}", None) for t in (1, 6, 10))
    here = SimpleNamespace(rank=3, machine_rank=1, machine_count=2)
    about, text = timeline._as_text(SimpleNamespace(world=here, began=began, events=events, count=5), ended)
    assert about["clock_offset_us"] == 7e6
    assert about["clock_error_us"] == 30
    assert (about["events"], about["dropped"]) == (3, 2)
    found = {event["name"]: (event["ts"], event["dur"]) for event in json.loads(f"[{text}]") if event["ph"] == "X"}
    lost = drift / 1000
    assert found == {
        "at 1": (0.0, 1e6 + lost / 10),
        "at 6": (5e6 + lost / 2, 1e6 + lost / 10),
        "at 10": (9e6 + lost * 0.9, 1e6 + lost / 10),
    }
