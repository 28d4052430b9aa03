r"""Handwritten digits: a small real task for a small network, with the data dealt out as evenly or unevenly as wanted.

.. math::
    f_i(x) = -\frac1m \sum_l \ln \mathrm{softmax}\big(N_x(X_{il})\big)_{y_{il}}, \qquad
    N_x(X) = W_2 \tanh(W_1 X + b_1) + b_2

and so on for more layers. The parameters x are one vector: W₁, b₁, W₂, b₂, …
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from ..errors import ProblemError
from . import partition
from .arguments import whole
from .contract import Nodes, Problem
from .register import problem
from .stacked import gram

_HELD_OUT = 360  # of 1,797


class Digits(Problem):
    """Made by `digits`: X are the pictures [k, m, 64] with entries from 0 to 1, y the digits [k, m]."""

    sizes: tuple[int, ...]
    """Of the layers: 64, those that are hidden, 10."""

    def logits(self, x: Tensor, X: Tensor) -> Tensor:
        """The network with the parameters x [d], applied to pictures [m, 64]: [m, 10]."""
        place = 0
        for layer, (wide, out) in enumerate(pairwise(self.sizes)):
            W = x[place : place + wide * out].view(wide, out)
            b = x[place + wide * out : place + (wide + 1) * out]
            X = (torch.tanh(X) if layer else X) @ W + b
            place += (wide + 1) * out
        return X

    def _cost(self, x: Tensor, X: Tensor, y: Tensor) -> Tensor:
        return cross_entropy(self.logits(x, X), y)

    def _f(self, x: Tensor, X: Tensor, y: Tensor) -> Tensor:
        made: Tensor = torch.func.vmap(self._cost)(x, X, y)
        return made

    def _gradient(self, x: Tensor, X: Tensor, y: Tensor) -> Tensor:
        made: Tensor = torch.func.vmap(torch.func.grad(self._cost))(x, X, y)
        return made

    def _start(self) -> Tensor:
        return self._shared["start"]

    def _curvature(self, X: Tensor, y: Tensor) -> tuple[float | None, None]:  # noqa: ARG002
        if len(self.sizes) > 2:
            return None, None
        ones = torch.cat([X, torch.ones_like(X[..., :1])], dim=2)  # the Hessian of −ln softmax is at most ½ I
        return float(torch.linalg.eigvalsh(gram(ones) / X.shape[1]).max()) / 2, None

    def metrics(self, x: Tensor, nodes: Nodes) -> dict[str, Tensor]:
        """``accuracy`` of each node's parameters on held-out pictures; where all nodes are here, also of their mean."""
        X, y = self._shared["X_held_out"], self._shared["y_held_out"]

        def accuracy(x: Tensor) -> Tensor:
            guesses = torch.func.vmap(self.logits, in_dims=(0, None))(x, X).argmax(2)
            share: Tensor = (guesses == y).to(self.dtype).mean(1)
            return share

        self._given(x, nodes, None)
        found = {"accuracy": accuracy(x)}
        if len(np.unique(np.asarray(nodes))) == self.n:
            found["accuracy_of_mean"] = accuracy(x.mean(0, keepdim=True))[0]
        return found

    def labels(self, node: int) -> NDArray[np.int64]:
        """How often each of the ten digits is among this node's samples."""
        rows, _ = self._rows([node])
        return np.bincount(self._data["y"][rows].flatten().cpu().numpy(), minlength=10)


def pictures(seed: int) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """scikit-learn's digits [1797, 64] from 0 to 1, what each is, and the numbers of those for training and those held out."""
    from sklearn.datasets import load_digits

    loaded: Any = load_digits()
    order = np.random.default_rng(seed).permutation(len(loaded.target))
    return loaded.data / 16, loaded.target.astype(np.int64), order[_HELD_OUT:], order[:_HELD_OUT]


@problem
def digits(n: int, *, hidden: Sequence[int] = (32,), alpha: float | None = None, seed: int = 0) -> Digits:
    """A network that reads digits: 1,437 pictures of 8 × 8 for training, dealt to n nodes, and 360 held out.

    ``hidden`` are the sizes of the hidden layers (tanh); with ``hidden=()`` it is softmax regression, which is convex.
    Pictures are dealt at random, or with ``alpha`` by `partition.dirichlet` over the digits; then every node keeps as many as
    the one with the fewest (one less at most), 1437 // n. The optimum, b² and μ are not known, and L for ``hidden=()`` only.
    Gradients are batched matrix products: those of a node taken alone are the same up to rounding, not to the last bit.
    Data: scikit-learn's, from *Optical recognition of handwritten digits*, https://doi.org/10.24432/C50P49
    """
    if not isinstance(hidden, tuple | list):
        raise ProblemError(f"hidden={hidden!r}: it must be a tuple of the sizes of the hidden layers, such as (32,), or ()")
    sizes = (64, *(whole("hidden", size, minimum=1) for size in hidden), 10)
    seed = whole("seed", seed)
    X, y, train, held_out = pictures(seed)
    if n > len(train):
        raise ProblemError(f"n={n}: there are {len(train):,} pictures, so at most {len(train)} nodes")
    known = y[train]
    parts = partition.iid(known, n, seed) if alpha is None else partition.dirichlet(known, n, alpha, seed)
    m = len(train) // n
    mine = torch.from_numpy(np.stack([train[part[:m]] for part in parts]))
    r = np.random.default_rng([seed, 1])
    start = [
        np.concatenate([(r.standard_normal((wide, out)) / np.sqrt(wide)).ravel(), np.zeros(out)])
        for wide, out in pairwise(sizes)
    ]
    made = Digits(
        d=sum((wide + 1) * out for wide, out in pairwise(sizes)),
        data={"X": torch.from_numpy(X)[mine], "y": torch.from_numpy(y)[mine]},
        shared={
            "start": torch.from_numpy(np.concatenate(start)) * bool(hidden),  # a convex problem starts at zero
            "X_held_out": torch.from_numpy(X[held_out]),
            "y_held_out": torch.from_numpy(y[held_out]),
        },
        samples=m,
    )
    made.sizes = sizes
    return made
