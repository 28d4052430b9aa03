"""A run: live while it works, complete afterwards, and the same to look at wherever it works."""

from __future__ import annotations

import math
import numbers
import threading
import time
from collections.abc import Callable, Generator, Mapping
from typing import TYPE_CHECKING, Any

from ..errors import ArgumentError, ExperimentError
from ..problems.arguments import whole
from .history import History
from .nodes import Nodes
from .steering import Command, Wishes

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from ..problems import Problem
    from ..topology import Schedule

_OVER = ("done", "stopped", "failed")


class Run:
    """What runs or ran: watch it (`history`), steer it (`pause`, `stop`, `set`, ``run.topology = …``), keep it (`save`)."""

    def __init__(self, name: str, steps: int | None, *, history: History | None = None, iteration: int = 0) -> None:
        self.name = name
        self.steps = steps
        """How many iterations are planned; None if nobody knows."""
        self.iteration = iteration
        """How many are done."""
        self.status = "waiting"
        """waiting, running, paused, done, stopped or failed"""
        self.error: BaseException | None = None
        """Why it failed."""
        self.parameters: Mapping[str, Any] = {}
        """The method's parameters in force."""
        self.marks: list[tuple[int, str]] = []
        """What was changed while it ran, and at which iteration."""
        self.nodes: Nodes | None = None
        """What each node held when somebody looked last: see `watch`."""
        self.records = history or History()
        self.wishes = Wishes()
        self.about: dict[str, Any] = {}
        """What it runs: method, problem, seed …"""
        self.world: Mapping[str, Any] = {}
        """What does not belong to the method, and is not how the world usually is: effects, compute, speeds, delay."""
        self._topology: Schedule | None = None
        self._pace: float | None = None
        self._refuse: Callable[[Command], Command] = lambda command: command
        """Checks a command where it is given, and raises if it cannot be."""
        self._over = threading.Event()
        self._experiment: Any = None
        self._content: dict[str, Any] | None = None  # of the file it came from
        self._kept_out: list[str] = []  # parameters that its file could not hold
        self._state: Callable[[], dict[str, Any]] | None = None
        self._extend: Callable[..., Run] | None = None

    # --------------------------------------------------------------------------------------------------------- watching
    @property
    def history(self) -> pd.DataFrame:
        """What has been recorded so far, a row for each recorded iteration.

        Of the iterates x_i, their mean x̄ and the optimum x*: ``error`` √(mean of ‖x_i − x*‖²), ``error_of_mean`` ‖x̄ − x*‖,
        ``disagreement`` √(mean of ‖x_i − x̄‖²), ``loss`` the mean of f_i(x̄), ``gradient_norm`` ‖mean of ∇f_i(x_i)‖, ``size``
        ‖x̄‖. Since the beginning: ``seconds`` of the clock; ``compute``, ``wait`` and ``copy``, how much of that an average
        process has spent in the method and its gradients, waiting for others, and moving numbers; ``simulated`` seconds;
        ``messages`` and ``bytes`` that all nodes have sent. With a schedule, ``lr``. And what the problem measures itself: of
        what each node has, the mean and the ``…_spread``, its standard deviation over the nodes.
        """
        return self.records.frame()

    @property
    def x(self) -> torch.Tensor:
        """The iterates of the nodes hosted here, as they are now."""
        if self._experiment is not None:
            here: torch.Tensor = self._experiment.steps.x
            return here
        if self._state is None:
            raise ExperimentError(
                f"{self.name} has no iterates of its own: it is a loop, whose values are where it was written"
            )
        x: torch.Tensor = self._state()["x"]
        return x

    @property
    def problem(self) -> Problem | None:
        """What it works on; None where that is not here."""
        return None if self._experiment is None else self._experiment.steps.problem

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.status in _OVER

    def watch(self, on: bool = True) -> None:
        """Have `nodes` renewed some twenty times a second, until ``watch(False)``. Nothing is measured for it otherwise."""
        self._ask(Command("watch", bool(on)))

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Have something called whenever rows were added or the status changed; returns how to end that.

        If it fails, it is dropped with a warning, and the run goes on.
        """
        listeners = self.records.listeners
        listeners.append(listener)
        return lambda: listeners.remove(listener) if listener in listeners else None

    # --------------------------------------------------------------------------------------------------------- steering
    @property
    def topology(self) -> Schedule | None:
        """The topology in force. Assign another, or a name: all nodes swap at the same iteration."""
        return self._topology

    @topology.setter
    def topology(self, topology: Any) -> None:
        self._ask(Command("topology", topology))

    def set(self, **parameters: Any) -> None:
        """Change parameters of the method, as in ``run.set(lr=0.01)``."""
        if not parameters:
            raise ArgumentError(f"set() of {self.name}: give what to change, as in run.set(lr=0.01)")
        self._ask(Command("set", parameters))

    def pause(self) -> None:
        """Hold on, until `resume`."""
        self._ask(Command("pause"))

    def resume(self) -> None:
        """Go on after a `pause`."""
        self._ask(Command("resume"))

    def step(self, count: int = 1) -> None:
        """Make so many iterations, then pause."""
        self._ask(Command("step", whole("count", count, minimum=1, error=ArgumentError)))

    @property
    def pace(self) -> float | None:
        """How many iterations a second it makes at most; None: as many as it can."""
        return self._pace

    @pace.setter
    def pace(self, pace: float | None) -> None:
        self._ask(Command("pace", checked_pace(pace)))

    def stop(self) -> None:
        """End it; what was recorded stays. `extend` goes on from there."""
        self._ask(Command("stop"))

    def _ask(self, command: Command) -> None:
        if self.over:
            if command.what == "stop":
                return
            raise ExperimentError(
                f"{self.name} is {self.status}: nothing can be changed any more; run.extend(steps) goes on from there"
            )
        self._send(self._refuse(command))

    def _send(self, command: Command) -> None:
        self.wishes.add(command)

    # ---------------------------------------------------------------------------------------------------------- waiting
    def wait(self, timeout: float | None = None) -> Run:
        """Wait for its end; if it failed, its error is raised here."""
        if not self._over.wait(timeout):
            raise TimeoutError(f"{self.name} is still {self.status} after {timeout} s, at iteration {self.iteration}")
        if self.error is not None:
            raise self.error
        return self

    def __await__(self) -> Generator[Any, None, Run]:
        import asyncio

        async def until_over() -> Run:
            while not self._over.is_set():
                await asyncio.sleep(0.02)
            return self.wait()

        return until_over().__await__()

    # ---------------------------------------------------------------------------------------------------------- keeping
    def save(self, path: Any) -> None:
        """Write it to a file, from which `load` and `extend` go on bit for bit. On ranks it is a collective."""
        from .saved import save

        save(self, path)

    @staticmethod
    def load(path: Any) -> Run:
        """A run from its file."""
        from .saved import load

        return load(path)

    def extend(self, steps: int, **changes: Any) -> Run:
        """Run so many iterations more, from where it ended, if wished with another ``topology`` or other parameters.

        After `load`, what the file could not hold must be given again, as a ``problem`` of one's own.
        """
        if self._extend is None:
            raise ExperimentError(f"{self.name} is a loop of your own: only you can go on with it")
        if not self.over:
            raise ExperimentError(f"{self.name} is {self.status}: wait for its end, or stop it, before it is extended")
        return self._extend(steps, **changes)

    # --------------------------------------------------------------------------------------------------- by what runs it
    def became(self, status: str, error: BaseException | None = None) -> None:
        """Its status is another one now."""
        self.status, self.error = status, error
        if self.over:
            self._over.set()
        self.records.tell()

    def mark(self, command: Command) -> None:
        """Note what was changed at this iteration."""
        if command.what == "set":
            what = ", ".join(f"{name} = {value}" for name, value in command.value.items())
        else:
            self._topology, what = command.value, command.value.label
        self.marks.append((self.iteration, what))

    def figure(self, y: str = "error", x: str = "iteration") -> Any:
        """Its curve, as a plotly figure."""
        from .compared import figure

        return figure([self], y=y, x=x)

    def __repr__(self) -> str:
        of = "" if self.steps is None else f" of {self.steps}"
        last = self.records.last
        said = [
            f"{name} {last[name]:.3g}"
            for name in ("error", "disagreement", "loss")
            if last.get(name, float("nan")) == last.get(name)
        ]
        return f"<run {self.name}: {self.status}, iteration {self.iteration}{of}{''.join(f', {fact}' for fact in said)}>"


def checked_pace(pace: Any) -> float | None:
    """A number of iterations a second, or None."""
    if pace is None:
        return None
    if isinstance(pace, bool) or not isinstance(pace, numbers.Real) or not 0 < float(pace) < math.inf:
        raise ArgumentError(f"pace={pace!r:.40}: give iterations a second, above 0, or None for as many as it can make")
    return float(pace)


runs: list[Run] = []
"""The last runs of this process, the newest last."""
_REMEMBERED = 32


def remember(run: Run) -> None:
    """Put it among the `runs`."""
    if run in runs:
        runs.remove(run)
    runs.append(run)
    del runs[:-_REMEMBERED]


class Stopwatch:
    """The seconds in which it has run."""

    def __init__(self, seconds: float = 0.0) -> None:
        self._began = time.perf_counter() - seconds
        self._held: float | None = None

    def __call__(self) -> float:
        """The seconds until now."""
        return (time.perf_counter() if self._held is None else self._held) - self._began

    def hold(self) -> None:
        """Let it stand still."""
        if self._held is None:
            self._held = time.perf_counter()

    def go_on(self) -> None:
        """Let it run again."""
        if self._held is not None:
            self._began += time.perf_counter() - self._held
            self._held = None
