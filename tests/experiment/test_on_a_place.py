"""A run on ranks elsewhere looks like one that works here: three ranks of an MPI world, behind a socket."""

import pickle
import subprocess
import threading
from multiprocessing.connection import Client

import pytest
import torch
from mpi_programs import ROOT
from runs_elsewhere import Late, refuses_swaps_pauses_grows_and_stops, until

import ifog
from ifog.comm.mpi import find
from ifog.errors import ArgumentError, Diverged, ExperimentError
from ifog.experiment import place
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


def test_a_command_waits_until_the_run_has_begun():
    late = Late()
    run = ifog.run("extra", PROBLEM, topology="ring", steps=100_000_000, lr=LR, on=late)
    threading.Timer(0.3, late.begin).start()
    run.topology = "grid"
    assert late.commands == ["topology"]
    until(lambda: run.marks)
    run.stop()
    run.wait(timeout=60)


def test_where_it_does_not_begin_for_long_a_command_says_so(monkeypatch):
    monkeypatch.setattr(place, "_PATIENCE", 0.1)
    run = ifog.run("extra", PROBLEM, topology="ring", steps=10, lr=LR, on=(late := Late()))
    with pytest.raises(ExperimentError, match="extra has not begun yet: the engines are still busy"):
        run.topology = "grid"
    late.begin()
    assert run.wait(timeout=60).status == "done"


def test_what_cannot_be_sent_is_refused_with_the_reason():
    problem = ifog.problems.from_function(lambda x, c: ((x - c) ** 2).sum(), torch.arange(4.0)[:, None], d=1)
    run = ifog.run("dgd", problem, topology="ring", steps=10, lr=0.1, on=(late := Late()))  # a function without a name travels
    late.begin()
    assert run.wait(timeout=60).status == "done"
    with pytest.raises(ArgumentError, match="cannot be sent to the engines: TypeError"):
        ifog.run("dgd", PROBLEM, topology="ring", steps=10, lr=0.1, name=threading.Lock(), on=Late())
