"""Locks between processes that know their owner, and that nobody can take along: if the holder dies, the system opens them.

They are record locks on the file of the board, one byte each. A rank may hold one several times. Between machines, the thread
that serves a window holds a lock for the rank that asked.
"""

from __future__ import annotations

import fcntl
import threading


class Locks:
    """The locks of one process."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._held: dict[int, tuple[int, int]] = {}  # byte → the rank it is held for, and how often
        self._guard = threading.Lock()  # the system does not tell the threads of a process apart

    def try_acquire(self, byte: int, holder: int) -> bool:
        """Take a lock for a rank, if it is free or that rank's already."""
        with self._guard:
            owner, times = self._held.get(byte, (holder, 0))
            if owner != holder:
                return False
            if not times:
                try:
                    fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
                except (BlockingIOError, PermissionError):
                    return False
            self._held[byte] = holder, times + 1
            return True

    def release(self, byte: int, holder: int) -> None:
        """Give it back, as often as it was taken. Whoever holds it no more, as after a failure, gives nothing back."""
        with self._guard:
            owner, times = self._held.get(byte, (holder, 0))
            if owner != holder or not times:
                return
            if times > 1:
                self._held[byte] = holder, times - 1
            else:
                del self._held[byte]
                fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, byte)

    def release_all(self) -> None:
        """Open all that is held, for whomever: a failure has ended what it was held for.

        An interrupt may have come between a lock and its note here, so not only those that are noted.
        """
        with self._guard:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN)
            self._held.clear()
