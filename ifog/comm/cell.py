"""What an engine tells the ranks' world about the cells that it runs. Light: it brings neither torch nor MPI.

Whoever runs user code on a rank calls `began` before it and `ended` after it. Nothing else is needed for a cell that fails
on one rank to release all the others, and for the next one to start clean.
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .world import World

count = 0
"""How many cells have begun on this rank. 0: this is a script."""


sent: float | None = None
"""When the cell that runs was sent to the ranks, on the clock of `time.time`, if that is known."""


running = False
"""Whether a cell runs now."""

_failed: BaseException | None = None
"""The error in which the last cell has ended."""

lock = threading.RLock()
"""Held while a cell begins or ends, or the world begins, which may be in another thread."""


def began(when_sent: float | None = None) -> None:
    """A cell begins on this rank."""
    global count, sent, running, _failed
    with lock:
        count += 1
        sent, running, _failed = when_sent, True, None
        world = _world()
        if world is not None:
            world.cell_began()


def ended(error: BaseException | None = None) -> None:
    """The cell has ended; with an error, all ranks that wait for this one are released."""
    global running, _failed
    with lock:
        running, _failed = False, error
        world = _world()
        if world is not None:
            world.cell_ended(error)


def catch_up(world: World) -> None:
    """Tell a world that begins, perhaps beside a running cell, what it has missed."""
    if count:
        world.cell_began()
        if not running:
            world.cell_ended(_failed)


def _world() -> World | None:
    module = sys.modules.get(f"{__package__}.world")
    world: World | None = None if module is None else module.existing()
    return world
