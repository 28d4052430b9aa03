"""Random numbers keyed by (seed, node, round): the same however nodes are placed on ranks, and in whatever order.

A counter-based generator: the numbers are a function of the key and need no state, so that those of all nodes come out of
one vectorised computation. Philox4x32-10 of Salmon, Moraes, Dror, Shaw, *Parallel random numbers: as easy as 1, 2, 3*, 2011,
https://doi.org/10.1145/2063384.2063405
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]

_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_WEYL = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)

_SAMPLES, _NOISE = 0, 1  # what the numbers are for: the last word of the counter


def philox(counter: tuple[Words, Words, Words, Words], key: tuple[int, int]) -> tuple[Words, Words, Words, Words]:
    """Four random words of 32 bits (held in 64) for each counter of four words."""
    a, b, c, d = counter
    k, l = np.uint64(key[0]), np.uint64(key[1])  # noqa: E741
    for _ in range(10):
        p, q = _MULTIPLIERS[0] * a, _MULTIPLIERS[1] * c
        a, b, c, d = (q >> _HALF) ^ b ^ k, q & _LOW, (p >> _HALF) ^ d ^ l, p & _LOW
        k, l = (k + _WEYL[0]) & _LOW, (l + _WEYL[1]) & _LOW  # noqa: E741
    return a, b, c, d


def integers(nodes: NDArray[np.int64], round: int, size: int, high: int, seed: int) -> NDArray[np.int64]:  # noqa: A002
    """``size`` numbers from 0 to high − 1 for each node, with replacement."""
    words = _words(nodes, round, size, _SAMPLES, seed)
    return ((words * np.uint64(high)) >> _HALF).astype(np.int64)  # uneven by less than high / 2³²


def normals(nodes: NDArray[np.int64], round: int, size: int, seed: int) -> NDArray[np.float64]:  # noqa: A002
    """``size`` standard normal numbers for each node (Box and Muller)."""
    half = (size + 1) // 2
    words = _words(nodes, round, 4 * half, _NOISE, seed)
    uniform = (((words[:, 0::2] << np.uint64(21)) ^ (words[:, 1::2] >> np.uint64(11))) + 0.5) * 2.0**-53  # in (0, 1)
    radius, angle = np.sqrt(-2 * np.log(uniform[:, 0::2])), 2 * np.pi * uniform[:, 1::2]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1)[:, :size]


def _words(nodes: NDArray[np.int64], round: int, count: int, purpose: int, seed: int) -> Words:  # noqa: A002
    """[k, count] words."""
    blocks = np.arange((count + 3) // 4, dtype=np.uint64)
    shape = (len(nodes), len(blocks))
    node = np.broadcast_to(nodes.astype(np.uint64)[:, None], shape)
    turn, use = (np.broadcast_to(np.uint64(value), shape) for value in (round, purpose))
    made = philox((np.broadcast_to(blocks, shape), node, turn, use), (seed & 0xFFFFFFFF, seed >> 32))
    return np.stack(made, axis=2).reshape(len(nodes), -1)[:, :count]
