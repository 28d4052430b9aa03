"""Who has which samples: a bar for each node, and controls that deal them out otherwise.

>>> from ifog import widgets
>>> from ifog.learning import data
>>> train, test = data.digits()
>>> bars = widgets.Data(train, n=8, alpha=0.1)
>>> bars.deal(seed=3)  # as with the page's controls
>>> bars.partition
digits dealt to 8 nodes by Dirichlet shares, α = 0.1, seed 3: 179 to 180 samples each, 10 classes, heterogeneity 0.71
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ifog.errors import ArgumentError, IfogError
from ifog.learning import Partition, partition

from . import messages
from .data_figure import figure
from .live import STATIC, LiveWidget

_SHOWN = 512  # nodes; of more only the first are drawn
_ALPHAS = [float(f"{10 ** (k / 8):.2g}") for k in range(-16, 17)]  # of the slider, and after these infinity
_SENT = 300_000  # numbers that a page without Python may hold
DIRICHLET, RANDOM, LABEL, GIVEN = "Dirichlet", "at random", "by label", "as given"


class Data(LiveWidget):
    """How many samples of each class each node has, as bars; and how it is when they are dealt otherwise.

    ``data`` is a partition, or anything that `ifog.learning.partition` deals to ``n`` nodes. What the controls have made
    stands in `partition`, to train with.
    """

    _esm = (STATIC / "data.js").read_text()
    _css = (STATIC / "data.css").read_text()

    def __init__(self, data: Any, n: int | None = None, *, presentation: bool = False, **how: Any) -> None:
        if isinstance(data, Partition):
            if how or n is not None:
                raise ArgumentError("a partition is dealt already: give Data(p.again(…)), or the data themselves")
            self._partition = data
        else:
            self._partition = partition(data, 8 if n is None else n, **how)
        self._first = self._partition
        self._note, self._turn = "", 0
        super().__init__(presentation=presentation)

    @property
    def partition(self) -> Partition:
        """The one that is shown; another one can be put there."""
        return self._partition

    @partition.setter
    def partition(self, other: Partition) -> None:
        if not isinstance(other, Partition):
            raise ArgumentError(f"partition={other!r:.60}: give what ifog.learning.partition has made")
        with self._lock:
            self._partition, self._note = other, ""
            self._turn += 1
            self._sender.offer(self._bars())

    def deal(self, **changed: Any) -> None:
        """Deal otherwise: ``alpha``, ``shards``, ``n``, ``seed``, ``equal``, as in `Partition.again`."""
        self.partition = self._partition.again(**changed)

    def __repr__(self) -> str:
        return f"<{self._partition!r}>"

    @property
    def _label(self) -> str:  # type: ignore[override]
        return repr(self._partition)

    def _picture(self) -> str:
        p = self._partition
        return figure(
            p.counts,
            p.classes,
            title=p.name or "samples",
            rule=f"dealt to {p.n} nodes {p.rule}",
            heterogeneity=p.heterogeneity,
            sizes=_sizes(p),
        )

    # ---- messages ------------------------------------------------------------------------------------------------------

    def _bars(self, *, alone: bool = False) -> messages.Bars:
        p = self._partition
        rules = [DIRICHLET, RANDOM, LABEL] + ([GIVEN] if self._first.given else [])
        rule = GIVEN if p.given else DIRICHLET if p.alpha is not None else LABEL if p.shards is not None else RANDOM
        return messages.Bars(
            title=p.name or "samples",
            classes=list(p.classes),
            n=p.n,
            shown=min(p.n, _SHOWN),
            rules=[] if alone else rules,
            rule=rule,
            alpha=-1 if p.alpha is not None and math.isinf(p.alpha) else p.alpha or 0,
            shards=p.shards or 0,
            seed=p.seed,
            equal=p.equal,
            heterogeneity=p.heterogeneity,
            sizes=_sizes(p),
            note=self._note,
            turn=self._turn,
            counts=_sent(p),
        )

    def _state(self) -> list[Any]:
        return [self._bars()]

    def _alone(self) -> list[Any]:
        p = self._partition
        told: list[Any] = [self._bars(alone=True)]
        if p.alpha is not None and (min(p.n, _SHOWN) + 1) * len(p.classes) * len(_ALPHAS) < _SENT:
            dealt = [p.again(alpha=alpha) for alpha in (*_ALPHAS, math.inf)]
            told.append(
                messages.Deals(
                    np.array([*_ALPHAS, -1]),
                    np.array([each.heterogeneity for each in dealt]),
                    np.concatenate([_sent(each) for each in dealt]),
                )
            )
        return told

    def _catch_up(self) -> None:
        self._sender.offer(self._bars())

    def _take(self, message: Any) -> None:
        if not isinstance(message, messages.Deal):
            return
        self._turn = int(message.turn)
        try:
            self._partition, self._note = self._dealt(message), ""
        except (IfogError, TypeError, ValueError, OverflowError) as error:
            self._note = str(error)
        self._sender.offer(self._bars())

    def _dealt(self, wanted: messages.Deal) -> Partition:
        if wanted.rule == GIVEN and self._first.given:
            return self._first
        alpha = math.inf if wanted.alpha == -1 else wanted.alpha
        return self._partition.again(
            n=wanted.n,
            alpha=alpha if wanted.rule == DIRICHLET else None,
            shards=wanted.shards if wanted.rule == LABEL else None,
            equal=bool(wanted.equal) or wanted.rule != DIRICHLET,
            seed=wanted.seed,
        )


def _sizes(p: Partition) -> str:
    low, high = int(p.sizes.min()), int(p.sizes.max())
    each = f"{low:,}" if low == high else f"{low:,} to {high:,}"
    return f"{int(p.sizes.sum()):,} samples, {each} a node"


def _sent(p: Partition) -> NDArray[np.uint32]:
    """The counts of those that are drawn, and of all together."""
    return np.concatenate([p.counts[:_SHOWN].ravel(), p.counts.sum(0)]).astype(np.uint32)
