"""Driving an asynchronous method: one call of it is one activation of one node, and nobody waits for anybody.

Simulated, the nodes are activated in the order of a `Clock`, each at its own speed; on MPI ranks each rank activates the nodes
that it hosts, one after the other, as fast as it can::

    net = Network(topology.push(graph))
    run = Asynchronous(net, "async_gradient_push", gradient, x, {"lr": 0.01}, speeds={0: 0.1}, delay=0.5)
    while run.time < 100:
        run.step()      # as many activations as there are nodes
    run.finish()        # all mail that is under way is taken in
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

from ..algorithms import Memory, Method, find
from ..errors import ArgumentError, MethodError
from ..network import Network
from ..network.clock import Clock
from ..network.hosts import Here
from ..network.mailbox import Mail, MailOnRanks

Gradients = Callable[[torch.Tensor, range, int], torch.Tensor]
"""Of x, a row for each of the nodes, at their activation of this number: their gradients there."""


class Asynchronous:
    """An asynchronous method under way. On ranks, to make, `finish` and `close` it are collectives; `step` is not.

    ``compute``, ``speeds`` and ``delay`` are those of a `Clock`, for simulation; on ranks time is what it is.
    """

    def __init__(
        self,
        net: Network,
        method: Method | str,
        gradient: Gradients,
        x: torch.Tensor,
        parameters: Mapping[str, Any] | None = None,
        **clock: Any,
    ) -> None:
        self.net, self.method, self.gradient = net, find(method), gradient
        if not self.method.asynchronous:
            raise MethodError(
                f"{self.method.name} mixes in rounds, in which all nodes take part: take an asynchronous method, such as "
                f"async_gradient_push"
            )
        unknown = set(clock) - {"compute", "speeds", "delay"}
        if unknown:
            raise ArgumentError(f"{min(unknown)}=…: the clock has compute, speeds and delay")
        if not isinstance(x, torch.Tensor) or x.dim() == 0 or len(x) != len(net.nodes) or not x.is_floating_point():
            came = f"{x.dtype} of the shape {tuple(x.shape)}" if isinstance(x, torch.Tensor) else type(x).__name__
            raise ArgumentError(f"x is {came}: it must be floats, a row for each of the {len(net.nodes)} nodes hosted here")
        self.parameters: dict[str, Any] = self.method.check(net, **(parameters or {}))
        self.x = x.clone()
        """The iterates of the nodes hosted here; another tensor after each step."""
        self.s = self.method.start(net, self.x, **self.parameters)
        """The memory of the method."""
        for name in self.s:
            if len(self.s[name]) != len(net.nodes):
                raise MethodError(f"{self.method.name}: its memory {name} has no row for each node, as an activation needs it")
        self.round = 0
        """How many steps have been made."""
        self.clock: Clock | None = None
        self.mail: Mail
        if isinstance(net.hosts, Here):
            self.clock = Clock(net.n, seed=net.random.seed, **clock)
            self.clock.start()
            self.mail = Mail(net, self.clock)
        else:
            if clock:
                raise ArgumentError(
                    f"{min(clock)}=…: on ranks each is as fast as it is; simulate it for a clock of your choice"
                )
            self.mail = MailOnRanks(net, self.x, self._width())
        net.mailbox = self.mail
        self._nodes = [net.node(i) for i in net.nodes]
        self._began = time.perf_counter()

    def _width(self) -> int:
        """How many numbers a message has."""
        parts = [self.x if name == "x" else self.s[name] for name in self.method.mail]
        return sum(part[0].numel() for part in parts)

    @property
    def time(self) -> float:
        """Seconds since the beginning: simulated, or on ranks real ones."""
        return time.perf_counter() - self._began if self.clock is None else self.mail.now

    def step(self) -> None:
        """As many activations as nodes are hosted here: in a simulation of whoever is ready, on ranks of each of them."""
        self._renew()
        for i in self.net.nodes:
            if self.clock is None:
                self._activate(i)
                continue
            self.mail.now, i = self.clock.next()
            self._activate(i)
            self.clock.go_on(self._nodes[i].mailbox.waited)
        self.round += 1

    def finish(self) -> None:
        """Take in all mail: each node is active once more, without a gradient, and sends nothing."""
        self.mail.arrive_all()
        self._renew()
        for i in self.net.nodes:
            self._activate(i, last=True)
        self.mail.arrive_all()  # on ranks: nobody sends again before all have taken in what there was

    def close(self) -> None:
        """Give back what the mail needs; on ranks a collective."""
        self.mail.close()

    def _activate(self, i: int, *, last: bool = False) -> None:
        at = i - self.net.nodes.start
        node = self._nodes[at]
        node.mailbox.receives_only, node.mailbox.waited = last, 0.0
        x, s = self.x[at : at + 1], Memory({name: self.s[name][at : at + 1] for name in self.s})

        def grad(z: torch.Tensor | None = None, *, fresh: bool = False) -> torch.Tensor:
            if fresh:
                raise MethodError(f"{self.method.name} asks for a fresh gradient: an activation has one mini-batch")
            z = x if z is None else z
            return torch.zeros_like(z) if last else self.gradient(z, node.nodes, node.round)

        new = self.method(node, x, grad, s, **self.parameters)
        self.x[at] = new[0]
        for name in s:
            self.s[name][at] = s[name][0]
        if not last:
            node.round += 1

    def _renew(self) -> None:
        """What others hold is not written to any more."""
        self.x = self.mail.values = self.x.clone()
        self.s = Memory({name: self.s[name].clone() for name in self.s})

    # -------------------------------------------------------------------------------------------------- saved, resumed
    def state(self) -> dict[str, Any]:
        """All that is needed to go on: iterates, memory, mail under way, clock and counts. Of a simulation."""
        return {
            "mail": self.mail.state(),
            "clock": {} if self.clock is None else self.clock.state(),
            "x": self.x.clone(),
            "s": {name: self.s[name].clone() for name in self.s},
            "round": self.round,
            "rounds": [(node.round, node._began) for node in self._nodes],
            "net": self.net.state(),
            "traffic": self.net.traffic.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state`, bit for bit as the run it was taken from."""
        if state["x"].shape != self.x.shape or set(state["s"]) != set(self.s):
            raise ArgumentError(
                f"state has x of the shape {tuple(state['x'].shape)} and memory {', '.join(state['s']) or 'none'}; this run "
                f"has {tuple(self.x.shape)} and {', '.join(self.s) or 'none'}: restore it in a run made like the one it is from"
            )
        self.mail.restore(state["mail"])
        if self.clock is not None:
            self.clock.restore(state["clock"])
        self.x = state["x"].clone()
        self.s = Memory({name: part.clone() for name, part in state["s"].items()})
        self.round = state["round"]
        for node, (active, began) in zip(self._nodes, state["rounds"], strict=True):
            node.round, node._began = active, began
        self.net.restore(state["net"])
        self.net.traffic.restore(state["traffic"])
