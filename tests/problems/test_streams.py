"""Random numbers keyed by (seed, node, round)."""

import numpy as np
import pytest

from ifog.problems.streams import integers, normals, philox

ONES = 0xFFFFFFFF

# the known answers that the authors of Philox publish with it
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((ONES, ONES, ONES, ONES), (ONES, ONES), (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN)
def test_philox_gives_the_known_answers(counter, key, answer):
    assert tuple(int(word[0]) for word in philox(tuple(np.array([c], dtype=np.uint64) for c in counter), key)) == answer


def test_a_node_draws_the_same_in_any_company():
    everyone, some = np.arange(100), np.array([7, 99, 3])
    assert np.array_equal(integers(everyone, 4, 10, 30, 5)[some], integers(some, 4, 10, 30, 5))
    assert np.array_equal(normals(everyone, 4, 11, 5)[some], normals(some, 4, 11, 5))


def test_more_numbers_begin_with_the_same_ones():
    assert np.array_equal(integers(np.arange(5), 0, 9, 30, 0)[:, :4], integers(np.arange(5), 0, 4, 30, 0))


def test_integers_are_uniform():
    drawn = integers(np.arange(1000), 0, 100, 7, 0)
    counts = np.bincount(drawn.ravel(), minlength=7)
    assert len(counts) == 7
    assert ((counts - 1e5 / 7) ** 2 / (1e5 / 7)).sum() < 30


def test_normals_are_normal_and_independent():
    from scipy.stats import kstest

    drawn = normals(np.arange(1000), 0, 101, 0)
    assert drawn.shape == (1000, 101)
    assert kstest(drawn.ravel(), "norm").pvalue > 0.001
    assert np.abs(np.corrcoef(drawn.T) - np.eye(101)).max() < 0.2
    assert np.abs(np.corrcoef(drawn[:100]) - np.eye(100)).max() < 0.6


@pytest.mark.parametrize("seed", [0, 1, 2**32, 2**64 - 1])
def test_all_of_the_seed_counts(seed):
    others = [other for other in (0, 1, 2**32, 2**64 - 1) if other != seed]
    nodes = np.arange(3)
    assert not any(np.array_equal(integers(nodes, 0, 8, 1000, seed), integers(nodes, 0, 8, 1000, other)) for other in others)
