"""The kernel of an engine, taught to tell the ranks' world what becomes of its cells.

ipyparallel's engine is an IPython kernel with one more kind of request, ``apply``. Both kinds go through a method of the
kernel, ``do_execute`` and ``do_apply``, and every error through the shell's ``showtraceback``: these three are wrapped here.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ..comm import cell, world
from ..comm.board import describe
from ..errors import IfogError, SetupError
from . import spoken
from .interrupt import Guard

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

_hooks: Hooks | None = None


def install(ip: InteractiveShell | None = None) -> None:
    """Teach this engine's kernel, and begin the ranks' world: a collective. Once is enough; twice does no harm."""
    teach(ip)
    world.init()


def teach(ip: InteractiveShell | None = None) -> None:
    """Teach this engine's kernel, which need not know the other ranks yet."""
    global _hooks
    if _hooks is None:
        from IPython.core.getipython import get_ipython

        shell = ip or get_ipython()
        if not hasattr(shell, "kernel"):
            raise SetupError("there is no kernel here to be taught: run it in the engines, `%px %load_ext ifog.engine`")
        _hooks = Hooks(shell)


def installed() -> Hooks | None:
    """What this engine's kernel has been taught with."""
    return _hooks


def uninstall() -> None:
    """Give the kernel back what it had."""
    global _hooks
    if _hooks is not None:
        _hooks.remove()
        _hooks = None


def load_ipython_extension(ip: InteractiveShell) -> None:
    """``%load_ext ifog.engine``."""
    install(ip)


def unload_ipython_extension(_ip: InteractiveShell) -> None:
    """``%unload_ext ifog.engine``."""
    uninstall()


class Hooks:
    """The wrappers, and what they stand for."""

    def __init__(self, shell: Any) -> None:
        self.shell, self.kernel = shell, shell.kernel
        self.running = False  # user code runs, and its end has not been told
        self.code, self.since = "", 0.0  # of the last cell, and when it began
        self.error: str | None = None  # the last one
        self.error_at = 0.0
        self.traceback = ""  # of it
        kernel, doors = self.kernel, [type(shell).run_code.__code__]
        self._showtraceback, shell.showtraceback = shell.showtraceback, self.showtraceback
        self._do_execute, kernel.do_execute = kernel.do_execute, self.do_execute
        self._do_apply = getattr(kernel, "do_apply", None)
        if self._do_apply is not None:
            doors.append(type(kernel).do_apply.__code__)
            kernel.do_apply = self.do_apply
        self._execute_request = kernel.shell_handlers["execute_request"]
        kernel.shell_handlers["execute_request"] = self.execute_request

        self.guard = Guard(shell, *doors)
        self._handler = signal.getsignal(signal.SIGINT)
        kernel.pre_handler_hook = self.guard.arm
        kernel.post_handler_hook = self.end  # for the request that installs: it began before there were wrappers
        kernel._cancel_on_sigint = self.guard.cancelling
        self._no_channel_thread = kernel.shell_channel_thread is None
        if self._no_channel_thread:
            kernel.shell_channel_thread = _NoChannelThread()
            type(kernel)._supports_kernel_subshells = False
        self.guard.arm()
        if self.guard.in_user_code(sys._getframe()):
            self.begin()

    def remove(self) -> None:
        """Undo all of it."""
        kernel = self.kernel
        del self.shell.showtraceback, kernel.do_execute
        if self._do_apply is not None:
            del kernel.do_apply
        kernel.shell_handlers["execute_request"] = self._execute_request
        del kernel.pre_handler_hook, kernel.post_handler_hook, kernel._cancel_on_sigint
        if self._no_channel_thread:
            kernel.shell_channel_thread = None
            del type(kernel)._supports_kernel_subshells
        signal.signal(signal.SIGINT, self._handler)

    def begin(self) -> None:
        """User code begins."""
        parent = self.kernel.get_parent("shell")
        date = parent.get("header", {}).get("date")
        self.code, self.since = parent.get("content", {}).get("code", "a function"), time.time()
        spoken.begin()
        cell.began(datetime.fromisoformat(date).timestamp() if isinstance(date, str) else None)
        self.running = True

    def end(self, error: BaseException | None = None) -> None:
        """User code has ended, perhaps in an error. Said once."""
        if self.running:
            self.running = False
            cell.ended(error)
            if error is not None:
                self.error, self.error_at = describe(error).partition("\n")[0], time.time()
                self.traceback = ""

    def replied(self, reply: dict[str, Any]) -> None:
        """It has ended, and this goes to the one who sent it."""
        self.end(_error(reply))
        if reply["status"] != "ok":
            self.traceback = "\n".join(reply.get("traceback") or ())

    async def do_execute(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Run a cell."""
        # ipykernel leaves these behind if a display is interrupted, and takes the next cell with `await` for a failed one
        self.shell.displayhook.msg, self.shell._last_traceback_during_displayhook = None, False
        try:
            self.begin()
            reply: dict[str, Any] = await self._do_execute(*args, **kwargs)
            self.replied(reply)
        except BaseException as error:  # noqa: BLE001 without a reply the client would wait for ever
            reply = self.apology(error, "execute")
        return reply

    def do_apply(self, *args: Any) -> tuple[dict[str, Any], list[Any]]:
        """Call a function."""
        assert self._do_apply is not None
        try:
            self.begin()
            reply, buffers = self._do_apply(*args)
            self.replied(reply)
        except BaseException as error:  # noqa: BLE001 as above
            reply, buffers = self.apology(error, "apply"), []
        return reply, buffers

    def apology(self, error: BaseException, method: str) -> dict[str, Any]:
        """The reply to a request that the kernel itself could not handle."""
        self.showtraceback()
        reply = {"status": "error", "ename": type(error).__name__, "evalue": str(error)}
        reply["traceback"] = self.shell._last_traceback
        if hasattr(self.kernel, "get_engine_info"):
            reply["engine_info"] = self.kernel.get_engine_info(method=method)
        self.replied(reply)
        return reply

    def showtraceback(self, exc_tuple: Any = None, *args: Any, **kwargs: Any) -> None:
        """Show an error, after the others have been released: to format its traceback may take half a second."""
        kind, error, traceback = exc_tuple or sys.exc_info()
        # user code on the stack shows an error that did not end it, as `%run` does
        if error is not None and not self.guard.in_user_code(sys._getframe()):
            self.end(error)
        if isinstance(error, IfogError):
            exc_tuple = kind, error, _without_ifog(traceback)
        self._showtraceback(exc_tuple, *args, **kwargs)

    async def execute_request(self, stream: Any, ident: Any, parent: Any) -> None:
        """Handle the request for a cell."""
        # else the cells queued behind one that fails are dropped: on the ranks where it fails, and on no others
        parent["content"]["stop_on_error"] = False
        await self._execute_request(stream, ident, parent)


class _NoChannelThread:
    """For ipykernel 7, which asks this absent thread of an engine whether a cell with ``await`` runs in the main thread."""

    parent_thread = threading.main_thread()

    def __bool__(self) -> bool:
        return False


def _error(reply: dict[str, Any]) -> BaseException | None:
    """What a reply says went wrong. Only what never came by `showtraceback`, such as a syntax error, is taken from here."""
    if reply["status"] == "ok":
        return None
    error: BaseException = type(reply["ename"], (Exception,), {"__module__": "builtins"})(reply["evalue"])
    return error


def _without_ifog(traceback: TracebackType | None) -> TracebackType | None:
    """A traceback with the reader's own lines only: the message says what went wrong inside ifog."""
    frames = []
    while traceback is not None:
        if traceback.tb_frame.f_globals.get("__name__", "").partition(".")[0] != "ifog":
            frames.append(traceback)
        traceback = traceback.tb_next
    for frame in reversed(frames):
        traceback = TracebackType(traceback, frame.tb_frame, frame.tb_lasti, frame.tb_lineno)
    return traceback
