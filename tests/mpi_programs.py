"""Programs on the ranks of an MPI world."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from ifog.comm.mpi import find

ROOT = Path(__file__).parents[1]
PATIENCE = 300  # seconds, until a run that hangs is shown for what it is


def launch(command, variables, patience):
    """What ranks say, and their exit code."""
    with subprocess.Popen(
        command, env=variables, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as ranks:
        try:
            said, _ = ranks.communicate(timeout=patience)
        except BaseException as error:
            os.killpg(ranks.pid, signal.SIGKILL)  # the ranks end with their launcher
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            said = f"{ranks.communicate()[0]}\nstopped after {patience} s"
    return said, ranks.returncode


def run(n, program, *arguments):
    """What a program says on n ranks; the test fails if the program does."""
    mpi = find()
    command = mpi.command(n, str(ROOT / "tests" / program), *map(str, arguments))
    said, code = launch(command, mpi.environment() | {"OMP_NUM_THREADS": "1"}, PATIENCE)
    if code:
        pytest.fail(f"{Path(program).name} on {n} ranks:\n{said[-20_000:]}", pytrace=False)
    return said
