"""Who has sent how much: for each node hosted here, and for each edge if that is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .network import Turn

_ROUNDS = 64  # rounds that differ, whose messages are only added up when somebody looks


class Sent(NamedTuple):
    """How much was sent along an edge."""

    messages: int
    bytes: float


class Traffic:
    """Messages and bytes that the nodes hosted here have sent.

    Per edge it takes memory for every edge that was ever used, which on random graphs are many: so only with ``per_edge=True``.
    """

    def __init__(self, nodes: range, *, per_edge: bool) -> None:
        self._nodes, self.per_edge = nodes, per_edge
        self._messages: NDArray[np.int64] = np.zeros(len(nodes), np.int64)
        self._bytes: NDArray[np.float64] = np.zeros(len(nodes))
        self._edges: dict[tuple[int, int], Sent] = {}
        self._rounds: list[Turn] = []

    @property
    def messages(self) -> NDArray[np.int64]:
        """Of each node hosted here."""
        self._add_up()
        return self._messages.copy()

    @property
    def bytes(self) -> NDArray[np.float64]:
        """Of each node hosted here."""
        self._add_up()
        return self._bytes.copy()

    @property
    def edges(self) -> dict[tuple[int, int], Sent]:
        """By (sender, receiver); empty unless the network was made with ``per_edge=True``."""
        self._add_up()
        return dict(self._edges)

    def note_round(self, turn: Turn, size: float) -> None:
        """A message of this size on each edge of a round."""
        if not turn.used:
            if len(self._rounds) >= _ROUNDS:
                self._add_up()
            self._rounds.append(turn)
        turn.used += 1
        turn.used_bytes += size

    def note_all(self, messages: int, size: float) -> None:
        """As many messages from each node, to nobody in particular."""
        self._messages += messages
        self._bytes += messages * size

    def note(self, node: int, sender: int, receiver: int, size: float) -> None:
        """One message, at the expense of a node."""
        at = node - self._nodes.start
        self._messages[at] += 1
        self._bytes[at] += size
        if self.per_edge:
            self._add(sender, receiver, Sent(1, size))

    def state(self) -> dict[str, Any]:
        """All that was counted."""
        messages, size = torch.from_numpy(self.messages), torch.from_numpy(self.bytes)
        return {"messages": messages, "bytes": size, "edges": {edge: tuple(sent) for edge, sent in self.edges.items()}}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state`."""
        self._add_up()
        self._messages, self._bytes = state["messages"].numpy().copy(), state["bytes"].numpy().copy()
        self._edges = {edge: Sent(*sent) for edge, sent in state["edges"].items()}

    def _add_up(self) -> None:
        for turn in self._rounds:
            self._messages += turn.degrees * turn.used
            self._bytes += turn.degrees * turn.used_bytes
            if self.per_edge:
                for sender, receiver in zip(*(ends.tolist() for ends in turn.sent), strict=True):
                    self._add(sender, receiver, Sent(turn.used, turn.used_bytes))
            turn.used, turn.used_bytes = 0, 0.0
        self._rounds.clear()

    def _add(self, sender: int, receiver: int, more: Sent) -> None:
        before = self._edges.get((sender, receiver), Sent(0, 0.0))
        self._edges[sender, receiver] = Sent(before.messages + more.messages, before.bytes + more.bytes)
