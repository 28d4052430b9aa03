"""Inside an engine: a cell that fails, is interrupted or never began releases the other ranks, and no reply is ever lost.

::

    %%px
    %load_ext ifog.engine

makes the kernel of each engine tell `ifog.comm.cell` when user code begins and ends, however it arrives (a cell, silent or
not, with ``await`` or without; ``apply`` and what is built on it), guards it against stray interrupts, and calls `ifog.init`.
`install` does the same as a function, and `uninstall` undoes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .kernel import install as install
from .kernel import uninstall as uninstall

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


def load_ipython_extension(ip: InteractiveShell) -> None:
    """``%load_ext ifog.engine``."""
    install(ip)


def unload_ipython_extension(ip: InteractiveShell) -> None:
    """``%unload_ext ifog.engine``."""
    uninstall(ip)
