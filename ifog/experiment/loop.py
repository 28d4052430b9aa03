"""A loop that can be watched and steered: your own, and the one that `run` is built on.

::

    for k in (loop := ifog.loop(1000, lr=0.1)):
        x = ifog.neighbor_allreduce(x) - loop.lr * gradient(x)
        loop.record(size=x.norm())

On ranks all of them go through the same loop, and a change takes effect in the same iteration everywhere.
"""

from __future__ import annotations

import difflib
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch

from ..comm import api
from ..errors import ArgumentError, ExperimentError
from ..network.network import schedule_of
from .crew import Crew, crew
from .history import Rows
from .live import Run, Stopwatch, remember
from .progress import Progress, shown
from .records import Sums, Travelling
from .steering import BEAT, Beat, Command


class Recorder(Protocol):
    """What sets aside what is to be recorded, and makes rows of it."""

    def beat(self, *, to_the_end: bool = False) -> list[Rows]:
        """The rows that are complete."""
        ...

    def left(self) -> list[Rows]:
        """The last rows of a loop that was left in the middle: the other ranks may still be in it, and are not waited for."""
        ...


class Course:
    """The iterations of a run, with its beats."""

    def __init__(
        self,
        run: Run,
        crew: Crew,
        recorder: Recorder,
        watch: Stopwatch,
        apply: Callable[[Command], None],
        *,
        progress: Progress | None = None,
        look: Callable[[list[Rows]], None] | None = None,
        at_the_end: Callable[[], None] | None = None,
        still: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self.run = run
        self.broken: BaseException | None = None
        """Why its body could not go on: an error there never comes here by itself."""
        self._at_the_end, self._still = at_the_end, still
        self._crew, self._recorder, self._watch, self._apply = crew, recorder, watch, apply
        self._progress, self._look = progress, look
        self._beat = Beat(crew, run.wishes, run.iteration)
        self._stopped = False
        self._paused = run.status == "paused"
        self._pause_at = run.iteration  # the first iteration at which it may stand still
        self._at, self._since = run.iteration, time.perf_counter()  # when it has last stood still

    def __iter__(self) -> Iterator[int]:
        run, beat, recorder = self.run, self._beat, self._recorder
        run.became("paused" if self._paused else "running")
        self._watch.go_on()
        try:
            k, end = run.iteration, math.inf if run.steps is None else run.steps
            while k < end:
                if k >= beat.next:
                    self._at_beat()
                    if self._stopped:
                        break
                yield k
                k += 1
                run.iteration = k
            beat.over()
            if self._at_the_end is not None:
                self._at_the_end()
            self._add(recorder.beat(to_the_end=True))
        except GeneratorExit:  # somebody has left the loop. Whether the other ranks did so too, nobody knows: nothing is sent
            failed = self.broken is not None and not isinstance(self.broken, KeyboardInterrupt)
            try:
                self._add(recorder.left())
            except Exception as error:  # noqa: BLE001  it cannot be raised from here, and is kept in the run
                self.broken, failed = self.broken or error, True
            run.became("failed" if failed else "stopped", self.broken if failed else None)
            raise
        except KeyboardInterrupt:
            run.became("stopped")
            raise
        except BaseException as error:
            run.became("failed", error)
            raise
        finally:
            self._watch.hold()
            if self._progress is not None:
                self._progress.close()
        run.became("stopped" if self._stopped else "done")

    def complete(self) -> None:
        """Have rows made of all that was set aside. On ranks it is a collective."""
        self._add(self._recorder.beat(to_the_end=True))

    def _at_beat(self) -> None:
        run, beat = self.run, self._beat
        self._take_up(beat.take(run.iteration))
        if not beat.grows:
            self._add(self._recorder.beat())
        if self._progress is not None:
            self._progress.show(run)
        if self._stands or run.pace is not None:
            self._hold()
        if run.pace is not None:
            beat.no_later(run.iteration + max(1, int(run.pace * BEAT)))
        if self._paused:
            beat.no_later(self._pause_at)

    @property
    def _stands(self) -> bool:
        """Whether it is paused, and has made the steps that were asked for."""
        return self._paused and self.run.iteration >= self._pause_at

    def _hold(self) -> None:
        """Stand still as long as it is paused, or too early for its pace."""
        run, beat = self.run, self._beat
        self._watch.hold()
        self._add(self._recorder.beat(to_the_end=True))
        stood = late = False
        while not self._stopped and (self._stands or not late):
            early = self._since + (run.iteration - self._at) / (run.pace or math.inf)
            with self._still():
                if self._stands and not stood:
                    run.became("paused")
                stood = self._stands
                commands, late = beat.wait(None if stood else early)
            self._take_up(commands)
        self._at, self._since = run.iteration, time.perf_counter()
        self._watch.go_on()
        beat.rested(run.iteration)

    def _take_up(self, commands: list[Command]) -> None:
        run = self.run
        for command in commands:
            match command.what:
                case "pause":
                    self._paused, self._pause_at = True, run.iteration
                case "resume":
                    if self._paused:
                        self._paused = False
                        run.became("running")
                case "step":
                    self._paused, self._pause_at = True, run.iteration + command.value
                case "pace":
                    run._pace = command.value
                case "stop":
                    self._stopped = True
                case _:
                    self._apply(command)

    def _add(self, rows: list[Rows]) -> None:
        for more in rows:
            self.run.records.add(more)
        if self._look is not None:
            self._look(rows)


# ---------------------------------------------------------------------------------------------------- a loop of one's own
class Loop:
    """What `loop` gives: iterate over it, record, and read the parameters that somebody may change meanwhile."""

    def __init__(self, run: Run, crew: Crew, *, progress: Progress | None) -> None:
        self.run = run
        """What others watch and steer."""
        self._crew = crew
        self._values = _Values(run, crew)
        self._parameters = dict(run.parameters)
        run.parameters = self._parameters
        self._course = Course(run, crew, self._values, self._values.watch, self._change, progress=progress)

    def __iter__(self) -> Iterator[int]:
        return iter(self._course)

    def __len__(self) -> int:
        if self.run.steps is None:
            raise TypeError("this loop has no end: it was made without steps")
        return self.run.steps

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.__dict__.get("_parameters", ()):
            self._parameters[name] = value
        else:
            super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["_parameters"][name]
        except KeyError:
            raise AttributeError(f"the loop has no parameter {name!r}: give it, as in ifog.loop(1000, {name}=0.1)") from None

    @property
    def topology(self) -> Any:
        """The topology in force."""
        return self.run.topology

    def record(self, **values: Any) -> None:
        """Write down numbers of this iteration; on ranks, their means over the ranks.

        After a ``break`` on ranks the last of them are this rank's own, from where the run has a mark; to end a loop with all
        means, let every rank call ``loop.run.stop()``.
        """
        self._values.add(values)

    def _change(self, command: Command) -> None:
        if command.what == "set":
            self._parameters |= command.value
        elif self._crew.size > 1:
            api.set_topology(command.value)
        self.run.mark(command)


class _Values:
    """Numbers that were recorded, on their way to become rows."""

    def __init__(self, run: Run, crew: Crew) -> None:
        self._run, self._crew = run, crew
        self.watch = Stopwatch()
        self._rows: dict[int, dict[str, Any]] = {}
        self._travelling = Travelling[Rows](crew)

    def add(self, values: Mapping[str, Any]) -> None:
        row = self._rows.setdefault(self._run.iteration, {"seconds": self.watch()})
        for name, value in values.items():
            if name in ("iteration", "seconds"):
                raise ArgumentError(f"record({name}=…): {name} is recorded anyway; choose another name")
            # a copy: it may be written over before the beat; and no number yet: for that one may have to wait for a device
            row[name] = value.detach().clone() if isinstance(value, torch.Tensor) else _number(name, value)

    def beat(self, *, to_the_end: bool = False) -> list[Rows]:
        rows = self._travelling.beat(to_the_end=to_the_end)
        if self._rows or self._crew.size > 1:  # on ranks, always: not all may have recorded
            iterations, names, values = self._taken()
            self._travelling.begin(self._averaged(iterations, names, values), f"loop.record({', '.join(names)})")
            if to_the_end or self._crew.size == 1:
                rows += self._travelling.beat(to_the_end=True)
        return rows

    def left(self) -> list[Rows]:
        if self._crew.size == 1:
            return self.beat(to_the_end=True)
        means, own = self._travelling.left()
        if self._rows:
            own.append(_rows(*self._taken()))
        if own:
            self._run.marks.append((int(own[0]["iteration"][0]), f"from here on, of rank {self._crew.rank} alone"))
        return means + own

    def _taken(self) -> tuple[list[int], list[str], torch.Tensor]:
        """What was recorded since the last time: a row of values for each iteration."""
        names = list(dict.fromkeys(name for row in self._rows.values() for name in row))
        rows, self._rows = self._rows, {}
        values = [[_number(name, row.get(name, math.nan)) for name in names] for row in rows.values()]
        return list(rows), names, torch.tensor(values, dtype=torch.float64).reshape(len(rows), len(names))

    def _averaged(self, iterations: list[int], names: list[str], values: torch.Tensor) -> Sums[Rows]:
        total = yield values
        return _rows(iterations, names, total / self._crew.size)


def _rows(iterations: list[int], names: list[str], values: torch.Tensor) -> Rows:
    return {"iteration": list(map(float, iterations)), **dict(zip(names, values.T.tolist(), strict=True))}


def _number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError):
        shape = f" of shape {tuple(value.shape)}" if hasattr(value, "shape") else ""
        raise ArgumentError(f"record({name}={type(value).__name__}{shape}): give a number, such as {name}=x.norm()") from None


def loop(
    steps: int | None = None, *, name: str = "loop", topology: Any = None, progress: bool | None = None, **parameters: Any
) -> Loop:
    """A loop over k = 0 … steps − 1 that can be watched and steered; ``parameters`` are what somebody may change.

    >>> for k in (mine := loop(3, lr=0.5)):
    ...     mine.record(value=mine.lr**k)
    >>> mine.run.history["value"].tolist()
    [1.0, 0.5, 0.25]
    """
    if steps is not None and (isinstance(steps, bool) or not isinstance(steps, int) or steps < 0):
        raise ArgumentError(f"steps={steps!r}: give a whole number of iterations, or None for a loop without an end")
    taken = [key for key in parameters if key == "run" or key in dir(Loop)]
    if taken:
        raise ArgumentError(f"{taken[0]}={parameters[taken[0]]!r}: a loop has something of that name; choose another one")
    who = crew()
    run = Run(name, steps)
    run.parameters = parameters
    n = who.size if who.size > 1 else None
    if topology is not None:
        run._topology = schedule_of(topology, n)
        if who.size > 1:
            api.set_topology(run._topology)

    def checked(command: Command) -> Command:
        if command.what == "set":
            for key in command.value:
                known(key, run.parameters, name)
        if command.what == "watch":
            raise ExperimentError(f"{name} is a loop of your own: what its nodes hold, only you know; record it")
        if command.what == "topology":
            return Command("topology", schedule_of(command.value, n if run._topology is None else run._topology.n))
        return command

    run._refuse = checked
    remember(run)
    return Loop(run, who, progress=shown(run, progress) if who.rank == 0 else None)


def known(name: str, parameters: Mapping[str, Any], whose: str) -> None:
    """Refuse a name that is none of the parameters."""
    if name not in parameters:
        near = difflib.get_close_matches(name, parameters, 1)
        hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(parameters) or 'none'}"
        raise ArgumentError(f"{whose} has no parameter {name!r}: {hint}")
