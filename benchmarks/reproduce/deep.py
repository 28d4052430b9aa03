"""What the experiments with networks share: digits, a small network, and its training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits

from ifog.experiment import Run
from ifog.learning import fit, models

N = 8
_TESTED = 360  # of 1,797

Samples = tuple[torch.Tensor, torch.Tensor]


def data() -> tuple[Samples, Samples]:
    """Handwritten digits, for training and for testing."""
    loaded: Any = load_digits()
    X, y = torch.tensor(loaded.data / 16, dtype=torch.float32), torch.tensor(loaded.target)
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(y)))
    test, train = order[:_TESTED], order[_TESTED:]
    return (X[train], y[train]), (X[test], y[test])


def train(method: str, topology: str, given: Mapping[str, Any], *, seed: int) -> Run:
    """A network with one hidden layer, on some nodes; recorded at the end only, unless ``evaluate`` says otherwise."""
    samples, test = data()
    torch.manual_seed(seed)
    model = models.mlp(64, (32,))
    return fit(model, samples, test=test, method=method, topology=topology, seed=seed, **{"nodes": N, "evaluate": 1e9, **given})


def ends(runs: list[Run], what: str) -> list[float]:
    """Where each run has ended."""
    return [float(run.records.last[what]) for run in runs]


def mean(values: list[float]) -> float:
    """Their mean."""
    return sum(values) / len(values)
