"""A timeline as a still picture, in SVG: for saved notebooks, pages and print."""

from __future__ import annotations

import itertools
from html import escape

import numpy as np
from numpy.typing import NDArray

from . import picture, theme
from .trace import COPY, OTHER, SEND, SPAN, UNDER_WAY, WAIT, Trace

_WIDTH, _LEFT, _TOP, _LANE, _GAP = 660, 108, 44, 14, 8
_MOST = 32  # rows; of more only the first are drawn
_LEVELS = 4  # how finely a pixel's share is drawn
COLOURS = {
    WAIT: "#E69F00",
    COPY: "#0072B2",
    SEND: "#CC79A7",
    SPAN: "#56B4E9",
    UNDER_WAY: "#999933",
    OTHER: "#56B4E9",
}
COMPUTE = "#009E73"
NAMES = {COPY: "copy and add", WAIT: "wait", SEND: "send", SPAN: "spans", UNDER_WAY: "under way", OTHER: "others"}


def figure(trace: Trace) -> str:
    """The rows, one below the other, over time."""
    rows = trace.rows[:_MOST]
    tops = np.cumsum([_TOP, *(row["lanes"] * _LANE + _GAP for row in rows)])
    height = int(tops[-1]) + 34
    parts = [f'<text x="2" y="16" font-weight="600">{escape(trace.name)}</text>', _legend(trace)]
    notes = list(trace.notes) + ([f"{len(trace.rows) - _MOST} more rows"] if len(trace.rows) > _MOST else [])
    for k, row in enumerate(rows):
        top = int(tops[k])
        parts.append(f'<text x="{_LEFT - 8}" y="{top + 11}" text-anchor="end" font-size="12">{escape(row["name"][:16])}</text>')
        if row["compute"] >= 0:
            parts.append(_bars(trace.layer(k, COPY, SEND), trace.end, top, COMPUTE, inverted=True))
    layers: dict[tuple[int, int, int], list[tuple[float, float]]] = {}
    for s in trace.segments:
        if s.row < _MOST:
            layers.setdefault((s.kind == WAIT, s.row, s.lane * 10 + s.kind), []).append((s.begin, s.end))
    for (_, k, place), found in sorted(layers.items()):
        lane, kind = divmod(place, 10)
        top = int(tops[k]) + lane * _LANE
        parts.append(_bars(np.array(found), trace.end, top, COLOURS[kind]))
    parts.append(_axis(trace.end, int(tops[-1])))
    if notes:
        parts.append(f'<text x="2" y="{height - 4}" font-size="11" fill="{theme.GREY}">{escape("; ".join(notes)[:120])}</text>')
    return picture.svg(_WIDTH, height, f"timeline of {trace.name}", "".join(parts), size=12)


def _bars(spans: NDArray[np.float64], end: float, top: int, colour: str, *, inverted: bool = False) -> str:
    """Which pixels the segments fill, and how much of each."""
    pixels = _WIDTH - _LEFT - 4
    filled = _covered(spans.reshape(-1, 2) / (end or 1.0) * pixels, pixels)
    levels = np.ceil((1 - filled if inverted else filled) * _LEVELS - 1e-9).astype(int)
    edges = [0, *(np.flatnonzero(np.diff(levels)) + 1).tolist(), pixels]
    faint = 0.35 if inverted else 1.0
    return "".join(
        f'<rect x="{_LEFT + a}" y="{top}" width="{b - a}" height="{_LANE - 1}" fill="{colour}" '
        f'fill-opacity="{faint * levels[a] / _LEVELS:.2f}"/>'
        for a, b in itertools.pairwise(edges)
        if levels[a]
    )


def _covered(spans: NDArray[np.float64], pixels: int) -> NDArray[np.float64]:
    """The share of each pixel that lies in one of the spans."""
    change = np.zeros(pixels + 2)  # of the slope, so that two sums give what each pixel holds
    held = np.zeros(pixels + 1)
    for sign, at in ((1.0, spans[:, 0]), (-1.0, spans[:, 1])):
        place = np.clip(at, 0, pixels)
        whole = np.floor(place).astype(int)
        np.add.at(held, whole, sign * (1 - (place - whole)))
        np.add.at(change, whole + 1, sign)
    share = held[:pixels] + np.cumsum(change)[:pixels]
    return np.clip(share, 0, 1)


def _axis(end: float, bottom: int) -> str:
    width = _WIDTH - _LEFT - 4
    parts = [f'<path d="M{_LEFT} {bottom}h{width}" stroke="{theme.GREY}"/>']
    for k in range(5):
        x = _LEFT + width * k / 4
        anchor = "end" if k == 4 else "start" if k == 0 else "middle"
        parts.append(
            f'<text x="{x:.0f}" y="{bottom + 14}" text-anchor="{anchor}" font-size="11">{duration(end * k / 4)}</text>'
        )
    return "".join(parts)


def _legend(trace: Trace) -> str:
    shown: list[tuple[str, str, float]] = []
    if any(row["compute"] >= 0 for row in trace.rows):
        shown.append(("compute", COMPUTE, 0.35))
    kinds = {s.kind for s in trace.segments}
    shown += [(name, COLOURS[kind], 1.0) for kind, name in NAMES.items() if kind in kinds]
    parts, x = [], float(_LEFT)
    for name, colour, opacity in shown:
        parts.append(f'<rect x="{x:.0f}" y="26" width="11" height="11" rx="2" fill="{colour}" fill-opacity="{opacity}"/>')
        parts.append(f'<text x="{x + 16:.0f}" y="36" font-size="11">{name}</text>')
        x += 34 + 6.2 * len(name)
    return "".join(parts)


def duration(microseconds: float) -> str:
    """A time as one reads it."""
    for size, unit in ((1e6, "s"), (1e3, "ms"), (1.0, "µs")):
        if microseconds >= size:
            return f"{microseconds / size:.3g} {unit}"
    return f"{1000 * microseconds:.3g} ns" if microseconds else "0"
