"""Random numbers that do not depend on where a node lives: they are a function of seed, node, iteration and place.

A stream for each of 10⁵ nodes would be slow. Here the numbers are hashed from their coordinates (the finaliser of SplitMix64,
Steele, Lea, Flood, *Fast splittable pseudorandom number generators*, 2014), all nodes at once.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .mailbox import Node
    from .network import Network

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
Bits = NDArray[np.uint64]


class Random:
    """Draws for the nodes hosted here, keyed by (seed, node, iteration); a second draw in an iteration gives other numbers."""

    def __init__(self, net: Network | Node, seed: int) -> None:
        self.seed = seed
        self._net = net
        self._round, self._draws = -1, 0

    def uniform(self, like: torch.Tensor) -> torch.Tensor:
        """Uniform on [0, 1), for each number of ``like``, whose rows are the nodes hosted here."""
        return self._as(
            like, self._unit(np.arange(self._net.nodes.start, self._net.nodes.stop), like[0].numel() if len(like) else 0)
        )

    def normal(self, like: torch.Tensor) -> torch.Tensor:
        """Standard normal."""
        radius = torch.sqrt(-2 * torch.log1p(-self.uniform(like)))
        return radius * torch.cos(2 * math.pi * self.uniform(like))

    def shared(self, count: int = 1) -> NDArray[np.float64]:
        """Uniform on [0, 1), the same on all nodes."""
        row: NDArray[np.float64] = self._unit(np.array([2**40]), count)[0]
        return row

    def again(self) -> None:
        """What is drawn next in this iteration is what was drawn first."""
        self._round = -1

    def _unit(self, nodes: NDArray[np.int64], count: int) -> NDArray[np.float64]:
        if self._round != self._net.round:
            self._round, self._draws = self._net.round, 0
        self._draws += 1
        with np.errstate(over="ignore"):
            key = np.uint64(self.seed)
            for coordinate in (self._net.round, self._draws):
                key = mixed(np.atleast_1d(key + _GOLDEN * np.uint64(coordinate + 1)))[0]
            rows = mixed(key + _GOLDEN * nodes.astype(np.uint64))
            bits = mixed(rows[:, None] + _GOLDEN * np.arange(1, count + 1, dtype=np.uint64))
        unit: NDArray[np.float64] = (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53
        return unit

    def _as(self, like: torch.Tensor, numbers: NDArray[np.float64]) -> torch.Tensor:
        return torch.from_numpy(numbers).view(like.shape).to(like.device, like.dtype)


def drawn(seed: int, *coordinates: Any) -> NDArray[np.float64]:
    """Uniform on [0, 1): a function of the seed and the coordinates, whole numbers or arrays of them, and of nothing else."""
    with np.errstate(over="ignore"):
        key = np.atleast_1d(np.uint64(seed))
        for coordinate in coordinates:
            key = mixed(key + _GOLDEN * (np.atleast_1d(coordinate).astype(np.uint64) + np.uint64(1)))
    unit: NDArray[np.float64] = (key >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return unit


def mixed(z: Bits) -> Bits:
    """The finaliser: every bit of what comes in changes every bit of what goes out with probability one half."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
