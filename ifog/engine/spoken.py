"""What an engine has said last: the output of its cell, and an error in whole, for who asks after the notebook has gone."""

from __future__ import annotations

import sys
from collections import deque
from typing import Any

_MOST = 100_000
"""Characters of output that are kept."""


class Tail:
    """A file of which only the end is kept, and of cells only the last that wrote."""

    def __init__(self) -> None:
        self._parts: deque[str] = deque()
        self._length = 0
        self._stale = False
        self._dropped = False

    def begin(self) -> None:
        """Another cell: with its first words, those of the one before are forgotten."""
        self._stale = True

    def write(self, text: str) -> None:
        """Keep it."""
        if self._stale:
            self._parts.clear()
            self._length, self._stale, self._dropped = 0, False, False
        self._parts.append(text[-_MOST:])
        self._length += len(self._parts[-1])
        while self._length - len(self._parts[0]) >= _MOST:
            self._length -= len(self._parts.popleft())
            self._dropped = True

    def flush(self) -> None:
        """Nothing: it is there."""

    def read(self) -> str:
        """The end of what was written."""
        text = "".join(tuple(self._parts))[-_MOST:]
        return f"… the beginning is no longer kept\n{text.partition(chr(10))[2]}" if self._dropped else text


output = Tail()


def begin() -> None:
    """A cell begins. What it prints is kept: a stream of ipykernel writes everything to its echo as well."""
    output.begin()
    stream: Any
    for stream in (sys.stdout, sys.stderr):
        if getattr(stream, "echo", stream) is None:
            stream.echo = output
