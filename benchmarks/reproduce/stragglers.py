"""Slow nodes: stochastic gradient push, overlapped or not, and methods in which nobody waits, beside allreduce, over seconds.

The clock is simulated: a gradient takes a second, a message 0.2. Slow now and then is one gradient in twenty that takes ten
seconds; the node that is always slow needs four. For that one those that wait for neighbours wait too, sooner or later: the
paper's gain comes from nodes that are slow now and then, and from hiding messages.
"""

from __future__ import annotations

from typing import Any

from ifog.network.clock import straggling

from .deep import N, ends, mean, train
from .report import Report, main, number, rounds_to

DELAY, LR, BATCH = 0.2, 0.2, 16
WORLDS: dict[str, dict[str, Any]] = {
    "alike": {"compute": 1.0},
    "now and then": {"compute": straggling(1.0, 0.05, times=10)},
    "one always": {"compute": 1.0, "speeds": {0: 0.25}},
}
METHODS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "allreduce": ("allreduce_sgd", "complete", {}),
    "SGP": ("sgp", "one_peer_exponential", {}),
    "overlap SGP, τ = 1": ("overlap_sgp", "one_peer_exponential", {"tau": 1}),
    "AD-PSGD": ("ad_psgd", "ring", {}),
}
ALLREDUCE, SGP, OVERLAP, AD = METHODS


def experiment(quick: bool) -> Report:
    """Accuracy over the seconds of a clock, in three worlds."""
    epochs, draws, level = (12, 1, 0.75) if quick else (24, 3, 0.9)
    found = Report(
        "stragglers",
        f"Digits on {N} nodes: all alike, each slow now and then, or one slow always; {epochs} epochs",
        "Assran, Loizou, Ballas, Rabbat, 2019, https://arxiv.org/abs/1811.10792; Lian, Zhang, Zhang, Liu, 2018, "
        "https://arxiv.org/abs/1710.06952",
        ("method", *(f"{world}: s/it" for world in WORLDS), *(f"s to {level:.0%}" for _ in WORLDS), "end"),
        x_axis="simulated seconds",
        y_axis="accuracy of the mean model",
        y_log=False,
    )
    pace: dict[tuple[str, str], float] = {}
    needed: dict[tuple[str, str], float] = {}
    end: dict[str, float] = {}
    for name, (method, topology, options) in METHODS.items():
        for world, clock in WORLDS.items():
            given = {"batch": BATCH, "lr": LR, "epochs": epochs, "evaluate": 0.25, "delay": DELAY}
            runs = [train(method, topology, {**given, **clock, **options}, seed=seed) for seed in range(draws)]
            seconds = sum(run.history["simulated"] for run in runs) / draws
            score = sum(run.history["accuracy_of_mean"] for run in runs) / draws
            pace[name, world] = float(seconds.iloc[-1]) / runs[0].iteration
            needed[name, world] = rounds_to(1 - level, list(seconds), list(1 - score))
            end[name] = mean(ends(runs, "accuracy_of_mean"))
            found.curve(name, seconds, score, world)
        found.rows.append(
            (
                name,
                *(f"{pace[name, world]:.2f}" for world in WORLDS),
                *(number(needed[name, world], ".0f") for world in WORLDS),
                f"{end[name]:.1%}",
            )
        )

    alike, now_and_then, always = WORLDS
    found.claim(
        "overlapped, messages cost no time",
        abs(pace[OVERLAP, alike] - 1) < 0.01 and abs(pace[SGP, alike] - 1 - DELAY) < 0.01,
        f"{pace[OVERLAP, alike]:.2f} s beside {pace[SGP, alike]:.2f} s",
    )
    found.claim(
        "where nodes are slow now and then, SGP is sooner there than allreduce, and AD-PSGD before both",
        needed[AD, now_and_then] < needed[SGP, now_and_then] < needed[ALLREDUCE, now_and_then],
        _seconds(needed, now_and_then),
    )
    found.claim(
        "an iteration of overlap SGP is then shorter by a third than one of allreduce, or more",
        pace[OVERLAP, now_and_then] < 2 / 3 * pace[ALLREDUCE, now_and_then],
        f"{pace[OVERLAP, now_and_then]:.2f} s beside {pace[ALLREDUCE, now_and_then]:.2f} s",
    )
    found.claim(
        "one node that is always slow makes SGP as slow as allreduce, overlapped or not",
        all(pace[name, always] > 0.9 * pace[ALLREDUCE, always] for name in (SGP, OVERLAP)),
        ", ".join(f"{pace[name, always]:.2f} s" for name in (ALLREDUCE, SGP, OVERLAP)),
    )
    found.claim(
        "and AD-PSGD, in which nobody waits for it, is there in less than two thirds of the time",
        needed[AD, always] < 2 / 3 * needed[ALLREDUCE, always],
        _seconds(needed, always),
    )
    return found


def _seconds(needed: dict[tuple[str, str], float], world: str) -> str:
    return ", ".join(f"{name} {number(needed[name, world], '.0f')} s" for name in METHODS)


if __name__ == "__main__":
    main({"stragglers": experiment})
