"""How the step size changes from one iteration to the next: a factor, by which the ``lr`` of the method is multiplied.

So ``run.set(lr=0.01)`` goes on meaning something while a schedule is in force: the whole of it moves.

>>> halved = LrSchedule("drops", at=(100, 200), factor=0.5, warmup=10)
>>> [halved(k) for k in (0, 9, 10, 100, 250)]
[0.1, 1.0, 1.0, 0.5, 0.25]
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

from ..errors import ArgumentError
from ..problems.arguments import whole

Factor: TypeAlias = "Callable[[int], float]"
"""The factor at an iteration."""

_SHAPES = ("constant", "cosine", "linear", "root", "drops")


@dataclass(frozen=True)
class LrSchedule:
    """A rise over ``warmup`` iterations, and then one of these shapes.

    ``constant``: 1. ``cosine`` and ``linear``: from 1 down to 0 in iteration ``steps``. ``root``: 1/√(k + 1). ``drops``: times
    ``factor`` at each of the iterations ``at``.
    """

    shape: str = "constant"
    steps: int = 0
    warmup: int = 0
    at: tuple[int, ...] = ()
    factor: float = 0.1

    def __post_init__(self) -> None:
        if self.shape not in _SHAPES:
            near = difflib.get_close_matches(str(self.shape), _SHAPES, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"the shapes are {', '.join(_SHAPES)}"
            raise ArgumentError(f"lr_schedule={self.shape!r}: {hint}")
        whole("warmup", self.warmup, error=ArgumentError)
        if self.shape in ("cosine", "linear"):
            whole("steps", self.steps, minimum=self.warmup + 1, error=ArgumentError)
        if self.shape == "drops" and not self.at:
            raise ArgumentError("lr_schedule='drops': say at which iterations, as in LrSchedule('drops', at=(1000, 2000))")
        if not 0 < self.factor <= 1:
            raise ArgumentError(f"factor={self.factor!r}: by how much lr is multiplied at each drop: above 0 and at most 1")

    def __call__(self, k: int) -> float:
        """The factor in iteration k."""
        if k < self.warmup:
            return (k + 1) / self.warmup
        match self.shape:
            case "cosine":
                return (1 + math.cos(math.pi * self._share(k))) / 2
            case "linear":
                return 1 - self._share(k)
            case "root":
                return 1 / math.sqrt(k - self.warmup + 1)
            case "drops":
                return float(self.factor ** sum(k >= at for at in self.at))
        return 1.0

    def __str__(self) -> str:
        return self.shape if not self.warmup else f"{self.shape} after {self.warmup}"

    def _share(self, k: int) -> float:
        """How much of the way is done."""
        return min(1.0, (k - self.warmup) / (self.steps - self.warmup))


def lr_schedule(given: Any, steps: int = 0, warmup: int = 0) -> Factor | None:
    """What was given for one: a shape's name, a schedule, a function of the iteration, or None."""
    if given is None and not warmup:
        return None
    if given is None or isinstance(given, str):
        return LrSchedule(given or "constant", steps=steps, warmup=warmup)
    if isinstance(given, Mapping):  # from a file
        fields = dict(given)
        return LrSchedule(**{**fields, "at": tuple(fields.get("at", ()))})
    if not callable(given):
        raise ArgumentError(
            f"lr_schedule={given!r:.60}: give a name ({', '.join(_SHAPES)}), an LrSchedule, or a function of the iteration"
        )
    made: Factor = given
    if warmup:
        return lambda k: (k + 1) / warmup if k < warmup else made(k)
    return made


def plain(schedule: Factor | None) -> Any:
    """As a file can hold it; a function of one's own as it is."""
    return asdict(schedule) if isinstance(schedule, LrSchedule) else schedule
