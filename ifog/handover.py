"""The names of `ifog` that belong to rooms above it: each hands over to `ifog.cluster` when it is called.

``%load_ext ifog`` also has `ifog.widgets` say to the notebook how topologies and runs are shown.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


def connect(cluster_id: str | None = None, profile: str | None = None) -> Any:
    """The cluster of engines that runs: `ifog.cluster.connect`."""
    return importlib.import_module("ifog.cluster").connect(cluster_id, profile)


def load_ipython_extension(ip: InteractiveShell) -> None:
    """``%load_ext ifog`` in a notebook: connect to the engines, make ``%%px`` friendly, and show widgets."""
    importlib.import_module("ifog.widgets.formatters").register(ip)
    importlib.import_module("ifog.cluster.notebook").load_ipython_extension(ip)


def unload_ipython_extension(ip: InteractiveShell) -> None:
    """``%unload_ext ifog``."""
    importlib.import_module("ifog.cluster.notebook").unload_ipython_extension(ip)
