"""How notebooks show what ifog makes: a topology as a network, a run as its curve, a cluster as tiles, a partition as bars.

Objects know nothing of their widgets. IPython is told their names, and asks here when it has to show one.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


def register(ip: InteractiveShell) -> None:
    """Show topologies, schedules, runs, clusters and partitions as widgets from now on."""
    if ip.display_formatter is None:
        return
    formatter = ip.display_formatter.ipython_display_formatter
    formatter.for_type_by_name("ifog.topology.graph", "Schedule", _network)
    formatter.for_type_by_name("ifog.experiment.live", "Run", _curve)
    formatter.for_type_by_name("ifog.experiment.compared", "Comparison", _curve)
    formatter.for_type_by_name("ifog.cluster.cluster", "Cluster", _tiles)
    formatter.for_type_by_name("ifog.learning.parts", "Partition", _bars)


def register_if_in_a_notebook() -> None:
    """The same, if somebody sits at a notebook."""
    shell = sys.modules.get("IPython")
    ip = None if shell is None else shell.get_ipython()
    if ip is not None and getattr(ip, "kernel", None) is not None:
        register(ip)


def _network(schedule: Any) -> None:
    from .network import Network

    Network(schedule)._ipython_display_()


def _curve(run: Any) -> None:
    from .convergence import Convergence

    Convergence(run)._ipython_display_()


def _tiles(cluster: Any) -> None:
    from .cluster import Cluster

    Cluster(cluster)._ipython_display_()


def _bars(partition: Any) -> None:
    from .data import Data

    Data(partition)._ipython_display_()
