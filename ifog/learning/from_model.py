"""A model whose training is a problem like any other: f_i is its loss on the samples of node i, and x its parameters.

So every method of `ifog.algorithms` trains it, on as many nodes as wanted, simulated or on ranks, recorded and steered like
every run. Row i of x [k, d] is the model of the i-th of the k nodes here, as one flat vector. Their gradients are computed all
at once (`torch.func.vmap`), or one after the other where that is faster or cannot be otherwise.
"""

from __future__ import annotations

import contextlib
import copy
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.functional import cross_entropy, mse_loss

from ..errors import ProblemError
from ..problems import Batch, Problem
from ..problems.arguments import real, whole
from ..problems.contract import Nodes
from .parts import Batches
from .samples import alike, dealt
from .samples import samples as samples_of

Loss = Callable[[Tensor, Tensor], Tensor]

_LOOKED_AT = 4096  # training samples that a record looks at: of all nodes together
_EACH = 1000  # test samples on which a record tries the model of each node; that of their mean is tried on all
_PIECE = 512  # samples that go through the model together where nobody asked for batches
_STATISTICS = 256  # samples from which the statistics of normalisation are formed for a model that is tried
_SMALL = 2**22  # bytes that one node keeps for its gradient, up to which a processor is faster with many nodes at once
_AT_ONCE = 2**25  # and how much they may keep together, on a processor; on a GPU, a quarter of its memory
_DRAWN = 2  # what the random numbers are for

_NORMS = (nn.modules.batchnorm._BatchNorm,)


@dataclass(frozen=True, eq=False)
class _Draw(Batch):
    """A batch that knows when it was drawn: dropout needs random numbers of its own in every iteration."""

    round: int = 0
    seed: int = 0


class _Model:
    """A module that is called with other parameters than its own.

    ``functional_call`` puts them into it meanwhile, and runs work in threads: so each call has a copy that is nobody else's.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module.requires_grad_(False)
        self._free: list[nn.Module] = []

    def __call__(self, parts: dict[str, Tensor], X: Tensor) -> Tensor:
        try:
            copied = self._free.pop()
        except IndexError:
            shared = {id(tensor): tensor for tensor in (*self.module.parameters(), *self.module.buffers())}
            copied = copy.deepcopy(self.module, shared)
        found: Tensor = functional_call(copied, parts, (X,))
        self._free.append(copied)  # not after a failure: it may hold what was put into it
        return found

    def to(self, device: torch.device | str | None, dtype: torch.dtype | None) -> _Model:
        return _Model(copy.deepcopy(self.module).to(device, dtype))


class Trained(Problem):
    """Made by `from_model`."""

    shapes: Mapping[str, torch.Size]
    """Of the tensors that x is made of, by their names in the model, in their order."""
    sizes: Sequence[int]
    """How many samples each node has."""
    together: int | None
    """So many nodes are computed at once, if that was said."""
    weight_decay: float
    _kinds: Sequence[torch.dtype]
    _loss: Loss
    _classes: bool  # whether the targets are classes
    _training: _Model  # as it is trained
    _tried: _Model  # and as it is used
    _counting: _Model | None  # and for the statistics of normalisation, if there is any
    _random: bool
    _kept: int  # bytes that one sample keeps for the gradient
    _places: Sequence[range]  # of each node's samples
    _samplers: dict[tuple[int, int, int], Batches]  # by node, size and seed

    # ---- a row of x as the parameters of a model -------------------------------------------------------------------

    def parameters_of(self, x: Tensor) -> dict[str, Tensor]:
        """One vector [d] as the tensors of the model, by name."""
        assert self.segments is not None
        parts = zip(self.shapes.items(), self._kinds, torch.split(x, list(self.segments)), strict=True)
        return {name: part.view(shape).to(kind) for (name, shape), kind, part in parts}

    def model(self, x: Tensor, node: int | None = None) -> nn.Module:
        """The model with the parameters x [d], ready to be used.

        Statistics of normalisation are formed from training samples: of this node, or of all.
        """
        if not isinstance(x, Tensor) or x.shape != (self.d,):
            raise ProblemError(f"x: give one vector of shape ({self.d},), such as run.x[0] or run.x.mean(0)")
        made = copy.deepcopy(self._tried.module)
        with torch.no_grad():
            x = x.to(self.device, self.dtype)
            named = dict(made.named_parameters())
            for name, value in self.parameters_of(x).items():
                named[name].copy_(value).requires_grad_()
            if self._counting is not None:
                seen = self._shared["seen"] if node is None else self._looked_at([node])[0][:_STATISTICS]
                statistics, buffers = self._statistics(x, self._inputs(seen)), dict(made.named_buffers())
                for name, value in statistics.items():
                    buffers[name].copy_(value)
        return made

    # ---- losses and gradients --------------------------------------------------------------------------------------

    def _cost(self, x: Tensor, X: Tensor, y: Tensor) -> Tensor:
        """Of one node, as it is trained: normalisation by this batch, and dropout at work."""
        return self._loss(self._training(self.parameters_of(x), X), y)

    def loss(self, x: Tensor, nodes: Nodes, batch: Batch | None = None) -> Tensor:
        """f_i(x_i) for each row, [k]."""
        decay = self.weight_decay / 2 * (x * x).sum(1)
        return self._mean(self._costs, x, nodes, batch) + decay

    def gradient(self, x: Tensor, nodes: Nodes, batch: Batch | None = None) -> Tensor:
        """∇f_i(x_i) for each row, [k, d]."""
        return self._mean(self._slopes, x, nodes, batch) + self.weight_decay * x

    def _costs(self, x: Tensor, X: Tensor, y: Tensor) -> Tensor:
        if len(x) > 1:
            made: Tensor = vmap(self._cost)(x, X, y)
            return made
        return self._cost(x[0], X[0], y[0])[None]

    def _slopes(self, x: Tensor, X: Tensor, y: Tensor) -> Tensor:
        if len(x) > 1:
            made: Tensor = vmap(grad(self._cost))(x.detach(), X, y)
            return made
        with torch.enable_grad():
            one = x[0].detach().requires_grad_()
            (slope,) = torch.autograd.grad(self._cost(one, X[0], y[0]), one)
        return slope[None]

    def _mean(self, f: Callable[..., Tensor], x: Tensor, nodes: Nodes, batch: Batch | None) -> Tensor:
        """The mean of f over the samples of each node: all of them, or those of a batch."""
        self._given(x, nodes, batch)
        numbers = self._numbers(nodes)
        found: list[Tensor] = [x.new_zeros(())] * len(numbers)
        for rows, samples in self._alike(numbers, batch):
            step = self._at_once(samples.shape[1])
            for low in range(0, len(rows), step):
                some = rows[low : low + step]
                with self._dice(numbers[some[0]], batch):
                    mean = self._over(f, x[some], samples[low : low + step], whole=batch is None)
                for row, value in zip(some, mean, strict=True):
                    found[row] = value
        return torch.stack(found) if found else x.new_zeros(0, self.d)

    def _over(self, f: Callable[..., Tensor], x: Tensor, samples: Tensor, *, whole: bool) -> Tensor:
        count = samples.shape[1]
        piece = _PIECE if whole else max(_PIECE, count)
        total: Tensor | None = None
        for some in torch.split(samples, piece, dim=1):
            part = f(x, self._inputs(some), self._shared["y"][some]) * (some.shape[1] / count)
            total = part if total is None else total + part
        assert total is not None
        return total

    def _at_once(self, samples: int) -> int:
        """How many nodes are computed together."""
        if self.together is not None:
            return self.together
        one = min(samples, _PIECE) * self._kept + 4 * self.d * self._start().element_size()
        if self.device.type == "cuda":
            return max(1, torch.cuda.get_device_properties(self.device).total_memory // 4 // one)
        return max(1, _AT_ONCE // one) if one <= _SMALL else 1

    def _alike(self, numbers: Sequence[int], batch: Batch | None) -> Iterator[tuple[list[int], Tensor]]:
        """The rows whose nodes have equally many samples, with these: [rows, samples]."""
        if batch is not None and batch.picks is not None:
            places = [int(self._place[i]) for i in numbers]
            yield (
                list(range(len(numbers))),
                self._data["samples"][torch.tensor(places, device=self.device)[:, None], batch.picks],
            )
            return
        by_size: dict[int, list[int]] = {}
        for row, i in enumerate(numbers):
            by_size.setdefault(self.sizes[i], []).append(row)
        for size, rows in by_size.items():
            places = [int(self._place[numbers[row]]) for row in rows]
            yield rows, self._data["samples"][torch.tensor(places, device=self.device), :size]

    def _inputs(self, samples: Tensor) -> Tensor:
        return self._as_input(self._shared["X"][samples])

    def _as_input(self, X: Tensor) -> Tensor:
        """Pictures in bytes as numbers from 0 to 1; all numbers in the type of the model."""
        if X.dtype == torch.uint8:
            return X.to(self._kinds[0]) / 255
        return X.to(self._kinds[0]) if X.is_floating_point() else X

    def _numbers(self, nodes: Nodes) -> list[int]:
        return [int(i) for i in nodes]

    def _dice(self, node: int, batch: Batch | None) -> Any:
        """Torch's random numbers, as this node has them in this round: the same wherever it lives."""
        drawn = (batch.seed, node, batch.round) if isinstance(batch, _Draw) else (0, node, 0)
        return _dice([*drawn, _DRAWN], self.device) if self._random else contextlib.nullcontext()

    # ---- batches ---------------------------------------------------------------------------------------------------

    def batch(
        self,
        nodes: Nodes,
        round: int,  # noqa: A002
        size: int | None = None,
        seed: int = 0,
    ) -> Batch:
        """The samples of this round, those of `Batches`: each node goes through its own, in another order in every epoch.

        It depends on the seed, the round, the size and the node's number alone. An epoch that ends within a batch is
        followed by the next one, so all batches have the same size.
        """
        self._rows(nodes)
        round = whole("round", round, maximum=2**32 - 1)  # noqa: A001
        seed = whole("seed", seed, maximum=2**64 - 1)
        if size is None:
            return _Draw(nodes, None, None, round, seed)
        size = whole("size", size, minimum=1)
        order = [self._sampler(i, size, seed).at(round) for i in self._numbers(nodes)]
        picks = torch.from_numpy(np.stack(order) if order else np.zeros((0, size), np.int64))
        return _Draw(nodes, picks.to(self.device), None, round, seed)

    def _sampler(self, node: int, size: int, seed: int) -> Batches:
        """The batches of a node, as a loop of one's own has them: here of the places of its samples."""
        known = self._samplers.get((node, size, seed))
        if known is None:
            known = self._samplers[node, size, seed] = Batches(self._places, node, size, seed=seed)
        return known

    # ---- records ---------------------------------------------------------------------------------------------------

    def looked_at(self, nodes: Nodes) -> Batch | None:
        """Some of each node's samples, where all of them would take too long."""
        looked = self._shared["looked_at"]
        return None if looked.shape[1] >= max(self.sizes) else _Draw(nodes, looked[self._numbers(nodes)], None)

    def _looked_at(self, nodes: Nodes) -> list[Tensor]:
        """The numbers of those samples, of each node."""
        looked = self._shared["looked_at"]
        return [self._data["samples"][int(self._place[i])][looked[i, : self.sizes[i]]] for i in self._numbers(nodes)]

    def losses(self, points: Tensor, nodes: Nodes) -> Tensor:
        """The loss of each point on what is looked at of each node's samples, [S, k]; as the model is used, not trained."""
        found = [
            [self._try(z, samples, self._shared["X"], self._shared["y"])[0] for samples in self._looked_at(nodes)]
            for z in self._ready(points)
        ]
        decay = self.weight_decay / 2 * (points * points).sum(1)
        return torch.stack([torch.stack(row) if row else points.new_zeros(0) for row in found]) + decay[:, None]

    def metrics(self, x: Tensor, nodes: Nodes) -> dict[str, Tensor]:
        """Of each node's model, on some test samples: ``accuracy``, or where targets are no classes ``test_loss``."""
        if "X_test" not in self._shared:
            return {}
        each = self._shared["each"]
        found = [
            self._try((row, self._prepared(row, samples)), each, self._shared["X_test"], self._shared["y_test"])[1]
            for row, samples in zip(x, self._looked_at(nodes), strict=True)
        ]
        return {self._metric: torch.stack(found) if found else x.new_zeros(0)}

    def metrics_of_mean(self, points: Tensor, nodes: Nodes) -> dict[str, Tensor]:
        """The same of the mean of all models, on all test samples, of which each node takes its share."""
        if "X_test" not in self._shared:
            return {}
        count = len(self._shared["y_test"])
        shares = [torch.arange(count, device=self.device)[i :: self.n] for i in self._numbers(nodes)]
        rows = []
        for z in self._ready(points):
            found = [
                self._try(z, share, self._shared["X_test"], self._shared["y_test"])[1] * (len(share) * self.n / count)
                if len(share)
                else points.new_zeros(())  # there are more nodes than samples
                for share in shares
            ]
            rows.append(torch.stack(found) if found else points.new_zeros(0))
        return {f"{self._metric}_of_mean": torch.stack(rows)}

    @property
    def _metric(self) -> str:
        return "accuracy" if self._classes else "test_loss"

    def _ready(self, points: Tensor) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
        for z in points:
            yield z, self._prepared(z, self._shared["seen"])

    def _prepared(self, x: Tensor, samples: Tensor) -> dict[str, Tensor]:
        """The statistics of normalisation of a model that is to be tried."""
        return self._statistics(x, self._inputs(samples[:_STATISTICS])) if self._counting is not None else {}

    @torch.no_grad()
    def _statistics(self, x: Tensor, X: Tensor) -> dict[str, Tensor]:
        assert self._counting is not None
        buffers = {name: buffer.clone() for name, buffer in self._counting.module.named_buffers()}
        self._counting({**self.parameters_of(x), **buffers}, X)
        return buffers

    @torch.no_grad()
    def _try(self, ready: tuple[Tensor, dict[str, Tensor]], samples: Tensor, X: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """The loss, and the metric, of a model on these samples."""
        x, buffers = ready
        parts = {**self.parameters_of(x), **buffers}
        loss, right = x.new_zeros(()), x.new_zeros(())
        for some in torch.split(samples, _PIECE):
            guessed = self._tried(parts, self._as_input(X[some]))
            share = len(some) / len(samples)
            loss = loss + self._loss(guessed, y[some]).to(x) * share
            if self._classes:
                right = right + (guessed.argmax(-1) == y[some]).to(x.dtype).mean() * share
        return loss, right if self._classes else loss

    # ---- what a problem needs --------------------------------------------------------------------------------------

    def _start(self) -> Tensor:
        return self._shared["start"]

    @property
    def dtype(self) -> torch.dtype:
        """Of x."""
        return self._shared["start"].dtype

    def _exact(self) -> Trained:
        return self  # nothing of it is known exactly: so nothing is copied for that

    def _moved(self, device: torch.device | str | None, dtype: torch.dtype | None) -> Trained:
        moved = super()._moved(device, dtype)
        moved._training, moved._tried = self._training.to(device, dtype), self._tried.to(device, dtype)
        moved._counting = None if self._counting is None else self._counting.to(device, dtype)
        moved._kinds = [dtype or kind for kind in self._kinds]
        moved._samplers = {}
        return moved

    def __repr__(self) -> str:
        low, high = min(self.sizes), max(self.sizes)
        samples = f"{low}" if low == high else f"{low} to {high}"
        facts = [f"d = {self.d:,} in {len(self.shapes)} tensors", f"{samples} samples per node"]
        if "y_test" in self._shared:
            facts.append(f"{len(self._shared['y_test'])} for testing")
        if self.device.type != "cpu":
            facts.append(str(self.device))
        return f"{self.label}: {', '.join(facts)}"

    def facts(self) -> dict[str, Any]:
        """What a file of a run keeps: its tensors."""
        return {"n": self.n, "tensors": {name: list(shape) for name, shape in self.shapes.items()}}

    def differences(self, facts: Mapping[str, Any]) -> str:
        """What is other in a file, and what of it can be had all the same."""
        there, here = facts.get("tensors"), self.facts()["tensors"]
        if there is None:
            return "it trains no model"
        said = [f"{facts['n']} nodes then and {self.n} now"] if facts["n"] != self.n else []
        said += [
            f"{name} was {there.get(name, 'not there')} and is {here.get(name, 'not there')}"
            for name in {**there, **here}
            if there.get(name) != here.get(name)
        ]
        if not said:
            return ""
        alike = [name for name in there if there[name] == here.get(name)]
        words = "; ".join(said[:4]) + (" …" if len(said) > 4 else "")
        return f"{words}. ifog.learning.load(model, path) takes from it " + (
            f"the mean of all nodes' models: {len(alike)} of {len(there)} tensors" if alike else "nothing"
        )


_one = threading.Lock()  # who has the dice: torch has one generator for all threads


@contextlib.contextmanager
def _dice(seed: Sequence[int], device: torch.device) -> Iterator[None]:
    """A stretch of a program in which torch's random numbers begin here."""
    with _one, torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0] >> 1))
        yield


def _dice_lie(device: torch.device) -> Tensor:
    """How torch's generators are left: otherwise, once somebody has drawn."""
    there = [torch.cuda.get_rng_state(device)] if device.type == "cuda" else []
    return torch.cat([torch.get_rng_state(), *there])


def from_model(
    model: nn.Module,
    data: Any,
    n: int | None = None,
    *,
    test: Any = None,
    loss: Loss | None = None,
    alpha: float | None = None,
    parts: Sequence[Any] | None = None,
    weight_decay: float = 0.0,
    seed: int = 0,
    device: torch.device | str | None = None,
    together: int | None = None,
    name: str | None = None,
) -> Trained:
    """The training of a model on n nodes, as a problem: all start with its parameters as they are now.

    ``data`` are the inputs and the targets of all nodes, ``(X, y)``, or a torch data set; inputs that are bytes become numbers
    from 0 to 1. They are dealt to n nodes at random, with ``alpha`` by Dirichlet shares, or as ``parts`` says, which
    `ifog.learning.partition` makes: for each node, the numbers of its samples. Batches are those of `Batches`. With ``test``,
    likewise, the records have the accuracy of each node's model and of their mean. ``loss(outputs, targets)`` is a mean over
    samples: cross entropy unless given, or for targets that are no classes the mean squared error. ``weight_decay`` δ adds
    δ‖x‖²/2 to each f_i. The model itself is left as it is; `Trained.model` makes one of an iterate.

    Batch normalisation takes the statistics of the batch; running ones, which are no parameters and would have to be averaged,
    are not kept: they are formed anew, from training samples, whenever a model is tried. Dropout has random numbers of its own
    for each node and iteration. ``together`` says how many nodes are computed at once, instead of as many as is best.

    >>> import ifog
    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(return_X_y=True)
    >>> problem = from_model(nn.Linear(64, 10), (X / 16, y), n=8)
    >>> problem
    Linear(8): d = 650 in 2 tensors, 224 to 225 samples per node
    >>> run = ifog.run("dgd", problem, topology="ring", steps=30, batch=16, lr=0.5)
    >>> bool(run.history["loss"].iloc[-1] < 0.5 * run.history["loss"].iloc[0])
    True
    """
    if not isinstance(model, nn.Module):
        raise ProblemError(f"model is of type {type(model).__name__}: give a torch module, such as torch.nn.Linear(64, 10)")
    model = copy.deepcopy(model)
    if device is not None:
        model = model.to(device)
    trained = {key: p for key, p in model.named_parameters() if p.requires_grad}
    if not trained:
        raise ProblemError("model: it has no parameter that requires a gradient, so there is nothing to train")
    home = next(iter(trained.values())).device
    X, y = samples_of("data", data, home, device)
    parts = dealt(parts, y, n, alpha, seed)
    sizes = [len(part) for part in parts]
    samples = torch.full((len(parts), max(sizes)), -1)
    for i, part in enumerate(parts):
        samples[i, : sizes[i]] = torch.from_numpy(part)
    most = max(sizes) if sum(sizes) <= _LOOKED_AT else max(1, min(*sizes, _LOOKED_AT // len(sizes)))
    looked = torch.full((len(parts), most), -1)
    for i, size in enumerate(sizes):
        some = np.random.default_rng([seed, i, _DRAWN]).permutation(size)[:most]
        looked[i, : len(some)] = torch.from_numpy(some)
    kinds = [p.dtype for p in trained.values()]
    kind = kinds[0]
    for other in kinds:
        kind = torch.promote_types(kind, other)
    share = -(-_STATISTICS // len(parts))
    shared = {
        "start": torch.cat([p.detach().flatten().to(kind) for p in trained.values()]),
        "X": X,
        "y": y,
        "looked_at": looked.to(home),
        "seen": torch.cat([samples[i][looked[i, : min(size, share)]] for i, size in enumerate(sizes)]).to(home),
    }
    if test is not None:
        shared["X_test"], shared["y_test"] = samples_of("test", test, home, device)
        alike(shared)
        shuffled = np.random.default_rng([seed, _DRAWN]).permutation(len(shared["y_test"]))[:_EACH]
        shared["each"] = torch.from_numpy(np.sort(shuffled)).to(home)
    made = Trained(
        d=len(shared["start"]),
        data={"samples": samples.to(home)},
        shared=shared,
        samples=min(sizes),
    )
    made.segments = tuple(p.numel() for p in trained.values())
    made.shapes, made._kinds, made.sizes = {key: p.shape for key, p in trained.items()}, kinds, sizes
    made.weight_decay = real("weight_decay", weight_decay, at_least=0)
    made._classes, made._loss = not y.is_floating_point(), loss or (_of_classes if not y.is_floating_point() else _squares)
    made.name = name or type(model).__name__
    made.label = f"{made.name}({len(parts)})"
    made._places, made._samplers = [range(size) for size in sizes], {}
    _give_models(made, model)
    made.together = None if together is None else whole("together", together, minimum=1)
    _try_out(made, own_loss=loss is not None)
    return made


def _give_models(made: Trained, model: nn.Module) -> None:
    """The model as it is trained, as it is used, and as it counts what normalisation needs."""
    made._tried, made._counting = _Model(copy.deepcopy(model).eval()), None
    layers = list(model.modules())
    if any(isinstance(layer, _NORMS) and layer.track_running_stats for layer in layers):
        counting = copy.deepcopy(model).eval()
        for layer in counting.modules():
            if isinstance(layer, _NORMS):
                layer.training, layer.momentum = True, 1.0  # those of this batch alone
        made._counting = _Model(counting)
    for layer in layers:
        if isinstance(layer, _NORMS):
            layer.track_running_stats = False
    made._training = _Model(model.train())


def _try_out(made: Trained, *, own_loss: bool) -> None:
    """Once, with two samples: what does not fit shows here, and not deep inside a run."""
    x, samples = made._start(), made._data["samples"][0, :2]
    if len(samples) < 2:
        samples = samples.repeat(2)
    X, y = made._inputs(samples), made._shared["y"][samples]
    kept = 0

    def keep(tensor: Tensor) -> Tensor:
        nonlocal kept
        kept += tensor.numel() * tensor.element_size()
        return tensor

    try:
        with torch.no_grad(), _dice([0], made.device):
            guessed = made._training(made.parameters_of(x), X)
    except (RuntimeError, IndexError, TypeError) as error:
        raise ProblemError(
            f"model failed on two samples, inputs of shape {tuple(X.shape)} and {X.dtype}: {str(error).splitlines()[0]}"
        ) from error
    if not isinstance(guessed, Tensor):
        raise ProblemError(f"model returned a {type(guessed).__name__}: it must return one tensor, computed from the inputs")
    fits = guessed.ndim >= 2 and guessed.shape[:-1] == y.shape if made._classes else guessed.numel() == y.numel()
    if not fits and not own_loss:
        wanted = f"{(*y.shape, 'classes')}" if made._classes else f"{tuple(y.shape)}"
        raise ProblemError(
            f"model returned shape {tuple(guessed.shape)} for targets of shape {tuple(y.shape)} and {y.dtype}: it must return "
            f"{wanted}, or give loss=…"
        )
    if (
        made._classes
        and fits
        and not own_loss
        and not 0 <= int(made._shared["y"].min()) <= int(made._shared["y"].max()) < guessed.shape[-1]
    ):
        raise ProblemError(
            f"data: the classes are {int(made._shared['y'].min())} to {int(made._shared['y'].max())}, and the model returns "
            f"{guessed.shape[-1]} numbers: they must be 0 to {guessed.shape[-1] - 1}"
        )
    made._classes = made._classes and fits
    with _dice([0], made.device), torch.autograd.graph.saved_tensors_hooks(keep, lambda kept: kept):
        before = _dice_lie(made.device)
        value = made._cost(x.detach().requires_grad_(), X, y)
        made._random = not torch.equal(before, _dice_lie(made.device))
    if value.shape != ():
        raise ProblemError(f"loss returned shape {tuple(value.shape)}: it must return one number, the mean over the samples")
    made._kept = max(1, kept // 2)
    if made._random or made.together is not None:
        made.together = 1 if made._random else made.together
        return
    try:
        made._slopes(x.expand(2, -1), torch.stack([X, X]), torch.stack([y, y]))
    except (RuntimeError, TypeError, ValueError, NotImplementedError):  # torch cannot do this model for many at once
        made.together = 1


def _of_classes(outputs: Tensor, targets: Tensor) -> Tensor:
    return cross_entropy(outputs.flatten(0, -2), targets.flatten())


def _squares(outputs: Tensor, targets: Tensor) -> Tensor:
    return mse_loss(outputs, targets.view_as(outputs))
