"""A topology to look at, to play with and to change: who talks to whom, in which round, and what each node holds.

>>> from ifog import topology, widgets
>>> network = widgets.Network(topology.ring(6), values=range(6))
>>> network.topology
ring(6): ρ = 0.6667, degree 2, symmetric, doubly stochastic
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ifog.errors import ArgumentError
from ifog.topology import Schedule, Topology, as_topology

from . import drawing, layouts, messages, theme
from .live import STATIC, LiveWidget
from .network_figure import figure

_LAYOUTS = ("natural", *layouts.LAYOUTS)


class Network(LiveWidget):
    """A `Topology` or `Schedule` as a picture that lives.

    Nodes are coloured by what `show` is given, from any thread and as often as you like. Nodes can be dragged, and nodes and
    edges of a `Topology` added and removed with the mouse or the keyboard; `topology` is what is drawn.
    """

    _esm = (STATIC / "network.js").read_text()
    _css = (STATIC / "network.css").read_text()

    def __init__(
        self, topology: Any, values: ArrayLike | None = None, *, layout: str = "natural", presentation: bool = False
    ) -> None:
        self._version = 0
        self._values: NDArray[np.float64] | None = None
        self._limits = (0.0, 1.0)
        self._round: int | None = None
        if layout not in _LAYOUTS:
            raise ArgumentError(f"layout={layout!r}: one of {', '.join(map(repr, _LAYOUTS))}")
        self._layout = layout
        self._draw(as_topology(topology))
        if values is not None:
            self._values = self._checked(values)
            self._limits = theme.limits(self._values)
        super().__init__(presentation=presentation)

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
                self._values, self._round = None, None
            self._offer_all()

    def show(
        self,
        values: ArrayLike,
        *,
        round: int | None = None,  # noqa: A002  (it is called so everywhere)
        low: float | None = None,
        high: float | None = None,
    ) -> None:
        """Colour the nodes by their values, and light the edges of a round.

        The colours reach from ``low`` to ``high``; by default from the least to the largest value shown so far, so that
        agreement is seen as one colour. Only the newest values are sent, at most 30 times a second.
        """
        found = self._checked(values)
        if round is not None and (isinstance(round, bool) or not isinstance(round, int | np.integer) or round < 0):
            raise ArgumentError(f"round={round!r}: rounds are counted from 0")
        with self._lock:
            if len(found) != self._schedule.n:  # somebody has removed a node since it was checked
                return
            bottom, top = theme.limits(found)
            if self._values is not None:
                bottom, top = min(bottom, self._limits[0]), max(top, self._limits[1])
            self._values = found
            self._limits = (bottom if low is None else float(low), top if high is None else float(high))
            self._round = None if round is None else int(round)
            self._sender.offer(self._values_message())

    def _picture(self) -> str:
        with self._lock:
            return figure(
                self._schedule,
                self._values,
                places=self._places,
                k=self._round or 0,
                limits=self._limits,
                note=self._note,
            )

    def __repr__(self) -> str:
        return f"<network {self._schedule!r}>"

    @property
    def _label(self) -> str:  # type: ignore[override]
        return self._schedule.label

    # ---- what is drawn ---------------------------------------------------------------------------------------------------

    def _draw(self, schedule: Schedule, places: NDArray[np.float64] | None = None) -> None:
        self._schedule = schedule
        self._drawing = drawing.drawing(schedule)
        self._note = self._what_is_special()
        self._version += 1
        if places is not None or self._drawing is None:
            self._places = places
        else:
            self._places = layouts.arrange(schedule[0], self._drawing.pattern, self._layout)

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

    def _state(self) -> list[Any]:
        return [self._graph_message(), *([] if self._values is None else [self._values_message()])]

    def _alone(self) -> list[Any]:
        first, *rest = self._state()
        if isinstance(first, messages.Graph):  # nobody is there to change it, or to think of another layout
            first = replace(first, editable=False, layouts=[self._layout])
        return [first, *rest]

    def _graph_message(self) -> messages.Graph | messages.Blocks:
        schedule, drawn = self._schedule, self._drawing
        facts, n = drawing.facts(schedule), schedule.n
        if drawn is None:
            shades = drawing.blocks(schedule[0])
            columns = math.ceil(math.sqrt(len(drawing.squares(np.zeros(n)))))
            return messages.Blocks(n, schedule.label, facts, self._note, math.isqrt(len(shades)), columns, shades)
        rounds = drawn.rounds
        return messages.Graph(
            version=self._version,
            n=n,
            title=schedule.label,
            facts=facts,
            note=self._note,
            editable=isinstance(schedule, Topology),
            directed=schedule.directed,
            weighted=isinstance(schedule[0], Topology),
            layouts=list(_LAYOUTS),
            layout=self._layout,
            positions=np.asarray(self._places, np.float32),
            lines=drawn.union,
            ends=np.cumsum([len(each.pairs) for each in rounds]).astype(np.uint32),
            lit=np.concatenate([each.pairs for each in rounds]),
            weights=np.concatenate([each.weights for each in rounds]),
            own=np.concatenate([each.own for each in rounds]),
        )

    def _values_message(self) -> messages.Values:
        assert self._values is not None
        low, high = self._limits
        lit, weights, own = messages.NO_WHOLE, messages.NO_FLOATS, messages.NO_FLOATS
        values, k = self._values, -1 if self._round is None else self._round
        if self._drawing is None:
            values = drawing.squares(values)
        elif k >= 0:
            if self._schedule.period is not None:
                k %= self._schedule.period
            if k >= len(self._drawing.rounds):
                beyond = drawing.lines(self._schedule[k])
                lit, weights, own = beyond.pairs, beyond.weights, beyond.own
        return messages.Values(low, high, k, values.astype(np.float32), lit, weights, own)

    def _checked(self, values: ArrayLike) -> NDArray[np.float64]:
        n = self._schedule.n
        detached = values.detach().cpu() if hasattr(values, "detach") else values
        try:
            found = np.array(detached, dtype=np.float64)
        except (TypeError, ValueError):
            raise ArgumentError(f"values={values!r:.60}: one number for each of the {n} nodes") from None
        if found.size != n or found.ndim == 0:
            raise ArgumentError(
                f"values has shape {found.shape}: one number for each of the {n} nodes of {self._schedule.label}"
            )
        flat: NDArray[np.float64] = found.reshape(n)
        return flat

    # ---- from the page -----------------------------------------------------------------------------------------------------

    def _take(self, message: Any) -> None:
        if isinstance(message, messages.Arrange):
            self._arrange(message.layout)
        elif message.version != self._version or self._places is None:
            self._offer_all()  # it has changed what is no longer there
        elif isinstance(message, messages.Moved):
            if 0 <= message.node < len(self._places):
                self._places[int(message.node)] = message.x, message.y
        elif isinstance(message, messages.Edit):
            self._edit(message)

    def _arrange(self, layout: str) -> None:
        if layout in _LAYOUTS and self._drawing is not None:
            self._layout = layout
            self._places = layouts.arrange(self._schedule[0], self._drawing.pattern, layout)
            self._sender.offer(messages.Places(layout, self._places.astype(np.float32)))

    def _edit(self, edit: messages.Edit) -> None:
        topology, places, values = self._schedule, self._places, self._values
        nodes = {"add_edge": (edit.a, edit.b), "remove_edge": (edit.a, edit.b), "remove_node": (edit.a,), "add_node": ()}
        ends = nodes.get(edit.what)
        if not isinstance(topology, Topology) or places is None or ends is None or len(set(ends)) < len(ends):
            return
        if any(not 0 <= node < topology.n for node in ends) or (edit.what == "remove_node" and topology.n == 1):
            return
        if edit.what == "add_node":
            places = np.vstack([places, [edit.x, edit.y]])
            # a newcomer has no value yet
            values = None if values is None else np.append(values, np.nan)
        elif edit.what == "remove_node":
            places = np.delete(places, edit.a, axis=0)
            values = None if values is None else np.delete(values, edit.a)
        self._values = values
        self._draw(drawing.changed(topology, edit.what, edit.a, edit.b), places)
        self._offer_all()

    def _catch_up(self) -> None:
        self._offer_all()

    def _offer_all(self) -> None:
        for message in self._state():
            self._sender.offer(message)
