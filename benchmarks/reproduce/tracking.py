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
        ("topology", "step", f"iterations to {LEVEL:g}", f"error after {steps}"),
        y_axis="√(mean |xᵢ − x*|²)",
    )
    reached: dict[tuple[str, float], float] = {}
    last: dict[tuple[str, float], float] = {}
    graphs: dict[float, tuple[str, ...]] = {SMALL: ("one_peer_exponential", "od_equidyn", "ou_equidyn")}
    graphs[LARGE] = (*graphs[SMALL], "exponential", CENTRAL)
    for lr, names in graphs.items():
        for name in names:
            method, topology = ("allreduce_sgd", "complete") if name == CENTRAL else ("gradient_tracking", name)
            history = run(method, problem, topology=topology, steps=steps, every=EVERY, lr=lr).history
            errors = history["error"].to_numpy()
            reached[name, lr] = rounds_to(LEVEL, history["iteration"], errors)
            last[name, lr] = float(errors[-1])
            found.rows.append((name, lr, number(reached[name, lr], ".0f"), f"{last[name, lr]:.1e}"))
            found.curve(name, history["iteration"], errors, f"α = {lr}")

    same = [reached[name, SMALL] for name in graphs[SMALL]]
    found.claim(
        f"at the smaller step, {SMALL}, all graphs take the same time, within {0.35 if quick else 0.05:.0%}",
        max(same) <= (1.35 if quick else 1.05) * min(same) < math.inf,
        ", ".join(number(one, ".0f") for one in same),
    )
    dynamic = [reached[name, LARGE] for name in ("od_equidyn", "ou_equidyn")]
    found.claim(
        f"at {LARGE} EquiDyn takes little more than half of that, as long as averaging all gradients",
        max(dynamic) < 0.65 * min(same) and max(dynamic) < 1.4 * reached[CENTRAL, LARGE],
        ", ".join(number(one, ".0f") for one in (*dynamic, reached[CENTRAL, LARGE])),
    )
    found.claim(
        f"at {LARGE} the one-peer exponential graph does not get there",
        reached["one_peer_exponential", LARGE] == math.inf,
        f"{last['one_peer_exponential', LARGE]:.0e} after {steps} iterations",
    )
    if not quick:
        for name, expected in (("od_equidyn", 82), ("ou_equidyn", 81), ("exponential", 81), (CENTRAL, 82)):
            here = reached[name, LARGE]
            found.claim(f"{name} takes about {expected} iterations at {LARGE}", abs(here - expected) <= 10, number(here, ".0f"))
    return found


if __name__ == "__main__":
    main({"tracking": experiment})
