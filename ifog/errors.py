"""Every error that ifog raises, as one tree.

::

    IfogError
    ├── TopologyError    a graph, a weight or a size that cannot be (also a ValueError)
    ├── ProblemError     an objective, its data or an iterate that cannot be (also a ValueError)
    ├── MethodError      a method that does not fit the topology, or is none (also a ValueError)
    ├── ExperimentError  a run that cannot do what it is asked to, or its file
    │   └── Diverged     a run whose iterates have left all bounds
    ├── SetupError       something is missing on this machine, e.g. an MPI
    ├── ArgumentError    an argument that a call on the ranks cannot take (also a ValueError)
    └── CommError        the ranks could not finish what they were doing together
        ├── PeerFailed   another rank failed, was interrupted or has died
        ├── Mismatch     the ranks called different things
        ├── Deadlock     somebody waits for a rank that will never come
        └── CellFailed   a cell that was sent to engines, in the notebook that sent it

    IfogWarning
    ├── TopologyWarning  allowed, but perhaps not what was meant
    └── WaitWarning      a rank has been waiting for another one for long

``except ifog.IfogError`` catches them all. A message says what came, what was expected, and what to type next.
"""

from __future__ import annotations


class IfogError(Exception):
    """The root: whatever ifog raises on purpose."""


class TopologyError(IfogError, ValueError):
    """A graph, a weight or a number of nodes that cannot be."""


class ProblemError(IfogError, ValueError):
    """An objective, its data or an iterate that cannot be."""


class MethodError(IfogError, ValueError):
    """A method that does not fit the topology, is not there, or is made wrongly."""


class ExperimentError(IfogError, RuntimeError):
    """A run cannot do what it is asked to in its state, or its file cannot be read."""


class Diverged(ExperimentError):
    """The iterates of a run have left all bounds. What was recorded until then is kept."""


class SetupError(IfogError, RuntimeError):
    """Something that ifog needs is missing on this machine."""


class ArgumentError(IfogError, ValueError):
    """An argument that a call on the ranks cannot take. Nothing has been sent."""


class CommError(IfogError, RuntimeError):
    """The ranks could not finish what they were doing together.

    In a notebook the next cell starts clean. In a script that caught it, every rank calls `ifog.recover` first.
    """


class PeerFailed(CommError):
    """Another rank failed, was interrupted or has died while this one counted on it."""


class Mismatch(CommError):
    """The ranks called different things: another operation, name, shape, dtype or topology."""


class Deadlock(CommError):
    """Somebody waits for a rank that will never come."""


class CellFailed(CommError):
    """A cell that was sent to engines has failed on some of them; here, in the notebook that sent it."""


class IfogWarning(UserWarning):
    """The root of ifog's warnings."""


class TopologyWarning(IfogWarning):
    """A topology that is allowed, but perhaps not what was meant."""


class WaitWarning(IfogWarning):
    """A rank has been waiting for another one for long; it goes on waiting."""
