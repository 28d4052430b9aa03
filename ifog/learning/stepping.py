"""`optimizer`: any torch optimizer, made to train together with others by any method.

What a torch optimizer subtracts from the parameters takes the place of α∇f(x) in a method. So there are two cases only:

- ``torch.optim.SGD`` without momentum subtracts α(g + δx): the method is given α as its ``lr``, and g + δx as its gradient. Its
  momentum is the method's own (``beta``), and so is all else that it remembers.
- Any other one (momentum, Adam, AdamW …) makes its step, and what that has changed is the method's gradient, with ``lr`` 1.

`atc` and `dgd` are torch's own step with mixing after or before it, which takes less memory; and ``"allreduce"``, which is no
method, is torch's own step with the mean of all gradients.
"""

from __future__ import annotations

import contextlib
import itertools
import warnings
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from .. import algorithms
from ..algorithms import Memory, Method
from ..comm import api
from ..errors import ArgumentError, IfogWarning, MethodError
from ..experiment.crew import crew
from ..network import Network
from ..network.hosts import Hosts
from ..network.network import schedule_of
from ..topology import Schedule
from .ahead import Rehearsal, Script
from .flat import Flat, Part
from .gradients import Gradients
from .ranks import begin_alike, check_alike
from .wrapped import Closure, Way, Wrapped, check_known, computed

ALLREDUCE = "allreduce"


def optimizer(
    torch_optimizer: torch.optim.Optimizer,
    model: nn.Module,
    *,
    method: str | Method = "atc",
    topology: Any = None,
    seed: int = 0,
    start_alike: bool = True,
    **parameters: Any,
) -> Optimizer:
    """Train a model together with the other ranks: a torch optimizer whose steps are those of a method.

    ``method`` is one of `ifog.algorithms.all()`, by name or as a function, or ``"allreduce"`` for the mean of all gradients;
    ``parameters`` are its own (``beta``, ``H``, ``compress`` …), ``lr`` is torch's. ``topology`` may be a name; by default it
    is the one in force (`ifog.set_topology`). Every rank is a node, and begins where rank 0 is unless ``start_alike=False``.
    Where this process is alone, it is the only node. A collective.

    What it gives is a torch optimizer with the parameter groups of the one given: schedulers, gradient clipping, accumulation,
    ``torch.amp.GradScaler`` and ``state_dict`` work as ever. Call the model itself, as in ``model(inputs)``, so that what a
    method says before it needs the gradient is on its way meanwhile.

    >>> model = nn.Linear(2, 1)
    >>> optimizer = optimizer(torch.optim.SGD(model.parameters(), lr=0.1), model, method="diging", topology="ring")
    >>> for k in range(3):
    ...     optimizer.zero_grad()
    ...     model(torch.ones(4, 2)).square().mean().backward()
    ...     optimizer.step()
    >>> optimizer.net.round
    3
    """
    return Optimizer(torch_optimizer, model, method, topology, seed, parameters, alike=start_alike)


class Optimizer(Wrapped):
    """What `optimizer` makes. Its parameter groups and its torch state are those of ``torch_optimizer``."""

    def __init__(
        self,
        torch_optimizer: torch.optim.Optimizer,
        model: nn.Module,
        method: str | Method,
        topology: Any,
        seed: int,
        parameters: Mapping[str, Any],
        *,
        alike: bool,
    ) -> None:
        check_known(torch_optimizer, model)
        together = crew()
        found = None if method == ALLREDUCE else algorithms.find(method)
        if topology is None:
            topology = api.current_topology() if together.size > 1 else "exponential"
        script = Script(together.hosts())
        self.net = Network(schedule_of(topology, together.size), hosts=cast(Hosts, script), seed=seed)
        """The network: who listens to whom, and how much was sent."""
        self.method = found
        self.parameters = dict(parameters)
        """Those of the method; a changed one counts from the next step on, and must be changed on all ranks."""
        if found is None and parameters:
            raise ArgumentError(f"{min(parameters)}: 'allreduce' has no parameters; torch's optimizer has them all")
        if found is not None:
            _check(found, self.net, self.parameters, torch_optimizer)
        check_alike(
            method=ALLREDUCE if found is None else found.name,
            topology=self.net.topology.label,
            seed=seed,
            parameters={name: value for name, value in parameters.items() if isinstance(value, int | float | str)},
            torch_optimizer=type(torch_optimizer).__name__,
        )
        if alike:
            begin_alike(model)
        super().__init__(torch_optimizer, model)
        lbfgs = isinstance(torch_optimizer, torch.optim.LBFGS)
        way: Way
        if found is None:
            if lbfgs:
                raise ArgumentError(
                    "LBFGS with method='allreduce': it asks for as many gradients as it likes; use method='atc'"
                )
            way = Gradients(torch_optimizer, self.flat, self.net.n, _counted(self.net, self.flat))
        elif found is algorithms.atc or (found is algorithms.dgd and not lbfgs):
            way = Around(torch_optimizer, self.flat, _mixing(self.net), before=found is algorithms.dgd)
        else:
            way = Driven(torch_optimizer, self.flat, self.net, script, found, self.parameters)
        self._follow(way, model)
        self._wanted: Schedule | None = None

    # ---------------------------------------------------------------------------------------------------------- training
    @property
    def topology(self) -> Schedule:
        """The schedule in force. Set another one on all ranks in the same iteration: it counts from the next step on."""
        return self.net.topology if self._wanted is None else self._wanted

    @topology.setter
    def topology(self, topology: Any) -> None:
        if topology is self.topology:  # as when a loop says every time what is in force
            return
        wanted = schedule_of(topology, self.net.n)
        if self.method is not None:
            self.method.check_topology(Network(wanted))
        self._wanted = wanted

    def _begin(self) -> bool:
        if self._wanted is not None and not self._way.begun:
            self.net.topology, self._wanted = self._wanted, None
            self._way.swapped()
        return super()._begin()

    def _made(self, steps: int) -> None:
        super()._made(steps)
        for _ in range(steps):
            self.net.advance()

    def accumulate(self) -> contextlib.AbstractContextManager[None]:
        """Within it, backward passes only add up; with ``"allreduce"`` that saves sending, otherwise it is so anyhow."""
        return self._way.averaging.accumulate() if isinstance(self._way, Gradients) else contextlib.nullcontext()

    # -------------------------------------------------------------------------------------------------- kept and taken up
    def state_dict(self) -> dict[str, Any]:
        """As torch's; under "ifog" stands what the method remembers, and where the schedule is."""
        kept = {
            "method": ALLREDUCE if self.method is None else self.method.name,
            "n": self.net.n,
            "rank": self.net.hosts.rank,
            "layout": [(str(part.dtype), [(place.name, list(place.size)) for place in part.places]) for part in self.flat],
            "net": self.net.state(),
            "memory": self._way.state(),
        }
        return {**self.torch_optimizer.state_dict(), "ifog": kept}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from there, bit for bit, once the model has its parameters of then too."""
        kept = state_dict.get("ifog")
        state = {name: value for name, value in state_dict.items() if name != "ifog"}
        if kept is None:
            raise ArgumentError(
                "state_dict is one of a torch optimizer, without what the method remembers: "
                "optimizer.torch_optimizer.load_state_dict(state_dict) takes up what there is"
            )
        mine = self.state_dict()["ifog"]
        if kept["layout"] != mine["layout"]:
            raise ArgumentError(f"state_dict is of another model: {_first_difference(kept['layout'], mine['layout'])}")
        for name, what in (("method", "the method {!r}"), ("n", "{} nodes"), ("rank", "rank {}")):
            if kept[name] != mine[name]:
                raise ArgumentError(
                    f"state_dict is of {what.format(kept[name])}, and this is {what.format(mine[name])}: what torch's own "
                    "optimizer remembers can still be taken up, optimizer.torch_optimizer.load_state_dict({k: state_dict[k] "
                    "for k in ('state', 'param_groups')})"
                )
        self.torch_optimizer.load_state_dict(state)
        self.net.restore(kept["net"])
        self._way.restore(kept["memory"])

    def __repr__(self) -> str:
        name = ALLREDUCE if self.method is None else self.method.name
        return f"<{name} with {type(self.torch_optimizer).__name__} on {self.net!r}>"


# ------------------------------------------------------------------------------------------------------- ways to step
def _mixing(net: Network) -> Callable[[Tensor], Any]:
    """What begins to mix a vector; nothing for a node that is alone."""
    return lambda x: net.start_mix(_row(x)) if net.n > 1 else None


def _counted(net: Network, flat: Flat) -> Callable[[], None]:
    """What notes that the gradients have gone round: as much is sent as in a ring allreduce."""

    def note() -> None:
        messages, size = 2 * (net.n - 1), sum(part.x.nbytes for part in flat) / net.n
        net.count(messages, size)
        net.traffic.note_all(messages, size)

    return note


class Around(Way):
    """Torch's own step, with mixing before it, x⁺ = step(W x), or after it, x⁺ = W step(x)."""

    def __init__(
        self, torch_optimizer: torch.optim.Optimizer, flat: Flat, start_mix: Callable[[Tensor], Any], *, before: bool
    ) -> None:
        super().__init__()
        self._inner, self._flat, self._start_mix, self._before = torch_optimizer, flat, start_mix, before
        self._under_way: list[Any] = []

    def begin(self) -> None:
        """Mixing that comes before the step needs no gradient."""
        self.begun = True
        if self._before:
            self._start()

    def step(self, closure: Closure | None, *, late: bool) -> Any:  # noqa: ARG002
        """One iteration."""
        try:
            if self._before:
                loss = None if closure is None else computed(closure)
                self._take()
                self._inner.step()
            else:
                loss = self._inner.step() if closure is None else self._inner.step(closure)
                self._start()
                self._take()
        finally:
            self._under_way, self.begun = [], False
        return loss

    def forget(self) -> None:
        """Something has failed: what was on its way does not come."""
        self._under_way, self.begun = [], False

    def _start(self) -> None:
        self._under_way = [self._start_mix(part.x) for part in self._flat]

    @torch.no_grad()
    def _take(self) -> None:
        for part, mixed in zip(self._flat, self._under_way, strict=True):
            if mixed is not None:
                part.x.copy_(mixed.wait().view(-1))


class Driven(Way):
    """Any method, called once an iteration for each vector of the model."""

    def __init__(
        self,
        torch_optimizer: torch.optim.Optimizer,
        flat: Flat,
        net: Network,
        script: Script,
        method: Method,
        parameters: Mapping[str, Any],
    ) -> None:
        super().__init__()
        self._inner, self._flat, self._net, self._script = torch_optimizer, flat, net, script
        self._method, self._chosen = method, parameters
        self._plain = type(self._inner) is torch.optim.SGD and not any(
            group["momentum"] or group["maximize"] for group in torch_optimizer.param_groups
        )
        """Whether what is subtracted is α(g + δx): then the method has α and the rest, and torch's own step is not made."""
        groups = {id(p): i for i, group in enumerate(torch_optimizer.param_groups) for p in group["params"]}
        self._groups = [[groups[id(place.parameter)] for place in part.places] for part in self._flat]
        self._given = self._parameters()
        self._memory = []
        for part in self._flat:
            self._net.segments = part.segments
            self._memory.append(method.start(self._net, _row(part.x), **self._given))
        self._rehearsals: list[Rehearsal] = []
        self._x: list[Tensor | None] = []

    def begin(self) -> None:
        """Say what needs no gradient, and take the model where it is asked for."""
        self._given = self._parameters()
        rehearsals = [self._rehearsed(part, s) for part, s in zip(self._flat, self._memory, strict=True)]
        self._rehearsals, self._x, self.begun = rehearsals, [None] * len(rehearsals), True
        for i, (part, rehearsal) in enumerate(zip(self._flat, rehearsals, strict=True)):
            if rehearsal.z is not None and rehearsal.z.data_ptr() != part.x.data_ptr():
                rehearsal.settle()  # the neighbours have read x
                self._x[i] = part.x.clone()
                part.x.copy_(rehearsal.z.view(-1))

    def _rehearsed(self, part: Part, s: Memory) -> Rehearsal:
        kept = dict(s.__dict__)
        self._net.segments = part.segments

        def call(ask: Any) -> None:
            self._method(self._net, _row(part.x), ask, s, **self._given)

        try:
            return Rehearsal(self._net, self._script, call)
        finally:
            s.__dict__.update(kept)

    def step(self, closure: Closure | None, *, late: bool) -> Any:
        """One iteration."""
        rehearsals, xs = self._rehearsals, self._x
        kept = [dict(s.__dict__) for s in self._memory]
        try:
            if late and closure is None and any(x is not None for x in xs):
                raise MethodError(
                    f"{self._method.name} takes its gradient elsewhere than at the parameters: call the model itself, in "
                    "training mode, as in model.train()(inputs), which takes them there first, or give step(closure)"
                )
            loss, slopes = self._slopes(closure, rehearsals, xs)
            with torch.no_grad():
                news = []
                for i, part in enumerate(self._flat):
                    self._script.play(rehearsals[i].said)
                    news.append(self._call(i, part, closure, slopes[i], rehearsals[i].z, xs[i]))
                for part, new, s in zip(self._flat, news, self._memory, strict=True):
                    part.keep_apart(s.__dict__)
                    part.x.copy_(new.view(-1))
        except BaseException:  # an interrupted iteration has not been, but for what torch's optimizer remembers of it
            with torch.no_grad():
                for part, x, s, before in zip(self._flat, xs, self._memory, kept, strict=True):
                    s.__dict__.update(before)
                    if x is not None:
                        part.x.copy_(x)
            raise
        finally:
            self._rehearsals, self._x, self.begun = [], [], False
            self._script.play(deque())
        return loss

    def _call(
        self, i: int, part: Part, closure: Closure | None, slope: Tensor, asked: Tensor | None, x: Tensor | None
    ) -> Tensor:
        """The method itself: the next x."""

        def grad(z: Tensor | None = None, *, fresh: bool = False) -> Tensor:
            if not fresh and (z is asked or (z is not None and asked is not None and torch.equal(z, asked))):
                return slope
            if closure is None or not self._plain:
                raise MethodError(
                    f"{self._method.name} asks for a second gradient within one iteration: use torch.optim.SGD without "
                    "momentum, and give step(closure)"
                )
            return self._elsewhere(i, part, closure, part.x if z is None else z)

        self._net.segments = part.segments
        return self._method(self._net, _row(part.x if x is None else x), grad, self._memory[i], **self._given)

    def _slopes(
        self, closure: Closure | None, rehearsals: list[Rehearsal], xs: list[Tensor | None]
    ) -> tuple[Any, list[Tensor]]:
        """The loss, and for each vector what the method takes for its gradient, as a row."""
        if self._plain:
            loss = None if closure is None else computed(closure)
            with torch.no_grad():
                slopes = [_row(self._slope(i, part)) for i, part in enumerate(self._flat)]
                return loss, slopes if closure is None else [slope.clone() for slope in slopes]  # another may be asked for
        for rehearsal in rehearsals:
            rehearsal.settle()  # the neighbours have read x, and it may change
        before = [part.x.clone() for part in self._flat]
        for i, here in enumerate(before):
            if xs[i] is None:
                xs[i] = here
        loss = self._inner.step() if closure is None else self._inner.step(closure)
        with torch.no_grad():
            return loss, [_row(here - part.x) for here, part in zip(before, self._flat, strict=True)]

    def _slope(self, i: int, part: Part) -> Tensor:
        """The gradient, with weight decay, of the groups of smaller learning rates less."""
        g = part.gradient()
        groups = self._inner.param_groups
        factors = [float(group["lr"]) / self._given["lr"] if self._given.get("lr") else 1.0 for group in groups]
        decays = [float(group["weight_decay"]) for group in groups]
        if any(decays) or any(factor != 1 for factor in factors):
            g = g.clone()
            for place, group in zip(part.places, self._groups[i], strict=True):
                piece = place.of(g)
                if decays[group] and place.parameter.grad is not None:
                    piece.add_(place.of(part.x), alpha=decays[group])
                if factors[group] != 1:
                    piece.mul_(factors[group])
        return g

    def _elsewhere(self, i: int, part: Part, closure: Closure, z: Tensor) -> Tensor:
        """The gradient at z of the same mini-batch, or a fresh one: as the closure gives it."""
        before = part.x.clone()
        part.x.copy_(z.view(-1))
        computed(closure)
        slope = self._slope(i, part).clone()
        part.x.copy_(before)
        return _row(slope)

    def _parameters(self) -> dict[str, Any]:
        given = dict(self._chosen)
        if "lr" in self._method.parameters:
            given["lr"] = max(float(group["lr"]) for group in self._inner.param_groups) if self._plain else 1.0
        return self._method.check_parameters(**given)

    def forget(self) -> None:
        """Something has failed: the model is taken back to x."""
        for part, x in zip(self._flat, self._x, strict=False):
            if x is not None:
                part.x.copy_(x)
        self._rehearsals, self._x, self.begun = [], [], False

    def swapped(self) -> None:
        """The topology is another one."""
        for part, s in zip(self._flat, self._memory, strict=True):
            self._net.segments = part.segments
            self._method.swapped(self._net, _row(part.x), s, **self._given)

    def state(self) -> list[dict[str, Tensor]]:
        """What the method remembers, for each vector."""
        if any(x is not None for x in self._x):
            raise ArgumentError(f"{self._method.name} is in the middle of an iteration: make its step, then ask for the state")
        return [{name: s[name].clone() for name in s} for s in self._memory]

    def restore(self, state: list[dict[str, Tensor]]) -> None:
        """Remember this."""
        for part, s, then in zip(self._flat, self._memory, state, strict=True):
            for name in s:
                setattr(s, name, then[name].to(part.device).clone())


def _row(x: Tensor) -> Tensor:
    return x.view(1, -1)


# ---------------------------------------------------------------------------------------------------- what is refused
def _check(method: Method, net: Network, parameters: Mapping[str, Any], torch_optimizer: torch.optim.Optimizer) -> None:
    if method.asynchronous:
        raise MethodError(
            f"{method.name} waits for nobody, and is no step that all ranks make: `ifog.experiment.Asynchronous` drives it; "
            "ifog.bluefog.DistributedWinPutOptimizer trains that way"
        )
    if "lr" in parameters:
        raise ArgumentError(f"lr={parameters['lr']!r}: the learning rate is torch's, as in torch.optim.SGD(…, lr=0.1)")
    checked = method.check(net, **parameters, **({"lr": 1.0} if "lr" in method.parameters else {}))
    momentum = max(group.get("momentum", 0) for group in torch_optimizer.param_groups)
    if momentum and checked.get("beta") and "H" not in checked:  # with H it is another one, over the rounds
        warnings.warn(
            f"momentum={momentum} of {type(torch_optimizer).__name__} and beta={checked['beta']} of {method.name} are two "
            "momenta, one on top of the other: leave out momentum, or say beta=0.0",
            IfogWarning,
            stacklevel=4,
        )


def _first_difference(theirs: Any, mine: Any) -> str:
    there = [(name, size, dtype) for dtype, places in theirs for name, size in places]
    here = [(name, size, dtype) for dtype, places in mine for name, size in places]
    for a, b in itertools.zip_longest(there, here):
        if a != b:
            return f"it has {_said(a)} where this one has {_said(b)}"
    return "its parameters lie in another order"


def _said(place: tuple[str, list[int], str] | None) -> str:
    return "nothing more" if place is None else f"{place[0]} ({place[2].removeprefix('torch.')} {place[1]})"
