"""Which processor threads and which GPU a rank uses. Run before numpy and torch are imported: they ask only once.

A rank's own GPU comes first in CUDA_VISIBLE_DEVICES and the others of the machine after it: `cuda` is its own everywhere, and
ranks can still read each other's memory, which CUDA refuses on a device that it cannot see.

It uses the standard library alone.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from pathlib import Path

# MPICH, Open MPI, and last Slurm: within its jobs the ranks of another launcher all carry the same SLURM_LOCALID
_LOCAL = (
    ("MPI_LOCALRANKID", "MPI_LOCALNRANKS"),
    ("OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"),
    ("SLURM_LOCALID", "SLURM_NTASKS_PER_NODE"),
)
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def bind(variables: MutableMapping[str, str] = os.environ) -> None:
    """Set the variables of this rank: those that say how many threads (``IFOG_THREADS``), and which GPUs (``IFOG_GPUS``)."""
    rank, size = local_place(variables)
    wanted = variables.get("IFOG_THREADS")
    for name in _THREADS:
        if wanted:
            variables[name] = wanted
        else:
            variables.setdefault(name, str(max(1, cores() // size)))
    gpus = chosen_gpus(variables)
    if gpus is None:
        return
    first = rank % len(gpus) if gpus else 0
    variables["CUDA_VISIBLE_DEVICES"] = ",".join(gpus[first:] + gpus[:first])
    variables["IFOG_GPU"] = gpus[first] if gpus else ""


def local_place(variables: MutableMapping[str, str]) -> tuple[int, int]:
    """Which of the ranks on this machine this is, and of how many."""
    for rank, size in _LOCAL:
        if rank in variables:
            return int(variables[rank]), int(variables.get(size) or 1)
    return 0, 1


def chosen_gpus(variables: MutableMapping[str, str]) -> list[str] | None:
    """The GPUs that the ranks of this machine share. None: there is none, and nothing is to be set."""
    wanted = variables.get("IFOG_GPUS", "auto")
    if wanted == "none":
        return []
    if wanted != "auto":
        return wanted.split(",")
    if "CUDA_VISIBLE_DEVICES" in variables:  # a batch system has chosen
        return [gpu for gpu in variables["CUDA_VISIBLE_DEVICES"].split(",") if gpu]
    return [str(i) for i in range(count_gpus())] or None


def count_gpus() -> int:
    """How many NVIDIA GPUs the driver shows to this machine, or container."""
    return sum(file.name.removeprefix("nvidia").isdecimal() for file in Path("/dev").glob("nvidia[0-9]*"))


def cores() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
