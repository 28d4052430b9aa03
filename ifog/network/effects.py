"""What goes wrong on the way: effects that a network is made with, and that its methods do not know of.

::

    Network("ring", 8, effects=[lose(0.1), noise(1e-3)])

They apply to all that nodes send each other (not to `mean`, which is exact by definition), and depend on the seed, the round
and the edge alone: the same messages are lost however nodes are placed on ranks. Compression is no effect: it is part of a
method (`ifog.algorithms.compress`). Slow nodes and late messages are a matter of `clock`.

Who averages, and misses a neighbour's value, takes his own in its place, so that his weights still sum to one. Who only sums,
as in push-sum, misses what was lost. Along an edge, zeros come in place of a lost message.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..errors import ArgumentError
from ..topology import Graph
from .clock import is_number
from .random import drawn

Integers = NDArray[np.int64]
_LOST, _CUT, _NOISE = 11, 12, 13  # what a draw is for


class Effect:
    """Nothing goes wrong: what an effect may say about messages, each named by its sender, its receiver and its round."""

    sigma = 0.0
    """The standard deviation of what is added to each number on its way."""
    loses = False
    """Whether messages may be lost."""

    def kept(self, seed: int, round: Any, senders: Integers, receivers: Integers) -> NDArray[np.bool_]:  # noqa: A002, ARG002
        """Which of the messages arrive."""
        return np.ones(len(senders), bool)


@dataclass(frozen=True)
class lose(Effect):  # noqa: N801  (called like a function)
    """Each message is lost with probability p, by itself: the sender does not know."""

    p: float
    loses = True

    def __post_init__(self) -> None:
        _check_share(f"lose(p={self.p!r})", self.p)

    def kept(self, seed: int, round: Any, senders: Integers, receivers: Integers) -> NDArray[np.bool_]:  # noqa: A002
        """Which of the messages arrive."""
        return drawn(seed, _LOST, round, senders, receivers) >= self.p


@dataclass(frozen=True)
class cut(Effect):  # noqa: N801
    """Each link is down for a round with probability p, in both directions: a symmetric W stays symmetric."""

    p: float
    loses = True

    def __post_init__(self) -> None:
        _check_share(f"cut(p={self.p!r})", self.p)

    def kept(self, seed: int, round: Any, senders: Integers, receivers: Integers) -> NDArray[np.bool_]:  # noqa: A002
        """Which of the messages arrive."""
        return drawn(seed, _CUT, round, np.minimum(senders, receivers), np.maximum(senders, receivers)) >= self.p


@dataclass(frozen=True)
class noise(Effect):  # noqa: N801
    """Normal noise of standard deviation σ is added to every number of every message."""

    sigma: float = 0.0

    def __post_init__(self) -> None:
        if not is_number(self.sigma) or self.sigma < 0:
            raise ArgumentError(f"noise(sigma={self.sigma!r}): give a standard deviation, zero or more, such as 1e-3")


class Effects:
    """All effects of a network together."""

    def __init__(self, effects: Sequence[Effect], seed: int) -> None:
        if not isinstance(effects, Sequence) or not all(isinstance(effect, Effect) for effect in effects):
            raise ArgumentError(f"effects={effects!r:.60}: give a list of effects, such as [lose(0.1), noise(1e-3)]")
        self.all = tuple(effects)
        self.seed = seed
        self.lose = any(effect.loses for effect in self.all)
        self.sigma = math.sqrt(sum(effect.sigma**2 for effect in self.all))
        """The standard deviation of all noise together."""

    def __bool__(self) -> bool:
        return bool(self.all)

    def kept(self, round: Any, senders: Integers, receivers: Integers) -> NDArray[np.bool_]:  # noqa: A002
        """Which messages get through."""
        arrives = np.ones(len(senders), bool)
        for effect in self.all:
            if effect.loses:
                arrives &= effect.kept(self.seed, round, senders, receivers)
        return arrives

    def thinned(self, graph: Graph, matrix: sp.csr_array, round: int) -> sp.csr_array:  # noqa: A002
        """The weights of a round in which messages are lost: they stay as zeros, since they were sent."""
        entries = matrix.tocoo()
        i, j = entries.coords[0].astype(np.int64), entries.coords[1].astype(np.int64)
        lost = (i != j) & ~self.kept(round, j, i)
        missing = np.bincount(i[lost], weights=entries.data[lost], minlength=graph.n)
        missing[~np.isclose(np.bincount(i, weights=entries.data, minlength=graph.n), 1.0, rtol=0, atol=1e-9)] = 0.0
        nodes = np.flatnonzero(missing)
        data = np.concatenate([np.where(lost, 0.0, entries.data), missing[nodes]])
        return sp.coo_array((data, (np.concatenate([i, nodes]), np.concatenate([j, nodes]))), shape=matrix.shape).tocsr()

    def normal(self, sender: int, receiver: int, count: int, width: int) -> NDArray[np.float64]:
        """The noise of one message of a mailbox."""
        places = np.arange(width)
        u, v = (drawn(self.seed, _NOISE + k, sender, receiver, count, places) for k in range(2))
        normal: NDArray[np.float64] = self.sigma * np.sqrt(-2 * np.log1p(-u)) * np.cos(2 * np.pi * v)
        return normal


def _check_share(said: str, p: Any) -> None:
    if not is_number(p) or not 0 <= p < 1:
        raise ArgumentError(f"{said}: give a probability from 0 on and below 1, such as 0.1")
