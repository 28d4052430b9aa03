"""The calls that gradients flow through. Both are linear: the way back is the same call along the reversed edges.

It is made of the same functions, so gradients of gradients flow too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from . import collectives, roads
from .collectives import Plan
from .devices import HOST
from .operation import call, perform
from .packing import Packed
from .world import World


def neighbor_allreduce(here: World, packed: Packed, plan: Plan, token: object, said: str, name: str | None) -> Any:
    """``y = W x``; the gradient of x is ``Wᵀ`` times that of y."""
    return _give_back(packed, _Mix.apply(here, packed, plan, "neighbor_allreduce", token, said, name, *packed.tensors))  # type: ignore[no-untyped-call]


def allreduce(here: World, packed: Packed, op: str, name: str | None) -> Any:
    """The mean or the sum over all ranks; the gradient is the mean or the sum of all gradients."""
    return _give_back(packed, _Reduce.apply(here, packed, op, "allreduce", name, *packed.tensors))  # type: ignore[no-untyped-call]


def _give_back(packed: Packed, parts: tuple[torch.Tensor, ...]) -> Any:
    if packed.form is torch.Tensor:
        return parts[0]
    given = [p.detach().numpy() if array else p for p, array in zip(parts, packed.arrays, strict=True)]
    return dict(zip(packed.form, given, strict=True)) if isinstance(packed.form, list) else packed.form(given)


def _listed(value: Any) -> tuple[torch.Tensor, ...]:
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else [value]
    return tuple(torch.from_numpy(item) if isinstance(item, np.ndarray) else item for item in items)


def _packed(here: World, gradients: tuple[torch.Tensor, ...], form: Any) -> Packed:
    packed = Packed(gradients[0] if form is torch.Tensor else list(gradients), "the gradient")
    if packed.device not in HOST:
        roads.choose(here, packed)
    return packed


class _Mix(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, here: World, packed: Packed, plan: Plan, kind: str, token: object, said: str, name: str | None, *_: Any
    ) -> Any:
        ctx.arguments = here, plan, kind, token, said, name, packed.form
        signature = call(kind, name, packed.what, token, said)
        return _listed(perform(here, signature, collectives.mix(here, signature, packed, plan, None)))

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        here, plan, kind, token, said, name, form = ctx.arguments
        here.check()
        # what this rank weighted when it received, it now sends with that weight; what it scaled before, it now weights
        factors = dict(zip(plan.sources, plan.weights, strict=True)) | dict.fromkeys(plan.ignored, 0.0)
        ours = {rank: 1.0 if plan.factors is None else plan.factors[rank] for rank in plan.dests}
        back = Plan(
            plan.self_weight,
            tuple(sorted(ours)),
            tuple(ours[rank] for rank in sorted(ours)),
            tuple(sorted(factors)),
            factors,
            (),
            dynamic=True,
        )
        packed = _packed(here, gradients, form)
        return (None,) * 7 + _Mix.apply(here, packed, back, f"{kind}.backward", token, said, name, *gradients)  # type: ignore[no-untyped-call]


class _Reduce(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, here: World, packed: Packed, op: str, kind: str, name: str | None, *_: Any) -> Any:
        ctx.arguments = here, op, kind, name, packed.form
        signature = call(kind, name, packed.what, (op, False), f", {op}")
        return _listed(perform(here, signature, collectives.reduce(here, signature, packed, range(here.size), op, None)))

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        here, op, kind, name, form = ctx.arguments
        here.check()
        packed = _packed(here, gradients, form)
        return (None,) * 5 + _Reduce.apply(here, packed, op, f"{kind}.backward", name, *gradients)  # type: ignore[no-untyped-call]
