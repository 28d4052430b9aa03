"""The register of families: a function marked with `@family` is a family, and every list of them finds it by itself.

A family is a function of the number of nodes that returns a `Topology` or a `Schedule`; the decorator checks n, and gives
the result its name and the parameters it was made from.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeAlias, TypeVar, cast

import numpy as np

from ..arguments import bind, label, no_such
from ..errors import TopologyError
from .arguments import whole
from .graph import Schedule, Topology

Family: TypeAlias = Callable[..., Schedule]
P = ParamSpec("P")
S = TypeVar("S", bound=Schedule)

MOST_NODES = 10_000_000  # a ring of more would fill the memory of a laptop

_FAMILIES: dict[str, Family] = {}


def family(make: Callable[Concatenate[int, P], S]) -> Callable[Concatenate[int, P], S]:
    """Register a family of topologies: a function of n, and of options by keyword."""
    signature = inspect.signature(make)

    @functools.wraps(make)
    def checked(n: int, *args: P.args, **options: P.kwargs) -> S:
        n = whole("n", n, minimum=1, maximum=MOST_NODES)
        bound = bind(make.__name__, signature, n, args, options)
        bound.arguments.update({key: _plain(value) for key, value in bound.arguments.items()})
        made = single() if n == 1 else make(*bound.args, **bound.kwargs)
        return cast(S, made._renamed(make.__name__, label(make.__name__, n, bound), bound.arguments))

    _FAMILIES[make.__name__] = checked
    return cast("Callable[Concatenate[int, P], S]", checked)


def _plain(value: Any) -> Any:
    """The same value as Python's own types, and a list as a tuple: what is remembered must not change."""
    if isinstance(value, np.ndarray | list | range):
        return tuple(_plain(item) for item in value)
    return value.item() if isinstance(value, np.generic) else value


def families() -> dict[str, Family]:
    """Every family, by name."""
    return dict(_FAMILIES)


def make(name: str, n: int, **options: Any) -> Schedule:
    """The member of a family given by its name, as in ``make("ring", 8)``."""
    if name not in _FAMILIES:
        raise TopologyError(no_such("topology", name, _FAMILIES, "families"))
    return _FAMILIES[name](n, **options)


def single() -> Topology:
    """The graph of one node: nobody to talk to, and its mean is its own value."""
    return Topology(np.ones((1, 1)))
