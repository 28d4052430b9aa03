"""Checks of arguments: each returns the value in the wanted type, or raises an error that names the argument."""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any

import numpy as np

from .. import arguments
from ..errors import IfogWarning, TopologyError, TopologyWarning

whole = partial(arguments.whole, error=TopologyError)
"""The value as an int in a range."""


def real(name: str, value: Any, meaning: str, *, above: float | None = None, at_least: float = -math.inf) -> float:
    """The value as a finite float, above or from a limit on; ``meaning`` says in words what is expected."""
    try:
        if isinstance(value, bool | np.bool_ | str):
            raise TypeError
        number = float(value)
    except (TypeError, ValueError):
        raise TopologyError(f"{name}={value!r}: {meaning}") from None
    if not math.isfinite(number) or number < at_least or (above is not None and number <= above):
        raise TopologyError(f"{name}={value!r}: {meaning}")
    return number


def share(name: str, value: Any, *, with_zero: bool = False, with_one: bool = True) -> float:
    """The value as a float between zero and one."""
    low = "at least 0" if with_zero else "above 0"
    high = "at most 1" if with_one else "below 1"
    meaning = f"{name} must be a number {low} and {high}"
    number = real(name, value, meaning, at_least=0)
    if (number == 0 and not with_zero) or number > 1 or (number == 1 and not with_one):
        raise TopologyError(f"{name}={value!r}: {meaning}")
    return number


_heard: ContextVar[list[str] | None] = ContextVar("heard", default=None)


@contextmanager
def heard() -> Iterator[list[str]]:
    """Within it, this thread's warnings of topologies are put on a list: for who tries some, or has another place to say so."""
    found: list[str] = []
    token = _heard.set(found)
    try:
        yield found
    finally:
        _heard.reset(token)


def warn(message: str, kind: type[IfogWarning] = TopologyWarning) -> None:
    """A warning that points at the line of the user, however deep inside ifog the matter was noticed."""
    listener = _heard.get()
    if listener is not None:
        listener.append(message)
        return
    frame, level = sys._getframe(1), 2
    while frame.f_globals.get("__name__", "").startswith("ifog.") and frame.f_back is not None:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, kind, stacklevel=level)


def log2_ceil(n: int) -> int:
    """⌈log₂ n⌉ in integers: floating-point logarithms go wrong for large n."""
    return (n - 1).bit_length()


def power_of_two(n: int, family_name: str, instead: str) -> int:
    """The exponent of a power of two."""
    if n & (n - 1):
        below = 1 << (n.bit_length() - 1)
        raise TopologyError(f"{family_name}(n={n}): n must be a power of two, such as {below} or {2 * below}; {instead}")
    return n.bit_length() - 1
