"""BlueFog's optimizers: torch's own step, with the parameters averaged before or after it, or the gradients.

What BlueFog does for every parameter is done for all of them at once here: they are views of one vector, which neighbours read
where it lies. So none is overlooked, whichever module it belongs to; every torch optimizer makes its own step, with the state
that it has; and gradients may be clipped or scaled before it.
"""

from __future__ import annotations

import contextlib
import enum
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ArgumentError
from ..learning.gradients import Gradients
from ..learning.stepping import Around
from ..learning.wrapped import Closure, Way, Wrapped, check_known
from ..problems.arguments import whole
from . import averaging, windows
from .session import check, refused, size

Models = nn.Module | Sequence[nn.Module]


class CommunicationType(enum.Enum):
    """How an optimizer's parameters are averaged."""

    neighbor_allreduce = "neighbor.allreduce"
    hierarchical_neighbor_allreduce = "hierarchical.neighbor.allreduce"
    allreduce = "allreduce"
    empty = "empty"


class _Handle:
    """BlueFog's number of a call, as something to wait for."""

    def __init__(self, number: int) -> None:
        self._number = number

    def wait(self) -> Tensor:
        return averaging.wait(self._number)


class DistributedOptimizer(Wrapped):
    """What they have in common: every ``num_steps_per_communication``-th computation of the model communicates."""

    def __init__(self, optimizer: torch.optim.Optimizer, model: Models, num_steps_per_communication: int) -> None:
        check()
        try:
            self._every = whole("num_steps_per_communication", num_steps_per_communication, minimum=1, error=ArgumentError)
            models = [model] if isinstance(model, nn.Module) else list(model)
            whole_model = models[0] if len(models) == 1 else nn.ModuleList(models)
            check_known(optimizer, whole_model)
            super().__init__(optimizer, whole_model)
        except ArgumentError as error:
            raise refused(error) from None
        self._models = models
        self._passes, self._seen = 0, False

    def _called(self, model: nn.Module) -> None:
        if model is self._models[0]:
            self._passes, self._seen = self._passes + 1, True
        self._passed()
        if self._now:
            self._begin()

    def _passed(self) -> None:
        """The model is computed once more."""

    def _after_failure(self) -> None:
        super()._after_failure()
        self._passes = 1

    @property
    def _now(self) -> bool:
        """Whether it is time to communicate."""
        return self._passes >= self._every

    def step(self, closure: Closure | None = None) -> Any:
        """One step of torch's optimizer, and what it takes to communicate."""
        if not self._seen:  # the model was not called itself
            self._passes += 1
        loss = super().step(closure)
        if self._now:
            self._passes = 0
        self._seen = False
        return loss

    def synchronize(self) -> None:
        """Nothing is left to wait for outside of a step."""

    @contextlib.contextmanager
    def skip_synchronize(self) -> Iterator[None]:
        """Nothing is waited for twice."""
        yield

    def turn_on_timeline(self) -> bool:
        """A timeline shows every call: `ifog.start_timeline`."""
        return False

    def turn_off_timeline(self) -> bool:
        """The same."""
        return False


class _Combining(DistributedOptimizer):
    """The parameters are averaged; how may be changed before each computation of the model."""

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        model: Models,
        communication_type: CommunicationType,
        num_steps_per_communication: int,
        *,
        before: bool,
    ) -> None:
        super().__init__(optimizer, model, num_steps_per_communication)
        self.communication_type = communication_type
        self.self_weight: float | None = None
        self.src_weights: dict[int, float] | None = None
        self.dst_weights: dict[int, float] | list[int] | None = None
        self.src_machine_weights: dict[int, float] | None = None
        self.dst_machine_weights: dict[int, float] | list[int] | None = None
        self.enable_topo_check = False
        me = weakref.proxy(self)
        self._follow(Around(optimizer, self.flat, lambda x: me._start(x), before=before), *self._models)

    @property
    def communication_type(self) -> CommunicationType:
        """How the parameters are averaged."""
        return self._type

    @communication_type.setter
    def communication_type(self, kind: CommunicationType) -> None:
        if not isinstance(kind, CommunicationType):
            raise refused(AssertionError(f"communication_type={kind!r}: one of bf.CommunicationType"))
        self._type = kind

    def _start(self, x: Tensor) -> _Handle | None:
        if not self._now or self._type is CommunicationType.empty or size() == 1:
            return None
        if self._type is CommunicationType.allreduce:
            return _Handle(averaging.allreduce_nonblocking(x))
        if self._type is CommunicationType.neighbor_allreduce:
            number = averaging.neighbor_allreduce_nonblocking(
                x, self_weight=self.self_weight, src_weights=self.src_weights, dst_weights=self.dst_weights
            )
        else:
            number = averaging.hierarchical_neighbor_allreduce_nonblocking(
                x,
                self_weight=self.self_weight,
                src_machine_weights=self.src_machine_weights,
                dst_machine_weights=self.dst_machine_weights,
            )
        return _Handle(number)

    def register_step_function(self, step_function: Any) -> None:  # noqa: ARG002
        """Refused: BlueFog needs it for optimizers that it does not know, and here every one makes its own step."""
        kind = type(self.torch_optimizer).__name__
        raise refused(NotImplementedError(f"register_step_function: {kind} makes its own step here; leave it out"))

    def __setattr__(self, name: str, value: Any) -> None:
        new = {"neighbor_weights": "src_weights", "send_neighbors": "dst_weights"}.get(name)
        if new is not None:  # which BlueFog takes without a word, and forgets
            raise refused(TypeError(f"{name} is deprecated: set {new} instead"))
        super().__setattr__(name, value)


class _Averaging(DistributedOptimizer):
    """The gradients are averaged."""

    def __init__(self, optimizer: torch.optim.Optimizer, model: Models, num_steps_per_communication: int) -> None:
        super().__init__(optimizer, model, num_steps_per_communication)
        self._gradients = Gradients(optimizer, self.flat, size())
        self._follow(self._gradients, *self._models)

    def _passed(self) -> None:
        self._gradients.averaging.paused = not self._now


class _Putting(DistributedOptimizer):
    """The parameters are put into the neighbours' windows, and averaged with whatever has come."""

    def __init__(
        self, optimizer: torch.optim.Optimizer, model: Models, num_steps_per_communication: int, window_prefix: str | None
    ) -> None:
        super().__init__(optimizer, model, num_steps_per_communication)
        self.dst_weights: dict[int, float] | None = None
        self.force_barrier = False
        prefix = "" if window_prefix is None else f"{window_prefix}."
        self._windows = [f"{prefix}{str(part.dtype).removeprefix('torch.')} parameters" for part in self.flat]
        if size() > 1:
            for part, name in zip(self.flat, self._windows, strict=True):
                if not windows.win_create(part.x, name):
                    raise refused(ArgumentError(f"there is a window {name!r} already: give another window_prefix"))
        self._follow(_Put(weakref.proxy(self)), *self._models)

    def unregister_window(self) -> None:
        """Free its windows: a collective."""
        if size() > 1:
            for name in self._windows:
                windows.win_free(name)


class _Put(Way):
    def __init__(self, owner: _Putting) -> None:
        super().__init__()
        self._owner = owner
        self._under_way: list[int] = []

    def begin(self) -> None:
        self.begun = True
        owner = self._owner
        if owner._now and size() > 1:
            self._under_way = [
                windows.neighbor_win_put_nonblocking(part.x, name, dst_weights=owner.dst_weights, require_mutex=True)
                for part, name in zip(owner.flat, owner._windows, strict=True)
            ]

    def step(self, closure: Closure | None, *, late: bool) -> Any:  # noqa: ARG002
        owner = self._owner
        try:
            if self._under_way:
                for number in self._under_way:
                    windows.win_wait(number)
                if owner.force_barrier:
                    averaging.barrier()
                with torch.no_grad():
                    for name in owner._windows:
                        windows.win_update(name, require_mutex=True)
            return owner.torch_optimizer.step() if closure is None else owner.torch_optimizer.step(closure)
        finally:
            self._under_way, self.begun = [], False


# ------------------------------------------------------------------------------------------------------ BlueFog's names
def DistributedAdaptThenCombineOptimizer(
    optimizer: torch.optim.Optimizer,
    model: Models,
    communication_type: CommunicationType = CommunicationType.neighbor_allreduce,
    num_steps_per_communication: int = 1,
) -> DistributedOptimizer:
    """x⁺ = W (x − α g(x)): the averaging comes after the step."""
    return _Combining(optimizer, model, communication_type, num_steps_per_communication, before=False)


def DistributedAdaptWithCombineOptimizer(
    optimizer: torch.optim.Optimizer,
    model: Models,
    communication_type: CommunicationType = CommunicationType.neighbor_allreduce,
    num_steps_per_communication: int = 1,
) -> DistributedOptimizer:
    """x⁺ = W x − α g(x): what is averaged travels while the gradient is computed."""
    return _Combining(optimizer, model, communication_type, num_steps_per_communication, before=True)


def DistributedGradientAllreduceOptimizer(
    optimizer: torch.optim.Optimizer, model: Models, num_steps_per_communication: int = 1
) -> DistributedOptimizer:
    """The mean of all gradients, on every rank: it travels while the rest of them is computed."""
    return _Averaging(optimizer, model, num_steps_per_communication)


def DistributedAllreduceOptimizer(
    optimizer: torch.optim.Optimizer, model: Models, num_steps_per_communication: int = 1
) -> DistributedOptimizer:
    """x⁺ = mean(x) − α g(x)."""
    return _Combining(optimizer, model, CommunicationType.allreduce, num_steps_per_communication, before=True)


def DistributedNeighborAllreduceOptimizer(
    optimizer: torch.optim.Optimizer, model: Models, num_steps_per_communication: int = 1
) -> DistributedOptimizer:
    """x⁺ = W x − α g(x)."""
    return _Combining(optimizer, model, CommunicationType.neighbor_allreduce, num_steps_per_communication, before=True)


def DistributedHierarchicalNeighborAllreduceOptimizer(
    optimizer: torch.optim.Optimizer, model: Models, num_steps_per_communication: int = 1
) -> DistributedOptimizer:
    """x⁺ = W x − α g(x), machine by machine."""
    kind = CommunicationType.hierarchical_neighbor_allreduce
    return _Combining(optimizer, model, kind, num_steps_per_communication, before=True)


def DistributedWinPutOptimizer(
    optimizer: torch.optim.Optimizer, model: Models, num_steps_per_communication: int = 1, window_prefix: str | None = None
) -> DistributedOptimizer:
    """x⁺ = W x − α g(x) with whatever x has arrived: nobody waits. A collective."""
    return _Putting(optimizer, model, num_steps_per_communication, window_prefix)
