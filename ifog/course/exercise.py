"""What an exercise is: a number, what is asked for, and a function that tries an answer and says what is wrong with it.

::

    @exercise("3.1", "ring_rho(n)", "the ρ of a ring of n nodes, by a formula")
    def ring_rho(attempt):
        for n in attempt.some(range(3, 200), 5):
            attempt.close(attempt.number(n), (1 + 2 * math.cos(2 * math.pi / n)) / 3, f"ring_rho({n})")

A mistake that many make is not described but made: ``mistakes`` has for each hint what that mistake gives, and whoever gives
the same gets that hint.
"""

from __future__ import annotations

import linecache
import math
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")
Array = NDArray[np.float64]


class Wrong(Exception):
    """An answer that is not right: what came of it, and perhaps a hint."""

    def __init__(self, said: str, hint: str = "") -> None:
        super().__init__(said)
        self.hint = hint


class Unanswered(Wrong):
    """There is no answer yet: neither right nor a mistake."""


class Odd:
    """Something that an engine has given, and that is no number: what it is called and how it is shown are known here."""

    def __init__(self, kind: str, shown: str) -> None:
        self.kind, self.shown = kind, shown

    def __repr__(self) -> str:
        return self.shown


@dataclass(frozen=True)
class Exercise:
    """One exercise of the course."""

    number: str
    """Its chapter, a point, and its number there."""
    signature: str
    """What is asked for, as one would call it: ``ring_rho(n)``; without parentheses a value."""
    title: str
    """In words, what that is."""
    grade: Callable[[Any], str | None]
    """Tries an answer: raises `Wrong`, or returns what is to be said of a right one."""
    on_engines: bool
    """Whether the answer is a function that has been defined on the engines."""

    @property
    def name(self) -> str:
        """The name of what is asked for."""
        return self.signature.partition("(")[0]

    @property
    def is_function(self) -> bool:
        """Whether a function is asked for, and not a value."""
        return "(" in self.signature


_known: dict[str, Exercise] = {}


def exercise(
    number: str, signature: str, title: str, *, on_engines: bool = False
) -> Callable[[Callable[[Any], str | None]], Exercise]:
    """Put an exercise into the register: the tests find it there, and hold it to what they hold all to."""

    def register(grade: Callable[[Any], str | None]) -> Exercise:
        assert number not in _known, f"two exercises {number}"
        _known[number] = Exercise(number, signature, title, grade, on_engines)
        return _known[number]

    return register


def exercises() -> Mapping[str, Exercise]:
    """All exercises by their numbers, in the order of the chapters."""
    from . import chapters  # noqa: F401  (each chapter registers its own)

    return {number: _known[number] for number in sorted(_known, key=lambda number: [int(part) for part in number.split(".")])}


class Attempt:
    """An answer on trial, with random numbers to try it on. What it gives is looked at before it is compared."""

    def __init__(self, exercise: Exercise, answer: Any, seed: int) -> None:
        self.exercise, self.answer = exercise, answer
        self.random = np.random.default_rng([seed, *(int(part) for part in exercise.number.split("."))])

    # ---- to try it on ------------------------------------------------------------------------------------------------

    def some(self, values: Iterable[T], count: int) -> list[T]:
        """A few of the values, drawn at random."""
        there = list(values)
        return [there[int(k)] for k in self.random.choice(len(there), count, replace=False)]

    # ---- what it gives -----------------------------------------------------------------------------------------------

    def call(self, *args: Any) -> Any:
        """What the function gives; its own error becomes a `Wrong`. It gets copies: what it does to them does no harm."""
        try:
            return self.answer(*(arg.copy() if isinstance(arg, np.ndarray) else arg for arg in args))
        except Wrong:  # of what it was given to talk with
            raise
        except Exception as error:
            raise Wrong(f"{self.called(*args)} raised {_in_words(error)}") from error

    def called(self, *args: Any) -> str:
        """The call, as one would write it."""
        return f"`{self.exercise.name}({', '.join(map(_short, args))})`"

    def number(self, *args: Any) -> float:
        """The number that the function gives."""
        return self.as_number(self.call(*args), self.called(*args))

    def array(self, *args: Any, shape: tuple[int, ...]) -> Array:
        """The array that the function gives."""
        return self.as_array(self.call(*args), shape, self.called(*args))

    def as_number(self, value: Any, said: str) -> float:
        """A number, or a `Wrong` that says what came instead."""
        found = self.as_array(value, (), said)
        return float(found)

    def there(self, value: Any, wanted: str, said: str) -> None:
        """Refuse what is no answer yet, and what no `return` has given."""
        if value is ... or (isinstance(value, tuple | list) and any(part is ... for part in value)):
            raise Unanswered(f"not answered yet: replace the … in `{self.exercise.name}` by your answer")
        if value is None:
            raise Wrong(f"{said} gave None, and {wanted} is wanted", "does the function end with `return …`?")

    def as_array(self, value: Any, shape: tuple[int, ...], said: str) -> Array:
        """An array of numbers of this shape, or a `Wrong` that says what came instead."""
        wanted = "a number" if shape == () else f"an array of the shape {shape}"
        self.there(value, wanted, said)
        if hasattr(value, "detach"):
            value = value.detach().cpu().numpy()
        try:
            found = np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError):
            kind = value.kind if isinstance(value, Odd) else type(value).__name__
            raise Wrong(f"{said} gave {_short(value)}, {_article(kind)}, and {wanted} is wanted") from None
        if shape == () and found.shape == (1,):
            found = found[0]
        if found.shape != shape:
            came = "one number" if found.shape == () else f"an array of the shape {found.shape}"
            raise Wrong(f"{said} gave {came}, and {wanted} is wanted")
        if not np.isfinite(found).all():
            raise Wrong(f"{said} gave {_short(value)}: what is not a number, or infinite, is not right")
        return found

    # ---- is it right? ------------------------------------------------------------------------------------------------

    def expect(self, true: Any, said: str, hint: str = "") -> None:
        """Hold it to something."""
        if not true:
            raise Wrong(said, hint)

    def close(
        self, got: Any, want: Any, said: str, *, within: float = 1e-9, mistakes: Mapping[str, Any] | None = None, hint: str = ""
    ) -> None:
        """Hold it to a number, or to an array, up to ``within`` (relative where the numbers are large)."""
        if _close(got, want, within):
            return
        if _close(got, want, 1e-6):
            hint, mistakes = "right to six digits: compute with 64 bits, as `np.float64` and `dtype=torch.float64` do", None
        recognised = next((text for text, wrong in (mistakes or {}).items() if _close(got, wrong, max(within, 1e-9))), hint)
        raise Wrong(f"{said} {'gave' if np.ndim(want) == 0 else 'is not right: it gave'} {_off(got, want)}", recognised)


def _close(got: Any, want: Any, within: float) -> bool:
    got, want = np.asarray(got), np.asarray(want)
    return got.shape == want.shape and bool((np.abs(got - want) <= within * np.maximum(1, np.abs(want))).all())


def _off(got: Any, want: Any) -> str:
    """How an answer differs from what is right."""
    got, want = np.asarray(got), np.asarray(want)
    if want.ndim == 0:
        return f"{_digits(float(got), float(want))}, and it is {_digits(float(want), float(got))}"
    at = tuple(int(k) for k in np.unravel_index(int(np.abs(got - want).argmax()), want.shape))
    where = ", ".join(map(str, at))
    here, there = float(got[at]), float(want[at])
    return f"{_digits(here, there)} at [{where}], where {_digits(there, here)} belongs"


def _digits(value: float, other: float) -> str:
    """So many digits that the two differ."""
    for count in range(4, 17):
        if f"{value:.{count}g}" != f"{other:.{count}g}":
            return f"{value:.{count}g}"
    return repr(value)


def _short(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"[{', '.join(f'{x:.3g}' for x in value)}]" if value.ndim == 1 and value.size <= 8 else "…"
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:.6g}"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _article(name: str) -> str:
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _in_words(error: BaseException) -> str:
    """An error, and the line of the answer that it comes from."""
    said = f"{type(error).__name__}: {error}"
    frames = traceback.extract_tb(error.__traceback__)[1:]  # the first is `call`
    own = [frame for frame in frames if "site-packages" not in frame.filename and "/ifog/" not in frame.filename]
    if own and own[-1].lineno:
        line = (own[-1].line or linecache.getline(own[-1].filename, own[-1].lineno)).strip()
        said += f", in line {own[-1].lineno}" + (f": `{line}`" if line else "")
    return said
