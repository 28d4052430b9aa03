"""The register of problems: a function marked with `@problem` is a problem, and every list of them finds it by itself.

It is a function of the number of nodes, and of options by keyword, that returns a `Problem`; the decorator checks n, and
gives the result its name and the parameters it was made from.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from ..arguments import bind, label, no_such
from ..errors import ProblemError
from .arguments import whole
from .contract import Problem

P = ParamSpec("P")
S = TypeVar("S", bound=Problem)

_PROBLEMS: dict[str, Callable[..., Problem]] = {}


def problem(make: Callable[Concatenate[int, P], S]) -> Callable[Concatenate[int, P], S]:
    """Register a problem: a function of n, and of options by keyword."""
    signature = inspect.signature(make)

    @functools.wraps(make)
    def checked(n: int, *args: P.args, **options: P.kwargs) -> S:
        n = whole("n", n, minimum=1)
        bound = bind(make.__name__, signature, n, args, options)
        made = make(*bound.args, **bound.kwargs)
        made.name, made.label, made.parameters = make.__name__, label(make.__name__, n, bound), dict(bound.arguments)
        return made

    known = _PROBLEMS.get(make.__name__)
    if known is not None and known.__module__.startswith(f"{__package__}.") and known.__module__ != make.__module__:
        raise ProblemError(
            f"{make.__name__} is a problem of ifog's own, from {known.__module__}: call yours something else, "
            f"e.g. my_{make.__name__}"
        )
    _PROBLEMS[make.__name__] = checked  # one's own may be defined again: so a cell is edited
    return cast("Callable[Concatenate[int, P], S]", checked)


def all() -> dict[str, Callable[..., Problem]]:  # noqa: A001
    """Every problem that can be made from n alone, by name."""
    return dict(_PROBLEMS)


def make(name: str, n: int, **options: Any) -> Problem:
    """The problem given by its name, as in ``make("least_squares", 16)``."""
    if name not in _PROBLEMS:
        raise ProblemError(no_such("problem", name, _PROBLEMS, "problems"))
    return _PROBLEMS[name](n, **options)
