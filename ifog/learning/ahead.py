"""Talking before the gradient is there: what a method says before it asks for it is said while the model is computed.

A method is a function, and cannot be stopped in its middle to wait for the user's ``loss.backward()``. But it always does the
same: so it is *rehearsed* when the model is called, up to where it asks for the gradient. What it says until then is on its way
from that moment, and where it asks for the gradient elsewhere, as `ifog.algorithms.cta` does, the model is taken there. In the
step it is called in earnest: what it says is not said again, and what it hears is what has come meanwhile.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch

from ..network import Network
from ..network.hosts import Hosts, Pending

T = TypeVar("T")


class Asked(BaseException):
    """A rehearsed method asks for the gradient at z. It is no error, and no method shall catch it."""

    def __init__(self, z: torch.Tensor | None) -> None:
        self.z = z


class Script:
    """Hosts that keep what was said in a rehearsal, and answer with it when it is said again."""

    def __init__(self, hosts: Hosts) -> None:
        self.hosts, self.rank, self.size = hosts, hosts.rank, hosts.size
        self._kept: deque[Any] | None = None
        self._known: deque[Any] = deque()

    def record(self, kept: deque[Any] | None) -> None:
        """Keep what is said from now on."""
        self._kept = kept

    def play(self, known: deque[Any]) -> None:
        """Answer with this first."""
        self._known = known

    def visit(
        self,
        values: list[torch.Tensor],
        sources: Sequence[int],
        dests: Sequence[int],
        use: Callable[[dict[int, list[torch.Tensor]]], T],
        said: object,
        lengths: Sequence[int],
    ) -> Pending[T]:
        """Let ``use`` read what the sources have."""
        answer: Pending[T] = self._said(lambda: self.hosts.visit(values, sources, dests, use, said, lengths))
        return answer

    def total(self, x: torch.Tensor) -> torch.Tensor:
        """The sum over all hosts."""
        answer: torch.Tensor = self._said(lambda: self.hosts.total(x))
        return answer

    def _said(self, say: Callable[[], Any]) -> Any:
        if self._known:
            return self._known.popleft()
        answer = say()
        if self._kept is not None:
            self._kept.append(answer)
        return answer


class Rehearsal:
    """How far a method comes before it asks for the gradient, what it has said until then, and where it asks for it."""

    def __init__(self, net: Network, script: Script, call: Callable[[Callable[..., torch.Tensor]], Any]) -> None:
        self.said: deque[Any] = deque()
        self.z: torch.Tensor | None = None
        counted, traffic = net.state(), net.traffic.state()
        script.record(self.said)
        try:
            call(self._ask)
        except Asked as question:
            self.z = question.z
        finally:
            script.record(None)
            net.random.again()
            net.restore(counted)
            net.traffic.restore(traffic)

    @staticmethod
    def _ask(z: torch.Tensor | None = None, *, fresh: bool = False) -> torch.Tensor:  # noqa: ARG004
        raise Asked(z)

    def settle(self) -> None:
        """Wait for all that is on its way: the neighbours have read what was said."""
        for answer in self.said:
            if not isinstance(answer, torch.Tensor):
                answer.wait()
