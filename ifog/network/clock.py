"""Simulated time: how long nodes compute and messages travel, and what follows for when things happen.

All draws are functions of the seed and of what they are for, so a clock is its times and counts: it can be saved, and the same
seed gives the same run. A time is given as a number of seconds, or as a function of a uniform random number::

    Clock(8, compute=1.0, speeds={3: 0.1}, delay=0.2)         # node 3 is ten times slower than the others
    Clock(8, compute=exponential(1.0, 0.1))                   # 1 s, and 0.1 s on average more
    Clock(8, compute=straggling(1.0, 0.05, times=10))         # one computation in twenty takes 10 s
"""

from __future__ import annotations

import heapq
import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import ArgumentError
from ..topology import Graph
from .random import drawn

Seconds: TypeAlias = float | Callable[[Any], Any]
"""A number, or a function that makes seconds of uniform random numbers (an array of them): the inverse of a distribution."""

_COMPUTE, _DELAY = 1, 2  # what a draw is for


@dataclass(frozen=True)
class exponential:  # noqa: N801  (called like a function)
    """At least ``least``, and an exponential time of this mean on top."""

    least: float
    mean: float

    def __call__(self, u: Any) -> Any:
        """The seconds that belong to a uniform number."""
        return self.least - self.mean * np.log1p(-u)


@dataclass(frozen=True)
class straggling:  # noqa: N801
    """As usual, but with probability p so many times as long."""

    usual: float
    p: float
    times: float = 10.0

    def __call__(self, u: Any) -> Any:
        """The seconds that belong to a uniform number."""
        return self.usual * np.where(np.asarray(u) < self.p, self.times, 1.0)


class Late(NamedTuple):
    """Messages along a graph that may be so many iterations under way until anybody waits for them."""

    graph: Graph
    iterations: int


class Clock:
    """When each of n nodes is ready, in seconds.

    ``compute`` is how long a gradient takes at speed 1; ``speeds`` one number, n of them, or some nodes' by number; ``delay``
    how long a message travels, or an n × n table of it, receiver by sender.

    >>> from ifog.topology import ring
    >>> clock = Clock(4, speeds={0: 0.1}, delay=0.2)
    >>> clock.round(ring(4))    # the neighbours of the slow node 0 wait for it; node 2 will wait for them in the next round
    array([10. , 10.2,  1.2, 10.2])
    """

    def __init__(self, n: int, *, compute: Seconds = 1.0, speeds: Any = 1.0, delay: Any = 0.0, seed: int = 0) -> None:
        self.n, self.seed = n, seed
        self.compute = _seconds("compute", compute, positive=True)
        self.speeds = _speeds(speeds, n)
        self.delay = _delay(delay, n)
        self.times = np.zeros(n)
        """When each node was ready last (in rounds), or will be next (in `next`)."""
        self.counts = np.zeros(n, np.int64)
        """How often each has computed, or begun to."""
        self._past: list[NDArray[np.float64]] = []  # when late messages were sent, the newest last

    @property
    def now(self) -> float:
        """The time by which all nodes were ready."""
        return float(self.times.max())

    # ------------------------------------------------------------------------------------------------------ in rounds
    def alone(self) -> NDArray[np.float64]:
        """One round in which nobody waits for anybody, as the local steps of local SGD."""
        self.times = self.times + self._computing(np.arange(self.n))
        self.counts += 1
        return self.times

    def round(self, graph: Graph | None = None) -> NDArray[np.float64]:
        r"""One synchronous round: when each node has what its neighbours sent. Without a graph an allreduce: waiting for all.

        .. math::
            f_i &= t_i + c_i \\
            t_i &\leftarrow \max\big(f_i, \max_j (f_j + d_{ij})\big)
        """
        return self.iteration([[graph]])

    def iteration(self, met: Sequence[Sequence[Graph | Late | None]]) -> NDArray[np.float64]:
        """A computation, and then messages along graphs, None for an allreduce: see `Network.met`.

        Those of an inner sequence travel at the same time, and the inner sequences one after the other.
        """
        ready = self.times + self._computing(np.arange(self.n))
        for together in met:
            ready = np.max([self._when_come(ready, what) for what in together], axis=0)
        self.times = ready
        self.counts += 1
        return self.times

    def _when_come(self, ready: NDArray[np.float64], what: Graph | Late | None) -> NDArray[np.float64]:
        if what is None:
            return self._when_all_have_heard(ready)
        if not isinstance(what, Late):
            return self._when_heard(ready, what, ready, self.counts)
        self._past = [*self._past, ready][-1 - what.iterations :]
        if len(self._past) <= what.iterations:
            return ready  # the first ones are still under way
        return self._when_heard(ready, what.graph, self._past[0], self.counts - what.iterations)

    def _when_all_have_heard(self, ready: NDArray[np.float64]) -> NDArray[np.float64]:
        everyone = np.arange(self.n)
        if callable(self.delay) or self.n == 1:
            slowest = float(np.max(self._travel(everyone, everyone, self.counts))) if self.n > 1 else 0.0
        else:
            slowest = float(np.max(self.delay))
        return np.full(self.n, ready.max() + slowest)

    def _when_heard(
        self, ready: NDArray[np.float64], graph: Graph, sent: NDArray[np.float64], counts: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        if graph.n != self.n:
            raise ArgumentError(f"graph {graph.label} has {graph.n} nodes, and the clock {self.n}: make one for the other")
        pattern = graph.pattern
        senders = pattern.indices.astype(np.int64)
        receivers = np.repeat(np.arange(self.n), np.diff(pattern.indptr))
        come = ready.copy()
        np.maximum.at(come, receivers, sent[senders] + self._travel(senders, receivers, counts[senders]))
        return come

    # ------------------------------------------------------------------------------------------------ one by one
    def start(self) -> None:
        """Let all nodes begin to compute, each for itself."""
        if not self.counts.any():
            self.times = self._computing(np.arange(self.n))
            self.counts += 1
        self._due = [(float(time), i) for i, time in enumerate(self.times)]
        heapq.heapify(self._due)

    def next(self) -> tuple[float, int]:
        """Who is ready next, and when; of those at the same time, the smallest number."""
        return self._due[0]

    def go_on(self, waited: float = 0.0) -> None:
        """Let the node that was ready begin its next computation, after it has waited so long."""
        time, i = self._due[0]
        self.times[i] = time + waited + float(self._computing(np.array([i]))[0])
        self.counts[i] += 1
        heapq.heapreplace(self._due, (float(self.times[i]), i))

    def travel(self, sender: int, receiver: int, count: int) -> float:
        """How long a node's message of this number takes to another one."""
        if isinstance(self.delay, float):
            return self.delay
        return float(self._travel(np.array([sender]), np.array([receiver]), np.array([count]))[0])

    # --------------------------------------------------------------------------------------------------------- helpers
    def _computing(self, nodes: NDArray[np.int64]) -> NDArray[np.float64]:
        if not callable(self.compute):
            return np.asarray(self.compute / self.speeds[nodes])
        u = drawn(self.seed, _COMPUTE, nodes, self.counts[nodes])
        seconds: NDArray[np.float64] = _drawn_seconds("compute", self.compute(u), len(nodes)) / self.speeds[nodes]
        return seconds

    def _travel(
        self, senders: NDArray[np.int64], receivers: NDArray[np.int64], counts: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        if callable(self.delay):
            return _drawn_seconds("delay", self.delay(drawn(self.seed, _DELAY, senders, receivers, counts)), len(senders))
        if isinstance(self.delay, float):
            return np.full(len(senders), self.delay)
        table: NDArray[np.float64] = self.delay[receivers, senders]
        return table

    # -------------------------------------------------------------------------------------------------- saved, resumed
    def state(self) -> dict[str, Any]:
        """All that changes with time."""
        past = torch.from_numpy(np.stack(self._past) if self._past else np.zeros((0, self.n)))
        return {"times": torch.from_numpy(self.times.copy()), "counts": torch.from_numpy(self.counts.copy()), "past": past}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state`."""
        self.times, self.counts = state["times"].numpy().copy(), state["counts"].numpy().copy()
        self._past = list(state["past"].numpy().copy()) if "past" in state else []
        self.start()

    def __repr__(self) -> str:
        return f"<clock of {self.n} nodes, {self.now:g} s>"


def is_number(value: Any) -> bool:
    """Whether it is a finite number."""
    return not isinstance(value, bool) and isinstance(value, numbers.Real) and math.isfinite(float(value))


def _seconds(name: str, value: Any, *, positive: bool) -> Any:
    least = "more than zero" if positive else "zero or more"
    if callable(value):
        return value
    if not is_number(value) or value < 0 or (positive and value == 0):
        raise ArgumentError(
            f"{name}={value!r:.60}: give seconds, {least}, or a function of a uniform number, such as exponential(1.0, 0.1)"
        )
    return float(value)


def _drawn_seconds(name: str, found: Any, count: int) -> NDArray[np.float64]:
    seconds = np.broadcast_to(np.asarray(found, float), (count,))
    if not np.isfinite(seconds).all() or (seconds < 0).any():
        raise ArgumentError(f"{name} gave {seconds.min():g} seconds: they must be finite, zero or more")
    return seconds


def _speeds(value: Any, n: int) -> NDArray[np.float64]:
    advice = f"give one number above zero, {n} of them, or those of some nodes, such as {{0: 0.1}} for a slow node 0"
    if isinstance(value, Mapping):
        speeds = np.ones(n)
        for i, speed in value.items():
            if not (isinstance(i, int | np.integer) and 0 <= i < n):
                raise ArgumentError(f"speeds names node {i!r}: the nodes are 0 to {n - 1}")
            if not is_number(speed):
                raise ArgumentError(f"speeds={value!r:.60}: {advice}")
            speeds[i] = speed
    else:
        if not (is_number(value) or isinstance(value, Sequence | np.ndarray)):
            raise ArgumentError(f"speeds={value!r:.60}: {advice}")
        try:
            given = np.asarray(value, float)
        except (TypeError, ValueError):
            raise ArgumentError(f"speeds={value!r:.60}: {advice}") from None
        if given.shape not in ((), (n,)):
            raise ArgumentError(f"speeds of the shape {given.shape}: {advice}")
        speeds = np.broadcast_to(given, (n,)).copy()
    if not (np.isfinite(speeds).all() and (speeds > 0).all()):
        raise ArgumentError(f"speeds={value!r:.60}: {advice}")
    return speeds


def _delay(value: Any, n: int) -> Any:
    if isinstance(value, Sequence | np.ndarray) and not isinstance(value, str):
        table = np.asarray(value, float)
        if table.shape != (n, n) or not np.isfinite(table).all() or (table < 0).any():
            raise ArgumentError(
                f"delay as a table of the shape {table.shape}: it must be {n} × {n} seconds, zero or more, receiver by sender"
            )
        return table
    return _seconds("delay", value, positive=False)
