"""A topology to look at, to play with and to change: who talks to whom, in which round, and what each node holds.

>>> from ifog import topology, widgets
>>> network = widgets.Network(topology.ring(6), values=range(6))
>>> network.topology
ring(6): ρ = 0.6667, degree 2, symmetric, doubly stochastic
"""

from __future__ import annotations

import contextlib
import math
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ifog.errors import ArgumentError, IfogError
from ifog.topology import Schedule, Topology, as_topology

from . import drawing, layouts, messages, nodes
from .colouring import Colouring, colouring
from .live import STATIC, LiveWidget
from .network_figure import figure

if TYPE_CHECKING:
    from ifog.experiment import Run

_LAYOUTS = ("natural", *layouts.LAYOUTS)
_BY_MACHINE = "by machine"
_PERIOD = 0.05  # seconds between two looks at a run that is followed


class Network(LiveWidget):
    """A `Topology` or `Schedule` as a picture that lives.

    Nodes are coloured by what `show` is given, from any thread and as often as you like, or by what they hold in a run: give a
    `Run` instead of a topology, or `follow` one. Nodes can be dragged, and nodes and edges of a `Topology` added and removed
    with the mouse or the keyboard; `topology` is what is drawn.

    ``machines`` says where the nodes are, for the layout ``"by machine"``: how many machines share them evenly, or a list with
    the machine of each node, by number or name.
    """

    _esm = (STATIC / "network.js").read_text()
    _css = (STATIC / "network.css").read_text()

    def __init__(
        self,
        topology: Any,
        values: ArrayLike | Sequence[str] | None = None,
        *,
        layout: str | None = None,
        machines: int | Sequence[Any] | None = None,
        presentation: bool = False,
        **within: Any,
    ) -> None:
        self._version = 0
        self._colouring = Colouring()
        self._run: Run | None = None
        self._wanted: Schedule | None = None  # what was drawn with the mouse, and the run that is followed is to take up
        self._ended = threading.Event()
        schedule = _topology_of(topology) if _is_run(topology) else as_topology(topology)
        self._machines = layouts.machines(machines, schedule.n)
        self._layout = layout or (_BY_MACHINE if self._machines.names else "natural")
        if self._layout not in self._layouts:
            raise ArgumentError(f"layout={layout!r}: one of {', '.join(map(repr, self._layouts))}")
        self._draw(schedule)
        if values is not None:
            self._colouring = colouring(values, schedule.n, schedule.label).after(Colouring())
        super().__init__(presentation=presentation, **within)
        if _is_run(topology):
            self.follow(topology)

    # ---- from Python ---------------------------------------------------------------------------------------------------

    @property
    def topology(self) -> Schedule:
        """What is drawn. Unless it was changed there, what was given; else with Metropolis weights (directed: push-sum's)."""
        return self._schedule

    @topology.setter
    def topology(self, topology: Any) -> None:
        with self._lock:
            before = self._schedule.n
            self._draw(as_topology(topology))
            if self._schedule.n != before:
                self._colouring = Colouring()
            self._offer_all()

    def show(
        self,
        values: ArrayLike | Sequence[str],
        *,
        round: int | None = None,  # noqa: A002  (it is called so everywhere)
        low: float | None = None,
        high: float | None = None,
    ) -> None:
        """Colour the nodes by their values, or by the names of their states, and light the edges of a round.

        The colours reach from ``low`` to ``high``; by default from the least to the largest value shown so far, so that
        agreement is seen as one colour. Only the newest values are sent, at most 30 times a second.
        """
        schedule, before = self._schedule, self._colouring
        found = colouring(values, schedule.n, schedule.label, known=before.names, at=round)
        with self._lock:
            self._paint(found, low, high)

    def follow(self, run: Run, colour: str = "") -> None:
        """Colour the nodes by what they hold in a run, light the edges of its round, and draw the topology in force.

        ``colour`` is ``"value"``, ``"disagreement"``, ``"error"`` or ``"loss"`` of each node; it can be chosen in the page too.
        Edges that are added or removed there are so in the run. A run that works elsewhere is asked for it as long as
        somebody looks.
        """
        if not _is_run(run):
            raise ArgumentError(f"run={run!r:.60} is no run: give what ifog.run has returned")
        n, possible = _topology_of(run).n, nodes.choices(run)
        if n != self._schedule.n:
            raise ArgumentError(
                f"{run.name} has {n} nodes, and {self._schedule.n} are drawn: give the run a Network of its own"
            )
        if colour and colour not in (possible if run.problem is not None else nodes.NAMES):
            raise ArgumentError(f"colour={colour!r}: of {run.name} it can be {', '.join(map(repr, possible)) or 'nothing'}")
        with self._lock:
            self._ended.set()  # for the run that was followed before
            self._run, self._ended = run, threading.Event()
            usual = "disagreement" if "disagreement" in possible else ""
            self._colouring = Colouring(what=colour or usual)
            self._look()
        threading.Thread(target=self._work, args=(run, self._ended), name="ifog network", daemon=True).start()

    def forget(self) -> None:
        """Follow no run any longer, and show no values."""
        with self._lock:
            self._ended.set()
            self._run, self._colouring = None, Colouring()
            self._sender.offer(_NOTHING)

    def close(self) -> None:
        """Follow no run any longer, and take the views away."""
        self._ended.set()
        super().close()

    def _picture(self) -> str:
        with self._lock:
            outlines = self._machines.nodes() if self._layout == _BY_MACHINE else []
            return figure(self._schedule, self._colouring, places=self._places, note=self._note, outlines=outlines)

    def __repr__(self) -> str:
        return f"<network {self._schedule!r}>"

    @property
    def _label(self) -> str:  # type: ignore[override]
        return self._schedule.label

    # ---- a run that is followed ------------------------------------------------------------------------------------------

    def _work(self, run: Run, ended: threading.Event) -> None:
        over = watching = False
        while not over and not ended.wait(_PERIOD):
            over = run.over  # asked first: what was done before the end is then seen
            if run.problem is None and run.status in ("running", "paused") and watching != self._watched:
                watching = self._watched  # what is not here must be asked for, as long as somebody looks
                with contextlib.suppress(IfogError, TimeoutError):  # it has just ended, or nobody there can say
                    run.watch(watching)  # not under the lock: engines may take their time, and a page waits for nobody
            with self._lock:
                if not ended.is_set():
                    self._look()

    def _look(self) -> None:
        """Show the run as it is now."""
        run = self._run
        assert run is not None
        if run.topology is not None and run.topology is not self._schedule:
            drawn_here = run.topology == self._wanted
            self._draw(run.topology, self._places if drawn_here else None)
            self._offer_all()
        choices = nodes.choices(run)
        what, k = self._colouring.what or ("disagreement" if "disagreement" in choices else ""), nodes.iteration(run)
        if what in choices and (self._colouring.values is None or k != self._colouring.round):
            self._paint(
                Colouring(
                    nodes.measured(run, what),
                    what=what,
                    log=what in nodes.LOGARITHMIC,
                    choices=tuple(choices),
                    round=k,
                )
            )

    # ---- what is drawn ---------------------------------------------------------------------------------------------------

    def _draw(self, schedule: Schedule, places: NDArray[np.float64] | None = None) -> None:
        self._schedule = schedule
        self._drawing = drawing.drawing(schedule)
        self._note = self._what_is_special()
        self._version += 1
        if len(self._machines.of) != schedule.n:
            self._machines = layouts.machines(None, schedule.n)
            self._layout = "natural" if self._layout == _BY_MACHINE else self._layout
        self._places = places if places is not None or self._drawing is None else self._arranged()

    @property
    def _layouts(self) -> list[str]:
        return [*_LAYOUTS, *([_BY_MACHINE] if self._machines.names else [])]

    def _arranged(self) -> NDArray[np.float64]:
        assert self._drawing is not None
        if self._layout == _BY_MACHINE:
            return layouts.by_machine(self._machines.of)
        return layouts.arrange(self._schedule[0], self._drawing.pattern, self._layout)

    def _what_is_special(self) -> str:
        schedule, drawn = self._schedule, self._drawing
        if drawn is None:
            squares = -(-schedule.n // len(drawing.squares(np.zeros(schedule.n))))
            what = "one square a node" if squares == 1 else f"a square is the mean of {squares} nodes"
            return (
                f"{schedule.n:,} nodes and {int(schedule[0].messages):,} messages are too many to draw one by one "
                f"(up to {drawing.NODES:,} and {2 * drawing.LINES:,}): {what}, and W in blocks"
            )
        if schedule.period is None or schedule.period > len(drawn.rounds):
            whole = "a schedule that never repeats" if schedule.period is None else f"{schedule.period} rounds"
            return f"the first {len(drawn.rounds)} of {whole}"
        return ""

    def _paint(self, found: Colouring, low: float | None = None, high: float | None = None) -> None:
        """Have this shown, unless a node was removed since it was found."""
        if found.values is not None and len(found.values) == self._schedule.n:
            self._colouring = found.after(self._colouring, low, high)
            self._sender.offer(self._values_message())

    def _state(self) -> list[Any]:
        return [self._graph_message(), *([] if self._colouring.values is None else [self._values_message()])]

    def _alone(self) -> list[Any]:
        first, *rest = self._state()
        if isinstance(first, messages.Graph):  # nobody is there to change it, or to think of something else
            first = replace(first, editable=False, layouts=[self._layout])
        return [first, *(replace(each, choices=[each.what] if each.what else []) for each in rest)]

    def _graph_message(self) -> messages.Graph | messages.Blocks:
        schedule, drawn = self._schedule, self._drawing
        facts, n = drawing.facts(schedule), schedule.n
        if drawn is None:
            shades = drawing.blocks(schedule[0])
            columns = math.ceil(math.sqrt(len(drawing.squares(np.zeros(n)))))
            return messages.Blocks(n, schedule.label, facts, self._note, math.isqrt(len(shades)), columns, shades)
        rounds = drawn.rounds
        spectrum, eigenvalues = drawing.spectrum(schedule)
        return messages.Graph(
            version=self._version,
            n=n,
            title=schedule.label,
            facts=facts,
            note=self._note,
            editable=isinstance(schedule, Topology),
            directed=schedule.directed,
            weighted=isinstance(schedule[0], Topology),
            layouts=self._layouts,
            layout=self._layout,
            positions=np.asarray(self._places, np.float32),
            lines=drawn.union,
            ends=np.cumsum([len(each.pairs) for each in rounds]).astype(np.uint32),
            lit=np.concatenate([each.pairs for each in rounds]),
            weights=np.concatenate([each.weights for each in rounds]),
            own=np.concatenate([each.own for each in rounds]),
            machines=self._machines.names,
            machine=self._machines.of.astype(np.uint32),
            spectrum=spectrum,
            eigenvalues=np.column_stack([eigenvalues.real, eigenvalues.imag]).astype(np.float32),
        )

    def _values_message(self) -> messages.Values:
        shown = self._colouring
        assert shown.values is not None
        lit, weights, own = messages.NO_WHOLE, messages.NO_FLOATS, messages.NO_FLOATS
        values, k = shown.values, -1 if shown.round is None else shown.round
        if self._drawing is None:
            values = drawing.squares(values)
        elif k >= 0:
            if self._schedule.period is not None:
                k %= self._schedule.period
            if k >= len(self._drawing.rounds):
                beyond = drawing.lines(self._schedule[k])
                lit, weights, own = beyond.pairs, beyond.weights, beyond.own
        with np.errstate(over="ignore"):  # what has run away is infinite in the page
            shades = values.astype(np.float32)
        return messages.Values(
            *shown.limits,
            log=shown.log,
            what=shown.what,
            choices=list(shown.choices),
            names=list(shown.names),
            round=k,
            count=-1 if shown.round is None else shown.round,
            values=shades,
            lit=lit,
            weights=weights,
            own=own,
        )

    # ---- from the page -----------------------------------------------------------------------------------------------------

    def _take(self, message: Any) -> None:
        if isinstance(message, messages.Arrange):
            self._arrange(message.layout)
        elif isinstance(message, messages.Colour):
            if self._run is not None and message.what in nodes.choices(self._run):
                self._colouring = Colouring(what=message.what)
                self._look()
        elif message.version != self._version or self._places is None:
            self._offer_all()  # it has changed what is no longer there
        elif isinstance(message, messages.Moved):
            if 0 <= message.node < len(self._places):
                self._places[int(message.node)] = message.x, message.y
        elif isinstance(message, messages.Edit):
            self._edit(message)

    def _arrange(self, layout: str) -> None:
        if layout in self._layouts and self._drawing is not None:
            self._layout = layout
            self._places = self._arranged()
            self._sender.offer(messages.Places(layout, self._places.astype(np.float32)))

    def _edit(self, edit: messages.Edit) -> None:
        topology, places, shown, machines = self._schedule, self._places, self._colouring, self._machines
        ends_of = {"add_edge": (edit.a, edit.b), "remove_edge": (edit.a, edit.b), "remove_node": (edit.a,), "add_node": ()}
        ends = ends_of.get(edit.what)
        if not isinstance(topology, Topology) or places is None or ends is None or len(set(ends)) < len(ends):
            return
        if any(not 0 <= node < topology.n for node in ends) or (edit.what == "remove_node" and topology.n == 1):
            return
        changed = drawing.changed(topology, edit.what, edit.a, edit.b)
        if self._run is not None and not self._run.over:
            self._steer(self._run, changed)
            return
        if self._run is not None:  # it is over: what is drawn is no longer its graph
            self._ended.set()
            self._run = None
        if edit.what == "add_node":
            nearest = int(np.hypot(places[:, 0] - edit.x, places[:, 1] - edit.y).argmin())
            machines = replace(machines, of=np.append(machines.of, machines.of[nearest]))
            places = np.vstack([places, [edit.x, edit.y]])
            # a newcomer has no value yet
            shown = replace(shown, values=None if shown.values is None else np.append(shown.values, np.nan))
        elif edit.what == "remove_node":
            machines = replace(machines, of=np.delete(machines.of, edit.a))
            places = np.delete(places, edit.a, axis=0)
            shown = replace(shown, values=None if shown.values is None else np.delete(shown.values, edit.a))
        self._colouring, self._machines = shown, machines
        self._draw(changed, places)
        self._offer_all()

    def _steer(self, run: Run, changed: Topology) -> None:
        """The run that is followed shall go on with what was drawn; it is drawn once it does."""
        self._wanted = changed
        # engines may take their time to answer, and a page's message waits for nobody
        threading.Thread(target=self._swap, args=(run, changed), name="ifog network swaps", daemon=True).start()

    def _swap(self, run: Run, changed: Topology) -> None:
        try:
            run.topology = changed
        except (IfogError, TimeoutError) as error:
            with self._lock:
                self._wanted, self._note = None, (str(error) or "the engines do not answer").split("\n", 1)[0]
                self._offer_all()

    def _catch_up(self) -> None:
        self._offer_all()

    def _offer_all(self) -> None:
        for message in self._state():
            self._sender.offer(message)


_NOTHING = messages.Values(
    0.0,
    1.0,
    log=False,
    what="",
    choices=[],
    names=[],
    round=-1,
    count=-1,
    values=messages.NO_FLOATS,
    lit=messages.NO_WHOLE,
    weights=messages.NO_FLOATS,
    own=messages.NO_FLOATS,
)


def _is_run(given: Any) -> TypeGuard[Run]:
    live = sys.modules.get("ifog.experiment.live")  # where it was never imported, with torch, there are no runs
    return live is not None and isinstance(given, live.Run)


def _topology_of(run: Run) -> Schedule:
    if run.topology is None:
        raise ArgumentError(f"{run.name} has not begun, and has no topology yet: give a topology first, and follow(run) later")
    return run.topology
