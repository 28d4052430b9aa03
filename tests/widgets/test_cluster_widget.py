"""The tiles' Python side: what is sent of a cluster as it starts, breaks and goes, and the picture that stays."""

from types import SimpleNamespace
from xml.etree import ElementTree

import pytest
from IPython.core.formatters import DisplayFormatter

from ifog.cluster import Cluster
from ifog.cluster.home import Home
from ifog.errors import ArgumentError, SetupError
from ifog.widgets import Cluster as Tiles
from ifog.widgets import cluster as room
from ifog.widgets import formatters, messages
from ifog.widgets.cluster_figure import figure

ENGINE = {"host": "here", "pid": 7, "gpu": None, "threads": 2, "memory": 2e8}


@pytest.fixture(autouse=True)
def ipython(tmp_path, monkeypatch):
    """An IPython folder in which no cluster has ever been."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))


@pytest.fixture
def tiles():
    shown = Tiles(Cluster(3))
    yield shown
    shown.close()


def said(phase="running", trouble=None, registered=3, **first):
    """What a manager and its engines may say."""
    engines = [{"rank": rank, **ENGINE, "state": "idle"} for rank in range(3)]
    engines[0] |= first
    return {
        "plan": {"n": 3},
        "phase": phase,
        "trouble": trouble,
        "registered": registered,
        "engines": engines,
        "mpi": "MPICH 5 (x)",
    }


def states(seen):
    return [tile["state"] for tile in seen.tiles]


def test_a_cluster_that_does_not_run_is_shown_and_can_be_started(tiles):
    (seen,) = (messages.unpack(content, buffers) for content, buffers in tiles._everything())
    assert (seen.phase, seen.n, states(seen), seen.trouble) == ("off", 3, ["off"] * 3, "")
    assert "rank 2" in tiles.snapshot()


def test_nothing_is_asked_unless_somebody_looks(tiles, monkeypatch):
    looks = []
    monkeypatch.setattr(tiles, "_look", lambda: looks.append(1))
    watched = {"type": "watched", "held": False}
    tiles._received(tiles, watched | {"views": 1, "page": "a"}, [])
    tiles._received(tiles, watched | {"views": 1, "page": "b"}, [])
    tiles._received(tiles, watched | {"views": 0, "page": "a"}, [])
    while len(looks) < 2:
        tiles._wake.set()
    tiles._received(tiles, watched | {"views": 0, "page": "b"}, [])
    while tiles._wake.is_set():
        pass  # until the thread has heard of it
    seen = len(looks)
    tiles._thread.join(1.5 * room._SOON)
    assert len(looks) <= seen + 1  # one may have been under way


@pytest.mark.parametrize("shown", [True, False])
def test_who_closes_the_tiles_hangs_up_once(tiles, monkeypatch, shown):
    left = []
    monkeypatch.setattr(tiles._cluster, "close", lambda: left.append(1))
    if shown:
        tiles._go_on()
    tiles.close()
    tiles.close()
    if shown:
        tiles._thread.join(20)
    tiles._go_on()  # of a message that was still on its way
    assert left == [1]


def test_what_an_engine_does_and_for_whom_it_waits_is_told(tiles):
    waits = {"state": "waiting", "operation": "barrier", "waits_for": 1, "cell": "f()", "seconds": 2.0, "error": "E: x"}
    seen = tiles._tiles(said(**waits))
    assert seen.tiles[0] | waits == seen.tiles[0]
    assert (seen.said, seen.facts) == ("rank 0 waits for rank 1", "3 engines · on here · MPICH 5")
    assert [tile["waits_for"] for tile in seen.tiles] == [1, -1, -1]


def test_a_rank_that_does_not_answer_because_it_was_frozen_says_so(tiles, monkeypatch):
    asked = []
    monkeypatch.setattr(Cluster, "wire", SimpleNamespace(request=lambda *words: asked.append(words)))
    tiles._tiles(said(state="busy", cell="f()", exchanges=7, told=[1, 2]))
    assert tiles._froze(0) == "rank 0 stands still for 5 s"
    assert tiles._froze(0) == "rank 0 stands still already"
    assert asked == [(0, "ifog.engine.status:freeze", 5)]
    tile = tiles._tiles(said(state="no answer")).tiles[0]
    assert (tile["state"], tile["cell"], tile["exchanges"], tile["told"]) == ("frozen", "f()", 7, [1, 2])
    tiles._frozen_until.clear()
    tile = tiles._tiles(said(state="no answer")).tiles[0]
    assert (tile["state"], tile["cell"], tile["exchanges"], tile["told"]) == ("no answer", "", 7, [1, 2])


def test_the_rank_that_died_says_why_and_all_are_gone(tiles):
    tiles._tiles(said())
    seen = tiles._tiles(said("broken", "rank 1 (process 7) was killed by signal 9", cell="f()"))
    assert states(seen) == ["gone"] * 3
    assert [tile["error"] for tile in seen.tiles] == ["", seen.trouble, ""]
    assert seen.tiles[0]["cell"] == ""


def test_engines_that_start_are_counted(tiles):
    seen = tiles._tiles(said("starting", registered=2) | {"engines": []})
    assert (states(seen), seen.said) == (["starting"] * 3, "2 of 3 engines are there")


def test_a_manager_that_was_killed_is_told_from_a_cluster_that_was_stopped(tiles):
    home = Home()
    home.make()
    home.write(said() | {"plan": tiles._cluster.plan.to_json()})
    tiles._look()
    assert (tiles._seen.phase, "killed" in tiles._seen.trouble) == ("off", True)
    home.forget()
    tiles._look()
    assert (tiles._seen.phase, tiles._seen.trouble) == ("off", "")


def test_what_cannot_be_done_is_said_and_nonsense_from_a_page_ends_nothing(tiles):
    for what in ("restart", "dance", "interrupt", "open"):
        tiles._received(tiles, {"type": "do", "what": what, "rank": 99}, [])
    while not tiles._note or tiles._under_way or not tiles._asked.empty():
        tiles._thread.join(0.05)
        assert tiles._thread.is_alive()
    assert "no cluster 'ifog' is running" in tiles._note
    assert tiles._open == -1


@pytest.mark.parametrize("phase", ["running", "broken", "starting", "restarting", "stopping"])
def test_the_picture_holds_what_is_said(tiles, phase):
    seen = tiles._tiles(said(phase, "it is <so>" if phase == "broken" else None, state="busy", cell="x & y" * 20, error="<E>"))
    text = " ".join(ElementTree.fromstring(figure(seen)).itertext())
    assert f"{phase} · 3 engines" in text
    assert ("it is <so>" in text) == (phase == "broken")
    assert all(f"rank {rank}" in text for rank in range(3))


def test_of_many_engines_the_picture_draws_some_and_says_so():
    many = [room._tile({"rank": rank}) for rank in range(100)]
    text = figure(messages.Tiles("x", 100, "running", "", "", "", "", many))
    assert "… 36 more" in text
    assert text.count(">rank ") == 64


def test_bad_arguments_are_refused():
    with pytest.raises(ArgumentError, match=r"cluster=3: what ifog\.connect\(\) or ifog\.cluster\.Cluster\(4\) gives"):
        Tiles(3)
    with pytest.raises(SetupError, match="ifog start -np 4"):
        Tiles()


def test_a_cluster_is_shown_by_its_tiles(monkeypatch):
    displayed = []
    monkeypatch.setattr(Tiles, "_ipython_display_", lambda widget: displayed.append(widget))
    shell = type("Shell", (), {"display_formatter": DisplayFormatter()})()
    formatters.register(shell)
    assert shell.display_formatter.format(Cluster(2)) == ({}, {})
    (shown,) = displayed
    assert "not running" in repr(shown)
    shown.close()
