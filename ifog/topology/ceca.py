"""CECA: the exact mean in ⌈log₂ n⌉ rounds for every n, one message sent and one received by each node in a round.

Ding, Jin, Ying, Yuan, Yin, *DSGD-CECA: Decentralized SGD with communication-optimal exact consensus algorithm*, 2023,
https://arxiv.org/abs/2306.00256

The price is a second buffer: node i keeps a, the mean over the m + 1 nodes {i, i−1 … i−m}, and b, the mean over the m
before it, {i−1 … i−m}. The binary digits d of n − 1, first to last, say how to double the window: m ← 2m + d.

- d = 1: receive the neighbour window's a. a ← (a + r)/2 and b ← (m b + (m+1) r)/(2m+1).
- d = 0: receive the neighbour window's b. a ← ((m+1) a + m r)/(2m+1) and b ← (b + r)/2.

Start with a = x and any finite b.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property, partial
from typing import Any, Literal, NamedTuple, NoReturn

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..errors import TopologyError
from .arguments import log2_ceil
from .families import family
from .graph import Graph, Schedule
from .matrix import digest, read_only


class Coefficients(NamedTuple):
    """What a round does at each node with the received value r: a ← a_own·a + a_received·r, and b likewise."""

    message: Literal["a", "b"]
    """Which buffer is sent."""
    a_own: float
    a_received: float
    b_own: float
    b_received: float


class Exchange(Graph):
    """One round of CECA: every node sends one of its two buffers to one peer and hears from one.

    It has no n × n matrix W, so it cannot be mixed with alone; ``matrix`` is its 2n × 2n form, acting on a above b.
    """

    coefficients: Coefficients

    def __init__(self, senders: NDArray[np.int64], coefficients: Coefficients) -> None:
        n = len(senders)
        pattern = sp.csr_array((np.ones(n, dtype=bool), senders, np.arange(n + 1)), shape=(n, n))
        super().__init__(pattern, name="custom", connected=False)
        self.__dict__["coefficients"] = coefficients

    @cached_property
    def matrix(self) -> sp.csr_array:
        """The round as a 2n × 2n row-stochastic matrix on the stacked buffers [a; b]."""
        c = self.coefficients
        P, identity = self.pattern.astype(np.float64), sp.eye_array(self.n)
        a_part = c.a_received * P
        b_part = c.b_received * P
        blocks = (
            [[c.a_own * identity + a_part, None], [b_part, c.b_own * identity]]
            if c.message == "a"
            else [[c.a_own * identity, a_part], [None, c.b_own * identity + b_part]]
        )
        matrix = sp.csr_array(sp.block_array(blocks))
        matrix.eliminate_zeros()
        read_only(matrix.data, matrix.indices, matrix.indptr)
        return matrix

    @property
    def W(self) -> NoReturn:
        """Refused by name: a round of CECA works on two buffers."""
        raise self._no_matrix()

    def __matmul__(self, x: Any) -> NoReturn:
        raise self._no_matrix()

    def _no_matrix(self) -> TopologyError:
        return TopologyError(
            f"{self.label} has no n × n matrix W: CECA works on two buffers; use .coefficients, or .matrix for the 2n × 2n form"
        )

    @property
    def row_stochastic(self) -> bool:
        """Rows of the 2n × 2n matrix sum to one."""
        return True

    @property
    def column_stochastic(self) -> bool:
        """False: only the mean of a is kept, not the sum of both buffers."""
        return False

    @property
    def symmetric(self) -> bool:
        """False: the two buffers play different parts."""
        return False

    @cached_property
    def fingerprint(self) -> str:
        """Equal for equal peers and coefficients, on every machine."""
        return digest("exchange", self.n, self.coefficients, self.pattern.indices)

    def start(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """The two buffers [x; 0]."""
        return np.concatenate([x, np.zeros_like(x)])

    def _facts(self) -> list[str]:
        return [f"one message each way, sends {self.coefficients.message}"]


@family
def ceca(n: int, *, ports: int = 2) -> Schedule:
    """Exact averaging in ⌈log₂ n⌉ rounds for every n. Its rounds have ``.coefficients`` instead of weights.

    With two ports a node sends to one peer and receives from another; with one port (even n) nodes talk in pairs.

    >>> [ceca(n).rounds_to_exact for n in (3, 6, 12, 100)]
    [2, 3, 4, 7]
    """
    if isinstance(ports, bool) or ports not in (1, 2):
        raise TopologyError(f"ports={ports!r}: 2 (send to one peer, receive from another) or 1 (talk in pairs)")
    if ports == 1 and n % 2:
        raise TopologyError(f"ceca(n={n}, ports=1): pairs need an even n; ceca({n}) with two ports works for every n")
    return Schedule(partial(_round, n, ports), n=n, period=log2_ceil(n))


def _round(n: int, ports: int, k: int) -> Exchange:
    m, digit = list(_windows(n))[k]
    i = np.arange(n)
    # in pairs, even nodes grow their windows to the right and odd ones to the left; an odd distance makes them meet
    distance = m + digit if ports == 2 else np.where(i % 2 == 0, -1, 1) * (2 * m + 1)
    senders = (i - distance) % n
    whole = 2 * m + 1
    if digit:
        return Exchange(senders, Coefficients("a", 1 / 2, 1 / 2, m / whole, (m + 1) / whole))
    return Exchange(senders, Coefficients("b", (m + 1) / whole, m / whole, 1 / 2, 1 / 2))


def _windows(n: int) -> Iterator[tuple[int, int]]:
    """(m, digit) of each round: the window before it, and the binary digit of n − 1 that it appends."""
    m = 0
    for position in reversed(range(log2_ceil(n))):
        digit = (n - 1) >> position & 1
        yield m, digit
        m = 2 * m + digit
