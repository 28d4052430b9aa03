"""How runs come closer to where they should: their curves, while they run and afterwards.

>>> from ifog import widgets
>>> curves = widgets.Convergence()
>>> curves
<convergence of no runs>
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from ifog import experiment
from ifog.errors import ArgumentError
from ifog.experiment import Comparison, Run

from . import messages, theory
from .convergence_figure import Curve, figure
from .live import STATIC, LiveWidget
from .thinned import Thinned

_PERIOD = 0.08  # seconds between two looks at the runs, and so at least between two messages: a watched run is hardly slower


class Convergence(LiveWidget):
    """The curves of runs: any recorded value against iterations, bytes or seconds, with marks where they were changed.

    Give runs that are over, that go on, or that have yet to begin; `add` takes more. In the page, a click on a name shows that
    run alone, and dragging over the curves zooms in. Runs that differ in their seed only are drawn as their mean in a band from
    the least to the largest, unless ``band=False``. ``ghosts`` are earlier runs to compare with, or how many of the last ones
    of this process; they are drawn faintly. Where theory knows how fast nodes agree, as ρᵏ, a thin line says so.
    """

    _esm = (STATIC / "convergence.js").read_text()
    _css = (STATIC / "convergence.css").read_text()

    def __init__(
        self,
        *runs: Run | Comparison,
        y: str = "",
        x: str = "iteration",
        log: bool = True,
        band: bool = True,
        ghosts: int | Iterable[Run | Comparison] = (),
        presentation: bool = False,
        **within: Any,
    ) -> None:
        self._ended = threading.Event()  # first of all: also what is not made to the end is closed
        self._listening: list[Callable[[], None]] = []  # how to end it
        for name, value in (("y", y), ("x", x)):
            if not isinstance(value, str):
                raise ArgumentError(f"{name}={value!r:.60}: the name of what was recorded, such as 'error' or 'bytes'")
        self._y, self._x, self._log, self._band = y, x, bool(log), bool(band)
        self._ghosts: list[Run] = []
        self._thinned: list[Thinned] = []
        self._states: list[messages.RunState] = []
        self._told: list[messages.RunState] = []
        self._thread: threading.Thread | None = None
        found = _checked(runs)
        self._ghosts = _earlier(ghosts, found)
        super().__init__(presentation=presentation, **within)
        self._follow([*self._ghosts, *found])

    # ---- from Python ---------------------------------------------------------------------------------------------------

    @property
    def runs(self) -> list[Run]:
        """The runs that are drawn."""
        return [each.run for each in self._thinned]

    def clear(self) -> None:
        """Draw none of them any more."""
        with self._lock:
            self._thinned, self._states, self._told, self._ghosts = [], [], [], []
        self._catch_up()

    def add(self, *runs: Run | Comparison) -> None:
        """Draw these as well."""
        self._follow(_checked(runs))

    def fade(self) -> None:
        """Let what is drawn now be ghosts of what will be added."""
        with self._lock:
            self._ghosts = self.runs
            news = None if self._thread else self._news()
        self._tell(news)

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
                    theory=each.theory.rates,
                    group=state["group"],
                    ghost=state["ghost"],
                )
                for each, state in zip(self._thinned, self._states, strict=True)
            ]
        return figure(curves, y=self._y, x=self._x, log=self._log, band=self._band)

    def close(self) -> None:
        """Follow the runs no longer, and take the views away."""
        self._ended.set()
        for end in self._listening:
            end()
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
            new = [run for run in dict.fromkeys(runs) if run not in known]
            self._thinned += [Thinned(run) for run in new]
            self._listening += [run.listen(self._again) for run in new]
            self._ghosts = [run for run in self._ghosts if run not in runs] if known else self._ghosts
            self._look()
            self._begin()

    def _begin(self) -> None:
        if self._thread is None and not self._ended.is_set():
            self._thread = threading.Thread(target=self._work, name="ifog curves", daemon=True)
            self._thread.start()

    def _again(self) -> None:
        """A run has news, and tells so from its own thread: nothing to do, unless all were over and this one was extended."""
        if self._thread is None:
            with self._lock:
                self._begin()

    def _work(self) -> None:
        while not self._ended.wait(_PERIOD):
            with self._lock:
                over = all(run.over for run in self.runs)
                news = self._news()
                if over:
                    self._thread = None
            self._tell(news)
            if over:
                self._renew_pictures()
                return

    def _look(self) -> None:
        for each in self._thinned:
            each.look()
        groups = _groups(self.runs)
        self._states = [_state(each, groups[each.run], each.run in self._ghosts) for each in self._thinned]

    def _tell(self, news: messages.Rows | None) -> None:
        if news is not None:
            self._send_now(news)

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
        return [messages.Curves(self._y, self._x, self._log, self._band), self._rows([0] * len(self._thinned))]

    def _alone(self) -> list[Any]:
        return self._state()

    def _catch_up(self) -> None:
        self._look()
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


def _earlier(ghosts: int | Iterable[Run | Comparison], drawn: Sequence[Run]) -> list[Run]:
    """The runs to compare with."""
    if isinstance(ghosts, int) and not isinstance(ghosts, bool) and ghosts >= 0:
        return [run for run in experiment.runs if run not in drawn][-ghosts:] if ghosts else []
    if isinstance(ghosts, bool | int | str) or not isinstance(ghosts, Iterable):
        raise ArgumentError(f"ghosts={ghosts!r:.60}: earlier runs, or how many of the last ones")
    return [run for run in _checked(ghosts) if run not in drawn]


def _groups(runs: Sequence[Run]) -> dict[Run, str]:
    """What runs are called together that differ in nothing but their seed."""
    alike: dict[str, list[Run]] = {}
    for run in runs:
        about = {key: value for key, value in run.about.items() if key != "seed"}
        alike.setdefault(repr((about, run.parameters, run.marks)), []).append(run)
    names = dict.fromkeys(runs, "")
    for group in alike.values():
        seeds = [run.about.get("seed") for run in group]
        if len(group) > 1 and None not in seeds and len(set(seeds)) == len(seeds):
            name = group[0].name.removesuffix(f", seed {seeds[0]}")
            names |= dict.fromkeys(group, f"{name}, {len(group)} seeds")
    return names


def _state(each: Thinned, group: str, ghost: bool) -> messages.RunState:
    run, note = each.run, ""
    if run.error is not None:
        note = f"{type(run.error).__name__}: {run.error}".split("\n", 1)[0]
    elif not len(each):
        note = "nothing recorded" if run.over else "nothing recorded yet"
    return {
        "name": run.name,
        "status": run.status,
        "note": note,
        "marks": [{"at": int(k), "what": what} for k, what in list(run.marks)],
        "theory": [{"at": int(k), "rate": rate} for k, rate in each.theory.rates],
        "shrinking": theory.METRICS,
        "group": group,
        "ghost": ghost,
    }


def _said(state: messages.RunState) -> str:
    """What is worth saying of a run beside its name."""
    return state["note"] or ("" if state["status"] == "done" else state["status"])
