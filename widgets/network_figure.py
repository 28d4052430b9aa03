"""A network as a still picture, in SVG: for saved notebooks, pages and print."""

from __future__ import annotations

import base64
import math
from html import escape

import numpy as np
from numpy.typing import NDArray

from ifog.topology import Schedule, draw

from . import drawing, layouts, picture, theme

Points = NDArray[np.float64]

_SIDE, _TEXT = 320, 26
_DRAWN_IN_FULL = 3000  # lines; of more, the picture of W says more than a black disc


def figure(
    schedule: Schedule,
    values: NDArray[np.float64] | None = None,
    *,
    places: Points | None = None,
    k: int = 0,
    limits: tuple[float, float] | None = None,
    note: str = "",
) -> str:
    """The graph of a round with its nodes coloured by value, its weights beside it, and what is known of it below."""
    graph = schedule[k]
    if places is None:
        places = layouts.arrange(graph, graph.pattern, "natural") if graph.n <= drawing.NODES else np.zeros((0, 2))
    low, high = limits or theme.limits(values)
    drawn = graph.n <= drawing.NODES and graph.messages <= 2 * _DRAWN_IN_FULL
    left = _network(drawing.lines(graph), places, values, low, high) if drawn else _squares(values, graph.n, low, high)
    said = ", ".join([*drawing.facts(schedule), *([note] if note else [])])
    width, height = 2 * _SIDE + 20, _SIDE + 2 * _TEXT
    return picture.svg(
        width,
        height,
        schedule.label,
        f'{left}<g transform="translate({_SIDE + 20} 0)">{_weights(graph)}</g>'
        f'<text x="4" y="{_SIDE + 18}" font-weight="600">{escape(schedule.label)}</text>'
        f'<text x="4" y="{_SIDE + 38}">{escape(said)}</text>{_scale(values, low, high)}',
    )


def _network(lines: drawing.Lines, places: Points, values: NDArray[np.float64] | None, low: float, high: float) -> str:
    n = len(places)
    radius = max(1.5, min(9.0, 52 / math.sqrt(n)))
    at = radius + 4 + places * (_SIDE - 2 * radius - 8)
    strongest = float(np.nanmax(lines.weights, initial=0)) or 1.0
    parts = []
    for (a, b), weights in zip(lines.pairs.tolist(), lines.weights, strict=True):
        (x, y), (u, v) = at[a], at[b]
        wide = 0.5 + 2 * float(np.nanmax(weights)) / strongest if n <= 200 else 0.6
        parts.append(f'<path d="M{x:.1f} {y:.1f}L{u:.1f} {v:.1f}" stroke-width="{wide:.2f}"/>')
    colours = [theme.BLUE] * n if values is None else [theme.colour(value, low, high) for value in values.tolist()]
    dots = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="{colour}"/>'
        for (x, y), colour in zip(at, colours, strict=True)
    )
    faint = max(0.25, min(0.8, 8 / math.sqrt(n)))
    return f'<g stroke="{theme.GREY}" stroke-opacity="{faint:.2f}">{"".join(parts)}</g>{dots}'


def _squares(values: NDArray[np.float64] | None, n: int, low: float, high: float) -> str:
    """A square for each node, or for some of them, row by row."""
    means = drawing.squares(np.zeros(n) if values is None else values)
    side = math.ceil(math.sqrt(len(means)))
    pixels = np.zeros((side * side, 4), np.uint8)
    pixels[: len(means)] = theme.pixels(means, low, high)
    return _image(pixels.reshape(side, side, 4))


def _weights(graph: object) -> str:
    """W as a picture, as it is drawn for large topologies."""
    shades = np.sqrt(drawing.blocks(graph))  # type: ignore[arg-type]
    side = math.isqrt(len(shades))
    pixels = np.zeros((side, side, 4), np.uint8)
    pixels[..., :3] = [int(theme.BLUE[k : k + 2], 16) for k in (1, 3, 5)]
    pixels[..., 3] = np.round(255 * shades).reshape(side, side)
    return _image(pixels)


def _image(pixels: NDArray[np.uint8]) -> str:
    source = base64.b64encode(draw._png(pixels)).decode()
    side = _SIDE - 10
    return (
        f'<rect x="4.5" y="4.5" width="{side + 1}" height="{side + 1}" fill="none" stroke="{theme.GREY}" stroke-opacity="0.5"/>'
        f'<image x="5" y="5" width="{side}" height="{side}" style="image-rendering:pixelated" '
        f'href="data:image/png;base64,{source}"/>'
    )


def _scale(values: NDArray[np.float64] | None, low: float, high: float) -> str:
    """The colours of the values, from the least to the largest."""
    if values is None:
        return ""
    stops = "".join(f'<stop offset="{k / 8}" stop-color="{colour}"/>' for k, colour in enumerate(theme.VIRIDIS))
    x, y = 2 * _SIDE - 180, _SIDE + 8
    return (
        f'<linearGradient id="values">{stops}</linearGradient><rect x="{x + 60}" y="{y}" width="80" height="12" '
        f'fill="url(#values)"/><text x="{x + 54}" y="{y + 11}" text-anchor="end">{low:.3g}</text>'
        f'<text x="{x + 146}" y="{y + 11}">{high:.3g}</text>'
    )
