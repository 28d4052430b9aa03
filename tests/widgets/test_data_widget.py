"""Who has which samples, Python's side: what is sent and taken, and the picture that stays."""

import math
import re
from itertools import combinations
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from IPython.core.formatters import DisplayFormatter

from ifog.errors import ArgumentError, ProblemError
from ifog.learning import Partition, data, partition
from ifog.widgets import Data, data_figure, formatters, messages, theme
from ifog.widgets import data as room

TRAIN, _ = data.digits()


def told(widget):
    """What a page is told that opens now."""
    (bars,) = (messages.unpack(content, buffers) for content, buffers in widget._everything())
    return bars


def want(widget, **changed):
    """As the page's controls do."""
    seen = told(widget)
    kept = {name: getattr(seen, name) for name in ("rule", "alpha", "shards", "n", "seed", "equal")}
    widget._received(widget, {"type": "deal", **kept, "turn": seen.turn + 1, **changed}, [])
    return told(widget)


def test_the_counts_of_the_partition_are_sent():
    p = partition(TRAIN, 8, alpha=0.1)
    seen = told(Data(p))
    assert seen.counts[:-10].reshape(8, 10).tolist() == p.counts.tolist()
    assert seen.counts[-10:].tolist() == TRAIN.y.bincount().tolist()
    assert (seen.title, seen.rule, seen.alpha, seen.n, seen.seed) == ("digits", "Dirichlet", 0.1, 8, 0)
    assert seen.heterogeneity == p.heterogeneity
    assert seen.sizes == "1,437 samples, 179 to 180 a node"
    assert "as given" not in seen.rules


def test_the_controls_deal_as_python_does():
    widget = Data(TRAIN, alpha=0.1)
    for changed, how in [
        ({"alpha": 1.0}, {"alpha": 1.0}),
        ({"seed": 3}, {"alpha": 1.0, "seed": 3}),
        ({"n": 5, "equal": False}, {"alpha": 1.0, "seed": 3, "equal": False}),
        ({"alpha": -1}, {"alpha": math.inf, "seed": 3, "equal": False}),
        ({"rule": "by label", "shards": 2}, {"shards": 2, "seed": 3}),
        ({"rule": "at random"}, {"seed": 3}),
    ]:
        seen = want(widget, **changed)
        assert seen.note == ""
        expected = partition(TRAIN, widget.partition.n, **how)
        assert all(map(np.array_equal, widget.partition, expected))
        assert seen.rule == changed.get("rule", "Dirichlet")
    assert len(widget.partition) == 5


def test_what_cannot_be_dealt_is_said_and_the_last_one_stays():
    widget = Data(TRAIN, alpha=0.1)
    before = widget.partition
    for changed, says in [
        ({"n": 2000}, "n=2000"),
        ({"alpha": 0.0}, "alpha=0"),
        ({"rule": "by label", "shards": 999}, "shards=999"),
    ]:
        seen = want(widget, **changed)
        assert says in seen.note
        assert widget.partition is before
    for nonsense in ({"n": "many"}, {"seed": None}, {"alpha": "small"}, {"rule": ["x"]}):
        want(widget, **nonsense)
    assert want(widget, alpha=0.5).note == ""


def test_parts_of_ones_own_are_shown_and_come_back():
    own = Partition([range(700), range(700, 1437)], TRAIN.y, TRAIN.classes, name="mine", data=TRAIN)
    widget = Data(own)
    assert told(widget).rule == "as given"
    assert want(widget, rule="Dirichlet", alpha=0.1).rule == "Dirichlet"
    assert len(widget.partition) == 2
    assert want(widget, rule="as given").rule == "as given"
    assert widget.partition is own


def test_python_changes_it_too():
    widget = Data(TRAIN, n=4)
    widget.deal(alpha=0.1, seed=2)
    seen = told(widget)
    assert (seen.rule, seen.alpha, seen.seed, seen.turn) == ("Dirichlet", 0.1, 2, 1)
    widget.partition = partition(TRAIN, 3)
    assert told(widget).n == 3
    with pytest.raises(ArgumentError, match="partition=3"):
        widget.partition = 3
    with pytest.raises(ProblemError, match="alpha=0"):
        widget.deal(alpha=0)
    with pytest.raises(ArgumentError, match="dealt already"):
        Data(partition(TRAIN, 3), n=4)


def test_of_many_nodes_the_first_are_shown():
    p = partition(np.arange(20_000) % 3, 2000, alpha=1)
    seen = told(Data(p))
    assert (seen.n, seen.shown, len(seen.counts)) == (2000, 512, 513 * 3)
    assert seen.counts[-3:].sum() == 20_000
    assert "the first" not in Data(partition(np.arange(600) % 3, 600)).snapshot()
    drawn = Data(partition(np.arange(3000) % 100, 300)).snapshot()
    assert "the first 60 of 300 nodes" in drawn


def test_a_page_of_its_own_has_the_slider():
    widget = Data(TRAIN, n=8, alpha=0.1)
    bars, deals = widget._alone()
    assert bars.rules == []
    k = deals.alphas.tolist().index(0.1)
    assert np.array_equal(deals.counts.reshape(len(deals.alphas), -1)[k], bars.counts)
    assert deals.heterogeneities[k] == bars.heterogeneity
    assert deals.heterogeneities[-1] < 0.02
    assert len(Data(TRAIN, n=8)._alone()) == 1
    assert "<script" in widget.snapshot("html")


def test_the_picture_has_a_piece_for_each_class_of_each_node():
    p = partition(TRAIN, 8, alpha=0.1)
    drawing = ElementTree.fromstring(Data(p).snapshot())
    rects = [r for r in drawing.iter("{http://www.w3.org/2000/svg}rect") if r.get("fill") in theme.CLASSES and not r.get("rx")]
    assert len(rects) == (p.counts > 0).sum() + 10
    heights = {}
    for r in rects[10:]:
        heights[r.get("x")] = heights.get(r.get("x"), 0) + float(r.get("height"))
    assert [round(h / 220 * 180, -1) for h in heights.values()] == [180] * 8
    assert "heterogeneity 0.69" in drawing.get("aria-label")
    assert Data(p).snapshot("png").startswith(b"\x89PNG")
    assert "&lt;b&gt;" in Data(partition(["<b>", "<i>"] * 9, 2)).snapshot()


def luminance(colour, kind):
    """How a colour looks to somebody, in linear light; deuteranopia and protanopia after Viénot, Brettel, Mollon, 1999."""
    linear = np.array([((v / 255 + 0.055) / 1.055) ** 2.4 if v > 10 else v / 255 / 12.92 for v in theme.channels(colour)])
    matrices = {
        "full": np.eye(3),
        "deuteranopia": np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]]),
        "protanopia": np.array([[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]]),
    }
    seen = np.clip(matrices[kind] @ linear, 0, 1)
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ seen
    f = np.cbrt(np.maximum(xyz / [0.9505, 1, 1.089], 1e-9))
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])  # CIELAB


@pytest.mark.parametrize("kind", ["full", "deuteranopia", "protanopia"])
def test_ten_classes_can_be_told_apart_by_everybody(kind):
    lab = [luminance(colour, kind) for colour in theme.CLASSES]
    assert len(set(theme.CLASSES)) == 10
    touching = [np.linalg.norm(a - b) for a, b in combinations(lab, 2)]
    assert min(touching) > 10, "about four just noticeable differences, where they lie on each other"


def test_a_partition_shows_itself(monkeypatch):
    displayed = []
    monkeypatch.setattr(Data, "_ipython_display_", lambda widget: displayed.append(widget.partition))
    shell = SimpleNamespace(display_formatter=DisplayFormatter())
    formatters.register(shell)
    p = partition(TRAIN, 8)
    assert shell.display_formatter.format(p) == ({}, {})
    assert displayed == [p]
    assert repr(Data(p)) == f"<{p!r}>"


def test_the_slider_of_both_sides_has_the_same_steps():
    source = (room.STATIC.parent / "front" / "src" / "data_state.ts").read_text()
    steps, low, high = (
        int(re.search(pattern, source).group(1)) for pattern in (r"STEPS = (\d+)", r"= \[(-?\d+), ", r", (\d+)\];")
    )
    assert [float(f"{10 ** (low + k / steps):.2g}") for k in range((high - low) * steps + 1)] == room._ALPHAS


def test_colours_of_many_classes_go_from_dark_to_light():
    shades = data_figure.colours(100)
    assert len(set(shades)) > 90
    assert data_figure.dark(shades[0])
    assert not data_figure.dark(shades[-1])
    assert data_figure.colours(10) == theme.CLASSES
    assert torch.equal(torch.tensor(theme.channels("#332288")), torch.tensor([0x33, 0x22, 0x88]))
