"""Checks of arguments: each returns the value in the wanted type, or raises an error that names the argument."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np

from .. import arguments
from ..errors import ProblemError

whole = partial(arguments.whole, minimum=0, error=ProblemError)
"""The value as an int in a range."""


def real(name: str, value: Any, *, above: float = -math.inf, at_least: float = -math.inf, infinite: bool = False) -> float:
    """The value as a float, above or from a limit on; finite unless it may be infinite."""
    limit = f" above {above:g}" if above > -math.inf else f", at least {at_least:g}" if at_least > -math.inf else ""
    try:
        if isinstance(value, bool | np.bool_ | str):
            raise TypeError
        number = float(value)
    except (TypeError, ValueError):
        raise ProblemError(f"{name}={value!r}: {name} must be a number{limit}") from None
    if math.isnan(number) or (math.isinf(number) and not infinite) or number < at_least or number <= above:
        raise ProblemError(f"{name}={value!r}: {name} must be a {'' if infinite else 'finite '}number{limit}")
    return number
