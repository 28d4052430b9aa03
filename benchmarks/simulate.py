"""How long an iteration of gradient tracking takes on simulated nodes, beside NumPy, SciPy, and the speed of memory itself.

Run from the repository root::

    python -m benchmarks.simulate            # 4,900 nodes × 1,000 unknowns, then up to 100,000 nodes: about five minutes
    python -m benchmarks.simulate --quick    # a small network: a few seconds

The recursion is DIGing on f_i(x) = ½ ‖x − c_i‖², whose gradient costs as little as a gradient can::

    g = x − c,   y = wy + g − g₋,   x, wy = W x − α y, W y,   g₋ = g

All compute it in float64 and to the same numbers, each in a process of its own, and take turns; the median of the turns counts.
Compare the ratios: the milliseconds depend on the machine.

The floor is the time to stream what must be touched once. The gradient is the user's: it reads x and c, and writes g. The rest
reads x, wy, g and g₋, and writes x and wy. That is nine arrays of n × d numbers, as many as three sums of two arrays into a
third read and write; these are timed in the same turns.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from ifog import topology as t
from ifog.algorithms import diging
from ifog.errors import TopologyWarning
from ifog.network import Network

TOPOLOGIES = ("ring", "grid", "exponential", "one_peer_exponential")
LR = 0.1
WARM = 30  # iterations outside the clock, until freed memory goes round
IFOG, SPARSE, DENSE, FLOOR = "ifog", "scipy", "numpy", "floor"
NEEDED = 2.0  # times the floor: the goal
LINEAR = 1.2  # a growth exponent up to here is called linear
COPIES = 30  # of x in memory, at most: the goal. Eight are in use at once, the rest is what malloc leaves between them

Floats = NDArray[np.float64]


# ---- the recursion, by each of them ------------------------------------------------------------------------------------


def centers(n: int, d: int) -> Floats:
    """What the nodes want: different everywhere."""
    return np.random.default_rng(0).standard_normal((n, d))


def by_ifog(topology: t.Schedule, c: Floats) -> Iterator[Floats]:
    """The method as it is written in ifog, on its network."""
    net, center = Network(topology), torch.from_numpy(c)
    x = torch.zeros_like(center)
    s = diging.start(net, x)

    def grad(z: torch.Tensor | None = None, *, fresh: bool = False) -> torch.Tensor:  # noqa: ARG001
        return (x if z is None else z) - center

    while True:
        x = diging(net, x, grad, s, lr=LR)
        net.advance()
        yield x.numpy()


def by_numpy(topology: t.Schedule, c: Floats, *, dense: bool) -> Iterator[Floats]:
    """The same lines in NumPy, where W is a matrix, or one of SciPy's sparse ones."""
    period = topology.period or 1
    if dense:
        period = min(period, 2)  # so many fit into memory, and each takes as long as any other
    graphs = [topology[k].matrix.tocsr() for k in range(period)]
    Ws = [W.toarray() for W in graphs] if dense else graphs
    x, wy, before = np.zeros_like(c), np.zeros_like(c), np.zeros_like(c)
    k = 0
    while True:
        W = Ws[k % period]
        g = x - c
        y = wy + g - before
        before = g
        x, wy = W @ x - LR * y, W @ y
        k += 1
        yield x


def by_memory(c: Floats) -> Iterator[None]:
    """Nine arrays: six read, three written."""
    a, b, out = (torch.from_numpy(c.copy()) for _ in range(3))
    while True:
        for _ in range(3):
            torch.add(a, b, out=out)
        yield None


# ---- measure -----------------------------------------------------------------------------------------------------------


@dataclass
class Result:
    """Seconds of an iteration in each turn, on one topology."""

    topology: str
    n: int
    d: int
    edges: float
    seconds: dict[str, list[float]] = field(default_factory=dict)

    def times(self, method: str, peer: str = FLOOR) -> float | None:
        """How many times as long as the peer."""
        found, other = self.seconds.get(method), self.seconds.get(peer)
        return median(found) / median(other) if found and other else None


def make(name: str, n: int) -> t.Schedule:
    """The topology, whatever it thinks of n."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TopologyWarning)
        return t.make(name, n)


def compare(name: str, n: int, d: int, turns: int, threads: int, report: Callable[[str], None]) -> Result:
    """All of them in turn, each in a process with memory of its own."""
    result = Result(name, n, d, make(name, n).messages)
    workers = {method: _started(_in_turn, (method, name, n, d, threads)) for method in (FLOOR, IFOG, SPARSE, DENSE)}
    report(f"{name}: the same numbers")
    samples = {method: worker.recv() for method, (_, worker) in workers.items()}
    for method in (SPARSE, DENSE):
        np.testing.assert_allclose(samples[IFOG], samples[method], rtol=1e-9, atol=1e-12)
    for turn in range(turns):
        report(f"{name}: turn {turn + 1} of {turns}")
        for method, (_, worker) in workers.items():
            if method != DENSE or turn < 2:  # which takes a hundred times as long
                worker.send(True)
                result.seconds.setdefault(method, []).append(worker.recv())
    for child, worker in workers.values():
        worker.send(False)
        child.join()
    return result


def _in_turn(method: str, name: str, n: int, d: int, threads: int, pipe: Connection) -> None:
    """Show what comes after two iterations, and then make one whenever asked."""
    torch.set_num_threads(threads)
    c, topology = centers(n, d), make(name, n)
    run: Iterator[Any] = by_memory(c) if method == FLOOR else by_ifog(topology, c)
    if method in (SPARSE, DENSE):
        run = by_numpy(topology, c, dense=method == DENSE)
    next(run)
    after = next(run)
    pipe.send(None if method == FLOOR else after[:: max(1, n // 100), :: max(1, d // 10)].copy())
    if method != DENSE:
        for _ in range(WARM):
            next(run)
    while pipe.recv():
        pipe.send(_timed(run))


def _timed(run: Iterator[Any]) -> float:
    start = time.perf_counter()
    next(run)
    return time.perf_counter() - start


def _started(work: Callable[..., None], arguments: tuple[Any, ...]) -> tuple[Any, Connection]:
    """A process that does this, and the pipe to it."""
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["ifog.algorithms", "rich.table"])
    ours, theirs = processes.Pipe()
    child = processes.Process(target=work, args=(*arguments, theirs), daemon=True)
    child.start()
    theirs.close()
    return child, ours


def alone(name: str, n: int, d: int, threads: int) -> dict[str, float]:
    """Seconds of an iteration of ifog, and how many arrays like x the process held at its peak; in a process of its own."""
    child, pipe = _started(_alone, (name, n, d, threads))
    found: dict[str, float] = pipe.recv()
    child.join()
    return found


def _alone(name: str, n: int, d: int, threads: int, pipe: Connection) -> None:
    torch.set_num_threads(threads)
    topology = make(name, n)
    warm = by_ifog(topology, centers(n, 1))
    for _ in range(topology.period or 1):
        next(warm)  # the graphs are made, and what is imported late is there
    before = _peak()
    run = by_ifog(topology, centers(n, d))
    seconds = [_timed(run) for _ in range(WARM + 5)][WARM:]
    pipe.send({"n": n, "d": d, "seconds": median(seconds), "copies": (_peak() - before) / (n * d * 8)})


def _peak() -> float:
    """Bytes of memory that this process has held at once."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def growth(found: Sequence[dict[str, float]], over: str) -> float:
    """The exponent p of time ~ nᵖ or dᵖ."""
    sizes, seconds = (np.array([one[what] for one in found]) for what in (over, "seconds"))
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


# ---- show --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Goal:
    """Something that should hold."""

    text: str
    most: float
    measured: float

    @property
    def met(self) -> bool:
        """Whether it does."""
        return self.measured <= self.most


def table(results: Sequence[Result]) -> Table:
    """An iteration by each, and how many times the floor that is."""
    n, d = results[0].n, results[0].d
    shown = Table(title=f"An iteration of DIGing, {n:,} nodes × {d:,} unknowns", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    shown.caption, shown.caption_justify = "milliseconds, and times the floor: medians", "left"
    shown.add_column("topology", no_wrap=True)
    for title in ("messages", FLOOR, IFOG, "", f"{SPARSE}, sparse W", "", f"{DENSE}, dense W", ""):
        shown.add_column(title, justify="right", no_wrap=True)
    for result in results:
        cells = [f"{1e3 * median(result.seconds[FLOOR]):.2f}"]
        for method in (IFOG, SPARSE, DENSE):
            cells += [f"{1e3 * median(result.seconds[method]):.2f}", f"{result.times(method):.1f} ×"]
        shown.add_row(result.topology, f"{result.edges:,.0f}", *cells)
    return shown


def growing(found: dict[str, dict[str, list[dict[str, float]]]]) -> Table:
    """How time and memory grow."""
    shown = Table(title="ifog alone, each size in a process of its own", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for title in ("topology", "nodes", "unknowns", "ms", "ns per number", "copies of x"):
        shown.add_column(title, justify="left" if title == "topology" else "right", no_wrap=True)
    for name, ways in found.items():
        for over in ways.values():
            for one in over:
                numbers = one["n"] * one["d"]
                cells = f"{one['n']:,}", f"{one['d']:,}", f"{1e3 * one['seconds']:.1f}", f"{1e9 * one['seconds'] / numbers:.2f}"
                shown.add_row(name, *cells, f"{one['copies']:.1f}")
    return shown


def goals(results: Sequence[Result], grown: dict[str, dict[str, list[dict[str, float]]]]) -> list[Goal]:
    """What should hold, and what was measured."""
    found = [Goal(f"{result.topology}: × the floor", NEEDED, result.times(IFOG) or np.inf) for result in results]
    for name, ways in grown.items():
        found += [Goal(f"{name}: the power of {over} that time grows with", LINEAR, growth(ways[over], over)) for over in ways]
        found.append(Goal(f"{name}: copies of x in memory", COPIES, max(one["copies"] for one in ways["n"])))
    return found


def verdict(found: Sequence[Goal]) -> Table:
    """Which goals are met."""
    shown = Table(title="Goals", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for title in ("", "at most", "measured", "met"):
        shown.add_column(title, justify="left" if title in ("", "met") else "right", no_wrap=True)
    for goal in found:
        colour, word = ("green", "yes") if goal.met else ("red", "no")
        shown.add_row(goal.text, f"{goal.most:g}", f"{goal.measured:.2f}", f"[{colour}]{word}[/{colour}]")
    return shown


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulate", description="Time of an iteration, simulated.")
    parser.add_argument("--quick", action="store_true", help="400 nodes × 50 unknowns, few turns")
    parser.add_argument("--turns", type=int, help="of each (default: 15, quick: 3)")
    parser.add_argument("--threads", type=int, default=1, help="that torch may use, in the floor too (default: %(default)s)")
    parser.add_argument("--only", choices=TOPOLOGIES, nargs="+", default=TOPOLOGIES, help="these topologies (default: all)")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"), help="folder (default: %(default)s)")
    given = parser.parse_args(arguments)
    turns = given.turns or (3 if given.quick else 15)
    n, d = (400, 50) if given.quick else (4900, 1000)
    # from 32 MB on: what fits into the cache is faster, and would look like growth
    nodes, wide = ((400, 1600), 20) if given.quick else ((10_000, 32_000, 100_000), 400)
    widths, many = ((20, 80), 400) if given.quick else ((1000, 2000, 4000), 4900)
    torch.set_num_threads(given.threads)
    console = Console()
    if not console.is_terminal:
        console = Console(width=120)
    console.print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {given.threads} of torch's threads", highlight=False)

    grown: dict[str, dict[str, list[dict[str, float]]]] = {}
    with console.status("") as status:
        results = [compare(name, n, d, turns, given.threads, status.update) for name in given.only]
        console.print(table(results))
        for name in given.only:
            status.update(f"{name}: larger and larger")
            over_n = [alone(name, size, wide, given.threads) for size in nodes]
            grown[name] = {"n": over_n, "d": [alone(name, many, size, given.threads) for size in widths]}
    console.print(growing(grown))
    found = goals(results, grown)
    console.print(verdict(found))
    console.print(f"{sum(goal.met for goal in found)} of {len(found)} goals are met.")
    given.output.mkdir(parents=True, exist_ok=True)
    path = given.output / "simulate.json"
    content = {
        "threads": given.threads,
        "results": [vars(result) for result in results],
        "alone": grown,
        "goals": [{**vars(goal), "met": goal.met} for goal in found],
    }
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")
    console.print(f"Written: {path}")


if __name__ == "__main__":
    main()
