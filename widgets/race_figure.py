"""A race as a still picture, in SVG: a lane for each run, in the order in which they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import picture, theme

_WIDTH, _TOP, _LANE = 660, 34, 28
_NAME, _TRACK, _END = 34, 210, 500  # where names and tracks begin, and where the target is


class Runner(NamedTuple):
    """How a run does in the race."""

    name: str
    place: int
    share: float
    """From its start to the target, in powers of ten: 0 … 1."""
    value: float
    cost: float
    """What it has spent until the target; NaN if it is not there."""
    failed: bool

    @classmethod
    def of(cls, name: str, costs: NDArray[np.float64], values: NDArray[np.float64], target: float, *, failed: bool) -> Runner:
        """From what was recorded. Between two rows a value is on a straight line of powers of ten."""
        there = np.flatnonzero(values <= target)
        value = float(values[-1]) if len(values) else math.nan
        if not len(there):
            fine = len(values) > 0 and values[0] > target and 0 < value < math.inf
            share = math.log(values[0] / value) / math.log(values[0] / target) if fine else 0.0
            return cls(name, 0, min(1.0, max(0.0, share)), value, math.nan, failed)
        k = int(there[0])
        if k == 0 or values[k] <= 0:
            return cls(name, 0, 1.0, value, float(costs[k]), failed)
        part = math.log(values[k - 1] / target) / math.log(values[k - 1] / values[k])
        return cls(name, 0, 1.0, value, float(costs[k - 1] + part * (costs[k] - costs[k - 1])), failed)


def figure(runners: Sequence[Runner], *, by: str, target: float, value: str) -> str:
    """The lanes, the first on top."""
    height = _TOP + _LANE * len(runners) + 10
    parts = [
        f'<text x="{_NAME}" y="20" font-weight="600">{escape(f"{value} {target:g}: first by {by}")}</text>',
        f'<path d="M{_END} {_TOP - 6}V{height - 8}" stroke="{theme.INK}" stroke-width="2" stroke-dasharray="4 3"/>',
    ]
    for k, runner in sorted(enumerate(runners), key=lambda each: each[1].place):
        y = _TOP + _LANE * (runner.place - 1)
        weight = ' font-weight="600"' if runner.place == 1 else ""
        colour = theme.CATEGORIES[k % len(theme.CATEGORIES)]
        name = runner.name if len(runner.name) <= 26 else runner.name[:25] + "…"
        parts.append(
            f'<text x="{_NAME - 8}" y="{y + 15}" text-anchor="end"{weight}>{runner.place}.</text>'
            f'<text x="{_NAME}" y="{y + 15}"{weight}>{escape(name)}</text>'
            f'<rect x="{_TRACK}" y="{y + 2}" width="{_END - _TRACK}" height="18" rx="3" fill="{theme.GREY}" '
            f'fill-opacity="0.14"/>'
            f'<rect x="{_TRACK}" y="{y + 2}" width="{max(3, runner.share * (_END - _TRACK)):.1f}" height="18" rx="3" '
            f'fill="{colour}"/><text x="{_END + 12}" y="{y + 15}"{weight}>{escape(_said(runner, by, value))}</text>'
        )
    return picture.svg(_WIDTH, height, f"race by {by}", "".join(parts))


def _said(runner: Runner, by: str, value: str) -> str:
    if not math.isnan(runner.cost):
        return (
            f"{runner.cost:.3g} {'s' if by == 'seconds' else by}"
            if by in ("seconds", "simulated")
            else f"{runner.cost:,.0f} {by}"
        )
    if runner.failed:
        return "failed"
    return "nothing yet" if math.isnan(runner.value) else f"{value} {runner.value:.2g}"
