"""`run`: a method on a problem, recorded, watched and steered."""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from .. import problems
from ..algorithms import Method, find
from ..errors import ArgumentError, Diverged, ExperimentError, ProblemError
from ..network import Network
from ..network.clock import Clock
from ..network.effects import Effect
from ..network.network import schedule_of
from ..problems import Problem
from ..problems.arguments import whole
from .crew import Alone, Crew, crew
from .history import Rows
from .live import Run, Stopwatch, checked_pace, remember
from .loop import Course
from .lr_schedule import lr_schedule as schedule_for
from .nodes import Nodes
from .place import Mirror, Place
from .progress import in_notebook, shown
from .records import Records
from .steering import Command
from .steps import Activations, Stepper, Steps

_PATIENCE = 10.0  # seconds, for an iteration that is under way when Python ends
_ROWS, _SELDOM = 1000, 100  # so many rows show enough of a run; but whoever watches does not wait longer than this
_BLOWN_UP = 1e12  # so many times farther away than at the start: it will not come back


def run(
    method: str | Method,
    problem: str | Problem,
    *,
    topology: Any,
    steps: int,
    on: Place | None = None,
    wait: bool | None = None,
    seed: int = 0,
    every: int | None = None,
    batch: int | None = None,
    start: Any = None,
    n: int | None = None,
    name: str | None = None,
    progress: bool | None = None,
    pace: float | None = None,
    paused: bool = False,
    effects: Sequence[Effect] = (),
    compute: Any = None,
    speeds: Any = None,
    delay: Any = None,
    lr_schedule: Any = None,
    checkpoint: Any = None,
    checkpoint_every: int = 1000,
    **parameters: Any,
) -> Run:
    """Run a method: simulated here, or spread over the ranks where this process is one of several.

    The number of nodes is the problem's; ``topology`` may be a name. Every ``every`` iterations it is recorded: by default each
    of a thousand, and of more steps every second, third … up to every hundredth. ``batch`` is the size of the mini-batches
    (None: exact gradients), ``start`` where the nodes begin. In a notebook it works in the background, elsewhere it blocks;
    ``wait`` says otherwise, ``on`` runs it somewhere else. To be looked at, it makes at most ``pace`` iterations a second, and
    ``paused`` it begins standing still: `Run.step`, `Run.resume`.

    ``effects`` are what goes wrong on the way of messages (`ifog.network.effects`). A simulation has a clock as soon as one of
    ``compute`` (seconds for a gradient), ``speeds`` (of the nodes) and ``delay`` (of messages) is given, or the method is
    asynchronous: see `ifog.network.Clock`. An iteration of an asynchronous method is as many activations as there are nodes.

    ``lr_schedule`` is what ``lr`` is multiplied by: `ifog.experiment.LrSchedule`, or any function of the iteration. At each
    ``checkpoint_every`` iterations the run is written to the file ``checkpoint``, from which `Run.load` goes on bit for bit.

    >>> import ifog
    >>> run = ifog.run("diging", "least_squares", n=16, topology="ring", steps=1000, lr=0.05)
    >>> run.status, run.iteration, len(run.history)
    ('done', 1000, 1001)
    >>> bool(run.history["error"].iloc[-1] < 1e-6)  # gradient tracking ends at the optimum
    True
    """
    found = find(method)
    if on is not None:
        task = {"method": found, "problem": problem, "topology": topology, "steps": steps, "seed": seed, "every": every}
        world = {"effects": effects, "compute": compute, "speeds": speeds, "delay": delay, "lr_schedule": lr_schedule}
        how = {"batch": batch, "start": start, "n": n, "name": name, "pace": checked_pace(pace), "paused": paused}
        keep = {} if checkpoint is None else {"checkpoint": checkpoint, "checkpoint_every": checkpoint_every}
        mirror = Mirror(on, task | how | world | keep | parameters)
        return mirror.wait() if wait else mirror
    steps = whole("steps", steps, error=ArgumentError)
    experiment = Experiment(
        found,
        _problem(problem, n),
        topology=topology,
        seed=whole("seed", seed, error=ArgumentError),
        every=min(_SELDOM, max(1, steps // _ROWS)) if every is None else whole("every", every, minimum=1, error=ArgumentError),
        batch=None if batch is None else whole("batch", batch, minimum=1, error=ArgumentError),
        start=start,
        name=name,
        parameters=parameters,
        effects=effects,
        clock={"compute": compute, "speeds": speeds, "delay": delay},
        lr_schedule=lr_schedule,
    )
    if checkpoint is not None:
        experiment.keep_at(checkpoint, checkpoint_every)
    experiment.run._pace = checked_pace(pace)
    return experiment.go(steps, wait=wait, progress=progress, paused=paused)


class Experiment:
    """What stands behind a run that works in this process."""

    def __init__(
        self,
        method: Method,
        problem: Problem,
        *,
        topology: Any,
        seed: int,
        every: int,
        batch: int | None,
        start: Any,
        name: str | None,
        parameters: dict[str, Any],
        run: Run | None = None,
        effects: Sequence[Effect] = (),
        clock: Mapping[str, Any] | None = None,
        lr_schedule: Any = None,
    ) -> None:
        self.crew: Crew = crew()
        self.every = every
        parameters = {key: value.item() if isinstance(value, np.generic) else value for key, value in parameters.items()}
        if self.crew.size > 1:
            self._all_mean_the_same(method, problem, seed=seed, every=every, batch=batch, **parameters)
        hosts = self.crew.hosts()
        net = Network(schedule_of(topology, problem.n), hosts=hosts, seed=seed, device=problem.device, effects=effects)
        net.segments = problem.segments
        checked = method.check(net, **parameters)
        x = _start(start, problem, net)
        times = {key: value for key, value in (clock or {}).items() if value is not None}
        if times and self.crew.size > 1:
            raise ArgumentError(f"{min(times)}=…: on ranks each is as fast as it is; simulate it for a clock of your choice")
        factor = schedule_for(lr_schedule)
        if factor is not None and (method.asynchronous or "lr" not in method.parameters):
            why = "a node of an asynchronous method knows no iteration" if method.asynchronous else "it has no lr"
            raise ArgumentError(f"lr_schedule for {method.name}: {why}; leave it out")
        self.steps: Stepper
        if method.asynchronous:
            self.steps = Activations(method, problem, net, x=x, batch=batch, seed=seed, parameters=checked, clock=times)
        else:
            ticking = Clock(net.n, seed=seed, **times) if times else None
            batches: dict[str, Any] = {"batch": batch, "seed": seed}
            self.steps = Steps(method, problem, net, x=x, parameters=checked, clock=ticking, lr_schedule=factor, **batches)
        self._alone = method.asynchronous and self.crew.size > 1  # nobody waits: neither for records nor for commands
        self.run = run or Run(name or f"{method.name} on {net.topology.label}", None)
        self.run.parameters, self.run._topology = checked, net.topology
        self.run.world = {"effects": effects, "lr_schedule": factor, **(clock or {})}
        self.run.about = {
            "method": method.name,
            "problem": problem.label,
            "topology": net.topology.label,
            "seed": seed,
            "every": every,
            "batch": batch,
            "ranks": self.crew.size,
        }
        self.run._refuse, self.run._state, self.run._extend = self._refuse, self.steps.state, self.extend
        self.run._experiment = self
        self._ended = self._watched = False
        self._keep: tuple[Any, int] | None = None
        self.watch, self.waited = Stopwatch(), self.crew.waited()
        self.moves = threading.RLock()
        """Held while iterations are made: who has it may write the run down."""
        self._far: float | None = None

    def go(self, steps: int, *, wait: bool | None, progress: bool | None = None, paused: bool = False) -> Run:
        """Run until so many iterations are done."""
        run = self.run
        in_background = wait is False or (wait is None and self.crew.size == 1 and in_notebook())
        if paused:
            if self._alone or (self.crew.size == 1 and not in_background):
                raise ArgumentError("paused=True: nobody could let a run go on that is waited for; give wait=False")
            run.status = "paused"
        run.steps = steps
        run._over.clear()
        run.wishes.all()  # those that came too late for the iterations before
        remember(run)
        bar = shown(run, progress) if self.crew.rank == 0 else None
        recorded = run.records.last.get("iteration", -1)
        records = Records(
            self.steps,
            self.crew,
            self.watch,
            self.waited,
            last=recorded,
            at_the_end=self._alone,
            watched=lambda: self._watched,
            show=self._show,
        )
        course = Course(
            run,
            Alone() if self._alone else self.crew,
            records,
            self.watch,
            self._change,
            progress=bar,
            look=self._look,
            at_the_end=lambda: self._last(records, course),
            still=self._still,
        )
        if in_background:
            if self.crew.size > 1:
                raise ArgumentError("wait=False: on ranks a run is a collective, and blocks; leave wait out")
            run.became("paused" if paused else "running")
            thread = threading.Thread(target=self._quietly, args=(course, records), name=run.name, daemon=True)
            if not _in_background:
                atexit.register(_end)
            _in_background[:] = [(run, thread), *((r, t) for r, t in _in_background if t.is_alive())]
            thread.start()
        else:
            with self.moves:
                self._drive(course, records)
        return run

    def extend(
        self,
        steps: int,
        *,
        wait: bool | None = None,
        progress: bool | None = None,
        paused: bool = False,
        topology: Any = None,
        **parameters: Any,
    ) -> Run:
        """Run so many iterations more."""
        steps = self.run.iteration + whole("steps", steps, error=ArgumentError)
        if self._ended:
            raise ExperimentError(
                f"{self.run.name} has taken in all mail, and ends there; begin another run with start=…, where this one ended"
            )
        if isinstance(self.steps, Activations) and self.steps.broken:
            raise ExperimentError(f"{self.run.name} was interrupted while mail was taken in, and cannot go on; begin it anew")
        wishes = [Command("topology", topology)] if topology is not None else []
        wishes += [Command("set", parameters)] if parameters else []
        for command in [self._refuse(wish) for wish in wishes]:
            self._change(command)
        return self.go(steps, wait=wait, progress=progress, paused=paused)

    def keep_at(self, path: Any, every: int) -> None:
        """Write the run to a file, again and again."""
        if self._alone:
            raise ArgumentError(f"checkpoint: {self.run.name}: on ranks, a run in which nobody waits cannot be kept")
        self._keep = path, whole("checkpoint_every", every, minimum=1, error=ArgumentError)

    def restore(self, state: dict[str, Any], seconds: float) -> None:
        """Go on from a state that was kept."""
        steps, last = self.steps, self.run.records.last
        steps.restore(state)
        self.watch = Stopwatch(seconds)
        if last:
            steps.net.seconds = last["wait"] + last["copy"]
            steps.seconds = steps.net.seconds + last["compute"]
            self.waited = self.crew.waited() - last["wait"]

    def _drive(self, course: Course, records: Records) -> None:
        steps, every, began = self.steps, self.every, self.run.iteration
        for k in course:
            try:
                if self._keep is not None and k > began and k % self._keep[1] == 0:
                    self._write_down(course)
                taken = k % every == 0 and records.take(k)
                steps.step()
                self.run.iteration = k + 1  # it has been, whatever happens now
                if taken:
                    records.take_gradient()
            except BaseException as error:
                course.broken = error
                if self.run.iteration == k:
                    records.forget(k)
                raise

    def _write_down(self, course: Course) -> None:
        from .saved import write

        if self._keep is not None:
            course.complete()
            write(self.run, self._keep[0])

    def _last(self, records: Records, course: Course) -> None:
        """The iterations are over: where they have ended is recorded too."""
        if isinstance(self.steps, Activations) and self._alone:
            self.steps.finish()
            self._ended = True
        records.take(self.run.iteration)
        self._write_down(course)

    def _quietly(self, course: Course, records: Records) -> None:
        with contextlib.suppress(Exception), self.moves:  # an error is kept in the run, and raised by run.wait()
            self._drive(course, records)

    @contextlib.contextmanager
    def _still(self) -> Iterator[None]:
        """Between two iterations, while nothing moves."""
        self.moves.release()
        try:
            yield
        finally:
            self.moves.acquire()

    # ---------------------------------------------------------------------------------------------------------- steering
    def _refuse(self, command: Command) -> Command:
        """A command as it is to be carried out, or an error where it is given: the run goes on as before."""
        if self._alone:
            raise ExperimentError(
                f"{self.run.name}: on ranks nobody waits for anybody in it, and nobody can be told to {command.what} in time; "
                "simulate it to steer it"
            )
        method = self.steps.method
        if command.what == "set":
            for name in command.value:
                if name in method.of_the_start:
                    raise ArgumentError(
                        f"{name} of {method.name} decides how its memory begins: begin another run to change it"
                    )
            method.check_parameters(**{**self.run.parameters, **command.value})
        if command.what == "topology":
            wanted = Network(schedule_of(command.value, self.steps.net.n))
            method.check_topology(wanted)
            return Command("topology", wanted.topology)
        return command

    def _change(self, command: Command) -> None:
        run, steps = self.run, self.steps
        if command.what == "watch":
            self._watched = command.value
            return
        if command.what == "set":
            run.parameters = steps.parameters = {**steps.parameters, **command.value}
        else:
            steps.swap(command.value)
        run.mark(command)

    def _show(self, nodes: Nodes) -> None:
        self.run.nodes = nodes

    # -------------------------------------------------------------------------------------------------------- diverging
    def _look(self, rows: list[Rows]) -> None:
        for some in rows:
            for k, *sizes in zip(*(some[name] for name in ("iteration", "size", "disagreement", "gradient_norm")), strict=True):
                if self._far is None:
                    self._far = _BLOWN_UP * max([1.0, *filter(math.isfinite, sizes)])
                if not all(size < self._far for size in sizes):  # NaN is smaller than nothing
                    raise Diverged(self._why(int(k)))

    def _all_mean_the_same(self, method: Method, problem: Problem, **others: Any) -> None:
        """Ranks that run different things would give numbers that mean nothing."""
        mine: dict[str, Any] = {"method": method.name, "problem": problem.label, "data": _digest(problem)}
        mine |= {name: value if isinstance(value, int | float | str | None) else None for name, value in others.items()}
        theirs = self.crew.all_of(mine)
        for rank, other in enumerate(theirs):
            for name in [*theirs[0], *other]:
                here, there = theirs[0].get(name), other.get(name)
                if here != there:
                    if name == "data":
                        raise ArgumentError(
                            f"problem: rank {rank} has other data than rank 0; make them alike on all ranks, with the same seed"
                        )
                    raise ArgumentError(f"{name}: rank 0 has {here!r} and rank {rank} {there!r}; give the same on all ranks")

    def _why(self, k: int) -> str:
        steps, problem = self.steps, self.steps.problem
        sizes = self.crew.gathered(steps.net.norm(steps.x.double()).flatten())
        node = int(torch.where(sizes.isfinite(), sizes, torch.inf).argmax())
        lr = steps.parameters.get("lr")
        advice = "see whether the problem's numbers are finite"
        if isinstance(lr, float | int) and lr > 0:
            bound = None if problem.L is None else 1 / problem.L
            smaller = lr / 4 if bound is None else min(lr / 4, bound / 2)
            than = "" if bound is None else f" (1/L is {bound:.2g})"
            advice = f"lr={lr:g}{than} may be too large; try lr={smaller:.2g}"
        return f"{self.run.name} diverged: by iteration {k}, first of all at node {node}; {advice}"


def _digest(problem: Problem) -> str:
    """What tells data apart; nothing where only some nodes' are here."""
    found = hashlib.blake2b(digest_size=16)
    if len(problem.nodes) == problem.n:
        for part in problem._tensors():
            in_bytes = part.detach().cpu().contiguous().flatten().view(torch.uint8)  # NumPy has no bfloat16
            found.update(in_bytes.numpy().tobytes())
    return found.hexdigest()


# ---------------------------------------------------------------------------------------------------------- background
_in_background: list[tuple[Run, threading.Thread]] = []


def _end() -> None:
    """Python ends: a thread that is in torch then would bring the whole process down."""
    for run, _ in _in_background:
        run.stop()
    for _, thread in _in_background:
        thread.join(_PATIENCE)


# ----------------------------------------------------------------------------------------------------------- arguments
def _problem(problem: str | Problem, n: int | None) -> Problem:
    if isinstance(problem, Problem):
        if n is not None and n != problem.n:
            raise ArgumentError(f"n={n}: {problem.label} has {problem.n} nodes; leave n out, or make the problem for {n}")
        return problem
    if not isinstance(problem, str):
        raise ProblemError(
            f"problem={problem!r:.60}: give a problem, such as ifog.problems.least_squares(16), or make one with "
            "ifog.problems.from_function"
        )
    if n is None:
        raise ArgumentError(f"problem={problem!r} without n: say how many nodes there are, as in n=16")
    return problems.make(problem, n)


def _start(start: Any, problem: Problem, net: Network) -> torch.Tensor:
    if start is None:
        return problem.start(net.nodes)
    try:
        x = torch.as_tensor(start, dtype=problem.dtype, device=problem.device)
    except (TypeError, ValueError, RuntimeError):
        raise ArgumentError(f"start={start!r:.60}: give numbers, one vector or a row for each node") from None
    if not x.isfinite().all():
        raise ArgumentError("start: some of its numbers are infinite or none; give finite ones")
    if x.shape == (problem.d,):
        x = x.expand(problem.n, problem.d)
    if x.shape != (problem.n, problem.d):
        raise ArgumentError(
            f"start has the shape {tuple(x.shape)}: give one vector of {problem.d} numbers, or a row for each node, "
            f"({problem.n}, {problem.d})"
        )
    return x[net.nodes.start : net.nodes.stop].clone()
