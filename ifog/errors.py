"""Every error that ifog raises, as one tree.

::

    IfogError
    ├── TopologyError    a graph, a weight or a size that cannot be (also a ValueError)
    └── SetupError       something is missing on this machine, e.g. an MPI

    IfogWarning
    └── TopologyWarning  allowed, but perhaps not what was meant

``except ifog.IfogError`` catches them all. A message says what came, what was expected, and what to type next.
"""

from __future__ import annotations


class IfogError(Exception):
    """The root: whatever ifog raises on purpose."""


class TopologyError(IfogError, ValueError):
    """A graph, a weight or a number of nodes that cannot be."""


class SetupError(IfogError, RuntimeError):
    """Something that ifog needs is missing on this machine."""


class IfogWarning(UserWarning):
    """The root of ifog's warnings."""


class TopologyWarning(IfogWarning):
    """A topology that is allowed, but perhaps not what was meant."""
