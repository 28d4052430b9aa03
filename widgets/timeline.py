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

from ifog.errors import ArgumentError

from . import messages, trace
from .live import STATIC, LiveWidget
from .timeline_figure import figure


class Timeline(LiveWidget):
    """A row for each rank: where it computed, waited and copied, the spans that were marked, and the messages between ranks.

    Give the file that `ifog.timeline` has written, or what `json.load` makes of it; traces of other programs in Chrome's format
    are shown too. ``begin`` and ``end``, in seconds, choose a part. In the page: drag to move, scroll with Ctrl to zoom, point
    at something to read what it was.
    """

    _esm = (STATIC / "timeline.js").read_text()
    _css = (STATIC / "timeline.css").read_text()

    def __init__(self, trace: Any, *, begin: float = 0.0, end: float = math.inf, presentation: bool = False) -> None:
        self._begin, self._end = _seconds("begin", begin), _seconds("end", end)
        if not self._begin < self._end:
            raise ArgumentError(f"begin={begin!r}, end={end!r}: seconds since the trace began, the first less than the second")
        self._source = trace
        self._read()
        super().__init__(presentation=presentation)

    def _read(self) -> None:
        name, self._content, notes = trace.read(self._source)
        self._trace = trace.understood(name, self._content, notes, begin=self._begin, end=self._end)

    # ---- from Python ---------------------------------------------------------------------------------------------------

    @property
    def summary(self) -> list[dict[str, Any]]:
        """Of each rank, which share of the time it computed, waited and copied."""
        kept = ("name", "compute", "wait", "copy")
        return [{key: row[key] for key in kept} for row in self._trace.rows]  # type: ignore[literal-required]

    def reload(self) -> None:
        """Read the file again: another cell may have written it anew."""
        with self._lock:
            self._read()
            self._sender.offer(self._trace.message())

    def save_trace(self, path: str | Path) -> None:
        """Write the trace as a file for https://ui.perfetto.dev, which draws it as well."""
        Path(path).write_text(json.dumps(self._content))

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
        return [self._trace.message()]

    def _catch_up(self) -> None:
        self._sender.offer(self._trace.message())

    def _take(self, message: Any) -> None:
        if isinstance(message, messages.Fetch):
            self._sender.offer(messages.File(Path(self._trace.name).stem + ".json", json.dumps(self._content)))


def _seconds(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value) or value < 0:
        raise ArgumentError(f"{name}={value!r}: seconds since the trace began")
    return float(value)
