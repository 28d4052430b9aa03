"""Gossip with an exact average every H iterations: it helps while H is below 1/(1 − ρ), and is nearer than local SGD always."""

from __future__ import annotations

from ifog import topology as t
from ifog.experiment import run
from ifog.problems import least_squares

from .report import Report, main

STEPS = 2400  # a multiple of every H
# the error right after an exact average, worked out independently: by gossip_pga, and by local_sgd
EXPECTED = {
    1: (0.0, 0.0),
    2: (0.0022, 0.0053),
    4: (0.0058, 0.0157),
    8: (0.0111, 0.0358),
    16: (0.0181, 0.0735),
    48: (0.0317, 0.193),
    240: (0.0411, 0.428),
}


def experiment(quick: bool) -> Report:
    """Gossip-PGA and local SGD on a ring, whose 1/(1 − ρ) is about twenty, for H around that."""
    problem, ring = least_squares(16), t.ring(16)
    assert problem.L is not None
    lr, slow = 0.05 / problem.L, 1 / (1 - ring.rho)
    found = Report(
        "periodic",
        f"An exact average every H iterations, ring of {ring.n}, α = 0.05/L, 1/(1 − ρ) = {slow:.1f}",
        "Chen, Yuan, Zhang, Pan, Xu, Yin, 2021, https://arxiv.org/abs/2105.09080",
        ("H", "H (1 − ρ)", "Gossip-PGA", "local SGD"),
        x_axis="H",
        x_log=True,
        y_axis="√(mean |xᵢ − x*|²) after an exact average",
    )
    periods = [H for H in EXPECTED if not quick or H in (1, 4, 16, 240)]
    errors = {
        method: [
            float(run(method, problem, topology=ring, steps=STEPS, every=STEPS, lr=lr, H=H).history["error"].iloc[-1])
            for H in periods
        ]
        for method in ("gossip_pga", "local_sgd")
    }
    gossip, local = errors["gossip_pga"], errors["local_sgd"]
    never = run("atc", problem, topology=ring, steps=STEPS, every=STEPS, lr=lr).history.iloc[-1]
    for H, with_gossip, without in zip(periods, gossip, local, strict=True):
        found.rows.append((H, f"{H / slow:.2f}", f"{with_gossip:.4f}", f"{without:.4f}"))
    found.rows.append(("never", "", f"{never['error_of_mean']:.4f}, of the mean", ""))
    for name, values in (("Gossip-PGA", gossip), ("local SGD", local)):
        found.curve(name, periods[1:], values[1:])
    found.curve("never, the mean", periods[1:], [never["error_of_mean"]] * (len(periods) - 1))

    short = [error for H, error in zip(periods, gossip, strict=True) if slow > H]
    found.claim(
        "below 1/(1 − ρ) the average helps: less than half of the error without it",
        max(short) < 0.5 * never["error_of_mean"],
        ", ".join(f"{error:.4f}" for error in short) + f" beside {never['error_of_mean']:.4f}",
    )
    found.claim(
        "far above it does not: what is left of the error without it is more than nine tenths",
        gossip[-1] > 0.9 * never["error_of_mean"],
        f"{gossip[-1] / never['error_of_mean']:.0%}",
    )
    found.claim("the error grows with H", gossip == sorted(gossip) and local == sorted(local))
    found.claim(
        "gossip between the averages is always nearer than none",
        all(a < b for a, b in zip(gossip[1:], local[1:], strict=True)),  # at H = 1 both are exact
    )
    expected = [EXPECTED[H] for H in periods]
    found.claim(
        "the numbers are those worked out independently",
        all(
            abs(a - b) < 0.01 * b + 5e-5
            for ours, theirs in zip(zip(gossip, local, strict=True), expected, strict=True)
            for a, b in zip(ours, theirs, strict=True)
        ),
    )
    return found


if __name__ == "__main__":
    main({"periodic": experiment})
