"""The colours that pictures and pages share: Okabe and Ito's for what is counted, viridis for values (`theme.json`)."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_ROUNDING = 1e-5  # a sum of numbers of four bytes may be so far off
_SHARED = json.loads((Path(__file__).parent / "theme.json").read_text())

CATEGORIES: list[str] = _SHARED["categories"]
DASHES: list[list[int]] = _SHARED["dashes"]
CLASSES: list[str] = _SHARED["classes"]
"""Tol's muted colours: ten that can be told apart by colour-blind readers also where they touch."""
VIRIDIS: list[str] = _SHARED["viridis"]
UNKNOWN: str = _SHARED["unknown"]
"""The colour of what is no number."""
BLUE, GREY, INK = "#0072B2", "#7d828c", "#3b424b"
FONT = "Inter, system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


def channels(colour: str) -> list[int]:
    """Red, green and blue of #rrggbb."""
    return [int(colour[k : k + 2], 16) for k in (1, 3, 5)]


_STOPS = np.array([channels(colour) for colour in VIRIDIS], dtype=np.float64)
MORE, LESS = _SHARED["more"], _SHARED["less"]
"""The colours of what sums to more than one, and to less."""


def deviations(sums: NDArray[np.float64]) -> NDArray[np.uint8]:
    """The colours of sums: hardly seen where they are one, full where they are off by a half."""
    off = np.clip(2 * np.abs(sums - 1), 0, 1)
    seen = off > _ROUNDING
    rgba = np.empty((*sums.shape, 4), np.uint8)
    rgba[..., :3] = np.where(seen[..., None], np.where((sums > 1)[..., None], channels(MORE), channels(LESS)), channels(GREY))
    rgba[..., 3] = np.where(seen, 80 + 175 * off, 60)
    return rgba


def limits(values: NDArray[np.float64] | None) -> tuple[float, float]:
    """The least and the largest of the finite values."""
    finite = np.zeros(0) if values is None else values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)


def pixels(values: NDArray[np.float64], low: float, high: float) -> NDArray[np.uint8]:
    """The colours of values, as rows of red, green, blue and opacity."""
    known = np.isfinite(values)
    share = np.clip((np.where(known, values, low) - low) / ((high - low) or 1.0), 0, 1) * (len(VIRIDIS) - 1)
    rgba = np.full((len(values), 4), 255, np.uint8)
    for k in range(3):
        rgba[:, k] = np.round(np.interp(share, np.arange(len(VIRIDIS)), _STOPS[:, k]))
    rgba[~known, :3] = channels(UNKNOWN)
    return rgba


def colour(value: float, low: float, high: float) -> str:
    """The colour of one value."""
    if not math.isfinite(value):
        return UNKNOWN
    red, green, blue, _ = pixels(np.array([value]), low, high)[0]
    return f"#{red:02x}{green:02x}{blue:02x}"
