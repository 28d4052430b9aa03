"""A lab bench: a method on a network, to be watched and changed while it works.

>>> from ifog import widgets
>>> bench = widgets.LabBench("dgd", topology="ring", n=8)
>>> bench.topology
ring(8): ρ = 0.8047, degree 2, symmetric, doubly stochastic
>>> bench
<lab bench: dgd on ring(8), not started>
"""

from __future__ import annotations

import inspect
import numbers
import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from ifog import algorithms, problems
from ifog.algorithms import Method
from ifog.algorithms.method import REQUIRED
from ifog.algorithms.parameters import DOMAINS
from ifog.errors import ArgumentError, ExperimentError, IfogError
from ifog.experiment import Run
from ifog.experiment import run as begin
from ifog.experiment.live import checked_pace
from ifog.network import Network as World
from ifog.network.network import schedule_of
from ifog.problems import Problem
from ifog.problems.arguments import real, whole
from ifog.topology import Schedule, Topology, families
from ifog.topology.arguments import heard

from . import messages, nodes, picture
from .convergence import Convergence
from .live import STATIC, LiveWidget
from .network import Network

_LOOK = 1 / 15  # seconds between two looks at the run
_TRIED = 128  # nodes up to which all topologies are tried, to say which of them fit
_IDLE = 3.0  # seconds without anything to do after which the thread ends
_GHOSTS = 6  # curves that are kept
_STEPS = 100_000
_HERE = "simulated here"


class LabBench(LiveWidget):
    """Choose what to run, start it, and swap its topology or turn its parameters while the curve falls.

    All that the page can do can be done from here as well: ``bench.start()``, ``bench.topology = "grid"``,
    ``bench.set(lr=0.01)``, ``bench.pace = 5``; the page follows. `run` is the run itself. With ``on=ifog.connect()`` it works
    on the engines, with the same controls. An edge drawn with the mouse is another topology, too.

    The topology, the pace and most parameters change what runs. Another problem, method, number of nodes or heterogeneity
    begins with the next start.
    """

    _esm = (STATIC / "bench.js").read_text()
    _css = (STATIC / "bench.css").read_text()
    _per_second = 8.0
    _run: Run | None = None  # here, because also what is not made to the end is closed

    def __init__(
        self,
        method: str | Method = "dgd",
        problem: str | Problem = "least_squares",
        *,
        topology: Any = "ring",
        n: int | None = None,
        heterogeneity: float = 1.0,
        on: Any = None,
        pace: float | None = 20.0,
        steps: int = _STEPS,
        seed: int = 0,
        colour: str = "",
        presentation: bool = False,
        **parameters: Any,
    ) -> None:
        self._ended = threading.Event()
        self._doing = threading.RLock()  # whoever changes what is set or what runs
        self._asked: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()  # by pages, and by nobody yet who has begun
        self._waking = threading.Lock()
        self._thread: threading.Thread | None = None
        self._marks = 0  # of the run, that were seen
        self._pending: list[str] = []
        self._later: list[tuple[Callable[[], object], str]] = []  # for a run that waits for the engines
        self._said, self._trouble = "", False
        self._speed = _Speed()
        self._changed: set[str] = set()

        self._method = algorithms.find(method)
        self._given = problem if isinstance(problem, Problem) else None
        self._problem_name = problem.name if isinstance(problem, Problem) else _known_problem(problem)
        self._n = _nodes(n, self._given, topology)
        self._heterogeneity = real("heterogeneity", heterogeneity, at_least=0)
        self._seed = whole("seed", seed, error=ArgumentError)
        self._steps = whole("steps", steps, minimum=1, error=ArgumentError)
        self._places: dict[str, Any] = {_HERE: None}
        self._where = self._add_place(on)
        self._pace, self._colour = checked_pace(pace), colour
        if colour and colour not in nodes.NAMES:
            raise ArgumentError(f"colour={colour!r:.40}: one of {', '.join(nodes.NAMES)}")
        self._made: tuple[Any, Problem] | None = None
        self._schedule = schedule_of(topology, self._n)
        self._runs: tuple[Method, int] = (self._method, self._n)  # what is under way
        self._parameters: dict[str, Any] = dict(parameters)
        self._values: dict[str, Any] = {}
        self._settle()
        self._check_fit(self._schedule)
        self._options: tuple[Any, list[messages.Option]] = (None, [])

        super().__init__(presentation=presentation)

    def _make_parts(self) -> tuple[LiveWidget, ...]:
        self.network = _Drawable(self, self._schedule)
        self.curves = Convergence(within=self, part="curves")
        return self.network, self.curves

    # ---- what is set -----------------------------------------------------------------------------------------------------

    @property
    def run(self) -> Run | None:
        """The run that goes on, or that was the last."""
        return self._run

    @property
    def topology(self) -> Schedule:
        """What the nodes talk over. Assign another, or a name: it is swapped while it runs, or refused with the reason."""
        return self._schedule

    @topology.setter
    def topology(self, topology: Any) -> None:
        with self._doing:
            schedule = schedule_of(topology, self._n)
            run, (method, n) = self._live(), self._runs
            if run is not None and n == schedule.n:
                method.check_topology(World(schedule))
                self._steer(lambda: setattr(run, "topology", schedule), f"topology → {schedule.label}")
            else:
                self._check_fit(schedule)
                if run is None:
                    self._show_topology(schedule)
                self._next("topology")
            self._schedule = schedule
        self._follow()

    @property
    def method(self) -> str:
        """What runs. Assign another for the next start."""
        return self._method.name

    @method.setter
    def method(self, method: str | Method) -> None:
        found = algorithms.find(method)
        with self._doing:
            self._method = found
            self._settle()
            self._next("method")
        self._follow()

    @property
    def problem(self) -> str:
        """What is minimised. Assign another, by name or as a `Problem`, for the next start."""
        return self._given.label if self._given is not None else self._problem_name

    @problem.setter
    def problem(self, problem: str | Problem) -> None:
        with self._doing:
            if isinstance(problem, Problem):
                self._given, self._problem_name = problem, problem.name
                self._set_n(problem.n)
            else:
                self._given, self._problem_name = None, _known_problem(problem)
            self._settle()
            self._next("problem")
        self._follow()

    @property
    def n(self) -> int:
        """How many nodes there are. Assign another number for the next start."""
        return self._n

    @n.setter
    def n(self, n: int) -> None:
        n = whole("n", n, minimum=1, error=ArgumentError)
        with self._doing:
            if self._given is not None and n != self._given.n:
                raise ArgumentError(f"n={n}: {self._given.label} has {self._given.n} nodes; choose a problem by its name first")
            self._set_n(n)
            self._next("n")
        self._follow()

    @property
    def heterogeneity(self) -> float:
        """How different the nodes' data are. Assign another for the next start."""
        return self._heterogeneity

    @heterogeneity.setter
    def heterogeneity(self, heterogeneity: float) -> None:
        with self._doing:
            self._heterogeneity = real("heterogeneity", heterogeneity, at_least=0)
            self._next("heterogeneity")
        self._follow()

    @property
    def on(self) -> Any:
        """Where it runs: None for here, or ``ifog.connect()``. Assign another for the next start."""
        return self._places[self._where]

    @on.setter
    def on(self, place: Any) -> None:
        with self._doing:
            self._where = self._add_place(place)
            self._next("on")
        self._follow()

    @property
    def pace(self) -> float | None:
        """Iterations a second at most, so that one can watch; None for as many as it can make."""
        return self._pace

    @pace.setter
    def pace(self, pace: float | None) -> None:
        pace = checked_pace(pace)
        with self._doing:
            run = self._live()
            if run is not None:
                self._steer(lambda: setattr(run, "pace", pace))
            self._pace = pace
        self._follow()

    @property
    def parameters(self) -> dict[str, Any]:
        """The method's parameters, as they are set."""
        return dict(self._values)

    def set(self, **parameters: Any) -> None:
        """Change parameters of the method, also while it runs: ``bench.set(lr=0.01)``."""
        with self._doing:
            method, run = self._method, self._live()
            values = method.check_parameters(**{**self._values, **parameters})
            live = {name: value for name, value in parameters.items() if name not in method.of_the_start}
            if run is not None and self._runs[0] is method and live:
                self._steer(lambda: run.set(**live), ", ".join(f"{name} → {value}" for name, value in live.items()))
                self._changed |= set(parameters) - set(live)
            self._parameters |= parameters
            self._values = values
        self._follow()

    # ---- what runs -------------------------------------------------------------------------------------------------------

    def start(self) -> Run:
        """Go on, if it is paused; else begin anew with what is set. The curve of the run before stays."""
        with self._doing:
            run = self._live()
            if run is not None and run.status == "paused" and not self._changed:
                self._steer(run.resume)
            else:
                run = self._begin()
        self._follow()
        return run

    def pause(self) -> None:
        """Hold on, until `start`."""
        self._steer(self._going().pause)
        self._follow()

    def step(self, count: int = 1) -> None:
        """Make so many iterations, then pause."""
        whole("count", count, minimum=1, error=ArgumentError)
        with self._doing:
            run = self._live() or self._begin(paused=True)
            self._steer(lambda: run.step(count))
        self._follow()

    def stop(self) -> None:
        """End the run; its curve stays."""
        run = self._live()
        if run is not None:
            run.stop()  # also if it has not begun yet
        self._follow()

    def reset(self) -> None:
        """End the run, and take all curves away."""
        self.stop()
        with self._doing:
            self._run = None
            self._pending, self._later, self._said, self._trouble = [], [], "", False
            self._changed.clear()
            self.curves.clear()
            self._show_topology(self._schedule)
        self._follow()

    def close(self) -> None:
        """End the run, and take the views away."""
        self._ended.set()
        run = self._live()
        try:
            if run is not None:
                run.stop()
        except (IfogError, TimeoutError):  # the engines are gone, or do not answer
            pass
        finally:
            super().close()

    def __repr__(self) -> str:
        run = self._run
        if run is None:
            return f"<lab bench: {self._method.name} on {self._schedule.label}, not started>"
        return f"<lab bench: {run!r}>"

    def _live(self) -> Run | None:
        return None if self._run is None or self._run.over else self._run

    def _going(self) -> Run:
        run = self._live()
        if run is None:
            raise ExperimentError("nothing runs: start() begins")
        return run

    def _begin(self, *, paused: bool = False) -> Run:
        problem = self._problem()
        self._check_fit(self._schedule)
        before = self._live()
        if before is not None:
            before.stop()
        self._run = run = begin(
            self._method,
            problem,
            topology=self._schedule,
            steps=self._steps,
            on=self._places[self._where],
            wait=False,
            seed=self._seed,
            every=1 if self._pace is not None else 10,
            name=f"{self._method.name} on {self._schedule.label}",
            progress=False,
            pace=self._pace,
            paused=paused,
            **self._values,
        )
        self._runs = self._method, problem.n
        self._marks, self._pending, self._later = 0, [], []
        self._said, self._trouble, self._speed = "", False, _Speed()
        self._changed.clear()
        self._show_topology(self._schedule)
        shown = self.curves.runs
        if len(shown) >= _GHOSTS:
            self.curves.clear()
            self.curves.add(*shown[1 - _GHOSTS :])
        self.curves.fade()
        self.curves.add(run)
        self._steer(lambda: self.network.follow(run, self._colour))
        return run

    def _steer(self, wish: Callable[[], object], what: str = "") -> None:
        """Ask something of the run; of one that waits for the engines, as soon as it has begun."""
        run = self._run
        if run is not None and run.status == "waiting":
            self._later.append((wish, what))
        else:
            wish()
        if what:
            self._pending.append(what)

    def _next(self, what: str) -> None:
        """Something was set that only the next start takes up."""
        if self._live() is not None:
            self._changed.add(what)

    def _set_n(self, n: int) -> None:
        schedule = self._schedule
        if n != schedule.n:
            made = schedule.name in families() and n > 0
            self._schedule = schedule_of(schedule.name if made else "ring", n)
            if self._live() is None:
                self._show_topology(self._schedule)
        self._n = n

    def _add_place(self, place: Any) -> str:
        if place is None:
            return _HERE
        for name, known in self._places.items():
            if known is place:
                return name
        if not all(hasattr(place, name) for name in ("submit", "records", "command")):
            raise ArgumentError(f"on={place!r:.60}: give engines, as ifog.connect() finds them, or None to simulate it here")
        name = f"on {len(place)} engines" if hasattr(place, "__len__") else f"on {type(place).__name__.lower()}"
        name = name if name not in self._places else f"{name} ({len(self._places)})"
        self._places[name] = place
        return name

    def _problem(self) -> Problem:
        if self._given is not None:
            return self._given
        wanted = self._problem_name, self._n, self._heterogeneity, self._seed
        if self._made is None or self._made[0] != wanted:
            takes = inspect.signature(problems.all()[self._problem_name]).parameters
            options = {"heterogeneity": self._heterogeneity, "seed": self._seed}
            given = {name: value for name, value in options.items() if name in takes}
            self._made = wanted, problems.make(self._problem_name, self._n, **given)
        return self._made[1]

    def _settle(self) -> None:
        """The parameters in force: those that were chosen, and a step that does no harm for who has not chosen one."""
        method = self._method
        values = {name: value for name, value in self._parameters.items() if name in method.parameters}
        if method.parameters.get("lr") is REQUIRED and "lr" not in values:
            L = self._problem().L
            values["lr"] = 0.05 if not L else float(f"{0.1 / L:.1g}")
        self._values = method.check_parameters(**values)

    def _check_fit(self, schedule: Schedule) -> None:
        """Refuse what the method cannot do on this topology, before anything is sent anywhere."""
        self._method.check_topology(World(schedule))

    # ---- following -------------------------------------------------------------------------------------------------------

    def _follow(self) -> None:
        """Have the page follow, and the run be looked at until nothing happens any more."""
        with self._waking:
            self._asked.put(lambda: None)
            if self._thread is None and not self._ended.is_set():
                self._thread = threading.Thread(target=self._work, name="ifog bench", daemon=True)
                self._thread.start()

    def _work(self) -> None:
        idle = time.monotonic()
        while not self._ended.is_set():
            try:
                asked = self._asked.get(timeout=_LOOK)
            except queue.Empty:
                asked = None
            with self._doing:
                if asked is not None:
                    idle = time.monotonic()
                    self._attempt(asked)
                    if not self._asked.empty():
                        continue
                self._look()
                self._sender.offer(self._message())
                if asked is not None and self._fits_anew():
                    self._sender.offer(self._choices())
            if self._live() is not None:
                idle = time.monotonic()
            with self._waking:
                if time.monotonic() - idle > _IDLE and self._asked.empty():
                    self._thread = None
                    return

    def _attempt(self, wish: Callable[[], object]) -> None:
        """Do what a page has asked for. What cannot be is said there, and nothing is lost."""
        try:
            with heard() as warnings:
                wish()
            if warnings:
                self._said = warnings[-1]
        except Exception as error:  # noqa: BLE001  whatever it is, those in front of the page can read it
            self._said, self._trouble = str(error) or type(error).__name__, True

    def _look(self) -> None:
        run = self._run
        if run is None:
            return
        if self._later and run.status != "waiting":
            later, self._later = self._later, []
            for wish, what in later:
                if run.over:
                    break
                self._attempt(wish)
                if self._trouble and what in self._pending:
                    self._pending.remove(what)
        for k, what in run.marks[self._marks :]:
            self._marks += 1
            if self._pending:
                self._pending.pop(0)
            self._said, self._trouble = f"{what} from iteration {k:,} on", False
        if run.over:
            self._pending = []
            if run.error is not None and not self._trouble:
                self._said, self._trouble = str(run.error), True
        self._speed.see(run.iteration)

    def _show_topology(self, schedule: Schedule) -> None:
        """What the next run begins with, and none of the colours of the last."""
        self.network.forget()
        if schedule != self.network.topology:
            self.network.topology = schedule

    # ---- to and from the page ----------------------------------------------------------------------------------------------

    def _message(self) -> messages.Bench:
        run, method = self._run, self._method
        place = self._places[self._where]
        return messages.Bench(
            problem=self._problem_name,
            method=method.name,
            topology=self._schedule.name if self._schedule.label == self._family_label() else self._schedule.label,
            n=self._n,
            fixed=self._given is not None,
            heterogeneity=self._heterogeneity if self._has_heterogeneity() else -1,
            place=self._where,
            pace=self._pace or 0.0,
            dials=self._dials(),
            about=method.summary,
            status="" if run is None else run.status,
            iteration=0 if run is None else run.iteration,
            speed=self._speed.speed if self._live() is not None else 0.0,
            pending=list(self._pending),
            later=sorted(self._changed),
            said=self._said or (_waits(place) if run is not None and run.status == "waiting" else ""),
            trouble=self._trouble,
        )

    def _family_label(self) -> str:
        return f"{self._schedule.name}({self._schedule.n})" if self._schedule.name in families() else ""

    def _has_heterogeneity(self) -> bool:
        known = problems.all().get(self._problem_name)
        return self._given is None and known is not None and "heterogeneity" in inspect.signature(known).parameters

    def _dials(self) -> list[messages.Dial]:
        values: dict[str, Any] = self._values
        found: list[messages.Dial] = []
        for name in self._method.parameters:
            value, about = values.get(name), DOMAINS[name].words if name in DOMAINS else ""
            if isinstance(value, bool) or not isinstance(value, numbers.Real):
                continue
            low, high, log, count = _RANGES.get(name, (0.0, max(1.0, 4 * float(value)), False, False))
            dial: messages.Dial = {
                "name": name,
                "value": float(value),
                "low": low if log and value <= 0 else min(low, float(value)),
                "high": max(high, float(value)),
                "log": log,
                "whole": count,
                "about": about,
            }
            found.append(dial)
        return found

    def _choices(self) -> messages.Choices:
        return messages.Choices(
            problems=list(problems.all()),
            methods=list(algorithms.all()),
            topologies=self._options[1] or [{"name": name, "unfit": ""} for name in families()],
            places=list(self._places),
        )

    def _fits_anew(self) -> bool:
        """Look which topologies the method can take, if that is another question than the last time."""
        asked = self._method.needs, self._n, len(self._places)
        if asked == self._options[0]:
            return False
        found: list[messages.Option] = []
        for name in families():
            unfit = ""
            if self._n <= _TRIED:
                try:
                    with heard():
                        self._check_fit(schedule_of(name, self._n))
                except IfogError as error:
                    unfit = str(error)
            found.append({"name": name, "unfit": unfit})
        self._options = asked, found
        return True

    def _state(self) -> list[Any]:
        return [self._choices(), self._message()]

    def _catch_up(self) -> None:
        self._follow()

    def _take(self, message: Any) -> None:
        if isinstance(message, messages.Press):
            done = {"start": self.start, "pause": self.pause, "step": self.step, "stop": self.stop, "reset": self.reset}
            if message.what in done:
                self._hear(done[message.what])
        elif isinstance(message, messages.Choose):
            self._hear(lambda: self._choose(message.what, message.value))

    def _hear(self, wish: Callable[[], object]) -> None:
        """Note what a page has asked for: handlers may be called in any thread, and must be quick, and the run may be far."""

        def do() -> None:
            self._said, self._trouble = "", False
            wish()

        self._asked.put(do)
        self._follow()

    def _choose(self, what: str, value: str) -> None:
        if what in ("topology", "method", "problem"):
            setattr(self, what, value)
        elif what == "n":
            self.n = int(_number(what, value))
        elif what == "heterogeneity":
            self.heterogeneity = _number(what, value)
        elif what == "pace":
            self.pace = _number(what, value) or None
        elif what == "on":
            self.on = self._places.get(value)
        elif what in self._method.parameters:
            number = _number(what, value)
            counts = what in _RANGES and _RANGES[what][3]
            self.set(**{what: int(number) if counts else number})

    def _drawn(self, topology: Topology) -> None:
        """Somebody has drawn another topology, for nothing that runs yet."""
        try:
            self.topology = topology
        except IfogError:
            if self.network.topology is topology:
                self._show_topology(self._schedule)
            raise

    # ---- the picture -------------------------------------------------------------------------------------------------------

    @property
    def _label(self) -> str:  # type: ignore[override]
        return repr(self)[1:-1]

    def _picture(self) -> str:
        return picture.below(self._label, self.network._picture(), self.curves._picture())


class _Drawable(Network):
    """The network on the bench: who changes it with the mouse, swaps the topology of what runs."""

    def __init__(self, bench: LabBench, topology: Schedule) -> None:
        self._bench = bench
        super().__init__(topology, within=bench, part="network")

    def _edit(self, edit: messages.Edit) -> None:
        bench = self._bench
        if edit.what in ("add_node", "remove_node"):
            self._offer_all()
            bench._hear(_no_other_nodes)
            return
        before = self._schedule
        super()._edit(edit)
        drawn = self._schedule
        if drawn is not before and isinstance(drawn, Topology):  # no run is followed, so none was steered
            bench._hear(lambda: bench._drawn(drawn))

    def _steer(self, run: Run, changed: Topology) -> None:  # noqa: ARG002
        self._wanted = changed
        self._offer_all()  # it is drawn once it is in force
        self._bench._hear(lambda: setattr(self._bench, "topology", changed))


def _no_other_nodes() -> None:
    raise ArgumentError("another number of nodes is another problem: choose it with “nodes”, and start anew")


class _Speed:
    """How many iterations a second there were lately."""

    def __init__(self) -> None:
        self.speed = 0.0
        self._seen: list[tuple[float, int]] = []

    def see(self, iteration: int) -> None:
        now = time.monotonic()
        self._seen = [seen for seen in self._seen if seen[0] > now - 2] + [(now, iteration)]
        (began, first), (ended, last) = self._seen[0], self._seen[-1]
        self.speed = (last - first) / (ended - began) if ended > began + 0.2 else 0.0


_RANGES: Mapping[str, tuple[float, float, bool, bool]] = {
    "lr": (1e-4, 1.0, True, False),
    "beta": (0.0, 0.99, False, False),
    "mu": (0.0, 0.99, False, False),
    "alpha": (0.05, 2.0, False, False),
    "p": (0.01, 1.0, False, False),
    "relative": (0.1, 4.0, False, False),
    "gamma": (0.01, 1.0, False, False),
    "eta": (1e-4, 1.0, True, False),
    "weight_decay": (0.0, 0.01, False, False),
    "least": (0.05, 0.95, False, False),
    "H": (1, 50, False, True),
    "tau": (0, 10, False, True),
    "levels": (1, 32, False, True),
}
"""Of parameters with a slider: the least, the largest, whether it is logarithmic, and whether it counts."""


def _nodes(n: int | None, problem: Problem | None, topology: Any) -> int:
    known = problem.n if problem is not None else topology.n if isinstance(topology, Schedule) else None
    if n is None:
        return known or 16
    n = whole("n", n, minimum=1, error=ArgumentError)
    if known is not None and n != known:
        whose = problem.label if problem is not None else topology.label
        raise ArgumentError(f"n={n}: {whose} has {known} nodes; leave n out, or make it for {n}")
    return n


def _known_problem(name: str) -> str:
    if name not in problems.all():
        problems.make(name, 1)  # which says so
    return name


def _number(what: str, value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise ArgumentError(f"{what}={value!r:.40}: give a number") from None


def _waits(place: Any) -> str:
    return "" if place is None else "the engines are busy with what was sent to them before: it begins when they are done"
