"""Runs that work somewhere else, such as on the engines of a notebook: ``run(…, on=place)``.

A place only carries things there and back. Here stands a `Mirror`, a run like any other; there, `report` says what has become
of the run that works, and `steer` hands it what was asked for.
"""

from __future__ import annotations

import contextlib
import io
import pickle
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ..algorithms import Method
from ..algorithms.method import made_again
from ..errors import ArgumentError, ExperimentError
from .live import Run, remember, runs
from .nodes import Nodes
from .steering import Command

if TYPE_CHECKING:
    import torch

    from ..topology import Schedule

_EVERY = 0.05  # seconds between two looks
_PATIENCE = 10.0  # seconds for which a command waits until the run has begun


class Report(NamedTuple):
    """What a mirror shows."""

    name: str
    status: str
    iteration: int
    steps: int | None
    parameters: Mapping[str, Any]
    topology: Schedule | None
    marks: list[tuple[int, str]]
    about: Mapping[str, Any]
    error: str | None
    columns: Mapping[str, list[float]]
    """The rows that are new."""
    pace: float | None = None
    nodes: Nodes | None = None


class Place(Protocol):
    """Somewhere that runs experiments."""

    def submit(self, task: Mapping[str, Any]) -> str:
        """Begin ``run(**task)`` there, on all ranks; a key for it."""
        ...

    def records(self, key: str, begin: int) -> Report:
        """What `report` says there, on rank 0; an error of its own if nobody can say it any more."""
        ...

    def command(self, key: str, command: Command) -> None:
        """Hand a command to `steer` there, on rank 0."""
        ...


class Mirror(Run):
    """A run that works at a place, and is watched and steered from here."""

    def __init__(self, place: Place, task: Mapping[str, Any]) -> None:
        super().__init__(str(task.get("name") or getattr(task["method"], "name", task["method"])), task["steps"])
        self._place = place
        self._called = self.name
        self._unwanted = False
        self._begun = threading.Event()
        self._key = place.submit(task)
        remember(self)
        threading.Thread(target=self._follow, name=f"{self.name} from afar", daemon=True).start()

    @property
    def x(self) -> torch.Tensor:
        """Not here."""
        raise ExperimentError(f"{self.name} works elsewhere: ask for its iterates there")

    def extend(self, steps: int, **changes: Any) -> Run:  # noqa: ARG002
        """Not from here."""
        raise ExperimentError(f"{self.name} works elsewhere: extend it there, or begin another run with on=…")

    def save(self, path: Any) -> None:
        """Not from here: what it takes to go on is elsewhere."""
        raise ExperimentError(
            f"{self.name} works elsewhere: have it kept there, by checkpoint={str(path)!r} of ifog.run; here, keep its history"
        )

    def became(self, status: str, error: BaseException | None = None) -> None:
        """Its status is another one than "waiting" now."""
        super().became(status, error)
        self._begun.set()

    def _send(self, command: Command) -> None:
        if command.what == "stop" and self.status == "waiting":
            self._unwanted = True  # it ends as soon as it has begun
            return
        if not self._begun.wait(_PATIENCE):  # the engines may be importing torch
            raise ExperimentError(
                f"{self.name} has not begun yet: the engines are still busy with what was sent to them before. Try again when "
                "they are done"
            )
        self._place.command(self._key, command)

    def _follow(self) -> None:
        pause = threading.Event()
        while not self.over:
            try:
                said = self._place.records(self._key, len(self.records))
            except Exception as error:  # noqa: BLE001  whatever it was, nobody will tell of this run any more
                self.became("failed", error)
                return
            if said.name and self.name == self._called:  # else somebody here calls it otherwise
                self.name = self._called = said.name
            self.iteration, self.steps = said.iteration, said.steps or self.steps
            if self._topology is None or said.marks != self.marks:  # else it is the same again, and those who draw it know it
                self._topology = said.topology
            self.parameters, self._pace = said.parameters, said.pace
            self.nodes = said.nodes
            self.marks[:], self.about = said.marks, dict(said.about)
            self.records.add(said.columns)
            if said.status != self.status:
                self.became(said.status, None if said.error is None else ExperimentError(said.error))
            if self._unwanted and self.status in ("running", "paused"):
                self._unwanted = False
                with contextlib.suppress(Exception):  # it has just ended by itself
                    self.stop()
            pause.wait(_EVERY)


# ------------------------------------------------------------------------------------------------ where the run works
_ended: dict[str, Run] = {}
"""The runs that were worked here, by their keys."""
_KEPT = 20
_key = ""  # of the run that works here
_before: Run | None = None  # the last run before that


def packed(task: Mapping[str, Any]) -> bytes:
    """A task to be sent to where it runs, with the methods, models and functions that a notebook has defined."""
    import cloudpickle

    class Packer(cloudpickle.Pickler):  # type: ignore[misc]
        def reducer_override(self, value: Any) -> Any:
            if isinstance(value, Method) and value.__module__ == "__main__":  # nobody else has it
                return made_again, (value.function, value.needs, dict(value.memory), value.on_swap, value.mail)
            return super().reducer_override(value)

    file = io.BytesIO()
    try:
        Packer(file).dump(dict(task))
    except Exception as error:
        raise ArgumentError(f"this cannot be sent to the engines: {type(error).__name__}: {error}") from error
    return file.getvalue()


def work(key: str, sent: bytes) -> None:
    """Do what was submitted, on this rank as on all the others. `seen` reports it, and `steered` steers it, by the key."""
    global _key, _before
    from .drive import run

    _key, _before = key, runs[-1] if runs else None
    try:
        run(**pickle.loads(sent))
    finally:
        if (worked := _found(key)) is not None:
            _ended[key] = worked
        while len(_ended) > _KEPT:
            del _ended[next(iter(_ended))]


def _found(key: str) -> Run | None:
    if key in _ended:
        return _ended[key]
    return runs[-1] if key == _key and runs and runs[-1] is not _before else None


def seen(key: str, begin: int) -> Report:
    """What `report` says of the run with this key."""
    return report(_found(key), begin)


def steered(key: str, command: Command) -> None:
    """Hand a command to the run with this key."""
    run = _found(key)
    if run is None:
        raise ExperimentError("this run has not begun yet: the engines are still busy with what was sent to them before")
    steer(run, command)


def report(run: Run | None, begin: int) -> Report:
    """What a mirror needs to know of a run, with its rows from ``begin`` on; of None, that it has not begun yet."""
    if run is None:
        return Report("", "waiting", 0, None, {}, None, [], {}, None, {})
    status, error = run.status, run.error  # before the rows: when it is over, these are all
    return Report(
        run.name,
        status,
        run.iteration,
        run.steps,
        dict(run.parameters),
        run.topology,
        list(run.marks),
        run.about,
        None if error is None else f"{type(error).__name__}: {error}",
        run.records.columns(begin),
        run.pace,
        run.nodes,
    )


def steer(run: Run, command: Command) -> None:
    """Hand a command to a run; an error if it cannot be."""
    run._ask(command)
