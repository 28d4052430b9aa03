"""The register of families: a function marked with `@family` is a family, and every list of them finds it by itself.

A family is a function of the number of nodes that returns a `Topology` or a `Schedule`; the decorator checks n, and gives
the result its name and the parameters it was made from.
"""

from __future__ import annotations

import functools
import inspect
import operator
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeAlias, TypeVar, cast

import numpy as np

from ..errors import TopologyError
from .graph import Schedule, Topology

Family: TypeAlias = Callable[..., Schedule]
P = ParamSpec("P")
S = TypeVar("S", bound=Schedule)

_FAMILIES: dict[str, Family] = {}


def family(make: Callable[Concatenate[int, P], S]) -> Callable[Concatenate[int, P], S]:
    """Register a family of topologies: a function of n, and of options by keyword."""
    signature = inspect.signature(make)

    @functools.wraps(make)
    def checked(n: int, *args: P.args, **options: P.kwargs) -> S:
        n = whole("n", n, minimum=1)
        try:
            bound = signature.bind(n, *args, **options)
        except TypeError as error:
            call = str(signature.replace(return_annotation=signature.empty)).replace("'", "")
            raise TypeError(f"{make.__name__}: {error}; it is {make.__name__}{call}") from None
        bound.apply_defaults()
        made = single() if n == 1 else make(*bound.args, **bound.kwargs)
        return cast(S, made._renamed(make.__name__, _label(make.__name__, n, bound), bound.arguments))

    _FAMILIES[make.__name__] = checked
    return cast("Callable[Concatenate[int, P], S]", checked)


def _label(name: str, n: int, call: inspect.BoundArguments) -> str:
    """The call as one would type it, without the options that are at their defaults."""
    defaults = call.signature.parameters
    chosen = [f"{key}={value!r}" for key, value in call.arguments.items() if key != "n" and value != defaults[key].default]
    return f"{name}({', '.join([str(n), *chosen])})"


def families() -> dict[str, Family]:
    """Every family, by name."""
    return dict(_FAMILIES)


def make(name: str, n: int, **options: Any) -> Schedule:
    """The member of a family given by its name, as in ``make("ring", 8)``."""
    if name not in _FAMILIES:
        import difflib

        near = difflib.get_close_matches(str(name), _FAMILIES, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise TopologyError(f"there is no topology {name!r}: {hint}the families are {', '.join(_FAMILIES)}")
    return _FAMILIES[name](n, **options)


def single() -> Topology:
    """The graph of one node: nobody to talk to, and its mean is its own value."""
    return Topology(np.ones((1, 1)))


# ---- checks that the families share ------------------------------------------------------------------------------------


def whole(name: str, value: Any, *, minimum: int, maximum: int | None = None) -> int:
    """The value as an int in the given range, or an error that names the argument."""
    try:
        if isinstance(value, bool | np.bool_):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise TopologyError(f"{name}={value!r}: {name} must be a whole number, at least {minimum}") from None
    if number < minimum or (maximum is not None and number > maximum):
        upto = "" if maximum is None else f" and at most {maximum}"
        raise TopologyError(f"{name}={number}: {name} must be at least {minimum}{upto}")
    return number


def between(name: str, value: Any, low: float, high: float) -> float:
    """The value as a float in (low, high], or an error that names the argument."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TopologyError(f"{name}={value!r}: {name} must be a number above {low:g} and at most {high:g}") from None
    if not low < number <= high:
        raise TopologyError(f"{name}={number:g}: {name} must be above {low:g} and at most {high:g}")
    return number


def log2_ceil(n: int) -> int:
    """⌈log₂ n⌉ in integers: floating-point logarithms go wrong for large n."""
    return (n - 1).bit_length()


def power_of_two(n: int, family_name: str, instead: str) -> int:
    """The exponent of a power of two, or an error that says which sizes are near."""
    if n & (n - 1):
        below = 1 << (n.bit_length() - 1)
        raise TopologyError(f"{family_name}(n={n}): n must be a power of two, such as {below} or {2 * below}; {instead}")
    return n.bit_length() - 1
