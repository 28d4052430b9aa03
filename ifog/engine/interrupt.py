"""SIGINT reaches user code, and nothing else.

By default ipykernel lets a SIGINT raise KeyboardInterrupt anywhere while it handles a request. One that lands before the
user's code begins, while a traceback is formatted or while the reply is sent loses the reply, and the client waits for ever.
A flag that says "user code runs now" leaves a gap on either side of it. The stack leaves none: the handler raises only if
code of the user is on it, and there the exception can only leave through the frame that catches what user code raises.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ipykernel.zmqshell import ZMQInteractiveShell


class Guard:
    """The SIGINT handler of an engine."""

    def __init__(self, shell: ZMQInteractiveShell, *doors: CodeType) -> None:
        self._shell = shell
        self._doors = doors  # the functions that run user code, and catch everything that it raises
        self._awaiting: asyncio.Future[Any] | None = None

    def arm(self) -> None:
        """Handle SIGINT from now on. Repeated for each request, because user code may have set a handler of its own."""
        signal.signal(signal.SIGINT, self._handle)

    def _handle(self, _signum: int, frame: FrameType | None) -> None:
        if self.in_user_code(frame):
            raise KeyboardInterrupt
        if self._awaiting is not None:
            self._awaiting.get_loop().call_soon_threadsafe(self._awaiting.cancel)

    def in_user_code(self, frame: FrameType | None) -> bool:
        """Whether code of the user is on the stack, at or above a frame."""
        inner = None
        while frame is not None:
            # nothing else that a door calls directly lives in the user's namespace
            if frame.f_code in self._doors and inner is not None and inner.f_globals is self._shell.user_global_ns:
                return True
            inner, frame = frame, frame.f_back
        return False

    @contextmanager
    def cancelling(self, cell: asyncio.Future[Any]) -> Iterator[None]:
        """While a cell awaits, nothing of it is on the stack: then SIGINT cancels it."""
        self._awaiting = cell
        try:
            yield
        finally:
            self._awaiting = None
