"""What must hold of a run that works elsewhere, wherever that is."""

import pickle
import time

import pytest

import ifog
from ifog.errors import MethodError
from ifog.experiment import report, steer
from ifog.experiment.place import packed


def until(true):
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def refuses_swaps_pauses_grows_and_stops(run):
    """A run whose topology has been swapped for a grid: the rest of its steering, and its end."""
    assert run.topology == ifog.topology.grid(8)
    with pytest.raises(MethodError, match="needs a symmetric W"):
        run.topology = "exponential"
    run.watch()
    until(lambda: run.nodes)
    run.pace = 500
    until(lambda: run.pace == 500)
    run.pause()
    until(lambda: run.status == "paused")
    at = run.iteration
    run.step(10)
    until(lambda: run.iteration == at + 10 and run.nodes.iteration >= at)
    held = run.history.set_index("iteration").loc[run.nodes.iteration]
    assert (run.nodes.numbers["error"] ** 2).mean() ** 0.5 == pytest.approx(held["error"])
    run.pace = None
    run.resume()
    rows = len(run.history)
    until(lambda: len(run.history) > rows)
    run.stop()
    assert run.wait(timeout=60).status == "stopped"
    assert run.history["iteration"].is_monotonic_increasing
    assert run.history["error"].iloc[-1] < run.history["error"].iloc[0]


class Late:
    """A place that begins when somebody lets it."""

    def __init__(self):
        self.run, self.commands = None, []

    def submit(self, task):
        self.task = pickle.loads(packed(task))
        return "a key"

    def begin(self):
        self.run = ifog.run(**self.task, wait=False, progress=False)

    def records(self, key, begin):
        return report(self.run, begin)

    def command(self, key, command):
        self.commands.append(command.what)
        steer(self.run, command)
