"""What a trace file says, as rows of segments and the messages between them.

The files are those of `ifog.timeline`, in Chrome's trace format; those of other programs in this format are read too. What is
broken is left out and counted, so that a file that was cut off still shows what there is.
"""

from __future__ import annotations

import gzip
import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ifog.errors import ArgumentError

from . import messages

KINDS = ("wait", "copy", "send", "span", "under way", "other")
WAIT, COPY, SEND, SPAN, UNDER_WAY, OTHER = range(len(KINDS))
FIRST = 10_000
"""The process number of rank 0 in our files."""
MOST = 120_000
"""Segments that are drawn: a page is sent 16 bytes of each."""
ARROWS = 60_000
"""Messages that are drawn, of 28 bytes."""
_SENDS = re.compile(r"(?:\w+: )?(?:send|put|accumulate)\b")
_AWAITED = re.compile(r"(?:waiting for|bytes from) rank (\d+)")
_SPACE = re.compile(r"[\s,]*")


@dataclass
class Segment:
    """Something that took time, in microseconds since the trace began."""

    row: int
    begin: float
    length: float
    kind: int
    name: str
    call: str = ""
    nbytes: float = 0.0
    peer: int = -1
    error: str = ""
    lane: int = 0
    thread: Any = 0

    @property
    def end(self) -> float:
        """When it was over."""
        return self.begin + self.length


@dataclass
class Trace:
    """All that is drawn of a trace."""

    name: str
    rows: list[messages.Row] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)
    arrows: list[tuple[float, float, int, int, float]] = field(default_factory=list)
    """Messages: when lent, when found, from which row to which, and how many bytes."""
    end: float = 0.0
    notes: list[str] = field(default_factory=list)
    content: Mapping[str, Any] = field(default_factory=lambda: {"traceEvents": []})
    """As it was read."""

    def message(self, *, live: bool = False) -> messages.Trace:
        """For a page: a table of what segments are, and of each when it was."""
        table: dict[tuple[Any, ...], int] = {}
        what = np.zeros(len(self.segments), np.uint32)
        for k, s in enumerate(self.segments):
            what[k] = table.setdefault((s.row, s.lane, s.kind, s.name, s.call, s.nbytes, s.peer, s.error), len(table))
        keys = ("row", "lane", "kind", "name", "call", "bytes", "peer", "error")
        arrows = np.array(self.arrows, np.float64).reshape(-1, 5)
        return messages.Trace(
            title=self.name,
            note="; ".join(self.notes),
            end=self.end,
            live=live,
            kinds=list(KINDS),
            rows=self.rows,
            whats=[dict(zip(keys, each, strict=True)) for each in table],  # type: ignore[misc]
            begin=np.array([s.begin for s in self.segments], np.float64),
            length=np.array([s.length for s in self.segments], np.float32),
            what=what,
            lent=arrows[:, 0],
            found=arrows[:, 1],
            ends=arrows[:, 2:4].astype(np.uint32).ravel(),
            sizes=arrows[:, 4].astype(np.float32),
        )

    def layer(self, row: int, *kinds: int) -> NDArray[np.float64]:
        """Begin and end of a row's segments of some kinds."""
        found = [(s.begin, s.end) for s in self.segments if s.row == row and s.kind in kinds]
        return np.array(found, np.float64).reshape(-1, 2)


# ------------------------------------------------------------------------------------------------------------- reading
def read(source: Any) -> tuple[str, dict[str, Any], list[str]]:
    """A trace from a file or an object: its name, its content, and what is amiss with it."""
    if isinstance(source, Mapping):
        return "trace", _checked(dict(source), "trace"), []
    if isinstance(source, list):
        return "trace", {"traceEvents": source}, []
    try:
        path = Path(source)
        alone = [] if path.exists() else sorted(path.parent.glob(f"{path.stem}.rank*{path.suffix}"))
        if alone:
            return _together(path, alone)
        data = path.read_bytes()
    except TypeError:
        raise ArgumentError(
            f"trace={source!r:.60}: a file that ifog.timeline('trace.json') has written, or what json.load makes of one"
        ) from None
    except OSError as error:
        raise ArgumentError(
            f"trace={str(source)!r} cannot be read ({error.strerror}): the file stands where rank 0 has written it, at the end "
            "of `with ifog.timeline('trace.json'): …`"
        ) from None
    try:
        text = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode()
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise ArgumentError(f"trace={str(source)!r} is no trace in JSON: {error}") from None
    try:
        content = json.loads(text)
    except ValueError:
        events = list(_saved(text))
        if not events:
            raise ArgumentError(f"trace={str(source)!r} is no trace: it begins with {text[:30]!r}") from None
        return path.name, {"traceEvents": events}, ["the file ends in the middle of a line: what stands before is shown"]
    return path.name, _checked({"traceEvents": content} if isinstance(content, list) else content, str(source)), []


def _together(path: Path, alone: Sequence[Path]) -> tuple[str, dict[str, Any], list[str]]:
    """The files of ranks that no longer acted together when they ended, as one."""
    parts = [read(each) for each in alone]
    events = [event for _, content, _ in parts for event in content["traceEvents"]]
    said = f"the ranks ended apart, by an error perhaps: put together from {len(parts)} files, {path.stem}.rank*{path.suffix}"
    return (
        path.name,
        {"traceEvents": events, "otherData": {"ranks": []}},
        [said, *(note for *_, notes in parts for note in notes)],
    )


def _checked(content: Any, name: str) -> dict[str, Any]:
    if not isinstance(content, dict) or not isinstance(content.get("traceEvents"), list):
        raise ArgumentError(f"trace={name!r} is JSON, but no trace: it has no list of `traceEvents`")
    return content


def _saved(text: str) -> Iterator[Any]:
    """The events of a file that was cut off."""
    decoder = json.JSONDecoder()
    at = text.find("[") + 1
    while 0 < at < len(text):
        begin = _SPACE.match(text, at)
        assert begin is not None
        try:
            event, at = decoder.raw_decode(text, begin.end())
        except ValueError:
            return
        yield event


# ------------------------------------------------------------------------------------------------------------- meaning
def understood(
    name: str, content: Mapping[str, Any], notes: Sequence[str] = (), *, begin: float = 0.0, end: float = math.inf
) -> Trace:
    """The rows, segments and messages between ``begin`` and ``end``, in seconds."""
    trace = Trace(name, notes=list(notes), content=content)
    rows = _Rows()
    segments: list[Segment] = []
    opened: dict[Any, list[Any]] = defaultdict(list)
    ends: dict[str, dict[str, tuple[float, int, float]]] = {"s": {}, "f": {}}
    strange = 0
    for event in content["traceEvents"]:
        try:
            phase = event["ph"]
            if phase == "M":
                rows.name(event)
                continue
            at = float(event["ts"])
            if not math.isfinite(at):
                raise ValueError
            if phase == "X":
                segments.append(_segment(event, rows, at, float(event.get("dur", 0.0))))
            elif phase in "Bb":
                key = (phase, event["pid"], event.get("tid"), event.get("id"))
                opened[key].append(event)
                rows.of(event["pid"])
            elif phase in "Ee":
                key = ({"E": "B", "e": "b"}[phase], event["pid"], event.get("tid"), event.get("id"))
                if opened[key]:
                    first = opened[key].pop()
                    segments.append(_segment(first, rows, float(first["ts"]), at - float(first["ts"])))
            elif phase in ends:
                size = float(event.get("args", {}).get("bytes", 0.0)) if phase == "f" else 0.0
                ends[phase][str(event["id"])] = at, rows.of(event["pid"]), size
        except (KeyError, TypeError, ValueError, AttributeError):
            strange += 1
    for (phase, *_), left in opened.items():  # under way when the trace ended
        last = max((s.end for s in segments), default=0.0)
        segments += [
            _segment(event, rows, float(event["ts"]), max(0.0, last - float(event["ts"]))) for event in left if phase == "b"
        ]
    if strange:
        trace.notes.append(f"{strange:,} events could not be read")
    arrows = []
    for message, (found, to, size) in ends["f"].items():
        if message in ends["s"]:
            lent, sender, _ = ends["s"][message]
            arrows.append((lent, found, sender, to, size))
    _place(trace, segments, arrows, begin * 1e6, end * 1e6)
    order = rows.order()
    _number(trace, {rows.number[process]: row for row, process in enumerate(order)})
    trace.rows = _summary(trace, rows, order, content)
    if not trace.segments:
        trace.notes.append("nothing was recorded")
    return trace


class _Rows:
    """The processes of a trace, each a row."""

    def __init__(self) -> None:
        self.number: dict[Any, int] = {}
        self.names: dict[Any, str] = {}
        self.places: dict[Any, float] = {}
        self.labels: dict[Any, str] = {}

    def of(self, process: Any) -> int:
        return self.number.setdefault(process, len(self.number))

    def name(self, event: Mapping[str, Any]) -> None:
        said, process = event.get("args", {}), event["pid"]
        if event["name"] == "process_name":
            self.names[process] = str(said["name"])
            self.of(process)
        elif event["name"] == "process_sort_index":
            self.places[process] = float(said["sort_index"])
        elif event["name"] == "process_labels":
            self.labels[process] = str(said["labels"])

    def order(self) -> list[Any]:
        """The processes as they are shown, from above."""
        return sorted(self.number, key=lambda process: (self.places.get(process, 0.0), self.number[process]))


def _segment(event: Mapping[str, Any], rows: _Rows, begin: float, length: float) -> Segment:
    if not (math.isfinite(begin) and math.isfinite(length) and length >= 0):
        raise ValueError
    name, category, said = str(event.get("name", "")), event.get("cat"), event.get("args") or {}
    kind = {"wait": WAIT, "call": COPY, "span": SPAN, "nonblocking": UNDER_WAY}.get(str(category), OTHER)
    if kind == COPY and _SENDS.match(name):
        kind = SEND
    awaited = _AWAITED.match(name) if kind == WAIT else None
    thread = event.get("tid", 0)
    if event["ph"] == "b":
        kind, thread = UNDER_WAY, ("under way", thread)
    return Segment(
        row=rows.of(event["pid"]),
        begin=begin,
        length=length,
        kind=kind,
        name=name,
        call=str(said.get("call", "")),
        nbytes=float(said.get("bytes", 0.0)),
        peer=-1 if awaited is None else int(awaited[1]),
        error=str(said.get("error", "")),
        thread=thread,
    )


def _place(
    trace: Trace, segments: list[Segment], arrows: list[tuple[float, float, int, int, float]], begin: float, end: float
) -> None:
    """Keep what lies in the part that is shown, and count the time from its beginning."""
    origin = min((s.begin for s in segments), default=0.0)
    if any(s.kind in (WAIT, COPY) for s in segments):
        origin = min(origin, 0.0)  # ours begin at 0, with whatever was computed first
    low, high = origin + begin, origin + end
    inside = sorted((s for s in segments if s.end >= low and s.begin <= high), key=lambda s: (s.begin, -s.length))
    if len(inside) > MOST:
        trace.notes.append(
            f"the first {MOST:,} of {len(inside):,} events: begin= and end= in seconds choose others, and Perfetto shows all"
        )
        inside = inside[:MOST]
        high = inside[-1].begin
    start = low if math.isfinite(low) else origin
    for s in inside:
        s.begin -= start
    trace.segments = inside
    trace.end = max((s.end for s in inside), default=0.0)
    there = sorted((a - start, b - start, i, j, size) for a, b, i, j, size in arrows if b >= low and a <= high)
    if len(there) > ARROWS:
        trace.notes.append(f"arrows for the first {ARROWS:,} of {len(there):,} messages")
    trace.arrows = there[:ARROWS]


def _number(trace: Trace, places: Mapping[int, int]) -> None:
    """The rows as they are shown, and not as they came."""
    for s in trace.segments:
        s.row = places[s.row]
    trace.arrows = [(lent, found, places[i], places[j], size) for lent, found, i, j, size in trace.arrows]


def _lanes(trace: Trace) -> dict[int, int]:
    """Put segments that overlap below each other; how many lanes each row has. A wait lies upon the call that waits."""
    threads: dict[tuple[int, Any], list[Segment]] = defaultdict(list)
    for s in trace.segments:
        threads[s.row, s.thread].append(s)
    first = {key: _first_of(key[1], found) for key, found in threads.items()}
    lanes: dict[int, int] = defaultdict(int)
    for (row, _), found in sorted(threads.items(), key=lambda item: (item[0][0], first[item[0]], str(item[0][1]))):
        base = lanes[row]
        free: list[float] = []  # when each lane of this thread is free again
        for s in found:
            if s.kind == WAIT:
                s.lane = base
                continue
            depth = next((k for k, until in enumerate(free) if until <= s.begin + 1e-6), len(free))
            free[depth : depth + 1] = [s.end]
            s.lane = base + depth
        lanes[row] = max(lanes[row], base + max(1, len(free)))
    return lanes


def _first_of(thread: Any, found: Sequence[Segment]) -> int:
    """Which threads of a row come first: that of the calls, of the spans, of what is under way, others."""
    kinds = {s.kind for s in found}
    return 0 if kinds & {COPY, SEND, WAIT} else 1 if SPAN in kinds else 3 if isinstance(thread, tuple) else 2


def _summary(trace: Trace, rows: _Rows, order: Sequence[Any], content: Mapping[str, Any]) -> list[messages.Row]:
    """What each row is called, and which share of the time it computed, waited and copied."""
    lanes = _lanes(trace)
    ours = any(s.kind in (WAIT, COPY, SEND) for s in trace.segments) or "ranks" in (content.get("otherData") or {})
    sums: Counter[tuple[int, int]] = Counter()
    for s in trace.segments:
        sums[s.row, s.kind] += s.length  # type: ignore[assignment]
    found: list[messages.Row] = []
    for row, process in enumerate(order):
        wait = sums[row, WAIT] / (trace.end or 1.0)
        copy = max(0.0, (sums[row, COPY] + sums[row, SEND]) / (trace.end or 1.0) - wait)
        compute = max(0.0, 1.0 - wait - copy) if ours and trace.end else -1.0
        name = rows.names.get(process, f"process {process}")
        found.append(
            {
                "name": name,
                "note": rows.labels.get(process, ""),
                "lanes": max(1, lanes.get(row, 1)),
                "compute": compute,
                "wait": wait if ours else -1.0,
                "copy": copy if ours else -1.0,
            }
        )
    return found
