"""``check("3.1", answer)``: is it right? And if not, what came of it, and what may help.

The answer runs in a thread with a time limit, so one that does not end is a wrong one. Only if it cannot be ended, because it
is inside a computation that nobody can interrupt, does its thread stay behind.
"""

from __future__ import annotations

import ctypes
import difflib
import html
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..errors import ArgumentError, IfogError
from .exercise import Attempt, Exercise, Unanswered, Wrong, exercises

GRADING = "IFOG_GRADING_SEED"
"""The environment variable of those who grade: other instances than students have seen, and what is not right is an error."""
_LIMIT = 10.0  # seconds that an answer may take
_INSIST = 0.2  # seconds between two attempts to end it
_LEAVE = 3.0  # seconds after which it is left alone
_MISSING: Any = object()


class TooLong(BaseException):
    """Raised inside an answer whose time is over. No `Exception`: an answer that catches those must end too."""


@dataclass(frozen=True)
class Verdict:
    """What is said of an answer. It is true if the answer is right, so ``assert check(…)`` works."""

    exercise: Exercise
    right: bool
    said: str
    hint: str = ""
    answered: bool = True

    def __bool__(self) -> bool:
        return self.right

    def __repr__(self) -> str:
        lines = [f"{self._mark} {self.exercise.number} {self.exercise.signature}: {self.said}"]
        return "\n".join(lines + [f"Hint: {self.hint}"] * bool(self.hint))

    @property
    def _mark(self) -> str:
        return "✓" if self.right else "✗" if self.answered else "○"

    def _repr_html_(self) -> str:
        colour = "#009E73" if self.right else "#D55E00" if self.answered else "#7d828c"
        hint = f'<div style="margin-top:4px"><b>Hint</b> {_as_html(self.hint)}</div>' if self.hint else ""
        return (
            f'<div style="border-left:4px solid {colour};padding:4px 12px;margin:2px 0;font:14px/1.5 var(--jp-ui-font-family,'
            f'system-ui,sans-serif);max-width:50em"><b style="color:{colour}">{self._mark} {self.exercise.number}</b> '
            f"<code>{html.escape(self.exercise.signature)}</code>, {html.escape(self.exercise.title)}"
            f"<div>{_as_html(self.said)}</div>{hint}</div>"
        )


def _as_html(text: str) -> str:
    """A sentence with `code` in it."""
    parts = html.escape(text[:1].upper() + text[1:]).split("`")
    return "".join(f"<code>{part}</code>" if k % 2 else part for k, part in enumerate(parts))


def check(number: str, answer: Any = _MISSING, *, seed: int | None = None, seconds: float = _LIMIT) -> Verdict:
    """Whether an answer to an exercise is right, tried on instances drawn from a seed. Give the function itself, not a call.

    Where the function lives on the engines, defined in a ``%%px`` cell, it is found by its name: ``check("0.2")``.

    With the environment variable ``IFOG_GRADING_SEED`` the seed is that number, and an answer that is not right is an
    AssertionError: so nbgrader, and whatever else runs notebooks, can grade with instances that nobody has seen.
    """
    grading = os.environ.get(GRADING, "")
    if grading and not grading.isdecimal():
        raise ArgumentError(f"{GRADING}={grading!r}: a whole number, the seed of the instances to grade with")
    verdict = _verdict(number, answer, int(grading or 0) if seed is None else seed, seconds)
    if grading and not verdict:
        raise AssertionError(repr(verdict))
    return verdict


def _verdict(number: str, answer: Any, seed: int, seconds: float) -> Verdict:
    known = exercises()
    if number not in known:
        near = difflib.get_close_matches(str(number), known, n=1)
        perhaps = f"; is it {near[0]!r}?" if near else ""
        raise ArgumentError(f"number={number!r}: there is no such exercise{perhaps}. There are {', '.join(known)}")
    wanted = known[number]
    try:
        if wanted.on_engines:
            from .engines import Engines

            attempt: Any = Engines(wanted, seed, seconds)
            said = wanted.grade(attempt)
        else:
            said = _within(seconds, lambda: wanted.grade(_attempt(wanted, answer, seed)))
    except Wrong as wrong:
        return Verdict(wanted, False, str(wrong), wrong.hint, answered=not isinstance(wrong, Unanswered))
    except TooLong:
        return Verdict(wanted, False, f"it has not ended after {seconds:g} s", "is there a loop that never ends?")
    except IfogError as error:  # no engines, for instance
        return Verdict(wanted, False, str(error))
    return Verdict(wanted, True, said or "right")


def _attempt(wanted: Exercise, answer: Any, seed: int) -> Attempt:
    call = f'check("{wanted.number}", {wanted.name})'
    if answer is _MISSING:
        raise Wrong(f"there is no answer: write `{call}`")
    if answer is ...:
        raise Unanswered(f"not answered yet: replace the … in `{wanted.name}` by your answer")
    if wanted.is_function and not callable(answer):
        raise Wrong(
            f"a function is wanted, and {answer!r:.40} is none",
            f"write `{call}`, with the function's name alone: not what a call of it gave",
        )
    return Attempt(wanted, answer, seed)


def _within(seconds: float, work: Callable[[], str | None]) -> str | None:
    """Do it, but not for longer."""
    found: list[str | None] = []
    failed: list[BaseException] = []

    def try_it() -> None:
        try:
            found.append(work())
        except BaseException as error:  # noqa: BLE001  (it is raised again, in the thread that waits for this one)
            failed.append(error)

    thread = threading.Thread(target=try_it, name="ifog check", daemon=True)
    thread.start()
    try:
        thread.join(seconds)
    finally:  # the time is over, or somebody has pressed stop
        late = thread.is_alive()
        until = time.monotonic() + _LEAVE
        while thread.is_alive() and time.monotonic() < until:  # more than once: it may be caught
            assert thread.ident is not None
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(TooLong))
            thread.join(_INSIST)
    if late:
        raise TooLong
    if failed:
        raise failed[0]
    return found[0]
