"""Who has which samples, and the batches that are made of them."""

import math
import pickle
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, TensorDataset

from ifog.errors import ArgumentError, ProblemError
from ifog.learning import Batches, Partition, data, partition
from ifog.problems import partition as rules

TRAIN, _ = data.digits()
Y = TRAIN.y.numpy()


@pytest.mark.parametrize(
    ("how", "parts"),
    [
        ({}, rules.iid(Y, 8)),
        ({"seed": 5}, rules.iid(Y, 8, 5)),
        ({"alpha": 0.1, "seed": 1}, rules.dirichlet(Y, 8, 0.1, 1)),
        ({"alpha": math.inf}, rules.dirichlet(Y, 8, math.inf)),
        ({"alpha": 0.1, "equal": False}, rules.dirichlet(Y, 8, 0.1, equal=False)),
        ({"shards": 2}, rules.by_label(Y, 8, 2)),
    ],
)
def test_the_rules_are_those_of_the_problems(how, parts):
    p = partition(TRAIN, 8, **how)
    assert all(map(np.array_equal, p, parts))
    assert len(p) == p.n == 8
    assert p.sizes.tolist() == [len(part) for part in parts]
    assert p.counts.tolist() == [[int((Y[part] == c).sum()) for c in range(10)] for part in parts]
    assert p.table.to_numpy().tolist() == p.counts.tolist()
    assert p.table.columns.tolist() == list(TRAIN.classes)
    assert all(map(np.array_equal, p.again(), parts))
    changed = p.again(n=5, seed=3, alpha=1.0)
    assert all(map(np.array_equal, changed, rules.dirichlet(Y, 5, 1.0, 3, equal=p.equal)))


@pytest.mark.parametrize(
    "given",
    [TRAIN.y, Y, Y.tolist(), TensorDataset(TRAIN.x, TRAIN.y), [f"digit {i}" for i in Y]],
    ids=["tensor", "array", "list", "tensors", "words"],
)
def test_anything_with_labels_can_be_dealt(given):
    p = partition(given, 8, alpha=0.1)
    assert all(map(np.array_equal, p, partition(TRAIN, 8, alpha=0.1)))
    assert p.classes[3].endswith("3")
    assert all(map(np.array_equal, p.again(alpha=1), partition(TRAIN, 8, alpha=1)))


def test_a_class_without_samples_keeps_its_place():
    some = data.Labelled(torch.zeros(4, 1), torch.tensor([2, 0, 2, 0]), ["a", "b", "c"])
    assert partition(some, 2).counts.sum(0).tolist() == [2, 0, 2]
    assert partition(some, 2).again(shards=1).table["c"].tolist() == [0, 2]


def test_heterogeneity_is_the_mean_total_variation():
    assert Partition([[0, 1], [2, 3]], [0, 1, 0, 1]).heterogeneity == 0
    assert Partition([[0, 2], [1, 3]], [0, 1, 0, 1]).heterogeneity == 0.5
    assert Partition([[i] for i in range(10)], range(10)).heterogeneity == pytest.approx(0.9)
    assert Partition([[0, 1, 2], [3]], [0, 0, 1, 1]).heterogeneity == pytest.approx((1 / 6 + 1 / 2) / 2)
    falling = [partition(TRAIN, 8, alpha=alpha).heterogeneity for alpha in (0.01, 0.1, 1, 10, math.inf)]
    assert falling == sorted(falling, reverse=True)
    assert falling[0] > 0.7
    assert falling[-1] < 0.02


def test_it_says_what_it_is():
    assert repr(partition(TRAIN, 8)).startswith(
        "digits dealt to 8 nodes at random, seed 0: 179 to 180 samples each, 10 classes"
    )
    assert "by label, 2 shards each, seed 0" in repr(partition(TRAIN, 8, shards=2))
    assert "unequally, by Dirichlet shares, α = 0.1, seed 4" in repr(partition(TRAIN, 8, alpha=0.1, equal=False, seed=4))
    assert repr(partition([0, 1], 2)) == "dealt to 2 nodes at random, seed 0: 1 samples each, 2 classes, heterogeneity 0.50"


# ---- batches -------------------------------------------------------------------------------------------------------------

unequal = st.lists(st.integers(1, 9), min_size=1, max_size=5)


@given(unequal, st.integers(1, 12), st.integers(0, 5))
def test_nodes_have_equally_many_batches_of_the_same_size_and_use_each_sample_equally_often(sizes, batch, seed):
    cuts = np.split(np.random.default_rng(seed).permutation(sum(sizes)), np.cumsum(sizes)[:-1])
    samplers = [Batches(cuts, node, batch, seed=seed) for node in range(len(sizes))]
    assert len({len(sampler) for sampler in samplers}) == 1
    assert len(samplers[0]) == max(1, round(sum(sizes) / len(sizes) / batch))
    for sampler, part in zip(samplers, cuts, strict=True):
        used = Counter()
        for _ in range(3):
            epoch = list(sampler)
            assert len(epoch) == len(sampler)
            assert all(len(some) == batch for some in epoch)
            used.update(i for some in epoch for i in some)
        assert set(used) <= set(part.tolist())
        often = [used[i] for i in part]
        assert max(often) - min(often) <= 1


def test_batches_depend_on_seed_node_and_epoch_alone():
    p = partition(TRAIN, 8)
    first, second = [list(sampler) for sampler in [p.batches(2, 16, seed=1)] for _ in range(2)]
    again = p.batches(2, 16, seed=1)
    again.set_epoch(1)
    assert list(again) == second
    again.set_epoch(0)
    assert list(again) == first
    assert first != second
    assert list(p.batches(2, 16, seed=2)) != first
    assert again.at(len(first)).tolist() == second[0]
    in_order = [i for some in p.batches(2, 20, shuffle=False) for i in some]
    assert in_order[:180] == p[2][:180].tolist()
    assert len(list(p.batches(2, 16, steps=3))) == 3


def test_an_epoch_of_equal_parts_is_each_sample_once():
    p = partition([0, 1] * 32, 4)
    for node in range(4):
        assert sorted(i for some in p.batches(node, 8) for i in some) == sorted(p[node].tolist())


def test_loaders_give_batches_of_the_nodes_own_samples():
    p = partition(TRAIN, 8, shards=1)
    for loader in (
        p.loader(3, 16, seed=4),
        DataLoader(TRAIN, sampler=p.batches(3, 16, seed=4), batch_size=None),
        DataLoader(TRAIN, batch_sampler=p.batches(3, 16, seed=4)),
    ):
        assert len(loader) == 11
        found = list(loader)
        assert [x.shape for x, _ in found] == [(16, 1, 8, 8)] * 11
        for (x, y), some in zip(found, p.batches(3, 16, seed=4), strict=True):
            assert torch.equal(x, TRAIN.x[some])
            assert torch.equal(y, TRAIN.y[some])
    x, _ = next(iter(p.loader(3, 16, transform=lambda x: x.flatten(1) + 1)))
    assert x.shape == (16, 64)
    assert x.min() == 1
    unused, used = iter(sampler := p.batches(3, 16)), iter(sampler)  # as a loader with workers does
    assert next(used) == p.batches(3, 16).at(0).tolist()
    assert unused is not used
    apart = p.loader(3, 16, seed=4, transform=torch.neg)
    assert pickle.loads(pickle.dumps(apart.collate_fn))([torch.ones(1), 2]) == (-torch.ones(1), 2)


class OneByOne(torch.utils.data.Dataset):
    """As most torch data sets are: a sample for a number."""

    def __init__(self):
        self.targets = Y.tolist()

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, i):
        return TRAIN.x[i].numpy(), self.targets[i]


class Doubled(TensorDataset):
    def __getitem__(self, i):
        x, y = super().__getitem__(i)
        assert isinstance(i, int)
        return 2 * x, y


@pytest.mark.parametrize(("data", "factor"), [(OneByOne(), 1), (Doubled(TRAIN.x, TRAIN.y), 2)], ids=["one", "own"])
def test_loaders_take_any_data_set(data, factor):
    p = partition(data, 8, shards=1)
    for transform in (None, torch.neg):
        loader = p.loader(3, 16, seed=4, transform=transform)
        assert len(loader) == 11
        for (x, y), some in zip(loader, p.batches(3, 16, seed=4), strict=True):
            assert torch.equal(x, (factor if transform is None else -factor) * TRAIN.x[some])
            assert torch.equal(y, TRAIN.y[some])
    x, y = next(iter(p.loader(3, 4, transform=torch.neg, collate_fn=lambda pairs: (torch.ones(len(pairs)), 0))))
    assert x.tolist() == [-1] * 4


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: partition(TRAIN, 8, alpha=0), "alpha=0: alpha must be a number above 0"),
        (lambda: partition(TRAIN, 8, alpha=-1.0), "alpha=-1"),
        (lambda: partition(TRAIN, 8, alpha=math.nan), "alpha=nan"),
        (lambda: partition(TRAIN, 8, alpha=1, shards=1), "alpha and shards"),
        (lambda: partition(TRAIN, 8, equal=False), "equal=False.*alpha"),
        (lambda: partition(TRAIN, 0), "n=0"),
        (lambda: partition(TRAIN, 1438), "n=1438: 1437 samples"),
        (lambda: partition(TRAIN, 8, shards=180), "shards=180"),
        (lambda: partition(torch.utils.data.Subset(TRAIN, [0]), 1), "Subset without y, targets"),
        (lambda: partition(TRAIN, 8).again(beta=1), "beta: again takes n, alpha"),
        (lambda: Partition([[0], [7]], [0, 1]), r"parts\[1\] holds sample 7 of 2"),
        (lambda: Partition([[0.5]], [0, 1]), r"parts\[0\].*numbers"),
        (lambda: partition([0, 1], 2).loader(0), "knows labels only"),
        (lambda: partition([0, 1], 2).batches(), "node is missing: there are 2 nodes on 1 rank"),
        (lambda: partition([0, 1], 2).batches(2), "node=2.*at most 1"),
        (lambda: partition([0, 1], 2).batches(0, 0), "batch=0"),
        (lambda: partition([0, 1], 2).batches(0, steps=0), "steps=0"),
        (lambda: Partition([[0], []], [0, 1]).batches(1), "node 1 has no samples"),
    ],
)
def test_what_cannot_be_dealt_is_refused(call, says):
    with pytest.raises((ArgumentError, ProblemError), match=says):
        call()
