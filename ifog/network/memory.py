"""Memory that is freed is used again: in fresh pages, the sum of two large tensors takes six times as long."""

from __future__ import annotations

import ctypes
import functools
import os

_MMAP_THRESHOLD, _TRIM_THRESHOLD, _ARENA_MAX = -3, -1, -8  # of malloc.h
_USUAL, _MOST = 2**25, 2**31 - 1
_SHARE = 64  # of the machine's memory: where eight such tensors are in use, glibc leaves gaps as large as another fifteen


@functools.cache
def keep() -> None:
    """Let this process keep up to 2 GiB that it has freed.

    Every line of a method makes tensors as large as the iterates of all nodes. From 32 MB on, and from less in a thread, glibc
    takes each of them from the system and gives it back at once, and the system fills every page of the next one with zeros.
    Other C libraries have no such switch, and are left as they are.
    """
    switch = getattr(ctypes.CDLL(None), "mallopt", None)
    if switch is not None:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        switch(_MMAP_THRESHOLD, max(_USUAL, min(_MOST, memory // _SHARE)))
        switch(_TRIM_THRESHOLD, _MOST)
        switch(_ARENA_MAX, 1)  # a thread's own arena has no room for large tensors
