"""Problems of one's own: from a function of one vector and one node's data, or from a gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import ProblemError
from .arguments import real, whole
from .contract import Problem

Function = Callable[[Tensor, Any], Tensor]

_NEXT = "f(x, data_i) gets one vector x of shape ({d},) and the data of one node, and must return one number"


class _Own(Problem):
    """What was said about it, instead of what can be found out."""

    _known: tuple[float | None, float | None]

    def _start(self) -> Tensor:
        return self._shared["start"]

    def _minimizer(self, *args: Any, **data: Any) -> Tensor | None:  # noqa: ARG002
        return self._shared.get("optimum")

    def _curvature(self, *args: Any, **data: Any) -> tuple[float | None, float | None]:  # noqa: ARG002
        return self._known

    def _told(self, name: str, L: float | None, mu: float | None) -> None:
        self.name, self.label = name, f"{name}({self.n})"
        self._known = None if L is None else real("L", L, above=0), None if mu is None else real("mu", mu, at_least=0)

    def _tried(self, f: str) -> None:
        """Once at the start, for all nodes: what is wrong with a function shows here, and not deep inside a run."""
        nodes = range(self.n)
        with_loss = not isinstance(self, FromGradient) or self._function is not None
        x = self.start(nodes)
        for what, values in (
            ("value", self.loss(x, nodes) if with_loss else torch.zeros(1)),
            ("gradient", self.gradient(x, nodes)),
        ):
            wrong = (~torch.isfinite(values.detach().reshape(len(values), -1)).all(1)).nonzero()
            if len(wrong):
                i = int(wrong[0])
                raise ProblemError(
                    f"{f}: at the start its {what} is {values[i].tolist()} for node {i}; it must be finite there: "
                    "choose another start, or look at the data of this node"
                )


class FromFunction(_Own):
    """Made by `from_function`."""

    _function: Function
    _form: Any  # of the data: a dict's keys, the length of a tuple, None for a single tensor

    def _of_one(self, x: Tensor, parts: dict[str, Tensor]) -> Tensor:
        return self._function(x, _assembled(self._form, list(parts.values())))

    def _f(self, x: Tensor, **data: Tensor) -> Tensor:
        values: Tensor = torch.func.vmap(self._of_one)(x, data)
        return values

    def _gradient(self, x: Tensor, **data: Tensor) -> Tensor:
        gradients: Tensor = torch.func.vmap(torch.func.grad(self._of_one))(x, data)
        return gradients


class FromGradient(_Own):
    """Made by `from_gradient`."""

    _function: Callable[[Tensor, int], Any] | None
    _derivative: Callable[[Tensor, int], Any]

    @property
    def knows_loss(self) -> bool:
        """Whether a function came with the gradient."""
        return self._function is not None

    def _f(self, x: Tensor, node: Tensor) -> Tensor:
        if self._function is None:
            raise ProblemError(f"{self.label} knows gradients only: from_gradient(gradient, n, d, loss=…) gives it a function")
        values = [torch.as_tensor(self._function(row, i)) for row, i in zip(x, node.tolist(), strict=True)]
        for i, value in zip(node.tolist(), values, strict=True):
            if value.numel() != 1:
                raise ProblemError(f"loss(x, {i}) has shape {tuple(value.shape)}: it must be one number")
        return torch.stack([value.reshape(()).to(x) for value in values]) if values else x.new_zeros(0)

    def _gradient(self, x: Tensor, node: Tensor) -> Tensor:
        rows = [torch.as_tensor(self._derivative(row, i)) for row, i in zip(x, node.tolist(), strict=True)]
        for i, row in zip(node.tolist(), rows, strict=True):
            if row.shape != (self.d,):
                raise ProblemError(f"gradient(x, {i}) has shape {tuple(row.shape)}: it must have that of x, ({self.d},)")
        return torch.stack([row.to(x) for row in rows]) if rows else x.new_zeros(0, self.d)


def from_function(
    f: Function,
    data: Any,
    *,
    d: int,
    n: int | None = None,
    samples: bool = False,
    start: Any = None,
    optimum: Any = None,
    L: float | None = None,
    mu: float | None = None,
    noise: float = 0.0,
    name: str | None = None,
) -> FromFunction:
    """A problem from ``f(x, data_i)``: a function, written in torch, of one vector [d] and the data of one node.

    ``data`` is a tensor whose leading axis is the node, or a tuple or dict of such tensors; f gets the same with the node's
    entries. With ``samples=True`` the second axis of each counts the node's samples, of which a batch takes some: f should
    then be a mean over them. Gradients come from autograd, for all nodes at once (`torch.func.vmap`). What is known may be
    given: the ``optimum``, ``L`` and ``mu``; it is not checked. ``start`` is zeros unless given, the same for all nodes.

    >>> import torch
    >>> centers = torch.tensor([[0.0], [1.0], [5.0]])
    >>> p = from_function(lambda x, c: ((x - c) ** 2).sum() / 2, centers, d=1, optimum=[2.0], L=1, mu=1)
    >>> p.gradient(p.start(range(3)), range(3)).flatten().tolist()
    [0.0, -1.0, -5.0]
    """
    if not callable(f):
        raise ProblemError(f"f={f!r}: it must be a function, f(x, data_i)")
    form, parts = _taken_apart(data)
    dtype = _common_dtype(parts)
    sizes = {key: len(part) for key, part in parts.items()}
    if n is None:
        n = next(iter(sizes.values()))
    n, d = whole("n", n, minimum=1), whole("d", d, minimum=1)
    for key, size in sizes.items():
        if size != n:
            raise ProblemError(f"{key} has {size} rows and n={n}: its leading axis is the node, of shape ({n}, …)")
    K = None
    if samples:
        counts = {key: part.shape[1] if part.ndim > 1 else None for key, part in parts.items()}
        K = next(iter(counts.values()))
        if K is None or K == 0 or set(counts.values()) != {K}:
            shapes = ", ".join(f"{key} has shape {tuple(part.shape)}" for key, part in parts.items())
            raise ProblemError(f"samples=True: {shapes}: the second axis of each must count the same samples")
    vectors = _vectors(d, dtype, start, optimum)
    made = FromFunction(d=d, data=parts, shared=vectors, samples=K, gradient_noise=noise)
    made._function, made._form = f, form
    made._told(name or getattr(f, "__name__", "own").replace("<lambda>", "own"), L, mu)
    _returns_a_number(f, made._start(), _assembled(form, [part[0] for part in parts.values()]))
    if samples:
        some = _assembled(form, [part[0, :1] for part in parts.values()])
        _returns_a_number(f, made._start(), some)  # as in a batch
    try:
        made._tried("f")
    except RuntimeError as error:
        raise ProblemError(
            f"f works for one node and not for all at once with torch.func.vmap: {str(error).splitlines()[0]} "
            "(no .item(), no `if` on values, nothing in place; or give the gradient yourself, with from_gradient)"
        ) from error
    return made


def from_gradient(
    gradient: Callable[[Tensor, int], Any],
    n: int,
    d: int,
    *,
    loss: Callable[[Tensor, int], Any] | None = None,
    start: Any = None,
    optimum: Any = None,
    L: float | None = None,
    mu: float | None = None,
    noise: float = 0.0,
    dtype: torch.dtype = torch.float64,
    name: str | None = None,
) -> FromGradient:
    """A problem from ``gradient(x, node)``, ∇f_i at one vector [d], and if it is known also from ``loss(x, node)``.

    They are called node by node, so this is for what torch cannot differentiate; `from_function` is faster.

    >>> p = from_gradient(lambda x, i: x - i, n=3, d=2, optimum=[1, 1])
    >>> p.heterogeneity  # (1/3) Σ ‖x* − i‖²
    1.3333333333333333
    """
    if not callable(gradient):
        raise ProblemError(f"gradient={gradient!r}: it must be a function, gradient(x, node)")
    if loss is not None and not callable(loss):
        raise ProblemError(f"loss={loss!r}: it must be a function, loss(x, node)")
    if not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise ProblemError(f"dtype={dtype!r}: it must be a floating-point type of torch, such as torch.float64")
    n, d = whole("n", n, minimum=1), whole("d", d, minimum=1)
    made = FromGradient(d=d, data={"node": torch.arange(n)}, shared=_vectors(d, dtype, start, optimum), gradient_noise=noise)
    made._function, made._derivative = loss, gradient
    made._told(name or getattr(gradient, "__name__", "own").replace("<lambda>", "own"), L, mu)
    made._tried("gradient")
    return made


# ---- data ------------------------------------------------------------------------------------------------------------


def _taken_apart(data: Any) -> tuple[Any, dict[str, Tensor]]:
    """The form of the data, and its tensors by the names that errors call them by."""
    form: Any
    if isinstance(data, dict):
        form, parts = list(data), {f"data[{key!r}]": _tensor(f"data[{key!r}]", part) for key, part in data.items()}
    elif isinstance(data, tuple):
        form, parts = len(data), {f"data[{i}]": _tensor(f"data[{i}]", part) for i, part in enumerate(data)}
    else:
        form, parts = None, {"data": _tensor("data", data)}
    if not parts:
        raise ProblemError(f"data={data!r}: it is empty; for a function without data give torch.zeros(n, 0)")
    return form, parts


def _assembled(form: Any, parts: Sequence[Tensor]) -> Any:
    if form is None:
        return parts[0]
    return dict(zip(form, parts, strict=True)) if isinstance(form, list) else tuple(parts)


def _tensor(name: str, value: Any) -> Tensor:
    try:
        part = value.detach().clone() if isinstance(value, Tensor) else torch.from_numpy(np.array(value))  # theirs may change
    except (TypeError, ValueError):
        raise ProblemError(
            f"{name} is of type {type(value).__name__}: it must be a tensor, its leading axis the node"
        ) from None
    if part.ndim == 0 or not len(part):
        raise ProblemError(f"{name} has shape {tuple(part.shape)}: its leading axis is the node, so it must have one")
    if part.is_floating_point() and not torch.isfinite(part).all():
        i = int((~torch.isfinite(part.reshape(len(part), -1)).all(1)).nonzero()[0])
        raise ProblemError(f"{name} holds nan or inf at node {i}: it must be finite")
    return part


def _common_dtype(parts: dict[str, Tensor]) -> torch.dtype:
    kinds = {key: part.dtype for key, part in parts.items() if part.is_floating_point()}
    if not kinds:
        found = ", ".join(f"{key} is {part.dtype}" for key, part in parts.items())
        raise ProblemError(f"{found}: there must be floating-point numbers among the data, as x has theirs: data.double()")
    if len(set(kinds.values())) > 1:
        found = ", ".join(f"{key} is {kind}" for key, kind in kinds.items())
        raise ProblemError(f"{found}: they must be of one type: .double() or .float()")
    return next(iter(kinds.values()))


def _vectors(d: int, dtype: torch.dtype, start: Any, optimum: Any) -> dict[str, Tensor]:
    """``start``, and ``optimum`` if it is given: vectors [d]."""
    vectors = {"start": torch.zeros(d, dtype=dtype)}
    for name, given in (("start", start), ("optimum", optimum)):
        if given is None:
            continue
        try:
            vector = torch.as_tensor(given).detach().to(dtype)
        except (TypeError, ValueError, RuntimeError):
            raise ProblemError(f"{name}={given!r}: it must be a vector of shape ({d},)") from None
        if vector.shape != (d,) or not torch.isfinite(vector).all():
            what = f"has shape {tuple(vector.shape)}" if vector.shape != (d,) else "is not finite"
            raise ProblemError(f"{name} {what}: it must be a vector of {d} finite numbers, of shape ({d},)")
        vectors[name] = vector
    return vectors


def _returns_a_number(f: Function, x: Tensor, data: Any) -> None:
    expected = _NEXT.format(d=len(x))
    try:
        value = f(x, data)
    except (RuntimeError, IndexError) as error:  # torch's for shapes and types that do not fit together
        parts = [data] if isinstance(data, Tensor) else data.values() if isinstance(data, dict) else data
        shapes = ", ".join(str(tuple(part.shape)) for part in parts)
        raise ProblemError(
            f"f failed for node 0, with x of shape ({len(x)},) and data of {shapes}: {error}; {expected}"
        ) from error
    if not isinstance(value, Tensor):
        raise ProblemError(f"f returned a {type(value).__name__} and no tensor: {expected}, computed from x with torch")
    if value.shape != ():
        raise ProblemError(f"f returned a tensor of shape {tuple(value.shape)}: {expected}, such as its .mean()")
    if not value.is_floating_point():
        raise ProblemError(f"f returned {value.dtype}: {expected}, floating-point")
