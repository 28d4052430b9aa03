"""Who has which samples as a still picture, in SVG: for saved notebooks, pages and print."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from . import picture, theme

_WIDTH, _HEIGHT, _LEFT, _TOP, _FOOT, _LINE = 660, 220, 52, 50, 42, 20
_PIECES = 6000  # that are drawn at most
_NAMED = 20  # classes that have an entry in the legend
_WHITE_FROM = 140  # of 255: on darker colours, letters are white


def colours(classes: int) -> list[str]:
    """A colour for each class: of many, shades from dark to light."""
    if classes <= len(theme.CLASSES):
        return theme.CLASSES[:classes]
    return [theme.colour(k, 0, classes - 1) for k in range(classes)]


def figure(
    counts: NDArray[np.int64], classes: Sequence[str], *, title: str, rule: str, heterogeneity: float, sizes: str
) -> str:
    """A bar for each node, from the counts [n, classes], and before them one for all together."""
    n = len(counts)
    shown = min(n, max(1, _PIECES // len(classes)))
    top = max(int(counts[:shown].sum(1).max()), 1)
    painted = colours(len(classes))
    parts = [
        f'<text x="2" y="16"><tspan font-size="14" font-weight="600">{escape(title)}</tspan> {escape(rule)}</text>',
        f'<text x="2" y="36">{escape(sizes)} · heterogeneity {heterogeneity:.2f}'
        f"{f' · the first {shown} of {n:,} nodes' if shown < n else ''}</text>",
    ]
    bottom = _TOP + _HEIGHT
    for value in _round(top):
        y = bottom - value / top * _HEIGHT
        parts.append(f'<path d="M{_LEFT} {y:.1f}H{_WIDTH}" stroke="{theme.GREY}" stroke-opacity="0.25"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:,}</text>')
    step = (_WIDTH - _LEFT) / (shown + 1.5)
    bars = [(counts.sum(0) / n, "mean", _LEFT + 0.1 * step)]
    bars += [(row, str(i), _LEFT + (i + 1.5) * step) for i, row in enumerate(counts[:shown])]
    every = max(1, int(np.ceil(26 / step)))
    for i, (row, name, x) in enumerate(bars):
        parts.append(_bar(row / top * _HEIGHT, x, max(0.8 * step, 0.5), bottom, painted, classes))
        if not i or (i - 1) % every == 0:
            parts.append(f'<text x="{x + 0.4 * step:.1f}" y="{bottom + 16}" text-anchor="middle">{name}</text>')
    parts.append(f'<text x="{(_LEFT + _WIDTH) / 2}" y="{bottom + 34}" text-anchor="middle">node</text>')
    legend, height = _legend(classes, painted, bottom + _FOOT)
    said = f"{title} {rule}: {sizes}, heterogeneity {heterogeneity:.2f}"
    return picture.svg(_WIDTH, height, said, "".join(parts) + legend, size=12)


def _bar(
    heights: NDArray[np.float64], x: float, width: float, bottom: float, painted: Sequence[str], names: Sequence[str]
) -> str:
    parts, y = [], bottom
    for height, colour, name in zip(heights, painted, names, strict=True):
        y -= height
        if height > 0:
            gap = 0.5 if height > 2 else 0
            parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height - gap:.1f}" fill="{colour}"/>')
        if height > 13 and 7 * len(name) + 4 < width:
            ink = "#fff" if dark(colour) else theme.INK
            parts.append(
                f'<text x="{x + width / 2:.1f}" y="{y + height / 2 + 4:.1f}" text-anchor="middle" font-size="11" '
                f'fill="{ink}">{escape(name)}</text>'
            )
    return "".join(parts)


def dark(colour: str) -> bool:
    """Whether letters on it must be white."""
    red, green, blue = theme.channels(colour)
    return 0.3 * red + 0.59 * green + 0.11 * blue < _WHITE_FROM


def _legend(classes: Sequence[str], painted: Sequence[str], y: float) -> tuple[str, float]:
    parts, x = [], 2.0
    if len(classes) > _NAMED:
        step = 200 / len(classes)
        for k, colour in enumerate(painted):
            parts.append(f'<rect x="{70 + k * step:.1f}" y="{y + 2}" width="{step + 0.5:.1f}" height="12" fill="{colour}"/>')
        ends = f'<text x="64" y="{y + 12}" text-anchor="end">{escape(classes[0][:9])}</text>'
        ends += f'<text x="276" y="{y + 12}">{escape(classes[-1])}: {len(classes)} classes, from below</text>'
        return "".join(parts) + ends, y + _LINE
    for name, colour in zip(classes, painted, strict=True):
        width = 26 + 7 * len(name)
        if x + width > _WIDTH:
            x, y = 2.0, y + _LINE
        parts.append(f'<rect x="{x}" y="{y + 2}" width="12" height="12" rx="2" fill="{colour}"/>')
        parts.append(f'<text x="{x + 17}" y="{y + 12}">{escape(name)}</text>')
        x += width
    return "".join(parts), y + _LINE


def _round(top: int) -> list[int]:
    """Round numbers from 0 to the largest."""
    step = next(k * 10**p for p in range(12) for k in (1, 2, 5) if k * 10**p * 5 >= top)
    return list(range(0, top + 1, step))
