"""By what the nodes of a network are coloured: numbers, or the names of states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ifog.errors import ArgumentError

from . import theme

Values = NDArray[np.float64]
_NONE = -16.0  # powers of ten below this stand for zero: where all nodes start at one point, they would take all the colours


@dataclass(frozen=True)
class Colouring:
    """One number for each node, and what it means."""

    values: Values | None = None
    names: tuple[str, ...] = ()
    """Of the states, if the values are their numbers."""
    what: str = ""
    """What the values are; empty if nobody has said."""
    log: bool = False
    """Whether they are powers of ten."""
    choices: tuple[str, ...] = ()
    """What else could be shown."""
    round: int | None = None
    limits: tuple[float, float] = (0.0, 1.0)

    def after(self, before: Colouring, low: float | None = None, high: float | None = None) -> Colouring:
        """With limits that hold what was shown before as well, so that agreement is seen as one colour; or with those given."""
        told = self._told()
        bottom, top = theme.limits(told)
        if before._told().size and (before.what, before.names) == (self.what, self.names):
            bottom, top = min(bottom, before.limits[0]), max(top, before.limits[1])
        return replace(self, limits=(bottom if low is None else float(low), top if high is None else float(high)))

    def _told(self) -> Values:
        """The values that say something."""
        values = np.zeros(0) if self.values is None else self.values[np.isfinite(self.values)]
        return values[values > _NONE] if self.log else values

    def colours(self, n: int) -> list[str]:
        """The colour of each of n nodes."""
        if self.values is None:
            return [theme.BLUE] * n
        if self.names:
            return [theme.CATEGORIES[int(value)] if value == value else theme.UNKNOWN for value in self.values.tolist()]
        return [theme.colour(value, *self.limits) for value in self.values.tolist()]


def colouring(given: Any, n: int, label: str, *, known: Sequence[str] = (), at: int | None = None) -> Colouring:
    """What somebody wants to be shown of the n nodes of a topology; ``known`` are the states that there were before."""
    if at is not None and (isinstance(at, bool) or not isinstance(at, int | np.integer) or at < 0):
        raise ArgumentError(f"round={at!r}: rounds are counted from 0")
    at = None if at is None else int(at)
    detached = given.detach().cpu() if hasattr(given, "detach") else given
    if isinstance(detached, list | tuple) and len(detached) == n and all(isinstance(each, str) for each in detached):
        names = tuple(dict.fromkeys([*known, *detached]))
        if len(names) > len(theme.CATEGORIES):
            raise ArgumentError(f"values: there are {len(names)} states, and colours for {len(theme.CATEGORIES)}")
        return Colouring(np.array([names.index(each) for each in detached], np.float64), names, round=at)
    try:
        found = np.array(detached, dtype=np.float64)
    except (TypeError, ValueError):
        raise ArgumentError(f"values={given!r:.60}: one number, or the name of a state, for each of the {n} nodes") from None
    if found.size != n or found.ndim == 0:
        raise ArgumentError(f"values has shape {found.shape}: one number for each of the {n} nodes of {label}")
    return Colouring(found.reshape(n), round=at)
