"""Compressors: what a node sends instead of a vector, and how many bits that takes.

A compressor C is called as ``C(net, x)`` and compresses each row by itself. An unbiased one has E C(x) = x; the others are
contractions, E‖C(x) − x‖² ≤ (1 − δ)‖x‖², which need the method to remember what was lost.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch

from ..errors import ArgumentError
from ..network import Network

_FLOAT = 32  # bits of a number that is sent as it is


class Compressor(Protocol):
    """What a compressor can be asked."""

    @property
    def unbiased(self) -> bool:
        """Whether E C(x) = x."""
        ...

    def __call__(self, net: Network, x: torch.Tensor) -> torch.Tensor:
        """What arrives when each row of x is sent."""
        ...

    def bits(self, d: int) -> float:
        """The size of a message about d numbers."""
        ...

    def delta(self, d: int) -> float:
        """By how much it contracts at least: E‖C(x) − x‖² ≤ (1 − δ)‖x‖²."""
        ...


@dataclass(frozen=True)
class qsgd:  # noqa: N801  (called like a function)
    """Each number rounded at random to one of ``levels`` fractions of the row's norm.

    Alistarh, Grubic, Li, Tomioka, Vojnović, *QSGD: communication-efficient SGD via gradient quantization and encoding*, 2017,
    https://arxiv.org/abs/1610.02132
    """

    levels: int = 4
    unbiased: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.levels, int) or self.levels < 1:
            raise ArgumentError(f"qsgd(levels={self.levels!r}): give a whole number from 1 on")

    def __call__(self, net: Network, x: torch.Tensor) -> torch.Tensor:
        """What arrives when each row of x is sent."""
        norm = net.norm(x)
        scaled = torch.where(norm > 0, self.levels * x.abs() / norm, 0.0)
        level = torch.floor(scaled + net.random.uniform(x))  # up with the probability of the fraction
        quantised = norm * torch.sign(x) * level / self.levels
        return quantised if self.unbiased else quantised / (1 + self.omega(numbers(x)))

    def omega(self, d: int) -> float:
        """E‖C(x) − x‖² ≤ ω‖x‖² for the unbiased form."""
        return min(d / self.levels**2, math.sqrt(d) / self.levels)

    def bits(self, d: int) -> float:
        """The norm, and a sign and a level for each number."""
        return _FLOAT + d * math.log2(2 * self.levels + 1)

    def delta(self, d: int) -> float:
        """1/(1 + ω)."""
        _check_contraction(self)
        return 1 / (1 + self.omega(d))


@dataclass(frozen=True)
class top_k:  # noqa: N801
    """The largest share of the numbers, the others zero."""

    share: float = 0.1
    unbiased = False

    def __post_init__(self) -> None:
        _check_share(self, self.share)

    def __call__(self, net: Network, x: torch.Tensor) -> torch.Tensor:
        """What arrives when each row of x is sent."""
        return _keep(x, x.abs(), count(self.share, numbers(x)))

    def bits(self, d: int) -> float:
        """The numbers kept, and where they are."""
        return count(self.share, d) * (_FLOAT + math.ceil(math.log2(d)))

    def delta(self, d: int) -> float:
        """k/d."""
        return count(self.share, d) / d


@dataclass(frozen=True)
class random_k:  # noqa: N801
    """A share of the numbers drawn at random, the others zero; unbiased when scaled by d/k."""

    share: float = 0.1
    unbiased: bool = False

    def __post_init__(self) -> None:
        _check_share(self, self.share)

    def __call__(self, net: Network, x: torch.Tensor) -> torch.Tensor:
        """What arrives when each row of x is sent."""
        d = numbers(x)
        k = count(self.share, d)
        kept = _keep(x, net.random.uniform(x), k)
        return kept * d / k if self.unbiased else kept

    def bits(self, d: int) -> float:
        """The numbers kept: which they are, the receiver draws too."""
        return count(self.share, d) * _FLOAT

    def delta(self, d: int) -> float:
        """k/d."""
        _check_contraction(self)
        return count(self.share, d) / d


@dataclass(frozen=True)
class scaled_sign:  # noqa: N801
    """The signs, times the mean magnitude of the tensor: of each tensor by itself where the network knows them."""

    unbiased = False

    def __call__(self, net: Network, x: torch.Tensor) -> torch.Tensor:
        """What arrives when each row of x is sent."""
        size, d = net.norm(x, order=1, by=net.segments), net.norm(torch.ones_like(x), order=1, by=net.segments)
        return size / d * torch.sign(x)

    def bits(self, d: int) -> float:
        """A bit for each number, and the magnitude."""
        return d + _FLOAT

    def delta(self, d: int) -> float:
        """1/d at worst; 2/π for normal numbers."""
        return 1 / d


@dataclass(frozen=True)
class identity:  # noqa: N801
    """No compression, to compare with."""

    unbiased = True

    def __call__(self, net: Network, x: torch.Tensor) -> torch.Tensor:
        """What arrives when each row of x is sent."""
        return x

    def bits(self, d: int) -> float:
        """All numbers."""
        return _FLOAT * d

    def delta(self, d: int) -> float:
        """Nothing is lost."""
        return 1.0


def numbers(x: torch.Tensor) -> int:
    """How many numbers a row has."""
    return math.prod(x.shape[1:])


def count(share: float, d: int) -> int:
    """A share of d, at least one."""
    return max(1, round(share * d))


def _keep(x: torch.Tensor, score: torch.Tensor, k: int) -> torch.Tensor:
    rows, scores = x.flatten(1), score.flatten(1)
    chosen = scores.topk(k, dim=1).indices
    return torch.zeros_like(rows).scatter_(1, chosen, rows.gather(1, chosen)).view(x.shape)


def _check_share(compressor: object, share: float) -> None:
    if not 0 < share <= 1:
        raise ArgumentError(f"{compressor}: give a share above 0 and at most 1, such as 0.1")


def _check_contraction(compressor: Compressor) -> None:
    if compressor.unbiased:
        name = type(compressor).__name__
        raise ArgumentError(f"{compressor} is no contraction, and what it adds would be added up: take {name}(unbiased=False)")
