"""How runs come closer to where they should: their curves, while they run and afterwards.

>>> from ifog import widgets
>>> curves = widgets.Convergence()
>>> curves
<convergence of no runs>
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

import numpy as np

from ifog.errors import ArgumentError
from ifog.experiment import Comparison, Run

from . import messages
from .convergence_figure import Curve, figure
from .live import STATIC, LiveWidget
from .thinned import Thinned

_PERIOD = 0.05  # seconds between two looks at the runs, and so at least between two messages


class Convergence(LiveWidget):
    """The curves of runs: any recorded value against iterations, bytes or seconds, with marks where they were changed.

    Give runs that are over, that go on, or that have yet to begin; `add` takes more. In the page, a click on a name shows that
    run alone, and dragging over the curves zooms in.
    """

    _esm = (STATIC / "convergence.js").read_text()
    _css = (STATIC / "convergence.css").read_text()

    def __init__(
        self, *runs: Run | Comparison, y: str = "", x: str = "iteration", log: bool = True, presentation: bool = False
    ) -> None:
        self._ended = threading.Event()  # first of all: also what is not made to the end is closed
        for name, value in (("y", y), ("x", x)):
            if not isinstance(value, str):
                raise ArgumentError(f"{name}={value!r:.60}: the name of what was recorded, such as 'error' or 'bytes'")
        self._y, self._x, self._log = y, x, bool(log)
        self._thinned: list[Thinned] = []
        self._states: list[messages.RunState] = []
        self._told: list[messages.RunState] = []
        self._thread: threading.Thread | None = None
        found = _checked(runs)
        super().__init__(presentation=presentation)
        self._follow(found)

    # ---- from Python ---------------------------------------------------------------------------------------------------

    @property
    def runs(self) -> list[Run]:
        """The runs that are drawn."""
        return [each.run for each in self._thinned]

    def add(self, *runs: Run | Comparison) -> None:
        """Draw these as well."""
        self._follow(_checked(runs))

    def _picture(self) -> str:
        with self._lock:
            self._look()
            curves = [
                Curve(
                    state["name"],
                    each.columns,
                    [(mark["at"], mark["what"]) for mark in state["marks"]],
                    _said(state),
                    state["status"] == "failed",
                )
                for each, state in zip(self._thinned, self._states, strict=True)
            ]
        return figure(curves, y=self._y, x=self._x, log=self._log)

    def close(self) -> None:
        """Follow the runs no longer, and take the views away."""
        self._ended.set()
        super().close()

    def __repr__(self) -> str:
        names = ", ".join(run.name for run in self.runs)
        return f"<convergence of {names or 'no runs'}>"

    @property
    def _label(self) -> str:  # type: ignore[override]
        return "curves of " + (", ".join(run.name for run in self.runs) or "no runs")

    # ---- following -------------------------------------------------------------------------------------------------------

    def _follow(self, runs: Iterable[Run]) -> None:
        with self._lock:
            known = self.runs
            self._thinned += [Thinned(run) for run in dict.fromkeys(runs) if run not in known]
            self._look()
            if self._thread is None and not self._ended.is_set():
                self._thread = threading.Thread(target=self._work, name="ifog curves", daemon=True)
                self._thread.start()

    def _work(self) -> None:
        while not self._ended.wait(_PERIOD):
            with self._lock:
                over = all(run.over for run in self.runs)
                news = self._news()
                if over:
                    self._thread = None
            if news is not None:
                self._send_now(news)
            if over:
                self._renew_pictures()
                return

    def _look(self) -> None:
        for each in self._thinned:
            each.look()
        self._states = [_state(each.run, len(each)) for each in self._thinned]

    def _news(self) -> messages.Rows | None:
        """What the pages do not know yet."""
        self._look()
        if self._states == self._told and all(each.told == len(each) for each in self._thinned):
            return None
        rows = self._rows([each.told for each in self._thinned])
        for each in self._thinned:
            each.told = len(each)
        self._told = self._states
        return rows

    def _rows(self, begins: list[int]) -> messages.Rows:
        parts: list[messages.Part] = []
        numbers: list[float] = []
        for k, (each, first) in enumerate(zip(self._thinned, begins, strict=True)):
            if first < len(each) or first == 0:
                parts.append({"run": k, "first": first, "count": len(each) - first, "columns": list(each.columns)})
                for values in each.columns.values():
                    numbers += values[first:]
        return messages.Rows(self._states, parts, np.array(numbers, np.float64))

    def _state(self) -> list[Any]:
        self._look()
        return [messages.Curves(self._y, self._x, self._log), self._rows([0] * len(self._thinned))]

    def _alone(self) -> list[Any]:
        return self._state()

    def _catch_up(self) -> None:
        if self.comm is not None:
            self._send_now(self._rows([0] * len(self._thinned)))

    def _take(self, message: Any) -> None:
        """Nothing on this page changes a run."""


def _checked(given: Iterable[Any]) -> list[Run]:
    runs: list[Run] = []
    for one in given:
        if isinstance(one, Comparison):
            runs += one.runs
        elif isinstance(one, Run):
            runs.append(one)
        elif isinstance(getattr(one, "run", None), Run):  # a loop of one's own
            runs.append(one.run)
        else:
            raise ArgumentError(f"{one!r:.60} is no run: give what ifog.run, ifog.loop or ifog.compare has returned")
    return runs


def _state(run: Run, rows: int) -> messages.RunState:
    note = ""
    if run.error is not None:
        note = f"{type(run.error).__name__}: {run.error}".split("\n", 1)[0]
    elif not rows:
        note = "nothing recorded" if run.over else "nothing recorded yet"
    marks: list[messages.Mark] = [{"at": int(k), "what": what} for k, what in list(run.marks)]
    return {"name": run.name, "status": run.status, "note": note, "marks": marks}


def _said(state: messages.RunState) -> str:
    """What is worth saying of a run beside its name."""
    return state["note"] or ("" if state["status"] == "done" else state["status"])
