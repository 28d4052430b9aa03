"""Messages along edges, for methods that send each neighbour something else, without a loop over neighbours.

A tensor of messages has a row for each edge that begins at a node hosted here (what is sent), or ends at one (what has come).
RelaySum, for example, is::

    out = edges.to_edges(x + edges.sum_in(m)) - edges.reverse(m)
    m = edges.exchange(out)
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import ArgumentError, TopologyError
from .random import drawn
from .rows import message_size

if TYPE_CHECKING:
    from .network import Network, Turn

Integers = NDArray[np.int64]


class Edges:
    """The edges of one iteration that touch the nodes hosted here."""

    def __init__(self, net: Network, turn: Turn) -> None:
        self._net, self._turn = net, turn
        self._drawn_in, self._draws = -1, 0  # noise that was drawn in a round
        low, high = net.nodes.start, net.nodes.stop
        pattern = turn.graph.pattern.tocoo()
        receivers, senders = (index.astype(np.int64) for index in pattern.coords)  # ascending receivers, then senders
        hosts = np.searchsorted(net.bounds, senders, side="right") - 1
        self._lengths = np.bincount(hosts, minlength=net.hosts.size)
        """How many edges begin at the nodes of each host."""
        leaving = np.lexsort((receivers, senders))
        place = np.empty(len(senders), np.int64)  # of each edge among those that begin at the same host
        place[leaving] = np.arange(len(senders)) - (np.cumsum(self._lengths) - self._lengths)[hosts[leaving]]

        arriving = (receivers >= low) & (receivers < high)
        self.receivers, self.senders = receivers[arriving], senders[arriving]
        """The ends of the edges along which messages come here."""
        self._from_host, self._from_place = hosts[arriving], place[arriving]
        mine = leaving[(senders[leaving] >= low) & (senders[leaving] < high)]
        self.origins, self.targets = senders[mine], receivers[mine]
        """The ends of the edges along which messages go from here."""

    def to_edges(self, x: torch.Tensor) -> torch.Tensor:
        """What each node has, on each edge that begins there."""
        return x[_index(self.origins - self._net.nodes.start, x)]

    def sum_in(self, messages: torch.Tensor) -> torch.Tensor:
        """For each node, the sum of what came to it; ascending senders."""
        total = torch.zeros((len(self._net.nodes), *messages.shape[1:]), dtype=messages.dtype, device=messages.device)
        return total.index_add_(0, _index(self.receivers - self._net.nodes.start, messages), messages)

    def reverse(self, messages: torch.Tensor) -> torch.Tensor:
        """For each edge that begins here, what came along the edge that leads back."""
        return messages[_index(self._back, messages)]

    def empty(self, x: torch.Tensor) -> torch.Tensor:
        """Zeros, as if that had come: of the shape of what the nodes have."""
        return torch.zeros((len(self.senders), *x.shape[1:]), dtype=x.dtype, device=x.device)

    def exchange(self, *messages: torch.Tensor) -> Any:
        """Send a message along each edge that begins here; what has come along those that end here.

        Several tensors travel as one message.
        """

        def use(slices: dict[int, list[torch.Tensor]]) -> Any:
            if len(slices) == 1:
                ((host, sent),) = slices.items()
                place = _index(self._from_place, sent[0])
                came = [values.index_select(0, place) for values in sent]
                return came[0] if len(came) == 1 else tuple(came)
            came = [torch.empty((len(self.senders), *m.shape[1:]), dtype=m.dtype, device=m.device) for m in messages]
            for host, sent in slices.items():
                chosen = np.flatnonzero(self._from_host == host)
                for out, values in zip(came, sent, strict=True):
                    out[_index(chosen, out)] = values[_index(self._from_place[chosen], out)]
            return came[0] if len(came) == 1 else tuple(came)

        net, turn = self._net, self._turn
        for m in messages:
            if len(m) != len(self.origins):
                raise ArgumentError(
                    f"a message has the shape {tuple(m.shape)}: its first axis is over the {len(self.origins)} edges that "
                    f"begin here; make it with to_edges(x)"
                )
        net.count(len(self.origins), message_size(*messages))
        net.traffic.note_round(turn, message_size(*messages))
        came = net.visit(list(messages), turn, use, f"edges of {turn.said}", self._lengths.tolist()).wait()
        return self._through(came) if net.effects else came

    def _through(self, came: Any) -> Any:
        """What is left of messages on their way: a row of zeros for each that was lost, and noise."""
        net = self._net
        parts = came if isinstance(came, tuple) else (came,)
        kept = torch.from_numpy(net.effects.kept(net.round, self.senders, self.receivers))
        left = []
        for part in parts:
            arrived = kept.to(part.device).view(-1, *[1] * (part.dim() - 1))
            if net.effects.sigma:
                part = part + net.effects.sigma * self._normal(part)
            left.append(torch.where(arrived, part, torch.zeros_like(part)))
        return tuple(left) if isinstance(came, tuple) else left[0]

    def _normal(self, like: torch.Tensor) -> torch.Tensor:
        """Standard normal numbers, for each edge its own, wherever it is looked at."""
        net, width = self._net, like[0].numel() if len(like) else 0
        self._draws = self._draws + 1 if self._drawn_in == net.round else 0
        self._drawn_in = net.round
        edge, place = (self.senders * net.n + self.receivers)[:, None], np.arange(width)[None, :]
        u, v = (drawn(net.effects.seed, 14 + k, net.round, self._draws, edge, place) for k in range(2))
        normal = np.sqrt(-2 * np.log1p(-u)) * np.cos(2 * np.pi * v)
        return torch.from_numpy(normal).view(like.shape).to(like.device, like.dtype)

    @cached_property
    def _back(self) -> Integers:
        came = {edge: at for at, edge in enumerate(zip(self.receivers.tolist(), self.senders.tolist(), strict=True))}
        try:
            return np.array([came[edge] for edge in zip(self.origins.tolist(), self.targets.tolist(), strict=True)], np.int64)
        except KeyError as error:
            i, j = error.args[0]
            raise TopologyError(
                f"{self._net.topology.label}: an edge leads from node {i} to node {j} and none back; choose an undirected graph"
            ) from None


def _index(where: Integers, like: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(where)).to(like.device)
