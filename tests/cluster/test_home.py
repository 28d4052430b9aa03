"""What follows from the files of a cluster and their lock, where there are no engines."""

import fcntl
import socket
import subprocess
import sys
import threading

import pytest
from engines_and_notebooks import until

from ifog.cluster import Cluster, command
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


def test_status_that_is_watched_shows_who_comes(home, monkeypatch, capsys):
    pauses, lock = [], []

    def pause(seconds):
        pauses.append(seconds)
        if len(pauses) > 1:
            raise KeyboardInterrupt
        lock.append(home.hold())
        home.write(said("starting"))

    with monkeypatch.context() as patched:
        patched.setattr(command.time, "sleep", pause)
        assert command.main(["status", "--watch"]) == 130
    lock[0].close()
    assert "ifog: 2 engines, starting" in capsys.readouterr().out


def test_trouble_is_shown_as_it_was_said(home, capsys):
    with home.hold():
        home.write(said("broken", trouble="rank 1 [bold] said [/nothing]"))
        assert command.main(["status"]) == 0
    assert "rank 1 [bold] said [/nothing]; `ifog restart`" in capsys.readouterr().out


def test_a_log_that_is_followed_goes_on_after_a_restart(home, tmp_path):
    home.engine_log.write_text("[0] before, at length\n")
    shown = tmp_path / "shown"
    with shown.open("w") as file:
        words = [sys.executable, "-m", "ifog.cluster.command", "logs", "-f"]
        following = subprocess.Popen(words, stdout=file)
    try:
        until(lambda: "before" in shown.read_text())
        home.new_engine_log().write_text("[0] after\n")
        until(lambda: "after" in shown.read_text(), 10)
    finally:
        following.kill()
        following.wait()
    assert [line for line in shown.read_text().splitlines() if line.strip()] == ["[0] before, at length", "[0] after"]
