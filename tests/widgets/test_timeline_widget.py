"""The timeline's Python side: what a trace says, what a page is told of it, and the picture that stays."""

import gzip
import json
import math
import os
from xml.etree import ElementTree

import numpy as np
import pytest

from ifog.cluster import Cluster
from ifog.errors import ArgumentError
from ifog.widgets import Timeline, messages
from ifog.widgets import trace as room
from ifog.widgets.following import WAITING, Follower
from ifog.widgets.timeline_figure import _covered


def meta(rank, what, **args):
    return {"ph": "M", "pid": 10_000 + rank, "tid": 10_000 + rank, "name": what, "args": args}


def event(rank, name, begin, length=0.0, category="call", phase="X", thread=0, **more):
    place = {"pid": 10_000 + rank, "tid": 10_000 + rank + 10_000 * thread}
    said = {"ts": begin, "cat": category, "name": name} | ({"dur": length} if phase == "X" else {})
    return {"ph": phase} | place | said | more


def ours():
    """Two ranks for 100 µs: rank 1 lends at 20 what rank 0, waiting since 5, finds at 25."""
    events = [meta(rank, "process_name", name=f"rank {rank}") for rank in (0, 1)]
    events += [meta(1, "process_sort_index", sort_index=-1)]  # rank 1 is to be above
    events += [
        event(0, "neighbor_allreduce('x')", 4, 26, args={"call": "neighbor_allreduce('x') of float32 [9]", "bytes": 36}),
        event(0, "waiting for rank 1", 5, 20, "wait"),
        event(0, "gradient", 40, 60, "span", thread=1),
        event(0, "inside", 45, 5, "span", thread=1),
        event(1, "neighbor_allreduce('x')", 19, 4, args={"bytes": 36, "error": "Mismatch"}),
        event(1, "message", 20, category="message", phase="s", id="1.1.0"),
        event(1, "message", 20, category="message", phase="s", id="1.1.9"),
        event(0, "message", 25, category="message", phase="f", id="1.1.0", args={"from": 1, "bytes": 36}),
        event(1, "allreduce('y')", 50, category="nonblocking", phase="b", id="1.0", args={"bytes": 8}),
        event(1, "allreduce('y')", 80, category="nonblocking", phase="e", id="1.0"),
        event(1, "send to rank 0", 90, 10),
    ]
    return {"traceEvents": events, "otherData": {"ranks": [{"rank": 0}, {"rank": 1}]}}


@pytest.fixture
def told():
    """What a page is told of it."""
    (content, buffers), = Timeline(ours())._everything()  # fmt: skip
    return messages.unpack(content, buffers)


def segments(told):
    found = zip(told.begin, told.length, (told.whats[k] for k in told.what), strict=True)
    return {(told.rows[what["row"]]["name"], what["name"]): (begin, length, what) for begin, length, what in found}


def test_a_page_is_told_every_segment_and_message(told):
    found = segments(told)
    assert [row["name"] for row in told.rows] == ["rank 1", "rank 0"]
    begin, length, what = found["rank 0", "neighbor_allreduce('x')"]
    assert (begin, length, what["bytes"], what["call"]) == (4, 26, 36, "neighbor_allreduce('x') of float32 [9]")
    assert (
        found["rank 0", "waiting for rank 1"][2] | {"peer": 1, "lane": 0, "kind": room.WAIT}
        == found["rank 0", "waiting for rank 1"][2]
    )
    assert found["rank 1", "neighbor_allreduce('x')"][2]["error"] == "Mismatch"
    assert found["rank 1", "allreduce('y')"][:2] == (50, 30)
    assert found["rank 1", "send to rank 0"][2]["kind"] == room.SEND
    assert (list(told.lent), list(told.found), list(told.ends), list(told.sizes)) == ([20], [25], [0, 1], [36])
    assert told.end == 100


def test_what_overlaps_stands_in_lanes_of_its_own(told):
    found = segments(told)
    lanes = {key: what["lane"] for key, (_, _, what) in found.items()}
    assert lanes["rank 0", "gradient"] == 1
    assert lanes["rank 0", "inside"] == 2
    assert lanes["rank 1", "allreduce('y')"] == 1
    assert [row["lanes"] for row in told.rows] == [2, 3]


def test_the_time_of_a_rank_is_what_it_computed_waited_and_copied(told):
    above, below = told.rows
    assert below["wait"] == pytest.approx(0.20)
    assert below["copy"] == pytest.approx(0.06)
    assert below["compute"] == pytest.approx(0.74)
    assert above["copy"] == pytest.approx(0.14)
    assert Timeline(ours()).summary[1] == {key: below[key] for key in ("name", "compute", "wait", "copy")}


def test_a_part_of_it_can_be_chosen():
    part = Timeline(ours(), begin=40e-6, end=60e-6)._trace
    names = {s.name for s in part.segments}
    assert names == {"gradient", "inside", "allreduce('y')"}
    assert min(s.begin for s in part.segments) == 0
    assert part.arrows == []


def test_of_too_many_events_the_first_are_shown_and_it_says_so(monkeypatch):
    monkeypatch.setattr(room, "MOST", 3)
    shown = Timeline(ours())._trace
    assert [s.name for s in shown.segments] == ["neighbor_allreduce('x')", "waiting for rank 1", "neighbor_allreduce('x')"]
    assert "the first 3 of 7 events" in shown.notes[0]
    monkeypatch.setattr(room, "MOST", 100)
    monkeypatch.setattr(room, "ARROWS", 0)
    assert "arrows for the first 0 of 1 messages" in Timeline(ours())._trace.notes[-1]


def test_a_file_can_be_saved_again_and_read_again_when_it_is_new(tmp_path):
    path = tmp_path / "trace.json"
    path.write_text(json.dumps(ours()))
    timeline = Timeline(str(path))
    timeline.save_trace(tmp_path / "again.json")
    assert json.loads((tmp_path / "again.json").read_text()) == ours()
    path.write_text(json.dumps([event(0, "barrier", 3, 4)]))
    timeline.reload()
    assert [(s.name, s.begin, s.length) for s in timeline._trace.segments] == [("barrier", 3, 4)]


def test_the_page_gets_the_file_when_it_asks_for_it(monkeypatch):
    timeline, sent = Timeline(ours()), []
    monkeypatch.setattr(timeline._sender, "offer", sent.append)
    timeline._received(timeline, {"type": "fetch"}, [])
    assert json.loads(sent[0].text) == ours()


@pytest.mark.parametrize("cut", [0.3, 0.5, 0.9, 0.999])
def test_a_file_that_was_cut_off_shows_what_there_is(tmp_path, cut):
    path = tmp_path / "trace.json"
    text = json.dumps(ours())
    path.write_text(text[: int(cut * len(text))])
    shown = Timeline(path)._trace
    assert "ends in the middle" in shown.notes[0]
    assert len(shown.segments) == sum(s.begin < 1e9 for s in shown.segments)
    assert (len(shown.segments) == 7) == (cut > 0.95)


def test_the_files_of_ranks_that_ended_apart_are_shown_together(tmp_path):
    for rank in (0, 1):
        events = [event for event in ours()["traceEvents"] if event["pid"] == 10_000 + rank]
        (tmp_path / f"trace.rank{rank}.json").write_text(json.dumps({"traceEvents": events}))
    shown = Timeline(tmp_path / "trace.json")._trace
    assert "put together from 2 files, trace.rank*.json" in shown.notes[0]
    assert (len(shown.rows), len(shown.segments), len(shown.arrows)) == (2, 7, 1)


def test_a_recording_that_broke_off_is_kept_and_an_older_file_is_not_taken_for_it(tmp_path, monkeypatch):
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    path = tmp_path / "trace.json"
    path.write_text(json.dumps(ours()))
    os.utime(path, (1000, 1000))
    follower = Follower(Cluster(2))  # whose engines are gone
    assert follower.look() is None
    assert follower.empty().notes == [WAITING]
    for since, count, notes in ((2000, 1, ["the recording has broken off"]), (1000, 7, [])):
        follower._on, follower._path, follower._since = True, str(path), since
        follower._events.append(event(0, "barrier", 3, 4))
        seen = follower.look()
        assert (len(seen.segments), seen.notes) == (count, notes)
        assert seen.rows[-1]["name"] == "rank 0"
        assert follower.look() is None


def test_traces_of_other_programs_are_shown_too(tmp_path):
    events = [
        {"ph": "B", "pid": "worker", "tid": "main", "ts": 1e9, "name": "outer"},
        {"ph": "X", "pid": "worker", "tid": "main", "ts": 1e9 + 1, "dur": 2, "name": "inner", "args": None},
        {"ph": "E", "pid": "worker", "tid": "main", "ts": 1e9 + 10},
        {"ph": "C", "pid": "worker", "ts": 1e9, "name": "counter", "args": {"x": 1}},
        {"ph": "X", "pid": 7, "ts": 1e9 + 4, "dur": 4, "name": "alone"},
    ]
    path = tmp_path / "theirs.json.gz"
    path.write_bytes(gzip.compress(json.dumps(events).encode()))
    shown = Timeline(path)._trace
    places = {s.name: (shown.rows[s.row]["name"], s.lane, s.begin, s.length) for s in shown.segments}
    assert places == {
        "outer": ("process worker", 0, 0, 10),
        "inner": ("process worker", 1, 1, 2),
        "alone": ("process 7", 0, 4, 4),
    }
    assert shown.rows[0]["compute"] == -1  # who knows what it did between


def test_broken_events_are_left_out_and_counted():
    trace = ours()
    trace["traceEvents"] += [3, {}, {"ph": "X"}, event(0, "x", math.nan, 1), event(0, "x", 1, -1), event(0, "x", "soon", 1)]
    shown = Timeline(trace)._trace
    assert len(shown.segments) == 7
    assert shown.notes == ["6 events could not be read"]


@pytest.mark.parametrize("empty", [{"traceEvents": []}, [], {"traceEvents": [meta(0, "process_name", name="rank 0")]}], ids=str)
def test_an_empty_trace_is_shown_as_empty(empty):
    timeline = Timeline(empty)
    assert timeline._trace.notes == ["nothing was recorded"]
    assert "nothing was recorded" in timeline.snapshot()


@pytest.mark.parametrize("content", ["", "hello", "{", "[", '{"traceEvents": 3}', "{}", "3", "null", "\x00\xff", "[[[["])
def test_what_is_no_trace_is_refused_by_name(tmp_path, content):
    path = tmp_path / "no trace"
    path.write_bytes(content.encode("latin1"))
    with pytest.raises(ArgumentError, match="no trace"):
        Timeline(path)


def test_bad_arguments_are_refused(tmp_path):
    with pytest.raises(ArgumentError, match=r"cannot be read \(No such file.*rank 0 has written it"):
        Timeline(tmp_path / "nowhere.json")
    with pytest.raises(ArgumentError, match=r"cannot be read \(Is a directory"):
        Timeline(tmp_path)
    with pytest.raises(ArgumentError, match=r"trace=3: a file that ifog\.timeline"):
        Timeline(3)
    for options in ({"begin": -1}, {"begin": math.nan}, {"end": "x"}, {"begin": 2.0, "end": 1.0}):
        with pytest.raises(ArgumentError, match="seconds since the trace began"):
            Timeline(ours(), **options)


def test_the_picture_shows_rows_names_and_shares():
    drawn = ElementTree.fromstring(Timeline(ours()).snapshot())
    text = " ".join(drawn.itertext())
    assert all(word in text for word in ("rank 0", "rank 1", "compute", "wait", "send", "100 µs"))
    waiting = [
        e for e in drawn.iter("{http://www.w3.org/2000/svg}rect") if e.get("fill") == "#E69F00" and e.get("width") != "11"
    ]
    whole = 660 - 108 - 4
    assert sum(float(e.get("width")) for e in waiting) == pytest.approx(0.2 * whole, abs=3)


def test_pixels_hold_as_much_as_lies_in_them():
    draw = np.random.default_rng(0)
    for _ in range(20):
        spans = np.sort(draw.uniform(-3, 23, 12)).reshape(-1, 2)
        fine = (np.arange(20_000) + 0.5) / 1000
        inside = ((fine[:, None] >= spans[:, 0]) & (fine[:, None] < spans[:, 1])).any(axis=1)
        assert np.abs(_covered(spans, 20) - inside.reshape(20, -1).mean(axis=1)).max() < 2e-3
