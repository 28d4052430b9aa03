"""Samples in memory, and what is done to batches of them."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from ifog import problems
from ifog.errors import ArgumentError, ProblemError
from ifog.learning import data, partition


def test_digits_are_those_of_the_problem():
    train, test = data.digits(seed=3)
    problem = problems.digits(1, seed=3)
    assert torch.equal(test.x.flatten(1), problem._shared["X_held_out"].float())
    assert sorted(map(tuple, train.x.flatten(1).tolist())) == sorted(map(tuple, problem._data["X"][0].float().tolist()))
    assert problem.labels(0).tolist() == train.y.bincount().tolist()


def test_it_is_a_data_set_as_torch_has_them():
    train, _ = data.digits()
    x, y = next(iter(DataLoader(train, batch_size=5)))
    assert torch.equal(x, train.x[:5])
    assert torch.equal(y, train.y[:5])
    some = train.take([4, 2])
    assert torch.equal(some.x, train.x[[4, 2]])
    assert some.classes == train.classes
    assert repr(some) == "digits: 2 samples of 1 × 8 × 8 in 10 classes"
    assert some.to(torch.float64).x.dtype == torch.float64
    assert some.to(torch.float64).y.dtype == torch.int64


def test_made_up_pictures_have_any_size_and_can_be_learnt():
    made = data.synthetic((3, 5, 7), classes=4, samples=200, seed=1)
    assert made.x.shape == (200, 3, 5, 7)
    assert set(made.y.tolist()) == {0, 1, 2, 3}
    assert torch.equal(made.x, data.synthetic((3, 5, 7), classes=4, samples=200, seed=1).x)
    assert not torch.equal(made.x, data.synthetic((3, 5, 7), classes=4, samples=200, seed=2).x)
    still = data.synthetic((3, 5, 7), classes=4, samples=200, seed=1, noise=0)
    assert all(torch.equal(still.x[i], still.x[(still.y == still.y[i]).nonzero()[0, 0]]) for i in range(20))
    assert 0.95 < (made.x - still.x).std() < 1.05
    nearest = torch.cdist(made.x.flatten(1), torch.stack([still.x[still.y == c][0] for c in range(4)]).flatten(1)).argmin(1)
    assert (nearest == made.y).double().mean() > 0.99


def test_normalized_samples_have_mean_0_and_deviation_1_in_each_channel():
    r = np.random.default_rng(0)
    loud = r.integers(256, size=(50, 3, 8, 8), dtype=np.uint8) // np.array([1, 2, 5], np.uint8)[:, None, None]
    train, test = (data.Labelled(loud[part], np.zeros(25, int)) for part in (slice(25), slice(25, 50)))
    for one in (train, data.Labelled(train.x / 255, train.y)):  # bytes, and the same from 0 to 1
        mean, deviation = one.statistics()
        assert np.allclose(mean, loud[:25].mean((0, 2, 3)) / 255)
        assert np.allclose(deviation, loud[:25].std((0, 2, 3)) / 255)
        made = one.normalized()
        assert made.x.dtype == torch.float32
        assert made.x.mean((0, 2, 3)).abs().max() < 1e-5
        assert (made.x.std((0, 2, 3), correction=0) - 1).abs().max() < 1e-5
    assert torch.allclose(test.normalized(by=train).x, data.normalize(test.x / 255, mean, deviation), atol=1e-6)
    black = data.Labelled(torch.zeros(4, 1, 2, 2), torch.zeros(4, dtype=torch.int64))
    assert torch.equal(black.normalized().x, black.x), "a channel without variation"
    half = data.normalize(train.x.half() / 255, mean, deviation)
    assert half.dtype == torch.float16


def test_pictures_are_shifted_and_mirrored_by_the_seed():
    x = torch.randn(400, 2, 5, 6)
    made = data.crop_and_flip(x, torch.Generator().manual_seed(0), padding=2)
    assert torch.equal(made, data.crop_and_flip(x, torch.Generator().manual_seed(0), padding=2))
    assert not torch.equal(made, data.crop_and_flip(x, torch.Generator().manual_seed(1), padding=2))
    wide = torch.nn.functional.pad(x, (2, 2, 2, 2))
    seen = set()
    for i in range(len(x)):  # each is one of the 50 that it may be, and no other
        fits = [
            (down, right, flip)
            for down in range(5)
            for right in range(5)
            for flip in (False, True)
            if torch.equal(made[i].flip(-1) if flip else made[i], wide[i, :, down : down + 5, right : right + 6])
        ]
        assert len(fits) == 1
        seen.add(fits[0])
    assert len(seen) == 50
    assert torch.equal(data.crop_and_flip(x.to(torch.uint8), padding=0).sort(-1)[0], x.to(torch.uint8).sort(-1)[0])


def test_text_is_cut_into_pieces_that_know_what_follows():
    train, test = data.text({"one": "abcdefghij", "two": "xyz", "three": "aaaa" * 5}, length=3, held_out=0.25)
    pieces = torch.cat([train.x, test.x])
    found = sorted((train.decode(x), train.decode(y)) for x, y in zip(pieces, torch.cat([train.y, test.y]), strict=True))
    assert found == sorted([("abc", "bcd"), ("def", "efg"), ("ghi", "hij"), *[("aaa", "aaa")] * 6])
    assert (len(train), len(test)) == (7, 2)
    assert torch.equal(train.encode("cab"), torch.tensor([2, 0, 1]))
    assert all(
        train.topics[k] == ("three" if set(train.decode(x)) == {"a"} else "one")
        for k, x in zip(train.topic, train.x, strict=True)
    )
    assert repr(train) == "text: 7 pieces of 3 of 13 characters, 3 topics"
    reference, _ = data.text()
    assert len(reference.topics) > 50
    assert len(reference) > 5000
    parts = partition(reference.topic, 4, alpha=0.1)
    assert parts.heterogeneity > 0.4
    assert len(parts.classes) <= len(reference.topics)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: data.Labelled(torch.zeros(3, 2), torch.zeros(2, dtype=torch.int64)), r"x has shape \[3, 2\] and y \[2\]"),
        (lambda: data.Labelled(torch.zeros(3, 2), torch.zeros(3)), "float32: give as many"),
        (lambda: data.Labelled(torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64)), "one at least"),
        (lambda: data.Labelled(torch.zeros(2, 2), torch.tensor([0, 5]), ["a", "b"]), "y holds 0 to 5, and classes are 0 to 1"),
        (lambda: data.Labelled(torch.zeros(2, 2), torch.tensor([0, -5])), "y holds -5"),
        (lambda: data.synthetic(32), r"shape=32.*\(3, 32, 32\)"),
        (lambda: data.synthetic((3, 0, 2)), "shape=0"),
        (lambda: data.synthetic(noise=-1), "noise=-1"),
        (lambda: data.synthetic(samples=0), "samples=0"),
        (lambda: data.text("only one"), "documents is of type str: give texts by their topics"),
        (lambda: data.text({"a": "too short"}, length=64), "length=64.*nothing is left"),
        (lambda: data.text({"a": "abc"}, length=0), "length=0"),
        (lambda: data.text({"a": "abcabc"}, 1)[0].encode("axb"), "characters 'x'"),
        (lambda: data.digits(seed=-1), "seed=-1"),
        (lambda: data.crop_and_flip(torch.zeros(3, 32, 32)), r"\[3, 32, 32\].*batch of pictures"),
        (lambda: data.crop_and_flip(torch.zeros(1, 3, 32, 32), padding=-1), "padding=-1"),
        (lambda: data.normalize(torch.zeros(1, 3, 2, 2), [0.0, 0.0], [1.0]), r"mean: 2 numbers for x of shape \[1, 3, 2, 2\]"),
    ],
)
def test_what_cannot_be_is_refused(call, says):
    with pytest.raises((ArgumentError, ProblemError), match=says):
        call()
