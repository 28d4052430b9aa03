"""What is to be started: checked before anything begins, and turned into what ipyparallel's launchers want."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..comm.mpi import MPI, find
from ..errors import SetupError
from .home import PROFILE, Home

if TYPE_CHECKING:
    from traitlets.config import Config

BINDINGS = ("none", "core", "socket", "numa")
BATCH = {
    "slurm": (
        "SlurmEngineSetLauncher",
        "#SBATCH --ntasks={n}\n#SBATCH --export=ALL\n#SBATCH --output={output_file}\n",
        "sbatch",
    ),
    "pbs": ("PBSEngineSetLauncher", "#PBS -V\n#PBS -N ifog\n#PBS -l select={n}\n#PBS -j oe\n#PBS -o {output_file}\n", "qsub"),
    "sge": ("SGEEngineSetLauncher", "#$ -V\n#$ -S /bin/sh\n#$ -pe mpi {n}\n#$ -N ifog\n#$ -j y\n#$ -o {output_file}\n", "qsub"),
    "lsf": ("LSFEngineSetLauncher", "#BSUB -env all\n#BSUB -J ifog\n#BSUB -n {n}\n#BSUB -o {output_file}\n", "bsub"),
}
"""Per batch system: ipyparallel's launcher, the head of the job's script, and the command that submits it."""


@dataclass(frozen=True)
class Plan:
    """A cluster as it was asked for."""

    n: int
    profile: str = PROFILE
    cluster_id: str = ""
    gpus: str = "auto"
    threads: int | None = None
    bind: str = "none"
    hosts: tuple[tuple[str, int], ...] = ()
    launcher: str = "mpi"
    mpi: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 60.0
    directory: str = field(default_factory=os.getcwd)
    options: str = ""
    """For a batch system: more lines at the head of the job's script."""
    owner: int | None = None
    """The process with which the cluster ends, if it belongs to one."""

    @property
    def home(self) -> Home:
        """Where its files are."""
        return Home(self.profile, self.cluster_id)

    @property
    def local(self) -> bool:
        """Whether all its engines are on this machine."""
        return self.launcher == "mpi" and not self.hosts

    def to_json(self) -> dict[str, Any]:
        """For another process."""
        return asdict(self)

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Plan:
        """From another process."""
        return cls(**{**said, "hosts": tuple((host, slots) for host, slots in said["hosts"])})

    # --------------------------------------------------------------------------------------------------- checked
    def check(self) -> None:
        """Refuse what cannot be, each with the argument's name."""
        if isinstance(self.n, bool) or not isinstance(self.n, int) or self.n < 1:
            raise SetupError(f"n={self.n!r}: a number of engines, at least 1 (on the command line: -np 4)")
        for name in ("profile", "cluster_id"):
            value = getattr(self, name)
            if value != Path(value).name and value:
                raise SetupError(f"{name}={value!r}: a name without a slash, such as 'course'")
        if not self.profile:
            raise SetupError("profile='': a name such as 'course'; without the option it is 'ifog'")
        if self.gpus not in ("auto", "none") and not all(gpu.strip() for gpu in self.gpus.split(",")):
            raise SetupError(f"gpus={self.gpus!r}: 'auto', 'none', or a list such as '0,1'")
        if self.threads is not None and self.threads < 1:
            raise SetupError(f"threads={self.threads!r}: a number of threads per engine, at least 1")
        if self.bind not in BINDINGS:
            raise SetupError(f"bind={self.bind!r}: one of {', '.join(BINDINGS)}")
        if self.launcher != "mpi" and self.launcher not in BATCH:
            raise SetupError(f"launcher={self.launcher!r}: 'mpi' or a batch system, {', '.join(BATCH)}")
        if self.launcher in BATCH:
            command = BATCH[self.launcher][2]
            if self.hosts:
                raise SetupError(f"hosts=… and launcher={self.launcher!r}: a batch system chooses the hosts itself")
            if shutil.which(command) is None:
                raise SetupError(
                    f"launcher={self.launcher!r}: there is no command {command} on this machine; log in where it is"
                )
        slots = sum(slots for _, slots in self.hosts)
        if self.hosts and slots < self.n:
            raise SetupError(f"n={self.n}, and the hosts together take {slots}: name more, or more slots, as in a:4,b:4")
        if not Path(self.directory).is_dir():
            raise SetupError(f"directory={self.directory!r}: there is no such folder")
        self.find_mpi()

    def find_mpi(self) -> MPI:
        """The MPI that starts the engines."""
        return find(self.mpi)

    # ------------------------------------------------------------------------------------- for ipyparallel's launchers
    def variables(self) -> dict[str, str]:
        """The environment of the engines, beyond the one that they inherit."""
        mpi = self.find_mpi()
        said = {name: value for name, value in mpi.environment().items() if os.environ.get(name) != value}
        said["IFOG_GPUS"] = self.gpus
        if self.threads:
            said["IFOG_THREADS"] = str(self.threads)
        return said | dict(self.env)

    def mpi_arguments(self) -> list[str]:
        """What mpiexec is told beyond how many and what."""
        mpich = self.find_mpi().name == "MPICH"
        dash = "-" if mpich else "--"
        said = [f"{dash}wdir", self.directory]
        said += ["-prepend-rank"] if mpich else ["--tag-output"]  # whose line it is, for `ifog logs --rank`
        if self.bind != "none":
            said += [f"{dash}bind-to", self.bind]
        if self.hosts:
            said += ["-hosts" if mpich else "--host", ",".join(f"{host}:{slots}" for host, slots in self.hosts)]
        return said

    def config(self) -> Config:
        """What ipyparallel's launchers are told."""
        from traitlets.config import Config

        mpi = self.find_mpi()
        config = Config()
        config.EngineLauncher.environment = self.variables()
        config.EngineLauncher.engine_cmd = [sys.executable, "-m", "ifog.engine"]
        config.EngineLauncher.engine_args = ["--log-level=WARN"]
        leash = [sys.executable, "-S", str(Path(__file__).with_name("leash.py"))]
        config.MPILauncher.mpi_cmd = [*leash, str(mpi.launcher)]
        config.ControllerLauncher.controller_cmd = [sys.executable, "-m", "ifog.cluster.controller"]
        config.MPILauncher.mpi_args = self.mpi_arguments()
        if self.launcher in BATCH:
            name, head, _ = BATCH[self.launcher]
            start = " ".join([str(mpi.launcher), "-n", "{n}", "{program_and_args}"])
            config[name].batch_template = f"#!/bin/sh\n{head}{self.options}cd {self.directory}\nexec {start}\n"
            config[name].batch_file_name = str(self.home.log.with_suffix(".job"))
            config[name].output_file = str(self.home.log.with_suffix(".job.log"))
        return config

    def controller_arguments(self) -> list[str]:
        """What the controller is told: to notice soon who comes, and to listen where the engines are, under lock."""
        said = [
            "--HeartMonitor.period=300",
            # a machine that sleeps for minutes loses no engine; who has died is told by the manager, at once
            "--HeartMonitor.max_heartmonitor_misses=2000",
            "--IPController.use_threads=True",
            "--log-level=WARN",
        ]
        if self.local:
            return said
        return [*said, "--IPController.enable_curve=True", f"--ip={self._address()}"]

    def _address(self) -> str:
        """The address of this machine that the others reach."""
        other = next((host for host, _ in self.hosts), None)
        if other is not None:
            with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                for host in (host for host, _ in self.hosts):
                    probe.connect((host, 9))  # sends nothing: it only asks for the way
                    if not (address := probe.getsockname()[0]).startswith("127."):
                        return str(address)
        return "*"


def read_hosts(text: str | None = None, file: Path | str | None = None) -> tuple[tuple[str, int], ...]:
    """``a:4,b:4``, or the same in a file, a host a line, also as ``a slots=4``."""
    if text is not None and file is not None:
        raise SetupError("hosts and hostfile: give one of them")
    if file is not None:
        try:
            lines = Path(file).read_text().splitlines()
        except OSError as error:
            raise SetupError(f"hostfile={str(file)!r} cannot be read: {error.strerror}") from error
    else:
        lines = (text or "").split(",")
    found = []
    for line in lines:
        words = line.partition("#")[0].replace(" slots=", ":").replace(" slots =", ":").strip()
        if words:
            host, _, slots = words.partition(":")
            if not slots.strip().isdecimal() and slots:
                raise SetupError(f"hosts: {words!r} should be a name and a number of engines, as in a:4")
            found.append((host.strip(), int(slots or 1)))
    return tuple(found)


def read_variables(words: Sequence[str]) -> dict[str, str]:
    """``K=V`` of the command line."""
    found = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise SetupError(f"env: {word!r} should be a name and a value, as in SEED=3")
        found[name] = value
    return found
