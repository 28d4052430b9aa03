"""Training on ranks has the numbers of the virtual nodes, however many of them a rank hosts."""

import pytest
from mpi_programs import run


@pytest.mark.parametrize("n", [4, pytest.param(2, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.slow)])
def test_training_on_ranks(n, tmp_path):
    assert "6 held" in run(n, "learning/programs/training.py", tmp_path)
