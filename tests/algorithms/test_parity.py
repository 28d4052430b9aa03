"""Simulated and on ranks, a method gives the same numbers."""

from pathlib import Path

import pytest

from ifog import algorithms

PARITY = Path(__file__).parent / "programs" / "parity.py"


@pytest.mark.parametrize("n", [2, pytest.param(3, marks=pytest.mark.slow), pytest.param(4, marks=pytest.mark.slow)])
def test_every_method_gives_the_same_on_ranks_as_simulated(on_ranks, n):
    said = on_ranks(n, PARITY)
    runs = int(said.split(" runs agree")[0].rpartition("\n")[2])
    assert runs > len(algorithms.all())
