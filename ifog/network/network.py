"""The network that a method talks through: how nodes exchange tensors, wherever they live.

A tensor's first axis is over the nodes hosted here: all n of them in a simulation, a slice on each rank of an MPI world. One
class for both, and one order of summation, so that mixing gives the same bits in both.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch

from ..errors import ArgumentError, TopologyError
from ..topology import Schedule
from ..topology.ceca import Exchange
from ..topology.convert import as_topology
from . import memory
from .clock import Late
from .edges import Edges
from .effects import Effect, Effects
from .hosts import Here, Hosts, Pending, Ranks, bounds
from .mailbox import Mail, Node
from .random import Random
from .rows import Rows, message_size
from .traffic import Traffic

_REMEMBERED = 1024  # rounds of a schedule whose rows are kept
_OTHERS = 16  # other graphs that are kept


class Network:
    """n nodes and whom each of them listens to, round by round.

    >>> net = Network("ring", 4)
    >>> net.mix(torch.tensor([[0.0], [3.0], [6.0], [3.0]], dtype=torch.float64))
    tensor([[2.],
            [3.],
            [4.],
            [3.]], dtype=torch.float64)
    """

    def __init__(
        self,
        topology: Any,
        n: int | None = None,
        *,
        hosts: Hosts | None = None,
        seed: int = 0,
        device: Any = "cpu",
        effects: Sequence[Effect] = (),
        per_edge: bool = False,
    ) -> None:
        memory.keep()
        schedule = schedule_of(topology, n)
        self.n = schedule.n
        self.hosts: Hosts = Here() if hosts is None else hosts
        self.bounds = bounds(self.n, self.hosts.size)
        self.nodes = range(self.bounds[self.hosts.rank], self.bounds[self.hosts.rank + 1])
        """The nodes hosted here."""
        self._lengths = [high - low for low, high in itertools.pairwise(self.bounds)]
        self.round = 0
        """The current iteration: all that is mixed in it is mixed with the same W."""
        self.random = Random(self, seed)
        self.device = torch.device(device)
        self.segments: Sequence[int] | None = None
        """How long the tensors are that lie one after the other in a row of x; None for one vector."""
        self.messages = 0
        """Messages that the nodes hosted here have sent."""
        self.bytes = 0
        """How much was in them: what the methods' own encoding would need."""
        self.traffic = Traffic(self.nodes, per_edge=per_edge)
        """The same for each node hosted here, and with ``per_edge`` for each edge that begins there."""
        self.effects = Effects(effects, seed)
        """What goes wrong on the way."""
        self._mail: Mail | None = None
        self.met: list[list[Any]] = []
        """Along which graphs the nodes have talked in this iteration, None for what all take part in.

        A list holds what was on its way at the same time; a new one begins once something was waited for."""
        self._waited = True
        self.seconds = 0.0
        """How long this process has been busy with talking, and waiting for it."""
        self._parent: Network | None = None
        self._others: dict[Schedule | str, Network] = {}
        self._set(schedule)

    @classmethod
    def on_ranks(cls, topology: Any, n: int | None = None, **options: Any) -> Network:
        """The network of which this rank of an MPI world hosts a slice; by default, every rank is a node."""
        from ..comm import api

        if n is None and not isinstance(topology, Schedule):
            n = api.size()
        return cls(topology, n, hosts=Ranks(), **options)

    # ------------------------------------------------------------------------------------------------------ topology
    @property
    def topology(self) -> Schedule:
        """The schedule in force. Another one takes effect with the next `mix`; all hosts must set it in the same iteration."""
        return self._schedule

    @topology.setter
    def topology(self, topology: Any) -> None:
        self._set(schedule_of(topology, self.n))

    def _set(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._began = self.round
        self._rows: dict[tuple[int, str], Turn] = {}

    def advance(self) -> None:
        """The next iteration."""
        self.round += 1
        self._forget_met()

    @property
    def graph(self) -> Any:
        """The graph of this iteration."""
        return self._schedule[self._k]

    @property
    def _k(self) -> int:
        period = self._schedule.period
        k = self.round - self._began
        return k if period is None else k % period

    def _turn(self, part: str = "") -> Turn:
        k = self.round if self.effects.lose and part != "edges" else self._k  # what is lost differs from round to round
        found = self._rows.get((k, part))
        if found is None:
            if len(self._rows) >= _REMEMBERED:
                self._rows.clear()
            if self.effects.lose:
                self._rows = {key: turn for key, turn in self._rows.items() if key[1] == "edges" or key[0] == k}
            found = self._rows[k, part] = Turn(self, self.graph, part)
        return found

    # -------------------------------------------------------------------------------------------------------- mixing
    def start_mix(self, *xs: torch.Tensor, bits: float | None = None, late: int = 0) -> Pending[Any]:
        """`mix` that only begins: it travels until ``wait`` gives its result."""
        turn = self._turn()
        single = len(xs) == 1

        def use(slices: dict[int, list[torch.Tensor]]) -> Any:
            mixed = tuple(turn.rows.weigh({host: values[i] for host, values in slices.items()}) for i in range(len(xs)))
            return mixed[0] if single else mixed

        return self._visit(turn, xs, use, bits, late)

    def mix(self, *xs: torch.Tensor, bits: float | None = None, late: int = 0) -> Any:
        r""":math:`x_i \leftarrow \sum_j w_{ij} x_j` with this iteration's W; several tensors travel as one message.

        ``bits`` is what the message of one node takes if it is compressed; ``late`` is for the clock of a simulation, how many
        iterations the messages may be under way until a node waits for them.
        """
        return self.start_mix(*xs, bits=bits, late=late).wait()

    def diff(self, x: torch.Tensor, *, bits: float | None = None) -> torch.Tensor:
        r""":math:`\sum_j w_{ij} (x_i - x_j)`: x − W x without its rounding errors, which long runs would add up."""
        turn = self._turn()
        used: torch.Tensor = self._visit(
            turn, (x,), lambda slices: turn.rows.differ({host: values[0] for host, values in slices.items()}, x), bits
        ).wait()
        return used

    def own_weight(self, x: torch.Tensor) -> torch.Tensor:
        r""":math:`w_{ii}`, what each node puts on its own value, as a column."""
        return _column(self._turn().rows.own_weights, x)

    def mix_pair(self, a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """One round of a schedule of two buffers, such as `ifog.topology.ceca`."""
        if self.n == 1:
            return a, b
        c = self._exchange.coefficients
        turn = self._turn("received")
        sent = a if c.message == "a" else b
        r = self._visit(
            turn, (sent,), lambda slices: turn.rows.weigh({host: values[0] for host, values in slices.items()})
        ).wait()
        return c.a_own * a + c.a_received * r, c.b_own * b + c.b_received * r

    @property
    def sends(self) -> str:
        """Which of its two buffers, "a" or "b", each node sends in this round of a schedule of two buffers."""
        return "a" if self.n == 1 else self._exchange.coefficients.message

    @property
    def _exchange(self) -> Exchange:
        graph = self.graph
        if not isinstance(graph, Exchange):
            raise TopologyError(f"{self._schedule.label} mixes one buffer a node: use mix(x), or choose ceca(n) as topology")
        return graph

    def _visit(
        self, turn: Turn, xs: Sequence[torch.Tensor], use: Any, bits: float | None = None, late: int = 0
    ) -> Pending[Any]:
        for x in xs:
            if len(x) != len(self.nodes):
                raise ArgumentError(
                    f"x has the shape {tuple(x.shape)}: its first axis is over the {len(self.nodes)} nodes hosted here"
                )
        size = message_size(*xs) if bits is None else bits / 8
        self.count(turn.messages, size)
        self.traffic.note_round(turn, size)
        pending = self.visit(list(xs), turn, use, turn.said, self._lengths, late)
        return _Disturbed(self, pending, turn) if self.effects.sigma else pending

    def visit(
        self, values: list[torch.Tensor], turn: Turn, use: Any, said: str, lengths: Sequence[int], late: int = 0
    ) -> Pending[Any]:
        """Let ``use`` read what the hosts of this turn's senders have; ``lengths`` are the rows of each host."""
        began = time.perf_counter()
        pending: Pending[Any] = self.hosts.visit(values, turn.rows.sources, turn.dests, use, said, lengths)
        self._talk(Late(turn.graph, late) if late else turn.graph)
        self.took(began)
        return _UnderWay(self, pending)

    def _talk(self, graph: Any) -> None:
        """Note that the nodes have begun to talk along this graph."""
        root = self._root
        if root._waited:
            root.met.append([])
            root._waited = False
        root.met[-1].append(graph)

    def heard(self) -> None:
        """Note that the nodes have waited for what was said: what they say next, they say after that."""
        self._root._waited = True

    def _forget_met(self) -> None:
        self.met.clear()
        self._waited = True

    @property
    def _root(self) -> Network:
        root = self
        while root._parent is not None:
            root = root._parent
        return root

    def took(self, began: float) -> None:
        """Note that this process has been talking since then."""
        self.seconds += time.perf_counter() - began
        if self._parent is not None:
            self._parent.took(began)

    def count(self, messages: int, size: float) -> None:
        """Note that nodes hosted here have sent so many messages of so many bytes."""
        if self._parent is not None:
            self._parent.count(messages, size)
        self.messages += messages
        self.bytes += math.ceil(messages * size)

    # ------------------------------------------------------------------------------------------------- over all nodes
    def mean(self, *xs: torch.Tensor, bits: float | None = None) -> Any:
        """The exact average over all nodes, a row for each node hosted here. It is counted as a ring allreduce."""
        size = message_size(*xs) if bits is None else bits / 8
        self.count(2 * (self.n - 1) * len(self.nodes), size / self.n)
        self.traffic.note_all(2 * (self.n - 1), size / self.n)
        self._talk(None)
        self.heard()
        began = time.perf_counter()
        means = tuple((self.hosts.total(x.sum(0, keepdim=True)) / self.n).repeat(len(x), *[1] * (x.dim() - 1)) for x in xs)
        self.took(began)
        return means[0] if len(means) == 1 else means

    def per_node(self, values: Any, like: torch.Tensor) -> torch.Tensor:
        """A number for all nodes, or n of them one for each: those of the nodes hosted here, as a column."""
        numbers = torch.as_tensor(values, dtype=like.dtype, device=like.device)
        if numbers.shape not in ((), (1,), (self.n,)):
            raise ArgumentError(f"numbers of the shape {tuple(numbers.shape)}: give one, or one for each of the {self.n} nodes")
        return numbers.expand(self.n)[self.nodes.start : self.nodes.stop].view(-1, *[1] * (like.dim() - 1))

    def norm(self, x: torch.Tensor, *, order: float = 2, by: Sequence[int] | None = None) -> torch.Tensor:
        """The norm of each node's vector, as a column.

        ``by=net.segments`` gives the norms of the tensors inside it instead, each repeated over the tensor's numbers.
        """
        if by is None:
            norms: torch.Tensor = torch.linalg.vector_norm(x.flatten(1), order, dim=1)
            return norms.view(-1, *[1] * (x.dim() - 1))
        if sum(by) != x.shape[1]:
            raise ArgumentError(f"by={list(by)!r:.60}: the tensors have {sum(by)} numbers, and a row of x has {x.shape[1]}")
        parts = torch.split(x, list(by), dim=1)
        return torch.cat([torch.linalg.vector_norm(p, order, dim=1, keepdim=True).expand_as(p) for p in parts], dim=1)

    # --------------------------------------------------------------------------------------------------------- others
    @property
    def edges(self) -> Edges:
        """Messages along this iteration's edges."""
        turn = self._turn("edges")
        if turn.edges is None:
            turn.edges = Edges(self, turn)
        return turn.edges

    @property
    def mailbox(self) -> Mail:
        """All mail of the nodes hosted here. A method is called with one `Node`, whose mailbox is its own."""
        if self._mail is None:
            if not isinstance(self.hosts, Here):
                raise ArgumentError("net.mailbox on ranks is made by ifog.experiment.Asynchronous, on all ranks together")
            self._mail = Mail(self)
        return self._mail

    @mailbox.setter
    def mailbox(self, mail: Mail) -> None:
        self._mail = mail

    def node(self, i: int) -> Node:
        """The network as one of the nodes hosted here sees it: for asynchronous methods."""
        if i not in self.nodes:
            raise ArgumentError(f"node {i!r}: hosted here are {self.nodes.start} to {self.nodes.stop - 1}")
        return Node(self, i, self.mailbox)

    def on(self, topology: Any) -> Network:
        """The same nodes on another graph, in the same iteration: for double trees and hierarchies."""
        key = topology if isinstance(topology, str | Schedule) else as_topology(topology, self.n)
        other = self._others.get(key)
        if other is None:
            if len(self._others) >= _OTHERS:
                self._others.clear()
            other = self._others[key] = Network(key, self.n, hosts=self.hosts, device=self.device)
            other.random, other._parent, other.effects, other.traffic = self.random, self, self.effects, self.traffic
        other.round = self.round
        return other

    # ------------------------------------------------------------------------------------------------- kept and taken up
    def state(self) -> dict[str, int]:
        """Where it is, in plain numbers: with the same topology and seed, `restore` goes on from there."""
        return {"round": self.round, "began": self._began, "messages": self.messages, "bytes": self.bytes}

    def restore(self, state: dict[str, int]) -> None:
        """Go on from there."""
        self.round, self._began = state["round"], state["began"]
        self.messages, self.bytes = state["messages"], state["bytes"]
        self._forget_met()

    def __repr__(self) -> str:
        where = "here" if isinstance(self.hosts, Here) else f"on rank {self.hosts.rank} of {self.hosts.size}"
        return (
            f"<network of {self.n} nodes on {self._schedule.label}, {len(self.nodes)} of them {where}, iteration {self.round}>"
        )


class _UnderWay:
    """What the nodes have said, until somebody waits for it."""

    def __init__(self, net: Network, pending: Pending[Any]) -> None:
        self._net, self._pending = net, pending

    def wait(self) -> Any:
        began = time.perf_counter()
        result = self._pending.wait()
        self._net.took(began)
        self._net.heard()
        return result


class _Disturbed:
    """What is mixed, with the noise of the messages in it: as much as if each had its own."""

    def __init__(self, net: Network, pending: Pending[Any], turn: Turn) -> None:
        self._net, self._pending, self._turn = net, pending, turn
        self._result: Any = None

    def wait(self) -> Any:
        if self._result is None:
            mixed = self._pending.wait()
            self._result = tuple(map(self._noisy, mixed)) if isinstance(mixed, tuple) else self._noisy(mixed)
        return self._result

    def _noisy(self, part: torch.Tensor) -> torch.Tensor:
        net = self._net
        return part + net.effects.sigma * _column(self._turn.spread, part) * net.random.normal(part)


class Turn:
    """One iteration's graph, as the nodes hosted here take part in it."""

    def __init__(self, net: Network, graph: Any, part: str) -> None:
        if part == "" and isinstance(graph, Exchange):
            raise TopologyError(
                f"{net.topology.label} mixes two buffers a node: call mix_pair(a, b), or choose another topology"
            )
        low, high = net.nodes.start, net.nodes.stop
        pattern = graph.pattern
        matrix = graph.matrix if part == "" else pattern.astype(float)
        if net.effects.lose and part != "edges":
            matrix = net.effects.thinned(graph, matrix, net.round)
        self.rows = Rows(matrix, low, high, net.bounds[:-1])
        heard = pattern[:, low:high].tocoo()  # who listens to the nodes hosted here
        self.messages = int(heard.nnz)
        """How many messages these nodes send."""
        self.degrees = np.bincount(heard.coords[1], minlength=high - low)
        """How many each of them sends."""
        self.dests = sorted({int(host) for host in _hosts_of(heard.coords[0], net.bounds)} - {net.hosts.rank})
        self.said = f"{net.topology.label}, round {net._k}"
        self.graph = graph
        self.edges: Edges | None = None
        self.used, self.used_bytes = 0, 0.0
        """How often its messages were sent, and the bytes along each edge: what `Traffic` has still to add up."""
        self._low, self._high = low, high

    @cached_property
    def sent(self) -> tuple[Any, Any]:
        """The senders and receivers of the messages that begin at the nodes hosted here."""
        heard = self.graph.pattern[:, self._low : self._high].tocoo()
        return heard.coords[1].astype(np.int64) + self._low, heard.coords[0].astype(np.int64)

    @cached_property
    def spread(self) -> Any:
        """The root of the sum of the squared weights that each node puts on what it has heard: how noise adds up."""
        rows = self.rows
        squares = np.where(rows.nodes == rows.receivers + rows.low, 0.0, rows.weights**2)
        return np.sqrt(np.bincount(rows.receivers, weights=squares, minlength=rows.high - rows.low))


def _column(numbers: Any, like: torch.Tensor) -> torch.Tensor:
    return torch.as_tensor(numbers, dtype=like.dtype, device=like.device).view(-1, *[1] * (like.dim() - 1))


def _hosts_of(nodes: Any, bounds: Sequence[int]) -> Any:
    return np.unique(np.searchsorted(bounds, nodes, side="right") - 1)


def schedule_of(topology: Any, n: int | None) -> Schedule:
    """The schedule that is meant: itself, a family's member of n nodes by its name, or a graph of networkx or a matrix."""
    if isinstance(topology, Schedule):
        if n is not None and topology.n != n:
            raise TopologyError(f"topology {topology.label} has {topology.n} nodes, and n={n}: build it with n={n}")
        return topology
    if isinstance(topology, str):
        if n is None:
            raise ArgumentError(f"topology={topology!r} without n: say how many nodes there are")
        from .. import topology as families

        return families.make(topology, n)
    return as_topology(topology, n)
