"""A timeline that engines are recording, as far as they have come."""

from __future__ import annotations

import concurrent.futures
import contextlib
import time
import uuid
from collections import deque
from pathlib import Path
from typing import Any

from ifog.cluster import Cluster
from ifog.errors import IfogError

from . import trace

_TIMEOUT = 0.5  # seconds for an engine to answer
_PRECISION = 2.0  # seconds, of the time in a file
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
        self._on, self._since = False, 0.0
        self._ranks: list[int] = []

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
            self._missed, self._on, self._since = False, True, time.time()
        for answer in news.values():
            self._path = answer["path"]
            self._missed |= answer["missed"]
            self._events += answer["events"]
        self._ranks = sorted(news)
        return self._so_far("recording")

    def empty(self) -> trace.Trace:
        """What is shown before anything has been recorded."""
        return trace.Trace(self.cluster.home.name, notes=[WAITING])

    def close(self) -> None:
        """Hang up."""
        self.cluster.close()

    def _so_far(self, note: str) -> trace.Trace:
        names = [
            {"ph": "M", "pid": pid, "name": name, "args": args}
            for pid in {event["pid"]: None for event in self._events}
            for name, args in (
                ("process_name", {"name": f"rank {pid - trace.FIRST}"}),
                ("process_sort_index", {"sort_index": pid}),
            )
        ]
        notes, begin = [note], 0.0
        if len(self._events) == _KEPT:
            begin = min(event["ts"] for event in self._events) / 1e6
        if begin or self._missed:
            notes.append("the newest events; the file will have all of them")
        content = {"traceEvents": [*names, *self._events], "otherData": {"ranks": self._ranks}}
        return trace.understood(Path(self._path).name, content, notes, begin=begin)

    def _finished(self) -> trace.Trace:
        """The file that was written in the end, or if there is none within reach, what was heard."""
        path = Path(self._path)
        with contextlib.suppress(IfogError, OSError):
            name, content, notes = trace.read(path)
            files = [path] if path.exists() else list(path.parent.glob(f"{path.stem}.rank*{path.suffix}"))
            if max(file.stat().st_mtime for file in files) >= self._since - _PRECISION:  # else it is of an earlier time
                return trace.understood(name, content, notes)
        return self._so_far("the recording has broken off")
