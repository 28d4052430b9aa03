"""A matrix that counts how often nodes talk."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Counted:
    """W, and how often it was multiplied with: each time, all nodes talk to their neighbours once."""

    def __init__(self, W: Array) -> None:
        self.W, self.used = W, 0

    def __matmul__(self, x: Any) -> Array:
        self.used += 1
        product: Array = self.W @ np.asarray(x, dtype=np.float64)
        return product

    def __repr__(self) -> str:
        return "W"
