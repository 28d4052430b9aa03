"""A method on a problem, one iteration at a time: what is driven, whoever drives it."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import torch

from ..algorithms import Memory, Method
from ..errors import ProblemError
from ..network import Network
from ..network.clock import Clock
from ..problems import Problem
from .asynchronous import Asynchronous
from .lr_schedule import Factor

_FRESH = 0x5851F42D4C957F2D  # seeds of the further batches within one iteration lie this far apart


class _Task:
    """What is to be done: a method on a problem, over a network, with these mini-batches."""

    def __init__(self, method: Method, problem: Problem, net: Network, *, batch: int | None, seed: int) -> None:
        self.method, self.problem, self.net = method, problem, net
        self.batch, self.seed = batch, seed
        self.exact = batch is None and problem.gradient_noise == 0
        self.seconds = 0.0
        """In the method, its gradients and its talking."""


class Steps(_Task):
    """The iterates and the memory of the nodes hosted here, and what carries them on."""

    def __init__(
        self,
        method: Method,
        problem: Problem,
        net: Network,
        *,
        x: torch.Tensor,
        parameters: dict[str, Any],
        clock: Clock | None = None,
        lr_schedule: Factor | None = None,
        **batches: Any,
    ) -> None:
        super().__init__(method, problem, net, **batches)
        self.parameters, self.clock, self.lr_schedule = parameters, clock, lr_schedule
        self.x = x
        self.s = method.start(net, x, **parameters)
        self.gradient: torch.Tensor | None = None
        """The exact gradients at the last iterates, if the method has asked for them."""

    def step(self) -> None:
        """One iteration."""
        began = time.perf_counter()
        net, x = self.net, self.x
        draws = 0
        batch = self._batch(0)
        self.gradient = None

        def grad(z: torch.Tensor | None = None, *, fresh: bool = False) -> torch.Tensor:
            nonlocal draws, batch
            if fresh:
                draws += 1
                batch = self._batch(draws)
            g = self.problem.gradient(x if z is None else z, net.nodes, batch)
            if g.shape != x.shape:
                raise ProblemError(
                    f"the gradient of {self.problem.label} has the shape {tuple(g.shape)}, and x {tuple(x.shape)}: they must "
                    "be the same, a row for each node"
                )
            if batch is None and (z is None or z is x):
                self.gradient = g
            return g

        before, sent = dict(self.s.__dict__), net.state()
        try:
            self.x = self.method(net, x, grad, self.s, **self._now())
        except BaseException:  # an interrupted iteration has not been: it can be made again
            self.s = Memory(before)
            net.restore(sent)
            net.random.again()
            raise
        if self.clock is not None:
            self.clock.iteration(net.met)
        net.advance()
        self.seconds += time.perf_counter() - began

    @property
    def time(self) -> float:
        """Seconds of the simulated clock, by which all nodes are here; NaN without one."""
        return math.nan if self.clock is None else self.clock.now

    @property
    def lr(self) -> float:
        """The step size in force, where it has a schedule; else NaN."""
        return math.nan if self.lr_schedule is None else self._now()["lr"]

    def _now(self) -> dict[str, Any]:
        """The parameters of this iteration."""
        if self.lr_schedule is None:
            return self.parameters
        return {**self.parameters, "lr": self.parameters["lr"] * float(self.lr_schedule(self.net.round))}

    def swap(self, topology: Any) -> None:
        """Go on with another topology."""
        self.net.topology = topology
        self.method.swapped(self.net, self.x, self.s, **self.parameters)

    def _batch(self, draw: int) -> Any:
        if self.exact:
            return None
        seed = (self.seed + draw * _FRESH) % 2**64
        return self.problem.batch(self.net.nodes, self.net.round, self.batch, seed)

    # ------------------------------------------------------------------------------------------------- kept and taken up
    def state(self) -> dict[str, Any]:
        """What it takes to go on from here, of the nodes hosted here."""
        clock = {} if self.clock is None else self.clock.state()
        return {"x": self.x, "memory": {name: self.s[name] for name in self.s}, "net": self.net.state(), "clock": clock}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.x, self.s = state["x"], Memory(state["memory"])
        self.net.restore(state["net"])
        if self.clock is not None and state["clock"]:
            self.clock.restore(state["clock"])


class Activations(_Task):
    """The same for an asynchronous method: a step is as many activations as nodes are hosted here."""

    gradient = None
    """Its gradients are not all at the same iterates."""
    lr_schedule = None
    lr = math.nan

    def __init__(
        self,
        method: Method,
        problem: Problem,
        net: Network,
        *,
        x: torch.Tensor,
        parameters: dict[str, Any],
        clock: Mapping[str, Any],
        **batches: Any,
    ) -> None:
        super().__init__(method, problem, net, **batches)
        self.broken = False
        """Whether it was interrupted in an activation: some mail may have been taken out, and not taken in."""
        self._run = Asynchronous(net, method, self._gradient, x, parameters, **clock)

    def _gradient(self, x: torch.Tensor, nodes: range, activation: int) -> torch.Tensor:
        batch = None if self.exact else self.problem.batch(nodes, activation, self.batch, self.seed)
        return self.problem.gradient(x, nodes, batch)

    @property
    def parameters(self) -> dict[str, Any]:
        """Of the method."""
        return self._run.parameters

    @parameters.setter
    def parameters(self, parameters: dict[str, Any]) -> None:
        self._run.parameters = parameters

    @property
    def x(self) -> torch.Tensor:
        """The iterates of the nodes hosted here."""
        return self._run.x

    @property
    def s(self) -> Memory:
        """The memory of the method."""
        return self._run.s

    @property
    def time(self) -> float:
        """Seconds of the simulated clock; on ranks NaN."""
        return math.nan if self._run.clock is None else self._run.time

    def step(self) -> None:
        """So many activations."""
        began = time.perf_counter()
        try:
            self._run.step()
        except BaseException:
            self.broken = True
            raise
        self.seconds += time.perf_counter() - began

    def finish(self) -> None:
        """Take in all mail, and give back what it needs."""
        self._run.finish()
        self._run.close()

    def swap(self, topology: Any) -> None:
        """Go on with another topology: each node from its next activation on."""
        self.net.topology = topology

    def state(self) -> dict[str, Any]:
        """What it takes to go on from here."""
        state = self._run.state()
        return {"x": state.pop("x"), "memory": state.pop("s"), **state}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self._run.restore({**state, "s": state["memory"]})


Stepper = Steps | Activations
