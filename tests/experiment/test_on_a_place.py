"""A run on ranks elsewhere looks like one that works here: three ranks of an MPI world, behind a socket."""

import pickle
import subprocess
from multiprocessing.connection import Client

import pytest
from mpi_programs import ROOT
from runs_elsewhere import refuses_swaps_pauses_grows_and_stops, until

import ifog
from ifog.comm.mpi import find
from ifog.errors import Diverged, ExperimentError
from ifog.problems import least_squares

PROBLEM = least_squares(8, seed=3)
LR = 0.05 / PROBLEM.L


class Ranks:
    """A place: what is asked of it goes through a socket to rank 0."""

    def __init__(self, address):
        mpi = find()
        command = mpi.command(3, str(ROOT / "tests" / "experiment" / "programs" / "served.py"), address)
        variables = mpi.environment() | {"OMP_NUM_THREADS": "1"}
        self.address = address
        self.ranks = subprocess.Popen(
            command, env=variables, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert "ready" in self.ranks.stdout.readline()

    def ask(self, *question):
        with Client(self.address, "AF_UNIX") as line:
            line.send_bytes(pickle.dumps(question))
            answer = pickle.loads(line.recv_bytes())
        if isinstance(answer, Exception):
            raise answer
        return answer

    def submit(self, task):
        return self.ask("submit", dict(task))

    def records(self, key, begin):
        return self.ask("records", key, begin)

    def command(self, key, command):
        self.ask("command", key, command)

    def close(self):
        self.ranks.communicate(timeout=60)
        assert self.ranks.returncode == 0


@pytest.fixture
def ranks(tmp_path):
    place = Ranks(str(tmp_path / "socket"))
    yield place
    place.ranks.kill()
    place.ranks.wait()
    place.ranks.stdout.close()
    place.ranks.stdin.close()


@pytest.mark.slow
def test_a_run_elsewhere_is_watched_and_steered_from_here(ranks):
    run = ifog.run("extra", PROBLEM, topology="ring", steps=100_000_000, lr=LR, every=5, on=ranks)
    until(lambda: run.iteration > 0)
    assert run.about["ranks"] == 3
    run.topology = "grid"
    until(lambda: run.marks)
    refuses_swaps_pauses_grows_and_stops(run)
    ranks.close()


@pytest.mark.slow
def test_the_error_of_a_run_elsewhere_is_raised_here(ranks):
    run = ifog.run("dgd", PROBLEM, topology="ring", steps=10_000, lr=9.0, on=ranks)
    with pytest.raises(ExperimentError, match=f"{Diverged.__name__}: dgd .*diverged"):
        run.wait(timeout=60)
    assert run.status == "failed"
    assert len(run.history) > 0
    ranks.close()


@pytest.mark.slow
def test_a_place_that_is_gone_ends_the_run_and_what_came_stays(ranks):
    run = ifog.run("dgd", PROBLEM, topology="ring", steps=100_000_000, lr=LR, every=5, on=ranks)
    until(lambda: len(run.history) > 2)
    ranks.ranks.kill()
    with pytest.raises((OSError, EOFError)):
        run.wait(timeout=60)
    assert run.status == "failed"
    assert len(run.history) > 2
