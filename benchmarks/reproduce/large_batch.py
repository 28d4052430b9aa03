"""Large batches and momentum: what DmSGD loses as the batch grows, and what DecentLaM wins back.

A larger batch wants a larger step, and the bias of gossip grows with the step. DmSGD's is that of the step α/(1 − β). The paper
shows a loss of a point on ImageNet, dealt out evenly; here each node sees few of the digits, and a small network shows it.
"""

from __future__ import annotations

from itertools import pairwise

from .deep import N, ends, mean, train
from .report import Report, main

LR = 0.002  # times the batch
BATCHES = (8, 24, 72)
ALPHA, BETA, EPOCHS = 0.1, 0.9, 30
METHODS = {
    "PmSGD, allreduce": "pmsgd",
    "DmSGD, W x − α m": "awc_dmsgd",
    "DmSGD, W (x − α m)": "dmsgd",
    "DA-DmSGD": "da_dmsgd",
    "QG-DmSGD": "qg_dmsgd",
    "DecentLaM": "decentlam",
}


def experiment(quick: bool) -> Report:
    """DecentLaM's comparison at growing batches, on a ring."""
    batches, draws = ((8, 72), 1) if quick else (BATCHES, 3)
    found = Report(
        "large_batch",
        f"A network of 32 hidden units, digits dealt to {N} nodes on a ring by Dirichlet({ALPHA}), β = {BETA}, {EPOCHS} epochs"
        ", α in proportion to the batch",
        "Yuan, Chen, Huang, Zhang, Pan, Xu, Yin, 2021, https://arxiv.org/abs/2104.11981",
        ("method", *(f"batch {N} × {batch}" for batch in batches), f"mean model, {N} × {batches[-1]}"),
        x_axis="batch of a node",
        y_axis="accuracy on held-out digits, mean over the nodes",
        y_log=False,
    )
    nodes: dict[str, list[float]] = {}
    last: dict[str, float] = {}
    for name, method in METHODS.items():
        nodes[name] = []
        for batch in batches:
            given = {"batch": batch, "lr": LR * batch, "beta": BETA, "epochs": EPOCHS, "alpha": ALPHA}
            runs = [train(method, "ring", given, seed=seed) for seed in range(draws)]
            nodes[name].append(mean(ends(runs, "accuracy")))
            last[name] = mean(ends(runs, "accuracy_of_mean"))
        found.rows.append((name, *(f"{score:.1%}" for score in nodes[name]), f"{last[name]:.1%}"))
        found.curve(name, batches, nodes[name])

    central, awc, dmsgd, da, _, decentlam = nodes.values()
    found.claim(
        "allreduce loses nothing as the batch grows, within two points",
        central[0] - central[-1] < 0.02,
        f"{central[0]:.1%} to {central[-1]:.1%}",
    )
    found.claim(
        "DmSGD loses the more the larger the batch: more than ten points at the largest, W x − α m the most",
        all(a > b for a, b in pairwise(dmsgd)) and dmsgd[0] - dmsgd[-1] > 0.1 and awc[-1] < dmsgd[-1],
        ", ".join(f"{score:.1%}" for score in dmsgd) + f"; {awc[-1]:.1%}",
    )
    found.claim(
        "DecentLaM wins back more than half of what DmSGD loses to allreduce, at every batch",
        all(2 * (c - b) < c - a for a, b, c in zip(dmsgd, decentlam, central, strict=True)),
        ", ".join(f"{score:.1%}" for score in decentlam),
    )
    if not quick:
        found.claim(
            "and at the middle one it is allreduce's accuracy, within 1.5 points",
            central[1] - decentlam[1] < 0.015,
            f"{decentlam[1]:.1%} beside {central[1]:.1%}",
        )
    found.claim(
        "averaging the momentum as well helps, but less than DecentLaM, for twice its bytes",
        all(a < b < c + 0.005 for a, b, c in zip(dmsgd, da, decentlam, strict=True)),
        ", ".join(f"{score:.1%}" for score in da),
    )
    return found


if __name__ == "__main__":
    main({"large_batch": experiment})
