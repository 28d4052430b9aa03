"""Averaging now and then: local SGD, gossip with periodic averages, and SlowMo, on even and on uneven data.

SlowMo's outer momentum also makes larger steps, α/(1 − β) in the long run. So gossip with periodic averages is shown at that
step too, and does as well: that momentum does more than a larger step, as the paper's networks show, this small one does not.
An epoch is eleven iterations, so that the twelfth epoch ends right after an average: there the curves jump.
"""

from __future__ import annotations

from typing import Any

from .deep import N, ends, mean, train
from .report import Report, main

LR, BATCH, H, BETA = 0.1, 16, 12, 0.7
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "allreduce": ("allreduce_sgd", {"lr": LR}),
    "gossip": ("atc", {"lr": LR}),
    f"local SGD, H = {H}": ("local_sgd", {"lr": LR, "H": H}),
    f"Gossip-PGA, H = {H}": ("gossip_pga", {"lr": LR, "H": H}),
    f"SlowMo, H = {H}": ("slowmo", {"lr": LR, "H": H, "beta": BETA}),
    "Gossip-PGA, α/(1 − β)": ("gossip_pga", {"lr": LR / (1 - BETA), "H": H}),
}
ALLREDUCE, GOSSIP, LOCAL, PGA, SLOWMO, LARGER = METHODS


def experiment(quick: bool) -> Report:
    """The same training by six methods, on two ways of dealing out the data."""
    epochs, draws = (14, 1) if quick else (20, 3)
    found = Report(
        "local_steps",
        f"A network of 32 hidden units, digits dealt to {N} nodes on a ring, {epochs} epochs",
        "Wang, Tantia, Ballas, Rabbat, 2020, https://arxiv.org/abs/1910.00643; Chen, Yuan, Zhang, Pan, Xu, Yin, 2021, "
        "https://arxiv.org/abs/2105.09080",
        ("method", "nodes, even", "nodes, Dirichlet(0.1)", "mean model, Dirichlet(0.1)", "MB a node"),
        x_axis="epoch",
        y_axis="accuracy on held-out digits, mean over the nodes",
        y_log=False,
    )
    even: dict[str, float] = {}
    uneven: dict[str, float] = {}
    sent: dict[str, float] = {}
    for name, (method, options) in METHODS.items():
        common = 0.0
        for alpha, scores, panel in ((None, even, "even"), (0.1, uneven, "Dirichlet(0.1)")):
            given = {"alpha": alpha, "batch": BATCH, "epochs": epochs, "evaluate": 1.0}
            runs = [train(method, "ring", {**given, **options}, seed=seed) for seed in range(draws)]
            scores[name], common = mean(ends(runs, "accuracy")), mean(ends(runs, "accuracy_of_mean"))
            sent[name] = mean(ends(runs, "bytes")) / N / 1e6
            curve = sum(run.history["accuracy"] for run in runs) / draws
            found.curve(name, [k * epochs / (len(curve) - 1) for k in range(len(curve))], curve, panel)
        found.rows.append((name, f"{even[name]:.1%}", f"{uneven[name]:.1%}", f"{common:.1%}", f"{sent[name]:.2f}"))

    found.claim(
        f"on even data, averaging every {H} steps costs less than four points, for less than a tenth of the bytes",
        even[ALLREDUCE] - even[LOCAL] < 0.04 and sent[LOCAL] < 0.1 * sent[ALLREDUCE],
        f"{even[LOCAL]:.1%} beside {even[ALLREDUCE]:.1%}, {sent[LOCAL]:.2f} beside {sent[ALLREDUCE]:.2f} MB",
    )
    found.claim(
        "on uneven data it costs far more, and a periodic average helps gossip",
        uneven[LOCAL] < uneven[GOSSIP] < uneven[PGA],
        f"{uneven[LOCAL]:.1%}, {uneven[GOSSIP]:.1%}, {uneven[PGA]:.1%}",
    )
    found.claim(
        "SlowMo gains on Gossip-PGA at the same bytes, on even data and on uneven",
        even[SLOWMO] > even[PGA] + 0.01 and uneven[SLOWMO] > uneven[PGA] + 0.03,
        f"{even[PGA]:.1%} to {even[SLOWMO]:.1%}, {uneven[PGA]:.1%} to {uneven[SLOWMO]:.1%}",
    )
    found.claim(
        "but no more than a larger step gives, within three points: here the paper's gain does not show",
        max(abs(uneven[SLOWMO] - uneven[LARGER]), abs(even[SLOWMO] - even[LARGER])) < 0.03,
        f"{even[SLOWMO]:.1%} beside {even[LARGER]:.1%}, {uneven[SLOWMO]:.1%} beside {uneven[LARGER]:.1%}",
    )
    return found


if __name__ == "__main__":
    main({"local_steps": experiment})
