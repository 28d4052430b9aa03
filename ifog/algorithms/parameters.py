"""What the letters of methods stand for: the same letter means the same in every method, and has the same bounds."""

from __future__ import annotations

import numbers
from collections.abc import Callable
from typing import Any, NamedTuple

import torch


class Domain(NamedTuple):
    """What a parameter may be."""

    words: str
    holds: Callable[[Any], bool]
    example: str


def _number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _whole(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _positive(value: Any) -> bool:
    try:
        values = torch.as_tensor(value, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        return False
    return bool(((values > 0) & values.isfinite()).all())


def _compressor(value: Any) -> bool:
    return callable(value) and all(hasattr(value, name) for name in ("bits", "delta", "unbiased"))


_SHARE = Domain("a number from 0 on and below 1", lambda v: _number(v) and 0 <= v < 1, "0.9")
DOMAINS = {
    "lr": Domain("a step size, not negative", lambda v: _number(v) and v >= 0, "0.1"),
    "relative": Domain("a number above 0, or one for each node", _positive, "1.0"),
    "beta": _SHARE,
    "mu": _SHARE,
    "alpha": Domain("a number above 0", lambda v: _number(v) and v > 0, "1.0"),
    "eta": Domain("a number above 0", lambda v: _number(v) and v > 0, "0.001"),
    "weight_decay": Domain("a number, not negative", lambda v: _number(v) and v >= 0, "5e-4"),
    "gamma": Domain("a number above 0 and at most 1", lambda v: v is None or (_number(v) and 0 < v <= 1), "0.1"),
    "p": Domain("a probability above 0", lambda v: _number(v) and 0 < v <= 1, "0.1"),
    "H": Domain("a whole number of iterations, 1 or more", lambda v: _whole(v) and v >= 1, "6"),
    "tau": Domain("a whole number of iterations, 0 or more", lambda v: _whole(v) and v >= 0, "1"),
    "levels": Domain("a whole number, 1 or more", lambda v: _whole(v) and v >= 1, "4"),
    "mode": Domain("'counts' or 'world_size'", lambda v: v in ("counts", "world_size"), "'counts'"),
    "compress": Domain("a compressor of ifog.algorithms.compress", _compressor, "top_k(0.1)"),
    "least": Domain("a weight above 0 and below 1", lambda v: _number(v) and 0 < v < 1, "0.25"),
    "feedback": Domain("True or False", lambda v: isinstance(v, bool), "True"),
}
"""By name. A parameter that is not here may be anything but NaN or infinite."""
