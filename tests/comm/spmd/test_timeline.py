"""The timeline of all ranks: what is in it, on whose clock, and that a failure does not lose it."""

import contextlib
import itertools
import json
import shutil
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import pretended
import pytest
import torch
from spmd_claims import alone, me, n, refused

import ifog
from ifog.comm import timeline as room
from ifog.comm import world

machines = ifog.machine_size()


@pytest.fixture
def path():
    """The same file for all ranks; afterwards no timeline is on."""
    folder = Path(ifog.broadcast_object(tempfile.mkdtemp() if me == 0 else ""))
    yield folder / "trace.json"
    world.current().timeline = None
    if me == 0:
        shutil.rmtree(folder)


class Trace:
    """What a file says; whatever is not as Perfetto wants it is an error."""

    def __init__(self, path, ranks=range(n)):
        trace = json.loads(path.read_text())
        self.about = {about["rank"]: about for about in trace["otherData"]["ranks"]}
        self.events = [event for event in trace["traceEvents"] if event["ph"] not in "Msf"]
        self.messages = [event for event in trace["traceEvents"] if event["ph"] in "sf"]
        names = [event for event in trace["traceEvents"] if event["ph"] == "M"]
        rank_of = {e["pid"]: int(e["args"]["name"].removeprefix("rank ")) for e in names if e["name"] == "process_name"}
        assert list(rank_of.values()) == list(self.about) == list(ranks)
        assert 0 not in rank_of  # which Perfetto takes for the kernel
        thread_of = {e["tid"]: (e["pid"], e["args"]["name"]) for e in names if e["name"] == "thread_name"}
        assert set(thread_of.values()) >= set(itertools.product(rank_of, ("calls", "spans")))
        threads = defaultdict(list)
        for event in self.events:
            assert event["ph"] in "Xbe"
            pid, thread = thread_of[event["tid"]]
            assert (pid, thread.split()[0]) == (event["pid"], "spans" if event["cat"] == "span" else "calls")
            event["pid"] = rank_of[event["pid"]]
            if event["ph"] == "X":
                threads[event["tid"]].append((event["ts"], -event["dur"], event["ts"] + event["dur"]))
            else:
                assert event["id"].startswith(f"{event['pid']}.")  # Perfetto wants it only once in all processes
                assert {"name", "ts"} <= event.keys()
        for message in self.messages:
            message["pid"] = rank_of[message["pid"]]
        for slices in threads.values():  # one inside the other, or one after the other
            stack = []
            for begin, _, end in sorted(slices):
                while stack and stack[-1] <= begin + 1e-6:
                    stack.pop()
                assert not stack or end <= stack[-1] + 1e-6
                stack.append(end)

    def of(self, rank, name, phase="X"):
        return [e for e in self.events if (e["pid"], e["name"], e["ph"]) == (rank, name, phase)]


def test_all_calls_and_spans_of_all_ranks_are_in_one_file(path):
    with ifog.timeline(path):
        for _ in range(3):
            with ifog.span("gradient"):
                x = torch.ones(1000)
            ifog.neighbor_allreduce(x, name="x")
        ifog.allreduce([x, x.double()])
        ifog.allgather(x)
    assert path.exists()  # on all ranks: nobody is through before it is written
    trace = Trace(path)
    for rank in range(n):
        assert len(trace.of(rank, "gradient")) == 3
        (call, _, _) = trace.of(rank, "neighbor_allreduce('x')")
        assert call["args"]["call"] == f"neighbor_allreduce('x') of float32 [1000] on exponential({n})"
        assert call["args"]["bytes"] == 4000
        assert 0 <= call["args"]["waiting_us"] <= call["dur"] + 1e-6
        assert trace.of(rank, "allreduce")[0]["args"]["bytes"] == 12000
        assert "bytes" not in trace.of(rank, "allgather")[0]["args"]  # ranks may bring different lengths
        assert trace.about[rank] | {"events": 0} == trace.about[0] | {"events": 0, "rank": rank} or machines > 1
        events = [e for e in trace.events if e["pid"] == rank]
        assert trace.about[rank]["events"] == len(events)
        gradients = [e["ts"] + e["dur"] for e in trace.of(rank, "gradient")]
        calls = [e["ts"] for e in trace.of(rank, "neighbor_allreduce('x')")]
        assert all(a <= b + 1e-6 for a, b in zip(gradients, calls, strict=True))


@pytest.mark.skipif(bool(pretended.KIND), reason="a tensor on a device is described, and read: several short messages")
def test_every_message_begins_where_it_was_lent_and_ends_where_it_was_found(path):
    count = 3
    with ifog.timeline(path):
        for _ in range(count):
            ifog.neighbor_allreduce(torch.ones(50_000), name="x")
    trace = Trace(path)
    sources = ifog.allgather_object([j for j in range(n) if ifog.topology().W[me, j] and j != me])
    begun = {message["id"]: message for message in trace.messages if message["ph"] == "s"}
    ended = {message["id"]: message for message in trace.messages if message["ph"] == "f"}
    assert len(begun) + len(ended) == len(trace.messages)
    assert begun.keys() == ended.keys()
    edges = sorted((begun[key]["pid"], ended[key]["pid"]) for key in ended)
    assert edges == sorted((j, i) for i, found in enumerate(sources) for j in found for _ in range(count))
    error = sum(2 * about["clock_error_us"] for about in trace.about.values())
    for key, end in ended.items():
        assert end["args"] == {"from": begun[key]["pid"], "bytes": 200_000}
        assert begun[key]["ts"] <= end["ts"] + error
        for message in (begun[key], end):  # Perfetto binds an arrow to the slice in which its end lies
            calls = trace.of(message["pid"], "neighbor_allreduce('x')")
            assert any(call["ts"] <= message["ts"] <= call["ts"] + call["dur"] for call in calls)


def test_spans_that_overlap_get_a_lane_each(path):
    with ifog.timeline(path):
        for _ in range(2):
            spans = [contextlib.ExitStack() for _ in range(3)]
            for k, span in enumerate(spans):
                span.enter_context(ifog.span(f"span {k}"))
                with ifog.span("inside"):
                    pass
            for span in spans:  # the first one ends first
                span.close()
    trace = Trace(path)
    lanes = [{e["tid"] for e in trace.of(me, f"span {k}")} for k in range(3)]
    assert [len(lane) for lane in lanes] == [1, 1, 1]
    assert len(set.union(*lanes)) == 3


def test_gradients_travel_in_the_timeline_too(path):
    with ifog.timeline(path):
        w = torch.ones(5, requires_grad=True)
        ifog.neighbor_allreduce(w).sum().backward()
        ifog.allreduce(w).sum().backward()
    trace = Trace(path)
    for name in ("neighbor_allreduce", "allreduce"):
        assert len(trace.of(me, name)) == len(trace.of(me, f"{name}.backward")) == 1


def test_nonblocking_calls_last_from_their_start_to_their_end(path):
    with ifog.timeline(path):
        first = ifog.allreduce_nonblocking(torch.ones(10), name="first")
        second = ifog.allreduce_nonblocking(torch.ones(10), name="second")
        ifog.barrier()
        second.wait()
        first.wait()
    trace = Trace(path)
    for rank in range(n):
        for name in ("allreduce('first')", "allreduce('second')"):
            (begin,), (end,) = trace.of(rank, name, "b"), trace.of(rank, name, "e")
            assert begin["id"] == end["id"]
            assert begin["ts"] <= end["ts"]
            assert begin["args"]["bytes"] == 40


@alone
def test_a_call_under_way_when_the_timeline_ends_has_no_end_in_it(path):
    left = (me - 1) % n
    with ifog.timeline(path):
        handle = ifog.recv_nonblocking(left)
    ifog.send("late", (me + 1) % n)
    assert handle.wait() == "late"
    trace = Trace(path)
    assert len(trace.of(me, f"recv from rank {left}", "b")) == 1
    assert not trace.of(me, f"recv from rank {left}", "e")


@alone
def test_a_late_rank_is_the_one_that_the_others_wait_for(path):
    with ifog.timeline(path):
        ifog.barrier()
        if me == n - 1:
            with ifog.span("late"):
                time.sleep(0.1)
        ifog.barrier()
    trace = Trace(path)
    (late,) = trace.of(n - 1, "late")
    for rank in range(n - 1):
        call = trace.of(rank, "barrier")[1]
        waits = [
            wait
            for wait in trace.events
            if wait.get("cat") == "wait" and wait["pid"] == rank and call["ts"] <= wait["ts"] <= call["ts"] + call["dur"]
        ]
        longest = max(waits, key=lambda wait: wait["dur"])
        assert longest["name"] == f"waiting for rank {n - 1}"
        assert call["args"]["waiting_us"] > 0.8 * call["dur"]
        error = trace.about[rank]["clock_error_us"] + trace.about[n - 1]["clock_error_us"]
        assert call["ts"] + call["dur"] >= late["ts"] + late["dur"] - error


def assert_causal(trace):
    """Nobody left a barrier before all had entered it, on whose clock ever."""
    barriers = [trace.of(rank, "barrier") for rank in range(n)]
    errors = [about["clock_error_us"] for _, about in sorted(trace.about.items())]
    for calls in zip(*barriers, strict=True):
        for (a, first), (b, second) in itertools.permutations(enumerate(calls), 2):
            assert second["ts"] + second["dur"] >= first["ts"] - errors[a] - errors[b]


def test_no_effect_comes_before_its_cause_on_the_common_clock(path):
    with ifog.timeline(path):
        for _ in range(20):
            ifog.barrier()
    trace = Trace(path)
    assert_causal(trace)
    for rank, about in trace.about.items():
        # the machines of this test are one, so the truth is known: their clocks do not differ
        assert abs(about["clock_offset_us"]) <= about["clock_error_us"]
        assert (about["clock_error_us"] == 0) == (about["machine"] == 0)
        assert about["clock_error_us"] < 20_000, rank


def test_clocks_that_are_seconds_apart_are_brought_together(path, monkeypatch):
    monkeypatch.setattr(room, "_clock", lambda: time.monotonic_ns() + 3_000_000_000 * ifog.machine_rank())
    with ifog.timeline(path):
        for _ in range(10):
            time.sleep(0.01)
            ifog.barrier()
    trace = Trace(path)
    assert_causal(trace)
    for about in trace.about.values():
        assert abs(about["clock_offset_us"] + 3_000_000 * about["machine"]) <= about["clock_error_us"]
    times = [e["ts"] for e in trace.events]
    assert max(times) - min(times) < 2e6  # microseconds: the seconds between the clocks are gone


def test_a_failure_in_the_block_leaves_a_file_of_each_rank(path):
    def trouble():
        with ifog.timeline(path), ifog.span("trouble"):
            ifog.barrier()
            if me == 0:
                raise ValueError("boom")
            ifog.barrier()

    with pytest.raises((ValueError, ifog.PeerFailed)) as caught:
        trouble()
    own = path.with_name(f"trace.rank{me}.json")
    assert caught.value.__notes__ == [f"The timeline of rank {me} until then: {own}"]
    if me == 0:
        world.current().fail(caught.value)
    ifog.recover()
    trace = Trace(own, [me])
    assert len(trace.of(me, "trouble")) == 1
    errors = [call["args"].get("error") for call in trace.of(me, "barrier")]
    # who comes late hears of it in the first call, or does not begin the second
    assert errors in ([[None]] if me == 0 else [[None, "PeerFailed"], ["PeerFailed"], [None]])
    assert not path.exists()
    with ifog.timeline(path):  # corrected, and run again
        ifog.barrier()
    assert len(Trace(path).of(me, "barrier")) == 1


@alone
def test_a_timeline_goes_on_after_a_failure(path):
    def different_calls():
        ifog.barrier()  # who is late hears of the failure already here
        ifog.allreduce(torch.ones(2 + (me == 0)))

    ifog.start_timeline(path)
    with pytest.raises(ifog.Mismatch):
        different_calls()
    with pytest.raises(ifog.CommError):
        ifog.stop_timeline()  # there is no epoch in which the ranks could act together
    ifog.recover()
    ifog.barrier()
    ifog.stop_timeline()
    trace = Trace(path)
    for rank in range(n):
        assert len(trace.of(rank, "barrier")) == 2
    failed = [e for e in trace.events if "error" in e.get("args", {})]
    assert {e["args"]["error"] for e in failed} == {"Mismatch"}
    assert len({e["pid"] for e in failed}) == len(failed)  # and none on a rank that heard of it before it began its call


def test_only_the_last_events_are_kept_and_the_file_says_how_many_went(path):
    with ifog.timeline(path, keep=10):
        for k in range(25):
            with ifog.span(f"step {k}"):
                pass
    trace = Trace(path)
    for rank in range(n):
        assert [e["name"] for e in trace.events if e["pid"] == rank] == [f"step {k}" for k in range(15, 25)]
        assert trace.about[rank]["dropped"] == 15
    labels = [e for e in json.loads(path.read_text())["traceEvents"] if e["name"] == "process_labels"]
    assert all("15 older events dropped" in e["args"]["labels"] for e in labels)


def test_who_follows_a_timeline_hears_of_every_event_once(path):
    def names():
        return [event["name"] for event in room.recent("me")["events"]]

    assert room.recent("me") is None
    ifog.start_timeline(path)
    heard = [names()]
    for k in range(3):
        with ifog.span(f"step {k}"):
            pass
        heard.append(names())
    assert heard == [[], ["step 0"], ["step 1"], ["step 2"]]
    assert names() == []
    assert [event["name"] for event in room.recent("another", most=2)["events"]] == ["step 1", "step 2"]
    for k in range(3):
        with ifog.span(f"more {k}"):
            pass
    said = room.recent("another", most=2)
    assert ([event["name"] for event in said["events"]], said["missed"], said["path"]) == (
        ["more 1", "more 2"],
        True,
        str(path),
    )
    assert not room.recent("me")["missed"]
    ifog.barrier()
    live = {event["ts"] for event in room.recent("me")["events"]}
    ifog.stop_timeline()
    assert live <= {event["ts"] for event in Trace(path).events + Trace(path).messages} or machines > 1  # clocks drift
    assert room.recent("me") is None


def test_it_can_be_switched_on_and_off_in_a_session(path):
    for k in range(3):
        ifog.barrier()
        ifog.start_timeline(path)
        for _ in range(k):
            ifog.barrier()
        ifog.stop_timeline()
        assert len(Trace(path).of(me, "barrier")) == k
    assert world.current().timeline is None
    assert isinstance(ifog.span("nothing"), contextlib.nullcontext)


def test_what_cannot_be_is_refused_before_the_work_is_done(path):
    with refused(ifog.ArgumentError, "no timeline is on", "ifog.start_timeline('trace.json')"):
        ifog.stop_timeline()
    with refused(ifog.ArgumentError, "rank 0 cannot write", "missing"):
        ifog.start_timeline(path.parent / "nowhere" / "trace.json")
    with refused(ifog.ArgumentError, "rank 0 cannot write", "folder"):
        ifog.start_timeline(path.parent)
    with refused(ifog.ArgumentError, "keep=0", "at least 1"):
        ifog.start_timeline(path, keep=0)
    ifog.start_timeline(path)
    with refused(ifog.ArgumentError, "on already", str(path), "ifog.stop_timeline()"):
        ifog.start_timeline(path)
    ifog.stop_timeline()


@alone
def test_different_files_are_a_mismatch(path):
    with pytest.raises(ifog.Mismatch, match="start_timeline"):
        ifog.start_timeline(path.with_name(f"{me}.json"))
    ifog.recover()


def test_a_file_that_cannot_be_written_in_the_end_loses_nothing(path):
    folder = path.with_name("folder")
    if me == 0:
        folder.mkdir()
    ifog.barrier()
    ifog.start_timeline(folder / "trace.json")
    ifog.barrier()
    if me == 0:
        folder.rmdir()
    with pytest.raises(FileNotFoundError):
        ifog.stop_timeline()
    if me == 0:
        folder.mkdir()
    ifog.stop_timeline()
    assert len(Trace(folder / "trace.json").of(me, "barrier")) == 1
