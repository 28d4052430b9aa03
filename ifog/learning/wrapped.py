"""A torch optimizer around another one: whatever steps it makes, users and torch's own tools find what they know."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ..comm import api, state
from ..errors import ArgumentError, IfogWarning
from ..experiment.crew import crew
from .flat import Flat
from .ranks import epoch

Closure = Callable[[], Any]

_hooks: weakref.WeakKeyDictionary[nn.Module, Hooks] = weakref.WeakKeyDictionary()
"""Of the last optimizer of each model: a cell that is run again makes another one, and those before it must keep still."""


class Way:
    """How steps are made."""

    def __init__(self) -> None:
        self.begun = False
        """Whether this iteration's messages may be on their way."""

    alike = False
    """Whether the parameters are the same on all ranks, and must be."""

    def begin(self) -> None:
        """The model is about to be computed: say what needs no gradient."""
        self.begun = True

    def step(self, closure: Closure | None, *, late: bool) -> Any:
        """One iteration; ``late`` if it begins here, when the model has been computed already."""
        raise NotImplementedError

    def forget(self) -> None:
        """Something has failed: what was begun will not be ended."""
        self.begun = False

    def swapped(self) -> None:
        """The topology is another one."""

    def hooks(self) -> list[Any]:
        """What it has hung on the parameters."""
        return []

    def state(self) -> list[dict[str, Tensor]]:
        """What it remembers, for each vector."""
        return []

    def restore(self, state: list[dict[str, Tensor]]) -> None:
        """Remember this."""


class Hooks:
    """What an optimizer has hung on its model."""

    def __init__(self) -> None:
        self.handles: list[Any] = []
        self.replaced = False

    def remove(self) -> None:
        """The model has another optimizer now."""
        self.replaced = True
        for handle in self.handles:
            handle.remove()


class _Tells:
    """Tells an optimizer that its model is about to be computed; a copy of the model has none to tell."""

    def __init__(self, optimizer: Wrapped | None = None) -> None:
        self._optimizer = None if optimizer is None else weakref.ref(optimizer)  # the vector goes with its last user

    def __call__(self, model: nn.Module, inputs: Any) -> None:  # noqa: ARG002
        optimizer = None if self._optimizer is None else self._optimizer()
        if optimizer is not None and model.training and torch.is_grad_enabled():
            optimizer._called(model)

    def __reduce__(self) -> Any:
        return _Tells, ()


class Wrapped(torch.optim.Optimizer):
    """An optimizer whose parameter groups and torch state are those of ``torch_optimizer``."""

    def __init__(self, torch_optimizer: torch.optim.Optimizer, model: nn.Module) -> None:
        self.torch_optimizer = torch_optimizer
        self.flat = Flat(model)
        """The model's parameters as vectors."""
        super().__init__(list(torch_optimizer.param_groups), torch_optimizer.defaults)
        self.steps = 0
        """How many were made."""
        self._way = Way()
        self._on = Hooks()
        self._epoch = epoch()
        self._known = {id(place.parameter) for part in self.flat for place in part.places}

    def _follow(self, way: Way, *models: nn.Module) -> None:
        """Step that way, and begin when a model is computed."""
        self._way = way
        for model in models:
            before = _hooks.pop(model, None)
            if before is not None:
                before.remove()
            _hooks[model] = self._on
            self._on.handles.append(model.register_forward_pre_hook(_Tells(self)))
        self._on.handles += way.hooks()

    def _called(self, model: nn.Module) -> None:  # noqa: ARG002
        """The model is about to be computed, to be trained: what needs no gradient may begin."""
        self._begin()

    def _begin(self) -> bool:
        """Whether that was to be done."""
        now = epoch()
        if now != self._epoch:
            self._epoch = now
            self._after_failure()
        if self._way.begun:
            return False
        for group in self.param_groups:
            for p in group["params"]:
                if p.requires_grad and id(p) not in self._known:
                    raise ArgumentError(
                        f"a parameter of shape {list(p.shape)} was frozen when this optimizer was made, and is trained now: "
                        "make the optimizer anew"
                    )
        with torch.no_grad():
            for part in self.flat:
                part.check()
            self._way.begin()
        return True

    @torch.no_grad()
    def _after_failure(self) -> None:
        """Something has failed, perhaps in the middle of a step: let all ranks go on from the same one."""
        self._way.forget()
        steps = api.allgather_object(self.steps)
        most = max(steps)
        if min(steps) == most:
            return
        first = steps.index(most)
        self._made(most - self.steps)
        if self._way.alike:
            state.broadcast_parameters([part.x for part in self.flat], first)
            state.broadcast_optimizer_state(self.torch_optimizer, first)
        warnings.warn(
            f"step {most} failed on some ranks only, and rank {first} has made it: "
            + ("all go on from there" if self._way.alike else "each goes on from where it is"),
            IfogWarning,
            stacklevel=3,
        )

    def _made(self, steps: int) -> None:
        """So many steps more."""
        self.steps += steps

    def step(self, closure: Closure | None = None) -> Any:
        """One iteration, on all ranks."""
        if self._on.replaced:
            raise ArgumentError("this optimizer's model has been given another one since: make steps with that")
        late = self._begin()
        if hasattr(self, "found_inf") and not self._scaled_well():
            return None
        loss = self._way.step(closure, late=late)
        self._made(1)
        self.torch_optimizer.__dict__["_opt_called"] = True  # a scheduler of torch's own optimizer asks for it
        return loss

    # -------------------------------------------------------------------------------------------- what torch's one has
    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Those of torch's optimizer: schedulers change the learning rate there."""
        return self.torch_optimizer.param_groups

    @param_groups.setter
    def param_groups(self, groups: list[dict[str, Any]]) -> None:
        self.torch_optimizer.param_groups = groups

    @property
    def state(self) -> Any:
        """What torch's optimizer remembers."""
        return self.torch_optimizer.state

    @state.setter
    def state(self, state: Any) -> None:
        """Torch's base class begins with none: what there is stays."""

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Refused: what is to be mixed lies in vectors that were made with the optimizer."""
        if hasattr(self, "_known"):
            raise ArgumentError("add_param_group: give all parameters to torch's optimizer, and make this one anew")
        super().add_param_group(param_group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """As ever."""
        self.torch_optimizer.zero_grad(set_to_none)

    # --------------------------------------------------------------------------------------------------------------- AMP
    _step_supports_amp_scaling = True  # so that GradScaler lets all ranks step, or none; for the step it gives
    found_inf: Tensor
    grad_scale: Tensor | None

    def _scaled_well(self) -> bool:
        """Whether the gradients of all ranks are finite; then the scale of GradScaler is taken out of them."""
        bad = self.found_inf.sum().reshape(1).float()
        if crew().size > 1:
            bad = api.allreduce(bad, "sum")
        if bad.item():
            return False
        if self.grad_scale is not None:
            with torch.no_grad():
                for group in self.param_groups:
                    for p in group["params"]:
                        if p.grad is not None:
                            p.grad.div_(self.grad_scale.to(p.device))
        return True


def computed(closure: Closure) -> Any:
    """What it computes, gradients included."""
    with torch.enable_grad():
        return closure()


def check_known(torch_optimizer: torch.optim.Optimizer, model: nn.Module) -> dict[int, str]:
    """The parameters' names by their ids, if model and optimizer belong together."""
    if not isinstance(torch_optimizer, torch.optim.Optimizer) or isinstance(torch_optimizer, Wrapped):
        raise ArgumentError(
            f"torch_optimizer is of type {type(torch_optimizer).__name__}: give one of torch.optim, e.g. "
            "torch.optim.SGD(model.parameters(), lr=0.1)"
        )
    if not isinstance(model, nn.Module):
        raise ArgumentError(f"model is of type {type(model).__name__}: give a torch module, e.g. torch.nn.Linear(2, 1)")
    named = {id(p): name for name, p in model.named_parameters()}
    known = {id(p) for group in torch_optimizer.param_groups for p in group["params"]}
    for name, p in model.named_parameters():
        if p.requires_grad and id(p) not in known:
            raise ArgumentError(
                f"model: {name} is to be trained, but {type(torch_optimizer).__name__} does not know it: give it to the "
                "optimizer, or freeze it with requires_grad_(False)"
            )
    for g, group in enumerate(torch_optimizer.param_groups):
        for i, p in enumerate(group["params"]):
            if id(p) not in named:
                raise ArgumentError(
                    f"torch_optimizer: parameter {i} of group {g}, of shape {list(p.shape)}, is none of the model: make the "
                    "optimizer from model.parameters()"
                )
    return named
