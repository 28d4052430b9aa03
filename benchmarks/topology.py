"""How long a topology takes to build, beside networkx building the same graph, and how long its ρ takes.

Run from the repository root::

    python -m benchmarks.topology            # n = 1,000 … 1,000,000: about ten minutes
    python -m benchmarks.topology --quick    # up to 10,000: half a minute

Both builders take turns in the same process, and the median of a few turns counts: compare the ratios, the seconds depend
on the machine. Measurements run in processes of their own, so that one that takes too long can be ended and named. The
table goes to the terminal, the numbers to a CSV file and the curves to an SVG picture.
"""

from __future__ import annotations

import argparse
import csv
import math
import multiprocessing
import signal
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

import networkx as nx
import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from ifog import topology as t

SIZES = (10**3, 10**4, 10**5, 10**6)
TURNS, ENOUGH = 5, 4.0  # repeat five times, or until so many seconds are spent
LINEAR = 1.2  # a growth exponent up to here is called linear: memory is slower than the caches that hold small graphs
READY = "ready"  # a process says so before it starts the clock


@dataclass(frozen=True)
class Case:
    """A family, and how networkx makes the same graph (None: it has no such thing)."""

    family: str
    networkx: Callable[[int], Any] | None = None
    size: Callable[[int], int] = int  # the allowed number of nodes nearest to n


def _grid(n: int, *, periodic: bool = False) -> Any:
    rows = next(a for a in range(math.isqrt(n), 0, -1) if n % a == 0)  # as square as can be
    return nx.grid_2d_graph(rows, n // rows, periodic=periodic)


CASES = (
    Case("ring", nx.cycle_graph),
    Case("chain", nx.path_graph),
    Case("grid", lambda n: _grid(n)),
    Case("torus", lambda n: _grid(n, periodic=True)),
    Case("star", lambda n: nx.star_graph(n - 1)),
    Case("binary_tree", lambda n: nx.full_rary_tree(2, n)),
    Case("hypercube", lambda n: nx.hypercube_graph(n.bit_length() - 1), size=lambda n: 2 ** round(math.log2(n))),
    # networkx's circulant graphs are undirected; it has no directed ones
    Case("exponential", lambda n: nx.circulant_graph(n, [2**k for k in range((n - 1).bit_length())])),
    Case("erdos_renyi", lambda n: nx.fast_gnp_random_graph(n, 2 * math.log(n) / n, seed=0)),
    Case("geometric", lambda n: nx.random_geometric_graph(n, math.sqrt(2 * math.log(n) / n), seed=0)),
    Case("one_peer_exponential"),
    Case("ceca"),
)


@dataclass
class Result:
    """What was measured of one family at one size; None where it took longer than the limit or was not tried."""

    family: str
    n: int
    messages: float | None = None
    build: float | None = None
    networkx: float | None = None
    rho: float | None = None
    gap: float | None = None
    notes: list[str] = field(default_factory=list)


# ---- measure: these run in processes of their own ----------------------------------------------------------------------


def make(family: str, n: int) -> t.Schedule:
    """The topology with all its rounds; a schedule alone would put off all the work."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        schedule = t.make(family, n)
    for k in range(schedule.period or 0):
        schedule[k]
    return schedule


def build(case: Case, n: int) -> Iterator[tuple[str, float]]:
    """Seconds of ifog and networkx in turn."""
    spent = 0.0
    for _ in range(TURNS):
        seconds, schedule = _timed(make, case.family, n)
        yield "build", seconds
        yield "messages", schedule.messages
        del schedule
        spent += seconds
        if case.networkx is not None:
            seconds, graph = _timed(case.networkx, n)
            yield "networkx", seconds
            del graph
            spent += seconds
        if spent > ENOUGH:
            return


def rho(case: Case, n: int) -> Iterator[tuple[str, float]]:
    """Seconds from a made topology to its ρ, or to the rate of a schedule."""
    start = time.perf_counter()
    for _ in range(TURNS):
        schedule = make(case.family, n)
        yield READY, 0.0
        seconds, gap = _timed(_gap, schedule)
        yield "rho", seconds
        yield "gap", gap
        if time.perf_counter() - start > ENOUGH:
            return


def _gap(schedule: t.Schedule) -> float:
    return schedule.gap if isinstance(schedule, t.Topology) else 1 - schedule.consensus_rate


def _timed(work: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    start = time.perf_counter()
    result = work(*arguments)
    return time.perf_counter() - start, result


def _child(which: str, family: str, n: int, pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this process
    case = next(case for case in CASES if case.family == family)
    pipe.send((READY, 0.0))
    for message in (build if which == "build" else rho)(case, n):
        pipe.send(message)
    pipe.send(None)


# ---- collect -----------------------------------------------------------------------------------------------------------


def collect(which: str, case: Case, n: int, limit: float) -> tuple[dict[str, float], bool]:
    """The medians of what a process measured, and whether it finished: each single measurement has ``limit`` seconds."""
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["ifog.topology", "networkx", "rich.table"])
    ours, theirs = processes.Pipe(duplex=False)
    child = processes.Process(target=_child, args=(which, case.family, n, theirs))
    child.start()
    theirs.close()
    seen: dict[str, list[float]] = {}
    finished = False
    try:
        while ours.poll(max(limit, 20) if not seen else limit):  # a new process needs a moment before it is ready
            message = ours.recv()
            if message is None:
                finished = True
                break
            seen.setdefault(message[0], []).append(message[1])
    except EOFError:
        pass  # it died, of memory for example: what it said before that counts
    finally:
        child.kill()
        child.join()
    return {what: median(values) for what, values in seen.items() if what != READY}, finished


def measure(case: Case, sizes: Sequence[int], limit: float, report: Callable[[str], None]) -> list[Result]:
    """One family at every size; what took too long is not tried again at a larger one."""
    results = []
    slow: dict[str, int] = {}
    for size in sizes:
        n = case.size(size)
        result = Result(case.family, n)
        measured: dict[str, float] = {}
        for which, last in (("build", "networkx" if case.networkx else "build"), ("rho", "rho")):
            if which in slow:
                continue
            report(f"{case.family}({n:,}): {which}")
            without = Case(case.family, None, case.size) if "networkx" in slow else case
            found, finished = collect(which, without, n, limit)
            measured |= found
            if not finished:
                slow[last if which == "build" and "build" in found else which] = n
        for what, value in measured.items():
            setattr(result, what, value)
        result.notes += [f"{what}: over {limit:g} s at n = {at:,}" for what, at in slow.items()]
        results.append(result)
    return results


def growth(results: Sequence[Result], over: str = "n") -> float | None:
    """The exponent p of build time ~ nᵖ, fitted from n = 10,000 on: below that, fixed costs hide it."""
    large = [(getattr(r, over), r.build) for r in results if r.build is not None and r.n >= 8000]
    if len(large) < 2:
        return None
    n, seconds = np.array(large).T
    return float(np.polyfit(np.log(n), np.log(seconds), 1)[0])


def conclusions(results: Sequence[Result]) -> Iterator[str]:
    """Which families are built in linear time."""
    rows = {case.family: [r for r in results if r.family == case.family] for case in CASES}
    over_n = {family: p for family in rows if (p := growth(rows[family])) is not None}
    if not over_n:
        return
    steep = [family for family, p in over_n.items() if p > LINEAR]
    yield "Build time grows like n to the power p, fitted from n = 10,000 on."
    yield f"  linear, p ≤ {LINEAR}: " + (
        ", ".join(f"{family} {p:.2f}" for family, p in over_n.items() if p <= LINEAR) or "none"
    )
    if steep:
        yield "  steeper: " + ", ".join(f"{family} {over_n[family]:.2f}" for family in steep)
        over_messages = ", ".join(f"{family} {growth(rows[family], 'messages'):.2f}" for family in steep)
        yield f"  the same over the number of messages, as these have log n neighbours a node: {over_messages}"


# ---- show --------------------------------------------------------------------------------------------------------------


def table(results: Sequence[Result], limit: float) -> Table:
    """The terminal's table."""
    shown = Table(title="Building a topology, and getting its ρ", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    shown.caption = f"medians; –: longer than {limit:g} s here or at a smaller n, or nothing to compare with"
    shown.add_column("family", no_wrap=True)
    for title in ("n", "messages\na round", "build", "networkx", "networkx\n/ ifog", "ρ or rate", "1 − ρ"):
        shown.add_column(title, justify="right", no_wrap=True)
    for result in results:
        ratio = "–" if result.build is None or result.networkx is None else f"{result.networkx / result.build:.1f} ×"
        shown.add_row(
            result.family,
            f"{result.n:,}",
            "–" if result.messages is None else f"{result.messages:,.0f}",
            _seconds(result.build),
            _seconds(result.networkx),
            ratio,
            _seconds(result.rho),
            "–" if result.gap is None else f"{result.gap:.3g}",
            end_section=result.n >= max(other.n for other in results if other.family == result.family),
        )
    return shown


def _seconds(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value * 1e3:.2f} ms" if value < 0.1 else f"{value:.2f} s"


def picture(results: Sequence[Result]) -> str:
    """All curves as an SVG: a panel for each family, seconds over n, both logarithmic."""
    families = list(dict.fromkeys(result.family for result in results))
    width, height, columns = 230, 190, 4
    left, top = 60, 60
    n_low, n_high = (math.log10(f(r.n for r in results)) for f in (min, max))
    low, high = -5.0, 2.0
    lines = {"build": "#0072B2", "networkx": "#E69F00", "rho": "#009E73"}
    parts = []
    for place, family in enumerate(families):
        x0, y0 = left + place % columns * width, top + place // columns * height
        box_width, box_height = width - 40, height - 60
        parts.append(f'<text x="{x0}" y="{y0 - 8}" font-weight="600">{family}</text>')
        for power in range(int(low), int(high) + 1):
            y = y0 + box_height * (high - power) / (high - low)
            parts.append(f'<path d="M{x0} {y:.1f}h{box_width}" stroke="#888" stroke-opacity="0.25"/>')
            if place % columns == 0 and power % 2 == 0:
                parts.append(f'<text x="{x0 - 6}" y="{y + 4:.1f}" text-anchor="end">{_power(power)}</text>')
        for power in range(math.ceil(n_low - 0.01), math.floor(n_high + 0.03) + 1):
            x = x0 + box_width * (power - n_low) / (n_high - n_low)
            parts.append(f'<text x="{x:.1f}" y="{y0 + box_height + 16}" text-anchor="middle">{_power(power)}</text>')
        for what, colour in lines.items():
            values = [(r.n, getattr(r, what)) for r in results if r.family == family and getattr(r, what)]
            points = [
                f"{x0 + box_width * (math.log10(n) - n_low) / (n_high - n_low):.1f},"
                f"{y0 + box_height * (high - math.log10(value)) / (high - low):.1f}"
                for n, value in values
            ]
            dots = "".join(f'<circle cx="{x}" cy="{y}" r="3"/>' for x, y in (point.split(",") for point in points))
            line = f'<polyline points="{" ".join(points)}" fill="none" stroke-width="2"/>'
            parts.append(f'<g stroke="{colour}" fill="{colour}">{line}{dots}</g>')
    key = ""
    for place, (what, colour) in enumerate(lines.items()):
        name = {"build": "ifog builds", "networkx": "networkx builds", "rho": "ifog gets ρ or the rate"}[what]
        key += f'<text x="{left + 150 * place}" y="22" fill="{colour}" font-weight="600">{name}</text>'
    rows = math.ceil(len(families) / columns)
    size = f'width="{left + columns * width}" height="{top + rows * height}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12" fill="#777">'
        f'{key}<text x="{left + 480}" y="22">seconds over n</text>{"".join(parts)}</svg>\n'
    )


def _power(exponent: int) -> str:
    return f'10<tspan dy="-5" font-size="9">{exponent}</tspan>' if exponent else "1"


def save(results: Sequence[Result], folder: Path) -> list[Path]:
    """The numbers and the picture."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers, curves = folder / "topology.csv", folder / "topology.svg"
    with numbers.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["family", "n", "messages", "build_seconds", "networkx_seconds", "rho_seconds", "gap", "notes"])
        for r in results:
            writer.writerow([r.family, r.n, r.messages, r.build, r.networkx, r.rho, r.gap, "; ".join(r.notes)])
    curves.write_text(picture(results), encoding="utf-8")
    return [numbers, curves]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.topology", description="Time to build topologies and get ρ.")
    parser.add_argument("--quick", action="store_true", help="stop at n = 10,000")
    parser.add_argument("--limit", type=float, help="seconds for a single measurement (default: 30, quick: 5)")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"), help="folder (default: %(default)s)")
    given = parser.parse_args(arguments)
    limit = given.limit or (5.0 if given.quick else 30.0)
    console = Console()
    if not console.is_terminal:
        console = Console(width=100)

    results: list[Result] = []
    console.print(f"{len(CASES)} families; about {'half a minute' if given.quick else 'ten minutes (--quick: half a minute)'}.")
    with console.status("") as status:
        try:
            for case in CASES:
                results += measure(case, SIZES[:2] if given.quick else SIZES, limit, status.update)
        except KeyboardInterrupt:
            console.print("Stopped; here is what was measured until then.")
    if not results:
        return
    console.print(table(results, limit))

    for line in conclusions(results):
        console.print(line)
    for result in results:
        if result.notes and result.n >= max(other.n for other in results if other.family == result.family):
            console.print(f"Not measured, {result.family}: {'; '.join(result.notes)}.")
    for path in save(results, given.output):
        console.print(f"Written: {path}")


if __name__ == "__main__":
    main()
