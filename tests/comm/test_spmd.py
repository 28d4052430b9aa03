"""The tests on ranks, those in the folder ``spmd``: plain ``pytest`` starts a world for them, and worlds of other kinds."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from mpi_programs import launch

from ifog.comm.mpi import find

ROOT = Path(__file__).parents[2]
SPMD = Path(__file__).parent / "spmd"
PATIENCE = 1200  # seconds, until a run that hangs is shown for what it is

# What is refused before anything is sent, and what all hear from a root, is the same in worlds that only differ in their size
# or their MPI: two, four, and two machines of two ranks have said it.
SAID = ("bad_calls", "state")
# Who sums, and where the memory lies, makes no difference to these either.
WORDS = (*SAID, "different_calls", "timeline", "topology_in_force")

# how many ranks, in which environment, what they leave out, and whether `make check` waits for it
WORLDS = {
    "1 rank": (1, {}, (), False),
    "2 ranks": (2, {}, (), True),
    "3 ranks": (3, {}, SAID, False),
    "4 ranks": (4, {}, (), True),
    "8 ranks": (8, {}, SAID, False),
    "3 machines": (3, {"IFOG_NODES_PER_MACHINE": "1"}, SAID, False),
    "2 machines of 2": (4, {"IFOG_NODES_PER_MACHINE": "2"}, (), False),
    "sums by torch": (2, {"IFOG_KERNEL": "off"}, WORDS, False),
    "shared files": (2, {"IFOG_SHARED": "file"}, WORDS, False),
}


def run(mpi, n, *arguments, **environment):
    """What pytest says on so many ranks, and its exit code."""
    command = mpi.command(n, "-m", "pytest", *arguments, "-p", "no:cacheprovider", "--color=no", "--tb=short")
    variables = mpi.environment() | {"PYTEST_ADDOPTS": ""} | environment
    return launch(command, variables, PATIENCE)


def run_all(mpi, n, *arguments, only=(str(SPMD),), **environment):
    said, code = run(mpi, n, *only, "--maxfail=20", "-o", "faulthandler_timeout=120", *arguments, **environment)
    if code or " passed" not in said:
        pytest.fail(f"on {n} ranks of {mpi} with {environment or 'nothing special'}:\n{said[-30_000:]}", pytrace=False)
    return said


def without(files):
    """What leaves these files out."""
    return [f"--ignore={SPMD / f'test_{file}.py'}" for file in files]


@pytest.mark.parametrize("world", [pytest.param(world, marks=[] if WORLDS[world][3] else pytest.mark.slow) for world in WORLDS])
def test_what_must_hold_on_ranks_holds(world):
    n, environment, files, fast = WORLDS[world]
    said = run_all(find(), n, *without(files), *(["-m", "not slow"] if fast else []), **environment)
    machines = n // int(environment.get("IFOG_NODES_PER_MACHINE", n))
    assert f"ranks: {n} on {'one machine' if machines == 1 else f'{machines} machines'}" in said


@pytest.mark.slow
def test_the_matrix_product_holds_on_five_ranks():
    """Five is neither a power of two, like most of the worlds above, nor so small that everybody is a neighbour."""
    run_all(find(), 5, only=[str(SPMD / "test_matrix_product.py")])


FOR_DEVICES = [str(SPMD / f"test_{name}.py") for name in ("devices", "tensors", "gathering_and_reducing", "different_calls")]


def test_tensors_on_devices_are_read_where_they_lie():
    run_all(find(), 4, "-m", "not slow", only=FOR_DEVICES, IFOG_TEST_DEVICE="pretended")


@pytest.mark.slow
@pytest.mark.parametrize(("device", "n"), [("pretended", 1), ("pretended", 2), ("pretended", 4), ("deaf", 4), ("moved", 2)])
def test_what_must_hold_on_ranks_holds_on_devices(device, n):
    only = [str(SPMD), *without(("bad_calls",))] if (device, n) == ("pretended", 4) else FOR_DEVICES
    run_all(find(), n, only=only, IFOG_TEST_DEVICE=device)


@pytest.mark.slow
def test_what_must_hold_on_ranks_holds_under_open_mpi(open_mpi):
    run_all(open_mpi, 4, *without(SAID))


# ---- the suite itself --------------------------------------------------------------------------------------------------

TROUBLE = """
import pytest
import torch
import ifog

me = ifog.rank()

def test_one_rank_fails_while_the_others_wait():
    assert me != 1, "rank one has failed"
    ifog.barrier()

def test_all_is_well_again():
    assert ifog.allreduce(torch.tensor(1.0), "sum") == ifog.size()

def test_one_rank_is_in_another_call():
    ifog.barrier() if me == 1 else ifog.allreduce(torch.ones(2))

@pytest.fixture
def broken():
    if me == 1:
        raise ValueError("the fixture of rank one is broken")

def test_one_fixture_is_broken(broken):
    ifog.barrier()

def test_the_epoch_is_left_in_failure():
    with pytest.raises(ifog.Mismatch):
        (ifog.allreduce(torch.ones(2 + me)), ifog.barrier())

def test_nothing_is_wrong():
    ifog.barrier()
"""


def test_when_one_rank_fails_a_test_all_do_and_it_is_shown_once(tmp_path):
    for file in ("conftest.py", "agreement.py", "pretended.py"):
        shutil.copy(SPMD / file, tmp_path)
    (tmp_path / "test_trouble.py").write_text(TROUBLE)
    said, code = run(find(), 2, str(tmp_path), "--rootdir", str(tmp_path), "-c", str(ROOT / "pyproject.toml"))
    assert code != 0
    assert said.count("test session starts") == 1
    assert "3 failed, 2 passed, 1 error" in said
    for name in ("one_rank_fails_while_the_others_wait", "one_rank_is_in_another_call", "the_epoch_is_left_in_failure"):
        assert re.search(rf"FAILED .*test_trouble\.py::test_{name}", said)
    assert re.search(r"ERROR .*test_trouble\.py::test_one_fixture_is_broken", said)
    assert "---- rank 1 of 2 ----" in said
    assert "AssertionError: rank one has failed" in said
    assert "ValueError: the fixture of rank one is broken" in said
    assert "rank 0: allreduce of float32 [2], mean; rank 1: barrier" in said
    assert "it passed, but left the epoch failed" in said


def plain(*arguments):
    """What pytest says when mpiexec has not started it."""
    command = [sys.executable, "-m", "pytest", *arguments, "-q", "-p", "no:cacheprovider", "--color=no"]
    run = subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTEST_ADDOPTS": ""}, capture_output=True, text=True)
    return run.stdout


def test_plain_pytest_leaves_the_tests_on_ranks_to_this_file():
    said = plain("tests/comm", "--collect-only")
    assert "tests/comm/test_spmd.py::" in said
    assert "tests/comm/spmd/" not in said


@pytest.mark.slow
def test_asked_for_by_name_they_run_in_a_world_of_one_rank():
    said = plain("tests/comm/spmd/test_two_by_two.py")
    assert "ranks: 1 on one machine" in plain("tests/comm/spmd/test_two_by_two.py", "-v", "--collect-only")
    assert " passed" in said
    assert "failed" not in said
