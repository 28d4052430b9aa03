"""Curves as a still picture, in SVG: for saved notebooks, pages and print."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

from . import picture, theme

_WIDTH, _HEIGHT = 660, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 24, 12, 46
_LINE = 20  # of the legend
_PREFERRED = ("error", "loss", "disagreement", "gradient_norm", "size")  # what is drawn if nobody has said what


@dataclass(frozen=True)
class Curve:
    """A run: what it has recorded, and what is said of it."""

    name: str
    columns: Mapping[str, Sequence[float]]
    marks: Sequence[tuple[int, str]] = ()
    said: str = ""
    failed: bool = False


@dataclass(frozen=True)
class Axis:
    """From values to places: linear, or for positive values logarithmic."""

    low: float
    high: float
    log: bool
    begin: float
    end: float

    def __call__(self, value: NDArray[np.float64]) -> NDArray[np.float64]:
        """Where values are drawn."""
        share = (self._scaled(value) - self.low) / (self.high - self.low)
        placed: NDArray[np.float64] = self.begin + share * (self.end - self.begin)
        return placed

    def _scaled(self, value: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.log10(value) if self.log else value

    def ticks(self) -> Iterator[tuple[float, str]]:
        """Round numbers on it, and how they are written."""
        span = self.high - self.low
        rough = span / 5
        power = 10 ** math.floor(math.log10(rough))
        step = next(each * power for each in (1, 2, 5, 10) if each * power >= rough)
        if self.log:
            step = max(1, round(step))
        for k in range(math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9) + 1):
            value = k * step
            place = self.begin + (value - self.low) / span * (self.end - self.begin)
            yield place, (f'10<tspan dy="-5" font-size="9">{_minus(str(round(value)))}</tspan>' if self.log else _short(value))


def figure(curves: Sequence[Curve], *, y: str = "", x: str = "iteration", log: bool = True) -> str:
    """The values ``y`` of all curves against ``x``, with marks, names and what is said of them."""
    y = y or _known(curves)
    points = [_points(curve, y, x, log) for curve in curves]
    height = _HEIGHT + _LINE * len(curves)
    parts: list[str] = []
    if any(len(xs) for xs, _ in points):
        across = _axis(np.concatenate([xs for xs, _ in points]), False, _LEFT, _WIDTH - _RIGHT)
        up = _axis(_bounded(curves, points), log, _HEIGHT - _BOTTOM, _TOP)
        box = f'<rect x="{_LEFT}" y="{_TOP - 2}" width="{_WIDTH - _LEFT - _RIGHT}" height="{_HEIGHT - _BOTTOM - _TOP + 4}"/>'
        parts.append(f'<clipPath id="inside">{box}</clipPath>')
        parts.append(_frame(across, up, x, y))
        for k, (curve, (xs, ys)) in enumerate(zip(curves, points, strict=True)):
            parts.append(f'<g clip-path="url(#inside)">{_line(k, across(xs), up(ys))}</g>' + _marks(k, curve, across, x))
    else:
        parts.append(f'<text x="{_WIDTH / 2}" y="{_HEIGHT / 2}" text-anchor="middle">nothing recorded yet</text>')
    parts += [_entry(k, curve, y) for k, curve in enumerate(curves)]
    return picture.svg(_WIDTH, height, f"{y} against {x}", "".join(parts), size=12)


def _known(curves: Sequence[Curve]) -> str:
    """The first of the usual values of which some run has recorded numbers."""
    for name in _PREFERRED:
        if any(np.isfinite(np.array(curve.columns.get(name, ()), np.float64)).any() for curve in curves):
            return name
    return _PREFERRED[0]


def _points(curve: Curve, y: str, x: str, log: bool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What can be drawn of a curve: gaps, infinities, and zeros on a logarithmic axis cannot."""
    xs, ys = (np.array(curve.columns.get(name, ()), np.float64) for name in (x, y))
    count = min(len(xs), len(ys))
    xs, ys = xs[:count], ys[:count]
    fine = np.isfinite(xs) & np.isfinite(ys) & ((ys > 0) | (not log))
    return xs[fine], ys[fine]


def _bounded(curves: Sequence[Curve], points: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]]) -> NDArray[np.float64]:
    """All values; but a run that failed must not squeeze the others into a line."""
    values = np.concatenate([ys for _, ys in points])
    fine = [ys for curve, (_, ys) in zip(curves, points, strict=True) if len(ys) and not curve.failed]
    return np.minimum(values, 10 * abs(max(ys.max() for ys in fine))) if fine else values


def _axis(values: NDArray[np.float64], log: bool, begin: float, end: float) -> Axis:
    scaled = np.log10(values) if log else values
    low, high = float(scaled.min()), float(scaled.max())
    if high - low < 1e-9 * max(1.0, abs(high)):
        room = 0.5 * max(1.0, abs(high))
        low, high = low - room, high + room
    return Axis(low, high, log, begin, end)


def _frame(across: Axis, up: Axis, x: str, y: str) -> str:
    bottom = _HEIGHT - _BOTTOM
    grid = f'stroke="{theme.GREY}" stroke-opacity="0.25"'
    parts = []
    for place, text in across.ticks():
        parts.append(f'<path d="M{place:.1f} {_TOP}V{bottom}" {grid}/>')
        parts.append(f'<text x="{place:.1f}" y="{bottom + 17}" text-anchor="middle">{text}</text>')
    for place, text in up.ticks():
        parts.append(f'<path d="M{_LEFT} {place:.1f}H{_WIDTH - _RIGHT}" {grid}/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{place + 4:.1f}" text-anchor="end">{text}</text>')
    middle = (_TOP + bottom) / 2
    parts.append(f'<text x="{(_LEFT + _WIDTH - _RIGHT) / 2}" y="{bottom + 36}" text-anchor="middle">{escape(x)}</text>')
    parts.append(f'<text transform="translate(14 {middle}) rotate(-90)" text-anchor="middle">{escape(y)}</text>')
    return "".join(parts)


def _stroke(k: int) -> str:
    colours, dashes = theme.CATEGORIES, theme.DASHES[k % len(theme.DASHES)]
    dashed = f' stroke-dasharray="{" ".join(map(str, dashes))}"' if dashes else ""
    return f'fill="none" stroke="{colours[k % len(colours)]}" stroke-width="2"{dashed}'


def _line(k: int, xs: NDArray[np.float64], ys: NDArray[np.float64]) -> str:
    if not len(xs):
        return ""
    return f'<polyline points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in zip(xs, ys, strict=True))}" {_stroke(k)}/>'


def _marks(k: int, curve: Curve, across: Axis, x: str) -> str:
    """A line where something was changed, with what it was."""
    iterations, xs = (np.array(curve.columns.get(name, ()), np.float64) for name in ("iteration", x))
    colour, parts = theme.CATEGORIES[k % len(theme.CATEGORIES)], []
    for number, (at, what) in enumerate(curve.marks):
        row = int(np.searchsorted(iterations, at))
        if row < min(len(iterations), len(xs)) and math.isfinite(xs[row]):
            place = float(across(xs[row : row + 1])[0])
            style = f'stroke="{colour}" stroke-dasharray="3 3"'
            parts.append(f'<path d="M{place:.1f} {_TOP}V{_HEIGHT - _BOTTOM}" {style}/>')
            side = "end" if place > 0.75 * _WIDTH else "start"
            shift = -5 if side == "end" else 5
            height = _TOP + 12 + 14 * ((number + k) % 5)
            parts.append(
                f'<text x="{place + shift:.1f}" y="{height}" text-anchor="{side}" fill="{colour}">{escape(what)}</text>'
            )
    return "".join(parts)


def _entry(k: int, curve: Curve, y: str) -> str:
    """A line of the legend."""
    place = _HEIGHT + _LINE * k + 8
    last = next((value for value in reversed(curve.columns.get(y, ())) if not math.isnan(value)), math.nan)
    known = "" if math.isnan(last) else f": {_short(last)}"
    said = f" ({curve.said})" if curve.said else ""
    text = escape(f"{curve.name}{known}{said}"[:110])
    return f'<path d="M{_LEFT} {place}h28" {_stroke(k)}/><text x="{_LEFT + 36}" y="{place + 4}">{text}</text>'


def _short(value: float) -> str:
    if not math.isfinite(value):
        return "∞" if value > 0 else "−∞"
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return _minus(f"{value / (1e3 if letter == 'k' else size):.3g}{letter}")
    return _minus(f"{value:.4g}")


def _minus(text: str) -> str:
    return text.replace("-", "−")
