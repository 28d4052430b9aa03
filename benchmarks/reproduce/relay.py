"""RelaySGD, gradient tracking, D-PSGD and allreduce on handwritten digits that are dealt out more and more unevenly.

The task is easy: with time the network fits all pictures of all nodes, their gradients vanish together, and D-PSGD catches up
(on the complete graph all but half a point after 800 iterations). So it is looked at while it learns.
"""

from __future__ import annotations

from itertools import pairwise

import torch

from ifog.experiment import run
from ifog.problems import digits

from .report import Report, main

N = 8
LR, BATCH = 0.3, 32
ALPHAS = (1.0, 0.1, 0.01)
METHODS = {
    "allreduce": ("allreduce_sgd", "complete"),
    "RelaySGD, chain": ("relay_sgd", "chain"),
    "RelaySGD, tree": ("relay_sgd", "binary_tree"),
    "RelaySGD, two trees": ("relay_double_sgd", "double_binary_tree"),
    "gradient tracking, ring": ("gradient_tracking", "ring"),
    "D-PSGD, ring, W (x − α g)": ("atc", "ring"),
    "D-PSGD, ring, W x − α g": ("dgd", "ring"),
    "D-PSGD, complete, W x − α g": ("dgd", "complete"),
}
ALLREDUCE, *OTHERS = METHODS
RELAYS, TRACKING, GOSSIP = OTHERS[:3], OTHERS[3], OTHERS[4:]


def experiment(quick: bool) -> Report:
    """RelaySum's comparison, with a small network in place of a large one, and a constant step."""
    steps, alphas = (200, (1.0, 0.01)) if quick else (300, ALPHAS)
    draws = 1 if quick else 3
    found = Report(
        "relay",
        f"A network of 32 hidden units on digits dealt to {N} nodes by Dirichlet(α), {steps} iterations",
        "Vogels, He, Koloskova, Lin, Karimireddy, Stich, Jaggi, 2021, https://arxiv.org/abs/2110.04175",
        ("method", *(f"α = {alpha}" for alpha in alphas), f"mean model, α = {alphas[-1]}"),
        x_axis="Dirichlet α",
        y_axis="accuracy on held-out digits, mean over the nodes",
        x_log=True,
        y_log=False,
    )
    nodes: dict[str, list[float]] = {name: [] for name in METHODS}  # accuracy of the nodes' models, for each α
    mean: dict[str, list[float]] = {name: [] for name in METHODS}  # and of their mean
    for alpha in alphas:
        for name, (method, topology) in METHODS.items():
            own = common = 0.0
            for seed in range(draws):
                problem = digits(N, alpha=alpha, seed=seed).to(dtype=torch.float32)
                done = run(method, problem, topology=topology, steps=steps, every=steps, batch=BATCH, seed=seed, lr=LR)
                scores = problem.metrics(done.x, range(N))
                own += float(scores["accuracy"].mean()) / draws
                common += float(scores["accuracy_of_mean"]) / draws
            nodes[name].append(own)
            mean[name].append(common)
    for name in METHODS:
        found.rows.append((name, *(f"{score:.1%}" for score in nodes[name]), f"{mean[name][-1]:.1%}"))
        found.curve(name, alphas, nodes[name])

    drop = {name: scores[0] - scores[-1] for name, scores in nodes.items()}
    found.claim(
        "uneven data cost allreduce, RelaySGD and gradient tracking nothing, within 1.5 points",
        max(abs(drop[name]) for name in (ALLREDUCE, *RELAYS, TRACKING)) < 0.015,
        _points(drop, (ALLREDUCE, *RELAYS, TRACKING)),
    )
    found.claim(
        "D-PSGD loses the more the more uneven they are: several points on the ring, and some on the complete graph too",
        min(drop[name] for name in GOSSIP[:2]) > 0.03
        and drop[GOSSIP[2]] > 0.01
        and all(_falls(nodes[name]) for name in GOSSIP),
        _points(drop, GOSSIP),
    )
    atc, awc, complete = (nodes[name][-1] for name in GOSSIP)
    found.claim(
        "W (x − α g) loses less than W x − α g, and the complete graph less than the ring",
        atc > awc and complete > awc,
        f"{atc:.1%}, {awc:.1%}, {complete:.1%}",
    )
    worst, best = min(nodes[name][-1] for name in RELAYS), max(nodes[name][-1] for name in GOSSIP)
    near = 0.05 if quick else 0.03  # after fewer iterations that counts for more
    found.claim(
        f"gradient tracking has allreduce's accuracy, within a point, and RelaySGD within {100 * near:.0f}: its messages come "
        "late, so its steps are smaller",
        all(nodes[ALLREDUCE][at] - nodes[TRACKING][at] < 0.01 for at in range(len(alphas)))
        and all(nodes[ALLREDUCE][at] - nodes[name][at] < near for name in RELAYS for at in range(len(alphas))),
        ", ".join(f"{nodes[name][-1]:.1%}" for name in (ALLREDUCE, TRACKING, *RELAYS)),
    )
    found.claim(f"at α = {alphas[-1]} RelaySGD is the better one on every tree", worst > best, f"{worst:.1%} beside {best:.1%}")
    found.claim(
        "what D-PSGD loses is local drift: the mean of its models is nearly as good as at α = 1",
        all(mean[name][-1] > mean[name][0] - 0.03 for name in GOSSIP),
        ", ".join(f"{mean[name][-1]:.1%}" for name in GOSSIP),
    )
    return found


def _falls(scores: list[float]) -> bool:
    return all(later < before for before, later in pairwise(scores))


def _points(drop: dict[str, float], names: list[str] | tuple[str, ...]) -> str:
    return ", ".join(f"{100 * drop[name]:+.1f}" for name in names) + " points lost"


if __name__ == "__main__":
    main({"relay": experiment})
