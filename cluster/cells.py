"""A cell on the engines: sent, followed while it runs, and brought home as values or as one error."""

from __future__ import annotations

import asyncio
import base64
import pickle
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ..engine.values import MIME
from ..errors import CellFailed
from .cluster import Cluster, EnginesLost
from .shown import Answer, Fault, Results, Text, causes, error_in_text, ranks_in_short, who_waits

_LOOK = 0.03  # seconds between two looks
_ASK = 2.0  # seconds until the ranks are asked what they are doing
_MANAGER = 0.5  # seconds between two looks at what the manager says
_INSIST = 1.0  # seconds between two interrupts
_GIVE_UP = 5.0  # seconds for interrupted ranks to come back
_OUTPUT = 1.0  # seconds that output may come after the reply


class Viewer(Protocol):
    """Who shows what is said while a cell runs."""

    def show(self, answers: Sequence[Answer], note: str) -> None:
        """Show what there is now, with a note about what is still going on."""
        ...


class RanksFailed(CellFailed):
    """A cell that failed on some ranks: `errors` has what each of them said."""

    def __init__(self, faults: Mapping[int, Fault]) -> None:
        groups, _ = causes(faults)
        super().__init__("; ".join(f"{ranks_in_short(ranks)}: {fault.line}" for ranks, fault in groups))
        self.errors = dict(faults)

    def _render_traceback_(self) -> list[str]:
        """For IPython: what happened on the engines, and nothing of how it was brought here."""
        return error_in_text(self.errors)


class Cell:
    """One cell on some ranks."""

    def __init__(self, cluster: Cluster, code: str, ranks: Sequence[int], viewer: Viewer) -> None:
        trouble = cluster.trouble()
        if trouble:
            raise EnginesLost(trouble)
        self.cluster, self.ranks, self.viewer = cluster, list(ranks), viewer
        self.began = time.monotonic()
        whom = self.ranks[0] if len(self.ranks) == 1 else self.ranks  # ipyparallel does not split a list of one
        self.result = cluster[whom].execute(code, silent=False, block=False)
        self.parts = dict(zip(self.ranks, self.result.split(), strict=True))
        self._asked, self._doing = self.began, ""
        self._looked = self.began

    @property
    def running(self) -> list[int]:
        """The ranks that have not answered yet."""
        return [rank for rank, part in self.parts.items() if not part.done()]

    async def run(self) -> Results | None:
        """Follow it to its end, and give what the last line gave."""
        try:
            while self.running:
                await asyncio.sleep(_LOOK)
                self._look_after_the_engines()
                self._show(self._note())
        except (asyncio.CancelledError, KeyboardInterrupt):
            await self._interrupt()
            raise KeyboardInterrupt from None
        await self._rest_of_the_output()
        return self._finish()

    # ---------------------------------------------------------------------------------------------------- while it runs
    def _show(self, note: str) -> None:
        said = [Answer(rank, part.stdout or "", part.stderr or "", self._outputs(part)) for rank, part in self.parts.items()]
        self.viewer.show(said, note)

    def _note(self) -> str:
        running, now = self.running, time.monotonic()
        if not running:
            return ""
        if now - self._asked > _ASK:
            self._asked = now
            self._doing = who_waits(self.cluster.wire.ask(running, "ifog.engine.status:status", timeout=0.1))
        said = f"{now - self.began:.1f} s · {ranks_in_short(running)} running"
        failed = [rank for rank, part in self.parts.items() if part.done() and not part.successful()]
        if failed:
            said += f" · {ranks_in_short(failed)} failed"
        return f"{said} · {self._doing}" if self._doing else said

    def _look_after_the_engines(self) -> None:
        now = time.monotonic()
        if now - self._looked < _MANAGER:
            return
        self._looked = now
        trouble = self.cluster.trouble()
        if trouble is not None and self.running:
            self._show("")
            raise EnginesLost(trouble)

    async def _interrupt(self) -> None:
        """Interrupt the engines too, and wait a little until they are back."""
        began, insisted = time.monotonic(), 0.0
        try:
            while self.running and time.monotonic() - began < _GIVE_UP and self.cluster.trouble() is None:
                if time.monotonic() - insisted > _INSIST:
                    insisted = time.monotonic()
                    self.cluster.interrupt(self.running, timeout=0.2)
                await asyncio.sleep(_LOOK)
        except (asyncio.CancelledError, KeyboardInterrupt):
            pass  # pressed again
        left = self.running
        note = f"{ranks_in_short(left)} cannot be interrupted now, perhaps inside a long computation: `%ifog restart` ends it"
        self._show(note if left else "interrupted")

    # ---------------------------------------------------------------------------------------------------- when it is over
    async def _rest_of_the_output(self) -> None:
        """What was printed comes by another way than the reply, and may come after it."""
        deadline = time.monotonic() + _OUTPUT
        while time.monotonic() < deadline and not all(part.wait_for_output(0) for part in self.parts.values()):
            await asyncio.sleep(_LOOK / 3)
        self._show("")

    def _outputs(self, part: Any) -> list[Mapping[str, Any]]:
        return [output["data"] for output in part.outputs or []]

    def _finish(self) -> Results | None:
        from ipyparallel.error import KernelError, RemoteError

        faults, values = {}, {}
        for rank, part in self.parts.items():
            try:
                reply = part.get(timeout=1)
            except RemoteError as error:
                if error.ename == "EngineError":
                    raise EnginesLost(self._why_lost()) from None
                faults[rank] = Fault(error.ename, error.evalue, error.traceback)
            except (KernelError, TimeoutError):
                raise EnginesLost(self._why_lost()) from None
            else:
                values[rank] = dict((reply.execute_result or {}).get("data", {}))
        if faults:
            raise RanksFailed(faults)
        if not any(values.values()):
            return None
        return Results([_value(data) for data in values.values()], list(values), list(values.values()))

    def _why_lost(self) -> str:
        deadline = time.monotonic() + 2.0
        while (trouble := self.cluster.trouble()) is None and time.monotonic() < deadline:
            time.sleep(_LOOK)
        return trouble or "an engine has ended while this cell ran"


def _value(data: dict[str, Any]) -> Any:
    """The object behind a displayed value. Its pickled form is taken out: the rest is what is shown."""
    pickled = data.pop(MIME, None)
    if pickled is not None:
        try:
            return pickle.loads(base64.b64decode(pickled))
        except Exception:  # noqa: BLE001 (it was made of something that is not here)
            pass
    return Text(data["text/plain"]) if "text/plain" in data else None
