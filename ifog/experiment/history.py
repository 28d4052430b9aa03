"""What was recorded: a table with a row for each recorded iteration, which grows while the run goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

Rows = Mapping[str, Sequence[float]]
"""Some rows of the table: their values by name, as long as each other."""


class History:
    """Rows that one thread adds and others read."""

    def __init__(self, columns: Mapping[str, Sequence[float]] | None = None) -> None:
        self._columns: dict[str, list[float]] = {name: list(values) for name, values in (columns or {}).items()}
        self._length = max(map(len, self._columns.values()), default=0)
        self._lock = threading.Lock()
        self.listeners: list[Callable[[], None]] = []
        """Called after rows have been added, by the thread that adds them: they must be quick."""

    def add(self, rows: Rows) -> None:
        """Add rows; a name that is new begins with gaps, and one that is missing gets some."""
        count = len(next(iter(rows.values()), ()))
        if not count:
            return
        with self._lock:
            for name in rows:
                if name not in self._columns:
                    self._columns[name] = [np.nan] * self._length
            for name, values in self._columns.items():
                values.extend(rows.get(name, [np.nan] * count))
            self._length += count
        for listener in list(self.listeners):
            listener()

    def columns(self, begin: int = 0) -> dict[str, list[float]]:
        """The values by name, from row ``begin`` on."""
        with self._lock:
            return {name: values[begin:] for name, values in self._columns.items()}

    def __len__(self) -> int:
        return self._length

    @property
    def last(self) -> dict[str, float]:
        """The last row."""
        with self._lock:
            return {name: values[-1] for name, values in self._columns.items()} if self._length else {}

    def frame(self) -> pd.DataFrame:
        """As a DataFrame."""
        import pandas as pd

        table = pd.DataFrame(self.columns())
        for name in ("iteration", "messages", "bytes"):
            if name in table and table[name].notna().all():
                table[name] = table[name].astype("int64")
        return table
