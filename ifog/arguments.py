"""Checks of arguments that several rooms make, each with errors of its own."""

from __future__ import annotations

import difflib
import inspect
import operator
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from .errors import IfogError


def whole(name: str, value: Any, *, minimum: int, maximum: int | None = None, error: type[IfogError]) -> int:
    """The value as an int in a range."""
    try:
        if isinstance(value, bool | np.bool_):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise error(f"{name}={value!r}: {name} must be a whole number, at least {minimum}") from None
    if number < minimum or (maximum is not None and number > maximum):
        upto = "" if maximum is None else f" and at most {maximum}"
        raise error(f"{name}={number}: {name} must be at least {minimum}{upto}")
    return number


def bind(
    name: str, signature: inspect.Signature, n: int, args: Iterable[Any], options: Mapping[str, Any]
) -> inspect.BoundArguments:
    """All arguments of a call, also those that were left out; if it cannot be, the error shows what can."""
    try:
        call = signature.bind(n, *args, **options)
    except TypeError as error:
        known = str(signature.replace(return_annotation=signature.empty)).replace("'", "")
        raise TypeError(f"{name}: {error}; it is {name}{known}") from None
    call.apply_defaults()
    return call


def label(name: str, n: int, call: inspect.BoundArguments) -> str:
    """The call as one would type it, without the options that are at their defaults."""
    defaults = call.signature.parameters
    chosen = [f"{key}={value!r}" for key, value in call.arguments.items() if key != "n" and value != defaults[key].default]
    return f"{name}({', '.join([str(n), *chosen])})"


def no_such(kind: str, name: object, known: Mapping[str, Any], kinds: str) -> str:
    """That there is nothing of this name, what may have been meant, and what there is."""
    near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"there is no {kind} {name!r}: {hint}the {kinds} are {', '.join(known)}"
