"""Curves as a still picture, in SVG: for saved notebooks, pages and print."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

from . import picture, theme
from .theory import METRICS

Values = NDArray[np.float64]
_WIDTH, _HEIGHT = 660, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 24, 12, 46
_LINE = 20  # of the legend
_GHOST = f'fill="none" stroke="{theme.GREY}" stroke-opacity="0.55" stroke-width="1.2"'
_THEORY = f'fill="none" stroke="{theme.GREY}" stroke-width="1" stroke-dasharray="2 2"'
_PREFERRED = ("error", "loss", "disagreement", "gradient_norm", "size")  # what is drawn if nobody has said what


_NONE: Values = np.zeros(0)


@dataclass(frozen=True)
class Curve:
    """A run: what it has recorded, and what is said of it."""

    name: str
    columns: Mapping[str, Sequence[float]]
    marks: Sequence[tuple[int, str]] = ()
    said: str = ""
    failed: bool = False
    theory: Sequence[tuple[int, float]] = ()
    """From an iteration on, what theory says is left after each."""
    group: str = ""
    """What those are called together that differ in their seed only."""
    ghost: bool = False


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


@dataclass(frozen=True)
class _Drawn:
    """A curve where it is drawn, or several as their mean."""

    curve: Curve
    xs: Values
    ys: Values
    low: Values | None = None
    high: Values | None = None
    theory: tuple[Values, Values] = (_NONE, _NONE)


def figure(curves: Sequence[Curve], *, y: str = "", x: str = "iteration", log: bool = True, band: bool = True) -> str:
    """The values ``y`` of all curves against ``x``, with marks, names and what is said of them."""
    y = y or _known(curves)
    ghosts = [_drawn(curve, y, x, log) for curve in curves if curve.ghost]
    sets: dict[object, list[Curve]] = {}
    for number, curve in enumerate(curves):
        if not curve.ghost:
            sets.setdefault((band and curve.group) or number, []).append(curve)
    drawn = [_together(each, y, x, log) if len(each) > 1 else _drawn(each[0], y, x, log) for each in sets.values()]
    height = _HEIGHT + _LINE * (len(drawn) + bool(ghosts))
    parts: list[str] = []
    if any(len(each.xs) for each in ghosts + drawn):
        across = _axis(np.concatenate([each.xs for each in ghosts + drawn]), False, _LEFT, _WIDTH - _RIGHT)
        up = _axis(_bounded(ghosts + drawn), log, _HEIGHT - _BOTTOM, _TOP)
        box = f'<rect x="{_LEFT}" y="{_TOP - 2}" width="{_WIDTH - _LEFT - _RIGHT}" height="{_HEIGHT - _BOTTOM - _TOP + 4}"/>'
        parts.append(f'<clipPath id="inside">{box}</clipPath>')
        parts.append(_frame(across, up, x, y) + '<g clip-path="url(#inside)">')
        parts += [_line(_GHOST, across(each.xs), up(each.ys)) for each in ghosts]
        for k, each in enumerate(drawn):
            if each.low is not None and each.high is not None:
                parts.append(_filled(k, across(each.xs), up(each.low), up(each.high)))
            parts.append(_line(_THEORY, across(each.theory[0]), up(each.theory[1])))
            parts.append(_line(_stroke(k), across(each.xs), up(each.ys)))
        parts.append("</g>")
        parts += [_marks(k, each.curve, across, x) for k, each in enumerate(drawn)]
    else:
        parts.append(f'<text x="{_WIDTH / 2}" y="{_HEIGHT / 2}" text-anchor="middle">nothing recorded yet</text>')
    parts += [_entry(k, each.curve, y, bool(len(each.theory[0]))) for k, each in enumerate(drawn)]
    if ghosts:
        parts.append(_legend(len(drawn), _GHOST, f"before: {', '.join(each.curve.name for each in ghosts)}"))
    return picture.svg(_WIDTH, height, f"{y} against {x}", "".join(parts), size=12)


def _drawn(curve: Curve, y: str, x: str, log: bool) -> _Drawn:
    xs, ys = _points(curve, y, x, log)
    return _Drawn(curve, xs, ys, theory=_theory(curve, y, x, ys, log))


def _together(curves: Sequence[Curve], y: str, x: str, log: bool) -> _Drawn:
    """Curves that differ in their seed only: their mean, and how far they lie apart, where all of them are."""
    found = [(xs, ys) for xs, ys in (_points(curve, y, x, log) for curve in curves) if len(xs)]
    said = ", ".join(dict.fromkeys(curve.said for curve in curves if curve.said))
    mean = Curve(curves[0].group, curves[0].columns, curves[0].marks, said, any(curve.failed for curve in curves))
    if not found:
        return _Drawn(mean, _NONE, _NONE)
    begin, end = max(xs[0] for xs, _ in found), min(xs[-1] for xs, _ in found)
    at = found[0][0][(found[0][0] >= begin) & (found[0][0] <= end)]
    values = np.array([np.interp(at, xs, ys) for xs, ys in found])
    theory = _theory(curves[0], y, x, values.ravel(), log)
    return _Drawn(mean, at, values.mean(axis=0), values.min(axis=0), values.max(axis=0), theory)


def _theory(curve: Curve, y: str, x: str, seen: Values, log: bool) -> tuple[Values, Values]:
    """What theory says: from a value on, less by a factor in each iteration; not below what is seen."""
    columns = [np.array(curve.columns.get(name, ()), np.float64) for name in ("iteration", x, y)]
    if y not in METRICS or not curve.theory or not len(seen):
        return _NONE, _NONE
    iterations, xs, ys = (values[: min(map(len, columns))] for values in columns)
    expected = np.full(len(ys), np.nan)
    for at, rate in curve.theory:
        first = int(np.searchsorted(iterations, at))
        if first < len(ys):
            expected[first:] = ys[first] * rate ** (iterations[first:] - iterations[first]) if rate < 1 else np.nan
    fine = np.isfinite(xs) & np.isfinite(expected) & (expected >= (seen.min() / 2 if log else -np.inf))
    return xs[fine], expected[fine]


def _known(curves: Sequence[Curve]) -> str:
    """The first of the usual values of which some run has recorded numbers."""
    for name in _PREFERRED:
        if any(np.isfinite(np.array(curve.columns.get(name, ()), np.float64)).any() for curve in curves):
            return name
    return _PREFERRED[0]


def _points(curve: Curve, y: str, x: str, log: bool) -> tuple[Values, Values]:
    """What can be drawn of a curve: gaps, infinities, and zeros on a logarithmic axis cannot."""
    xs, ys = (np.array(curve.columns.get(name, ()), np.float64) for name in (x, y))
    count = min(len(xs), len(ys))
    xs, ys = xs[:count], ys[:count]
    fine = np.isfinite(xs) & np.isfinite(ys) & ((ys > 0) | (not log))
    return xs[fine], ys[fine]


def _bounded(drawn: Sequence[_Drawn]) -> Values:
    """All values; but a run that failed must not squeeze the others into a line."""
    values = np.concatenate([each for one in drawn for each in (one.ys, one.low, one.high) if each is not None])
    fine = [each.ys for each in drawn if len(each.ys) and not each.curve.failed]
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


def _line(style: str, xs: Values, ys: Values) -> str:
    return f'<polyline points="{_listed(xs, ys)}" {style}/>' if len(xs) else ""


def _filled(k: int, xs: Values, low: Values, high: Values) -> str:
    colour = theme.CATEGORIES[k % len(theme.CATEGORIES)]
    return f'<polygon points="{_listed(xs, low)} {_listed(xs[::-1], high[::-1])}" fill="{colour}" fill-opacity="0.2"/>'


def _listed(xs: Values, ys: Values) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(xs, ys, strict=True))


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


def _entry(k: int, curve: Curve, y: str, theory: bool) -> str:
    """A line of the legend."""
    last = next((value for value in reversed(curve.columns.get(y, ())) if not math.isnan(value)), math.nan)
    known = "" if math.isnan(last) else f": {_short(last)}"
    said = ", ".join(
        [*([curve.said] if curve.said else []), *([f"thin: ρ^k with ρ = {curve.theory[-1][1]:.4g}"] if theory else [])]
    )
    return _legend(k, _stroke(k), f"{curve.name}{known}{f' ({said})' if said else ''}")


def _legend(k: int, style: str, text: str) -> str:
    place = _HEIGHT + _LINE * k + 8
    return f'<path d="M{_LEFT} {place}h28" {style}/><text x="{_LEFT + 36}" y="{place + 4}">{escape(text[:110])}</text>'


def _short(value: float) -> str:
    if not math.isfinite(value):
        return "∞" if value > 0 else "−∞"
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return _minus(f"{value / (1e3 if letter == 'k' else size):.3g}{letter}")
    return _minus(f"{value:.4g}")


def _minus(text: str) -> str:
    return text.replace("-", "−")
