"""Batch systems: the script of the job in which the engines run."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import NamedTuple


class Queue(NamedTuple):
    """A batch system."""

    launcher: str
    """ipyparallel's class for it."""
    head: str
    """How the job's script begins: ``{n}`` and ``{output_file}`` are put in by that class."""
    submit: str
    """The command that must be there."""


QUEUES = {
    "slurm": Queue(
        "SlurmEngineSetLauncher",
        "#SBATCH --job-name=ifog\n#SBATCH --ntasks={n}\n#SBATCH --export=ALL\n#SBATCH --output={output_file}\n",
        "sbatch",
    ),
    "pbs": Queue(
        "PBSEngineSetLauncher", "#PBS -V\n#PBS -N ifog\n#PBS -l select={n}\n#PBS -j oe\n#PBS -o {output_file}\n", "qsub"
    ),
    "sge": Queue(
        "SGEEngineSetLauncher", "#$ -V\n#$ -S /bin/sh\n#$ -pe mpi {n}\n#$ -N ifog\n#$ -j y\n#$ -o {output_file}\n", "qsub"
    ),
    "lsf": Queue("LSFEngineSetLauncher", "#BSUB -env all\n#BSUB -J ifog\n#BSUB -n {n}\n#BSUB -o {output_file}\n", "bsub"),
}


def job_script(queue: Queue, launch: Sequence[str], directory: str, options: str) -> str:
    """The template of a job's script. The launcher is the last command, so that it is the one that a signal reaches."""
    more = "".join(line.strip() + "\n" for line in options.splitlines() if line.strip())
    start = f"cd {shlex.quote(directory)}\nexec {shlex.join(launch)}"
    return f"#!/bin/sh\n{queue.head}{_verbatim(more)}{_verbatim(start)} -n {{n}} {{program_and_args}}\n"


def _verbatim(text: str) -> str:
    """For a template, in which braces mean something."""
    return text.replace("{", "{{").replace("}", "}}")
