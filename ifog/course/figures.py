"""The figures with which the chapters open: each shows a claim, and lets the reader try to break it.

Everything here is simulated in the notebook, and drawn again whenever a control is turned.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .. import topology as families
from ..widgets import Playground, theme
from .panel import Panel, picture

Array = NDArray[np.float64]
BLUE, ORANGE = theme.CATEGORIES[:2]


def averaging(*, n: int = 16, rounds: int = 60, seed: int = 0) -> Playground:
    """Chapter 3: the numbers of all nodes over time, and how fast they agree, beside ρᵏ."""

    def draw(topology: str = "ring", n: int = n, laziness: float = 0.0, jolt: float = 0.0) -> str:
        W = families.make(topology, n).matrix.toarray()
        W = laziness * np.eye(n) + (1 - laziness) * W
        rho = families.Topology(W).rho if n > 1 else 0.0
        start = np.random.default_rng(seed).normal(size=n)
        half = rounds // 2
        x, history, means = start, [], []
        for k in range(rounds + 1):
            if k == half:
                x = x + jolt * (np.arange(n) == 0)
            history.append(x)
            means.append(x.mean())
            x = W @ x
        values = np.array(history)
        error = np.abs(values - np.array(means)[:, None]).max(1)
        ks = np.arange(rounds + 1.0)
        predicted = error[0] * rho**ks
        if jolt:
            predicted[half:] = error[half] * rho ** (ks[half:] - half)
        left = Panel(44, 34, 350, 240, (0, rounds), (-0.5, n - 0.5), title="Every node's number", across="round")
        left.up = "node"
        left.heat(values.T[::-1], low=-2.0, high=2.0)
        right = Panel(
            *(490, 34, 350, 240, (0, rounds), (-8, 1)),
            log=True,
            title=f"Worst distance from the mean: ρ = {rho:.4f}",
            across="round (the wide line is ρᵏ)",
        )
        right.line(ks, predicted, ORANGE, wide=6, faint=0.35)
        right.line(ks, error, BLUE)
        return picture(850, 322, left, right)

    return Playground(
        draw,
        topology=["ring", "star", "grid", "exponential", "complete"],
        n=range(3, 65),
        laziness=[k / 20 for k in range(20)],
        jolt=[float(k) for k in range(11)],
    )
