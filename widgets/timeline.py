"""What every rank did, and when: the trace of `ifog.timeline` as a picture that can be zoomed into.

::

    with ifog.timeline("trace.json"):       # in a %%px cell
        ...
    ifog.widgets.Timeline("trace.json")     # in the notebook
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from ifog.cluster import Cluster, clusters, connect
from ifog.errors import ArgumentError

from . import messages, trace
from .following import Follower
from .live import STATIC
from .looking import Looking
from .timeline_figure import figure

_PERIOD = 1.0  # seconds between two looks at what engines record


class Timeline(Looking):
    """A row for each rank: where it computed, waited and copied, the spans that were marked, and the messages between ranks.

    Give the file that `ifog.timeline` has written, or what `json.load` makes of it; traces of other programs in Chrome's format
    are shown too. ``begin`` and ``end``, in seconds, choose a part. Give a cluster instead, or nothing for the one that runs,
    to follow what its engines record, while they do: once a second, and only while somebody watches. In the page: drag to move,
    scroll with Ctrl to zoom, point at something to read what it was.
    """

    _esm = (STATIC / "timeline.js").read_text()
    _css = (STATIC / "timeline.css").read_text()

    def __init__(self, trace: Any = None, *, begin: float = 0.0, end: float = math.inf, presentation: bool = False) -> None:
        self._begin_looking()
        self._follower: Follower | None = None
        self._begin, self._end = _seconds("begin", begin), _seconds("end", end)
        if not self._begin < self._end:
            raise ArgumentError(f"begin={begin!r}, end={end!r}: seconds since the trace began, the first less than the second")
        if trace is None:
            trace = connect()
        self._source = _found(trace)
        if isinstance(trace, Cluster):
            self._follower = Follower(trace)
            self._trace = self._follower.look() or self._follower.empty()
        else:
            self._read()
        super().__init__(presentation=presentation)

    def _read(self) -> None:
        self._trace = trace.understood(*trace.read(self._source), begin=self._begin, end=self._end)

    def _go_on(self) -> None:
        if self._follower is not None:  # a file does not change by itself
            super()._go_on()

    def _look_around(self) -> float:
        assert self._follower is not None
        seen = self._follower.look()
        if seen is not None:
            self._trace = seen
            self._sender.offer(self._message())
        return _PERIOD

    def _leave(self) -> None:
        if self._follower is not None:
            self._follower.close()

    def _message(self) -> messages.Trace:
        return self._trace.message(live=self._follower is not None)

    # ---- from Python ---------------------------------------------------------------------------------------------------

    @property
    def summary(self) -> list[dict[str, Any]]:
        """Of each rank, which share of the time it computed, waited and copied."""
        kept = ("name", "compute", "wait", "copy")
        return [{key: row[key] for key in kept} for row in self._trace.rows]  # type: ignore[literal-required]

    def reload(self) -> None:
        """Read the file again: another cell may have written it anew."""
        if self._follower is None:
            with self._lock:
                self._read()
                self._sender.offer(self._message())

    def save_trace(self, path: str | Path) -> None:
        """Write the trace as a file for https://ui.perfetto.dev, which draws it as well."""
        Path(path).write_text(json.dumps(self._trace.content))

    def _picture(self) -> str:
        return figure(self._trace)

    def _alone(self) -> list[Any]:
        return self._state()

    def __repr__(self) -> str:
        rows, count = len(self._trace.rows), len(self._trace.segments)
        return f"<timeline {self._trace.name!r}: {rows} rows, {count:,} events, {self._trace.end / 1e6:.3g} s>"

    @property
    def _label(self) -> str:  # type: ignore[override]
        return f"timeline of {self._trace.name}"

    # ---- pages ---------------------------------------------------------------------------------------------------------

    def _state(self) -> list[Any]:
        return [self._message()]

    def _catch_up(self) -> None:
        self._sender.offer(self._message())

    def _take(self, message: Any) -> None:
        if isinstance(message, messages.Fetch):
            self._sender.offer(messages.File(Path(self._trace.name).stem + ".json", json.dumps(self._trace.content)))


def _seconds(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value) or value < 0:
        raise ArgumentError(f"{name}={value!r}: seconds since the trace began")
    return float(value)


def _found(source: Any) -> Any:
    """Where a file is: engines write it where they were started, which may be another folder than the notebook's."""
    if not isinstance(source, str | Path) or Path(source).is_absolute() or Path(source).exists():
        return source
    for cluster in clusters():
        there = Path(cluster.plan.directory) / source
        if there.exists() or list(there.parent.glob(f"{there.stem}.rank*{there.suffix}")):
            return there
    return source
