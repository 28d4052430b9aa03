"""What an engine tells the ranks' world about the cells that it runs. Light: it brings neither torch nor MPI.

Whoever runs user code on a rank calls `began` before it and `ended` after it. Nothing else is needed for a cell that fails
on one rank to release all the others, and for the next one to start clean.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .world import World

count = 0
"""How many cells have begun on this rank. 0: this is a script."""


sent: float | None = None
"""When the cell that runs was sent to the ranks, on the clock of `time.time`, if that is known."""


def began(when_sent: float | None = None) -> None:
    """A cell begins on this rank."""
    global count, sent
    count += 1
    sent = when_sent
    world = _world()
    if world is not None:
        world.cell_began()


def ended(error: BaseException | None = None) -> None:
    """The cell has ended; with an error, all ranks that wait for this one are released."""
    world = _world()
    if world is not None:
        world.cell_ended(error)


def _world() -> World | None:
    module = sys.modules.get(f"{__package__}.world")
    world: World | None = None if module is None else module.existing()
    return world
