"""A run's records, thinned out so that a page can hold and draw them however long the run is."""

from __future__ import annotations

import math

from ifog.experiment import Run

from .theory import Theory

ROWS = 2000
"""So many rows of a run are kept at most: more than a screen has pixels."""

Columns = dict[str, list[float]]


class Thinned:
    """Every row of a run at first; every second, fourth … once there are too many; and always the last of one that is over."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.columns: Columns = {}
        self.theory = Theory(run)
        self.told = 0
        """How many of the rows a page has been sent."""
        self._seen = 0
        self._stride = 1
        self._complete = False

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def look(self) -> None:
        """Take up what has been recorded since."""
        if self._complete and len(self.run.records) == self._seen:
            return
        self._complete = False  # it was extended
        self.theory.look()
        over, before = self.run.over, len(self)  # asked first: what is recorded before the end is then seen
        new = self.run.records.columns(self._seen)
        count = len(next(iter(new.values()), ()))
        begin = -self._seen % self._stride
        self._extend({name: values[begin :: self._stride] for name, values in new.items()}, before)
        self._seen += count
        if over:
            if self._seen and (self._seen - 1) % self._stride:
                last = self.run.records.last
                self._extend({name: [value] for name, value in last.items()}, len(self))
            self._complete = True

    def _extend(self, rows: Columns, before: int) -> None:
        for name, values in rows.items():
            if name not in self.columns:
                self.columns[name] = [math.nan] * before
                self.told = 0  # a page must learn of the new column's gaps
            self.columns[name] += values
        while len(self) > ROWS:
            self._stride *= 2
            self.columns = {name: values[::2] for name, values in self.columns.items()}
            self.told = 0
