"""Averaging among 4,900 nodes: EquiTopo's random offsets, the exponential graphs, the grid and the ring."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ifog import topology as t
from ifog.experiment import run
from ifog.problems import quadratic

from .report import Report, main, number, rounds_to

LEVEL = 1e-6
BEGIN, END = 20, 60  # rounds between which the factor is taken: after the fast beginning, before rounding errors
VALUES = 10  # numbers at each node: as many independent experiments
ROUNDS_TO_LEVEL = {"od_equidyn": 37, "ou_equidyn": 46, "exponential": 62, "one_peer_exponential": 77}
FACTORS = {"od_equidyn": 0.661, "ou_equidyn": 0.749, "exponential": 0.856, "one_peer_exponential": 0.869}


def disagreement(topology: t.Schedule, rounds: int, method: str = "consensus") -> Any:
    """√(mean ‖x_i − mean‖² / numbers) after 0, 1, 2 … rounds, from standard normal numbers."""
    problem = quadratic(topology.n, d=VALUES, condition=1)  # of which averaging uses the size only
    values = np.random.default_rng(1).standard_normal((topology.n, VALUES))
    history = run(method, problem, topology=topology, steps=rounds, start=values).history
    return history["disagreement"].to_numpy() / VALUES**0.5


def factor(errors: Any, begin: int = BEGIN, end: int = END) -> float:
    """What a round leaves of the disagreement."""
    return float((errors[end] / errors[begin]) ** (1 / (end - begin)))


def experiment(quick: bool) -> Report:
    """EquiTopo's figure of consensus errors, and that its rate does not depend on n."""
    n, rounds = (900, 70) if quick else (4900, 130)
    found = Report(
        "consensus",
        f"Averaging, {n:,} nodes",
        "Song, Li, Jin, Shi, Yan, Yin, Yuan, 2022, https://arxiv.org/abs/2210.07881",
        ("topology", f"rounds to {LEVEL:g}", f"factor, rounds {BEGIN} to {END}", f"after {rounds} rounds"),
        x_axis="round",
        y_axis="√(mean |xᵢ − mean|²)",
    )
    names = ("od_equidyn", "ou_equidyn", "exponential", "one_peer_exponential", "grid", "ring")
    reached, factors = {}, {}
    for name in names:
        errors = disagreement(t.make(name, n), rounds)
        reached[name], factors[name] = rounds_to(LEVEL, range(rounds + 1), errors), factor(errors)
        found.rows.append((name, number(reached[name], ".0f"), f"{factors[name]:.3f}", f"{errors[-1]:.1e}"))
        found.curve(name, range(rounds + 1), errors)
    tau = (n - 1).bit_length()
    exact = disagreement(t.ceca(n), tau + 1, "ceca_consensus")
    found.rows.append(("ceca", f"{tau}", "", f"{exact[-1]:.1e}"))
    found.curve("ceca", range(tau + 2), np.maximum(exact, 1e-17))

    order = [reached[name] for name in names]
    found.claim(
        "the fewest rounds: EquiDyn, directed before undirected, then static before one-peer exponential",
        order[0] < order[1] < order[2] <= order[3] < math.inf,
        ", ".join(number(rounds, ".0f") for rounds in order[:4]),
    )
    found.claim("grid and ring do not get there", order[4] == order[5] == math.inf and factors["grid"] < factors["ring"])
    found.claim(f"CECA is exact after {tau} rounds, and not before", exact[tau] < 1e-13 < exact[tau - 1], f"{exact[tau]:.0e}")
    if not quick:
        for name, expected in FACTORS.items():
            width = 0.03 if "dyn" in name else 0.01  # one draw of the offsets differs so much from another
            found.claim(f"{name} leaves {expected} a round", abs(factors[name] - expected) < width, f"{factors[name]:.3f}")
        for name, expected in ROUNDS_TO_LEVEL.items():
            found.claim(f"{name} takes {expected} rounds", abs(reached[name] - expected) <= 4, number(reached[name], ".0f"))
    independent_of_n(found, quick)
    return found


def independent_of_n(found: Report, quick: bool) -> None:
    """The rate of EquiTopo at growing n: the mean over some draws of the offsets, for that of one draw is itself random."""
    sizes, draws = ((500, 1000, 2000), 3) if quick else ((1000, 2000, 3000, 4000, 5000), 6)
    for name, rounds, expected in (("od_equidyn", 30, 0.68), ("d_equistatic", 20, 0.37)):
        rates = []
        for n in sizes:
            options = {"m": math.ceil(5 * math.log(n))} if name == "d_equistatic" else {}
            errors = [disagreement(t.make(name, n, seed=seed, **options), rounds) for seed in range(draws)]
            rates.append(float(np.mean([factor(each, 0, rounds) for each in errors])))
        found.claim(
            f"the rate of {name} is {expected} from n = {sizes[0]:,} to {sizes[-1]:,}, within {0.1 if quick else 0.05:.0%}",
            max(abs(rate / expected - 1) for rate in rates) < (0.1 if quick else 0.05),
            ", ".join(f"{rate:.3f}" for rate in rates),
        )


if __name__ == "__main__":
    main({"consensus": experiment})
