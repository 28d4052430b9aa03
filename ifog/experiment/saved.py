"""A run in a file: what was recorded, and all it takes to go on bit for bit."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from .. import algorithms, problems
from .. import topology as families
from ..errors import ArgumentError, ExperimentError, MethodError
from ..problems.arguments import whole
from ..topology import Schedule, Topology
from .drive import Experiment
from .history import History
from .live import Run
from .lr_schedule import plain
from .steering import Command

_FORMAT, _VERSION = "ifog run", 1
_MOMENT = 0.02  # seconds
_COUNTED = ("messages", "bytes")
_WORLD = ("effects", "compute", "speeds", "delay", "lr_schedule")


def save(run: Run, path: Any) -> None:
    """Write a run to a file. On ranks it is a collective: rank 0 writes, and all return when the file is there."""
    moves = threading.RLock() if run._experiment is None else run._experiment.moves
    while not moves.acquire(timeout=_MOMENT):  # it makes the steps that were asked for, or has just been told to go on
        _moving_is_refused(run)
    try:
        _moving_is_refused(run)
        write(run, path)
    finally:
        moves.release()


def _moving_is_refused(run: Run) -> None:
    if not (run.over or run.status == "paused"):
        raise ExperimentError(f"{run.name} is {run.status}: pause it, stop it or wait for its end before it is saved")


def write(run: Run, path: Any) -> None:
    """The same between two iterations, with what has been recorded so far."""
    experiment = run._experiment
    if experiment is None:
        _write(run._content or _content(run, None), Path(path))
        return
    if experiment._alone:
        raise ExperimentError(f"{run.name}: on ranks, a run in which nobody waits cannot be kept; keep its history and its x")
    content, crew = _content(run, experiment), experiment.crew
    failed = None
    if crew.rank == 0:
        try:
            _write(content, Path(path))
        except OSError as error:
            failed = str(error)
    failed = crew.told(failed)
    if failed is not None:
        raise ExperimentError(f"{path} could not be written: {failed}")


def _content(run: Run, experiment: Experiment | None) -> dict[str, Any]:
    defaults = {} if experiment is None else experiment.steps.method.parameters
    world = {name: _tidy(plain(value)) for name, value in run.world.items()}
    world = {name: value for name, value in world.items() if value is not None and value != []}
    parameters = {name: _tidy(value) for name, value in run.parameters.items()}
    return {
        "format": _FORMAT,
        "version": _VERSION,
        "name": run.name,
        "status": run.status,
        "steps": run.steps,
        "iteration": run.iteration,
        "marks": run.marks,
        "about": run.about,
        "parameters": {name: value for name, value in parameters.items() if _plain(value)},
        "others": [name for name, value in parameters.items() if not _plain(value) and value is not defaults.get(name)]
        + [name for name, value in world.items() if not _plain(value)],
        "world": {name: value for name, value in world.items() if _plain(value)},
        "history": {name: torch.tensor(values, dtype=torch.float64) for name, values in run.records.columns().items()},
        "state": None if experiment is None else _whole_state(experiment),
        "seconds": None if experiment is None else experiment.watch(),
        "topology": None if run.topology is None else _described(run.topology),
        "problem": None if experiment is None else _origin(experiment.steps.problem),
        "facts": None if experiment is None else experiment.steps.problem.facts(),
        "error": None if run.error is None else str(run.error),
    }


def _write(content: dict[str, Any], path: Path) -> None:
    # beside it, and then in its place: a file is whole, or it is the one that was there before
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("wb") as file:
            torch.save(content, file)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def load(path: Any) -> Run:
    """A run from its file."""
    try:
        content = torch.load(path, weights_only=True, map_location="cpu")
    except FileNotFoundError:
        raise ExperimentError(f"{path}: there is no such file") from None
    except Exception as error:  # noqa: BLE001  what a damaged file leads to in there, nobody can list
        raise ExperimentError(
            f"{path}: this is no whole file of a run ({str(error).partition(chr(10))[0] or 'it ends too early':.80})"
        ) from None
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise ExperimentError(f"{path}: this is no file of a run; run.save(path) writes one")
    if content["version"] != _VERSION:
        raise ExperimentError(
            f"{path}: it was written in version {content['version']} of the format, and this ifog reads version {_VERSION}"
        )
    history = History({name: values.tolist() for name, values in content["history"].items()})
    run = Run(content["name"], content["steps"], history=history, iteration=content["iteration"])
    run.status = content["status"]
    if run.status in ("running", "paused"):
        run.status = "done" if run.iteration == run.steps else "stopped"
    run.marks, run.about = [tuple(mark) for mark in content["marks"]], content["about"]
    run.parameters, run._kept_out = content["parameters"], content["others"]
    run.world = content["world"]
    run._topology = _rebuilt(content["topology"])
    run._content = content
    run._over.set()
    if content["error"] is not None:
        run.error = ExperimentError(content["error"])
    if content["state"] is not None:
        run._state = lambda: content["state"]
        run._extend = lambda steps, **changes: _extended(run, content, steps, **changes)
    return run


def _extended(
    run: Run,
    content: dict[str, Any],
    steps: int,
    *,
    problem: Any = None,
    topology: Any = None,
    wait: bool | None = None,
    progress: bool | None = None,
    paused: bool = False,
    every: int | None = None,
    checkpoint: Any = None,
    checkpoint_every: int = 1000,
    method: Any = None,
    **others: Any,
) -> Run:
    """Go on with a run that came from a file."""
    about = content["about"]
    missing = [name for name in content["others"] if name not in others]
    if missing:
        raise ArgumentError(
            f"{run.name}: {missing[0]} could not be kept in the file; give it again, as in extend({steps}, {missing[0]}=…)"
        )
    if problem is None:
        origin = content["problem"]
        if origin is None:
            raise ArgumentError(
                f"{run.name}: its problem, {about['problem']}, was none of ifog's own; "
                f"give it again, as in extend({steps}, problem=…)"
            )
        problem = problems.make(origin["name"], **origin["parameters"]).to(dtype=getattr(torch, origin["dtype"]))
    other = problem.differences(content.get("facts") or problem.facts())
    if other:
        raise ArgumentError(f"{run.name}: the file is of another problem than {problem.label}: {other}")
    if topology is None and run._topology is None:
        raise ArgumentError(
            f"{run.name}: its topology could not be kept in the file; give it again, as in extend({steps}, topology=…)"
        )
    try:
        method = algorithms.find(about["method"] if method is None else method)
    except MethodError:
        raise ArgumentError(f"{run.name}: the method {about['method']!r} is not defined here; define it before this") from None
    world = {**content["world"], **{key: value for key, value in others.items() if key in _WORLD}}
    experiment = Experiment(
        method,
        problem,
        topology=run._topology if topology is None else topology,
        seed=about["seed"],
        every=about["every"] if every is None else whole("every", every, minimum=1, error=ArgumentError),
        batch=about["batch"],
        start=None,
        name=run.name,
        parameters={**run.parameters, **{key: value for key, value in others.items() if key not in _WORLD}},
        run=run,
        effects=world.pop("effects", ()),
        lr_schedule=world.pop("lr_schedule", None),
        clock=world,
    )
    run.error = None
    if checkpoint is not None:
        experiment.keep_at(checkpoint, checkpoint_every)
    experiment.restore(_sliced(content["state"], experiment), content["seconds"])
    if topology is not None:
        experiment.steps.swap(topology)
        run.mark(Command("topology", experiment.steps.net.topology))
    return experiment.extend(steps, wait=wait, progress=progress, paused=paused)


# --------------------------------------------------------------------------------------------------------------- state
def _whole_state(experiment: Experiment) -> dict[str, Any]:
    """The state of all nodes, in their order: whoever loads it may host them otherwise."""
    state, crew = experiment.steps.state(), experiment.crew
    if crew.size == 1:
        return state
    sent = crew.start_sum(torch.tensor([state["net"][name] for name in _COUNTED])).wait().tolist()
    return {
        "x": crew.gathered(state["x"]),
        "memory": {name: crew.gathered(part) for name, part in state["memory"].items()},
        "net": {**state["net"], **dict(zip(_COUNTED, sent, strict=True))},
    }


def _sliced(state: dict[str, Any], experiment: Experiment) -> dict[str, Any]:
    """Of it, what belongs to the nodes hosted here: rows of nodes, or of edges, which lie in the order of their receivers."""
    net = experiment.steps.net
    if experiment.crew.size == 1:
        memory = {name: part.to(net.device) for name, part in state["memory"].items()}
        return {**state, "x": state["x"].to(net.device), "memory": memory}

    def own(part: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        lengths = [int(length) for length in experiment.crew.gathered(torch.tensor([len(like)]))]
        begin = sum(lengths[: experiment.crew.rank])
        return part[begin : begin + len(like)].clone()

    memory = {name: own(part, experiment.steps.s[name]) for name, part in state["memory"].items()}
    shares = dict.fromkeys(_COUNTED, 0) if experiment.crew.rank else {}
    x = own(state["x"], experiment.steps.x).to(net.device)
    return {"x": x, "memory": memory, "net": {**state["net"], **shares}, "clock": {}}


# ------------------------------------------------------------------------------------------------ topologies, problems
def _described(schedule: Schedule) -> dict[str, Any] | None:
    """A topology in plain data: how it was made, or its matrix."""
    parameters = dict(schedule.parameters)
    try:
        if families.make(schedule.name, **parameters) == schedule and _plain(parameters):
            return {"name": schedule.name, "parameters": parameters}
    except Exception:  # noqa: BLE001  it was not made by a family: then its matrix is what there is
        pass
    if isinstance(schedule, Topology):
        matrix = schedule.matrix.tocoo()
        i, j = (torch.tensor(np.asarray(index, np.int64)) for index in matrix.coords)
        return {"i": i, "j": j, "w": torch.tensor(np.asarray(matrix.data, float)), "n": schedule.n, "label": schedule.label}
    return None


def _rebuilt(described: dict[str, Any] | None) -> Schedule | None:
    if described is None:
        return None
    if "name" in described:
        made: Schedule = families.make(described["name"], **described["parameters"])
        return made
    n = described["n"]
    matrix = sp.csr_array((described["w"].numpy(), (described["i"].numpy(), described["j"].numpy())), shape=(n, n))
    return Topology(matrix, name=described["label"])


def _origin(problem: Any) -> dict[str, Any] | None:
    """How a problem of ifog's own was made."""
    if problem.name not in problems.all() or "n" not in problem.parameters or not _plain(problem.parameters):
        return None
    return {
        "name": problem.name,
        "parameters": dict(problem.parameters),
        "dtype": str(problem.dtype).removeprefix("torch."),
    }


def _tidy(value: Any) -> Any:
    """The same as Python's own types, as far as it can be."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, dict):
        return {_tidy(key): _tidy(part) for key, part in value.items()}
    return [_tidy(part) for part in value] if isinstance(value, list | tuple) else value


def _plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_plain(part) for part in value.values())
    if isinstance(value, list | tuple):
        return all(_plain(part) for part in value)
    return value is None or isinstance(value, int | float | str | bool)
