"""Full-batch linear regression with momentum: DecentLaM is as fast as DmSGD, and ends where DSGD ends."""

from __future__ import annotations

from ifog.experiment import run
from ifog.problems import least_squares

from .report import Report, main, rounds_to

# where each ends and how soon it is within 5 % of that, on the ring; worked out independently
EXPECTED = {"atc": (0.0850, 1669), "dmsgd": (0.5506, 87), "decentlam": (0.0850, 116)}
PAPER_NAMES = {"atc": "DSGD", "dmsgd": "DmSGD", "decentlam": "DecentLaM"}


def experiment(quick: bool) -> Report:
    """DecentLaM's comparison of the three, on two graphs."""
    problem = least_squares(16)
    assert problem.L is not None
    lr = 0.01 / problem.L
    found = Report(
        "momentum",
        f"Full-batch linear regression, {problem.n} nodes, α = 0.01/L, β = 0.9",
        "Yuan, Chen, Huang, Zhang, Pan, Xu, Yin, 2021, https://arxiv.org/abs/2104.11981",
        ("method", "topology", "ends at", "iterations until within 5 %"),
        y_axis="√(mean |xᵢ − x*|²)",
    )
    for topology in ("ring",) if quick else ("ring", "grid"):
        ends, soon = {}, {}
        for method, name in PAPER_NAMES.items():
            history = run(method, problem, topology=topology, steps=3000, lr=lr, every=1).history
            errors = history["error"].to_numpy()
            ends[method] = float(errors[-1])
            soon[method] = rounds_to(0.05 * ends[method], history["iteration"], abs(errors - ends[method]))
            found.rows.append((name, topology, f"{ends[method]:.4f}", f"{soon[method]:.0f}"))
            found.curve(name, history["iteration"], errors, topology)
        found.claim(
            f"{topology}: DecentLaM ends where DSGD ends, and DmSGD several times farther away",
            abs(ends["decentlam"] / ends["atc"] - 1) < 0.01 and ends["dmsgd"] > 4 * ends["atc"],
            f"{ends['decentlam']:.4f}, {ends['atc']:.4f} and {ends['dmsgd']:.4f}",
        )
        found.claim(
            f"{topology}: DecentLaM is nearly as fast as DmSGD, and both ten times as fast as DSGD",
            10 * max(soon["decentlam"], soon["dmsgd"]) < soon["atc"] and soon["decentlam"] < 1.5 * soon["dmsgd"],
            f"{soon['decentlam']:.0f}, {soon['dmsgd']:.0f} and {soon['atc']:.0f} iterations",
        )
        if topology == "ring":
            for method, (end, iterations) in EXPECTED.items():
                found.claim(
                    f"{PAPER_NAMES[method]} ends at {end:.4f}, after about {iterations} iterations",
                    abs(ends[method] - end) < 2e-4 and abs(soon[method] - iterations) <= 0.01 * iterations + 1,
                    f"{ends[method]:.4f}, {soon[method]:.0f}",
                )
    return found


if __name__ == "__main__":
    main({"momentum": experiment})
