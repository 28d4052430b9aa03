"""A torch optimizer's step in place of a method's: for all nodes hosted here at once.

What torch subtracts from the parameters takes the place of α∇f(x), as in `ifog.learning.optimizer`. Adam and its like treat
every number by itself, so the models of all nodes are one tensor [k, d] to them; what they remember becomes memory of the
method, and so is saved, moved and shared out like all of it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ..algorithms import Memory, Method
from ..algorithms.method import Gradient
from ..errors import ArgumentError, MethodError
from ..network import Network

Maker = Callable[[list[Tensor]], torch.optim.Optimizer]

_BEGUN = "torch_begun"


def stepped(method: Method, make: Any) -> Method:
    """The method with the steps of the optimizer that ``make([x])`` gives, such as ``torch.optim.AdamW``."""
    if method.asynchronous or "lr" not in method.parameters:
        why = "its nodes step by themselves" if method.asynchronous else "it makes no steps"
        raise MethodError(f"optimizer=… with {method.name}: {why}; choose a method with an lr, such as 'atc'")
    return Stepped(method, make)


class Stepped(Method):
    """Made by `stepped`."""

    def __init__(self, method: Method, make: Any) -> None:
        step = Step(method, make)
        parts = {f"torch_{name}": (_like if full else _column) for name, full in step.state.items()}
        super().__init__(step, method.needs, {**method.memory, _BEGUN: _column, **parts}, method.on_swap)
        self._made_of = method, make

    def __reduce__(self) -> Any:
        """Engines make it anew."""
        return stepped, self._made_of


class Step:
    """What is called once an iteration."""

    def __init__(self, method: Method, make: Any) -> None:
        self.method, self._make = method, make
        self._optimizer = self._made(torch.zeros(1, 1))
        self.state = self._remembered()
        """What the optimizer remembers, and whether it does of every number."""
        self.__name__ = self.__qualname__ = f"{method.name} with {type(self._optimizer).__name__}"
        self.__doc__ = method.text
        self.__signature__ = inspect.signature(method.function)

    def __call__(self, net: Network, x: Tensor, grad: Gradient, s: Memory, **parameters: Any) -> Tensor:
        """One iteration of the method, in which what torch's step subtracts is the gradient, and lr is 1."""
        asked = False

        def subtracted(z: Tensor | None = None, *, fresh: bool = False) -> Tensor:
            nonlocal asked
            if asked or fresh:
                raise MethodError(
                    f"{self.method.name} asks for a second gradient within one iteration, and {type(self._optimizer).__name__} "
                    "makes one step: leave optimizer=… out"
                )
            asked = True
            here = x if z is None else z
            return here - self._stepped(here, grad() if z is None else grad(z), s, float(parameters["lr"]))

        return self.method.function(net, x, subtracted, s, **{**parameters, "lr": 1.0})

    def _stepped(self, x: Tensor, g: Tensor, s: Memory, lr: float) -> Tensor:
        p = x.detach().clone().requires_grad_()
        p.grad = g
        optimizer = self._optimizer
        optimizer.param_groups[0].update(params=[p], lr=lr)
        optimizer.state.clear()
        if bool((s[_BEGUN] > 0).any()):
            # copies: an interrupted iteration has not been, and torch writes into what it remembers
            kept = {name: s[f"torch_{name}"] for name in self.state}
            optimizer.state[p] = {name: part.clone() if self.state[name] else part[0, 0].clone() for name, part in kept.items()}
        optimizer.step()
        found = optimizer.state[p]
        optimizer.state.clear()
        for name, full in self.state.items():
            value = found[name]
            setattr(s, f"torch_{name}", value if full else _column(None, x) + value)
        setattr(s, _BEGUN, _column(None, x) + 1)
        return p.detach()

    def _made(self, x: Tensor) -> torch.optim.Optimizer:
        try:
            optimizer = self._make([x.requires_grad_()])
        except TypeError as error:
            raise ArgumentError(
                f"optimizer={self._make!r:.60}: give a torch optimizer's class, or a function that makes one of a list of "
                f"tensors, such as functools.partial(torch.optim.AdamW, weight_decay=0.01): {error}"
            ) from None
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise ArgumentError(f"optimizer={self._make!r:.60}: it made a {type(optimizer).__name__}, and no torch optimizer")
        return optimizer

    def _remembered(self) -> Mapping[str, bool]:
        """What is remembered, once it is sure that rows do not mix."""
        draws = torch.Generator().manual_seed(0)
        start, slopes = torch.randn(2, 3, generator=draws), torch.randn(2, 2, 3, generator=draws)

        def after(rows: slice) -> tuple[Tensor, Mapping[str, Any]]:
            p = start[rows].clone()
            optimizer = self._made(p)
            for slope in slopes:
                p.grad = slope[rows].clone()
                optimizer.step()
            return p.detach(), dict(optimizer.state[p])

        try:
            whole, state = after(slice(0, 2))
            apart = torch.cat([after(slice(0, 1))[0], after(slice(1, 2))[0]])
        except (TypeError, RuntimeError, ValueError) as error:
            raise ArgumentError(
                f"optimizer={self._make!r:.60}: it cannot step on plain vectors: {str(error).splitlines()[0]}"
            ) from error
        parts = {name: part for name, part in state.items() if part is not None}
        numbers = {name: isinstance(part, Tensor) and part.shape in ((), (2, 3)) for name, part in parts.items()}
        if not torch.equal(whole, apart) or not all(numbers.values()):
            raise ArgumentError(
                f"optimizer={self._make!r:.60}: it does not treat every number by itself, as SGD, Adam, AdamW and RMSprop do; "
                "on ranks, ifog.learning.optimizer takes any"
            )
        return {name: part.shape == (2, 3) for name, part in parts.items()}


def _like(net: Any, x: Tensor) -> Tensor:  # noqa: ARG001
    return torch.zeros_like(x)


def _column(net: Any, x: Tensor) -> Tensor:  # noqa: ARG001
    return x.new_zeros(len(x), 1, dtype=torch.promote_types(x.dtype, torch.float32))  # bfloat16 counts to 256
