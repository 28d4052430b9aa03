"""The two names of `ifog` that belong to rooms above it: each hands over to `ifog.cluster` when it is called."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


def connect(cluster_id: str | None = None, profile: str | None = None) -> Any:
    """The cluster of engines that runs: `ifog.cluster.connect`."""
    return importlib.import_module("ifog.cluster").connect(cluster_id, profile)


def load_ipython_extension(ip: InteractiveShell) -> None:
    """``%load_ext ifog`` in a notebook: connect to the engines, and make ``%%px`` friendly."""
    importlib.import_module("ifog.cluster.notebook").load_ipython_extension(ip)


def unload_ipython_extension(ip: InteractiveShell) -> None:
    """``%unload_ext ifog``."""
    importlib.import_module("ifog.cluster.notebook").unload_ipython_extension(ip)
