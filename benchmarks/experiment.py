"""What it costs to record and steer a run: `ifog.run` beside a bare loop over the same iterations.

Run from the repository root::

    python -m benchmarks.experiment                      # simulated nodes: about a minute
    mpiexec -n 4 python -m benchmarks.experiment         # the same nodes, spread over ranks
    python -m benchmarks.experiment --quick              # a few seconds

The bare loop calls the method and nothing else. Both take turns in one process: a turn of one between two of the other gives a
ratio, and the median of these counts, because a machine that others use too slows both down. The time is the processor's in a
simulation, and the clock's on ranks.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from ifog import problems
from ifog.algorithms import find
from ifog.experiment.crew import crew
from ifog.experiment.drive import Experiment

CASES = {"16 nodes × 10": (16, 10, 10_000), "64 nodes × 1,000": (64, 1000, 400), "1,000 nodes × 100": (1000, 100, 150)}
QUICK = {"8 nodes × 5": (8, 5, 1000)}
EVERY = (1, 10, 100)
GOAL = 1.05


def experiment(n: int, d: int, every: int) -> Experiment:
    """Gradient tracking on least squares."""
    problem = problems.least_squares(n, d=d, samples=16)
    return Experiment(
        find("diging"),
        problem,
        topology="ring",
        seed=0,
        every=every,
        batch=None,
        start=None,
        name=None,
        parameters={"lr": 1e-4},
    )


def timed(work: Callable[[], Any], clock: Callable[[], float]) -> float:
    """How long it takes."""
    began = clock()
    work()
    return clock() - began


def measure(n: int, d: int, steps: int, turns: int) -> dict[str, float]:
    """How many times longer the recorded loop takes, for each `EVERY`; and the microseconds of a bare iteration."""
    clock = time.process_time if crew().size == 1 else time.perf_counter
    runs = {every: experiment(n, d, every) for every in EVERY}
    bare = experiment(n, d, 1)

    def loop() -> None:
        for _ in range(steps):
            bare.steps.step()

    def run(every: int) -> Callable[[], Any]:
        return lambda: runs[every].extend(steps, wait=True, progress=False)

    for every in EVERY:
        timed(run(every), clock)
    ratios: dict[int, list[float]] = {every: [] for every in EVERY}
    times = []
    for _ in range(turns):
        for every in EVERY:
            before, between, after = timed(loop, clock), timed(run(every), clock), timed(loop, clock)
            ratios[every].append(2 * between / (before + after))
            times.append(before)
    found = {str(every): median(values) for every, values in ratios.items()}
    return {**found, "iteration": median(times) / steps * 1e6}


def table(results: dict[str, dict[str, float]], ranks: int) -> Table:
    """The ratios."""
    where = "simulated" if ranks == 1 else f"on {ranks} ranks"
    drawn = Table(title=f"A recorded run beside a bare loop, {where}", title_justify="left")
    drawn.add_column("problem")
    drawn.add_column("bare iteration", justify="right")
    for every in EVERY:
        drawn.add_column(f"every={every}", justify="right")
    for name, found in results.items():
        cells = [f"{found[str(every)] - 1:+.1%}" for every in EVERY]
        drawn.add_row(name, f"{found['iteration']:.0f} µs", *cells)
    return drawn


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.experiment", description="What recording a run costs.")
    parser.add_argument("--quick", action="store_true", help="a small problem, few turns")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"), help="the folder for the numbers")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    turns = 3 if options.quick else 5
    results = {name: measure(*case, turns) for name, case in (QUICK if options.quick else CASES).items()}
    who = crew()
    if who.rank == 0:
        console = Console()
        console.print(table(results, who.size))
        slow = [name for name, found in results.items() if found["10"] > GOAL]
        console.print(f"Recorded every 10 iterations, {len(results) - len(slow)} of {len(results)} take at most 5 % longer.")
        options.output.mkdir(parents=True, exist_ok=True)
        (options.output / f"experiment_{who.size}.json").write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
