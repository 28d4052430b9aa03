"""What a problem is: f(x) = (1/n) Σ_i f_i(x), where only node i knows f_i.

Everything is stacked: row i of ``x`` [k, d] is the iterate of the i-th of the k ``nodes`` asked about, which are all n in a
simulation, and on an MPI rank those that it hosts. Nodes are always given by their numbers in the whole network.

A problem of one's own is made with `ifog.problems.from_function`. One for everybody is a subclass of `Problem` with one
formula, or two: `_f`, and `_gradient` where autograd would be slower or say less.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import ProblemError
from .arguments import real, whole
from .streams import integers, normals

Nodes: TypeAlias = Sequence[int] | NDArray[np.int64]

_MANY = 8  # so many points are worth a vmap
_SHOWN = 2**20  # numbers of data up to which a problem that is only printed may solve itself


@dataclass(frozen=True, eq=False)
class Batch:
    """What makes the gradients of one round stochastic: the samples that each node uses, and the noise that is added."""

    nodes: Nodes
    picks: Tensor | None
    """[k, size] numbers of samples, drawn with replacement; None for all of them."""
    noise: Tensor | None
    """[k, d], or None."""


@dataclass(frozen=True)
class _Best:
    """The optimum, and what is known there. In float64, whatever the problem computes in."""

    optimum: Tensor | None = None
    smallest: float | None = None
    heterogeneity: float | None = None
    missing: str | None = None  # why there is none


class Problem:
    r"""An objective split over n nodes, with what is known about it.

    .. math:: f(x) = \frac1n \sum_i f_i(x) + R(x)

    R is there in composite problems only, which have `prox`; ``loss`` and ``gradient`` are those of the f_i.
    """

    n: int
    """Number of nodes in the whole network."""
    d: int
    """Number of unknowns."""
    samples: int | None
    """How many samples each node has, or None when its objective is not a mean over samples."""
    gradient_noise: float
    """σ of the normal noise that is added to each entry of a stochastic gradient."""
    nodes: Sequence[int]
    """The nodes whose data are held here: all of them, unless made by `take`."""
    name: str
    label: str
    """The name with its parameters, as one would type it: ``quadratic(8, d=5)``."""
    parameters: Mapping[str, Any]

    segments: Sequence[int] | None = None
    """How long the tensors are that x is made of, where it is more than one vector: for methods with a step for each."""
    prox: Callable[[Tensor, float | Tensor], Tensor] | None = None
    """Of a composite problem: the x⁺ that minimises R(x⁺) + ‖x⁺ − x‖² / (2 lr), row by row."""
    penalty: Callable[[Tensor], Tensor] | None = None
    """Of a composite problem: R(x_i) for each row, [k]."""

    def __init__(
        self,
        *,
        d: int,
        data: Mapping[str, Tensor],
        shared: Mapping[str, Tensor] | None = None,
        samples: int | None = None,
        gradient_noise: float = 0.0,
    ) -> None:
        """The leading axis of ``data`` is the node, the second the sample where there are any; ``shared`` is for all nodes."""
        self.n, self.d, self.samples = len(next(iter(data.values()))), d, samples
        self.gradient_noise = real("noise", gradient_noise, at_least=0)
        self.nodes = range(self.n)
        self.name = self.label = type(self).__name__
        self.parameters = {}
        self._data, self._shared = dict(data), dict(shared or {})

    # ---- the formulas: what a subclass gives -----------------------------------------------------------------------

    def _f(self, x: Tensor, *args: Any, **data: Any) -> Tensor:
        """f_i(x_i) for each row, [k], from the ``data`` of these nodes: written for all rows at once."""
        raise NotImplementedError

    def _f_at(self, points: Tensor, *args: Any, **data: Any) -> Tensor:  # noqa: ARG002
        """f_i(z_s) at points that all nodes share, [S, k]: for a subclass to give, where a product with all data is faster."""
        k = len(next(iter(data.values())))

        def at(z: Tensor) -> Tensor:
            return self._f(z.expand(k, -1), **data)

        if len(points) >= _MANY:
            with contextlib.suppress(RuntimeError, TypeError, ValueError):  # something in it may be for plain tensors only
                losses: Tensor = torch.func.vmap(at)(points)
                return losses
        return torch.stack([at(z) for z in points])

    def _gradient(self, x: Tensor, *args: Any, **data: Any) -> Tensor:  # noqa: ARG002
        """∇f_i(x_i) for each row, [k, d]. Here by autograd: x_i enters f_i only, so the gradient of the sum is all of them."""
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(self._f(x, **data).sum(), x)
        return gradient

    def _start(self) -> Tensor:
        """Where all nodes start, [d]."""
        return torch.zeros(self.d, dtype=self.dtype, device=self.device)

    def _minimizer(self, *args: Any, **data: Any) -> Tensor | None:  # noqa: ARG002
        """The optimum x* [d] from the data of all nodes, which are given in float64 on the CPU."""
        return None

    def _curvature(self, *args: Any, **data: Any) -> tuple[float | None, float | None]:  # noqa: ARG002
        """L and μ, likewise."""
        return None, None

    # ---- iterates, losses, gradients -------------------------------------------------------------------------------

    def start(self, nodes: Nodes) -> Tensor:
        """Where the nodes start, [k, d]: zeros, or where that is no good start a random point, the same for all nodes.

        Only where the starts are what the problem is about (`averaging`) has each node its own.
        """
        _, k = self._rows(nodes)
        return self._start().expand(k, self.d).clone()

    def loss(self, x: Tensor, nodes: Nodes, batch: Batch | None = None) -> Tensor:
        """f_i(x_i) for each row, [k]; with a batch over its samples only."""
        return self._f(x, **self._given(x, nodes, batch))

    def losses(self, points: Tensor, nodes: Nodes) -> Tensor:
        """f_i(z_s) for each of the nodes at points [S, d], one or more: [S, k]. It is `loss` up to rounding, but sooner."""
        k = self._rows(nodes)[1]
        return self._f_at(points, **self._given(points[:1].expand(k, -1), nodes, None))

    def gradient(self, x: Tensor, nodes: Nodes, batch: Batch | None = None) -> Tensor:
        """∇f_i(x_i) for each row, [k, d]: exact, or with a batch over its samples only, and with its noise."""
        gradient = self._gradient(x, **self._given(x, nodes, batch))
        return gradient if batch is None or batch.noise is None else gradient + batch.noise

    def batch(
        self,
        nodes: Nodes,
        round: int,  # noqa: A002
        size: int | None = None,
        seed: int = 0,
    ) -> Batch:
        """What a stochastic gradient at this round uses: ``size`` of each node's samples, drawn with replacement.

        It depends on the seed, the round and each node's number alone, and so neither on which nodes are asked about
        together nor on their order. Where there are no samples, ``size`` says of how many noisy gradients the mean is taken:
        σ / √size is added to each entry, and σ where there are. With ``size=None`` it is all samples, or one noisy gradient.
        """
        rows, _ = self._rows(nodes)
        round = whole("round", round, maximum=2**32 - 1)  # noqa: A001
        size = None if size is None else whole("size", size, minimum=1)
        seed = whole("seed", seed, maximum=2**64 - 1)
        held = np.asarray(self.nodes)
        numbers = held[rows] if isinstance(rows, slice) else held[rows.cpu().numpy()]
        picks = noise = None
        if size is not None and self.samples is not None:
            picks = torch.from_numpy(integers(numbers, round, size, self.samples, seed)).to(self.device)
        if self.gradient_noise:
            drawn = torch.from_numpy(normals(numbers, round, self.d, seed)).to(self.device, self.dtype)
            mean_of = 1 if size is None or self.samples is not None else size
            noise = self.gradient_noise / mean_of**0.5 * drawn
        return Batch(nodes, picks, noise)

    def metrics(self, x: Tensor, nodes: Nodes) -> dict[str, Tensor]:  # noqa: ARG002
        """What else is worth recording: values by name, [k] or scalar."""
        return {}

    def metrics_of_mean(self, points: Tensor, nodes: Nodes) -> dict[str, Tensor]:  # noqa: ARG002
        """What is worth recording of the mean of all iterates, at points [S, d]: what each node finds, [S, k].

        The mean over all nodes is recorded; so each may look at a share of what there is to look at.
        """
        return {}

    def looked_at(self, nodes: Nodes) -> Batch | None:  # noqa: ARG002
        """The samples from which gradients are computed for the records alone: None for all of them."""
        return None

    # ---- what is known ---------------------------------------------------------------------------------------------

    @property
    def knows_loss(self) -> bool:
        """Whether `loss` can be asked for: not where somebody has given gradients only."""
        return True

    def objective(self, x: Tensor) -> float:
        """f(x) at one vector [d], R included. It needs the data of all nodes."""
        self._all_here("objective")
        if not isinstance(x, Tensor) or x.shape != (self.d,):
            raise ProblemError(
                f"x {_came(x)}: the objective of {self.label} is asked at one vector, of shape ({self.d},); "
                "for a row per node there is loss(x, nodes)"
            )
        value = self._f(x.to(self.device, self.dtype).expand(self.n, self.d), **self._data).mean()
        return float(value if self.penalty is None else value + self.penalty(x[None])[0])

    @property
    def optimum(self) -> Tensor | None:
        """x*, where f is smallest, [d]: in closed form or solved for in float64; None where it is not known."""
        x = self._found().optimum
        return None if x is None else x.to(self.device, self.dtype)

    @property
    def smallest(self) -> float | None:
        """f(x*), R included; None where it is not known."""
        return self._found().smallest

    @property
    def heterogeneity(self) -> float | None:
        """b² = (1/n) Σ ‖∇f_i(x*)‖², how much the nodes disagree; None where it is not known."""
        return self._found().heterogeneity

    @property
    def L(self) -> float | None:
        """Smoothness: no gradient changes faster, ‖∇f_i(x) − ∇f_i(y)‖ ≤ L ‖x − y‖ for all i; None where it is not known."""
        return self._bounds[0]

    @property
    def mu(self) -> float | None:
        """Strong convexity of the mean of the f_i, f(y) ≥ f(x) + ⟨∇f(x), y − x⟩ + (μ/2) ‖y − x‖²; None where not known."""
        return self._bounds[1]

    def _found(self) -> _Best:
        if self._best.missing is not None:
            raise ProblemError(self._best.missing)
        return self._best

    @cached_property
    def _best(self) -> _Best:
        exact = self._exact()
        try:
            x = exact._minimizer(**exact._data)
        except ProblemError as error:
            return _Best(missing=str(error))
        if x is None:
            return _Best()
        g = exact._gradient(x.expand(self.n, self.d), **exact._data)
        try:
            smallest = exact.objective(x)
        except ProblemError:  # gradients only, without a function
            smallest = None
        return _Best(x, smallest, float((g * g).sum(1).mean()))

    @cached_property
    def _bounds(self) -> tuple[float | None, float | None]:
        exact = self._exact()
        return exact._curvature(**exact._data)

    def facts(self) -> dict[str, Any]:
        """What a file of a run keeps, so that it goes on with a problem like this one only."""
        return {"n": self.n, "d": self.d}

    def differences(self, facts: Mapping[str, Any]) -> str:
        """What is other in a file whose `facts` these are, in words; nothing where it can go on."""
        mine = self.facts()
        return ", ".join(f"{name} was {facts[name]} and is {mine[name]}" for name in mine if facts.get(name) != mine[name])

    # ---- other forms of the same problem ---------------------------------------------------------------------------

    @property
    def dtype(self) -> torch.dtype:
        """What it computes in: float64 unless changed with `to`."""
        return next(value.dtype for value in self._tensors() if value.is_floating_point())

    @property
    def device(self) -> torch.device:
        """Where its data are."""
        return next(self._tensors()).device

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Self:
        """The same problem on another device, or with numbers of another type. What is known of it stays known in float64."""
        if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
            raise ProblemError(f"dtype={dtype!r}: it must be a floating-point type of torch, such as torch.float32")
        known = self._best, self._bounds
        moved = self._moved(device, dtype)
        moved._best, moved._bounds = known
        return moved

    def take(self, nodes: Nodes) -> Self:
        """The same problem with the data of these nodes only, which are still called by their numbers.

        What takes the data of all nodes to know (the optimum, L, μ, b²) is worked out before.
        """
        rows, _ = self._rows(nodes)
        held = np.asarray(self.nodes)[rows if isinstance(rows, slice) else rows.cpu().numpy()]
        if len(set(held.tolist())) != len(held):
            raise ProblemError(f"nodes={nodes!r}: a node can be taken only once")
        known = self._best, self._bounds
        part = copy.copy(self)
        part._best, part._bounds = known
        part.__dict__.pop("_place", None)
        part.nodes = self.nodes[rows] if isinstance(rows, slice) else held.tolist()
        part._data = {key: value[rows].clone() for key, value in self._data.items()}
        return part

    def _moved(self, device: torch.device | str | None, dtype: torch.dtype | None) -> Self:
        def move(values: dict[str, Tensor]) -> dict[str, Tensor]:
            return {k: v.to(device, dtype if v.is_floating_point() else None) for k, v in values.items()}

        moved = copy.copy(self)
        moved._data, moved._shared = move(self._data), move(self._shared)
        for cached in ("_best", "_bounds"):
            moved.__dict__.pop(cached, None)
        return moved

    def _exact(self) -> Self:
        """In float64 on the CPU."""
        self._all_here("what is known of it")
        if self.dtype == torch.float64 and self.device.type == "cpu":
            return self
        return self._moved("cpu", torch.float64)

    def _tensors(self) -> Iterator[Tensor]:
        yield from self._data.values()
        yield from self._shared.values()

    # ---- nodes and their rows --------------------------------------------------------------------------------------

    def _given(self, x: Tensor, nodes: Nodes, batch: Batch | None) -> dict[str, Tensor]:
        """The data of these nodes, once it is sure that ``x`` and ``batch`` belong to them."""
        rows, k = self._rows(nodes)
        if not isinstance(x, Tensor) or x.shape != (k, self.d):
            raise ProblemError(f"x {_came(x)}: it must have shape ({k}, {self.d}), the {self.d} unknowns of each of {k} nodes")
        if x.dtype != self.dtype:
            raise ProblemError(
                f"x is {x.dtype} and {self.label} {self.dtype}: say x.to({self.dtype}) or problem.to(dtype={x.dtype})"
            )
        if x.device != self.device:
            raise ProblemError(f"x is on {x.device} and {self.label} on {self.device}: say problem.to({str(x.device)!r})")
        if batch is not None and not _same(batch.nodes, nodes):
            raise ProblemError(
                f"batch was drawn for nodes {batch.nodes!r} and not for {nodes!r}: problem.batch(nodes, round, size)"
            )
        if batch is None or batch.picks is None:
            return {key: value[rows] for key, value in self._data.items()}
        if isinstance(rows, slice):
            rows = torch.arange(rows.start, rows.stop, device=self.device)
        return {key: value[rows[:, None], batch.picks] for key, value in self._data.items()}

    def _rows(self, nodes: Nodes) -> tuple[slice | Tensor, int]:
        """Where the data of these nodes are, as a slice where they lie together; and how many nodes that is."""
        if isinstance(nodes, range) and isinstance(self.nodes, range) and nodes.step == self.nodes.step == 1:
            low, high = nodes.start - self.nodes.start, nodes.stop - self.nodes.start
            if 0 <= low <= high <= len(self.nodes):
                return slice(low, high), high - low
        try:
            wanted = np.asarray(nodes)
        except (TypeError, ValueError, RuntimeError):
            wanted = np.empty((0, 0))
        if wanted.ndim != 1 or (wanted.dtype.kind not in "iu" and wanted.size):
            raise ProblemError(f"nodes={nodes!r}: it must be a list of the numbers of nodes, such as range({self.n})")
        wanted = wanted.astype(np.int64)
        unknown = wanted[(wanted < 0) | (wanted >= self.n)]
        if unknown.size:
            raise ProblemError(f"nodes: {self.label} has no node {unknown[0]}: they are 0 to {self.n - 1}")
        places = self._place[wanted]
        if (places < 0).any():
            raise ProblemError(
                f"nodes: the data of node {wanted[places < 0][0]} of {self.label} are not here, only those of "
                f"{_few(self.nodes)}: it was made by take"
            )
        k = len(places)
        if k and (np.diff(places) == 1).all():
            return slice(int(places[0]), int(places[0]) + k), k
        return torch.from_numpy(places).to(self.device), k

    @cached_property
    def _place(self) -> NDArray[np.int64]:
        """The row of each node of the network, −1 for those that are not held here."""
        place = np.full(self.n, -1, dtype=np.int64)
        place[np.asarray(self.nodes, dtype=np.int64)] = np.arange(len(self.nodes))
        return place

    def _all_here(self, what: str) -> None:
        if len(self.nodes) < self.n:
            raise ProblemError(
                f"{what}: it needs the data of all {self.n} nodes, and here are those of {_few(self.nodes)}: "
                "ask the problem from which they were taken"
            )

    # ---- shown -----------------------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        facts = [f"d = {self.d}"]
        if self.samples is not None:
            facts.append(f"{self.samples} samples per node")
        if self.gradient_noise:
            facts.append(f"σ = {self.gradient_noise:g}")
        if "_best" in self.__dict__ or sum(value.numel() for value in self._tensors()) <= _SHOWN:
            known = {"L": self.L, "μ": self.mu, "b²": self._best.heterogeneity}
            facts += [f"{letter} = {value:.4g}" for letter, value in known.items() if value is not None]
        if self.dtype != torch.float64:
            facts.append(str(self.dtype).removeprefix("torch."))
        if self.device.type != "cpu":
            facts.append(str(self.device))
        if len(self.nodes) < self.n:
            facts.append(f"only nodes {_few(self.nodes)}")
        return f"{self.label}: {', '.join(facts)}"


def _same(a: Nodes, b: Nodes) -> bool:
    return a is b or (a == b if isinstance(a, range) and isinstance(b, range) else np.array_equal(a, b))


def _few(nodes: Sequence[int]) -> str:
    if isinstance(nodes, range) and len(nodes) > 1:
        return f"{nodes[0]} to {nodes[-1]}"
    return ", ".join(map(str, nodes[:5])) + (" …" if len(nodes) > 5 else "")


def _came(x: Any) -> str:
    """What was given for x, in words."""
    return f"has shape {tuple(x.shape)}" if isinstance(x, Tensor) else f"is of type {type(x).__name__} and no tensor"
