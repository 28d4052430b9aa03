"""A model's parameters as one vector, of which they are views.

What the nodes exchange is a vector. A model has many tensors, and to copy them into one and back takes as long as to send it.
So the parameters are moved once, into memory that the neighbours read: the model computes there, and mixing needs no packing.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..errors import ArgumentError
from .ranks import memory


class Place(NamedTuple):
    """Where a parameter lies in its vector."""

    name: str
    parameter: nn.Parameter
    begin: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    def of(self, vector: Tensor) -> Tensor:
        """The part of a vector, in the form of the parameter."""
        return vector.as_strided(self.size, self.stride, vector.storage_offset() + self.begin)


class Part:
    """The parameters of one dtype on one device, in one vector ``x``."""

    def __init__(self, named: list[tuple[str, nn.Parameter]]) -> None:
        self.places: list[Place] = []
        at = 0
        for name, p in named:
            stride = p.stride() if _dense(p) else torch.empty(p.shape, device="meta").stride()
            self.places.append(Place(name, p, at, tuple(p.shape), stride))
            at += p.numel()
        first = named[0][1]
        self.dtype, self.device = first.dtype, first.device
        self.x = memory(at, dtype=self.dtype, device=self.device)
        """The vector: the parameters are views of it."""
        self.segments = tuple(p.numel() for _, p in named)
        """How long the tensors are that lie one after the other in it."""
        with torch.no_grad():
            for place in self.places:
                view = place.of(self.x)
                view.copy_(place.parameter)
                place.parameter.data = view

    def views(self, vector: Tensor) -> dict[str, Tensor]:
        """Any vector of this form as tensors, by the names of the parameters."""
        return {place.name: place.of(vector) for place in self.places}

    @cached_property
    def _gradients(self) -> tuple[Tensor, list[Tensor]]:
        """Memory for the gradients, and the views that parameters have of it."""
        whole = memory(self.x.numel(), dtype=self.dtype, device=self.device).zero_()
        return whole, [place.of(whole) for place in self.places]

    @torch.no_grad()
    def gradient(self) -> Tensor:
        """The gradients as one vector, of which they are views from now on; zeros where there is none."""
        whole, views = self._gradients
        for i, view in enumerate(views):
            if self.places[i].parameter.grad is None:
                view.zero_()
            else:
                self.take_gradient(i)
        return whole

    def take_gradient(self, i: int) -> None:
        """The gradient of the i-th parameter is a view of that vector from now on."""
        view = self._gradients[1][i]
        found = self.places[i].parameter.grad
        if found is not None and found is not view:
            view.copy_(found)
            self.places[i].parameter.grad = view

    def have_gradient(self, i: int) -> None:
        """The same; where there is none, it is zero from now on."""
        parameter, view = self.places[i].parameter, self._gradients[1][i]
        if parameter.grad is None and parameter.requires_grad:
            parameter.grad = view.zero_()
        self.take_gradient(i)

    @property
    def gradients(self) -> Tensor:
        """The vector that the gradients are views of, whatever is in it."""
        return self._gradients[0]

    def keep_apart(self, memory: dict[str, Tensor]) -> None:
        """Give each tensor that lies in the vector, or in that of the gradients, memory of its own: those change in place."""
        vectors = [self.x, self.gradients] if "_gradients" in self.__dict__ else [self.x]
        mine = {vector.untyped_storage().data_ptr() for vector in vectors}
        for name, tensor in memory.items():
            if tensor.untyped_storage().data_ptr() in mine:
                memory[name] = tensor.clone()

    def check(self) -> None:
        """Whether the parameters are still views of the vector; moved ones are brought back, if that can be."""
        base, width = self.x.data_ptr(), self.x.element_size()
        for place in self.places:
            p = place.parameter
            if p.data_ptr() == base + place.begin * width and p.dtype is self.dtype:
                continue
            if (p.dtype, p.device, tuple(p.shape)) != (self.dtype, self.device, place.size):
                raise ArgumentError(
                    f"model: {place.name} was {_words(self.dtype, self.device, place.size)} and is "
                    f"{_words(p.dtype, p.device, tuple(p.shape))} now: move the model first, as in model.to(…), and then make "
                    "its optimizer"
                )
            with torch.no_grad():
                view = place.of(self.x)
                view.copy_(p)
                p.data = view


class Flat:
    """All parameters of a model that are trained, as a vector for each dtype.

    Those of modules with children are among them, tied ones once; frozen ones stay where they are.

    >>> model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    >>> flat = Flat(model)
    >>> [(len(part.x), part.segments) for part in flat]
    [(13, (6, 3, 3, 1))]
    >>> x = flat[0].x.zero_()  # the model has it at once
    >>> model[1].bias
    Parameter containing:
    tensor([0.], requires_grad=True)
    """

    def __init__(self, model: nn.Module) -> None:
        if not isinstance(model, nn.Module):
            raise ArgumentError(f"model is of type {type(model).__name__}: give a torch module, e.g. torch.nn.Linear(2, 1)")
        named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        if not named:
            raise ArgumentError("model has no parameter with requires_grad: there is nothing to train")
        kinds: dict[tuple[torch.dtype, torch.device], list[tuple[str, nn.Parameter]]] = {}
        for name, p in named:
            if p.is_meta or p.layout is not torch.strided:
                raise ArgumentError(f"model: {name} is {p.dtype} with layout {p.layout} on {p.device}: give it dense numbers")
            kinds.setdefault((p.dtype, p.device), []).append((name, p))
        self.parts = [Part(some) for some in kinds.values()]

    def __iter__(self) -> Iterator[Part]:
        return iter(self.parts)

    def __len__(self) -> int:
        return len(self.parts)

    def __getitem__(self, i: int) -> Part:
        return self.parts[i]

    @property
    def numel(self) -> int:
        """How many numbers there are in all."""
        return sum(part.x.numel() for part in self.parts)


def _dense(p: Tensor) -> bool:
    """Whether the numbers fill their memory without gaps, in whatever order: channels last stays so."""
    reach = 1
    for stride, length in sorted(zip(p.stride(), p.shape, strict=True)):
        if length > 1:
            if stride != reach:
                return False
            reach = stride * length
    return True


def _words(dtype: torch.dtype, device: torch.device, size: tuple[int, ...]) -> str:
    return f"{str(dtype).removeprefix('torch.')} {list(size)} on {device}"
