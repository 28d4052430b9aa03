"""What is to be started: checked before anything begins, and turned into what ipyparallel's launchers want."""

from __future__ import annotations

import functools
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..comm.mpi import MPI, find
from ..errors import SetupError
from .home import PROFILE, Home
from .hosts import Hosts, check_hosts, is_here, our_address, ranks_on
from .queues import QUEUES, job_script

if TYPE_CHECKING:
    from traitlets.config import Config

BINDINGS = ("none", "core", "socket", "numa")
_TAKEN_ALONG = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "IPYTHONDIR")
"""What engines on other machines inherit of our environment through Open MPI; through MPICH it is all of it."""


@dataclass(frozen=True)
class Plan:
    """A cluster as it was asked for."""

    n: int
    profile: str = PROFILE
    cluster_id: str = ""
    gpus: str = "auto"
    threads: int | None = None
    bind: str = "none"
    hosts: Hosts = ()
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
        return self.launcher == "mpi" and all(is_here(host) for host, _ in self.hosts)

    def places(self, engines: Sequence[Mapping[str, Any]]) -> dict[str, list[int]]:
        """Which ranks are on which machine, by its name: as the user calls it, or as those in the engines' table do."""
        if self.hosts:
            return ranks_on(self.hosts, self.n)
        found: dict[str, list[int]] = {}
        for engine in engines:
            found.setdefault(engine["host"], []).append(engine["rank"])
        return found

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
        if self.launcher != "mpi" and self.launcher not in QUEUES:
            raise SetupError(f"launcher={self.launcher!r}: 'mpi' or a batch system, {', '.join(QUEUES)}")
        if self.launcher in QUEUES:
            command = QUEUES[self.launcher].submit
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
        _ = self.found_mpi  # refuses what is not there
        check_hosts(host for host, _ in self.hosts)

    @functools.cached_property
    def found_mpi(self) -> MPI:
        """The MPI that starts the engines. Looked for once: each MPI there is must be asked what it is."""
        return find(self.mpi)

    # ------------------------------------------------------------------------------------- for ipyparallel's launchers
    def variables(self) -> dict[str, str]:
        """The environment of the engines, beyond the one that they inherit."""
        mpi = self.found_mpi
        said = {name: value for name, value in mpi.environment().items() if os.environ.get(name) != value}
        said["IFOG_GPUS"] = self.gpus
        if self.threads:
            said["IFOG_THREADS"] = str(self.threads)
        return said | dict(self.env)

    def mpi_arguments(self) -> list[str]:
        """What mpiexec is told beyond how many and what."""
        mpich = self.found_mpi.name == "MPICH"
        dash = "-" if mpich else "--"
        said = [f"{dash}wdir", self.directory]
        said += ["-prepend-rank"] if mpich else ["--tag-output"]  # whose line it is, for `ifog logs --rank`
        if self.bind != "none":
            said += [f"{dash}bind-to", self.bind]
        if not self.local and self.hosts:
            said += ["-hosts" if mpich else "--host", ",".join(f"{host}:{slots}" for host, slots in self.hosts)]
            address = our_address(host for host, _ in self.hosts if not is_here(host))
            if mpich and address:
                said += ["-localhost", address]  # our own name may mean nothing to the others
            if not mpich:  # the one that takes no variable along unless told: its name here, its value on Open MPI's own line
                names = [*self.variables(), *(name for name in _TAKEN_ALONG if name in os.environ)]
                said += [word for name in names for word in ("-x", name)]
        return said

    def config(self) -> Config:
        """What ipyparallel's launchers are told."""
        from traitlets.config import Config

        mpi = self.found_mpi
        config = Config()
        config.EngineLauncher.environment = self.variables()
        config.EngineLauncher.engine_cmd = [sys.executable, "-m", "ifog.engine"]
        config.EngineLauncher.engine_args = ["--log-level=WARN"]
        leash = [sys.executable, "-S", str(Path(__file__).with_name("leash.py"))]
        config.MPILauncher.mpi_cmd = [*leash, str(mpi.launcher)]
        config.ControllerLauncher.controller_cmd = [sys.executable, "-m", "ifog.cluster.controller"]
        config.MPILauncher.mpi_args = self.mpi_arguments()
        if self.hosts and mpi.name == "Open MPI":
            config.MPILauncher.mpi_args += ["-x", "IPP_CONNECTION_INFO"]  # how engines find the controller
        if self.launcher in QUEUES:
            queue = QUEUES[self.launcher]
            launch = [str(mpi.launcher), *self.mpi_arguments()]
            config[queue.launcher].batch_template = job_script(queue, launch, self.directory, self.options)
            config[queue.launcher].batch_file_name = str(self.home.log.with_suffix(".job"))
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
        others = [host for host, _ in self.hosts if not is_here(host)]
        return [*said, "--IPController.enable_curve=True", f"--ip={our_address(others) or '*'}"]


def read_variables(words: Sequence[str]) -> dict[str, str]:
    """``K=V`` of the command line."""
    found = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise SetupError(f"env: {word!r} should be a name and a value, as in SEED=3")
        found[name] = value
    return found
