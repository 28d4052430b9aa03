"""What must hold of a run that works elsewhere, wherever that is."""

import time

import pytest

import ifog
from ifog.errors import MethodError


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
    run.pause()
    until(lambda: run.status == "paused")
    run.resume()
    rows = len(run.history)
    until(lambda: len(run.history) > rows)
    run.stop()
    assert run.wait(timeout=60).status == "stopped"
    assert run.history["iteration"].is_monotonic_increasing
    assert run.history["error"].iloc[-1] < run.history["error"].iloc[0]
