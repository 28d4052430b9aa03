"""How a rank's process ends: with the others if all is well; if something has failed, soon, and without waiting inside MPI.

It also notices how other processes end: a rank of this machine that dies is named before the launcher ends them all.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import functools
import io
import math
import os
import select
import stat
import sys
import termios
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

from ..errors import CommError
from . import cell
from .board import CRASHED, DIED, ENDED, PID, RECOVER, STATE

if TYPE_CHECKING:
    from .world import World

_GRACE = 2.0
"""For so long a rank that fails waits for the others, so that they can say that it was this one."""

_world: World | None = None  # the last one
_crashed = False


def accompany(world: World) -> None:
    """From now on, an error that nobody catches ends all ranks, and no process ends before the others can do without it."""
    global _world
    if _world is None:
        atexit.register(_leave)
        sys.excepthook = functools.partial(_uncaught, sys.excepthook)
        os.register_at_fork(after_in_child=_become_child)
    else:
        _world.stop_keepers()  # all ranks have left that one
    _world = world


def _uncaught(
    show: Callable[[type[BaseException], BaseException, TracebackType | None], object],
    kind: type[BaseException],
    error: BaseException,
    where: TracebackType | None,
) -> None:
    global _crashed
    if _world is not None and not cell.count and not hasattr(sys, "ps1"):  # at a prompt, an error is not the end
        _crashed = True
        _world.board.words[_world.board.mine + CRASHED] = 1
        _world.fail(error)  # first: to show it may take long
        if getattr(error, "_from_peer", False):
            _let_the_first_speak(_world)
    text = io.StringIO()
    with contextlib.redirect_stderr(text):
        show(kind, error, where)
    sys.stderr.write(text.getvalue())  # in one piece: a launcher mixes what the ranks say
    sys.stderr.flush()


def _let_the_first_speak(world: World) -> None:
    """The error that explains the others comes first. The dead do not speak, and the launcher is about to end all."""
    board, ranks = world.board, range(world.size)
    deadline = time.monotonic() + 0.3
    while time.monotonic() < deadline and not any(board.state(rank) in (ENDED, DIED) for rank in ranks):
        time.sleep(0.01)


def _become_child() -> None:
    """A copy of the rank's process is no rank itself, whatever it does and however it ends."""
    global _world
    if _world is not None:
        _world.become_child()
        _world = None


def _leave() -> None:
    """The end of the script."""
    world = _world
    if world is None:
        return
    try:
        together = _all_end(world)
    except KeyboardInterrupt:
        os._exit(130)
    for thread in world.threads:
        thread.stop()
    world.stop_keepers()
    sys.stdout.flush()
    sys.stderr.flush()
    if together:
        from mpi4py import MPI

        if not MPI.Is_finalized():
            MPI.Finalize()
    elif _crashed:
        os._exit(1)  # whatever else wants to be done at the end may wait for MPI


def _all_end(world: World) -> bool:
    """Wait until all ranks have ended, and say whether all is well. If one has crashed, or in a notebook, not for long."""
    board = world.board
    if board.failed_epoch >= world.epoch:
        _let_the_launcher_read()
    board.enter(ENDED)
    deadline = time.monotonic() + _GRACE if cell.count else math.inf
    arrived, broken = None, False
    look_at = nap = 0.0
    while arrived is None or not arrived.Test():
        now = time.monotonic()
        if now > deadline:
            return False
        if now > look_at:
            look_at = now + 0.5
            world.bury_the_dead()
        if not broken and _one_is_lost(world):
            broken, deadline = True, min(deadline, now + _GRACE)
        if arrived is None and _all_have_ended(world):
            if broken or not _reconciled(world):
                return False
            arrived = world.wire.comm.Ibarrier()  # MPI_Finalize waits for all: nobody calls it who might wait for long
        if board.failed_epoch < world.epoch:
            world.step_pending()  # somebody may wait for what this rank never waited for
        time.sleep(nap)
        nap = min(0.01, nap + 0.0001)
    return not broken


def _one_is_lost(world: World) -> bool:
    """Whether a rank has died, or ends by an error that nobody caught."""
    board = world.board
    rows = map(board.row, range(world.size))
    return any(board.words[row + CRASHED] or board.words[row + STATE] == DIED for row in rows)


def _all_have_ended(world: World) -> bool:
    """Whether all ranks have come to the end of their scripts; some may be reconciling already."""
    board = world.board
    return all(
        board.state(rank) == ENDED or board.words[board.row(rank) + RECOVER] > board.failed_epoch for rank in range(world.size)
    )


def _reconciled(world: World) -> bool:
    """After a failure that all have caught, messages may still be under way, and MPI_Finalize would wait for them."""
    if world.board.failed_epoch >= world.epoch:
        if cell.count:
            return False
        try:
            world.recover()
        except CommError:
            return False
    return True


def _let_the_launcher_read() -> None:
    """What a launcher has not read of the ranks' words when it ends them is lost: perhaps the one error that tells all."""
    deadline = time.monotonic() + 1.0
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, replaced, or none at all
            stream.flush()
            descriptor, unread = stream.fileno(), bytearray(4)
            while stat.S_ISFIFO(os.fstat(descriptor).st_mode) and time.monotonic() < deadline:
                fcntl.ioctl(descriptor, termios.FIONREAD, unread)
                if not any(unread):
                    break
                time.sleep(0.005)


class DeathWatch:
    """A thread that sleeps until a rank of this machine dies, and then says which: the launcher only knows its process.

    It has a few milliseconds. MPICH's launcher ends all ranks as soon as one has died, and that kills this one too.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._watched = {}
        for rank in world.locals:
            if rank != world.rank:
                with contextlib.suppress(OSError):  # already gone, or a system that cannot
                    self._watched[os.pidfd_open(world.board.words[world.board.row(rank) + PID])] = rank
        self._wake, self._woken = os.pipe()
        self._thread = threading.Thread(target=self._run, name="ifog-death-watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        if self._thread.is_alive():
            os.write(self._woken, b"!")
            self._thread.join(2.0)
        for descriptor in (self._wake, self._woken, *self._watched):
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def _run(self) -> None:
        poll = select.poll()
        for descriptor in (self._wake, *self._watched):
            poll.register(descriptor, select.POLLIN)
        left = len(self._watched)
        while left:
            for descriptor, _ in poll.poll():
                if descriptor == self._wake:
                    return
                poll.unregister(descriptor)
                left -= 1
                self._world.notice_end(self._watched[descriptor])
