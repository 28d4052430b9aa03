"""A matrix that counts how often nodes talk."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..exercise import Wrong

Array = NDArray[np.float64]


class Counted:
    """W, and how often it was multiplied with: each time, all nodes talk to their neighbours once."""

    def __init__(self, W: Array, shape: tuple[int, ...]) -> None:
        self.W, self.shape, self.used = W, shape, 0

    def __matmul__(self, x: Any) -> Array:
        if np.shape(x) != self.shape:  # else `W @ np.eye(n)` would tell all of W at once
            raise Wrong(
                f"W was multiplied with an array of the shape {np.shape(x)}: that is nothing that the nodes hold",
                f"each node sends what it holds: `W @ x`, with an x of the shape {self.shape}",
            )
        self.used += 1
        product: Array = self.W @ np.asarray(x, dtype=np.float64)
        return product

    def __repr__(self) -> str:
        return "W"
