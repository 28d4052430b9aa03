"""Who gets which samples."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ifog.errors import ProblemError
from ifog.problems import partition

RULES = {
    "iid": partition.iid,
    "by_label": lambda labels, n, seed: partition.by_label(labels, n, shards=1, seed=seed),
    "dirichlet 0.01": lambda labels, n, seed: partition.dirichlet(labels, n, 0.01, seed),
    "dirichlet 1": lambda labels, n, seed: partition.dirichlet(labels, n, 1, seed),
    "dirichlet inf": lambda labels, n, seed: partition.dirichlet(labels, n, math.inf, seed),
}
dealt = st.lists(st.integers(0, 5), min_size=1, max_size=60).flatmap(
    lambda labels: st.tuples(st.just(labels), st.integers(1, len(labels)), st.integers(0, 2**32))
)


@pytest.mark.parametrize("rule", RULES)
@given(dealt)
def test_every_sample_goes_to_one_node_and_all_get_equally_many(rule, case):
    labels, n, seed = case
    parts = RULES[rule](labels, n, seed)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(labels)))
    sizes = {len(part) for part in parts}
    assert len(parts) == n
    assert sizes <= {len(labels) // n, -(-len(labels) // n)}


@pytest.mark.parametrize("rule", RULES)
@given(dealt)
def test_the_same_seed_deals_the_same(rule, case):
    labels, n, seed = case
    assert all(map(np.array_equal, RULES[rule](labels, n, seed), RULES[rule](np.array(labels), n, seed)))


@given(dealt, st.integers(1, 4))
def test_shards_are_all_dealt(case, shards):
    labels, n, seed = case
    if n * shards > len(labels):
        with pytest.raises(ProblemError, match="shards"):
            partition.by_label(labels, n, shards, seed)
    else:
        parts = partition.by_label(labels, n, shards, seed)
        assert sorted(np.concatenate(parts).tolist()) == list(range(len(labels)))


def counts(parts, labels):
    return np.array([np.bincount(labels[part], minlength=10) for part in parts])


LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(10), 800))


def test_another_seed_deals_otherwise():
    for rule in ("iid", "dirichlet 0.01", "dirichlet 1"):
        assert not np.array_equal(np.concatenate(RULES[rule](LABELS, 8, 0)), np.concatenate(RULES[rule](LABELS, 8, 1)))


def test_shuffled_nodes_see_all_classes_alike():
    assert np.abs(counts(partition.iid(LABELS, 8), LABELS) - 100).max() < 50


@pytest.mark.parametrize("alpha", [1e5, math.inf])
def test_a_large_alpha_deals_all_classes_alike(alpha):
    assert np.abs(counts(partition.dirichlet(LABELS, 8, alpha), LABELS) - 100).max() <= 10


@pytest.mark.parametrize("alpha", [0.1, 1.0])
def test_shares_are_drawn_for_each_class_among_the_nodes_that_are_not_full(alpha):
    n, rng, hands = 8, np.random.default_rng(3), [[] for _ in range(8)]
    for label in range(10):
        samples = rng.permutation(np.flatnonzero(label == LABELS)).tolist()
        shares = [0 if len(hand) >= len(LABELS) / n else p for hand, p in zip(hands, rng.dirichlet([alpha] * n), strict=True)]
        given_out, so_far = 0, 0.0
        for hand, share in zip(hands, shares, strict=True):
            so_far += share
            upto = round(so_far / sum(shares) * len(samples))
            hand += samples[given_out:upto]
            given_out = upto
    in_order = [sample for hand in hands for sample in hand]
    assert sorted(len(hand) for hand in hands)[-1] > 1000, "or equalising would have nothing to do"
    expected = [in_order[1000 * i : 1000 * (i + 1)] for i in range(n)]
    assert [part.tolist() for part in partition.dirichlet(LABELS, n, alpha, seed=3)] == expected


@given(dealt, st.sampled_from([0.01, 0.1, 1, math.inf]))
def test_unequal_parts_have_every_sample_once_and_no_node_has_none(case, alpha):
    labels, n, seed = case
    parts = partition.dirichlet(labels, n, alpha, seed, equal=False)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(labels)))
    assert len(parts) == n
    assert min(map(len, parts)) >= 1


def test_unequal_parts_are_what_equal_ones_are_cut_from():
    unequal = partition.dirichlet(LABELS, 8, 0.1, seed=3, equal=False)
    assert len({len(part) for part in unequal}) > 2
    equal = partition.dirichlet(LABELS, 8, 0.1, seed=3)
    assert np.array_equal(np.concatenate(unequal), np.concatenate(equal))


def test_the_smaller_alpha_the_fewer_classes_make_up_a_node():
    def largest_share(alpha):
        return np.mean([counts(partition.dirichlet(LABELS, 8, alpha, seed), LABELS).max(1) / 1000 for seed in range(5)])

    shares = [largest_share(alpha) for alpha in (0.01, 0.1, 1, 10, 1000)]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 0.6
    assert shares[-1] < 0.12


def test_shards_bound_the_classes_of_a_node():
    for shards in (1, 2, 4):
        present = (counts(partition.by_label(LABELS, 10, shards), LABELS) > 0).sum(1)
        assert present.max() <= shards, "800 samples of a class are a whole number of shards"
    first = partition.by_label(LABELS, 10, 1)
    assert [int(LABELS[part][0]) for part in first] == list(range(10))


def test_labels_may_be_words():
    assert [part.tolist() for part in partition.by_label(["b", "a", "b", "a"], 2, shards=1)] == [[1, 3], [0, 2]]


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: partition.iid([], 1), r"labels.*one label for each sample"),
        (lambda: partition.iid(np.ones((2, 2)), 1), r"labels has shape \(2, 2\)"),
        (lambda: partition.iid([0, 1], 3), r"n=3.*2 samples"),
        (lambda: partition.iid([0, 1], 0), r"n=0.*at least 1"),
        (lambda: partition.iid([0, 1], 1, seed=-1), r"seed=-1"),
        (lambda: partition.by_label([0, 1], 1, shards=3), r"shards=3.*at most 2"),
        (lambda: partition.dirichlet([0, 1], 1, 0), r"alpha=0.*above 0"),
        (lambda: partition.dirichlet([0, 1], 1, math.nan), r"alpha=nan"),
        (lambda: partition.dirichlet([0, 1], 1, "even"), r"alpha='even'"),
    ],
)
def test_what_cannot_be_dealt_is_refused(call, says):
    with pytest.raises(ProblemError, match=says):
        call()
