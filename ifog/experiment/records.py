"""What is recorded of the iterates: measured some iterations later and many at once, so that the loop is hardly held up.

A method makes new tensors in every iteration, so what is to be recorded can be set aside without a copy. Once that is much, the
means and the distances to them are formed, and the iterates let go. At every beat all means meet the problem together, and rows
are made; on ranks the sums travel until the next beat.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Generator
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

import torch

from .crew import Crew
from .history import Rows
from .live import Stopwatch
from .nodes import Nodes, measured
from .nodes import nodes as by_name
from .steps import Stepper

_SQUARED = " squared"  # of a metric that each node has: for its spread over the nodes
_AT_ONCE = 1 << 14  # numbers that are measured in one go: they and what is made of them stay in the cache

T = TypeVar("T")
Sums: TypeAlias = Generator[torch.Tensor, torch.Tensor, T]
"""Yields what is to be summed over all ranks, is sent the sum, and in the end returns what came of it."""


class Travelling(Generic[T]):
    """Sums that are under way between the ranks, and what comes of them."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self._under_way: deque[tuple[Sums[T], torch.Tensor, Any]] = deque()  # with what this rank has given to the sum

    def begin(self, sums: Sums[T], name: str | None = None) -> None:
        """Send the first sum."""
        mine = next(sums)
        self._under_way.append((sums, mine, self._crew.start_sum(mine, name)))

    def beat(self, *, to_the_end: bool = False) -> list[T]:
        """Take up what has arrived, and send on; what is complete."""
        found: list[T] = []
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
                found.append(end.value)
        return found

    def left(self) -> tuple[list[T], list[T]]:
        """What comes of single sums that are there, and of those that nobody may wait for: as if all had what this rank has."""
        there, alone = [], []
        for sums, mine, total in self._under_way:
            if total.done:
                there.append(_last(sums, total.wait()))
            else:
                alone.append(_last(sums, mine * self._crew.size))
        self._under_way.clear()
        return there, alone


def _last(sums: Sums[T], total: torch.Tensor) -> T:
    """What comes of it, once the last sum is known."""
    try:
        sums.send(total)
    except StopIteration as end:
        found: T = end.value
        return found
    raise AssertionError("another sum was to follow")


class _Snapshot(NamedTuple):
    """An iterate that was set aside, and what was counted by then on this rank: messages, bytes, compute, wait, copy."""

    iteration: int
    x: torch.Tensor
    counters: list[float]
    seconds: float
    simulated: float
    lr: float


class _Condensed(NamedTuple):
    """What is kept of some snapshots: of those columns that are known, and what the nodes here add to the others."""

    known: dict[str, torch.Tensor]
    mean: torch.Tensor
    here: dict[str, torch.Tensor]
    nodes: torch.Tensor | None
    """At the last of them, if somebody watches."""


class Records:
    """Of one run, the iterates that are to be recorded."""

    def __init__(
        self,
        steps: Stepper,
        crew: Crew,
        watch: Stopwatch,
        waited: float,
        *,
        watched: Callable[[], bool],
        show: Callable[[Nodes], None],
        last: float = -1,
        at_the_end: bool = False,
    ) -> None:
        self._steps, self._crew, self._watch = steps, crew, watch
        self._at_the_end, self._last = at_the_end, last
        self._watched, self._show = watched, show  # whether somebody watches: the same on every rank
        self._kept: list[_Snapshot] = []
        self._gradients: list[torch.Tensor | None] = []
        net, d = steps.net, steps.problem.d  # both are the same on every rank, as they begin the same sums
        self._most = math.inf if at_the_end else _AT_ONCE / (net.n * d)
        self._share = max(1, _AT_ONCE // (-(-net.n // crew.size) * d))  # by the largest slice
        self._condensing = Travelling[_Condensed](crew)
        self._condensed: list[_Condensed] = []
        self._travelling = Travelling[Rows](crew)
        self._waited = waited
        optimum = steps.problem._best.optimum
        self._optimum = torch.tensor(math.nan) if optimum is None else optimum.to(steps.x.device, torch.float64)

    def take(self, iteration: int) -> bool:
        """Set the iterates aside, unless that was done; their gradients follow, once the method has asked for them."""
        if iteration == self._last:
            return False
        self._last = iteration
        steps, net = self._steps, self._steps.net
        wait = self._crew.waited() - self._waited
        counters = [net.messages, net.bytes, steps.seconds - net.seconds, wait, max(0.0, net.seconds - wait)]
        self._kept.append(_Snapshot(iteration, steps.x, counters, self._watch(), steps.time, steps.lr))
        self._gradients.append(None)
        return True

    def take_gradient(self) -> None:
        """The iteration after the snapshot is over."""
        self._gradients[-1] = self._steps.gradient
        if len(self._kept) >= self._most:
            self._condense()

    def forget(self, iteration: int) -> None:
        """The iteration after this snapshot has failed: what failed there would fail again when it is measured."""
        if self._kept and self._kept[-1].iteration == iteration:
            self._kept.pop()
            self._gradients.pop()

    def left(self) -> list[Rows]:
        """The rows of a run that has ended in the middle of an iteration; on ranks, none without the others."""
        return self.beat(to_the_end=True) if self._crew.size == 1 else []

    def beat(self, *, to_the_end: bool = False) -> list[Rows]:
        """Measure what was set aside; the rows that are complete."""
        if self._at_the_end and not to_the_end:
            return []
        rows = self._travelling.beat(to_the_end=to_the_end)
        self._condense(to_the_end=to_the_end)
        if self._condensed:
            condensed, self._condensed = self._condensed, []
            self._travelling.begin(self._completed(condensed))
            if to_the_end or self._crew.size == 1:
                rows += self._travelling.beat(to_the_end=True)
        return rows

    def _condense(self, *, to_the_end: bool = False) -> None:
        """Let the iterates go that were set aside."""
        self._condensed += self._condensing.beat(to_the_end=to_the_end)
        kept, gradients = self._kept, self._gradients
        self._kept, self._gradients = [], []
        for i in range(0, len(kept), self._share):
            self._condensing.begin(self._near(kept[i : i + self._share], gradients[i : i + self._share]))
        if to_the_end or self._crew.size == 1:
            self._condensed += self._condensing.beat(to_the_end=True)

    def _near(self, kept: list[_Snapshot], gradients: list[torch.Tensor | None]) -> Sums[_Condensed]:
        """What takes the iterates themselves: their means, and how far they are from them."""
        problem, nodes, n = self._steps.problem, self._steps.net.nodes, self._steps.net.n
        xs = _stacked([shot.x for shot in kept])
        some = problem.looked_at(nodes)
        all_g = [problem.gradient(shot.x, nodes, some) if g is None else g for shot, g in zip(kept, gradients, strict=True)]
        here = torch.cat([xs.sum(1, dtype=torch.float64), _stacked(all_g).sum(1, dtype=torch.float64)], 1)
        mean, g = ((yield here) / n).chunk(2, 1)

        times = torch.tensor([(shot.iteration, shot.seconds, shot.simulated, shot.lr) for shot in kept], dtype=torch.float64).T
        counters = torch.tensor([shot.counters for shot in kept], dtype=torch.float64).T
        counters[2:] /= self._crew.size  # seconds of an average rank
        metrics = [problem.metrics(x, nodes) for x in xs]
        return _Condensed(
            {**dict(zip(("iteration", "seconds", "simulated", "lr"), times, strict=True)), "gradient_norm": g.norm(dim=1)},
            mean,
            {
                "disagreement": _squares(xs - mean[:, None].to(xs.dtype)).cpu(),
                **dict(zip(("messages", "bytes", "compute", "wait", "copy"), counters, strict=True)),
                **{name: _sum([each[name] for each in metrics], len(nodes)) for name in metrics[0]},
                **{
                    f"{name}{_SQUARED}": _sum([each[name].double() ** 2 for each in metrics], len(nodes))
                    for name, value in metrics[0].items()
                    if value.ndim
                },
            },
            measured(self._steps, xs[-1], mean[-1], self._optimum) if self._watched() else None,
        )

    def _completed(self, condensed: list[_Condensed]) -> Sums[Rows]:
        """The rows: with the losses at the means, and what the nodes here add to them."""
        problem, n, dtype = self._steps.problem, self._steps.net.n, self._steps.x.dtype
        known = {name: torch.cat([part.known[name] for part in condensed]) for name in condensed[0].known}
        mean = torch.cat([part.mean for part in condensed])
        here = {name: torch.cat([part.here[name] for part in condensed]) for name in condensed[0].here}
        if problem.knows_loss:
            losses = problem.losses(mean.to(dtype), self._steps.net.nodes)
            here["loss"] = losses.sum(1, dtype=torch.float64).cpu()
        for name, found in problem.metrics_of_mean(mean.to(dtype), self._steps.net.nodes).items():
            here[name] = found.sum(1, dtype=torch.float64).cpu()
        mine, watched = torch.stack(list(here.values())), condensed[-1].nodes
        total = yield mine.flatten() if watched is None else torch.cat([mine.flatten(), watched.flatten()])
        sums = dict(zip(here, total[: mine.numel()].view_as(mine), strict=True))
        if watched is not None:
            self._show(by_name(int(known["iteration"][-1]), total[mine.numel() :].view_as(watched)))

        counted = {name: sums.pop(name) for name in ("messages", "bytes", "compute", "wait", "copy")}
        means = {name: total / n for name, total in sums.items()}
        for name in [name for name in means if name.endswith(_SQUARED)]:
            of = name.removesuffix(_SQUARED)
            square = means[of].square()
            variance = means.pop(name) - square
            means[f"{of}_spread"] = torch.where(variance > 1e-13 * square, variance, 0.0).sqrt()  # or it is rounding alone
        if self._steps.lr_schedule is None:
            del known["lr"]
        disagreement, error_of_mean = means.pop("disagreement").sqrt(), (mean - self._optimum).norm(dim=1).cpu()
        rows = {
            "iteration": known.pop("iteration"),
            "error": (disagreement.square() + error_of_mean.square()).sqrt(),  # Σ ‖x_i − x*‖² = Σ ‖x_i − x̄‖² + n ‖x̄ − x*‖²
            "error_of_mean": error_of_mean,
            "disagreement": disagreement,
            "loss": means.pop("loss", torch.full_like(disagreement, math.nan)),
            "gradient_norm": known.pop("gradient_norm"),
            "size": mean.norm(dim=1),
            **known,
            **means,
            **counted,
        }
        return {name: values.tolist() for name, values in rows.items()}


def _stacked(xs: list[torch.Tensor]) -> torch.Tensor:
    return xs[0][None] if len(xs) == 1 else torch.stack(xs)


def _sum(values: list[torch.Tensor], count: int) -> torch.Tensor:
    """What the nodes here add to the sum over all of a metric: of each snapshot."""
    return torch.stack([value.double().mean() for value in values]).cpu() * count


def _squares(x: torch.Tensor) -> torch.Tensor:
    """‖x_i‖², summed over the nodes, of each of a stack."""
    norms: torch.Tensor = torch.linalg.vector_norm(x.flatten(1), dim=1, dtype=torch.float64)
    return norms.square()
