"""How far a run is: a bar in the terminal or in the notebook."""

from __future__ import annotations

import sys
import time
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .live import Run

_EVERY = 0.2  # seconds
_AFTER = 0.5  # what is over sooner needs no bar


class Progress:
    """A bar that is drawn now and then."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._next = time.monotonic() + _AFTER
        self._drawn: Any = None

    def show(self, run: Run) -> None:
        """Draw it, if it is time."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _EVERY
            self._draw(run)

    def close(self) -> None:
        """Show the end."""
        if self._drawn is not None:
            self._draw(self._run)
            self._end()

    def _draw(self, run: Run) -> None:
        raise NotImplementedError

    def _end(self) -> None:
        pass


class _Terminal(Progress):
    def _draw(self, run: Run) -> None:
        if self._drawn is None:
            from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:.0f}/{task.total}"))
            self._drawn = Bar(*columns, TimeElapsedColumn(), TimeRemainingColumn(), auto_refresh=False)
            self._task = self._drawn.add_task(run.name, total=run.steps)
            self._drawn.start()
        self._drawn.update(self._task, completed=run.iteration, description=f"{run.name} {said(run)}")
        self._drawn.refresh()

    def _end(self) -> None:
        self._drawn.stop()


class _Notebook(Progress):
    def _draw(self, run: Run) -> None:
        from IPython import display

        share = "" if run.steps is None else f'max="{run.steps}" value="{run.iteration}"'
        of = "" if run.steps is None else f" of {run.steps}"
        bar: Any = display.HTML(  # type: ignore[no-untyped-call]
            f'<div style="font-family:sans-serif"><progress {share} style="width:16em;vertical-align:middle"></progress> '
            f"{escape(run.name)}: {run.iteration}{of} {escape(said(run))}</div>"
        )
        if self._drawn is None:
            self._drawn = display.display(bar, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._drawn.update(bar)


def said(run: Run) -> str:
    """What is worth seeing beside the bar."""
    last = run.records.last
    found = next((name for name in ("error", "loss") if last.get(name, float("nan")) == last.get(name)), None)
    return "" if found is None else f"{found} {last[found]:.2e}"


def in_notebook() -> bool:
    """Whether somebody watches in a notebook."""
    shell = sys.modules.get("IPython")
    ip = None if shell is None else shell.get_ipython()
    return ip is not None and getattr(ip, "kernel", None) is not None


def shown(run: Run, wanted: bool | None) -> Progress | None:
    """The bar for this place, if there should be one: by default where somebody watches."""
    if wanted is False:
        return None
    if in_notebook():
        return _Notebook(run)
    return _Terminal(run) if wanted or sys.stderr.isatty() else None
