"""Who has which samples: `partition` deals them out to nodes, and `Batches` takes them from there to the training loop."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler, TensorDataset, default_collate, default_convert

from ..errors import ArgumentError, ProblemError
from ..experiment.crew import crew
from ..problems import partition as rules
from ..problems.arguments import real, whole

Samples = NDArray[np.int64]


class Partition(Sequence[Samples]):
    """For each node the numbers of its samples: ``p[3]`` are those of node 3. Made by `partition`."""

    def __init__(
        self, parts: Sequence[Any], labels: Any, classes: Sequence[str] | None = None, *, name: str = "", data: Any = None
    ) -> None:
        """Any parts will do: what they are called, and the data behind them, may be left out."""
        known, self.labels = np.unique(np.asarray(labels), return_inverse=True)
        if classes is None:
            classes = [str(label) for label in known]
        else:  # labels are numbers of classes, and some class may have no sample
            self.labels = known.astype(np.int64)[self.labels]
        self.parts = tuple(_numbers(i, part, len(self.labels)) for i, part in enumerate(parts))
        self.classes, self.name, self.data = tuple(classes), name, data
        self.alpha: float | None = None
        self.shards: int | None = None
        self.seed, self.equal = 0, True
        self.given = True
        """Whether the parts came from somebody, and not from a rule."""

    @overload
    def __getitem__(self, node: int) -> Samples: ...
    @overload
    def __getitem__(self, node: slice) -> Sequence[Samples]: ...
    def __getitem__(self, node: int | slice) -> Samples | Sequence[Samples]:
        return self.parts[node]

    def __len__(self) -> int:
        return len(self.parts)

    @property
    def n(self) -> int:
        """How many nodes there are."""
        return len(self.parts)

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """How many samples each node has."""
        return np.array([len(part) for part in self.parts])

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """How many samples of each class each node has, [n, classes]."""
        return np.array([np.bincount(self.labels[part], minlength=len(self.classes)) for part in self.parts])

    @property
    def table(self) -> Any:
        """The same as a DataFrame with the names of the classes."""
        import pandas as pd

        return pd.DataFrame(self.counts, index=pd.RangeIndex(self.n, name="node"), columns=list(self.classes))

    @cached_property
    def heterogeneity(self) -> float:
        """Which share of a node's samples would have to be of another class for it to look like all data together.

        The total variation distance of its classes from those of all, averaged over the nodes: 0 where all are alike, and
        1 − 1/n at most where nodes have equally many.
        """
        all_of_them = self.counts.sum(0) / self.counts.sum()
        shares = self.counts / np.maximum(self.sizes, 1)[:, None]
        return float(np.abs(shares - all_of_them).sum(1).mean() / 2)

    def again(self, **changed: Any) -> Partition:
        """The same data dealt out otherwise: ``p.again(alpha=0.1)``, ``p.again(seed=1)``, ``p.again(n=16)``."""
        how = {"n": self.n, "alpha": self.alpha, "shards": self.shards, "seed": self.seed, "equal": self.equal}
        if unknown := changed.keys() - how.keys():
            raise ArgumentError(f"{min(unknown)}: again takes {', '.join(how)}")
        if "alpha" in changed and changed["alpha"] is not None:
            how["shards"] = None
        if "shards" in changed and changed["shards"] is not None:
            how["alpha"] = None
        source = self.data if self.data is not None else _Labels(self.labels, self.classes, self.name)
        return partition(source, **{**how, **changed})

    def batches(
        self, node: int | None = None, batch: int = 32, *, shuffle: bool = True, seed: int = 0, steps: int | None = None
    ) -> Batches:
        """The sampler of one node: of this rank where it is left out."""
        return Batches(self, node, batch, shuffle=shuffle, seed=seed, steps=steps)

    def loader(
        self,
        node: int | None = None,
        batch: int = 32,
        *,
        transform: Callable[[torch.Tensor], torch.Tensor] | None = None,
        shuffle: bool = True,
        seed: int = 0,
        steps: int | None = None,
        **others: Any,
    ) -> DataLoader[Any]:
        """Batches (x, y) of one node, of this rank where it is left out. ``transform`` is applied to the x of each batch."""
        if not isinstance(self.data, Dataset):
            raise ArgumentError("loader: this partition knows labels only: make it of a data set, as in partition(train, 8)")

        sampler = self.batches(node, batch, shuffle=shuffle, seed=seed, steps=steps)
        at_once = type(self.data).__getitem__ is TensorDataset.__getitem__  # it gives a whole batch for a list of numbers
        if transform is not None:
            collate = others.get("collate_fn") or (default_convert if at_once else default_collate)
            others["collate_fn"] = partial(_transformed, transform, collate)  # which can be sent to workers, unlike a closure
        if at_once:
            return DataLoader(self.data, sampler=sampler, batch_size=None, **others)
        return DataLoader(self.data, batch_sampler=sampler, **others)

    def __repr__(self) -> str:
        low, high = int(self.sizes.min()), int(self.sizes.max())
        size = f"{low:,}" if low == high else f"{low:,} to {high:,}"
        what = f"{self.name} " if self.name else ""
        return (
            f"{what}dealt to {self.n} nodes {self.rule}: {size} samples each, {len(self.classes)} classes, "
            f"heterogeneity {self.heterogeneity:.2f}"
        )

    @property
    def rule(self) -> str:
        """How it was dealt, in words."""
        if self.given:
            return "as given"
        if self.alpha is not None:
            shares = "by Dirichlet shares" if self.equal else "unequally, by Dirichlet shares"
            return f"{shares}, α = {self.alpha:g}, seed {self.seed}"
        if self.shards is not None:
            return f"by label, {self.shards} {'shard' if self.shards == 1 else 'shards'} each, seed {self.seed}"
        return f"at random, seed {self.seed}"


def partition(
    data: Any, n: int, *, alpha: float | None = None, shards: int | None = None, equal: bool = True, seed: int = 0
) -> Partition:
    """Deal samples to n nodes: at random; with ``alpha`` by Dirichlet shares; with ``shards`` sorted by label and cut.

    ``data`` is a data set of `ifog.learning.data`, any torch data set with ``y``, ``targets`` or two tensors, or a list of
    labels. The rules are those of `ifog.problems.partition`: every sample goes to one node, and all have equally many unless
    ``alpha`` is given with ``equal=False``. It depends on nothing but its arguments: all ranks make the same one.

    >>> from ifog.learning import data
    >>> train, test = data.digits()
    >>> p = partition(train, 8, alpha=0.1)
    >>> p
    digits dealt to 8 nodes by Dirichlet shares, α = 0.1, seed 0: 179 to 180 samples each, 10 classes, heterogeneity 0.69
    >>> p.again(alpha=10).heterogeneity < 0.2
    True
    >>> for x, y in p.loader(node=3, batch=32):
    ...     pass
    >>> x.shape
    torch.Size([32, 1, 8, 8])
    """
    labels = _labels(data)
    if alpha is not None and shards is not None:
        raise ProblemError("alpha and shards: both say how classes are dealt out; give one of them")
    if not equal and alpha is None:
        raise ProblemError("equal=False: sizes differ with Dirichlet shares only: give alpha too, such as alpha=0.1")
    if alpha is not None:
        alpha = real("alpha", alpha, above=0, infinite=True)
        parts = rules.dirichlet(labels, n, alpha, seed, equal=equal)
    elif shards is not None:
        parts = rules.by_label(labels, n, shards, seed)
    else:
        parts = rules.iid(labels, n, seed)
    known = isinstance(data, Dataset)
    name = str(getattr(data, "name", "") or (type(data).__name__ if known else ""))
    made = Partition(parts, labels, getattr(data, "classes", None), name=name, data=data if known else None)
    made.alpha, made.shards, made.seed, made.equal, made.given = alpha, shards, seed, equal, False
    return made


class Batches(Sampler[list[int]]):
    """The numbers of the samples in each batch of a node. All nodes have equally many batches, and all of these the same size.

    So ranks that talk after each batch stay together, whatever the sizes of their parts, and nobody has to ask anybody: it
    depends on the seed, the node and the epoch alone. A node goes through its samples in a new order each time, and where an
    epoch ends within them, the next one goes on there: every sample is used equally often. An epoch is as many batches as
    take the average node once through its samples, unless ``steps`` says another number.

    Each iteration is the next epoch; `set_epoch` goes to any. For a loader give it as ``sampler`` with ``batch_size=None``,
    which takes a whole batch out of a data set at once, or as ``batch_sampler``.

    >>> p = partition([0] * 6 + [1] * 3, 2, alpha=0.01, equal=False)
    >>> p.sizes.tolist()
    [3, 6]
    >>> small, large = (Batches(p, node, 2, shuffle=False) for node in (0, 1))
    >>> [p[0].tolist().index(i) for batch in small for i in batch]  # more often than once
    [0, 1, 2, 0]
    >>> len(list(large)), len(list(small))
    (2, 2)
    """

    def __init__(
        self,
        partition: Sequence[Any],
        node: int | None = None,
        batch: int = 32,
        *,
        shuffle: bool = True,
        seed: int = 0,
        steps: int | None = None,
    ) -> None:
        sizes = [len(part) for part in partition]
        if node is None:
            who = crew()
            if who.size != len(sizes):
                ranks = "1 rank" if who.size == 1 else f"{who.size} ranks"
                raise ArgumentError(
                    f"node is missing: there are {len(sizes)} nodes on {ranks}: say which node this is, as in node=0"
                )
            node = who.rank
        self.node = whole("node", node, maximum=len(sizes) - 1, error=ArgumentError)
        self.batch = whole("batch", batch, minimum=1, error=ArgumentError)
        self.seed, self.shuffle, self.epoch = whole("seed", seed, error=ArgumentError), bool(shuffle), 0
        average = sum(sizes) / len(sizes) / self.batch
        self.steps = max(1, round(average)) if steps is None else whole("steps", steps, minimum=1, error=ArgumentError)
        self.samples = np.asarray(partition[self.node])
        if not len(self.samples):
            raise ProblemError(f"node {self.node} has no samples, and cannot have batches")

    def set_epoch(self, epoch: int) -> None:
        """The next iteration is this epoch, 0 being the first: to go on where training was stopped."""
        self.epoch = whole("epoch", epoch, error=ArgumentError)

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[int]]:
        epoch, self.epoch = (
            self.epoch,
            self.epoch + 1,
        )  # at the first batch: a loader with workers begins one that it never uses
        for k in range(self.steps):
            yield self.at(epoch * self.steps + k).tolist()

    def at(self, round: int) -> Samples:  # noqa: A002
        """The samples of any batch, counted through all epochs."""
        size = len(self.samples)
        begin, left = operator.index(round) * self.batch, self.batch
        taken: list[Samples] = []
        while left:
            turn, place = divmod(begin, size)
            order = self._order(turn)[place : place + left]
            taken.append(self.samples[order])
            begin, left = begin + len(order), left - len(order)
        return np.concatenate(taken)

    def _order(self, turn: int) -> Samples:
        """In which order the samples are taken when all of them are taken for the (turn + 1)-th time."""
        if not self.shuffle:
            return np.arange(len(self.samples))
        kept: tuple[int, Samples] | None = self.__dict__.get("_kept")
        if kept is None or kept[0] != turn:
            kept = turn, np.random.default_rng([self.seed, self.node, turn]).permutation(len(self.samples))
            self._kept = kept
        return kept[1]


def _transformed(transform: Callable[[torch.Tensor], torch.Tensor], collate: Callable[[Any], Any], found: Any) -> Any:
    x, y = collate(found)
    return transform(x), y


class _Labels:
    """What is left of a data set when there are labels only."""

    def __init__(self, y: Any, classes: Sequence[str], name: str) -> None:
        self.y, self.classes, self.name = y, classes, name


def _labels(data: Any) -> Any:
    for name in ("y", "targets"):
        if (found := getattr(data, name, None)) is not None:
            return _plain(found)
    tensors = getattr(data, "tensors", None)
    if tensors is not None and len(tensors) == 2:
        return _plain(tensors[1])
    if isinstance(data, Dataset):
        raise ProblemError(
            f"data is a {type(data).__name__} without y, targets or two tensors: give its labels, as a list or an array"
        )
    return _plain(data)


def _plain(labels: Any) -> Any:
    return labels.cpu().numpy() if isinstance(labels, torch.Tensor) else np.asarray(labels)


def _numbers(node: int, part: Any, samples: int) -> Samples:
    found = np.asarray(part)
    if found.ndim != 1 or (len(found) and found.dtype.kind not in "iu"):
        raise ProblemError(f"parts[{node}]: give the numbers of the samples of node {node}")
    if len(found) and (found.min() < 0 or found.max() >= samples):
        raise ProblemError(f"parts[{node}] holds sample {found.min() if found.min() < 0 else found.max()} of {samples}")
    return found.astype(np.int64)
