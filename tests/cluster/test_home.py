"""What follows from the files of a cluster and their lock, where there are no engines."""

import fcntl
import socket
import threading

import pytest

from ifog.cluster import Cluster
from ifog.cluster.cells import Cell
from ifog.cluster.cluster import EnginesLost
from ifog.cluster.home import Home
from ifog.errors import SetupError


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The place of a cluster, where nothing is yet."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    made = Home()
    made.make()
    return made


def said(phase, **more):
    """What the manager of two engines says."""
    plan = Cluster(2).plan.to_json()
    return {"plan": plan, "phase": phase, "registered": 1, "world": 0, "trouble": None, "engines": [], "mpi": "MPICH"} | more


@pytest.mark.parametrize("phase", ["starting", "restarting"])
def test_nothing_is_sent_to_some_of_the_engines_while_the_others_come(home, phase):
    with home.hold():
        home.write(said(phase))
        cluster = Cluster.of(home)
        for ask in (lambda: cluster[:], cluster.interrupt, lambda: cluster.submit({}), lambda: Cell(cluster, "1", [0], None)):
            with pytest.raises(EnginesLost, match="are starting, 1 of 2 are there: try again"):
                ask()


def test_a_controller_that_is_just_starting_is_no_missing_file(home):
    with home.hold():
        home.write(said("starting"))
        with pytest.raises(SetupError, match="just starting: try again"):
            _ = Cluster.of(home).wire


def test_a_manager_that_does_not_answer_is_ended_by_force(home, tmp_path):
    deaf = tmp_path / "deaf"
    with home.hold(), socket.socket(socket.AF_UNIX) as line:
        line.bind(str(deaf))
        line.listen()
        plan = Cluster(2, timeout=-29.9).plan.to_json()  # a restart may take 30 s longer
        home.write(said("running", socket=str(deaf), plan=plan))
        with pytest.raises(SetupError, match=r"has not answered .*`ifog stop --force`"):
            Cluster.of(home).restart()


def test_who_only_looks_keeps_no_manager_away(home, monkeypatch):
    monkeypatch.setattr("ifog.cluster.home._GLANCE", 10.0)  # this machine may be busy
    home.hold().close()
    with home._lock.open() as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        threading.Timer(0.05, fcntl.flock, (file, fcntl.LOCK_UN)).start()
        with home.hold():
            assert home.held


def test_a_manager_that_has_said_nothing_yet_is_just_starting(home):
    with home.hold(), pytest.raises(SetupError, match="'ifog' is just starting or ending: try again"):
        Cluster.of(home)
