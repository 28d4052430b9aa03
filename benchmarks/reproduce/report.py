"""What an experiment found: a table, curves, and which of the paper's claims held."""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from ifog.errors import TopologyWarning

# Okabe and Ito's, told apart by colour-blind readers
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#7d828c", "#000000")


@dataclass(frozen=True)
class Claim:
    """Something that the paper says, or that theory says of its experiment."""

    text: str
    found: str
    """What came out here."""
    holds: bool


@dataclass(frozen=True)
class Curve:
    """A line of the figure."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    panel: str = ""


@dataclass
class Report:
    """All that an experiment says."""

    name: str
    """That of the file with the figure."""
    title: str
    paper: str
    columns: Sequence[str]
    rows: list[Sequence[object]] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    x_axis: str = "iteration"
    y_axis: str = "error"
    y_log: bool = True
    x_log: bool = False
    claims: list[Claim] = field(default_factory=list)

    def claim(self, text: str, holds: object, found: str = "") -> None:
        """Note whether something holds."""
        self.claims.append(Claim(text, found, bool(holds)))

    def curve(self, name: str, x: Any, y: Any, panel: str = "") -> None:
        """Draw a line."""
        self.curves.append(Curve(name, [float(value) for value in x], [float(value) for value in y], panel))

    @property
    def held(self) -> bool:
        """Whether all of it does."""
        return all(claim.holds for claim in self.claims)


def rounds_to(level: float, iterations: Sequence[float], errors: Sequence[float]) -> float:
    """The first iteration from which on the error stays below the level; infinity if it never does."""
    above = np.flatnonzero(~(np.asarray(errors) <= level))  # NaN is above
    first = int(above[-1]) + 1 if len(above) else 0
    return float(iterations[first]) if first < len(errors) else np.inf


def number(value: float, form: str = ".3g") -> str:
    """For a table: "never" for infinity."""
    return format(value, form) if np.isfinite(value) else "never"


def shown(report: Report, console: Console) -> None:
    """Print it."""
    table = Table(title=report.title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for at, column in enumerate(report.columns):
        table.add_column(column, justify="right" if at else "left", no_wrap=True)
    for row in report.rows:
        table.add_row(*map(str, row))
    console.print(table)
    console.print(f"  {report.paper}", highlight=False)
    for claim in report.claims:
        word = "[green]holds [/green]" if claim.holds else "[red]FAILS [/red]"
        console.print(f"  {word} {claim.text}" + (f": {claim.found}" if claim.found else ""), highlight=False)


def figure(report: Report) -> Any:
    """The curves, a panel beside the other."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    panels = list(dict.fromkeys(curve.panel for curve in report.curves))
    names = list(dict.fromkeys(curve.name for curve in report.curves))
    drawn = make_subplots(1, len(panels), subplot_titles=panels, shared_yaxes=True, horizontal_spacing=0.03)
    for curve in report.curves:
        at = names.index(curve.name)
        first = next(other for other in report.curves if other.name == curve.name)
        line = go.Scatter(
            x=list(curve.x),
            y=list(curve.y),
            name=curve.name,
            legendgroup=curve.name,
            showlegend=curve is first,
            mode="lines+markers" if len(curve.x) < 20 else "lines",
            line={"color": COLOURS[at % len(COLOURS)], "dash": "solid" if at < len(COLOURS) else "dash"},
        )
        drawn.add_trace(line, row=1, col=1 + panels.index(curve.panel))
    drawn.update_xaxes(title=report.x_axis, type="log" if report.x_log else "linear")
    drawn.update_yaxes(type="log" if report.y_log else "linear", exponentformat="power")
    drawn.update_yaxes(title=report.y_axis, col=1)
    drawn.update_layout(title=f"{report.title}<br><sub>{report.paper}</sub>", template="plotly_white", height=520)
    return drawn


def main(
    experiments: Mapping[str, Callable[[bool], Report]], arguments: Sequence[str] | None = None, *, about: str = ""
) -> None:
    """Run experiments: print what they found, save the figures, and exit with 1 if a claim failed."""
    parser = argparse.ArgumentParser(prog=f"python -m {about or 'benchmarks.reproduce'}", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a small one, in seconds")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"), help="folder (default: %(default)s)")
    given = parser.parse_args(arguments)
    console = Console()
    if not console.is_terminal:
        console = Console(width=140)
    failed = []
    given.output.mkdir(parents=True, exist_ok=True)
    for name, experiment in experiments.items():
        began = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TopologyWarning)  # that a graph is not at its best for this n is the point
            report = experiment(given.quick)
        shown(report, console)
        path = given.output / f"{name}.html"
        figure(report).write_html(path, include_plotlyjs=True)
        console.print(f"  {time.perf_counter() - began:.0f} s. Written: {path}\n", highlight=False)
        failed += [f"{name}: {claim.text}" for claim in report.claims if not claim.holds]
    if failed:
        console.print(f"{len(failed)} claims failed.")
        sys.exit(1)
