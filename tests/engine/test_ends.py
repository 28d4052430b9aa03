"""Engines that die, are stopped, or never came: what the client hears, and what is left behind."""

import signal
import time

import psutil
import pytest
from plain_engines import Engines

pytestmark = pytest.mark.slow


@pytest.fixture
def fresh(tmp_path):
    """Four engines for one test, before `ifog.engine` is loaded."""
    engines = Engines(4, tmp_path)
    yield engines
    engines.stop()
    left_behind(engines)


def left_behind(engines):
    """Nothing is: no process, no file."""
    assert not [pid for pid in engines.pids if alive(pid)]
    assert not [file for file in engines.files if file.exists()]
    assert not list(engines.temporary.iterdir())


def gone(engines, timeout=5):
    """Wait until all engines and their launcher are gone, and say how long it took."""
    began = time.monotonic()
    while any(map(alive, [*engines.pids, engines.launcher.pid])):
        assert time.monotonic() < began + timeout
        time.sleep(0.01)
    return time.monotonic() - began


def alive(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def load(engines):
    engines.good("%load_ext ifog.engine\nimport ifog, torch; x = torch.ones(3)", timeout=60)


@pytest.mark.parametrize("doing", ["while True: ifog.allreduce(x)", "import time; time.sleep(60)"])
def test_killing_one_rank_ends_the_world_and_the_client_hears_of_all(fresh, doing):
    load(fresh)
    cell = fresh.begin(doing)
    time.sleep(0.1)
    fresh.signal(signal.SIGKILL, 2)
    gone(fresh)
    # without nannies only the heartbeats tell: 30 of 300 ms must be missing
    assert {outcome.error for outcome in cell.outcomes(20)} == {"EngineError"}
    assert fresh.client.ids == []


def test_killing_everything_at_once_leaves_nothing_behind(fresh):
    load(fresh)
    fresh.begin("while True: ifog.allreduce(x)")
    time.sleep(0.1)
    for process in [fresh.launcher, *fresh.launcher.children(recursive=True)]:
        process.kill()
    gone(fresh)


def test_stopping_while_busy_leaves_nothing_behind(fresh):
    load(fresh)
    fresh.begin("while True: ifog.allreduce(x)")
    time.sleep(0.1)


def test_an_init_that_some_ranks_never_reach_can_be_interrupted_and_goes_on_later(fresh):
    fresh.good("import torch", timeout=60)
    cell = fresh.start("%load_ext ifog.engine", on=[0, 1, 2])
    time.sleep(2)
    fresh.signal(signal.SIGINT, 0, 1, 2)
    assert {outcome.error for outcome in cell.outcomes(5)} == {"KeyboardInterrupt"}
    fresh.good("import ifog.engine; ifog.engine.install(); import ifog; ifog.barrier()", timeout=30)


def test_a_rank_whose_init_fails_keeps_nobody_waiting(fresh):
    fresh.good("import torch", timeout=60)
    cell = fresh.start(lambda rank: "1 / 0" if rank == 3 else "%load_ext ifog.engine")
    time.sleep(2)
    fresh.signal(signal.SIGINT, 0, 1, 2)
    assert {outcome.error for outcome in cell.outcomes(5)} == {"KeyboardInterrupt", "ZeroDivisionError"}
    load(fresh)


def test_a_rank_that_ends_itself_is_named(fresh):
    load(fresh)
    outcomes = fresh.run("import os, signal\nif ifog.rank() == 1: os.kill(os.getpid(), signal.SIGKILL)\nifog.barrier()")
    assert {outcome.error for outcome in outcomes} <= {"EngineError", "PeerFailed"}
