"""A race between runs: who is first, by what, and what a page is told and may ask for."""

import math
import time
from xml.etree import ElementTree

import numpy as np
import pytest

import ifog
from ifog.errors import ArgumentError
from ifog.experiment import Comparison, Run
from ifog.widgets import Race, messages
from ifog.widgets.race_figure import Runner, figure


def a_run(name, rate, cost, rows=21, status="done", start=1.0):
    """A run whose error falls by `rate` in each iteration, each of which sends `cost` bytes."""
    run = Run(name, None)
    k = np.arange(rows, dtype=float)
    run.records.add({"iteration": k.tolist(), "bytes": (cost * k).tolist(), "error": (start * rate**k).tolist()})
    run.became(status)
    return run


@pytest.fixture
def lay():
    made = []

    def make(*args, **options):
        made.append(Race(*args, **options))
        return made[-1]

    yield make
    for race in made:
        race.close()
        race.stop()


def test_who_is_first_depends_on_what_is_counted(lay):
    race = lay([a_run("quick", 0.25, 100), a_run("cheap", 0.5, 10), a_run("lame", 0.9, 1)], target=2.0**-10)
    assert race.standings["run"].tolist() == ["quick", "cheap", "lame"]
    assert race.standings["iteration"].tolist()[:2] == [5, 10]
    race.by = "bytes"
    assert race.standings["run"].tolist() == ["cheap", "quick", "lame"]
    assert race.standings["bytes"].tolist()[:2] == [100, 500]
    assert math.isnan(race.standings["bytes"].iloc[2])
    assert race.standings["error"].iloc[2] == 0.9**20
    race.target = 0.5
    assert race.standings["run"].tolist() == ["lame", "cheap", "quick"]
    assert race.standings["bytes"].iloc[2] == pytest.approx(50)  # half an iteration, on a line of powers of ten


def test_a_target_that_nobody_has_named_is_a_thousandth_of_the_start(lay):
    assert lay([Run("empty", None), a_run("a", 0.5, 1, start=40.0)]).target == 0.04
    assert lay([Run("empty", None)]).target == 1e-3


def test_specifications_run_at_once_and_are_followed(lay):
    race = lay([("dgd", "ring"), ("extra", "ring")], problem="quadratic", n=8, steps=10**9, lr=0.1, every=10, pace=400)
    assert [run.status for run in race.runs] == ["running"] * 2
    heard = []
    race.send = lambda content, buffers: heard.append(messages.unpack(content, buffers))

    def until(true):
        deadline = time.monotonic() + 30
        while not true():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def say(message):
        race._received(race, *messages.pack(message))

    until(lambda: any(isinstance(message, messages.Rows) for message in heard))
    say(messages.Choose("by", "bytes"))
    say(messages.Choose("target", "0.25"))
    until(
        lambda: heard and any(isinstance(each, messages.Race) and (each.by, each.target) == ("bytes", 0.25) for each in heard)
    )
    assert (race.by, race.target) == ("bytes", 0.25)
    say(messages.Choose("by", "luck"))
    say(messages.Choose("target", "far"))
    assert (race.by, race.target) == ("bytes", 0.25)
    say(messages.Press("stop"))
    until(lambda: all(run.over for run in race.runs))


@pytest.mark.parametrize(
    ("values", "share", "cost"),
    [
        ([], 0, math.nan),
        ([1.0], 0, math.nan),
        ([1.0, 0.1], 0.5, math.nan),
        ([1.0, math.nan], 0, math.nan),
        ([1.0, math.inf], 0, math.nan),
        ([1.0, 10.0], 0, math.nan),
        ([1.0, 0.0], 1, 1),
        ([0.001], 1, 0),
        ([1.0, 1e-4], 1, 0.5),
    ],
)
def test_how_far_a_runner_is(values, share, cost):
    runner = Runner.of("a", np.arange(len(values), dtype=float), np.array(values), 1e-2, failed=False)
    np.testing.assert_allclose((runner.share, runner.cost), (share, cost))


def test_the_picture_shows_all_lanes_and_the_curves(lay):
    race = lay(Comparison([a_run("a <b>", 0.5, 1), a_run("slow", 0.9, 1), a_run("lost", 2.0, 1, status="failed")]))
    drawing = race.snapshot()
    ElementTree.fromstring(drawing)
    assert "a &lt;b&gt;" in drawing
    assert drawing.count("failed") >= 1
    assert '"part": "curves"' in race.snapshot("html")  # a page that plays the race by itself
    ElementTree.fromstring(figure([], by="bytes", target=0.1, value="error"))
    assert "<race of a <b>, slow, lost to error 0.001 by iteration>" in repr(race)


@pytest.mark.parametrize(
    ("given", "options", "says"),
    [
        ([], {}, "a race needs runners"),
        (["dgd"], {"by": "luck"}, "by='luck': one of 'iteration'"),
        (["dgd"], {"target": -1}, "target=-1: give a number above 0"),
        (["dgd"], {}, "problem is missing"),
        ("dgd", {}, "give a list"),
    ],
)
def test_a_mistake_is_named(given, options, says):
    with pytest.raises(ArgumentError, match=says):
        Race(given, **options)


def test_a_comparison_takes_no_further_arguments():
    runs = ifog.compare(["dgd"], problem="quadratic", n=4, topology="ring", steps=3, lr=0.1)
    with pytest.raises(ArgumentError, match="steps=…: the runs are there already"):
        Race(runs, steps=5)
