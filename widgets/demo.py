"""`ifog demo`: eight engines learn together, and a page shows how it went.

It starts engines of its own, runs the methods of the course on them, swaps a topology in the middle of a run, trains a small
network, and records what each engine did. Every number and every picture comes from that. The page is one file; the tour of
topologies (`ifog.widgets.tour`) is its last part.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
import webbrowser
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

import ifog
from ifog import learning, problems
from ifog.cluster import Cluster
from ifog.errors import TopologyWarning
from ifog.experiment.compared import figure
from ifog.problems import Problem

from . import page, picture, tour
from .convergence import Convergence
from .live import LiveWidget
from .network import Network
from .timeline import Timeline

_NAME = "demo"  # of its engines: those of a notebook are left alone
_PAUSE = 0.05  # seconds between two looks at a run
_RIGHT = "accuracy_of_mean"


# ---- what is run -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Entry:
    """A run: a method on a topology."""

    method: str
    topology: str
    parameters: dict[str, Any] = field(default_factory=dict)
    swap: str = ""
    """The topology that takes its place when half of the run is over."""


Start = Callable[[Entry, Cluster], ifog.Run]
"""Begins a run on engines."""


@dataclass(frozen=True)
class Chapter:
    """Runs that belong into one figure, and what there is to see in it."""

    title: str
    caption: str
    start: Start
    entries: Sequence[Entry]
    y: str = "error"
    log: bool = True


def on(problem: Callable[[int], Problem], steps: int) -> Start:
    """Runs on a problem of as many nodes as there are engines."""

    def start(entry: Entry, cluster: Cluster) -> ifog.Run:
        every = max(1, steps // 600)
        task = {"topology": entry.topology, "steps": steps, "every": every, **entry.parameters}
        return ifog.run(entry.method, problem(len(cluster)), on=cluster, **task)

    return start


def reading_digits(epochs: int) -> Start:
    """A small network that learns to read digits, of which each engine has seen mostly a few."""

    def start(entry: Entry, cluster: Cluster) -> ifog.Run:
        import torch
        from sklearn.datasets import load_digits

        images, digits = load_digits(return_X_y=True)
        images = (images / 16).astype("float32")
        torch.manual_seed(0)  # all runs begin with the same network
        network = learning.models.mlp(64, (64,), 10)
        data, test = (images[:1500], digits[:1500]), (images[1500:], digits[1500:])
        task = {"topology": entry.topology, "epochs": epochs, "batch": 16, "alpha": 0.3, **entry.parameters}
        return learning.fit(network, data, test=test, method=entry.method, nodes=len(cluster), on=cluster, **task)

    return start


Done = Sequence[tuple[Chapter, Sequence[ifog.Run]]]
"""Chapters with their runs."""

CHAPTERS = (
    Chapter(
        "Averaging",
        "Every engine starts with numbers of its own, and wants the mean of all. On the <b>ring</b> each talks to two others, "
        "on the <b>exponential</b> graph to those 1, 2, 4 … places away; its <b>one-peer</b> form uses only one of these in a "
        "round, and where the number of engines is a power of two, a few such rounds give the mean exactly.",
        on(problems.averaging, 60),
        [Entry("consensus", topology) for topology in ("ring", "exponential", "one_peer_exponential")],
        y="disagreement",
    ),
    Chapter(
        "Learning",
        "Now each engine has data of its own, which want something else than those of the others: least squares. <b>DGD</b> "
        "stops short of the optimum, because there the engines' gradients still pull apart. <b>EXTRA</b> and <b>DIGing</b> "
        "remember what pulls, and go all the way. Of two methods with momentum, <b>DecentLaM</b> ends where DGD with the same "
        "step would, <b>DmSGD</b> farther away.",
        on(problems.least_squares, 600),
        [
            Entry("dgd", "ring", {"lr": 0.02}),
            Entry("dgd", "exponential", {"lr": 0.02}),
            Entry("extra", "ring", {"lr": 0.1}),
            Entry("diging", "one_peer_exponential", {"lr": 0.1}),
            Entry("decentlam", "ring", {"lr": 0.004, "beta": 0.8}),
            Entry("dmsgd", "ring", {"lr": 0.004, "beta": 0.8}),
        ],
    ),
    Chapter(
        "Swapped while it runs",
        "The dotted line is where somebody gave the running engines another topology, as you can with a click in a notebook: "
        "all of them take it up at the same iteration, and the error falls.",
        on(problems.least_squares, 3000),
        [Entry("dgd", "ring", {"lr": 0.02}, swap="exponential")],
    ),
    Chapter(
        "A neural network",
        "A network that learns to read handwritten digits, of which each engine has seen mostly a few kinds. Drawn is how many "
        "of the test images the mean of all models reads right. Look at it against <b>bytes</b>: with one peer in a round, "
        "each engine sends its model once, and the network learns all the same.",
        reading_digits(24),
        [
            Entry("atc", "ring", {"lr": 0.3}),
            Entry("atc", "one_peer_exponential", {"lr": 0.3}),
            Entry("allreduce_sgd", "complete", {"lr": 0.3}),
        ],
        y=_RIGHT,
        log=False,
    ),
)


def run(entry: Entry, chapter: Chapter, cluster: Cluster, look: Callable[[ifog.Run], None]) -> ifog.Run:
    """One run on the engines, to its end; ``look`` is called again and again meanwhile."""
    going = chapter.start(entry, cluster)
    swap = entry.swap
    while not going.over:
        if swap and going.iteration > (going.steps or 0) // 2:
            going.topology, swap = swap, ""
        look(going)
        time.sleep(_PAUSE)
    return going.wait()


_TIMED = """
import torch
import ifog

ifog.set_topology(ifog.topology.make("one_peer_exponential", ifog.size()))
x = torch.ones(300_000, dtype=torch.float64)
ifog.barrier()
with ifog.timeline({path!r}):
    for k in range(6):
        with ifog.span("work"):
            y = torch.sin(x)
        x = ifog.neighbor_allreduce(y, name=f"round {{k}}")
"""


def timed(cluster: Cluster, path: Path) -> Timeline:
    """What each engine does in some rounds of computing and averaging."""
    cluster.view.execute(_TIMED.format(path=str(path)), block=True)
    return Timeline(path)


# ---- draw --------------------------------------------------------------------------------------------------------------


def curves(runs: Sequence[ifog.Run], chapter: Chapter) -> go.Figure:
    """The runs' curves, against iterations, bytes or seconds."""
    drawn = {x: figure(runs, y=chapter.y, x=x) for x in ("iteration", "bytes", "seconds")}
    switch = []
    for x, one in drawn.items():
        axis = {
            "shapes": one.layout.shapes,
            "annotations": one.layout.annotations,
            "xaxis.title.text": one.layout.xaxis.title.text,
        }
        switch.append({"label": x, "method": "update", "args": [{"x": [trace.x for trace in one.data]}, axis]})
    shown = drawn["iteration"] if chapter.log else drawn["iteration"].update_yaxes(type="linear", tickformat=".0%")
    return shown.update_layout(
        template=page.STYLE,
        height=460,
        margin={"l": 70, "r": 16, "t": 60, "b": 60},
        legend={"orientation": "h", "x": 0, "y": -0.16, "yanchor": "top"},
        updatemenus=[page.buttons(switch)],
    )


def topologies(n: int) -> list[Network]:
    """Those that the runs have used, in the order of the runs."""
    names = dict.fromkeys(name for chapter in CHAPTERS for entry in chapter.entries for name in (entry.topology, entry.swap))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TopologyWarning)  # of a size for which one is not exact
        return [Network(ifog.topology.make(name, n)) for name in names if name]


def alive(widget: LiveWidget) -> str:
    """A widget that lives on the page: to be played with, without Python."""
    fitting = "this.style.height = this.contentDocument.documentElement.scrollHeight + 'px'"
    inside = escape(widget.snapshot("html"))
    return f'<iframe class="widget" title="{escape(repr(widget))}" onload="{fitting}" srcdoc="{inside}"></iframe>'


def poster(n: int, networks: Sequence[Network], done: Done, timeline: Timeline) -> str:
    """The main pictures of the page as one drawing."""
    curves = [Convergence(*runs, y=chapter.y, log=chapter.log) for chapter, runs in done]
    title = f'<text x="30" y="52" font-size="30" font-weight="600">{n} engines learn together</text>'
    parts, y = [title], 80.0
    rows: list[Sequence[LiveWidget]] = [networks, curves[:2], curves[2:], [timeline]]
    for row in rows:
        width = 1200 / len(row)
        drawings = [each.snapshot() for each in row]
        heights = [width * tall / wide for wide, tall in map(picture.size, drawings)]
        for k, (drawing, height) in enumerate(zip(drawings, heights, strict=True)):
            parts.append(picture.inside(drawing, k * width + 20, y, width - 20, height))
        y += max(heights, default=0.0) + 20
    return picture.svg(1240, y, f"{n} engines learn together", "".join(parts))


def table(chapters: Done) -> Table:
    """What the terminal shows."""
    shown = Table(box=SIMPLE_HEAD, header_style="bold", padding=(0, 1, 0, 0), show_edge=False)
    shown.add_column("")
    shown.add_column("method", no_wrap=True)
    shown.add_column("topology", no_wrap=True)
    for title in ("error", "iterations", "bytes", "seconds"):
        shown.add_column(title, justify="right", no_wrap=True)
    for chapter, runs in chapters:
        for k, one in enumerate(runs):
            last = one.records.last
            shown.add_row(
                "" if k else chapter.title,
                str(one.about["method"]),
                " → ".join([str(one.about["topology"]), *(what for _, what in one.marks)]),
                f"{last[chapter.y]:.1%} right" if chapter.y == _RIGHT else f"{last[chapter.y]:.2g}",
                f"{one.iteration}",
                _bytes(last["bytes"]),
                f"{last['seconds']:.1f}",
            )
        shown.add_section()
    return shown


def _bytes(count: float) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:.0f} B"


def document(n: int, networks: Sequence[Network], done: Done, timeline: Timeline, rest: Sequence[str]) -> str:
    """The page."""
    return page.page(
        f"{n} engines learn together",
        f"{n} processes, each with numbers or data of its own. Nobody is in charge, and each talks only to its neighbours: "
        "<code>x_i ← Σ_j w_ij x_j</code>, plus gradients. Everything here was computed by them, on this machine, when "
        "<code>ifog demo</code> ran; in a notebook you can watch it happen, and change it while it runs.",
        [
            page.section(
                "Who talks to whom",
                "The topologies of the runs below. Point at a node or an edge to see its weights, and drag the nodes; where "
                "every round has a graph of its own, <b>play</b> shows them.",
                f'<div class="gallery wide">{"".join(alive(network) for network in networks)}</div>',
            ),
            *(
                page.section(chapter.title, chapter.caption, page.live(curves(runs, chapter), f"chapter{k}"))
                for k, (chapter, runs) in enumerate(done)
            ),
            page.section(
                "What each engine did",
                "Six rounds of computing and averaging with one other, on one clock: who computes, who waits for whom, who "
                "copies. Zoom in until arrows show the messages.",
                alive(timeline),
            ),
            *rest,
        ],
        kicker="ifog",
    )


# ---- run ---------------------------------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Start engines, run everything on them, print the table, write the page, and say where it is."""
    parser = argparse.ArgumentParser(prog="ifog demo", description="Engines learn together, and a page shows how it went.")
    parser.add_argument("-np", "-n", dest="n", type=int, default=8, metavar="N", help="engines, 2 to 64 (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=Path("demo.html"), help="where to write the page (default: %(default)s)")
    parser.add_argument("--open", action="store_true", help="also show the page in the web browser")
    given = parser.parse_args(arguments)
    if not 2 <= given.n <= 64:
        parser.error(f"-np {given.n}: between 2 and 64 engines, such as -np 8")
    if not given.output.absolute().parent.is_dir():
        parser.error(f"--output {given.output}: there is no folder {given.output.absolute().parent}")

    picture_file = given.output.with_suffix(".png")
    console = Console()
    if not console.is_terminal:
        console = Console(width=110)
    began = time.monotonic()
    columns = TextColumn("{task.description}"), BarColumn(30), TextColumn("{task.fields[said]}"), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True) as progress, tempfile.TemporaryDirectory() as folder:
        starting = progress.add_task("starting engines", total=given.n, said="")
        with Cluster(given.n, cluster_id=_NAME) as cluster:
            progress.update(starting, completed=given.n)
            done = [(chapter, list(_runs(chapter, cluster, progress))) for chapter in CHAPTERS]
            timeline = timed(cluster, Path(folder) / "trace.json")
        rest = _tour(given.n, progress)
        networks = topologies(given.n)
        given.output.write_text(document(given.n, networks, done, timeline, rest), encoding="utf-8")
        picture_file.write_bytes(picture.png(poster(given.n, networks, done, timeline)))

    console.print(table(done))
    place = given.output.resolve()
    console.print(f"[bold]The page with the pictures:[/] [link={place.as_uri()}]{given.output}[/link]  (open it in a browser)")
    console.print(f"[bold]The main ones in one:[/] {picture_file}", highlight=False)
    console.print(f"It took {time.monotonic() - began:.0f} s.")
    console.print("[bold]Next:[/] type [bold cyan]make lab[/] to try it yourself in a notebook")
    if given.open and not webbrowser.open(place.as_uri()):
        console.print(f"No browser was found here; open {given.output} yourself.")
    return 0


def _runs(chapter: Chapter, cluster: Cluster, progress: Progress) -> Iterator[ifog.Run]:
    for entry in chapter.entries:
        bar = progress.add_task(f"{entry.method}, {entry.topology}", total=None, said="")

        def look(going: ifog.Run, bar: TaskID = bar) -> None:
            value = going.records.last.get(chapter.y)
            said = "" if value is None else f"{chapter.y} {value:.2g}"
            progress.update(bar, total=going.steps, completed=going.iteration, said=said)

        yield run(entry, chapter, cluster, look)
        progress.remove_task(bar)


def _tour(n: int, progress: Progress) -> list[str]:
    size = max(n, 16)
    topologies, _ = tour.members(size)
    drawn, _ = tour.members(min(size, tour.DRAWN))
    averaging = progress.add_task(f"{tour.RACERS} simulated nodes average", total=len(tour.RACE), said="")
    raced = []
    for name in tour.RACE:
        raced.append(tour.race(name))
        progress.advance(averaging)
    return tour.sections(topologies, drawn, raced)


if __name__ == "__main__":
    raise SystemExit(main())
