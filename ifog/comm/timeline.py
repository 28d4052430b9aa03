"""What every rank did, and when: calls, waits, messages and marked spans of all ranks in one file.

It is for `ifog.widgets.Timeline`, for Perfetto and for chrome://tracing.

While a timeline is on, each rank notes its events in a ring. At its end each writes them down as text, on the clock of rank 0,
and rank 0 puts the texts together. While none is on, a call asks ``is None`` once, and that is all.

The processes of a machine read the same clock. Between machines the clocks are compared through barriers: nobody leaves one
before all have entered it, so that each bounds the difference from both sides, and the closest bounds count. They are taken
when the timeline begins and when it ends; in between the clocks are assumed to drift evenly.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import json
import os
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

import numpy as np

from ..errors import ArgumentError
from . import api, collectives, world
from .operation import Call, Source, call, perform
from .world import Program, World

T = TypeVar("T")

_clock = time.monotonic_ns
_KEEP = 250_000
_BARRIERS = 50
_RECENT = 1000
_GLANCE = 20_000
"""A wait of fewer nanoseconds is no event of its own."""
_CALLS, _SPANS = 10_000, 20_000
"""The threads of a rank's process, numbered from here on: 0 is the kernel's, and viewers want no number twice."""


# ------------------------------------------------------------------------------------------------- what the user calls
@contextlib.contextmanager
def timeline(path: str | os.PathLike[str], *, keep: int = _KEEP) -> Iterator[None]:
    """Record what happens in the ``with`` block: `start_timeline`, then `stop_timeline`.

    If an error leaves the block, the ranks no longer act together: each writes a file of its own, ``trace.rank3.json``.
    """
    recorder = _start(path, keep)
    try:
        yield
    except BaseException as error:
        error.add_note(f"The timeline of rank {recorder.world.rank} until then: {recorder.stop_alone()}")
        raise
    stop_timeline()


def start_timeline(path: str | os.PathLike[str], *, keep: int = _KEEP) -> None:
    """From now on, record what every rank does, until `stop_timeline` writes it to a file at rank 0: a collective.

    Of each rank the last ``keep`` events are kept, in about 200 bytes each; how many were dropped stands in the file. A failure
    ends nothing: the timeline goes on in the next epoch. Ranks that end without stopping it leave a file each.
    """
    _start(path, keep)


def stop_timeline() -> None:
    """Write what has been recorded since `start_timeline`: a collective. When it returns, the file is there."""
    here = api._here()
    with api._refusing(here):
        if here.timeline is None:
            raise ArgumentError("no timeline is on: ifog.start_timeline('trace.json') begins one")
    recorder: Recorder = here.timeline
    here.timeline = None
    try:
        recorder.stop()
    except BaseException:
        here.timeline = recorder  # so nothing is lost: it goes on, and may be stopped again
        raise


def span(name: str) -> AbstractContextManager[None]:
    """Mark a ``with`` block in the timeline, if one is on: ``with ifog.span("gradient"): …``."""
    here = world.existing()
    return _NOTHING if here is None or here.timeline is None else here.timeline.span(name)


_NOTHING = contextlib.nullcontext()


def recent(follower: str, most: int = _RECENT) -> dict[str, Any] | None:
    """What this rank has noted since ``follower`` asked last, of that the newest: for who watches a timeline that is on.

    It is called in the kernel's control thread, while a cell runs, and takes about 2 µs an event.
    """
    here = world.existing()
    recorder = None if here is None else here.timeline
    if not isinstance(recorder, Recorder):
        return None
    last = recorder.followed.get(follower)
    newest = tuple(itertools.islice(reversed(recorder.events), most))  # in one go: the cell goes on noting
    known = next((i for i, event in enumerate(newest) if event is last), None)
    if newest:
        recorder.followed[follower] = newest[0]
    return {
        "path": str(recorder.path),
        "missed": known is None and last is not None,
        "events": _in_chromes_words(recorder, newest[:known][::-1], recorder.began),
    }


def _start(path: str | os.PathLike[str], keep: int) -> Recorder:
    here = api._here()
    with api._refusing(here):
        if here.timeline is not None:
            raise ArgumentError(f"a timeline is on already, for {here.timeline.path}: ifog.stop_timeline() writes it")
        if isinstance(keep, bool) or not isinstance(keep, int) or keep < 1:
            raise ArgumentError(f"keep={keep!r}: a number of events, at least 1")
        file = Path(path).absolute()
    api._agree(here, "start_timeline", str(path), f"({str(path)!r})")
    problem = api.broadcast_object(_not_writable(file) if here.rank == 0 else "")
    if problem:
        raise ArgumentError(problem)
    recorder = here.timeline = Recorder(here, file, keep)
    return recorder


def _not_writable(file: Path) -> str:
    """What is wrong with it; found now, and not when all the work is done."""
    if file.is_dir() or not os.access(file if file.exists() else file.parent, os.W_OK):
        return f"rank 0 cannot write {file}: it is a folder, or its folder is missing or not yours"
    return ""


# ------------------------------------------------------------------------------------------------------------- clocks
class Comparison(NamedTuple):
    """How this rank's clock and that of rank 0 differ, in nanoseconds."""

    at: int
    """The time here, when they were compared."""
    ahead: int
    """How far the other clock is ahead of ours."""
    error: int
    """By how much that may be wrong, at the most."""
    origin: int
    """The time there."""


def _compare_clocks(here: World) -> Comparison:
    mine = []
    for _ in range(_BARRIERS if here.machine_count > 1 else 1):
        entered = _clock()
        api.barrier()
        mine.append((entered, _clock()))
    times = np.array(api.allgather_object(mine))  # rank, barrier, entered or left
    at, origin = mine[-1][1], int(times[0, -1, 1])
    theirs, ours = times[here.machine_ranks[here.machine_of[0]]], times[here.locals]
    if here.is_local[0]:
        return Comparison(at, 0, 0, origin)
    low = int((theirs[..., 0].max(0) - ours[..., 1].min(0)).max())  # they had entered when we left
    high = int((theirs[..., 1].min(0) - ours[..., 0].max(0)).min())  # and we when they left
    return Comparison(at, (low + high) // 2, (high - low + 1) // 2, origin)


# ---------------------------------------------------------------------------------------------------------- recording
class Listener:
    """Whoever stands in `World.timeline` is told of all calls of its rank, and drives them. This one only listens."""

    def __init__(self, here: World) -> None:
        self.world = here

    def run(self, call: Call, program: Program[T], verb: str = "") -> T:  # noqa: ARG002
        """A call that blocks, with ``verb`` the waiting for one that has begun."""
        return self.world.run(program)

    def under_way(self, call: Call, program: Program[T]) -> Program[T]:  # noqa: ARG002
        """A call for which the user waits later."""
        return program

    def lent(self, key: int, readers: Sequence[int]) -> None:
        """Bytes of this rank are there for others."""

    def found(self, key: int, source: Source) -> None:
        """Bytes of another one have come."""

    def span(self, name: str) -> AbstractContextManager[None]:  # noqa: ARG002
        """A span that the user marks."""
        return _NOTHING


class Recorder(Listener):
    """The events of one rank: ``(phase, thread, began, ended, what, more)``, and its messages likewise."""

    def __init__(self, here: World, path: Path, keep: int) -> None:
        super().__init__(here)
        self.path = path
        self.events: deque[tuple[str, int, int, int, Any, Any]] = deque(maxlen=keep)
        self.count = 0
        self.numbers = itertools.count()
        self.followed: dict[str, tuple[Any, ...]] = {}
        """The last event that each follower has heard of."""
        self.began = _compare_clocks(here)
        atexit.register(self.stop_alone)

    def note(self, *event: Any) -> None:
        """Note an event; it may push the oldest one out."""
        self.count += 1
        self.events.append(event)

    def lent(self, key: int, readers: Sequence[int]) -> None:
        """Note that this rank's bytes are there for others to read: a message to each of them has begun."""
        if readers:
            self.note("s", _CALLS, _clock(), 0, key, readers)

    def found(self, key: int, source: Source) -> None:
        """Note that this rank has what another has lent: the message has come."""
        self.note("f", _CALLS, _clock(), 0, key, source)

    def run(self, call: Call, program: Program[T], verb: str = "") -> T:
        """Drive a program to its end, as `World.run` does, and note for whom it waited."""
        waits: list[list[int]] = []
        failed = None
        began = _clock()
        try:
            return self.world.run(_watched(program, waits))
        except BaseException as error:
            failed = type(error).__name__
            raise
        finally:
            ended = _clock()
            if waits:
                waits[-1][2] = waits[-1][2] or ended  # it failed while it waited
            self.note("X", _CALLS, began, ended, call, (verb, sum([until - since for _, since, until in waits]), failed))
            for peer, since, until in waits:
                if until - since > _GLANCE:
                    self.note("X", _CALLS, since, until, peer, None)

    def under_way(self, call: Call, program: Program[T]) -> Program[T]:
        """The same program, which notes when it begins and ends: for a call that the user waits for later."""
        number = next(self.numbers)
        self.note("b", _CALLS, _clock(), 0, call, number)
        try:
            return (yield from program)
        finally:
            self.note("e", _CALLS, _clock(), 0, call, number)

    @contextlib.contextmanager
    def span(self, name: str) -> Iterator[None]:
        """Note a span that the user marks."""
        began = _clock()
        try:
            yield
        finally:
            self.note("X", _SPANS, began, _clock(), str(name), None)

    def stop(self) -> None:
        """Together: one file, written by rank 0."""
        here = self.world
        mine = _as_text(self, _compare_clocks(here))
        signature = call("stop_timeline", None, ())
        gathering = collectives.objects(here, signature, mine, range(here.size) if here.rank == 0 else (), [0])
        parts = perform(here, signature, gathering)
        problem = None
        if here.rank == 0:
            try:
                _write(self.path, parts)
            except OSError as error:
                problem = error
        problem = api.broadcast_object(problem)
        if problem is not None:
            raise problem
        atexit.unregister(self.stop_alone)

    def stop_alone(self) -> Path:
        """A file for this rank only; in the folder for temporary files, if that of rank 0 does not exist here."""
        atexit.unregister(self.stop_alone)
        self.world.timeline = None
        folder = self.path.parent if self.path.parent.is_dir() else Path(tempfile.gettempdir())
        path = folder / f"{self.path.stem}.rank{self.world.rank}{self.path.suffix}"
        _write(path, [_as_text(self, self.began)])
        return path


def _watched(program: Program[T], waits: list[list[int]]) -> Program[T]:
    """The same program, which lists its waits: for whom, since when, until when."""
    last = [-1, 0, 0]
    try:
        while True:
            peer = next(program)
            now = _clock()
            if peer != last[0] or now - last[2] > _GLANCE:
                last = [peer, now, 0]
                waits.append(last)
            last[2] = 0  # no end, if it fails now
            yield peer
            last[2] = _clock()
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        program.close()


# ------------------------------------------------------------------------------------------------------------ writing
def _as_text(recorder: Recorder, ended: Comparison) -> tuple[dict[str, Any], str]:
    """What there is to know about a rank, and its events in Chrome's trace format, on the clock of rank 0."""
    here, began = recorder.world, recorder.began
    dropped = recorder.count - len(recorder.events)
    about = {
        "rank": here.rank,
        "machine": here.machine_rank,
        "clock_offset_us": began.ahead / 1000,
        "clock_error_us": max(began.error, ended.error) / 1000,
        "events": sum(phase not in "sf" for phase, *_ in recorder.events),
        "dropped": dropped,
    }
    labels = [f"machine {here.machine_rank}"] * (here.machine_count > 1) + [f"{dropped} older events dropped"] * (dropped > 0)
    names = [
        ("process_name", _CALLS, {"name": f"rank {here.rank}"}),
        ("process_labels", _CALLS, {"labels": ", ".join(labels)}),
        ("process_sort_index", _CALLS, {"sort_index": here.rank}),
        ("thread_name", _CALLS, {"name": "calls"}),
        ("thread_name", _SPANS, {"name": "spans"}),
    ]
    events = list(recorder.events)
    lanes = _lanes([(since, -until, i) for i, (_, thread, since, until, *_) in enumerate(events) if thread == _SPANS])
    names += [("thread_name", _SPANS * lane, {"name": f"spans {lane}"}) for lane in sorted(set(lanes.values()) - {1})]
    said = [_place(here.rank, "M", thread) | {"name": name, "args": args} for name, thread, args in names]
    said += _in_chromes_words(recorder, events, ended, lanes)
    return about, ",\n".join(map(json.dumps, said))


def _place(rank: int, phase: str, thread: int) -> dict[str, Any]:
    return {"ph": phase, "pid": _CALLS + rank, "tid": thread + rank}


def _in_chromes_words(
    recorder: Recorder, events: Sequence[tuple[Any, ...]], ended: Comparison, lanes: Mapping[int, int] = MappingProxyType({})
) -> list[dict[str, Any]]:
    """Events in Chrome's trace format, on the clock of rank 0."""
    rank, began = recorder.world.rank, recorder.began
    drift = (ended.ahead - began.ahead) / max(1, ended.at - began.at)

    def aligned(time: int) -> int:
        return time + began.ahead - began.origin + round(drift * (time - began.at))

    said = []
    for i, (phase, thread, since, until, what, more) in enumerate(events):
        event = _place(rank, phase, thread * lanes.get(i, 1)) | {"ts": aligned(since) / 1000}
        if phase in "sf":
            said += [event | message for message in _messages(rank, phase, what, more)]
            continue
        if phase == "X":
            event["dur"] = (aligned(until) - aligned(since)) / 1000
        else:
            event["id"] = f"{rank}.{more}"
        said.append(event | _described(phase, what, more))
    return said


def _lanes(spans: list[tuple[int, int, int]]) -> dict[int, int]:
    """The lane of each span, from 1: in one lane a span lies within another or apart, because viewers want it so."""
    found = {}
    open_until: list[list[int]] = []
    for since, until, i in sorted(spans):
        for ends in open_until:
            while ends and ends[-1] <= since:
                ends.pop()
        lane = next((k for k, ends in enumerate(open_until) if not ends or -until <= ends[-1]), len(open_until))
        if lane == len(open_until):
            open_until.append([])
        open_until[lane].append(-until)
        found[i] = lane + 1
    return found


def _messages(rank: int, phase: str, key: int, more: Any) -> list[dict[str, Any]]:
    """The ends of messages, here where they begin or where one has come; both ends have the same id."""
    same = {"cat": "message", "name": "message"}
    if phase == "s":
        return [same | {"id": f"{key:x}.{rank}.{reader}"} for reader in more]
    return [same | {"id": f"{key:x}.{more.rank}.{rank}", "bp": "e", "args": {"from": more.rank, "bytes": more.nbytes}}]


def _described(phase: str, what: Any, more: Any) -> dict[str, Any]:
    """A call, a wait for a rank or, below zero, for its bytes, or a span."""
    if isinstance(what, str):
        return {"cat": "span", "name": what}
    if isinstance(what, int):
        return {"cat": "wait", "name": f"waiting for rank {what}" if what >= 0 else f"bytes from rank {~what}"}
    text = what.text.decode()
    name, args = text.partition(" of ")[0], {"call": text} | ({"bytes": what.nbytes} if what.nbytes else {})
    if phase != "X":
        return {"cat": "nonblocking", "name": name} | ({"args": args} if phase == "b" else {})
    verb, waited, failed = more
    args |= {"waiting_us": waited / 1000} | ({"error": failed} if failed else {})
    return {"cat": "call", "name": verb + name, "args": args}


def _write(path: Path, parts: list[tuple[dict[str, Any], str]]) -> None:
    with path.open("w") as file:
        file.write('{"traceEvents": [\n')
        for i, (_, text) in enumerate(parts):
            file.write(",\n" * (i > 0) + text)
        about = json.dumps([about for about, _ in parts])
        file.write(f'\n], "displayTimeUnit": "ns", "otherData": {{"ranks": {about}}}}}\n')
