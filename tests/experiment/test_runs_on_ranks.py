"""On the ranks of an MPI world a run is the run of the simulation, and is steered from any rank."""

import pytest
from mpi_programs import run


@pytest.mark.parametrize("n", [3, pytest.param(2, marks=pytest.mark.slow), pytest.param(4, marks=pytest.mark.slow)])
def test_runs_on_ranks(n, tmp_path):
    assert "13 held" in run(n, "experiment/programs/together.py", tmp_path)
