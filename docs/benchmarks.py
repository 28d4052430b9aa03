"""The README's picture of what the benchmarks have measured.

From the repository root::

    python -m benchmarks.comm && python -m benchmarks.train && python -m benchmarks.simulate
    python -m benchmarks.widgets && python -m benchmarks.start
    python docs/benchmarks.py            # reads benchmarks/results, writes docs/benchmarks.png

What has not been measured is left out.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from statistics import median
from typing import Any

from ifog.widgets import picture, theme

ROOT = Path(__file__).parents[1]
RESULTS, PICTURE = ROOT / "benchmarks" / "results", ROOT / "docs" / "benchmarks.png"
OURS, PEER, FLOOR = "#0072B2", "#E69F00", theme.GREY
WIDE, COLUMN, LABEL, ROW, HEAD = 900, 430, 150, 22, 66


@dataclass
class Bars:
    """A few numbers beside each other, and the command that has measured them."""

    title: str
    note: str
    command: str
    rows: list[tuple[str, float, str, str]]
    """What it is called, how long its bar is, what stands beside it, and its colour."""

    @property
    def height(self) -> int:
        """Down to the end of the last bar."""
        return HEAD + ROW * len(self.rows) + 14

    def svg(self) -> str:
        """The drawing, from its upper left corner."""
        longest = max(value for _, value, _, _ in self.rows)
        room = COLUMN - LABEL - 100
        parts = [
            f'<text y="16" font-size="15" font-weight="600">{escape(self.title)}</text>',
            f'<text y="34" font-size="12">{escape(self.note)}</text>',
            f'<text y="50" font-size="11" fill="{theme.GREY}">python -m {escape(self.command)}</text>',
        ]
        for k, (name, value, said, colour) in enumerate(self.rows):
            y, wide = HEAD + ROW * k, max(2.0, room * value / longest)
            parts.append(f'<text x="{LABEL - 8}" y="{y + 12}" text-anchor="end" font-size="12">{escape(name)}</text>')
            parts.append(f'<rect x="{LABEL}" y="{y}" width="{wide:.1f}" height="15" rx="2" fill="{colour}"/>')
            parts.append(f'<text x="{LABEL + wide + 6:.1f}" y="{y + 12}" font-size="12">{escape(said)}</text>')
        return "".join(parts)


# ---- what each benchmark has found -------------------------------------------------------------------------------------


def comm(found: Any) -> Bars:
    """The largest tensors on the most ranks."""
    world = max((world for world in found["worlds"] if world["rows"]), key=lambda world: world["ranks"])
    rows = [row for row in world["rows"] if row["operation"] == "static exponential"]
    size = max(row["size"] for row in rows)
    seconds = {row["method"]: row["median"] for row in rows if row["size"] == size}
    names = {
        "ifog, shared": ("ifog", OURS),
        "ifog, copied in": ("ifog, copied in", OURS),
        "mpi4py": ("mpi4py", PEER),
        "gloo": ("gloo", PEER),
        "floor": ("memory alone", FLOOR),
    }
    return Bars(
        f"Averaging {size / 1e6:.1f} million numbers with neighbours",
        f"{world['ranks']} ranks, exponential graph; short is fast",
        "benchmarks.comm",
        _times(seconds, names),
    )


def train(found: Any) -> Bars:
    """The large network on as many ranks as were measured."""
    large = {key: seconds for key, seconds in found["iterations"].items() if key.startswith("resnet50")}
    key, seconds = max(large.items(), key=lambda item: int(item[0].split()[1]))
    names = {
        "one-peer exponential": ("one neighbour a round", OURS),
        "one-peer exponential, overlapped": ("the same, overlapped", OURS),
        "ring": ("ring", OURS),
        "allreduce": ("allreduce", OURS),
        "torch DDP, gloo": ("torch DDP, gloo", PEER),
    }
    alone = seconds["no communication"]
    rows = [("no communication", 1.0, "1.00", FLOOR)]
    for name, (said, colour) in names.items():
        ratio = median(a / b for a, b in zip(seconds[name], alone, strict=True))
        rows.append((said, ratio, f"{ratio:.2f}", colour))
    return Bars("An iteration of ResNet-50", f"{key.split(', ')[1]}; times one without communication", "benchmarks.train", rows)


def simulate(found: Any) -> Bars:
    """Gradient tracking on one graph."""
    result = next(result for result in found["results"] if result["topology"] == "exponential")
    seconds = {name: median(times) for name, times in result["seconds"].items()}
    names = {
        "ifog": ("ifog", OURS),
        "scipy": ("SciPy, sparse", PEER),
        "numpy": ("NumPy, dense", PEER),
        "floor": ("memory alone", FLOOR),
    }
    return Bars(
        f"Gradient tracking on {result['n']:,} simulated nodes",
        f"{result['d']:,} numbers each, exponential graph; short is fast",
        "benchmarks.simulate",
        _times(seconds, names),
    )


def widgets(found: Any) -> Bars:
    """A network that changes all its colours, as often as it can."""
    rows = []
    for n, network in found["networks"].items():
        rows.append((f"ifog, {int(n):,} nodes", network["live"], f"{network['live']:.0f}", OURS))
        if network.get("plotly") is not None:
            rows.append(("plotly FigureWidget", network["plotly"], f"{network['plotly']:.1f}", PEER))
    return Bars("A live network in JupyterLab", "frames a second, no graphics card; long is smooth", "benchmarks.widgets", rows)


def start(found: Any) -> Bars:
    """From the command to the first answer of all engines."""
    rows = []
    for measured in found["start"]:
        mine, peers = (median(times) for times in zip(*measured["pairs"], strict=True))
        rows.append((f"ifog, {measured['engines']} engines", mine, f"{mine:.1f} s", OURS))
        rows.append(("ipcluster start", peers, f"{peers:.1f} s", PEER))
    return Bars("Until all engines answer", "seconds from the command on; short is fast", "benchmarks.start", rows)


def _times(seconds: dict[str, float], names: dict[str, tuple[str, str]]) -> list[tuple[str, float, str, str]]:
    """Bars of times; what is not the first says how many times as long it takes."""
    measured = {name: seconds[name] for name in names if name in seconds}
    first = next(iter(measured))
    return [
        (
            names[name][0],
            value,
            f"{1e3 * value:.3g} ms" + f" · {value / measured[first]:.2g} ×" * (name != first),
            names[name][1],
        )
        for name, value in measured.items()
    ]


MEASURED: dict[str, Callable[[Any], Bars]] = {
    "comm": comm,
    "train": train,
    "simulate": simulate,
    "widgets": widgets,
    "start": start,
}


def drawn(bars: list[Bars]) -> str:
    """All of them in two columns, the next one always into the shorter."""
    tops, parts = [20, 20], []
    for each in bars:
        column = tops.index(min(tops))
        parts.append(f'<g transform="translate({20 + column * (WIDE - COLUMN - 20)} {tops[column]})">{each.svg()}</g>')
        tops[column] += each.height + 18
    return picture.svg(WIDE, max(tops), "what the benchmarks have measured", "".join(parts))


def main() -> None:
    """Read what there is, and write the picture."""
    files = {name: RESULTS / f"{name}.json" for name in MEASURED}
    bars = [MEASURED[name](json.loads(file.read_text())) for name, file in files.items() if file.exists()]
    if not bars:
        sys.exit(f"nothing has been measured yet: there is none of {', '.join(f'{name}.json' for name in files)} in {RESULTS}")
    PICTURE.write_bytes(picture.png(drawn(bars)))


if __name__ == "__main__":
    main()
