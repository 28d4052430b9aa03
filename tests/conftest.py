"""Starting programs on ranks."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from ifog.comm.mpi import find

ROOT = Path(__file__).parents[1]
PATIENCE = 300  # seconds, until a run that hangs is shown for what it is


@pytest.fixture
def on_ranks():
    """A function that runs a program on n ranks, and gives back what it printed; the test fails if the program does."""

    def run(n, program, *arguments):
        mpi = find()
        variables = mpi.environment() | {"OMP_NUM_THREADS": "1"}
        with subprocess.Popen(
            mpi.command(n, str(program), *arguments),
            env=variables,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as ranks:
            try:
                said, _ = ranks.communicate(timeout=PATIENCE)
            except BaseException as error:
                os.killpg(ranks.pid, signal.SIGKILL)  # the ranks end with their launcher
                if not isinstance(error, subprocess.TimeoutExpired):
                    raise
                said = f"{ranks.communicate()[0]}\nstopped after {PATIENCE} s"
        if ranks.returncode:
            pytest.fail(f"{Path(program).name} on {n} ranks:\n{said[-20_000:]}", pytrace=False)
        return said

    return run
