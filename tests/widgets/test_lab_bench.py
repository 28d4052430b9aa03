"""The lab bench: what a page asks of it is done to what runs, and what cannot be is said, with nothing lost."""

import time
from xml.etree import ElementTree

import numpy as np
import pytest
from runs_elsewhere import Late

import ifog
from ifog.errors import ArgumentError, ExperimentError, MethodError, ProblemError, TopologyError
from ifog.widgets import LabBench, messages


class Page:
    """What a page of the bench would know, and the buttons on it."""

    def __init__(self, bench):
        self.bench, self.heard = bench, {}
        for content, buffers in bench._everything():
            self.hear(content, buffers)
        bench.send = self.hear

    def hear(self, content, buffers):
        self.heard[content.get("part", ""), content["type"]] = messages.unpack(content, buffers)

    def __getitem__(self, name):
        return getattr(self.heard["", "bench"], name)

    def say(self, message, **part):
        content, buffers = messages.pack(message)
        self.bench._received(self.bench, content | part, buffers)

    def do(self, what):
        self.say(messages.Press(what))

    def choose(self, what, value):
        self.say(messages.Choose(what, str(value)))

    def until(self, true, seconds=30):
        deadline = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < deadline, self.heard.get(("", "bench"))
            time.sleep(0.01)


@pytest.fixture
def lay():
    """Makes benches, and clears them away."""
    made = []

    def make(*args, **options):
        made.append(LabBench(*args, **{"n": 8, "pace": 200, **options}))
        return made[-1], Page(made[-1])

    yield make
    for bench in made:
        bench.close()
        if bench.run is not None and bench.run.error is None:
            bench.run.wait(timeout=60)


def test_the_page_starts_swaps_turns_pauses_steps_and_stops(lay):
    bench, page = lay("dgd", topology="ring", lr=0.02)
    assert (page["method"], page["topology"], page["status"]) == ("dgd", "ring", "")
    page.do("start")
    page.until(lambda: page["status"] == "running" and page["iteration"] > 10)
    page.choose("topology", "exponential")
    page.until(lambda: "exponential(8) from iteration" in page["said"])
    page.choose("lr", 0.005)
    page.until(lambda: page["said"].startswith("lr = 0.005 from iteration"))
    assert [what for _, what in bench.run.marks] == ["exponential(8)", "lr = 0.005"]
    assert page["pending"] == []
    assert page.heard["network", "graph"].title == "exponential(8)"
    assert page["dials"][0]["value"] == 0.005
    page.do("pause")
    page.until(lambda: page["status"] == "paused")
    held = bench.run.iteration
    page.do("step")
    page.until(lambda: page["iteration"] == held + 1)
    page.do("start")
    page.until(lambda: page["status"] == "running")
    page.do("stop")
    page.until(lambda: page["status"] == "stopped")
    page.until(lambda: page.heard["curves", "rows"].runs[0]["status"] == "stopped")
    assert [mark["what"] for mark in page.heard["curves", "rows"].runs[0]["marks"]] == ["exponential(8)", "lr = 0.005"]
    page.do("reset")
    page.until(lambda: page["status"] == "" and page.heard["curves", "rows"].runs == [])
    assert bench.run is None


def test_what_a_page_can_do_can_be_done_from_python_and_the_page_follows(lay):
    bench, page = lay("extra", topology="ring")
    run = bench.start()
    assert bench.run is run
    bench.topology = "grid"
    bench.set(lr=0.01)
    bench.pace = 400
    page.until(lambda: len(run.marks) == 2 and run.pace == 400)
    page.until(lambda: (page["topology"], page["pace"]) == ("grid", 400) and page["dials"][0]["value"] == 0.01)
    bench.pause()
    page.until(lambda: page["status"] == "paused")
    assert bench.start() is run
    page.until(lambda: page["status"] == "running")
    bench.method, bench.n = "diging", 9
    page.until(lambda: page["later"] == ["method", "n"])
    assert not run.over
    again = bench.start()
    page.until(lambda: run.over and again.iteration > 0)
    assert (again.name, run.status) == ("diging on grid(9)", "stopped")
    page.until(lambda: page["later"] == [] and page.heard["network", "graph"].n == 9)
    page.until(lambda: len(page.heard["curves", "rows"].runs) == 2)
    shown = [(each["name"], each["ghost"]) for each in page.heard["curves", "rows"].runs]
    assert shown == [("extra on ring(8)", True), ("diging on grid(9)", False)]


def test_a_topology_that_the_method_cannot_take_is_refused_in_words_and_nothing_is_lost(lay):
    bench, page = lay("extra", topology="ring")
    page.do("start")
    page.until(lambda: page["iteration"] > 5)
    page.choose("topology", "exponential")
    page.until(lambda: page["trouble"])
    assert page["said"].startswith("extra on exponential(8): it needs a symmetric W; try ring")
    before = bench.run.iteration
    page.until(lambda: bench.run.iteration > before + 20)
    assert (page["topology"], page["pending"], bench.run.marks) == ("ring", [], [])
    unfit = {each["name"]: each["unfit"] for each in page.heard["", "choices"].topologies}
    assert unfit["grid"] == ""
    assert "needs a symmetric W" in unfit["exponential"]
    with pytest.raises(MethodError, match="symmetric"):
        bench.topology = "exponential"


def test_an_edge_that_is_drawn_while_it_runs_is_a_swap(lay):
    bench, page = lay("dgd", topology="ring")
    bench.start()
    version = page.heard["network", "graph"].version
    page.say(messages.Edit(version, "add_edge", 0, 4, 0, 0), part="network")
    page.until(lambda: bench.run.marks)
    assert bench.run.topology.messages == 18
    page.until(lambda: "drawn" in page["topology"])
    version = page.heard["network", "graph"].version
    page.say(messages.Edit(version, "add_node", -1, -1, 0.5, 0.5), part="network")
    page.until(lambda: page["trouble"])
    assert "start anew" in page["said"]
    assert bench.network.topology.n == 8
    bench.reset()
    bench.method, bench.topology = "extra", "ring"
    page.say(messages.Edit(bench.network._version, "add_edge", 0, 4, 0, 0), part="network")
    page.until(lambda: bench.topology.messages == 18)


def test_what_is_drawn_while_the_engines_are_busy_is_what_they_take_up(lay):
    busy = Late()
    bench, page = lay("extra", topology="ring", on=busy)
    page.do("start")
    page.until(lambda: page["status"] == "waiting")
    page.say(messages.Edit(bench.network._version, "add_edge", 0, 4, 0, 0), part="network")
    page.until(lambda: page["pending"])
    assert (bench.topology.messages, bench.network.topology.messages) == (18, 18)
    busy.begin()
    page.until(lambda: bench.run.marks)
    assert bench.run.topology == bench.topology
    page.until(lambda: bench.network.topology == bench.topology and not page["pending"])
    page.do("stop")
    page.until(lambda: page["status"] == "stopped")


def test_nodes_are_coloured_by_what_they_hold(lay):
    bench, page = lay("dgd", topology="ring", colour="error")
    run = bench.start()
    page.until(lambda: ("network", "values") in page.heard and page.heard["network", "values"].what == "error")
    page.say(messages.Colour("value"), part="network")
    bench.pause()
    page.until(lambda: run.status == "paused" and page.heard["network", "values"].what == "value")
    held = run.x.norm(dim=1).numpy().astype(np.float32)
    page.until(lambda: np.array_equal(page.heard["network", "values"].values, held))
    bench.reset()
    page.until(lambda: not len(page.heard["network", "values"].values))


def test_before_the_start_settings_are_just_set(lay):
    bench, page = lay()
    bench.step(3)
    page.until(lambda: page["status"] == "paused" and page["iteration"] == 3)
    bench.reset()
    for what, value in [("method", "dmsgd"), ("problem", "quadratic"), ("heterogeneity", 0.5), ("n", 12), ("pace", 0)]:
        page.choose(what, value)
    page.choose("beta", 0.5)
    page.until(lambda: (bench.method, bench.n, bench.pace, bench.parameters.get("beta")) == ("dmsgd", 12, None, 0.5))
    page.until(lambda: {dial["name"] for dial in page["dials"]} == {"lr", "beta"})
    run = bench.start()
    page.until(lambda: run.iteration > 0)
    assert run.about["problem"].startswith("quadratic(12, heterogeneity=0.5")
    assert run.parameters["beta"] == 0.5


def test_a_run_that_fails_says_why(lay):
    bench, page = lay("dgd", lr=9.0, pace=None)
    bench.start()
    page.until(lambda: page["status"] == "failed" and page["trouble"])
    assert "diverged" in page["said"]
    bench.set(lr=0.02)
    bench.start()
    page.until(lambda: page["status"] == "running" and not page["trouble"])


def test_a_problem_of_ones_own_decides_how_many_nodes_there_are(lay):
    mine = ifog.problems.least_squares(5)
    bench, page = lay("dgd", mine, n=5, topology="ring")
    assert (bench.n, page["fixed"], page["heterogeneity"]) == (5, True, -1)
    with pytest.raises(ArgumentError, match="n=6: least_squares"):
        bench.n = 6


@pytest.mark.parametrize(
    ("wrong", "error", "says"),
    [
        ({"method": "dgdd"}, MethodError, "did you mean dgd"),
        ({"problem": "least_square"}, ProblemError, "did you mean 'least_squares'"),
        ({"topology": "rign"}, TopologyError, "did you mean 'ring'"),
        ({"method": "extra", "topology": "exponential"}, MethodError, "symmetric"),
        ({"topology": ifog.topology.ring(5)}, ArgumentError, "n=8: ring"),
        ({"pace": -1}, ArgumentError, "pace=-1"),
        ({"colour": "red"}, ArgumentError, "one of value, disagreement"),
        ({"on": "engines"}, ArgumentError, "ifog.connect"),
        ({"lr": -1}, ArgumentError, "lr=-1"),
        ({"heterogeneity": -1}, ProblemError, "heterogeneity=-1"),
    ],
)
def test_a_mistake_is_named(wrong, error, says):
    with pytest.raises(error, match=says):
        LabBench(**{"n": 8, **wrong})


def test_what_a_page_says_wrongly_is_said_there(lay):
    bench, page = lay()
    for what, value, says in [("n", "many", "give a number"), ("lr", "-3", "lr=-3"), ("topology", "hypercub", "hypercube")]:
        page.choose(what, value)
        page.until(lambda: page["trouble"] and says in page["said"])  # noqa: B023
    page.choose("n", 9)
    page.choose("topology", "one_peer_exponential")
    page.until(lambda: "never averages exactly" in page["said"] and not page["trouble"])
    page.do("dance")
    page.do("pause")
    page.until(lambda: "nothing runs" in page["said"])
    with pytest.raises(ExperimentError, match="nothing runs"):
        bench.pause()


def test_the_picture_holds_the_network_and_the_curves(lay):
    bench, page = lay(topology="ring")
    ElementTree.fromstring(bench.snapshot())
    bench.start()
    page.until(lambda: bench.run.iteration > 20)
    bench.stop()
    drawing = bench.snapshot()
    ElementTree.fromstring(drawing)
    assert "ring(8)" in drawing
    assert "<polyline" in drawing
    assert bench._repr_mimebundle_()[0]["image/png"]
