"""Where a cluster lives: its name, its files, and who may hold it.

A cluster is named by an IPython profile and an id, as in ipyparallel, so that plain clients find it too. All its files lie in
the profile's folder, in subfolders that nobody else can read. A manager holds the lock of its cluster as long as it lives: a
lock that nobody holds means that whatever the files say is of the past.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ..errors import SetupError

PROFILE = "ifog"
_ROOM = 2**14  # bytes: so much of the disk is taken from the beginning, and again when that is not enough
_GLANCE = 0.2  # seconds: those who only look whether a manager lives hold its lock, too, for an instant
LEAST_SHARED = 64 * 2**20
"""Bytes in /dev/shm: MPICH takes some 10 MB for 8 ranks."""
COMPLAINT = "there is no cluster: "
"""With this begins the last line of a manager that could not start."""


@dataclass(frozen=True)
class Home:
    """The place of one cluster."""

    profile: str = PROFILE
    cluster_id: str = ""

    @property
    def folder(self) -> Path:
        """The profile's folder."""
        return ipython_folder() / f"profile_{self.profile}"

    @property
    def log(self) -> Path:
        """What the manager and the controller have written."""
        return self.folder / "log" / f"ifog{self._suffix}.log"

    @property
    def engine_log(self) -> Path:
        """What the engines have written beside the output of cells, each line with its rank."""
        return self.folder / "log" / f"ifog{self._suffix}-engines.log"

    @property
    def state(self) -> Path:
        """What the manager says about the cluster."""
        return self.folder / "security" / f"ifog{self._suffix}.json"

    @property
    def client_file(self) -> Path:
        """With what a client connects: addresses and the key."""
        return self.folder / "security" / f"ipcontroller{self._suffix}-client.json"

    @property
    def engine_file(self) -> Path:
        """With what an engine connects."""
        return self.client_file.with_name(self.client_file.name.replace("-client.json", "-engine.json"))

    def new_engine_log(self) -> Path:
        """The engines' log, empty. On a full disk there is none: their launcher would end if it could not write."""
        try:
            with open_privately(self.engine_log) as file:
                file.write(" " * _ROOM)
            self.engine_log.write_text("")
        except OSError:
            return Path(os.devnull)
        return self.engine_log

    @property
    def _suffix(self) -> str:
        return f"-{self.cluster_id}" if self.cluster_id else ""

    @property
    def name(self) -> str:
        """As it is called in messages."""
        return self.cluster_id or self.profile

    @property
    def options(self) -> str:
        """What to append to a command that means this cluster."""
        profile = "" if self.profile == PROFILE else f" --profile {self.profile}"
        return profile + (f" --cluster-id {self.cluster_id}" if self.cluster_id else "")

    @property
    def arguments(self) -> str:
        """The same as Python's arguments."""
        said = {"cluster_id": self.cluster_id} if self.cluster_id else {}
        said |= {"profile": self.profile} if self.profile != PROFILE else {}
        return ", ".join(f"{key}={value!r}" for key, value in said.items())

    # ---------------------------------------------------------------------------------------------------- files
    def make(self) -> None:
        """Make the folders, readable by nobody else."""
        try:
            for folder in (self.folder, self.folder / "security", self.folder / "log"):
                folder.mkdir(parents=True, exist_ok=True)
                if folder != self.folder:
                    folder.chmod(0o700)
        except OSError as error:
            raise self.unwritable(error) from error

    def unwritable(self, error: OSError) -> SetupError:
        """Why there is no way to work in this folder."""
        return SetupError(
            f"cannot write in {self.folder} ({error.strerror or error}): make room there or make it writable, or choose "
            "another place for it with the environment variable IPYTHONDIR"
        )

    def read(self) -> dict[str, Any] | None:
        """What the manager has said last, if anything."""
        for _ in range(3):
            try:
                said: dict[str, Any] = json.loads(self.state.read_text())
            except FileNotFoundError:
                return None
            except (OSError, ValueError):
                time.sleep(0.01)  # half a file: it is being written on a full disk, or was when its writer was killed
            else:
                return said
        return {}

    def write(self, said: dict[str, Any]) -> None:
        """Say it: in a file that is always whole, and nobody else's to read. On a full disk, in the room that it has."""
        text = json.dumps(said, indent=1)
        text = text.ljust(_ROOM * (1 + len(text) // _ROOM))
        new = self.state.with_suffix(".new")
        try:
            with open_privately(new) as file:
                file.write(text)
            new.replace(self.state)
        except OSError:
            new.unlink(missing_ok=True)
            with self.state.open("r+") as file:
                file.write(text)

    def forget(self) -> None:
        """Remove what the manager has said, and how to connect."""
        for file in (self.state, self.state.with_suffix(".new"), self.client_file, self.engine_file):
            with contextlib.suppress(OSError):
                file.unlink(missing_ok=True)

    # ----------------------------------------------------------------------------------------------------- lock
    @property
    def _lock(self) -> Path:
        return self.state.with_suffix(".lock")

    def hold(self) -> IO[str] | None:
        """Be the manager, as long as the result is open. None: somebody else is."""
        try:
            file = self._lock.open("a")
        except OSError as error:
            raise self.unwritable(error) from error
        deadline = time.monotonic() + _GLANCE
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    file.close()
                    return None
                time.sleep(0.01)
            else:
                return file

    @property
    def held(self) -> bool:
        """Whether a manager lives."""
        if not self._lock.exists():
            return False
        with self._lock.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False


def open_privately(path: Path) -> IO[str]:
    """An empty file to write in, which nobody else can read."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w")


def ipython_folder() -> Path:
    """IPython's folder, without importing it."""
    return Path(os.environ.get("IPYTHONDIR") or "~/.ipython").expanduser()


def homes() -> Iterator[Home]:
    """The homes of all clusters of this user that have ever said something, in the order of their names."""
    for file in sorted(ipython_folder().glob("profile_*/security/ifog*.json")):
        yield Home(file.parents[1].name.removeprefix("profile_"), file.stem.removeprefix("ifog").removeprefix("-"))


def running() -> list[Home]:
    """The homes of the clusters that run."""
    return [home for home in homes() if home.held]
