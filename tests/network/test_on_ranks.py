"""Simulated and on ranks, the network gives the same bits."""

from pathlib import Path

import pytest


@pytest.mark.parametrize("n", [2, pytest.param(3, marks=pytest.mark.slow), pytest.param(4, marks=pytest.mark.slow)])
def test_the_network_on_ranks_gives_the_bits_of_its_simulation(on_ranks, n):
    said = on_ranks(n, Path(__file__).parent / "programs" / "ranks.py")
    assert int(said.split(" rounds are the same")[0].rpartition("\n")[2]) > 500
