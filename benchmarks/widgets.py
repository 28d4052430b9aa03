"""What live pictures cost, and how smooth they are: in a real JupyterLab with a browser, beside what one would take otherwise.

Run from the repository root, with playwright and a chromium (on Debian: apt-get install chromium)::

    python -m benchmarks.widgets              # about three minutes
    python -m benchmarks.widgets --quick      # one small network, short windows

- **Network**: frames a second while its rounds are played, when nothing but drawing limits them; and while values are shown
  200 times a second (`show` in a loop), with the messages that are sent for it and their bytes. Beside it the same colours
  in a plotly `FigureWidget`, and drawn anew by networkx and matplotlib, if that is installed.
- **Convergence**: updates a second of 8 curves of 10,000 points that grow, beside a `FigureWidget`; and how much longer a run
  takes that is watched together with 7 others: watched and unwatched runs take turns, and the median of the ratios counts, of
  the kernel's processor time, and of the clock, which on a small machine has the browser's work in it.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from types import ModuleType
from typing import Any

import networkx as nx
import numpy as np
from rich.console import Console
from rich.table import Table

from ifog import topology as t

NODES, QUICK_NODES = (64, 1024, 4900, 20_000), (64,)
RUNS, ROWS = 8, 10_000
_PAUSE = 0.005  # seconds between two calls of show()
_PLOTLY = 5000  # nodes up to which plotly is asked; above, the page would stand still for seconds

KERNEL = """
import threading, time
import numpy as np, plotly.graph_objects as go
import ifog
from ifog.experiment import Run
from ifog.widgets import Convergence, Network

class Feed:
    \"\"\"Does something in a loop, in a thread, and counts how often.\"\"\"
    def __init__(self, work, pause=0.0):
        self.count, self.on, self.began = 0, True, time.perf_counter()
        def loop():
            while self.on:
                work(self.count)
                self.count += 1
                time.sleep(pause)
            self.rate = self.count / (time.perf_counter() - self.began)
        threading.Thread(target=loop, daemon=True).start()

def counted(widget):
    widget.sent, widget.when, send = [], [], widget.send
    def count(content, buffers=None, **options):
        widget.sent.append(sum(len(b) for b in buffers or ()) + len(repr(content)))
        widget.when.append(time.perf_counter())
        send(content, buffers, **options)
    widget.send = count
    return widget

def grown(k):
    run = Run(f"run {k}", None)
    run.status = "running"
    grow(run, 0, ROWS)
    return run

def grow(run, begin, end):
    k = np.arange(begin, end)
    noise = np.random.default_rng(begin).uniform(0.9, 1.1, len(k))
    rows = {"iteration": k, "error": 0.999**(k % ROWS) * noise, "bytes": 8.0 * k, "seconds": 1e-3 * k}
    run.records.add({name: np.asarray(values, float).tolist() for name, values in rows.items()})

def timed(watched):
    began = time.process_time()
    run = ifog.run("dgd", "least_squares", n=16, topology="ring", steps=ROWS, lr=0.01, every=1, wait=False, progress=False)
    if watched is not None:
        watched.add(run)
    run.wait()
    return np.array([time.process_time() - began, run.records.last["seconds"]])

def slowdown(turns):
    before = [ifog.run("dgd", "least_squares", n=16, topology="ring", steps=ROWS, lr=0.01, every=1, wait=True, seed=k)
              for k in range(RUNS - 1)]
    ratios = []
    for _ in range(turns):
        bare, curves = timed(None), Convergence(*before, band=False)
        box.children = (curves,)
        time.sleep(1)
        between = timed(curves)
        box.children = ()
        curves.close()
        ratios.append((2 * between / (bare + timed(None))).tolist())
    return ratios
"""


def lab() -> ModuleType:
    """What the tests of the widgets drive JupyterLab with."""
    path = Path(__file__).parents[1] / "tests" / "widgets" / "lab.py"
    spec = importlib.util.spec_from_file_location("lab", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def per_second(page: Any, count: str, seconds: float) -> float:
    """How fast something in the page grows."""
    script = f"async () => {{ const count = () => Number({count}); const [begin, t] = [count(), performance.now()];" \
             f" await new Promise((r) => setTimeout(r, {1000 * seconds}));" \
             f" return 1000 * (count() - begin) / (performance.now() - t); }}"  # fmt: skip
    return float(page.evaluate(script))


_FRAMES = "document.querySelector('.ifog-sheet canvas').dataset.frames"
_UPDATES = "document.querySelector('.ifog-plot').dataset.updates"
_COUNT_PLOTS = """() => { window.plots = 0;
    document.querySelector('.js-plotly-plot').on('plotly_afterplot', () => { window.plots += 1; }); }"""


def plotly(notebook: Any, figure: str, update: str, seconds: float) -> float:
    """Updates a second that a FigureWidget draws: the next when one is drawn, or they would pile up."""
    page = notebook.page
    notebook.ask(f"setitem('figure', {figure})")
    notebook.ask("show('figure')")
    page.locator(".js-plotly-plot .main-svg").first.wait_for(timeout=120_000)
    page.wait_for_timeout(1500)
    page.evaluate(_COUNT_PLOTS)
    began, drawn = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        plots = page.evaluate("() => window.plots")
        notebook.ask(f"str({update})")
        page.wait_for_function(f"() => window.plots > {plots}", timeout=120_000)
        drawn += 1
    found = drawn / (time.perf_counter() - began)
    notebook.ask("str(figure.close())")
    return found


def network(notebook: Any, n: int, seconds: float) -> dict[str, float]:
    """One size of network: ours, and plotly's."""
    page = notebook.page
    notebook.ask(f"setitem('network', counted(Network(ifog.topology.grid({n}), values=np.random.rand({n}))))")
    notebook.ask("show('network')")
    page.locator(".ifog-network canvas").first.wait_for()
    page.wait_for_timeout(1000)
    play = page.get_by_role("button", name="play the rounds")
    play.click()
    found = {"playing": per_second(page, _FRAMES, seconds)}
    play.click()
    notebook.ask(f"setitem('feed', Feed(lambda k: network.show(np.random.rand({n})), {_PAUSE}))")
    page.wait_for_timeout(300)
    found["live"] = per_second(page, _FRAMES, seconds)
    notebook.ask("str(setattr(feed, 'on', False))")
    page.wait_for_timeout(200)
    found["messages"] = notebook.ask("(len(network.when) - 1) / (network.when[-1] - network.when[0])")
    found["shown"] = notebook.ask("feed.rate")
    found["bytes"] = float(notebook.ask("float(np.median(network.sent))"))
    notebook.ask("str(network.close())")
    if n <= _PLOTLY:
        update = f"figure.data[1].update(marker_color=np.random.rand({n}).astype('float32'))"
        found["plotly"] = plotly(notebook, f"network_figure({n})", update, seconds)
    return found


FIGURES = """
def network_figure(n):
    graph = ifog.topology.grid(n)
    side = int(n**0.5)
    y, x = np.divmod(np.arange(n), side)
    a, b = graph.edges.T
    gaps = np.full(len(a), np.nan)
    lines = go.Scatter(x=np.stack([x[a], x[b], gaps], 1).ravel(), y=np.stack([y[a], y[b], gaps], 1).ravel(), mode="lines")
    return go.FigureWidget([lines, go.Scatter(x=x, y=y, mode="markers", marker_color=np.random.rand(n))])

def curves_figure(runs):
    return go.FigureWidget([go.Scatter(x=run.records.columns()["iteration"], y=run.records.columns()["error"]) for run in runs])

def redraw(figure, runs):
    for run in runs:
        grow(run, len(run.records), len(run.records) + 10)
    with figure.batch_update():
        for trace, run in zip(figure.data, runs):
            columns = run.records.columns()
            trace.x, trace.y = np.array(columns["iteration"]), np.array(columns["error"])

import ipywidgets
box = ipywidgets.VBox()

def show(name):
    box.children = (globals()[name],)

def setitem(name, value):
    globals()[name] = value
"""


def curves(notebook: Any, seconds: float, turns: int) -> dict[str, Any]:
    """Eight curves of ten thousand points: ours, and plotly's; and what it costs the run that is watched."""
    page = notebook.page
    notebook.ask(f"setitem('runs', [grown(k) for k in range({RUNS})])")
    notebook.ask("setitem('curves', counted(Convergence(*runs)))")
    notebook.ask("show('curves')")
    page.locator(".ifog-plot canvas").wait_for()
    page.wait_for_timeout(1000)
    notebook.ask("str(curves.sent.clear())")
    grow = "[grow(run, len(run.records), len(run.records) + 10) for run in runs]"
    notebook.ask(f"setitem('feed', Feed(lambda k: {grow}, 0.03))")
    found: dict[str, Any] = {"updates": per_second(page, _UPDATES, 2 * seconds)}
    found["bytes"] = float(notebook.ask("float(np.median(curves.sent))"))
    notebook.ask("str([setattr(feed, 'on', False), curves.close()])")
    notebook.ask(f"setitem('runs', [grown(k) for k in range({RUNS})])")
    found["plotly"] = plotly(notebook, "curves_figure(runs)", "redraw(figure, runs)", 2 * seconds)
    found["slowdown"] = notebook.ask(f"slowdown({turns})")
    return found


def matplotlib_network(n: int) -> float | None:
    """Pictures a second that networkx and matplotlib draw of the same; None where matplotlib is missing."""
    if importlib.util.find_spec("matplotlib") is None:
        return None
    pyplot = importlib.import_module("matplotlib.pyplot")
    pyplot.switch_backend("agg")
    graph = nx.Graph(map(tuple, t.grid(n).edges.tolist()))
    side = round(n**0.5)
    places = {node: (node % side, node // side) for node in graph}
    figure = pyplot.figure()
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < 2:
        figure.clf()
        nx.draw(graph, places, node_color=np.random.default_rng(count).random(n), node_size=20, ax=figure.gca())
        figure.canvas.draw()
        count += 1
    return count / (time.perf_counter() - began)


def tables(found: dict[str, Any]) -> list[Table]:
    """What was measured, to be printed."""
    networks = Table(title="Network: frames a second", title_justify="left")
    for name in (
        "nodes",
        "playing",
        "live",
        "show() a second",
        "messages a second",
        "bytes each",
        "FigureWidget",
        "matplotlib",
    ):
        networks.add_column(name, justify="right")
    for n, row in found["networks"].items():
        shown = [f"{row[key]:,.0f}" for key in ("playing", "live", "shown", "messages", "bytes")]
        others = ["–" if row.get(key) is None else f"{row[key]:.1f}" for key in ("plotly", "matplotlib")]
        networks.add_row(f"{int(n):,}", *shown, *others)
    lines = found["curves"]
    drawn = Table(title=f"Convergence: {RUNS} runs × {found['rows']:,} points", title_justify="left")
    for name in ("updates a second", "bytes each", "FigureWidget", "the run: processor time", "and by the clock"):
        drawn.add_column(name, justify="right")
    slower = [f"{median(ratios) - 1:+.1%}" for ratios in zip(*lines["slowdown"], strict=True)]
    drawn.add_row(f"{lines['updates']:.1f}", f"{lines['bytes']:,.0f}", f"{lines['plotly']:.1f}", *slower)
    return [networks, drawn]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.widgets", description="How smooth live pictures are.")
    parser.add_argument("--quick", action="store_true", help="one small network, short windows")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"), help="the folder for the numbers")
    options = parser.parse_args(arguments)
    driver = lab()
    if driver.CHROMIUM is None or importlib.util.find_spec("playwright") is None:
        parser.exit(1, "it takes a browser: pip install playwright, and a chromium (apt-get install chromium)\n")
    nodes, rows, seconds, turns = (QUICK_NODES, 500, 0.5, 1) if options.quick else (NODES, ROWS, 2.0, 9)
    with tempfile.TemporaryDirectory() as folder, driver.jupyter_lab(Path(folder)) as address, driver.chromium() as page:
        notebook = driver.Notebook(
            page, address, Path(folder) / "benchmark.ipynb", [f"RUNS, ROWS = {RUNS}, {rows}\n{KERNEL}{FIGURES}\nbox"]
        )
        notebook.run_all()
        networks = {str(n): network(notebook, n, seconds) for n in nodes}
        found: dict[str, Any] = {"networks": networks, "rows": rows, "curves": curves(notebook, seconds, turns)}
    for n in nodes:
        drawn = matplotlib_network(n)
        if drawn is not None:
            networks[str(n)]["matplotlib"] = drawn
    console = Console()
    for table in tables(found):
        console.print(table)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "widgets.json").write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
