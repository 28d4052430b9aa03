"""What is recorded of the iterates: measured some iterations later and many at once, so that the loop is hardly held up.

A method makes new tensors in every iteration, so what is to be recorded can be set aside without a copy. At every beat the
tensors set aside since the last one are measured together; on ranks their sums travel until the next beat.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from typing import Any, NamedTuple

import torch

from .crew import Crew
from .history import Rows
from .live import Stopwatch
from .steps import Stepper

_AT_ONCE = 1 << 14  # numbers that are measured in one go: they and what is made of them stay in the cache
_MANY = 8  # so many snapshots are worth measuring at once

Sums = Generator[torch.Tensor, torch.Tensor, Rows]
"""Yields what is to be summed over all ranks, is sent the sum, and in the end returns rows."""


class Travelling:
    """Sums that are under way between the ranks, and the rows that come of them."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self._under_way: deque[tuple[Sums, torch.Tensor, Any]] = deque()  # with what this rank has given to the sum

    def begin(self, sums: Sums, name: str | None = None) -> None:
        """Send the first sum."""
        mine = next(sums)
        self._under_way.append((sums, mine, self._crew.start_sum(mine, name)))

    def beat(self, *, to_the_end: bool = False) -> list[Rows]:
        """Take up what has arrived, and send on; the rows that are complete."""
        rows: list[Rows] = []
        to_the_end = to_the_end or self._crew.size == 1
        for _ in range(len(self._under_way)):
            sums, mine, total = self._under_way.popleft()
            try:
                while True:
                    mine = sums.send(total.wait())
                    total = self._crew.start_sum(mine)
                    if not to_the_end:
                        self._under_way.append((sums, mine, total))
                        break
            except StopIteration as end:
                rows.append(end.value)
        return rows

    def left(self) -> tuple[list[Rows], list[Rows]]:
        """The rows of single sums that are there, and of those that nobody may wait for: as if all had what this rank has."""
        there, alone = [], []
        for sums, mine, total in self._under_way:
            if total.done:
                there.append(_last(sums, total.wait()))
            else:
                alone.append(_last(sums, mine * self._crew.size))
        self._under_way.clear()
        return there, alone


def _last(sums: Sums, total: torch.Tensor) -> Rows:
    """The rows, once the last sum is known."""
    try:
        sums.send(total)
    except StopIteration as end:
        rows: Rows = end.value
        return rows
    raise AssertionError("another sum was to follow")


class _Snapshot(NamedTuple):
    iteration: int
    x: torch.Tensor
    counters: list[float]  # messages, bytes, compute, wait, copy: of this rank
    seconds: float
    simulated: float


class Records:
    """Of one run, the iterates that are to be recorded."""

    def __init__(
        self, steps: Stepper, crew: Crew, watch: Stopwatch, waited: float, *, last: float = -1, at_the_end: bool = False
    ) -> None:
        self._steps, self._crew, self._watch = steps, crew, watch
        self._at_the_end, self._last = at_the_end, last
        self._kept: list[_Snapshot] = []
        self._stacks = True
        self._gradients: list[torch.Tensor | None] = []
        self._travelling = Travelling(crew)
        self._waited = waited
        self._numbers = steps.net.n * steps.problem.d
        optimum = steps.problem._best.optimum
        self._optimum = None if optimum is None else optimum.to(steps.x.device, torch.float64)

    @property
    def full(self) -> bool:
        """Whether so much is set aside that it should be measured; the same on every rank."""
        return not self._at_the_end and len(self._kept) * self._numbers >= _AT_ONCE

    def take(self, iteration: int) -> bool:
        """Set the iterates aside, unless that was done; their gradients follow, once the method has asked for them."""
        if iteration == self._last:
            return False
        self._last = iteration
        steps, net = self._steps, self._steps.net
        wait = self._crew.waited() - self._waited
        counters = [net.messages, net.bytes, steps.seconds - net.seconds, wait, max(0.0, net.seconds - wait)]
        self._kept.append(_Snapshot(iteration, steps.x, counters, self._watch(), steps.time))
        self._gradients.append(None)
        return True

    def forget(self) -> None:
        """The iteration after the snapshot has failed: what failed there would fail again when it is measured."""
        self._kept.pop()
        self._gradients.pop()

    def take_gradient(self) -> None:
        """The iteration after the snapshot is over."""
        self._gradients[-1] = self._steps.gradient

    def left(self) -> list[Rows]:
        """The rows of a run that has ended in the middle of an iteration; on ranks, none without the others."""
        return self.beat(to_the_end=True) if self._crew.size == 1 else []

    def beat(self, *, to_the_end: bool = False) -> list[Rows]:
        """Measure what was set aside; the rows that are complete."""
        if self._at_the_end and not to_the_end:
            return []
        rows = self._travelling.beat(to_the_end=to_the_end)
        if self._kept:
            kept, gradients = self._kept, self._gradients
            self._kept, self._gradients = [], []
            share = max(1, _AT_ONCE // max(1, self._steps.x.numel()))
            for i in range(0, len(kept), share):
                self._travelling.begin(self._measured(kept[i : i + share], gradients[i : i + share]))
            if to_the_end or self._crew.size == 1:
                rows += self._travelling.beat(to_the_end=True)
        return rows

    def _measured(self, kept: list[_Snapshot], gradients: list[torch.Tensor | None]) -> Sums:
        """The rows of some snapshots, in two sums: the means first, for the distances to them."""
        problem, nodes, n = self._steps.problem, self._steps.net.nodes, self._steps.net.n
        xs = _stacked([shot.x for shot in kept])
        known = [problem.gradient(shot.x, nodes) if g is None else g for shot, g in zip(kept, gradients, strict=True)]
        here = torch.cat([xs.sum(1, dtype=torch.float64), _stacked(known).sum(1, dtype=torch.float64)], 1)
        mean, g = ((yield here) / n).chunk(2, 1)

        values = {"error": self._far_from(self._optimum, xs), "disagreement": _squares(xs - mean[:, None].to(xs.dtype))}
        values["loss"], more = self._of_the_problem(xs, mean)
        values |= more
        own = torch.tensor([shot.counters for shot in kept], dtype=torch.float64).T
        own[2:] /= self._crew.size
        values |= dict(zip(("messages", "bytes", "compute", "wait", "copy"), own, strict=True))
        sums = dict(zip(values, (yield torch.stack([value.cpu() for value in values.values()])), strict=True))

        rows = {
            "iteration": torch.tensor([shot.iteration for shot in kept], dtype=torch.float64),
            "error": (sums.pop("error") / n).sqrt(),
            "error_of_mean": torch.full((len(kept),), torch.nan, dtype=torch.float64)
            if self._optimum is None
            else (mean - self._optimum).norm(dim=1),
            "disagreement": (sums.pop("disagreement") / n).sqrt(),
            "loss": sums.pop("loss") / n,
            "gradient_norm": g.norm(dim=1),
            "size": mean.norm(dim=1),
            "seconds": torch.tensor([shot.seconds for shot in kept], dtype=torch.float64),
            "simulated": torch.tensor([shot.simulated for shot in kept], dtype=torch.float64),
            **{name: sums.pop(name) / n for name in more},
            **sums,
        }
        return {name: values.tolist() for name, values in rows.items()}

    def _far_from(self, optimum: torch.Tensor | None, xs: torch.Tensor) -> torch.Tensor:
        """Σ_i ‖x_i − x*‖² of each of a stack."""
        return (
            torch.full((len(xs),), torch.nan, dtype=torch.float64) if optimum is None else _squares(xs - optimum.to(xs.dtype))
        )

    def _of_the_problem(self, xs: torch.Tensor, means: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Σ_i f_i(x̄) of each of a stack, and what else the problem measures."""
        problem, nodes = self._steps.problem, self._steps.net.nodes
        nothing = torch.tensor(torch.nan, dtype=torch.float64)

        def measured(x: torch.Tensor, mean: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
            more = {name: value.double().mean() * len(nodes) for name, value in problem.metrics(x, nodes).items()}
            if not problem.knows_loss:
                return nothing, more
            return problem.loss(mean.to(x.dtype).expand_as(x), nodes).sum(dtype=torch.float64), more

        if len(xs) >= _MANY and self._stacks:
            try:
                found: tuple[torch.Tensor, dict[str, torch.Tensor]] = torch.func.vmap(measured)(xs, means)
                return found
            except (RuntimeError, TypeError, ValueError):
                # a problem of somebody's own, with something in it that only works on plain tensors
                self._stacks = False
        losses, more = zip(*map(measured, xs, means), strict=True)
        return torch.stack(losses), {name: torch.stack([each[name] for each in more]) for name in more[0]}


def _stacked(xs: list[torch.Tensor]) -> torch.Tensor:
    return xs[0][None] if len(xs) == 1 else torch.stack(xs)


def _squares(x: torch.Tensor) -> torch.Tensor:
    """‖x_i‖², summed over the nodes, of each of a stack."""
    norms: torch.Tensor = torch.linalg.vector_norm(x.flatten(1), dim=1, dtype=torch.float64)
    return norms.square()
