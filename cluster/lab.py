"""``ifog lab``: engines and JupyterLab together, and both are stopped together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from .cluster import Cluster


def lab(cluster: Cluster, folder: str | None, *, browser: bool) -> int:
    """Run JupyterLab until it ends. Engines that ran before stay; those started here end with it."""
    if cluster.home.held:
        return _jupyterlab(folder, browser=browser)
    print(f"starting {len(cluster)} engines …", flush=True)  # noqa: T201
    with cluster:
        return _jupyterlab(folder, browser=browser)


def _jupyterlab(folder: str | None, *, browser: bool) -> int:
    tutorials = Path("tutorials")
    command = [sys.executable, "-m", "jupyterlab", f"--notebook-dir={folder or (tutorials if tutorials.is_dir() else '.')}"]
    command += [] if browser else ["--no-browser"]
    command += ["--allow-root"] if hasattr(os, "getuid") and os.getuid() == 0 else []
    process = subprocess.Popen(command)
    # it ends its kernels, and after it we end our engines
    before = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    try:
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:  # JupyterLab has heard it too, and asks whether it is meant
                continue
    finally:
        signal.signal(signal.SIGTERM, before)
