"""Exponential graphs: neighbours at distances 1, 2, 4, 8 …, all at once or one at a time."""

from __future__ import annotations

from functools import partial

from .arguments import log2_ceil, warn, whole
from .families import family
from .graph import Schedule, Topology, circulant


@family
def exponential(n: int, *, base: int = 2) -> Topology:
    """Node i receives from i − 1, i − b, i − b² … (mod n), all with the same weight. The workhorse.

    With base 2 a node has τ = ⌈log₂ n⌉ neighbours, and ρ = 1 − 2/(τ + 1) for even n (less for odd n): the gap closes
    only logarithmically. Ying, Yuan, Chen, Hu, Pan, Yin, *Exponential graph is provably efficient for decentralized deep
    training*, 2021, https://arxiv.org/abs/2110.13363

    >>> exponential(8).in_neighbors(0)
    array([4, 6, 7])
    """
    offsets = _powers(whole("base", base, minimum=2), n)
    return circulant(n, dict.fromkeys([0, *offsets], 1 / (1 + len(offsets))))


@family
def symmetric_exponential(n: int, *, base: int = 4) -> Topology:
    """Neighbours at distances 1, b, b² … up to n/2, on both sides; uniform weights."""
    distances = _powers(whole("base", base, minimum=2), n // 2 + 1)
    offsets = {offset % n for distance in distances for offset in (distance, -distance)}  # n/2 is its own mirror image
    return circulant(n, dict.fromkeys([0, *sorted(offsets)], 1 / (1 + len(offsets))))


@family
def one_peer_exponential(n: int, *, base: int = 2) -> Schedule:
    """The exponential graph one neighbour at a time: in round k, node i averages with i − 2^(k mod τ).

    Exact after τ = log₂ n rounds, from any round on, when n is a power of two; never exact for other n, but nearly as
    good in practice. In base b there are b − 1 neighbours a round, i − j·bᵏ for j = 1 … b − 1.

    >>> one_peer_exponential(1024).rounds_to_exact
    10
    """
    base = whole("base", base, minimum=2)
    powers = _powers(base, n)
    if base ** len(powers) % n:
        power = "a power of two" if base == 2 else f"a divisor of {base}^{len(powers)}"
        warn(
            f"one_peer_exponential(n={n}) never averages exactly, because n is not {power}; "
            f"ceca({n}) does, in {log2_ceil(n)} rounds, and base_graph({n}) too",
        )
    return Schedule(partial(_one_peer_round, n, base), n=n, period=len(powers))


def _one_peer_round(n: int, base: int, k: int) -> Topology:
    weights: dict[int, float] = {}
    for j in range(min(base, n)):  # an offset that wraps around onto another adds to its weight
        offset = j * base**k % n
        times = 1 if base <= n else base // n + (j < base % n)
        weights[offset] = weights.get(offset, 0.0) + times / base
    return circulant(n, weights, connected=False)


def _powers(base: int, limit: int) -> list[int]:
    """1, b, b² … below the limit, in integers: a floating-point logarithm would lose 243 = 3⁵."""
    powers = []
    power = 1
    while power < limit:
        powers.append(power)
        power *= base
    return powers
