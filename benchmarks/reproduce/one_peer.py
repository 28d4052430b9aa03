"""One neighbour a round: allreduce's accuracy for a fraction of its bytes and far fewer messages.

The papers' tables differ by tenths of a point between single runs; all that can be said, here too, is that nobody is far off.
"""

from __future__ import annotations

from .deep import ends, mean, train
from .report import Report, main, number, rounds_to

N, BATCH, LR, BETA = 16, 8, 0.03, 0.9
TOPOLOGIES = {
    "allreduce": "complete",
    "ring": "ring",
    "static exponential": "exponential",
    "one-peer exponential": "one_peer_exponential",
    "EquiDyn, directed": "od_equidyn",
    "EquiDyn, undirected": "ou_equidyn",
}
ALLREDUCE, RING, STATIC, *ONE_PEER = TOPOLOGIES


def experiment(quick: bool) -> Report:
    """EquiTopo's and the exponential graph's table: many topologies, one training."""
    epochs, draws, level = (12, 1, 0.85) if quick else (30, 3, 0.93)
    found = Report(
        "one_peer",
        f"A network of 32 hidden units, digits dealt evenly to {N} nodes, momentum {BETA}, {epochs} epochs",
        "Song, Li, Jin, Shi, Yan, Yin, Yuan, 2022, https://arxiv.org/abs/2210.07881; Ying, Yuan, Chen, Hu, Pan, Yin, 2021, "
        "https://arxiv.org/abs/2110.13363",
        ("topology", "nodes", "mean model", "MB a node", f"MB to {level:.0%}", "messages a node"),
        x_axis="MB that a node has sent",
        y_axis="accuracy on held-out digits, mean over the nodes",
        y_log=False,
    )
    nodes, common, sent, to_level, messages = (dict.fromkeys(TOPOLOGIES, 0.0) for _ in range(5))
    for name, topology in TOPOLOGIES.items():
        method = "pmsgd" if name == ALLREDUCE else "dmsgd"
        given = {"nodes": N, "batch": BATCH, "lr": LR, "beta": BETA, "epochs": epochs, "evaluate": 0.5}
        runs = [train(method, topology, given, seed=seed) for seed in range(draws)]
        nodes[name], common[name] = mean(ends(runs, "accuracy")), mean(ends(runs, "accuracy_of_mean"))
        sent[name] = mean(ends(runs, "bytes")) / N / 1e6
        messages[name] = mean(ends(runs, "messages")) / N
        curves = [run.history for run in runs]
        score = sum(curve["accuracy"] for curve in curves) / draws
        megabytes = sum(curve["bytes"] for curve in curves) / draws / N / 1e6
        to_level[name] = rounds_to(1 - level, list(megabytes), list(1 - score))
        found.curve(name, megabytes, score)
        found.rows.append(
            (
                name,
                f"{nodes[name]:.1%}",
                f"{common[name]:.1%}",
                f"{sent[name]:.1f}",
                number(to_level[name], ".2f"),
                f"{messages[name]:.0f}",
            )
        )

    found.claim(
        "with one neighbour a round the mean model has allreduce's accuracy, within a point",
        all(abs(common[name] - common[ALLREDUCE]) < 0.01 for name in ONE_PEER),
        ", ".join(f"{common[name]:.1%}" for name in ONE_PEER) + f" beside {common[ALLREDUCE]:.1%}",
    )
    found.claim(
        "and every node's own model, within a point and a half",
        all(nodes[ALLREDUCE] - nodes[name] < 0.015 for name in ONE_PEER),
        ", ".join(f"{nodes[name]:.1%}" for name in ONE_PEER),
    )
    found.claim(
        "to reach the same accuracy it takes less than two thirds of the bytes of a ring allreduce, and than a third of the "
        "static exponential graph's",
        max(to_level[name] for name in ONE_PEER) < 2 / 3 * to_level[ALLREDUCE]
        and max(to_level[name] for name in ONE_PEER) < to_level[STATIC] / 3,
        ", ".join(number(to_level[name], ".2f") for name in TOPOLOGIES) + " MB",
    )
    found.claim(
        "and fewer messages by far: one a round instead of 2 (n − 1)",
        all(messages[name] < messages[ALLREDUCE] / (2 * (N - 1) - 1) for name in ONE_PEER),
        f"{messages[ONE_PEER[0]]:.0f} beside {messages[ALLREDUCE]:.0f}",
    )
    return found


if __name__ == "__main__":
    main({"one_peer": experiment})
