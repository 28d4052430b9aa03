"""A timeline that engines are recording, as far as they have come."""

from __future__ import annotations

import concurrent.futures
import contextlib
import uuid
from collections import deque
from pathlib import Path
from typing import Any

from ifog.cluster import Cluster
from ifog.errors import IfogError

from . import trace

_TIMEOUT = 0.5  # seconds for an engine to answer
_KEPT = 12_000  # events that are shown while they come; the file has them all
WAITING = "no timeline is on: `with ifog.timeline('trace.json'):` in a %%px cell begins one"
_LOST = (IfogError, OSError, TimeoutError, RuntimeError, concurrent.futures.TimeoutError, concurrent.futures.CancelledError)


class Follower:
    """Asks the engines for what they have noted since the last time."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster.apart()
        self._name = uuid.uuid4().hex
        self._events: deque[dict[str, Any]] = deque(maxlen=_KEPT)
        self._path = ""
        self._missed = False
        self._on = False

    def look(self) -> trace.Trace | None:
        """What there is now; None if it is as before."""
        said = self.cluster.said()
        answers: dict[int, Any] = {}
        if said.get("phase") == "running":
            with contextlib.suppress(*_LOST):
                ranks = range(said["plan"]["n"])
                answers = self.cluster.wire.ask(ranks, "ifog.comm.timeline:recent", self._name, timeout=_TIMEOUT)
        news = {rank: answer for rank, answer in answers.items() if answer is not None}
        if not news:
            was_on, self._on = self._on, False
            return self._finished() if was_on else None
        if not self._on:
            self._events.clear()
            self._missed, self._on = False, True
        for answer in news.values():
            self._path = answer["path"]
            self._missed |= answer["missed"]
            self._events += answer["events"]
        return self._so_far(news)

    def empty(self) -> trace.Trace:
        """What is shown before anything has been recorded."""
        return trace.Trace(self.cluster.home.name, notes=[WAITING])

    def close(self) -> None:
        """Hang up."""
        self.cluster.close()

    def _so_far(self, ranks: Any) -> trace.Trace:
        names = [
            {"ph": "M", "pid": pid, "name": name, "args": args}
            for pid in {event["pid"]: None for event in self._events}
            for name, args in (
                ("process_name", {"name": f"rank {pid - trace.FIRST}"}),
                ("process_sort_index", {"sort_index": pid}),
            )
        ]
        notes, begin = ["recording"], 0.0
        if len(self._events) == _KEPT:
            begin = min(event["ts"] for event in self._events) / 1e6
        if begin or self._missed:
            notes.append("the newest events; the file will have all of them")
        content = {"traceEvents": [*names, *self._events], "otherData": {"ranks": list(ranks)}}
        return trace.understood(Path(self._path).name, content, notes, begin=begin)

    def _finished(self) -> trace.Trace | None:
        """The file that was written in the end, if it is within reach."""
        with contextlib.suppress(IfogError):
            return trace.understood(*trace.read(self._path))
        return None
