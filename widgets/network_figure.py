"""A network as a still picture, in SVG: for saved notebooks, pages and print."""

from __future__ import annotations

import base64
import math
import textwrap
from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from ifog.topology import Graph, Schedule, Topology, draw

from . import drawing, layouts, picture, theme
from .colouring import Colouring

Points = NDArray[np.float64]
Outlines = Sequence[tuple[str, NDArray[np.int64]]]

_SIDE, _MAP, _DISC = 320, 212, 84  # of the network, of W, and of the disc with its eigenvalues
_LEFT = _SIDE + 24  # of what stands beside the network
_WIDTH, _HEIGHT = 660, 372
_DRAWN_IN_FULL = 3000  # lines; of more, the picture of W says more than a black disc


def figure(
    schedule: Schedule,
    shown: Colouring | None = None,
    *,
    places: Points | None = None,
    note: str = "",
    outlines: Outlines = (),
) -> str:
    """The graph of a round with its nodes coloured, and beside it its weights, its eigenvalues and what else is known of it."""
    shown = shown or Colouring()
    graph = schedule[shown.round or 0]
    if places is None:
        places = layouts.arrange(graph, graph.pattern, "natural") if graph.n <= drawing.NODES else np.zeros((0, 2))
    drawn = graph.n <= drawing.NODES and graph.messages <= 2 * _DRAWN_IN_FULL
    network = _network(drawing.lines(graph), places, shown, outlines) if drawn else _squares(shown, graph.n)
    spectrum, eigenvalues = drawing.spectrum(schedule)
    said = [*drawing.facts(schedule), *([spectrum] if spectrum else [])]
    at = _LEFT + (_DISC + 16 if spectrum else 0)
    beside = "".join(f'<text x="{at}" y="{256 + 17 * k}">{escape(fact)}</text>' for k, fact in enumerate(said[:5]))
    lines = textwrap.wrap(note, 100)
    return picture.svg(
        _WIDTH,
        _HEIGHT + 17 * max(0, len(lines) - 1),
        schedule.label,
        f'{network}<g transform="translate({_LEFT} 4)">{_weights(graph)}{_scale(shown)}</g>'
        f'<g transform="translate({_LEFT} 240)">{_disc(eigenvalues) if spectrum else ""}</g>{beside}'
        f'<text x="4" y="{_SIDE + 20}" font-weight="600">{escape(schedule.label)}</text>'
        + "".join(f'<text x="4" y="{_SIDE + 40 + 17 * k}">{escape(line)}</text>' for k, line in enumerate(lines)),
    )


def _network(lines: drawing.Lines, places: Points, shown: Colouring, outlines: Outlines) -> str:
    n = len(places)
    radius = max(1.5, min(9.0, 52 / math.sqrt(n)))
    at = radius + 4 + places * (_SIDE - 2 * radius - 8)
    strongest = float(np.nanmax(lines.weights, initial=0)) or 1.0
    parts = [_outline(name, at[nodes], radius) for name, nodes in outlines]
    faint = max(0.25, min(0.8, 8 / math.sqrt(n)))
    parts.append(f'<g stroke="{theme.GREY}" stroke-opacity="{faint:.2f}">')
    for (a, b), weights in zip(lines.pairs.tolist(), lines.weights, strict=True):
        (x, y), (u, v) = at[a], at[b]
        wide = 0.5 + 2 * float(np.nanmax(weights)) / strongest if n <= 200 else 0.6
        parts.append(f'<path d="M{x:.1f} {y:.1f}L{u:.1f} {v:.1f}" stroke-width="{wide:.2f}"/>')
    parts.append("</g>")
    parts += [
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="{colour}"/>'
        for (x, y), colour in zip(at, shown.colours(n), strict=True)
    ]
    return "".join(parts)


def _outline(name: str, at: Points, radius: float) -> str:
    """A machine around its nodes."""
    if not len(at):
        return ""
    x, y = (at.min(axis=0) + at.max(axis=0)) / 2
    far = float(np.linalg.norm(at - (x, y), axis=1).max()) + radius + 8
    return (
        f'<ellipse cx="{x:.1f}" cy="{y:.1f}" rx="{far:.1f}" ry="{far:.1f}" fill="{theme.GREY}" fill-opacity="0.1" '
        f'stroke="{theme.GREY}" stroke-opacity="0.5"/><text x="{x:.1f}" y="{max(10, y - far - 3):.1f}" font-size="10" '
        f'text-anchor="middle">{escape(name)}</text>'
    )


def _squares(shown: Colouring, n: int) -> str:
    """A square for each node, or for some of them, row by row."""
    means = drawing.squares(np.zeros(n) if shown.values is None else shown.values)
    side = math.ceil(math.sqrt(len(means)))
    pixels = np.zeros((side * side, 4), np.uint8)
    pixels[: len(means)] = theme.pixels(means, *shown.limits)
    return f'<g transform="translate(4 4)">{_image(pixels.reshape(side, side, 4), _SIDE - 8)}</g>'


def _weights(graph: Graph) -> str:
    """W as a picture, as it is drawn for large topologies, with what its rows and columns sum to."""
    shades = np.sqrt(drawing.blocks(graph))
    side = math.isqrt(len(shades))
    pixels = np.zeros((side, side, 4), np.uint8)
    pixels[..., :3] = theme.channels(theme.BLUE)
    pixels[..., 3] = np.round(255 * shades).reshape(side, side)
    rows, columns = drawing.sums(graph)
    ribbons = _ribbon(rows[:, None], _MAP + 3, 0) + _ribbon(columns[None], 0, _MAP + 3)
    return _image(pixels, _MAP) + (ribbons if isinstance(graph, Topology) else "")


def _ribbon(sums: Points, x: float, y: float) -> str:
    """Grey where the weights sum to one, orange where to more, blue where to less."""
    wide, high = (7, _MAP) if sums.shape[1] == 1 else (_MAP, 7)
    return f'<g transform="translate({x} {y})">{_image(theme.deviations(sums), wide, high)}</g>'


def _image(pixels: NDArray[np.uint8], wide: float, high: float | None = None) -> str:
    source, high = base64.b64encode(draw._png(pixels)).decode(), high or wide
    return (
        f'<rect x="-0.5" y="-0.5" width="{wide + 1}" height="{high + 1}" fill="none" stroke="{theme.GREY}" '
        f'stroke-opacity="0.5"/><image width="{wide}" height="{high}" preserveAspectRatio="none" '
        f'style="image-rendering:pixelated" href="data:image/png;base64,{source}"/>'
    )


def _disc(eigenvalues: NDArray[np.complex128]) -> str:
    """The eigenvalues on the unit disc; the dashed circle reaches to the second largest."""
    middle = _DISC / 2
    scale = middle - 4
    second = float(np.sort(np.abs(eigenvalues))[-2]) if len(eigenvalues) > 1 else 0.0
    dots = "".join(
        f'<circle cx="{middle + scale * z.real:.1f}" cy="{middle - scale * z.imag:.1f}" r="2.2"/>' for z in eigenvalues.tolist()
    )
    return (
        f'<g stroke="{theme.GREY}" fill="none"><path d="M0 {middle}H{_DISC}M{middle} 0V{_DISC}" stroke-opacity="0.4"/>'
        f'<ellipse cx="{middle}" cy="{middle}" rx="{scale}" ry="{scale}"/>'
        f'<ellipse cx="{middle}" cy="{middle}" rx="{scale * second:.1f}" ry="{scale * second:.1f}" stroke-dasharray="3 2"/></g>'
        f'<g fill="{theme.BLUE}" fill-opacity="0.8">{dots}</g>'
    )


def _scale(shown: Colouring) -> str:
    """What the colours say, beside W: from the least value to the largest, or the names of states."""
    x = _MAP + 22
    if shown.values is None:
        return ""
    if shown.names:
        return "".join(
            f'<rect x="{x}" y="{18 * k}" width="12" height="12" fill="{theme.CATEGORIES[k]}"/>'
            f'<text x="{x + 18}" y="{18 * k + 11}">{escape(name[:9])}</text>'
            for k, name in enumerate(shown.names)
        )
    stops = "".join(f'<stop offset="{k / 8}" stop-color="{colour}"/>' for k, colour in enumerate(reversed(theme.VIRIDIS)))
    low, high = (f"{10.0**value:.2g}" if shown.log else f"{value:.3g}" for value in shown.limits)
    what = f'<text transform="translate({x + 29} {_MAP / 2}) rotate(-90)" text-anchor="middle">{escape(shown.what)}</text>'
    return (
        f'<linearGradient id="values" x2="0" y2="1">{stops}</linearGradient><rect x="{x}" width="12" height="{_MAP}" '
        f'fill="url(#values)"/><text x="{x + 18}" y="11">{high}</text><text x="{x + 18}" y="{_MAP - 1}">{low}</text>{what}'
    )
