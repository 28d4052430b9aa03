"""What a model is trained on: inputs and targets as tensors, and who gets which samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import ProblemError
from ..problems import partition


def samples(name: str, given: Any, home: torch.device, device: Any) -> tuple[Tensor, Tensor]:
    """Inputs and targets, where the model is."""
    if isinstance(given, torch.utils.data.Dataset) and hasattr(given, "__len__"):
        given = getattr(given, "tensors", None) or _stacked(name, given)
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise ProblemError(f"{name} is of type {type(given).__name__}: give inputs and targets, (X, y), or a torch data set")
    X, y = (_tensor(f"{name}[{i}]", part) for i, part in enumerate(given))
    if len(X) != len(y) or not len(X):
        raise ProblemError(f"{name}: {len(X)} inputs and {len(y)} targets: there must be one for each, and one at least")
    found = []
    for i, (part, original) in enumerate(zip((X, y), given, strict=True)):
        if device is None and isinstance(original, Tensor) and part.device != home:
            raise ProblemError(f"{name}[{i}] is on {part.device} and the model on {home}: give device={str(home)!r}, for both")
        found.append(part.to(home))
    X, y = found
    return X.float() if X.dtype == torch.bool else X, y.long() if y.dtype == torch.uint8 else y


def _stacked(name: str, dataset: Any) -> tuple[Tensor, Tensor]:
    try:
        pairs = [dataset[i] for i in range(len(dataset))]
        return (
            torch.stack([torch.as_tensor(X) for X, _ in pairs]),
            torch.stack([torch.as_tensor(y) for _, y in pairs]),
        )
    except (TypeError, ValueError, RuntimeError) as error:
        raise ProblemError(
            f"{name}: its samples must be pairs of an input and a target, all inputs of one shape: {str(error).splitlines()[0]}"
        ) from error


def _tensor(name: str, value: Any) -> Tensor:
    try:
        part = value.detach() if isinstance(value, Tensor) else torch.as_tensor(np.asarray(value))
    except (TypeError, ValueError):
        raise ProblemError(f"{name} is of type {type(value).__name__}: give a tensor or an array") from None
    if part.ndim == 0:
        raise ProblemError(f"{name} is one number: its leading axis must count the samples")
    if part.is_floating_point() and not part.isfinite().all():
        raise ProblemError(f"{name} holds nan or inf: all numbers must be finite")
    return part if part.is_floating_point() or part.is_complex() or part.dtype == torch.uint8 else part.long()


def alike(shared: Mapping[str, Tensor]) -> None:
    """Refuse test samples that are unlike those for training."""
    for letter, what in (("X", "inputs"), ("y", "targets")):
        here, there = shared[letter], shared[f"{letter}_test"]
        if here.shape[1:] != there.shape[1:] or here.is_floating_point() != there.is_floating_point():
            raise ProblemError(
                f"test: its {what} have shape {tuple(there.shape[1:])} and {there.dtype}, and those of data "
                f"{tuple(here.shape[1:])} and {here.dtype}: they must be alike"
            )


def dealt(parts: Any, y: Tensor, n: int | None, alpha: float | None, seed: int) -> list[NDArray[np.int64]]:
    """For each node, the numbers of its samples."""
    if parts is None:
        if n is None:
            raise ProblemError("n is missing: say how many nodes there are, as in n=8, or give parts")
        labels = y.cpu().numpy()
        if alpha is None:
            return partition.iid(np.zeros(len(y)), n, seed)
        if labels.ndim != 1 or y.is_floating_point():
            raise ProblemError(f"alpha={alpha}: it deals out classes, and the targets are none: leave it out, or give parts")
        return partition.dirichlet(labels, n, alpha, seed)
    if alpha is not None:
        raise ProblemError("alpha and parts: both say who gets which samples; give one of them")
    given = [np.asarray(part.cpu() if isinstance(part, Tensor) else part) for part in parts]
    if n is not None and n != len(given):
        raise ProblemError(f"n={n}, and parts are {len(given)}: there must be one for each node")
    for i, part in enumerate(given):
        if part.ndim != 1 or not len(part) or part.dtype.kind not in "iu":
            raise ProblemError(f"parts[{i}]: give the numbers of the samples of node {i}, one at least")
        if part.min() < 0 or part.max() >= len(y):
            raise ProblemError(
                f"parts[{i}] holds sample {part.min() if part.min() < 0 else part.max()}: they are 0 to {len(y) - 1}"
            )
    return [part.astype(np.int64) for part in given]
