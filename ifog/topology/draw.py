"""A small picture of a topology, as SVG, for notebooks and pages: no JavaScript, no plotting library.

Lines take the text colour of the page, so that the picture is right on a light and on a dark background.
"""

from __future__ import annotations

import base64
import math
import struct
import zlib
from html import escape

import numpy as np
from numpy.typing import NDArray

from .graph import Graph, Schedule, Topology

Points = NDArray[np.float64]

NODES_DRAWN, MESSAGES_DRAWN = 128, 5000  # a larger graph is shown by its matrix
_PANELS = 4  # rounds of a schedule drawn side by side
_NODE_COLOUR = "#0072B2"


def svg(schedule: Schedule, size: int = 180) -> str:
    """The graph, or the first rounds of a schedule side by side."""
    shown = min(schedule.period or _PANELS, _PANELS)
    panels = [_panel(schedule[k], size) for k in range(shown)]
    more = schedule.period is None or schedule.period > shown
    captions = ["" if shown == 1 and not more else f"round {k}" for k in range(shown)]
    height = size + (18 if any(captions) else 0)
    width = size * shown + (22 if more else 0)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'role="img" aria-label="{escape(schedule.label)}" font-family="sans-serif" font-size="12" style="max-width:100%">'
    ]
    for k, (panel, caption) in enumerate(zip(panels, captions, strict=True)):
        parts.append(f'<g transform="translate({k * size} 0)">{panel}')
        if caption:
            parts.append(
                f'<text x="{size / 2}" y="{size + 12}" text-anchor="middle" fill="currentColor" opacity="0.75">{caption}</text>'
            )
        parts.append("</g>")
    if more:
        parts.append(f'<text x="{size * shown + 4}" y="{size / 2}" fill="currentColor" font-size="18">…</text>')
    return "".join(parts) + "</svg>"


def html(schedule: Schedule) -> str:
    """The picture with what is known about it: what a notebook shows."""
    facts = "".join(f"<div>{escape(fact)}</div>" for fact in schedule._facts())
    return (
        '<div style="display:flex;flex-wrap:wrap;align-items:center;gap:20px;padding:6px 0">'
        f'{svg(schedule)}<div style="line-height:1.6"><div><b>{escape(schedule.label)}</b></div>{facts}</div></div>'
    )


def layout(graph: Graph) -> Points:
    """Where to draw the nodes, as (n, 2) points in the unit square, y downwards.

    Where the graph says it lives (positions, a grid), a chain as a meander, another tree by its levels, and everything else
    on a circle from the top.
    """
    n = graph.n
    if n == 1:
        return np.array([[0.5, 0.5]])
    if graph.positions is not None:
        span = np.ptp(graph.positions, axis=0)
        scaled: Points = (graph.positions - graph.positions.min(axis=0)) / np.where(span > 0, span, 1)
        return scaled
    if graph.grid_shape is not None and len(graph.grid_shape) == 2 and min(graph.grid_shape) > 1:
        rows, columns = graph.grid_shape
        side = max(graph.grid_shape)
        row, column = np.divmod(np.arange(n), columns)
        return np.column_stack([(column + (side - columns) / 2 + 0.5) / side, (row + (side - rows) / 2 + 0.5) / side])
    if not graph.directed and graph.messages == 2 * (n - 1) and graph.connected:
        return _tree(graph) if graph.degree > 2 else _chain(graph)
    return _circle(n)


def _circle(n: int) -> Points:
    angle = 2 * np.pi * np.arange(n) / n
    return np.column_stack([0.5 + 0.5 * np.sin(angle), 0.5 - 0.5 * np.cos(angle)])


def _chain(graph: Graph) -> Points:
    """From end to end, row by row, turning at the sides."""
    n = graph.n
    columns = n if n <= 6 else math.ceil(math.sqrt(n))
    end = int(graph.out_degrees.argmin())
    place = np.empty(n, dtype=np.int64)
    node, before = end, -1
    for k in range(n):
        place[node] = k
        node, before = next((int(j) for j in graph.out_neighbors(node) if j != before), -1), node
    row, column = np.divmod(place, columns)
    column = np.where(row % 2, columns - 1 - column, column)
    rows = int(row.max()) + 1
    return np.column_stack([(column + 0.5) / columns, (row + (columns - rows) / 2 + 0.5) / columns])


def _tree(graph: Graph) -> Points:
    """A star around its hub; any other tree level by level, each parent above the middle of its leaves."""
    n = graph.n
    hub = int(np.argmax(graph.out_degrees))
    if graph.degree == n - 1:
        points = np.empty((n, 2))
        points[hub] = 0.5
        points[np.arange(n) != hub] = _circle(n - 1)
        return points
    degrees = graph.out_degrees
    # the root of the family trees is an end of the numbering; other trees hang from their best connected node
    root = next((end for end in (0, n - 1) if degrees[end] > 1), hub)
    depth, x, leaves = np.zeros(n), np.zeros(n), 0
    order: list[tuple[int, int]] = [(root, -1)]
    visited: list[tuple[int, int]] = []
    while order:
        node, parent = order.pop()
        visited.append((node, parent))
        children = [int(j) for j in graph.out_neighbors(node) if j != parent]
        for child in children:
            depth[child] = depth[node] + 1
        order += [(child, node) for child in reversed(children)]
        if not children:
            x[node] = leaves
            leaves += 1
    for node, parent in reversed(visited):
        children = [int(j) for j in graph.out_neighbors(node) if j != parent]
        if children:
            x[node] = np.mean(x[children])
    return np.column_stack([(x + 0.5) / leaves, depth / depth.max()])


def _panel(graph: Graph, size: int) -> str:
    small = graph.n <= NODES_DRAWN and graph.messages <= MESSAGES_DRAWN
    return _drawing(graph, size) if small else _heat_map(graph, size)


def _drawing(graph: Graph, size: int) -> str:
    radius = max(2.0, min(9.0, 29 / math.sqrt(graph.n)))
    margin = radius + 4
    points = margin + layout(graph) * (size - 2 * margin)
    labelled = radius >= 6.5
    parts = []
    answered = set(map(tuple, graph.edges.tolist()))
    for sender, receiver in graph.edges.tolist():
        both = (receiver, sender) in answered
        if both and sender > receiver:
            continue
        parts.append(
            _arrow(
                points[sender],
                points[receiver],
                radius,
                bent=_wraps(graph, sender, receiver),
                headed=not both and graph.n <= 40,
                n=graph.n,
            )
        )
    for i, (x, y) in enumerate(points):
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="{_NODE_COLOUR}"/>')
        if labelled:
            place = f'x="{x:.1f}" y="{y:.1f}" dy="0.35em" text-anchor="middle"'
            parts.append(f'<text {place} font-size="{radius * 1.15:.1f}" fill="#fff">{i}</text>')
    return "".join(parts)


def _wraps(graph: Graph, i: int, j: int) -> bool:
    """Whether an edge of a torus leaves on one side and comes back on the other: drawn as an arc, not over its row."""
    if graph.grid_shape is None or len(graph.grid_shape) != 2 or min(graph.grid_shape) == 1:
        return False
    (row_i, column_i), (row_j, column_j) = divmod(i, graph.grid_shape[1]), divmod(j, graph.grid_shape[1])
    return abs(row_i - row_j) > 1 or abs(column_i - column_j) > 1


def _arrow(start: Points, end: Points, radius: float, *, bent: bool, headed: bool, n: int) -> str:
    along = end - start
    length = float(np.hypot(*along))
    unit = along / length
    stop = end - unit * (radius + (3 if headed else 0))
    faint = max(0.25, min(0.7, 6 / math.sqrt(n) / 2))
    style = f'fill="none" stroke="currentColor" stroke-opacity="{faint:.2f}" stroke-width="{1.2 if n <= 32 else 0.8}"'
    if bent:
        middle = (start + end) / 2 + np.array([-unit[1], unit[0]]) * length * 0.18
        path = f"M{start[0]:.1f} {start[1]:.1f}Q{middle[0]:.1f} {middle[1]:.1f} {end[0]:.1f} {end[1]:.1f}"
        return f'<path d="{path}" {style}/>'
    line = f'<path d="M{start[0]:.1f} {start[1]:.1f}L{stop[0]:.1f} {stop[1]:.1f}" {style}/>'
    if not headed:
        return line
    side = np.array([-unit[1], unit[0]]) * 2.6
    tip, base = end - unit * radius, end - unit * (radius + 6)
    corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in (tip, base + side, base - side))
    return f'{line}<polygon points="{corners}" fill="currentColor" fill-opacity="{min(1.0, faint + 0.25):.2f}"/>'


def _heat_map(graph: Graph, size: int, cells: int = 64) -> str:
    """Where the weights of a large matrix are, as a picture of at most 64 × 64 cells; rows receive, columns send."""
    matrix = (graph.matrix if isinstance(graph, Topology) else graph.pattern).tocoo()
    cells = min(cells, graph.n)
    rows, columns = matrix.row.astype(np.int64) * cells // graph.n, matrix.col.astype(np.int64) * cells // graph.n
    weight = np.bincount(rows * cells + columns, np.abs(matrix.data.astype(np.float64)), minlength=cells * cells)
    shade = np.sqrt(weight / (weight.max() or 1.0)).reshape(cells, cells)
    rgb = np.array([int(_NODE_COLOUR[k : k + 2], 16) for k in (1, 3, 5)], dtype=np.uint8)
    pixels = np.empty((cells, cells, 4), dtype=np.uint8)
    pixels[..., :3], pixels[..., 3] = rgb, np.round(255 * shade)
    image = base64.b64encode(_png(pixels)).decode()
    return (
        f'<rect x="4.5" y="4.5" width="{size - 9}" height="{size - 9}" fill="none" stroke="currentColor" stroke-opacity="0.4"/>'
        f'<image x="5" y="5" width="{size - 10}" height="{size - 10}" style="image-rendering:pixelated" '
        f'href="data:image/png;base64,{image}"/>'
    )


def _png(pixels: NDArray[np.uint8]) -> bytes:
    """RGBA pixels as a PNG file: a header, the compressed rows, an end."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
