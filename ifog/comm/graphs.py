"""The topologies that the ranks talk along, and the weights of one call, as this rank needs them."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..errors import ArgumentError, TopologyError
from ..topology import Schedule
from ..topology.ceca import Exchange
from ..topology.convert import as_topology
from .collectives import Plan
from .swift import Way


class Round:
    """One round of a schedule, as this rank takes part in it."""

    __slots__ = ("plan", "said", "token", "way")

    def __init__(self, plan: Plan, token: object, said: str) -> None:
        self.plan = plan
        """From whom and to whom, with the topology's weights."""
        self.token, self.said = token, said
        """What all ranks must agree on, and the same in words."""
        self.way = Way(plan)


class Followed:
    """A schedule, and the round in which it is: each averaging takes the next one."""

    def __init__(self, schedule: Schedule, node: int, what: str = "rank") -> None:
        self.schedule, self.node, self.what = schedule, node, what
        self.round = 0
        self.token = schedule.fingerprint
        self._rounds: dict[int, Round] = {}

    def now(self) -> Round:
        """The round that the next averaging takes."""
        return self.at(self.round if self.schedule.period is None else self.round % self.schedule.period)

    def at(self, k: int) -> Round:
        """Round k of the period."""
        found = self._rounds.get(k)
        if found is None:
            if len(self._rounds) >= 1024:
                self._rounds.clear()
            said = f" on {self.schedule.label}" + ("" if self.schedule.period == 1 else f", round {k}")
            found = self._rounds[k] = Round(self._make(k), (self.token, k), said)
        return found

    def _make(self, k: int) -> Plan:
        graph, i = self.schedule[k], self.node
        if isinstance(graph, Exchange):
            raise TopologyError(
                f"{self.schedule.label} mixes two buffers a node: neighbor_allreduce has one; choose another topology"
            )
        row = graph.matrix[[i], :].tocoo()
        weights = {int(j): float(w) for j, w in zip(row.coords[1], row.data, strict=True)}
        own = weights.pop(i, 0.0)
        sources = sorted(weights)
        return Plan(
            own, tuple(sources), tuple(weights[j] for j in sources), tuple(sorted(int(j) for j in graph.out_neighbors(i)))
        )

    def own_weights(
        self,
        n: int,
        self_weight: float | None,
        src_weights: Mapping[int, float] | None,
        dst_weights: Mapping[int, float] | Iterable[int] | None,
    ) -> Plan:
        """The plan of a call that brings weights of its own."""
        if src_weights is not None and self_weight is None:
            raise ArgumentError(
                "src_weights is given without self_weight: give both, e.g. self_weight=0.5, src_weights={1: 0.5}"
            )
        if self_weight is None and dst_weights is None:
            raise ArgumentError("no weights are given")
        own = None if self_weight is None else _weight("self_weight", self_weight)
        sources = None if src_weights is None else _weights("src_weights", src_weights, n, self.node, self.what)
        if dst_weights is None:
            graph = self.now().plan
            if sources is None:
                return graph._replace(self_weight=own)  # type: ignore[arg-type]
            strangers = sorted(set(sources) - set(graph.sources))
            if strangers:
                raise ArgumentError(
                    f"src_weights names {self.what} {strangers[0]}, which is no in-neighbor of {self.what} {self.node} in "
                    f"{self.schedule.label} (they are {list(graph.sources)}); "
                    "for an edge outside the topology give dst_weights too"
                )
            ignored = tuple(j for j in graph.sources if j not in sources)
            order = tuple(sorted(sources))
            return Plan(own, order, tuple(sources[j] for j in order), graph.dests, None, ignored)  # type: ignore[arg-type]
        if not isinstance(dst_weights, Mapping):
            dst_weights = dict.fromkeys(_listed("dst_weights", dst_weights, n, self.node, self.what), 1.0)
        factors = _weights("dst_weights", dst_weights, n, self.node, self.what)
        if sources is None or own is None:
            raise ArgumentError(
                "dst_weights is given without self_weight and src_weights: a call with edges of its own names both ends, "
                "e.g. self_weight=0.5, src_weights={1: 0.5}, dst_weights={2: 1.0}"
            )
        order = tuple(sorted(sources))
        return Plan(own, order, tuple(sources[j] for j in order), tuple(sorted(factors)), factors, (), dynamic=True)


def follow(topology: Any, n: int, node: int, what: str = "rank") -> Followed:
    """Whatever can be understood as a topology of n nodes."""
    schedule = topology if isinstance(topology, Schedule) else as_topology(topology, n)
    if schedule.n != n:
        there = f"there are {n} machines" if what == "machine" else f"{n} ranks are running"
        instead = f"build it with n={n}" + ("" if what == "machine" else f", or start {schedule.n} ranks")
        raise TopologyError(f"topology {schedule.label} has {schedule.n} nodes, but {there}: {instead}")
    return Followed(schedule, node, what)


def ranks_of(argument: str, ranks: Iterable[int], n: int, me: int) -> list[int]:
    """A list of other ranks, each once."""
    return _listed(argument, ranks, n, me, "rank")


def one_rank(argument: str, rank: Any, n: int) -> int:
    """A rank, this one included."""
    return _rank(argument, rank, n, -1, "rank")


def _listed(argument: str, ranks: Any, n: int, me: int, what: str) -> list[int]:
    if isinstance(ranks, Mapping | str | bytes) or not isinstance(ranks, Iterable):
        raise ArgumentError(f"{argument}={ranks!r}: a list of {what}s, e.g. [0, 2]")
    found = [_rank(argument, rank, n, me, what) for rank in ranks]
    for rank in found:
        if found.count(rank) > 1:
            raise ArgumentError(f"{argument} names {what} {rank} twice: {found}")
    return found


def _rank(argument: str, rank: Any, n: int, me: int, what: str) -> int:
    try:
        if isinstance(rank, bool):
            raise TypeError
        found = operator.index(rank)
    except TypeError:
        raise ArgumentError(f"{argument} names {what} {rank!r}: a whole number between 0 and {n - 1}") from None
    if not 0 <= found < n:
        raise ArgumentError(f"{argument} names {what} {found}, but the {what}s are 0 to {n - 1}")
    if found == me:
        raise ArgumentError(f"{argument} names {what} {found} itself: what a node keeps of its own is self_weight")
    return found


def _weights(argument: str, weights: Any, n: int, me: int, what: str) -> dict[int, float]:
    if not isinstance(weights, Mapping):
        raise ArgumentError(f"{argument}={weights!r}: a dict from {what} to weight, e.g. {{1: 0.5}}")
    found = {_rank(argument, rank, n, me, what): _weight(f"{argument}[{rank}]", w) for rank, w in weights.items()}
    if len(found) != len(weights):
        raise ArgumentError(f"{argument} names a {what} twice: {list(weights)}")
    return found


def _weight(argument: str, weight: Any) -> float:
    try:
        if isinstance(weight, str | bytes | np.ndarray):
            raise TypeError
        found = float(weight)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise ArgumentError(f"{argument}={weight!r:.60}: a number") from None
    if not math.isfinite(found):
        raise ArgumentError(f"{argument}={found}: a finite number")
    return found
