"""Gradient tracking on logistic regression: EquiDyn's graphs bear a step that the one-peer exponential graph does not."""

from __future__ import annotations

import math

from ifog.experiment import run
from ifog.problems import logistic

from .report import Report, main, number, rounds_to

LEVEL = 1e-6
SMALL, LARGE = 1.6, 3.0  # the paper's steps: for one-peer exponential graphs, and for EquiDyn
EVERY = 3
CENTRAL = "all gradients"


def experiment(quick: bool) -> Report:
    """EquiTopo's figure for gradient tracking, each graph at both steps."""
    n, samples, steps = (60, 300, 200) if quick else (300, 1000, 300)
    problem = logistic(n, samples=samples, heterogeneity=0.2, l2=0.0, nonconvex=0.001)
    found = Report(
        "tracking",
        f"Gradient tracking, logistic regression with a non-convex regulariser, {n} nodes × {samples} samples",
        "Song, Li, Jin, Shi, Yan, Yin, Yuan, 2022, https://arxiv.org/abs/2210.07881",
        ("topology", "step", f"iterations to a gradient of {LEVEL:g}", f"to an error of {LEVEL:g}", f"error after {steps}"),
        y_axis="|mean ∇fᵢ(xᵢ)|",
    )
    gradient: dict[tuple[str, float], float] = {}  # iterations until the mean of all gradients is small
    error: dict[tuple[str, float], float] = {}  # and until all nodes are near the optimum
    graphs: dict[float, tuple[str, ...]] = {SMALL: ("one_peer_exponential", "od_equidyn", "ou_equidyn")}
    graphs[LARGE] = (*graphs[SMALL], "exponential", CENTRAL)
    for lr, names in graphs.items():
        for name in names:
            method, topology = ("allreduce_sgd", "complete") if name == CENTRAL else ("gradient_tracking", name)
            history = run(method, problem, topology=topology, steps=steps, every=EVERY, lr=lr).history
            gradient[name, lr], error[name, lr] = (
                rounds_to(LEVEL, history["iteration"], history[what].to_numpy()) for what in ("gradient_norm", "error")
            )
            last = f"{history['error'].iloc[-1]:.1e}"
            found.rows.append((name, lr, number(gradient[name, lr], ".0f"), number(error[name, lr], ".0f"), last))
            found.curve(name, history["iteration"], history["gradient_norm"], f"α = {lr}")

    same = [gradient[name, SMALL] for name in graphs[SMALL]]
    found.claim(
        f"at the smaller step, {SMALL}, the gradient falls alike on all graphs, within a quarter",
        max(same) <= 1.25 * min(same) < math.inf,
        ", ".join(number(one, ".0f") for one in same),
    )
    dynamic = [gradient[name, LARGE] for name in ("od_equidyn", "ou_equidyn")]
    found.claim(
        f"at {LARGE} EquiDyn takes little more than half of that, as long as averaging all gradients",
        max(dynamic) < 0.65 * min(same) and max(dynamic) < 1.25 * gradient[CENTRAL, LARGE],
        ", ".join(number(one, ".0f") for one in (*dynamic, gradient[CENTRAL, LARGE])),
    )
    found.claim(
        f"at {LARGE} the one-peer exponential graph does not get there",
        gradient["one_peer_exponential", LARGE] == math.inf,
    )
    return found


if __name__ == "__main__":
    main({"tracking": experiment})
