"""The process of an engine: ipyparallel's, which is taught by `kernel`, answers requests, and ends with its launcher."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from typing import TYPE_CHECKING

from ipyparallel.engine.app import IPEngine
from traitlets import Bool

from ..comm import beginning, world
from . import kernel, requests, telemetry, values

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

_LOOK = 0.5  # seconds between two looks at the launcher
_ALONE = 60  # seconds without a word from the manager, on a machine that it has had to give up


class Engine(IPEngine):  # type: ignore[misc]
    """An engine whose id is its rank."""

    name = "ifog-engine"
    # a nanny is a second process for each engine, which tells of its end; the manager watches the launcher instead
    enable_nanny = Bool(False, config=True)
    use_mpi = Bool(True, config=True)

    def _id_default(self) -> int:
        """The rank, also of one who is alone: ipyparallel leaves that to the controller, which counts on after a restart."""
        return beginning.rank_of_mpi()

    def initialize(self, argv: list[str] | None = None) -> None:
        """Read the arguments, and have this module loaded into the shell as soon as there is one."""
        super().initialize(argv)
        self.config.InteractiveShellApp.extensions = [__name__]


def load_ipython_extension(ip: InteractiveShell) -> None:
    """Teach the kernel, without waiting for the other ranks: `warm_up` does that, beside the user's first cells."""
    kernel.teach(ip)
    requests.serve(ip)
    telemetry.begin(ip)
    values.send(ip)


def warm_up() -> None:
    """Import torch and begin the ranks' world now, in the background, so that the first cell need not wait for it."""
    threading.Thread(target=_warm_up, name="ifog-warm-up", daemon=True).start()


def _warm_up() -> None:
    with contextlib.suppress(Exception):  # the first call of the user meets the same trouble, and shows it
        world.init()


def _end_with_the_launcher(launcher: int) -> None:
    """Engines whose launcher was killed would stay for ever: MPICH's end with it, Open MPI's do not."""
    while os.getppid() == launcher:
        time.sleep(_LOOK)
    os._exit(1)


class _Patience:
    """The seconds that this engine goes on without its manager.

    Its own thread counts them: none passes while the process stands still, or keeps Python's lock.
    """

    left: int | None = None

    @classmethod
    def renew(cls) -> None:
        begun, cls.left = cls.left is not None, _ALONE
        if not begun:
            threading.Thread(target=cls.lose, name="ifog-manager-watch", daemon=True).start()

    @classmethod
    def lose(cls) -> None:
        while cls.left:
            time.sleep(1)
            cls.left -= 1
        os._exit(1)


def stay() -> None:
    """Asked again and again by the manager of engines on other machines: an engine that it cannot reach, it cannot end."""
    _Patience.renew()


def main() -> None:
    """Begin MPI, register, and serve until the end."""
    threading.Thread(target=_end_with_the_launcher, args=(os.getppid(),), name="ifog-launcher-watch", daemon=True).start()
    beginning.start_mpi_together()
    Engine.launch_instance()
