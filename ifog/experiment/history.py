"""What was recorded: a table with a row for each recorded iteration, which grows while the run goes on."""

from __future__ import annotations

import threading
import warnings
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
        self.tell()

    def tell(self) -> None:
        """Call the listeners. One that fails is not called again: those who watch must not end what they watch."""
        for listener in list(self.listeners):
            try:
                listener()
            except Exception as error:  # noqa: BLE001  it is somebody else's, and may fail in any way
                self.listeners.remove(listener)
                name = getattr(listener, "__name__", type(listener).__name__)
                warnings.warn(
                    f"{name} listened to a run, failed, and hears no more of it: {type(error).__name__}: {error}", stacklevel=2
                )

    def columns(self, begin: int = 0) -> dict[str, list[float]]:
        """The values by name, from row ``begin`` on."""
        with self._lock:
            return {name: values[begin:] for name, values in self._columns.items()}

    def __len__(self) -> int:
        return self._length

    @property
    def first(self) -> dict[str, float]:
        """The first row."""
        return self._row(0)

    @property
    def last(self) -> dict[str, float]:
        """The last row."""
        return self._row(-1)

    def _row(self, k: int) -> dict[str, float]:
        with self._lock:
            return {name: values[k] for name, values in self._columns.items()} if self._length else {}

    def frame(self) -> pd.DataFrame:
        """As a DataFrame."""
        import pandas as pd

        table = pd.DataFrame(self.columns())
        for name in ("iteration", "messages", "bytes"):
            if name in table and table[name].notna().all():
                table[name] = table[name].astype("int64")
        return table
