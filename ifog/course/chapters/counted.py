"""What nodes talk through: a matrix W that counts, and with which nothing can be done but to multiply what the nodes hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from ..exercise import Attempt, Wrong

Array = NDArray[np.float64]


class Counted:
    """W, and how often it was multiplied with: each time, all nodes talk to their neighbours once."""

    __array_ufunc__ = None  # so that `np.eye(n) + W` asks this class

    def __init__(self, W: Array, shape: tuple[int, ...], *, cut: bool = False) -> None:
        self._W = np.diag(np.diag(W)) if cut else W  # with the cable cut, everybody hears only themselves
        self._of, self.used = shape, 0

    def __matmul__(self, x: Any) -> Array:
        if np.shape(x) != self._of:  # else `W @ np.eye(n)` would tell all of W at once
            raise Wrong(
                f"W was multiplied with an array of the shape {np.shape(x)}: that is nothing that the nodes hold",
                f"each node sends what it holds: `W @ x`, with an x of the shape {self._of}",
            )
        self.used += 1
        product: Array = self._W @ np.asarray(x, dtype=np.float64)
        return product

    def _nothing_else(self, *_: Any, **__: Any) -> NoReturn:
        raise Wrong(
            "W was used for something else than `W @ x`",
            "no node has all of W: `W @ x` is a round of messages, and all that can be done with it. "
            "`(x + W @ x) / 2` is (I + W)/2 times x",
        )

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        self._nothing_else()

    def __repr__(self) -> str:
        return "W"

    __len__ = __getitem__ = __array__ = __rmatmul__ = __pow__ = _nothing_else
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __neg__ = _nothing_else


def knows_nothing_alone(attempt: Attempt, answer: Callable[[Array], Any], x: Array, said: str) -> None:
    """Hold an answer, given with the cable cut, to what node 0 can know: not the numbers of the others."""
    other = x + attempt.random.standard_normal(x.shape)
    other[0] = x[0]
    with np.errstate(all="ignore"):
        first, second = (attempt.as_array(answer(each), x.shape, said)[0] for each in (x, other))
    attempt.expect(
        np.allclose(first, second, rtol=1e-9, atol=1e-9),
        f"{said}: with its cables cut, node 0 still knew the numbers of the others",
        "a node's row is made of what it had and of what came through messages, and not of a mean or a sum over all rows",
    )
