"""The engines of a cluster as tiles: what each does now, and buttons that start, interrupt, restart and stop them.

::

    ifog.widgets.Cluster(ifog.connect())  # or `ifog.connect()` alone, as the last line of a cell
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import queue
import re
import threading
import time
from collections.abc import Mapping
from typing import Any

from ifog import cluster as engines
from ifog.cluster.shown import ranks_in_short, who_waits
from ifog.errors import ArgumentError, IfogError

from . import messages
from .cluster_figure import figure
from .live import STATIC
from .looking import Looking

_PERIOD = 0.5  # seconds between two looks, each of which takes 1.6 ms of each engine
_CALM = 1.0  # the same while nothing happens
_SOON = 0.2  # the same while engines start or end, of whom nothing is asked
_TIMEOUT = 0.5  # seconds for an engine to answer
_FREEZE = 5  # seconds for which a rank is frozen
_NOTE = 6.0  # seconds for which it is said what became of a button
_LOG = 50_000  # bytes of the engines' log that are searched for a rank
_LOST = (IfogError, OSError, TimeoutError, concurrent.futures.TimeoutError, concurrent.futures.CancelledError)
"""What a question may end in while engines come and go."""
_COLOURS = re.compile(r"\x1b\[[\d;]*m")
_UNDER_WAY = {"start": "starting", "restart": "restarting", "stop": "stopping"}


class Cluster(Looking):
    """A tile for each engine of a cluster: busy or idle, in which cell, in which operation, and for whom it waits.

    A click on a tile shows what the rank has printed last and its last error, in whole. Give what `ifog.connect` or
    `ifog.cluster.Cluster` gives; without an argument it is the cluster that runs. Engines are asked once or twice a second, and
    only while somebody looks; nothing here waits for a cell.

    Beside the tiles the ranks stand on a circle: a line leads to whom each has given its last tensor, and lights up when that
    happens. A button freezes a rank for 5 seconds, and one sees who waits for it.
    """

    _esm = (STATIC / "cluster.js").read_text()
    _css = (STATIC / "cluster.css").read_text()

    def __init__(self, cluster: engines.Cluster | None = None, *, presentation: bool = False) -> None:
        self._begin_looking()
        if cluster is None:
            cluster = engines.connect()
        if not isinstance(cluster, engines.Cluster):
            raise ArgumentError(
                f"cluster={cluster!r:.60}: what ifog.connect() or ifog.cluster.Cluster(4) gives, or nothing: the one that runs"
            )
        self._cluster = cluster.apart()
        self._asked: queue.SimpleQueue[messages.Do] = queue.SimpleQueue()
        self._looking = threading.Lock()
        self._acting: threading.Thread | None = None
        self._under_way = self._note = ""
        self._noted_until = 0.0
        self._open = -1  # the rank whose words are shown
        self._words: messages.Words | None = None
        self._table: list[messages.Tile] = []
        self._frozen_until: dict[int, float] = {}
        self._seen = messages.Tiles("", 0, "", "", "", "", "", [])
        self._seen_at = 0.0
        self._look()
        super().__init__(presentation=presentation)

    # ---- from Python ---------------------------------------------------------------------------------------------------

    def _picture(self) -> str:
        if time.monotonic() - self._seen_at > _PERIOD:
            self._look()
        return figure(self._seen)

    def __repr__(self) -> str:
        return f"<tiles of {self._cluster!r}>"

    @property
    def _label(self) -> str:  # type: ignore[override]
        return f"engines of {self._cluster.home.name}"

    # ---- looking -------------------------------------------------------------------------------------------------------

    def _turn(self) -> None:
        while not self._asked.empty():
            self._begin(self._asked.get())
        if not self._under_way and time.monotonic() > self._noted_until:
            self._note = ""

    def _look_around(self) -> float:
        before = self._seen, self._words
        self._look()
        if self._seen != before[0]:
            self._sender.offer(self._seen)
        if self._words is not None and self._words != before[1]:
            self._sender.offer(self._words)
        if self._seen.phase != "running" or self._under_way:
            return _SOON
        return _PERIOD if self._open >= 0 or _states(self._seen) != _states(before[0]) else _CALM

    def _leave(self) -> None:
        self._cluster.close()

    def _look(self) -> None:
        with self._looking:
            try:
                said = self._cluster.status(_TIMEOUT)
            except _LOST:
                said = self._cluster.said()  # it is just changing: the next look sees how
            self._seen = self._tiles(said)
            self._words = self._words_of(self._open) if self._open >= 0 else None
            self._seen_at = time.monotonic()

    def _tiles(self, said: Mapping[str, Any]) -> messages.Tiles:
        plan, phase = said.get("plan", {}), str(said.get("phase", "off"))
        n = int(plan.get("n", len(self._cluster)))
        trouble = str(said.get("trouble") or "")
        if not said and self._cluster.home.read():
            trouble = "its manager has ended without stopping it: killed, or the machine has been started anew"
        if said.get("engines"):
            self._table = [self._answered(_tile(engine)) for engine in said["engines"]]
        elif len(self._table) != n or phase == "starting":
            self._table = [_tile({"rank": rank}) for rank in range(n)]
        if phase != "running" or trouble:
            self._table = [self._without_answer(tile, phase, trouble) for tile in self._table]
        waits = who_waits({tile["rank"]: tile for tile in self._table})
        if phase == "starting":
            waits = f"{said.get('registered', 0)} of {n} engines are there"
        facts = [f"{n} engine{'s' * (n != 1)}", *_where(self._table), *([str(said["mpi"]).partition(" (")[0]] if said else [])]
        name = self._cluster.home.name
        return messages.Tiles(name, n, phase, " · ".join(facts), waits, trouble, self._note, self._table)

    def _answered(self, tile: messages.Tile) -> messages.Tile:
        if tile["state"] != "no answer":
            return tile
        before = next((each for each in self._table if each["rank"] == tile["rank"]), tile)
        if time.monotonic() < self._frozen_until.get(tile["rank"], 0.0):
            return {**before, "state": "frozen"}
        return {**tile, "exchanges": before["exchanges"], "told": before["told"]}

    def _without_answer(self, tile: messages.Tile, phase: str, trouble: str) -> messages.Tile:
        state = {"off": "off", "starting": "starting", "restarting": "starting"}.get(phase, "gone")
        process = tile["pid"] if state == "gone" else 0
        cause = re.match(rf"rank {tile['rank']}\b", trouble) is not None
        kept = {"error": trouble, "error_ago": 0.0} if cause else {}
        place = {key: tile[key] for key in ("rank", "host", "gpu", "threads")}
        return _tile({**place, "pid": process, "state": state, **kept})

    def _words_of(self, rank: int) -> messages.Words | None:
        """What a rank has said last; of one that is gone, what is left of it."""
        before = self._words if self._words is not None and self._words.rank == rank else None
        if self._seen.phase == "running":
            try:
                said = self._cluster.wire.ask([rank], "ifog.engine.status:last_words", timeout=_TIMEOUT).get(rank)
            except _LOST:
                said = None
            if said is None:
                return before
            output, error = (_COLOURS.sub("", said[key]) for key in ("output", "error"))
            return messages.Words(rank, said["code"], output, error, "")
        code, output, error = (before.code, before.output, before.error) if before is not None else ("", "", "")
        return messages.Words(rank, code, output, error, self._log_of(rank))

    def _log_of(self, rank: int) -> str:
        with contextlib.suppress(OSError), self._cluster.home.engine_log.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _LOG))
            lines = file.read().decode(errors="replace").splitlines()
            mark = f"[{rank}] "
            said = [line.removeprefix(mark) for line in lines if line.startswith(mark)]
            return "\n".join(line for line in said if "[Engine" not in line)  # which speaks of its own affairs
        return ""

    # ---- from the page -----------------------------------------------------------------------------------------------------

    def _state(self) -> list[Any]:
        return [self._seen, *([] if self._words is None else [self._words])]

    def _catch_up(self) -> None:
        self._sender.offer(self._seen)

    def _take(self, message: Any) -> None:
        if isinstance(message, messages.Do):
            self._asked.put(message)  # no more than that: a cell may be running in this very thread

    def _begin(self, asked: messages.Do) -> None:
        if asked.what == "open":
            self._open, self._words = (asked.rank, None) if 0 <= asked.rank < len(self._table) else (-1, None)
        elif asked.what == "interrupt":
            self._say(self._interrupted(asked.rank))
        elif asked.what == "freeze":
            self._say(self._froze(asked.rank))
        elif asked.what in _UNDER_WAY:
            if self._acting is not None and self._acting.is_alive():
                self._say(f"it is {self._under_way} already")
                return
            self._under_way = _UNDER_WAY[asked.what]
            self._say(f"{self._under_way} …")
            self._acting = threading.Thread(target=self._act, args=(asked.what,), name="ifog tiles act", daemon=True)
            self._acting.start()

    def _say(self, note: str, seconds: float = _NOTE) -> None:
        self._note, self._noted_until = note, time.monotonic() + seconds

    def _interrupted(self, rank: int) -> str:
        try:
            ran = self._cluster.interrupt(None if rank < 0 else [rank])
        except _LOST as error:
            return str(error)
        busy = [each for each, running in ran.items() if running]
        return f"interrupted {ranks_in_short(busy)}" if busy else "nothing was running"

    def _froze(self, rank: int) -> str:
        if time.monotonic() < self._frozen_until.get(rank, 0.0):
            return f"rank {rank} stands still already"
        try:
            self._cluster.wire.request(rank, "ifog.engine.status:freeze", _FREEZE)  # which is answered when it is over
        except _LOST as error:
            return str(error)
        self._frozen_until[rank] = time.monotonic() + _FREEZE + _TIMEOUT
        return f"rank {rank} stands still for {_FREEZE} s"

    def _act(self, what: str) -> None:
        """Start, restart or stop, beside the looks: it takes seconds."""
        try:
            getattr(self._cluster.apart(), what)()
            self._say("")
        except _LOST as error:
            self._say(str(error), 10 * _NOTE)
        finally:
            self._under_way = ""
            self._wake.set()


def _tile(engine: Mapping[str, Any]) -> messages.Tile:
    return {
        "rank": int(engine["rank"]),
        "host": str(engine.get("host") or ""),
        "pid": int(engine.get("pid") or 0),
        "gpu": str(engine.get("gpu") or ""),
        "threads": int(engine.get("threads") or 0),
        "memory": round(float(engine.get("memory") or 0), -6),
        "gpu_memory": round(float(engine.get("gpu_memory") or 0), -6),
        "state": str(engine.get("state") or "starting"),
        "cell": str(engine.get("cell") or ""),
        "seconds": round(float(engine.get("seconds") or 0.0), 1),
        "operation": str(engine.get("operation") or ""),
        "waits_for": -1 if engine.get("waits_for") is None else int(engine["waits_for"]),
        "exchanges": int(engine.get("exchanges") or 0),
        "told": [int(rank) for rank in engine.get("told") or ()],
        "error": str(engine.get("error") or ""),
        "error_ago": round(time.time() - engine["error_at"]) if engine.get("error_at") else 0.0,
    }


def _states(seen: messages.Tiles) -> list[tuple[str, int]]:
    return [(tile["state"], tile["waits_for"]) for tile in seen.tiles]


def _where(table: list[messages.Tile]) -> list[str]:
    hosts = {tile["host"] for tile in table} - {""}
    return [] if not hosts else [f"on {hosts.pop()}"] if len(hosts) == 1 else [f"on {len(hosts)} hosts"]
