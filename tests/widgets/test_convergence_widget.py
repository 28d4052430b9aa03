"""Curves of runs: what is sent, how seldom, and the picture that stays."""

import base64
import math
import re
import time
from xml.etree import ElementTree

import numpy as np
import pytest

import ifog
from ifog.errors import ArgumentError, Diverged, PeerFailed
from ifog.experiment import Mirror, Run, report
from ifog.widgets import Convergence, convergence_figure, messages, theory
from ifog.widgets.convergence_figure import Curve, figure
from ifog.widgets.thinned import ROWS, Thinned


def finished(**options):
    return ifog.run("dgd", "quadratic", n=4, topology="ring", **{"steps": 40, "lr": 0.1, "wait": True, **options})


def a_run(name="mine", rows=0, **columns):
    """A run that we fill by hand."""
    run = Run(name, None)
    run.status = "running"
    record(run, 0, rows, **columns)
    return run


def record(run, begin, end, **columns):
    k = np.arange(begin, end)
    rows = {"iteration": k, "error": 0.5**k, **{name: values(k) for name, values in columns.items()}}
    run.records.add({name: np.asarray(values, float).tolist() for name, values in rows.items()})


class Page:
    """What a page would know: it puts the parts together as `curves_state.ts` does."""

    def __init__(self, widget):
        self.tables, self.runs, self.times = {}, [], []
        for content, buffers in widget._everything():
            self.hear(content, buffers)
        widget.send = self.hear

    def hear(self, content, buffers):
        message = messages.unpack(content, buffers)
        if isinstance(message, messages.Rows):
            self.times.append(time.perf_counter())
            self.runs, at = message.runs, 0
            for part in message.parts:
                table = self.tables.setdefault(part["run"], {})
                assert part["first"] <= len(table.get("iteration", ())), "rows were missed"
                for name in part["columns"]:
                    new = message.rows[at : at + part["count"]].tolist()
                    table[name] = table.get(name, [])[: part["first"]] + new
                    at += part["count"]

    def until(self, true, seconds=10):
        deadline = time.perf_counter() + seconds
        while not true():
            assert time.perf_counter() < deadline
            time.sleep(0.01)


@pytest.fixture
def shown():
    """Makes widgets, and closes them."""
    made = []

    def make(*runs, **options):
        made.append(Convergence(*runs, **options))
        return made[-1]

    yield make
    for widget in made:
        widget.close()


def test_a_page_gets_every_row_of_a_run_that_is_over():
    run = finished()
    page = Page(Convergence(run))
    for name, values in run.records.columns().items():
        np.testing.assert_array_equal(page.tables[0][name], values)
    assert page.runs[0]["status"] == "done"


def test_a_live_run_is_followed_by_new_rows_only_and_seldom(shown):
    run = a_run(rows=10)
    widget = shown(run)
    page = Page(widget)
    page.times.clear()
    for k in range(10, 60):
        record(run, k, k + 1)
        time.sleep(0.01)
    page.until(lambda: len(page.tables[0]["iteration"]) == 60)
    assert page.tables[0] == run.records.columns()
    assert np.diff(page.times).min(initial=1) > 1 / 22
    run.status = "done"
    page.until(lambda: page.runs[0]["status"] == "done")
    page.until(lambda: widget._thread is None)


def test_nothing_new_is_not_sent(shown):
    page = Page(shown(a_run(rows=10)))
    time.sleep(0.2)
    page.times.clear()
    time.sleep(0.3)
    assert page.times == []


def test_a_long_run_is_thinned_out_and_keeps_its_ends():
    run = a_run()
    thinned = Thinned(run)
    for begin in range(0, 20_001, 667):
        record(run, begin, begin + 667)
        thinned.look()
    run.status = "done"
    thinned.look()
    k = thinned.columns["iteration"]
    assert ROWS / 2 < len(thinned) <= ROWS + 1
    assert (k[0], k[-1]) == (0, len(run.records) - 1)
    assert set(np.diff(k[:-1])) == {16}


def test_a_value_that_is_recorded_later_begins_with_a_gap(shown):
    run = a_run(rows=5)
    widget = shown(run)
    page = Page(widget)
    record(run, 5, 8, accuracy=lambda k: k / 10)
    page.until(lambda: "accuracy" in page.tables[0])
    np.testing.assert_array_equal(page.tables[0]["accuracy"], [math.nan] * 5 + [0.5, 0.6, 0.7])


def test_a_page_that_comes_back_learns_what_it_has_missed(shown):
    run = a_run(rows=5)
    widget = shown(run)
    page = Page(widget)
    widget._received(widget, *messages.pack(messages.Watched(0, False)))
    record(run, 5, 50)
    time.sleep(0.2)
    assert len(page.tables[0]["iteration"]) == 5
    widget._received(widget, *messages.pack(messages.Watched(1, False)))
    assert len(page.tables[0]["iteration"]) == 50


def test_a_topology_swapped_while_it_runs_leaves_its_mark():
    run = ifog.run("dgd", "quadratic", n=4, topology="ring", steps=10**9, lr=0.1, wait=False)
    widget = Convergence(run)
    run.topology = "complete"
    while not run.marks:
        time.sleep(0.01)
    run.stop()
    run.wait()
    (mark,) = Page(widget).runs[0]["marks"]
    assert mark == {"at": run.marks[0][0], "what": "complete(4)"}
    assert "complete(4)" in widget.snapshot()


def test_runs_can_be_added_before_they_begin(shown):
    widget = shown()
    page = Page(widget)
    run = Run("later", 10)
    widget.add(run, run)
    assert widget.runs == [run]
    page.until(lambda: page.runs)
    assert (page.runs[0]["status"], page.runs[0]["note"]) == ("waiting", "nothing recorded yet")
    record(run, 0, 3)
    page.until(lambda: len(page.tables.get(0, {}).get("iteration", ())) == 3)


def test_a_run_that_failed_says_why_and_does_not_squeeze_the_others():
    with pytest.raises(Diverged):
        finished(lr=1e3, steps=4000)
    widget = Convergence(finished(), ifog.experiment.runs[-2])
    failed = Page(widget).runs[1]
    assert failed["status"] == "failed"
    assert failed["note"].startswith("Diverged: ")
    assert "Diverged: " in widget.snapshot()
    ticks = [int(power) for power in re.findall(r'font-size="9">([−\d]+)<', widget.snapshot().replace("−", "-")) if power]
    assert max(ticks, default=0) <= 2


def test_a_run_that_is_extended_is_followed_again(shown):
    run = finished()
    widget = shown(run)
    page = Page(widget)
    page.until(lambda: widget._thread is None)
    run.extend(10, wait=True)
    page.until(lambda: page.tables[0]["iteration"] == list(range(51)))
    page.until(lambda: widget._thread is None)
    widget.close()
    assert run.records.listeners == []


def test_a_comparison_and_a_loop_can_be_given():
    compared = ifog.compare(["dgd", "extra"], problem="quadratic", n=4, topology="ring", steps=5, lr=0.1)
    assert Convergence(compared).runs == list(compared)
    for _ in (loop := ifog.loop(3)):
        loop.record(size=1.0)
    assert Convergence(loop).runs == [loop.run]


# ---- theory, bands, ghosts -----------------------------------------------------------------------------------------------


def expected(widget, y="disagreement"):
    """What theory says of the first run, as the picture has it: at each iteration."""
    (each, *_), (state, *_) = widget._thinned, widget._states
    drawn = Curve("", each.columns, theory=[(rate["at"], rate["rate"]) for rate in state["theory"]])
    return dict(
        zip(
            *(values.tolist() for values in convergence_figure._theory(drawn, y, "iteration", np.array([1e-300]), True)),
            strict=True,
        )
    )


@pytest.mark.parametrize("topology", ["ring", "complete", "one_peer_exponential", "od_equidyn"])
def test_averaging_is_never_slower_than_theory_says(topology):
    run = ifog.run("consensus", "averaging", n=8, topology=topology, steps=60)
    says = expected(Convergence(run))
    known = theory.known(run.topology)
    assert (known is None) == (topology in ("complete", "one_peer_exponential"))  # exact, after one round or three
    if known is not None and run.topology.static:
        history = run.history.set_index("iteration")["disagreement"]
        assert all(history[k] <= bound * (1 + 1e-9) for k, bound in says.items())
        assert says[60] == pytest.approx(history[0] * run.topology.rho**60)
        assert "thin: ρ^k with ρ = 0.8047" in Convergence(run, y="disagreement").snapshot()


def test_theory_begins_anew_where_the_topology_is_swapped(shown):
    run = ifog.run("consensus", "averaging", n=8, topology="ring", steps=10**9, every=1, wait=False)
    widget = shown(run)
    run.topology = "star"
    Page(widget).until(lambda: len(widget._states[0]["theory"]) == 2)
    run.stop()
    run.wait()
    at = run.marks[0][0]
    assert [each["at"] for each in widget._states[0]["theory"]] == [0, at]
    again = expected(Convergence(run))  # made afterwards: what was before the swap is not known any more
    first = min(again)
    assert first == min(k for k in Convergence(run)._thinned[0].columns["iteration"] if k >= at)
    assert again[first] == run.history.set_index("iteration")["disagreement"][first]
    assert expected(widget, "loss") == {}
    assert Convergence(ifog.run("dgd", "quadratic", n=4, topology="ring", steps=5, lr=0.1))._states[0]["theory"] == []


def test_runs_that_differ_in_their_seed_only_are_a_band():
    options = {"n": 4, "topology": "ring", "steps": 30, "lr": 0.1, "batch": 2}
    repeated = ifog.repeat("dgd", "logistic", seeds=[0, 1, 2], **options)
    other = ifog.run("dgd", "logistic", **options | {"lr": 0.2})
    widget = Convergence(repeated, other)
    assert [each["group"] for each in widget._states] == ["dgd on ring(4), 3 seeds"] * 3 + [""]
    picture = widget.snapshot()
    (band,) = re.findall(r'<polygon points="([^"]*)"', picture)
    corners = np.array([point.split(",") for point in band.split()], float)
    ends = repeated.history.groupby("iteration")["error"].agg(["mean", "min", "max"])
    assert len(corners) == 2 * len(ends)
    low, high = corners[: len(ends), 1], corners[len(ends) :, 1][::-1]
    assert (low >= high).all()  # y grows downwards
    (mean, _) = re.findall(r'<polyline points="([^"]*)"', picture)
    heights = np.array([point.split(",")[1] for point in mean.split()], float)
    slope, begin = np.polyfit(np.log(ends["mean"]), heights, 1)
    np.testing.assert_allclose(slope * np.log(ends["min"]) + begin, low, atol=0.3)
    assert "<polygon" not in Convergence(repeated, band=False).snapshot()
    assert Convergence(repeated, repeated[0])._states[0]["group"]  # given twice, drawn once


def test_earlier_runs_are_ghosts():
    first, second, third = (finished() for _ in range(3))
    widget = Convergence(third, ghosts=2)
    assert widget.runs == [first, second, third]
    assert [each["ghost"] for each in widget._states] == [True, True, False]
    assert "before: dgd on ring(4), dgd on ring(4)" in widget.snapshot()
    page = Page(widget)
    widget.fade()
    widget.add(second)
    page.until(lambda: [each["ghost"] for each in page.runs] == [True, False, True])
    for wrong in (True, -1, "all", [7]):
        with pytest.raises(ArgumentError, match=r"ghosts=|is no run"):
            Convergence(third, ghosts=wrong)


class Cluster:
    """A place whose engines die once three reports were made."""

    def __init__(self):
        self.reports = 0

    def submit(self, task):
        self.run = ifog.run(**task)
        return "a key"

    def records(self, key, begin):
        self.reports += 1
        if self.reports > 3:
            raise PeerFailed("rank 2 was killed (signal 9)")
        return report(self.run, begin)._replace(status="running")


def test_a_run_whose_cluster_died_keeps_its_curve_and_says_so(shown):
    run = Mirror(Cluster(), {"method": "dgd", "problem": "quadratic", "n": 4, "topology": "ring", "steps": 40, "lr": 0.1})
    widget = shown(run)
    page = Page(widget)
    page.until(lambda: page.runs[0]["status"] == "failed")
    assert page.runs[0]["note"] == "PeerFailed: rank 2 was killed (signal 9)"
    assert len(page.tables[0]["iteration"]) == 41
    picture = widget.snapshot()
    assert "rank 2 was killed" in picture
    assert len(re.search(r'<polyline points="([^"]*)"', picture).group(1).split()) == 41


# ---- the picture that stays ----------------------------------------------------------------------------------------------


def curve(values, **options):
    return Curve("a <b>", {"iteration": list(range(len(values))), "error": values}, **options)


@pytest.mark.parametrize("log", [True, False])
@pytest.mark.parametrize(
    "curves",
    [
        [],
        [Curve("empty", {})],
        [curve([1.0])],
        [curve([0.0, 0.0])],
        [curve([2.0, 2.0, 2.0])],
        [curve([1.0, math.nan, math.inf, -math.inf, 0.0, -1.0, 1e-300, 1e300])],
        [curve([1.0, 0.1, 0.01], marks=[(1, "ring<8>"), (99, "never")], said="stopped"), Curve("empty", {}), curve([0.5])],
        [curve([1e300, math.inf], failed=True)],
        [curve([1.0, 0.5]), curve([1.0, 1e300], failed=True)],
    ],
    ids=len,
)
def test_whatever_was_recorded_there_is_a_picture(curves, log):
    picture = figure(curves, log=log)
    ElementTree.fromstring(picture)
    assert not re.search(r"\b(nan|inf)\b", picture)
    assert picture.count("a &lt;b&gt;") == sum(each.name == "a <b>" for each in curves)


def test_on_a_logarithmic_axis_a_geometric_sequence_is_a_straight_line():
    (points,) = re.findall(r'<polyline points="([^"]*)"', figure([curve([0.5**k for k in range(20)])]))
    places = np.array([point.split(",") for point in points.split()], float)
    np.testing.assert_allclose(np.diff(places[:, 1], 2), 0, atol=0.3)


def test_a_saved_notebook_holds_the_curves():
    widget = Convergence(finished())
    data, _ = widget._repr_mimebundle_()
    assert data["text/plain"].startswith("<convergence of dgd")
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")


# ---- bad input -----------------------------------------------------------------------------------------------------------


def test_what_is_no_run_is_refused():
    with pytest.raises(ArgumentError, match="7 is no run: give what"):
        Convergence(7)
    with pytest.raises(ArgumentError, match="y=3: the name of what was recorded"):
        Convergence(y=3)
    widget = Convergence()
    with pytest.raises(ArgumentError, match="is no run"):
        widget.add(None)
