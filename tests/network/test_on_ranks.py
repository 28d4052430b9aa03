"""Simulated and on ranks, the network gives the same bits, and methods the same numbers."""

import pytest
from mpi_programs import run

from ifog import algorithms

sizes = pytest.mark.parametrize("n", [2, pytest.param(3, marks=pytest.mark.slow), pytest.param(4, marks=pytest.mark.slow)])


@sizes
def test_the_network_on_ranks_gives_the_bits_of_its_simulation(n):
    said = run(n, "network/programs/ranks.py")
    assert int(said.split(" rounds are the same")[0].rpartition("\n")[2]) > 500


@sizes
def test_every_method_gives_the_same_on_ranks_as_simulated(n):
    said = run(n, "algorithms/programs/parity.py")
    assert int(said.split(" runs agree")[0].rpartition("\n")[2]) > len(algorithms.all())


@sizes
def test_asynchronous_methods_end_on_ranks_where_they_do_simulated(n):
    said = run(n, "algorithms/programs/asynchronous.py")
    asynchronous = sum(made.asynchronous for made in algorithms.all().values())
    assert f"{asynchronous} methods end where they do in simulation" in said


@pytest.mark.slow
def test_and_between_machines(monkeypatch):
    monkeypatch.setenv("IFOG_NODES_PER_MACHINE", "1")
    assert "methods end where they do in simulation" in run(2, "algorithms/programs/asynchronous.py")
