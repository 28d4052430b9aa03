"""The value of a cell's last line, as an object: what is sent of it, tried in this process."""

import base64
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ifog.engine import values


@pytest.fixture
def sent():
    hook = SimpleNamespace(compute_format_data=lambda value: ({"text/plain": "a text"}, {}))
    values.send(SimpleNamespace(displayhook=hook))

    def send(value):
        data, _ = hook.compute_format_data(value)
        assert data.pop("text/plain") == "a text"
        return [pickle.loads(base64.b64decode(pickled)) for pickled in data.values()]

    return send


class Part:
    """Some of a value, and how many were pickled."""

    pickled = 0

    def __reduce__(self):
        Part.pickled += 1
        return bytes, (b"x" * 100_000,)


def test_what_is_short_travels_and_what_is_long_or_cannot_stays(sent):
    for value in (None, {"a": [1, (2.5, "ä")]}, b"x" * (values._MOST - 100)):
        assert sent(value) == [value]
    assert sent(torch.ones(1000))[0].sum() == sent(np.ones(1000))[0].sum() == 1000
    for value in (b"x" * values._MOST, list(range(10**6)), np.ones(10**6), {"a": [torch.ones(10**6)]}, lambda: 3):
        assert sent(value) == []


def test_what_is_too_long_is_given_up_early(sent, monkeypatch):
    assert sent([Part() for _ in range(1000)]) == []
    assert 0 < Part.pickled < 30
    copied = []
    monkeypatch.setattr(torch, "save", lambda *_: copied.append(1))
    assert sent(torch.ones(10**6)) == []
    assert not copied
