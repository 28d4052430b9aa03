"""Simulated and on ranks, the network gives the same bits, and methods the same numbers."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from ifog import algorithms
from ifog.comm.mpi import find

ROOT = Path(__file__).parents[2]
PATIENCE = 300  # seconds, until a run that hangs is shown for what it is
sizes = pytest.mark.parametrize("n", [2, pytest.param(3, marks=pytest.mark.slow), pytest.param(4, marks=pytest.mark.slow)])


def run(n, program):
    """What a program says on n ranks; the test fails if the program does."""
    mpi = find()
    variables = mpi.environment() | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        mpi.command(n, str(ROOT / "tests" / program)),
        env=variables,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as ranks:
        try:
            said, _ = ranks.communicate(timeout=PATIENCE)
        except BaseException as error:
            os.killpg(ranks.pid, signal.SIGKILL)  # the ranks end with their launcher
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            said = f"{ranks.communicate()[0]}\nstopped after {PATIENCE} s"
    if ranks.returncode:
        pytest.fail(f"{Path(program).name} on {n} ranks:\n{said[-20_000:]}", pytrace=False)
    return said


@sizes
def test_the_network_on_ranks_gives_the_bits_of_its_simulation(n):
    said = run(n, "network/programs/ranks.py")
    assert int(said.split(" rounds are the same")[0].rpartition("\n")[2]) > 500


@sizes
def test_every_method_gives_the_same_on_ranks_as_simulated(n):
    said = run(n, "algorithms/programs/parity.py")
    assert int(said.split(" runs agree")[0].rpartition("\n")[2]) > len(algorithms.all())


@sizes
def test_asynchronous_methods_end_on_ranks_where_they_do_simulated(n):
    said = run(n, "algorithms/programs/asynchronous.py")
    asynchronous = sum(made.asynchronous for made in algorithms.all().values())
    assert f"{asynchronous} methods end where they do in simulation" in said


@pytest.mark.slow
def test_and_between_machines(monkeypatch):
    monkeypatch.setenv("IFOG_NODES_PER_MACHINE", "1")
    assert "methods end where they do in simulation" in run(2, "algorithms/programs/asynchronous.py")
