"""Where a run may work other than here: ``run(…, on=place)``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from .history import History
from .steering import Command

if TYPE_CHECKING:
    from .live import Run


class Place(Protocol):
    """Somewhere that runs experiments, such as the engines of a notebook."""

    def submit(self, task: Mapping[str, Any]) -> Run:
        """Begin a run, given by the arguments of `run`; at once, a run that mirrors it."""
        ...

    def records(self, run: Run) -> History:
        """What has been recorded of it."""
        ...

    def command(self, run: Run, command: Command) -> None:
        """Steer it."""
        ...
