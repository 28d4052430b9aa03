"""Who gets which samples: each function returns, for every node, the numbers of its samples. Each sample goes to one node.

`ifog.learning.partition` makes an object of it that shows itself, and deals out batches.

>>> [part.tolist() for part in by_label([0, 1, 0, 1], 2, shards=1)]
[[0, 2], [1, 3]]
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ProblemError
from .arguments import real, whole

Samples = NDArray[np.int64]


def iid(labels: Any, n: int, seed: int = 0) -> list[Samples]:
    """Shuffled, and dealt into n parts whose sizes differ by one at most."""
    classes, n, rng = _checked(labels, n, seed)
    return np.array_split(rng.permutation(len(classes)), n)


def by_label(labels: Any, n: int, shards: int = 2, seed: int = 0) -> list[Samples]:
    """Sorted by label and cut into n · ``shards`` pieces, of which each node is given ``shards`` at random.

    So a node sees few classes: McMahan et al., *Communication-efficient learning of deep networks from decentralized data*,
    2017, https://arxiv.org/abs/1602.05629. With ``shards=1`` they are not shuffled: node i gets the i-th piece.
    """
    classes, n, rng = _checked(labels, n, seed)
    shards = whole("shards", shards, minimum=1, maximum=len(classes) // n)
    pieces = np.array_split(np.argsort(classes, kind="stable"), n * shards)
    order = rng.permutation(n * shards) if shards > 1 else np.arange(n)
    return [np.concatenate([pieces[piece] for piece in hand]) for hand in order.reshape(n, shards)]


def dirichlet(labels: Any, n: int, alpha: float, seed: int = 0, *, equal: bool = True) -> list[Samples]:
    """For each class the shares of the nodes are drawn from Dir(α, …, α): the smaller α, the fewer classes at a node.

    Nodes that have N/n samples or more get no more of the next class. In the end the samples, in the order of the nodes, are
    cut into n parts whose sizes differ by one at most: neighbours mix a little. With ``equal=False`` they are not, and nodes
    have different numbers of samples; one that got none is given one by the node that has most. α = ``math.inf`` gives all the
    same shares.
    Hsu, Qi, Brown, *Measuring the effects of non-identical data distribution*, 2019, https://arxiv.org/abs/1909.06335
    """
    classes, n, rng = _checked(labels, n, seed)
    alpha = real("alpha", alpha, above=0, infinite=True)
    hands: list[list[Samples]] = [[] for _ in range(n)]
    sizes = np.zeros(n, dtype=np.int64)
    for label in np.unique(classes):
        samples = rng.permutation(np.flatnonzero(classes == label))
        p = np.full(n, 1 / n) if math.isinf(alpha) else rng.dirichlet(np.full(n, alpha))
        open_ = sizes < len(classes) / n
        p = np.where(open_, p, 0)
        if p.sum() == 0:  # a small α may give all to nodes that are full
            p = open_.astype(np.float64)
        cuts = np.rint(np.cumsum(p / p.sum()) * len(samples)).astype(np.int64)[:-1]
        for i, piece in enumerate(np.split(samples, cuts)):
            hands[i].append(piece)
            sizes[i] += len(piece)
    parts = [np.concatenate(hand) for hand in hands]
    if equal:
        return np.array_split(np.concatenate(parts), n)
    for i in (i for i in range(n) if not sizes[i]):
        most = max(range(n), key=lambda j: len(parts[j]))
        parts[i], parts[most] = parts[most][-1:], parts[most][:-1]
    return parts


def _checked(labels: Any, n: int, seed: int) -> tuple[NDArray[Any], int, np.random.Generator]:
    classes = np.asarray(labels)
    if classes.ndim != 1 or not classes.size:
        raise ProblemError(f"labels has shape {classes.shape}: it must be a list with one label for each sample")
    if whole("n", n, minimum=1) > len(classes):
        raise ProblemError(f"n={n}: {len(classes)} samples cannot be dealt to more than {len(classes)} nodes")
    return classes, n, np.random.default_rng(whole("seed", seed))
