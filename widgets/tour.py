"""A tour of `ifog.topology`: a table in the terminal, and a page of pictures and live figures in one file.

``python -m ifog.widgets.tour --help``; the page of `ifog demo` ends with the same sections. Every number is worked out on
the way.
"""

from __future__ import annotations

import argparse
import math
import warnings
import webbrowser
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from ifog import topology as t
from ifog.errors import TopologyError, TopologyWarning
from ifog.topology import cost
from ifog.topology.arguments import log2_ceil
from ifog.widgets import page
from ifog.widgets.page import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILION

MODEL = 102e6  # bytes of ResNet-50 in float32: what a node sends to a neighbour
LINK = "25GbE"
TARGET = 1e-6  # what may be left of the disagreement
PATIENCE = 20_000  # rounds after which a slow topology is given up
DRAWN = 16  # nodes in a drawing: enough to see the pattern, few enough to see the nodes

# the race: how each entry is called, its family, its colour; 4900 nodes are a grid of 70 × 70
RACERS = 4900
RACE_ROUNDS = 130
RACE = {
    "ring": ("ring", GREY),
    "grid": ("grid", ORANGE),
    "static exponential": ("exponential", BLUE),
    "one-peer exponential": ("one_peer_exponential", SKY),
    "OD-EquiDyn": ("od_equidyn", VERMILION),
    "CECA": ("ceca", GREEN),
}
SPECTRA = ("directed_ring", "ring", "grid", "binary_tree", "exponential", "d_equistatic", "random_regular", "complete")


# ---- compute -----------------------------------------------------------------------------------------------------------


def members(n: int) -> tuple[list[t.Schedule], list[str]]:
    """Every family's topology of n nodes, and the reasons of those that refuse this n."""
    made, refusals = [], []
    for family in t.families().values():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", TopologyWarning)  # what they warn of, the table shows
                made.append(family(n))
        except TopologyError as refusal:
            refusals.append(str(refusal))
    return made, refusals


def errors(schedule: t.Schedule, x: NDArray[np.float64]) -> Iterator[float]:
    """Average for real, x ← W x, for ever: what is left of the disagreement after 0, 1, 2 … rounds."""
    n, mean = len(x), x.mean()
    state = schedule[0].start(x)
    k = 0
    while True:
        yield float(np.linalg.norm(state[:n] - mean) / np.linalg.norm(x - mean))
        state = schedule[k].matrix @ state
        k += 1


def rounds_until(schedule: t.Schedule, x: NDArray[np.float64], target: float = TARGET) -> int | None:
    """The first round after which no more than the target is left; None if it takes more than our patience."""
    left = islice(errors(schedule, x), PATIENCE + 1)
    return next((k for k, error in enumerate(left) if error <= target), None)


def noise(n: int) -> NDArray[np.float64]:
    """A value for each node, the same in every tour."""
    return np.random.default_rng(0).standard_normal(n)


@dataclass(frozen=True)
class Row:
    """What the table says about a topology."""

    name: str
    degree: int
    messages: float
    rate: float
    exact: int | None
    measured: int | None
    seconds: float


def measure(schedule: t.Schedule) -> Row:
    """A topology's properties, beside what happens when it is used."""
    return Row(
        name=schedule.name,
        degree=schedule.degree,
        messages=schedule.messages,
        rate=schedule.consensus_rate,
        exact=schedule.rounds_to_exact,
        measured=rounds_until(schedule, noise(schedule.n)),
        seconds=cost.round_time(schedule, MODEL, LINK),
    )


@dataclass(frozen=True)
class Curve:
    """An entry of the race: the error after each round, and what a round costs."""

    name: str
    colour: str
    errors: list[float]
    rate: float
    exact: int | None
    messages: float
    seconds: float

    @property
    def finish(self) -> int | None:
        """The round in which it reached the target."""
        return next((k for k, error in enumerate(self.errors) if error <= TARGET), None)


def race(name: str, n: int = RACERS, rounds: int = RACE_ROUNDS) -> Curve:
    """One entry of the race, run on the same random values as all others."""
    family, colour = RACE[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TopologyWarning)
        schedule = t.make(family, n)
    return Curve(
        name=name,
        colour=colour,
        errors=list(islice(errors(schedule, noise(n)), rounds + 1)),
        rate=schedule.consensus_rate,
        exact=schedule.rounds_to_exact,
        messages=schedule.messages / n,
        seconds=cost.round_time(schedule, MODEL, LINK),
    )


def exchange_seconds(n: int, size: float, link: str = LINK) -> dict[str, float]:
    """What one exchange between n nodes takes, for the mean of all or of some neighbours."""
    return {
        "parameter server": cost.parameter_server(n, size, link),
        "ring allreduce": cost.ring_allreduce(n, size, link),
        "static exponential": cost.exchange_time(log2_ceil(n), size, link),
        "halving-doubling allreduce": cost.halving_doubling(n, size, link),
        "one-peer gossip": cost.exchange_time(1, size, link),
    }


# ---- draw --------------------------------------------------------------------------------------------------------------


def convergence_figure(curves: Sequence[Curve]) -> go.Figure:
    """The error of each entry against rounds, messages or seconds; on request with the worst case that theory allows."""
    figure = go.Figure()
    for curve in curves:
        rounds = list(range(len(curve.errors)))
        # rounding errors are no news: a curve ends where only they are left
        end = next((k for k, error in enumerate(curve.errors) if error < 1e-14), len(rounds))
        shown = [max(error, 1e-17) for error in curve.errors[: end + 1]]
        line = {"color": curve.colour, "width": 3}
        hover = "%{y:.1e}"
        figure.add_scatter(
            x=rounds, y=shown, name=curve.name, legendgroup=curve.name, mode="lines", line=line, hovertemplate=hover
        )
    for curve in curves:
        rounds = list(range(len(curve.errors)))
        worst = [curve.rate**k for k in rounds] if curve.exact is None else [None for _ in rounds]
        line = {"color": curve.colour, "width": 1.5, "dash": "dot"}
        figure.add_scatter(
            x=rounds,
            y=worst,
            name=f"{curve.name}, worst case",
            legendgroup=curve.name,
            mode="lines",
            line=line,
            hoverinfo="skip",
            showlegend=False,
            visible=False,
        )
    scales = {
        "rounds": ("rounds", "linear", [1.0 for _ in curves]),
        "messages": ("messages sent by a node", "log", [curve.messages for curve in curves]),
        "seconds": (f"modelled seconds, {MODEL / 1e6:.0f} MB over {LINK}", "log", [curve.seconds for curve in curves]),
    }
    switch = []
    for label, (title, kind, per_round) in scales.items():
        x = [[k * each for k in range(len(curve.errors))] for curve, each in zip(curves, per_round, strict=True)]
        if kind == "log":  # the start has no place on a logarithmic axis
            x = [[math.nan, *after] for _, *after in x]
        axis = {
            "xaxis.title.text": title,
            "xaxis.type": kind,
            "xaxis.autorange": True,
            "xaxis.dtick": 1 if kind == "log" else 20,
        }
        switch.append({"label": label, "method": "update", "args": [{"x": x + x}, axis]})
    theory = list(range(len(curves), 2 * len(curves)))
    worst_case = [
        {"label": label, "method": "restyle", "args": [{"visible": shown}, theory]}
        for label, shown in (("as it went", False), ("with the worst case", True))
    ]
    figure.add_hline(y=TARGET, line={"color": GREY, "width": 1, "dash": "dash"})
    return figure.update_layout(
        template=page.STYLE,
        height=520,
        hovermode="x unified",
        hoverlabel={"bgcolor": "rgba(40, 44, 52, 0.92)", "font": {"color": "#ffffff"}},
        updatemenus=[page.buttons(switch), page.buttons(worst_case, x=1)],
        xaxis={"title": {"text": "rounds"}, "dtick": 20},
        yaxis={"title": {"text": "disagreement left"}, "type": "log", "range": [-9, 0.3], "dtick": 1},
    )


def spectrum_figure(topologies: Sequence[t.Topology]) -> go.Figure:
    """All eigenvalues of W in the unit disc: what lies near its edge dies out slowly."""
    columns = min(4, len(topologies))
    titles = [f"{topology.name}<br>ρ = {topology.rho:.3f}" for topology in topologies]
    rows = math.ceil(len(topologies) / columns)
    figure = make_subplots(rows, columns, subplot_titles=titles, horizontal_spacing=0.02, vertical_spacing=0.14)
    for place, topology in enumerate(topologies):
        at = {"row": place // columns + 1, "col": place % columns + 1}
        rho, values = topology.rho, topology.eigenvalues
        corner = {"type": "circle", "layer": "below", **at}
        figure.add_shape(x0=-1, y0=-1, x1=1, y1=1, line={"color": GREY, "width": 1}, **corner)
        figure.add_shape(x0=-rho, y0=-rho, x1=rho, y1=rho, line={"width": 0}, fillcolor="rgba(86, 180, 233, 0.18)", **corner)
        # the first is the eigenvalue 1 of agreement itself
        for part, colour in ((values[1:], BLUE), (values[:1], VERMILION)):
            marker = {"color": colour, "size": 8, "opacity": 0.9}
            hover = "%{x:.3f} %{y:+.3f} i<extra></extra>"
            figure.add_scatter(x=part.real, y=part.imag, mode="markers", marker=marker, hovertemplate=hover, **at)
    figure.update_xaxes(visible=False, range=[-1.1, 1.1], constrain="domain")
    figure.update_yaxes(visible=False, range=[-1.1, 1.1], constrain="domain")
    for number in range(1, len(topologies) + 1):
        figure.update_layout({f"yaxis{number if number > 1 else ''}": {"scaleanchor": f"x{number if number > 1 else ''}"}})
    figure.update_annotations(font={"size": 14}, yshift=6)
    return figure.update_layout(template=page.STYLE, height=330 * rows, showlegend=False, margin={"l": 0, "r": 0, "b": 10})


def cost_figure(exponents: Sequence[int] = range(1, 21)) -> go.Figure:
    """Seconds for one exchange against the number of nodes, for messages of three sizes."""
    sizes = {"4 kB": 4e3, "4 MB": 4e6, f"{MODEL / 1e6:.0f} MB": MODEL}
    n = [2**e for e in exponents]
    times = {label: [exchange_seconds(nodes, size) for nodes in n] for label, size in sizes.items()}
    start = list(sizes)[-1]
    colours = (PURPLE, GREY, BLUE, ORANGE, SKY)
    figure = go.Figure()
    for name, colour in zip(times[start][0], colours, strict=True):
        y = [each[name] for each in times[start]]
        hover = "%{y:.3~s}s"
        figure.add_scatter(x=n, y=y, name=name, mode="lines", line={"color": colour, "width": 3}, hovertemplate=hover)
    switch = [
        {"label": label, "method": "restyle", "args": [{"y": [[each[name] for each in rows] for name in rows[0]]}]}
        for label, rows in times.items()
    ]
    figure.update_layout(
        template=page.STYLE,
        height=480,
        hovermode="x unified",
        hoverlabel={"bgcolor": "rgba(40, 44, 52, 0.92)", "font": {"color": "#ffffff"}},
        updatemenus=[{**page.buttons(switch), "active": len(switch) - 1}],
        xaxis={"title": {"text": "nodes"}, "type": "log", "dtick": 1, "hoverformat": ","},
        yaxis={"title": {"text": "seconds for one exchange"}, "type": "log", "dtick": 1},
    )
    return figure


def sections(topologies: Sequence[t.Schedule], drawn: Sequence[t.Schedule], curves: Sequence[Curve]) -> list[str]:
    """The parts of the page, from what was computed."""
    by_name = {curve.name: curve for curve in curves}
    ceca, static, one_peer, ring = (by_name[name] for name in ("CECA", "static exponential", "one-peer exponential", "ring"))
    ring_rounds = math.log(TARGET) / math.log(ring.rate)
    far, link = exchange_seconds(10**6, MODEL), cost.LINKS[LINK]
    statics = {topology.name: topology for topology in topologies if isinstance(topology, t.Topology)}
    spectra = [statics[name] for name in SPECTRA if name in statics]
    return [
        page.section(
            f"{RACERS} nodes try to agree",
            f"Each curve is what is left of the disagreement; the dashed line is one millionth. After {ceca.exact} rounds "
            f"<b>CECA</b> has the exact mean; the ring would need some {ring_rounds / 1e6:.0f} million. Then ask for "
            f"<b>messages</b>: the static exponential graph needs fewer rounds than its one-peer version "
            f"({static.finish} against {one_peer.finish}), but {static.messages:.0f} messages in each.",
            page.live(convergence_figure(curves), "convergence"),
        ),
        page.section(
            "The families",
            f"Each with {drawn[0].n} nodes, drawn by itself. The rate is the factor by which a round shrinks a "
            f"disagreement, in the worst case; small is good. In Python, <code>ifog.topology.{drawn[0].name}"
            f"({drawn[0].n})</code> is the first of them.",
            page.gallery(drawn),
        ),
        page.section(
            "Why some are slow",
            f"Averaging is multiplication by a matrix W, here of {topologies[0].n} nodes: each blue dot is one of its "
            f"eigenvalues, the factor by which a pattern of disagreement shrinks in a round. The orange one belongs to "
            f"agreement, which stays. Look at the rim between the shaded disc and the circle: the <b>wider the rim, the "
            f"faster</b>.",
            page.live(spectrum_figure(spectra), "spectrum"),
        ),
        page.section(
            "What an exchange costs",
            f"A model of a network with {link.latency * 1e6:.0f} µs latency and {link.bandwidth * 8 / 1e9:.0f} Gb/s. A "
            f"ring allreduce among a million nodes takes {far['ring allreduce']:.0f} s, almost all of it latency; talking "
            f"to one peer takes {far['one-peer gossip'] * 1e3:.0f} ms at any size. Choose a <b>smaller message</b> and "
            f"see where the lines part.",
            page.live(cost_figure(), "cost"),
        ),
    ]


def whole(parts: Sequence[str]) -> str:
    """The page, from its parts."""
    return page.page(
        "Who should talk to whom?",
        "Many computers hold a number each, or a model each, and want the average of all, but nobody is in charge. "
        "So they <b>gossip</b>: in every round each one averages with a few others, and bit by bit all come to agree. "
        "How soon they agree, and what it costs, is decided by the graph of who talks to whom.",
        parts,
    )


def table(rows: Sequence[Row], n: int) -> Table:
    """What the terminal shows."""
    # narrow enough for a terminal of 80 columns
    shown = Table(title=f"Gossip among {n} nodes", box=SIMPLE_HEAD, header_style="bold", padding=(0, 1, 0, 0), show_edge=False)
    shown.caption_justify = "left"
    shown.caption = (
        f"sent: messages of all nodes together\n"
        f"rate: what a round leaves of a disagreement, at worst\n"
        f"needed: rounds of a real run until 1/{1 / TARGET:,.0f} of it was left\n"
        f"seconds: a model of {MODEL / 1e6:.0f} MB over {LINK} ({cost.LINKS[LINK].latency * 1e6:.0f} µs latency)"
    )
    shown.add_column("family", no_wrap=True)
    for title in (
        "degree",
        "sent\na round",
        "rate",
        "exact\nafter",
        "rounds\nneeded",
        "seconds\na round",
        "seconds\nin all",
    ):
        shown.add_column(title, justify="right", no_wrap=True)
    for row in rows:
        shown.add_row(
            row.name,
            f"{row.degree}",
            f"{row.messages:,.0f}",
            f"{row.rate:.4f}" if row.rate <= 0.9999 else ">.9999",
            "–" if row.exact is None else f"{row.exact}",
            f">{PATIENCE / 1000:g}k" if row.measured is None else f"{row.measured:,}",
            f"{row.seconds:.3f}",
            "" if row.measured is None else _short(row.measured * row.seconds),
            style="bold green" if row.exact is not None else "",
        )
    return shown


def _short(seconds: float) -> str:
    return f"{seconds:.1f}" if seconds < 100 else f"{seconds:,.0f}"


# ---- run ---------------------------------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> None:
    """Compute, print the table, write the page, and say where it is."""
    parser = argparse.ArgumentParser(prog="python -m ifog.widgets.tour", description="A tour of ifog's topologies.")
    parser.add_argument(
        "--n", type=int, default=64, help="nodes in the table and the spectra, 2 to 1000 (default: %(default)s)"
    )
    parser.add_argument("--output", type=Path, default=Path("tour.html"), help="where to write the page (default: %(default)s)")
    parser.add_argument("--open", action="store_true", help="also show the page in the web browser")
    given = parser.parse_args(arguments)
    if not 2 <= given.n <= 1000:
        parser.error(f"--n {given.n}: between 2 and 1000 nodes, such as --n 64")
    if not given.output.absolute().parent.is_dir():
        parser.error(f"--output {given.output}: there is no folder {given.output.absolute().parent}")

    console = Console()
    if not console.is_terminal:
        console = Console(width=100)
    topologies, refusals = members(given.n)
    with Progress(console=console, transient=True) as progress:
        rows = [measure(topology) for topology in progress.track(topologies, description=f"{given.n} nodes average …")]
        curves = [race(name) for name in progress.track(list(RACE), description=f"{RACERS} nodes average …")]
        drawn, _ = members(min(given.n, DRAWN))
        (writing,) = progress.track([sections], description="drawing …")
        given.output.write_text(whole(writing(topologies, drawn, curves)), encoding="utf-8")

    console.print(table(rows, given.n))
    for refusal in refusals:
        console.print(f"not in the table: {refusal}", style="dim", markup=False, highlight=False)
    place = given.output.resolve()
    console.print()
    console.print(
        f"[bold]The page with the pictures:[/bold] [link={place.as_uri()}]{given.output}[/link]  (open it in a browser)"
    )
    console.print("[bold]Next:[/bold] type [bold cyan]make lab[/bold cyan] to try it yourself in a notebook, for instance")
    console.print("      from ifog import topology as t; t.one_peer_exponential(8)", highlight=False)
    if given.open and not webbrowser.open(place.as_uri()):
        console.print(f"No browser was found here; open {given.output} yourself.")


if __name__ == "__main__":
    main()
