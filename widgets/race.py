"""A race: several methods or topologies on one problem, and who comes to the target with the least effort.

>>> import ifog
>>> from ifog import widgets
>>> runs = ifog.compare(["dgd", "extra"], problem="least_squares", n=8, topology="ring", steps=400, lr=0.1)
>>> race = widgets.Race(runs, by="messages", target=1e-3)
>>> race.standings["run"].tolist()
['extra on ring(8)', 'dgd on ring(8)']
>>> race.standings["messages"].notna().tolist()  # dgd ends before the target
[True, False]
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ifog.errors import ArgumentError
from ifog.experiment import Comparison, Run, compare

from . import messages, picture
from .convergence import Convergence
from .live import STATIC, LiveWidget
from .race_figure import Runner, figure

if TYPE_CHECKING:
    import pandas as pd

MEASURES = ("iteration", "messages", "bytes", "seconds", "simulated")
"""What effort can be counted by."""
_PERIOD = 0.5  # seconds between two looks at what has been recorded
_DECADES = 1e-3  # the target, unless somebody says another: so much of the error at the start


class Race(LiveWidget):
    """Runs side by side, ranked by what they spend until ``value`` is at the target.

    Give a `Comparison`, runs, or what `ifog.compare` takes: then they begin at once, all at the same time (on engines one after
    the other), and the race is live. What is counted, ``by``, and the ``target`` can be changed at any time, here and in the
    page, where the race can also be played again.
    """

    _esm = (STATIC / "race.js").read_text()
    _css = (STATIC / "race.css").read_text()
    _per_second = 5.0

    def __init__(
        self,
        entries: Comparison | Sequence[Any],
        *,
        by: str = "iteration",
        target: float | None = None,
        value: str = "error",
        presentation: bool = False,
        **common: Any,
    ) -> None:
        self._ended = threading.Event()
        if not isinstance(value, str):
            raise ArgumentError(f"value={value!r:.60}: the name of what was recorded, such as 'error' or 'disagreement'")
        self._by, self._value = _measure(by), value
        self._target = None if target is None else _positive(target)
        if isinstance(entries, Comparison):
            if common:
                raise ArgumentError(f"{min(common)}=…: the runs are there already; give what is to be run to change that")
            self._comparison = entries
        else:
            self._comparison = compare(entries, **{"wait": False, "progress": False, **common})
        if not len(self._comparison):
            raise ArgumentError(
                "a race needs runners: give runs, or what is to be run, such as [('dgd', 'ring'), ('extra', 'ring')]"
            )
        self._told: messages.Race | None = None
        super().__init__(presentation=presentation)
        threading.Thread(target=self._work, name="ifog race", daemon=True).start()

    def _make_parts(self) -> tuple[LiveWidget, ...]:
        self.curves = Convergence(self._comparison, y=self._value, x=self._by, within=self, part="curves")
        return (self.curves,)

    # ---- from Python ---------------------------------------------------------------------------------------------------

    @property
    def runs(self) -> list[Run]:
        """The runners."""
        return self._comparison.runs

    @property
    def by(self) -> str:
        """What is counted: one of `MEASURES`."""
        return self._by

    @by.setter
    def by(self, by: str) -> None:
        self._by = _measure(by)
        self._tell()

    @property
    def target(self) -> float:
        """Who is there has arrived; unless it was given, a thousandth of where the first of them began."""
        if self._target is not None:
            return self._target
        first = next((row[self._value] for run in self.runs if self._value in (row := run.records.first)), math.nan)
        return float(f"{first * _DECADES:.0e}") if 0 < first < math.inf else 1e-3

    @target.setter
    def target(self, target: float) -> None:
        self._target = _positive(target)
        self._tell()

    @property
    def standings(self) -> pd.DataFrame:
        """The runs in the order of the race: what each has spent until the target (NaN: not there), and its last value."""
        import pandas as pd

        return pd.DataFrame(
            {"place": runner.place, "run": runner.name, self._by: runner.cost, self._value: runner.value}
            for runner in sorted(self._runners(), key=lambda runner: runner.place)
        )

    def stop(self) -> None:
        """End all runs; where they are then counts."""
        for run in self.runs:
            run.stop()

    def close(self) -> None:
        """Follow the runs no longer, and take the views away."""
        self._ended.set()
        super().close()

    def __repr__(self) -> str:
        return f"<race of {', '.join(run.name for run in self.runs)} to {self._value} {self.target:g} by {self._by}>"

    @property
    def _label(self) -> str:  # type: ignore[override]
        return repr(self)[1:-1]

    def _runners(self) -> list[Runner]:
        target = self.target
        runners = []
        for run in self.runs:
            columns = run.records.columns()
            costs, values = (np.array(columns.get(name, ()), np.float64) for name in (self._by, self._value))
            count = min(len(costs), len(values))
            runners.append(Runner.of(run.name, costs[:count], values[:count], target, failed=run.status == "failed"))
        order = sorted(runners, key=lambda runner: (math.inf if math.isnan(runner.cost) else runner.cost, -runner.share))
        return [runner._replace(place=order.index(runner) + 1) for runner in runners]

    # ---- to and from the page ----------------------------------------------------------------------------------------------

    def _work(self) -> None:
        over = False
        while not over and not self._ended.wait(_PERIOD):
            over = all(run.over for run in self.runs)
            self._tell()

    def _message(self) -> messages.Race:
        known: Mapping[str, Sequence[float]] = self.runs[0].records.columns()
        measures = [name for name in MEASURES if name == self._by or any(map(math.isfinite, known.get(name, ())))]
        return messages.Race(self._by, self.target, self._value, measures)

    def _tell(self) -> None:
        message = self._message()
        if message != self._told:
            self._told = message
            self._sender.offer(message)

    def _state(self) -> list[Any]:
        return [self._message()]

    def _alone(self) -> list[Any]:
        return self._state()

    def _catch_up(self) -> None:
        self._sender.offer(self._message())

    def _take(self, message: Any) -> None:
        if isinstance(message, messages.Press) and message.what == "stop":
            threading.Thread(target=self.stop, name="ifog race", daemon=True).start()  # it may take a while elsewhere
        elif isinstance(message, messages.Choose) and message.what == "by" and message.value in MEASURES:
            self.by = message.value
        elif isinstance(message, messages.Choose) and message.what == "target":
            try:
                self.target = float(message.value)
            except ValueError:  # of a page of another version: the target stays
                self._tell()

    def _picture(self) -> str:
        lanes = figure(self._runners(), by=self._by, target=self.target, value=self._value)
        return picture.below(self._label, lanes, self.curves._picture())


def _measure(by: Any) -> str:
    if by not in MEASURES:
        raise ArgumentError(f"by={by!r:.40}: one of {', '.join(map(repr, MEASURES))}")
    return str(by)


def _positive(target: Any) -> float:
    if isinstance(target, bool) or not isinstance(target, int | float) or not 0 < target < math.inf:
        raise ArgumentError(f"target={target!r:.40}: give a number above 0, such as 1e-3")
    return float(target)
