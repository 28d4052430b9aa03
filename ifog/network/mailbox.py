"""One-sided talk: a node puts something into its neighbours' mailboxes, and looks into its own when it likes. Nobody waits.

A mailbox has a slot for each node that is listened to. ``put`` overwrites one's slot at those who listen, and ``get`` averages
with what lies in the slots; ``accumulate`` adds to it, and ``collect`` takes it all out. A message is a row of each of several
tensors, and arrives as a whole: a sum and its weight are never apart. `Node.mailbox` is what a method sees.

Simulated, a message arrives after its delay on a `Clock`. On ranks the slots are buffers of a window (`ifog.comm.windows`),
written while their owner computes.
"""

from __future__ import annotations

import heapq
import math
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..errors import ArgumentError, MethodError, TopologyError
from ..topology import Schedule
from .clock import Clock
from .random import Random, drawn
from .rows import message_size

if TYPE_CHECKING:
    from ..comm.windows import Window
    from .network import Network

_PUT, _ACCUMULATE, _AVERAGE = "put", "accumulate", "average"
_PARTNER = 21  # what a draw is for
_GRAPHS = 256  # of a schedule, whose columns are kept


class Node:
    """The network as one of its nodes sees it while it is active. An iteration is one activation of its own."""

    def __init__(self, net: Network, i: int, mail: Mail) -> None:
        self.n, self.nodes = net.n, range(i, i + 1)
        self.round = 0
        """How often it has been active."""
        self._net, self._seen, self._began = net, net.topology, 0
        self.random = Random(self, net.random.seed)
        self.mailbox = Mailbox(self, mail)

    @property
    def topology(self) -> Schedule:
        """The schedule in force; another one is taken up at the node's next activation."""
        return self._net.topology

    @property
    def graph(self) -> Any:
        """The graph of this activation."""
        return self.topology[self._k]

    @property
    def _k(self) -> int:
        schedule = self._net.topology
        if schedule is not self._seen:
            self._seen, self._began = schedule, self.round
        k = self.round - self._began
        return k if schedule.period is None else k % schedule.period

    @property
    def segments(self) -> Sequence[int] | None:
        """How long the tensors are that lie one after the other in x."""
        return self._net.segments

    def norm(self, x: torch.Tensor, **options: Any) -> torch.Tensor:
        """The norm of its vector, as a column."""
        return self._net.norm(x, **options)

    def per_node(self, values: Any, like: torch.Tensor) -> torch.Tensor:
        """A number for all nodes, or n of them: its own, as a column."""
        at = self.nodes.start - self._net.nodes.start
        rows = like.expand(len(self._net.nodes), *like.shape[1:])
        return self._net.per_node(values, rows)[at : at + 1]

    def own_weight(self, x: torch.Tensor) -> torch.Tensor:
        """What it puts on its own value, as a column."""
        return torch.full((1, *[1] * (x.dim() - 1)), self.mailbox.own_weight, dtype=x.dtype, device=x.device)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or not hasattr(type(self._net), name):
            raise AttributeError(name)
        raise MethodError(
            f"net.{name} in an asynchronous method: it takes all nodes at the same time; a node alone has net.mailbox"
        )

    def __repr__(self) -> str:
        return f"<node {self.nodes.start} of {self.n}, {self.round} times active>"


class Mailbox:
    """What a node can do with mail while it is active."""

    def __init__(self, node: Node, mail: Mail) -> None:
        self._node, self._mail, self._i = node, mail, node.nodes.start
        self.receives_only = False
        """Whether nothing is sent any more: all that is shared out is kept. For the end, when what is under way is taken in."""
        self.waited = 0.0
        """How many simulated seconds this activation has waited for an answer."""

    @property
    def own_weight(self) -> float:
        """c_ii."""
        return self._mail.column(self._node)[0]

    def accumulate(self, *xs: torch.Tensor) -> Any:
        """Share out: c_ji of each x is added to what lies at each listener j; gives what is left.

        C is the W of this activation, and this is the node's column of it. What is left is what the others do not get, and not
        c_ii x, which differs by a rounding error: many activations would add those up.
        """
        if self.receives_only:
            return _one_or_all(xs)
        _, listeners, weights = self._mail.column(self._node)
        left = _flat(xs)
        shares = [weight * left for weight in weights]
        for share in shares:
            left = left - share
        self._send(_ACCUMULATE, listeners, shares, xs)
        return _one_or_all(_unflat(left, xs))

    def collect(self, *xs: torch.Tensor) -> Any:
        """Each x with all that has arrived added to it; the mailbox is empty then."""
        slots = self._mail.slots(self._i)
        total = _flat(xs)
        for sender in sorted(slots):
            total = total + slots[sender].to(total.device)
        slots.clear()
        return _one_or_all(_unflat(total, xs))

    def put(self, *xs: torch.Tensor) -> None:
        """Leave each x at all who listen, in place of what was left there before."""
        if not self.receives_only:
            _, listeners, _ = self._mail.column(self._node)
            self._send(_PUT, listeners, [_flat(xs)] * len(listeners), xs)

    def get(self, *xs: torch.Tensor) -> Any:
        """The average with what the neighbours have put last, by its row of W. Who has put nothing counts as oneself."""
        slots = self._mail.slots(self._i)
        own = _flat(xs)
        at, neighbours, weights = self._mail.row(self._node)
        total = at * own
        for sender, weight in zip(neighbours, weights, strict=True):
            total = total + weight * slots.get(sender, own).to(own.device)
        return _one_or_all(_unflat(total, xs))

    def average(self, plus: torch.Tensor) -> torch.Tensor:
        """The node's x and that of a random neighbour both become their mean; then ``plus`` is added to this one. Gives it.

        All in one instant, whatever other nodes do; the neighbour does not notice before it looks. Where x is, the driver has
        said: others may have averaged with it since.
        """
        node, mail = self._node, self._mail
        listeners = node.graph.out_neighbors(self._i).tolist()
        if self.receives_only or not listeners:
            return mail.add(self._i, plus)
        if mail.effects.sigma:
            raise ArgumentError(
                "noise(…) and an average of two, which is one act and no message: leave it out, or take lose(p)"
            )
        j = listeners[int(drawn(node.random.seed, _PARTNER, self._i, node.round)[0] * len(listeners))]
        size = message_size(plus)
        mail.note(self._i, j, size)
        mail.note(j, self._i, size)
        if mail.lost(self._i, j, node.round):
            return mail.add(self._i, plus)
        self.waited += mail.travel(self._i, j, node.round) + mail.travel(j, self._i, node.round)
        return mail.meet(self._i, j, plus)

    def _send(self, kind: str, listeners: Sequence[int], messages: Sequence[torch.Tensor], xs: Sequence[torch.Tensor]) -> None:
        mail, i, count = self._mail, self._i, self._node.round
        size = message_size(*xs)
        arriving = {}
        for j, message in zip(listeners, messages, strict=True):
            mail.note(i, j, size)
            if not mail.lost(i, j, count):
                arriving[j] = mail.disturbed(i, j, count, message)
        mail.send(kind, i, count, arriving)


class Mail:
    """All mail of the nodes hosted here. The mailboxes on ranks are `MailOnRanks`."""

    def __init__(self, net: Network, clock: Clock | None = None) -> None:
        self.net, self.clock, self.effects = net, clock, net.effects
        self.now = 0.0
        self.values: torch.Tensor | None = None
        """The x of the nodes hosted here, for `Mailbox.average`."""
        self._slots: dict[int, dict[int, torch.Tensor]] = {i: {} for i in net.nodes}
        self._flying: list[tuple[float, int, int, int, str, torch.Tensor]] = []
        """What is under way, the next to arrive first: when, the how manyeth, from whom, to whom, how, and what."""
        self._sent = 0
        self._columns: dict[tuple[Schedule, int, str], tuple[float, list[int], list[float]]] = {}

    # ------------------------------------------------------------------------------------------------------- weights
    def column(self, node: Node) -> tuple[float, list[int], list[float]]:
        """What the node keeps, who listens to it, and what each of them gets."""
        return self._weights(node, "column")

    def row(self, node: Node) -> tuple[float, list[int], list[float]]:
        """What the node puts on its own value, whom it listens to, and what it puts on theirs."""
        return self._weights(node, "row")

    def _weights(self, node: Node, side: str) -> tuple[float, list[int], list[float]]:
        i = node.nodes.start
        key = node.topology, node._k, f"{side} {i}"
        found = self._columns.get(key)
        if found is None:
            if len(self._columns) > _GRAPHS * len(self.net.nodes):
                self._columns.clear()
            graph = node.graph
            matrix = getattr(graph, "matrix", None)
            if matrix is None or matrix.shape[0] != node.n:
                raise TopologyError(f"{node.topology.label} has no weight for each edge: choose a topology such as ring")
            part = matrix[:, [i]].tocoo() if side == "column" else matrix[[i], :].tocoo()
            weights = dict(zip(part.coords[0 if side == "column" else 1].tolist(), part.data.tolist(), strict=True))
            own = weights.pop(i, 0.0)
            others = graph.out_neighbors(i) if side == "column" else graph.in_neighbors(i)
            found = self._columns[key] = own, others.tolist(), [weights.get(j, 0.0) for j in others.tolist()]
        return found

    # ------------------------------------------------------------------------------------------------- what goes wrong
    def lost(self, sender: int, receiver: int, count: int) -> bool:
        """Whether a message does not arrive."""
        return self.effects.lose and not self.effects.kept(count, np.array([sender]), np.array([receiver]))[0]

    def disturbed(self, sender: int, receiver: int, count: int, message: torch.Tensor) -> torch.Tensor:
        """The message as it arrives."""
        if not self.effects.sigma:
            return message
        noise = torch.from_numpy(self.effects.normal(sender, receiver, count, message.numel()))
        return message + noise.to(message.device, message.dtype)

    def travel(self, sender: int, receiver: int, count: int) -> float:
        """How many simulated seconds a message takes."""
        return 0.0 if self.clock is None else self.clock.travel(sender, receiver, count)

    def note(self, sender: int, receiver: int, size: float) -> None:
        """Count a message, at its sender; an answer from elsewhere, which asks nobody there, at this end."""
        self.net.count(1, size)
        self.net.traffic.note(sender if sender in self.net.nodes else receiver, sender, receiver, size)

    # ------------------------------------------------------------------------------------------------- sent and arrived
    def send(self, kind: str, sender: int, count: int, messages: Mapping[int, torch.Tensor]) -> None:
        """Let messages go, by receiver."""
        for receiver, message in messages.items():
            self._sent += 1
            arrival = self.now + self.travel(sender, receiver, count)
            heapq.heappush(self._flying, (arrival, self._sent, sender, receiver, kind, message))

    def slots(self, i: int) -> dict[int, torch.Tensor]:
        """What lies in a node's mailbox now, by sender."""
        self._arrive(self.now)
        return self._slots[i]

    def _arrive(self, until: float) -> None:
        while self._flying and self._flying[0][0] <= until:
            _, _, sender, receiver, kind, message = heapq.heappop(self._flying)
            self._lay(kind, sender, receiver, message)

    def _lay(self, kind: str, sender: int, receiver: int, message: torch.Tensor) -> None:
        slots = self._slots[receiver]
        slots[sender] = slots[sender] + message if kind == _ACCUMULATE and sender in slots else message

    def arrive_all(self) -> None:
        """Let all that is under way arrive now."""
        self._arrive(math.inf)

    def add(self, i: int, plus: torch.Tensor) -> torch.Tensor:
        """Add to a node's x, and give it."""
        values, at = self._values(), i - self.net.nodes.start
        values[at] += plus[0]
        return values[at : at + 1].clone()

    def meet(self, i: int, j: int, plus: torch.Tensor) -> torch.Tensor:
        """Average two nodes' x, and add to that of the first."""
        values = self._values()
        mean = (values[i] + values[j]) / 2
        values[i], values[j] = mean + plus[0], mean
        return values[i : i + 1].clone()

    def _values(self) -> torch.Tensor:
        if self.values is None:
            raise MethodError("mailbox.average: nobody has said where the nodes' x are; set net.mailbox.values = x")
        return self.values

    def close(self) -> None:
        """No more mail."""

    def __getattr__(self, name: str) -> Any:
        if hasattr(Mailbox, name):
            raise MethodError(
                f"net.mailbox.{name} with all nodes at once: an asynchronous method is called with one at a time, by "
                f"ifog.experiment.Asynchronous; a node's own mailbox is net.node(i).mailbox"
            )
        raise AttributeError(name)

    # -------------------------------------------------------------------------------------------------- saved, resumed
    def state(self) -> dict[str, Any]:
        """All mail: under way and in the slots."""
        flying = sorted(self._flying, key=lambda letter: letter[:2])
        lying = [(j, i, message) for j, slots in self._slots.items() for i, message in sorted(slots.items())]
        return {
            "now": self.now,
            "sent": self._sent,
            "flying": [(*letter[:5], letter[5].clone()) for letter in flying],
            "lying": [(j, i, message.clone()) for j, i, message in lying],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state`."""
        self.now, self._sent = state["now"], state["sent"]
        self._flying = [(*letter[:5], letter[5].clone()) for letter in state["flying"]]  # sorted, which is a heap
        self._slots = {i: {} for i in self.net.nodes}
        for j, i, message in state["lying"]:
            self._slots[j][i] = message.clone()


class MailOnRanks(Mail):
    """Mail in the buffers of a window; collective to make and to close.

    Each rank has a buffer for each rank it listens to, with a row for each edge between their nodes: first how many messages
    were added there, or −1 for what was put, then their numbers. The window's own value holds the x of the nodes hosted here,
    for `average`.
    """

    def __init__(self, net: Network, x: torch.Tensor, width: int) -> None:
        from .. import topology as t
        from ..comm import api
        from ..comm.windows import Window

        super().__init__(net)
        schedule = net.topology
        if schedule.period is None:
            raise TopologyError(
                f"{schedule.label} never repeats: on ranks mail needs to know all its edges; choose another one"
            )
        me, hosts = net.hosts.rank, net.hosts.size
        edges = np.unique(np.concatenate([schedule[k].edges for k in range(schedule.period)]), axis=0)
        self._host = np.searchsorted(net.bounds, np.arange(net.n), side="right") - 1
        between = np.zeros((hosts, hosts))
        self._row: dict[tuple[int, int], int] = {}
        """Of each edge between ranks that begins or ends here: which row is its."""
        self._edges_from: dict[int, list[tuple[int, int]]] = {}
        """Of each rank that is listened to: the edges, row by row."""
        for i, j in edges.tolist():
            a, b = self._host[i], self._host[j]
            if a != b:
                if me in (a, b):
                    self._row[i, j] = int(between[b, a])
                if me == b:
                    self._edges_from.setdefault(int(a), []).append((i, j))
                between[b, a] += 1
        most = max(int(between.max()), max(high - low for low, high in zip(net.bounds, net.bounds[1:], strict=False)))
        value = torch.zeros((most, 1 + width), dtype=x.dtype)
        value[: len(x), 1 : 1 + math.prod(x.shape[1:])] = x.detach().flatten(1).cpu()
        self._shape, self._kind = x.shape[1:], ""
        self._put: dict[int, torch.Tensor] = {}
        before = api.current_topology()
        api.set_topology(t.push((between > 0).astype(float), connected=False))  # the window's neighbours are those in force
        try:
            self._window: Window = Window(value)
        finally:
            api.set_topology(before)

    def send(self, kind: str, sender: int, count: int, messages: Mapping[int, torch.Tensor]) -> None:  # noqa: ARG002
        """Let messages go: when this returns, they are there."""
        began = time.perf_counter()
        self._only(kind)
        by_rank: dict[int, dict[int, torch.Tensor]] = {}
        for receiver, message in messages.items():
            rank = int(self._host[receiver])
            if rank == self.net.hosts.rank:
                self._lay(kind, sender, receiver, message)
            elif (sender, receiver) not in self._row:
                raise TopologyError(
                    f"{self.net.topology.label} has an edge from node {sender} to node {receiver}, which the topology had not "
                    f"when the mailboxes were made: on ranks, make the driver anew after a swap"
                )
            else:
                by_rank.setdefault(rank, {})[self._row[sender, receiver]] = message
        for rank, rows in by_rank.items():
            out = self._put.get(rank)
            if out is None:
                out = torch.zeros(self._window.shape, dtype=self._window.dtype)
            for row, message in rows.items():
                out[row, 0], out[row, 1 : 1 + message.numel()] = -1.0 if kind == _PUT else 1.0, message.cpu()
            if kind == _PUT:  # a put is of the whole buffer: with what was put on its other edges before
                self._put[rank] = out
                self._window.put(out, dst_weights={rank: 1.0})
            else:
                self._window.accumulate(out, dst_weights={rank: 1.0})
        self.net.took(began)

    def slots(self, i: int) -> dict[int, torch.Tensor]:
        """What lies in a node's mailbox now, by sender."""
        began = time.perf_counter()
        for rank, written in self._window.versions().items():
            if written:
                rows = self._window.update(0.0, {rank: 1.0}, reset=True)
                self._window.p = 1.0  # a weight travels inside the message; this one would only grow
                for row, (sender, receiver) in enumerate(self._edges_from[rank]):
                    if rows[row, 0]:
                        self._lay(_PUT if rows[row, 0] < 0 else _ACCUMULATE, sender, receiver, rows[row, 1:].clone())
        self.net.took(began)
        return self._slots[i]

    def arrive_all(self) -> None:
        """Wait until all ranks are here: what they sent is there."""
        from ..comm import api

        api.barrier()

    def add(self, i: int, plus: torch.Tensor) -> torch.Tensor:
        """Add to a node's x, and give it."""
        return self.meet(i, i, plus)

    def meet(self, i: int, j: int, plus: torch.Tensor) -> torch.Tensor:
        """Average two nodes' x, and add to that of the first."""
        began = time.perf_counter()
        self._only(_AVERAGE)
        mine, rank = i - self.net.nodes.start, int(self._host[j])
        more = torch.zeros(self._window.shape[1:], dtype=self._window.dtype)
        more[1 : 1 + plus.numel()] = plus.detach().flatten().cpu()
        row = self._window.average(rank, mine=mine, theirs=j - self.net.bounds[rank], plus=more)
        self.net.took(began)
        return row[1 : 1 + plus.numel()].view(1, *self._shape).to(plus.device)

    def _only(self, kind: str) -> None:
        if self._kind not in ("", kind):
            raise MethodError(f"mailbox.{kind} after mailbox.{self._kind}: on ranks a method keeps to one of them")
        self._kind = kind

    def close(self) -> None:
        """Give the memory back: a collective."""
        self._window.free()

    def state(self) -> dict[str, Any]:
        """Not here: what is under way between ranks cannot be seen from one of them."""
        raise MethodError("the state of mail on ranks: call finish() first, which takes in all mail, and save x and the memory")

    def restore(self, state: Mapping[str, Any]) -> None:  # noqa: ARG002
        """Not here either."""
        raise MethodError("a state is of a simulation, mail included: restore it in one")


def _flat(xs: Sequence[torch.Tensor]) -> torch.Tensor:
    return torch.cat([x.flatten() for x in xs])


def _unflat(flat: torch.Tensor, xs: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    parts = torch.split(flat[: sum(x.numel() for x in xs)], [x.numel() for x in xs])
    return tuple(part.view(x.shape) for part, x in zip(parts, xs, strict=True))


def _one_or_all(xs: tuple[torch.Tensor, ...]) -> Any:
    return xs[0] if len(xs) == 1 else xs
