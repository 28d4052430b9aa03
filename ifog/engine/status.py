"""What an engine does at this moment, for `ifog status` and the notebook: called by a request, while a cell may be running."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

from ..comm import beginning, board, cell, world
from . import kernel, spoken


def status() -> dict[str, Any]:
    """What can be said about this engine, in plain words and numbers."""
    here, hooks = world.existing(), kernel.installed()
    said: dict[str, Any] = {
        "rank": beginning.rank_of_mpi(),
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "gpu": os.environ.get("IFOG_GPU") or None,
        "threads": int(os.environ.get("OMP_NUM_THREADS", 0)) or None,
        "memory": _memory(),
        "gpu_memory": _gpu_memory(),
        "state": "busy" if cell.running else "idle",
        "cells": cell.count,
        "ready": here is not None,
        "operation": None,
        "waits_for": None,
        "exchanges": 0 if here is None else here.sequence,
        "told": [] if here is None else here.told(),
    }
    if cell.running and hooks is not None:
        said |= {"cell": hooks.code.strip().partition("\n")[0], "seconds": time.time() - hooks.since}
    if here is not None and cell.running:
        words, mine = here.board.words, here.board.mine
        if words[mine + board.STATE] == board.WAITING:
            peer = words[mine + board.WAITS_FOR]
            said |= {"state": "waiting", "operation": here.board.call(here.rank), "waits_for": peer if peer >= 0 else ~peer}
    if hooks is not None and hooks.error is not None:
        said |= {"error": hooks.error, "error_at": hooks.error_at}
    return said


def last_words() -> dict[str, str]:
    """The last cell of this engine, what it has printed so far, and the last error, each in whole."""
    hooks = kernel.installed()
    if hooks is None:
        return {"code": "", "output": spoken.output.read(), "error": ""}
    error = hooks.traceback or hooks.error or ""
    return {"code": hooks.code, "output": spoken.output.read(), "error": error}


def interrupt() -> bool:
    """Interrupt the cell that runs here, if one does; say whether."""
    running = cell.running
    if running:
        os.kill(os.getpid(), signal.SIGINT)
    return running


def freeze(seconds: int) -> None:
    """Stand still for so long, whatever runs here, so that one can see who waits for it."""
    here = world.existing()
    with cell.lock:  # no cell begins or ends meanwhile
        idle = here.board if here is not None and here.board.state(here.rank) == board.IDLE else None
        if idle is not None:
            idle.enter(board.RUNNING)  # else who waits for the next cell of this rank would take it for one that has ended
        # PyDLL keeps Python's lock, so that all threads of Python stand still; those that answer heartbeats have none
        ctypes.PyDLL(None).sleep(ctypes.c_uint(seconds))
        if idle is not None:
            idle.enter(board.IDLE)


def _memory() -> int:
    """The bytes of memory that this process alone keeps busy."""
    try:
        resident, shared = Path("/proc/self/statm").read_text().split()[1:3]
        return (int(resident) - int(shared)) * resource.getpagesize()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _gpu_memory() -> int | None:
    """The bytes that this process has on its GPU, if it has begun to use one."""
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    if cuda is None or not getattr(cuda, "is_initialized", bool)():
        return None
    taken: int = cuda.memory_reserved()
    return taken
