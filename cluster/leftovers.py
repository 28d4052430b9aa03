"""What a manager that was killed has left behind, and how it is ended: without harm to anybody else's processes."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from .home import Home


def end_processes(processes: Mapping[int, float]) -> None:
    """Kill those of these processes that still live: a pid alone may be somebody else's by now, so each has its birthday."""
    living = []
    for pid, created in processes.items():
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            if abs(process.create_time() - created) < 0.01:
                living += [process, *process.children(recursive=True)]
    for process in living:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(living, timeout=3)


def remove_leftovers(home: Home, said: Mapping[str, Any]) -> None:
    """Remove the files that belonged to it, and its job from the queue."""
    if said.get("job"):
        with contextlib.suppress(OSError):
            subprocess.run(said["job"], capture_output=True, check=False)  # it may have ended long ago
    if "socket" in said:
        shutil.rmtree(Path(said["socket"]).parent, ignore_errors=True)
    home.forget()
