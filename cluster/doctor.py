"""``ifog doctor``: is this machine ready? Everything is tried, and every finding has its remedy."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from ..comm.mpi import find
from ..engine.binding import cores, count_gpus
from ..errors import SetupError
from .home import LEAST_SHARED, Home, homes, running

_AT_LEAST = {"ipyparallel": (9, 2), "ipykernel": (7, 4), "mpi4py": (4, 1), "torch": (2, 6), "jupyterlab": (4, 2)}
_RANKS = "from mpi4py import MPI; print(MPI.COMM_WORLD.size)"


class Finding(NamedTuple):
    """What was found, and what to do about it."""

    verdict: str
    """``good``, ``note`` or ``bad``."""
    what: str
    remedy: str = ""


def examine() -> list[Finding]:
    """Look at everything. What cannot even be looked at is a finding too."""
    found: list[Finding] = []
    for look in _LOOKS:
        try:
            found += look()
        except Exception as error:  # noqa: BLE001 (one broken thing must not hide the others)
            found.append(Finding("bad", f"{look.__name__.strip('_')}: {type(error).__name__}: {error}", "please report this"))
    return found


def _versions() -> Iterator[Finding]:
    yield Finding("good", f"Python {sys.version.split()[0]} in {sys.prefix}")
    for name, least in _AT_LEAST.items():
        wanted = ".".join(map(str, least))
        try:
            here = version(name)
        except PackageNotFoundError:
            yield Finding("bad", f"{name} is missing", f"pip install '{name}>={wanted}'")
            continue
        numbers = tuple(int(part) for part in here.split("+")[0].split(".")[:2] if part.isdecimal())
        if numbers < least:
            yield Finding("bad", f"{name} {here} is too old", f"pip install '{name}>={wanted}'")
        else:
            yield Finding("good", f"{name} {here}")


def _mpi() -> Iterator[Finding]:
    try:
        mpi = find()
    except SetupError as error:
        yield Finding("bad", str(error), "pip install mpich")
        return
    try:
        ran = subprocess.run(
            mpi.command(2, "-c", _RANKS), env=mpi.environment(), capture_output=True, text=True, timeout=60, check=False
        )
    except subprocess.TimeoutExpired:
        yield Finding("bad", f"{mpi} does not start two ranks within a minute", "is the machine's own host name resolvable?")
        return
    if "".join(ran.stdout.split()) == "22":  # they may speak at the same time
        yield Finding("good", f"{mpi} starts ranks that find each other")
    elif ran.returncode:
        lines = (ran.stderr or ran.stdout).strip().splitlines()
        yield Finding(
            "bad", f"{mpi} cannot start ranks: {lines[-1] if lines else ran.returncode}", "pip install --force-reinstall mpich"
        )
    else:
        yield Finding(
            "bad",
            f"{mpi} starts ranks that do not find each other: {ran.stdout.split()}",
            "launcher and library are of two installations: unset MPI4PY_LIBMPI, or pip install mpich",
        )


def _kernel() -> Iterator[Finding]:
    if importlib.util.find_spec("ifog.comm._kernel") is not None:
        yield Finding("good", "the compiled kernel is there")
    else:
        yield Finding(
            "note", "the compiled kernel is missing: torch does its work slower", "install a C compiler and ifog again"
        )


def _gpus() -> Iterator[Finding]:
    there = count_gpus()
    import torch

    if not there:
        yield Finding("good", "no NVIDIA GPU here: ranks compute on the processor")
    elif not torch.cuda.is_available():
        why = "this torch is built for processors only" if torch.version.cuda is None else "its driver does not fit this torch"
        yield Finding("bad", f"{there} GPUs are here, and torch cannot use them: {why}", "https://pytorch.org/get-started")
    else:
        yield Finding("good", f"{torch.cuda.device_count()} GPUs: {torch.cuda.get_device_name(0)}")


def _ports() -> Iterator[Finding]:
    try:
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            one.listen()
            with socket.create_connection(one.getsockname(), timeout=5):
                pass
        yield Finding("good", "ports can be opened on 127.0.0.1")
    except OSError as error:
        yield Finding("bad", f"no port can be opened on 127.0.0.1: {error}", "is the interface up? `ip link set lo up`")


def _memory() -> Iterator[Finding]:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    yield Finding("good" if total > 4e9 else "note", f"{total / 1e9:.0f} GB of memory; an engine with torch takes about 0.2 GB")
    folder = Path("/dev/shm")
    if folder.is_dir():
        free = shutil.disk_usage(folder).free
        if free >= LEAST_SHARED:
            yield Finding("good", f"/dev/shm has {free / 1e6:.0f} MB free")
        else:
            yield Finding(
                "bad", f"/dev/shm has only {free / 1e6:.0f} MB free", "docker run --shm-size=1g; or remove files there"
            )


def _threads() -> Iterator[Finding]:
    n = cores()
    yield Finding("good", f"{n} processor core{'s' if n > 1 else ''}: with more engines than that, they take turns")
    given = os.environ.get("OMP_NUM_THREADS")
    if given:
        yield Finding(
            "note", f"OMP_NUM_THREADS={given} is set: engines take it", "unset it to share out the cores; or --threads"
        )


def _files() -> Iterator[Finding]:
    home = Home()
    home.make()
    probe = home.state.with_suffix(".probe")
    probe.write_bytes(bytes(2**16))
    probe.unlink()
    if home.state.parent.stat().st_mode & 0o077:
        yield Finding("bad", f"{home.state.parent} is open to others", f"chmod 700 {home.state.parent}")
    else:
        yield Finding("good", f"{home.folder} can be written, and others cannot read its keys")


def _clusters() -> Iterator[Finding]:
    for home in running():
        yield Finding("good", f"a cluster {home.name!r} is running: {(home.read() or {}).get('phase')}")
    for home in homes():
        if not home.held and home.read() is not None:
            yield Finding("note", f"{home.name!r} was not stopped properly", f"ifog stop{home.options}, or just start it again")


_LOOKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    _versions,
    _mpi,
    _kernel,
    _gpus,
    _ports,
    _memory,
    _threads,
    _files,
    _clusters,
)
