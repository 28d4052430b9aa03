"""What a person asks of a run while it runs, and when it is done: at the same iteration on every rank.

Every few iterations there is a *beat*. On ranks, each says at a beat how many commands it has, in a sum that travels until the
next one, so that nobody waits for it; only where there are some, all take them up together. How many iterations a beat is long,
rank 0 says in the same sum: about `BEAT` seconds' worth.
"""

from __future__ import annotations

import pickle
import queue
import time
from typing import Any, NamedTuple

import torch

from .crew import Crew

BEAT = 0.05
"""Seconds from one beat to the next, once that is known."""
_LONGEST = 4096
_NAP = 0.02


class Command(NamedTuple):
    """A wish: what, and its value.

    ``pause``, ``resume``, ``stop``, ``step`` (how many), ``pace`` (iterations a second, or None), ``watch`` (or no longer),
    ``set`` (parameters) or ``topology`` (a schedule).
    """

    what: str
    value: Any = None


class Wishes:
    """The commands that nobody has taken up yet. Any thread may add some."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Command] = queue.SimpleQueue()

    def add(self, command: Command) -> None:
        """Ask for it."""
        self._queue.put(command)

    def __len__(self) -> int:
        return self._queue.qsize()

    def all(self, *, within: float = 0.0) -> list[Command]:
        """Take what is there, or comes within so many seconds."""
        found: list[Command] = []
        try:
            if within:
                found.append(self._queue.get(timeout=within))
            while True:
                found.append(self._queue.get_nowait())
        except queue.Empty:
            return found


class Beat:
    """When the next beat is, and what is to be done then."""

    def __init__(self, crew: Crew, wishes: Wishes, begin: int) -> None:
        self._crew, self._wishes = crew, wishes
        self.next = begin
        """The iteration of the next beat."""
        self._length = 1
        self.grows = False
        """Whether the beats still become longer: then the last one was short."""
        self._at, self._since = begin, time.perf_counter()
        self._travelling: Any = None

    def take(self, k: int) -> list[Command]:
        """The commands that all ranks take up now, in iteration k."""
        crew, before = self._crew, self._length
        if crew.size == 1:
            commands = self._wishes.all()
            self._length = self._longer(k)
        else:
            announced, self._length = (0, 1) if self._travelling is None else self._travelling.wait().tolist()
            commands = self._of_all(self._wishes.all()) if announced else []
            length = self._longer(k)
            self._travelling = crew.start_sum(torch.tensor([len(self._wishes), length if crew.rank == 0 else 0]))
        self.next, self.grows = k + self._length, self._length >= 2 * before
        return commands

    def wait(self, until: float | None = None) -> tuple[list[Command], bool]:
        """Wait a moment for commands, if it is not ``until`` yet; also, whether it is: by the clock of rank 0, for all."""
        left = _NAP if until is None else max(0.0, min(_NAP, until - time.perf_counter()))
        mine = self._wishes.all(within=left)
        late = until is not None and time.perf_counter() >= until
        return self._of_all(mine), bool(self._crew.told(late))

    def _of_all(self, mine: list[Command]) -> list[Command]:
        """The commands of all ranks; where several ask for the same, as a cell does that runs on all, it is done once."""
        if self._crew.size == 1:
            return mine
        asked = dict.fromkeys(self._crew.all_of(pickle.dumps(mine)))
        return [command for some in asked for command in pickle.loads(some)]

    def no_later(self, k: int) -> None:
        """The next beat is at this iteration, if not before."""
        self.next = min(self.next, k)

    def rested(self, k: int) -> None:
        """The time until now was none of the iterations'."""
        self._at, self._since = k, time.perf_counter()

    def over(self) -> None:
        """The run has ended: nothing may be left under way."""
        if self._travelling is not None:
            self._travelling.wait()
            self._travelling = None

    def _longer(self, k: int) -> int:
        """How long the next beat should be, after what the iterations have taken since the last one."""
        now = time.perf_counter()
        done, took = k - self._at, now - self._since
        self._at, self._since = k, now
        if done == 0:
            return 1
        return max(1, min(2 * self._length, int(BEAT * done / max(took, 1e-9)), _LONGEST))
