"""Axes, curves, dots and images as SVG: what the figures of the course are put together from."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

import numpy as np
from numpy.typing import NDArray

from ..topology import draw
from ..widgets import theme
from ..widgets.convergence_figure import Axis

INK = f"var(--ifog-ink, {theme.INK})"
"""The page's ink; dark where there is no page."""
Array = NDArray[np.float64]


@dataclass
class Panel:
    """A rectangle with axes. What is drawn as ``ghost`` stays behind when a control is turned."""

    left: float
    top: float
    width: float
    height: float
    x: tuple[float, float]
    y: tuple[float, float]
    log: bool = False
    """Whether y is logarithmic; its limits are then powers of ten."""
    title: str = ""
    across: str = ""
    up: str = ""
    bare: bool = False
    """No axes."""
    _below: list[str] = field(default_factory=list)
    _ghost: list[str] = field(default_factory=list)
    _inside: list[str] = field(default_factory=list)
    _above: list[str] = field(default_factory=list)

    @property
    def _across(self) -> Axis:
        return Axis(*self.x, False, 0, self.width)

    @property
    def _up(self) -> Axis:
        return Axis(*self.y, self.log, self.height, 0)

    def place(self, x: Array | Sequence[float], y: Array | Sequence[float]) -> tuple[Array, Array]:
        """Where points are drawn, within the panel."""
        return self._across(np.asarray(x, float)), self._up(np.asarray(y, float))

    def _into(self, ghost: bool) -> list[str]:
        return self._ghost if ghost else self._inside

    def line(
        self,
        x: Array | Sequence[float],
        y: Array | Sequence[float],
        colour: str,
        *,
        wide: float = 2,
        dash: str = "",
        faint: float = 1,
        ghost: bool = True,
    ) -> None:
        """A curve. What has no place on a logarithmic axis is left out."""
        xs, ys = np.asarray(x, float), np.asarray(y, float)
        fine = np.isfinite(xs) & np.isfinite(ys) & ((ys > 0) | (not self.log))
        xs, ys = self.place(xs[fine], ys[fine])
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(xs, np.clip(ys, -2000, 2000), strict=True))
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        self._into(ghost).append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{wide}" stroke-opacity="{faint}" '
            f'stroke-linejoin="round"{dashed}/>'
        )

    def dots(
        self,
        x: Array | Sequence[float],
        y: Array | Sequence[float],
        colours: str | Iterable[str],
        *,
        radius: float = 6,
        hollow: bool = False,
        ghost: bool = True,
    ) -> None:
        """Points."""
        xs, ys = self.place(x, y)
        each = [colours] * len(xs) if isinstance(colours, str) else colours
        for a, b, colour in zip(xs, ys, each, strict=True):
            look = f'fill="none" stroke="{colour}" stroke-width="2"' if hollow else f'fill="{colour}"'
            self._into(ghost).append(f'<circle cx="{a:.1f}" cy="{b:.1f}" r="{radius}" {look}/>')

    def handle(
        self,
        x: float,
        y: float,
        colour: str,
        *,
        turns: str,
        low: float,
        high: float,
        sets: Mapping[str, object] | None = None,
        radius: float = 6,
    ) -> None:
        """A point that can be dragged up and down, which turns a knob of the `Playground`.

        At ``low`` the knob is at its first position, at ``high`` at its last. Dragging it ``sets`` other knobs, too.
        """
        (a, _, _), (b, first, last) = self.place([x, x, x], [y, low, high])
        others = ";".join(f"{name}={value}" for name, value in (sets or {}).items())
        self._above.append(
            f'<circle cx="{a:.1f}" cy="{b:.1f}" r="{radius}" fill="{colour}" stroke="#000" stroke-opacity="0" '
            f'stroke-width="6" data-drag="{turns}" data-from="{self.top + first:.1f}" data-to="{self.top + last:.1f}" '
            f'data-set="{escape(others)}"/>'
        )

    def star(self, x: float, y: float, *, radius: float = 10) -> None:
        """A star: the place to go to."""
        (a,), (b,) = self.place([x], [y])
        turns = -math.pi / 2 + np.arange(10) * math.pi / 5
        sizes = np.where(np.arange(10) % 2, 0.45 * radius, radius)
        points = " ".join(f"{a + r * math.cos(w):.1f},{b + r * math.sin(w):.1f}" for r, w in zip(sizes, turns, strict=True))
        self._inside.append(f'<polygon points="{points}" fill="#E69F00" stroke="{INK}" stroke-width="1"/>')

    def arrow(self, begin: Sequence[float], end: Sequence[float], colour: str, *, wide: float = 2, faint: float = 1) -> None:
        """An arrow from a point to another."""
        (a, c), (b, d) = self.place([begin[0], end[0]], [begin[1], end[1]])
        length = math.hypot(c - a, d - b)
        if length < 1:
            return
        u, v = (c - a) / length, (d - b) / length
        size = min(3.5 * wide, length)
        corners = f"{c:.1f},{d:.1f} {c - size * (u - 0.5 * v):.1f},{d - size * (v + 0.5 * u):.1f} "
        corners += f"{c - size * (u + 0.5 * v):.1f},{d - size * (v - 0.5 * u):.1f}"
        self._ghost.append(
            f'<g stroke="{colour}" fill="{colour}" opacity="{faint}"><path d="M{a:.1f} {b:.1f}L{c - size * u / 2:.1f} '
            f'{d - size * v / 2:.1f}" stroke-width="{wide}"/><polygon points="{corners}" stroke="none"/></g>'
        )

    def path(self, x: Array | Sequence[float], y: Array | Sequence[float], *, faint: float = 0.4) -> None:
        """A thin line of the background."""
        xs, ys = self.place(x, y)
        points = "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(xs, ys, strict=True))
        self._below.append(f'<path d="M{points}" fill="none" stroke="{INK}" stroke-opacity="{faint}"/>')

    def heat(self, values: Array, *, low: float, high: float) -> None:
        """A picture that fills the panel: a row for each row of the values, coloured from low to high."""
        rows, columns = values.shape
        pixels = theme.pixels(values.ravel(), low, high).reshape(rows, columns, 4)
        source = base64.b64encode(draw._png(pixels)).decode()
        self._below.append(
            f'<image width="{self.width}" height="{self.height}" preserveAspectRatio="none" '
            f'style="image-rendering:pixelated" href="data:image/png;base64,{source}"/>'
        )

    def text(self, x: float, y: float, said: str, *, anchor: str = "start", colour: str = INK, size: int = 13) -> None:
        """Words, at a place within the panel in pixels."""
        self._above.append(
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}" font-size="{size}">{escape(said)}</text>'
        )

    def svg(self) -> str:
        """All of it."""
        w, h = self.width, self.height
        inside = f'<svg width="{w}" height="{h}" overflow="hidden">'
        ghost = f'{inside}<g class="ghost">{"".join(self._ghost)}</g></svg>'
        below = f"{inside}{''.join(self._below)}</svg>"
        here = f"{inside}{''.join(self._inside)}</svg>"
        title = f'<text x="0" y="-10" font-weight="600">{escape(self.title)}</text>' if self.title else ""
        return (
            f'<g transform="translate({self.left} {self.top})">{title}{"" if self.bare else self._axes()}{below}{ghost}'
            f"{here}{''.join(self._above)}</g>"
        )

    def _axes(self) -> str:
        w, h = self.width, self.height
        grid = f'stroke="{INK}" stroke-opacity="0.15"'
        parts = [f'<rect width="{w}" height="{h}" fill="none" stroke="{INK}" stroke-opacity="0.35"/>']
        for place, said in self._across.ticks():
            parts.append(f'<path d="M{place:.1f} 0V{h}" {grid}/>')
            parts.append(f'<text x="{place:.1f}" y="{h + 16}" text-anchor="middle">{said}</text>')
        for place, said in self._up.ticks():
            parts.append(f'<path d="M0 {place:.1f}H{w}" {grid}/>')
            parts.append(f'<text x="-6" y="{place + 4:.1f}" text-anchor="end">{said}</text>')
        parts.append(f'<text x="{w / 2}" y="{h + 34}" text-anchor="middle">{escape(self.across)}</text>')
        if self.up:
            parts.append(f'<text transform="translate(-44 {h / 2}) rotate(-90)" text-anchor="middle">{escape(self.up)}</text>')
        return "".join(parts)


def picture(width: int, height: int, *parts: Panel | str) -> str:
    """Panels, and whatever else, as one SVG."""
    drawn = "".join(part.svg() if isinstance(part, Panel) else part for part in parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img" '
        f'font-family="{escape(theme.FONT)}" font-size="12" fill="{INK}">{drawn}</svg>'
    )


def words(x: float, y: float, said: str, *, size: int = 13, anchor: str = "start", bold: bool = False) -> str:
    """A line of text."""
    weight = ' font-weight="600"' if bold else ""
    return f'<text x="{x}" y="{y}" font-size="{size}" text-anchor="{anchor}"{weight}>{escape(said)}</text>'
