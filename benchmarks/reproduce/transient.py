"""How long until a network's stochastic gradients do as well as all of them together: the transient, at 32 nodes."""

from __future__ import annotations

from ifog import topology as t
from ifog.experiment import run
from ifog.problems import logistic

from .report import Report, main

LR, HALVINGS = 0.25, 5  # the step is halved so often, once a stage
NAMES = ("exponential", "grid", "one_peer_exponential", "od_equidyn", "ring")


def errors(method: str, topology: str, heterogeneity: float, stage: int) -> list[float]:
    """The mean of ‖x_i − x*‖² over all nodes and the second half of each stage.

    Each stage goes on from the one before, with half its step. All methods draw the same samples, so that the mean over the
    nodes moves almost alike for all: what differs is how far the nodes are from it.
    """
    problem = logistic(32, heterogeneity=heterogeneity)
    x, found = None, []
    for k in range(HALVINGS):
        done = run(method, problem, topology=topology, steps=stage, every=10, seed=k, batch=1, lr=LR / 2**k, start=x)
        squares = done.history["error"].to_numpy() ** 2
        found.append(float(squares[len(squares) // 2 :].mean()))
        x = done.x
    return found


def experiment(quick: bool) -> Report:
    """DSGD beside parallel SGD, on five graphs."""
    stage = 250 if quick else 2000
    found = Report(
        "transient",
        f"DSGD on logistic regression, 32 nodes: mean ‖xᵢ − x*‖² over parallel SGD's; α halved every {stage:,} iterations",
        "Ying, Yuan, Chen, Hu, Pan, Yin, 2021, https://arxiv.org/abs/2110.13363",
        ("topology", "nodes differ by", *(f"until {(k + 1) * stage:,}" for k in range(HALVINGS)), "end of the transient"),
        y_axis="× parallel SGD",
    )
    iterations = [(k + 1) * stage for k in range(HALVINGS)]
    ratios: dict[tuple[str, float], list[float]] = {}
    for heterogeneity in (0.2,) if quick else (0.2, 1.0):
        parallel = errors("allreduce_sgd", "complete", heterogeneity, stage)
        for name in NAMES if heterogeneity == 0.2 else ("exponential", "ring"):
            ours = errors("atc", name, heterogeneity, stage)
            ratio = ratios[name, heterogeneity] = [a / b for a, b in zip(ours, parallel, strict=True)]
            ended = next((f"{k:,}" for k, one in zip(iterations, ratio, strict=True) if one < 1.25), "later")
            found.rows.append((name, heterogeneity, *(f"{one:.2f}" for one in ratio), ended))
            found.curve(name, iterations, ratio, f"nodes differ by {heterogeneity}")

    last = {name: ratios[name, 0.2][-1] for name in NAMES}
    found.claim(
        "static exponential has the shortest transient, the ring the longest; one-peer graphs are like a grid",
        last["exponential"] < min(last["grid"], last["one_peer_exponential"], last["od_equidyn"])
        and max(last["grid"], last["one_peer_exponential"], last["od_equidyn"]) < last["ring"],
        ", ".join(f"{name} {value:.2f}" for name, value in last.items()),
    )
    found.claim(
        "every graph comes nearer to parallel SGD as the step shrinks: less than a third of what it lost is left",
        all(ratios[name, 0.2][-1] - 1 < (ratios[name, 0.2][0] - 1) / 3 for name in NAMES),
    )
    found.claim("no graph does better than parallel SGD", min(min(ratio) for ratio in ratios.values()) > 0.99)
    if not quick:
        close = {name: last[name] for name in NAMES if name != "ring"}
        found.claim(
            f"after {iterations[-1]:,} iterations all but the ring are within a fifth of it, and static exponential within 5 %",
            max(close.values()) < 1.2 < last["ring"] and close["exponential"] < 1.05,
        )
        found.claim(
            "the ring suffers more where nodes differ more",
            ratios["ring", 1.0][-1] > ratios["ring", 0.2][-1],
            f"{ratios['ring', 1.0][-1]:.2f} beside {ratios['ring', 0.2][-1]:.2f}",
        )
    consensus_variance(found, last)
    return found


def consensus_variance(found: Report, last: dict[str, float]) -> None:
    r"""The order is explained by what the noise of one round leaves in all later ones, :math:`\sum_k (\|W^k\|_F^2 - 1)/n`."""
    n = 32
    predicted = {"one_peer_exponential": 1 - 1 / n - 5 / n, "od_equidyn": (1 - 1 / n) * (n - 1) / (n + 1)}
    for name in ("exponential", "grid", "ring"):
        eigenvalues = abs(t.make(name, n).eigenvalues) ** 2
        below = eigenvalues[eigenvalues < 1 - 1e-9]
        predicted[name] = float((below / (1 - below)).sum() / n)
    order = sorted(predicted, key=lambda name: predicted[name])
    found.claim(
        "the order is that of the noise that averaging leaves, C(W)",
        last[order[0]] < min(last[name] for name in order[1:-1]) and order[-1] == max(last, key=lambda name: last[name]),
        ", ".join(f"{name} {predicted[name]:.2f}" for name in order),
    )


if __name__ == "__main__":
    main({"transient": experiment})
