"""A picture that answers to sliders: whatever a function draws, drawn again when one of its arguments is turned.

>>> from ifog import widgets
>>> def square(side=3, colour="red"):
...     return f'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="{side}" height="{side}"/></svg>'
>>> playground = widgets.Playground(square, side=range(1, 9), colour=["red", "blue"])
>>> playground.values
{'side': 3, 'colour': 'red'}
"""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

from ifog.errors import ArgumentError

from . import messages, theme
from .live import STATIC, LiveWidget

_STEPS = 100  # of a slider from one number to another


class Playground(LiveWidget):
    """What ``draw(**values)`` gives, an SVG, with a control for each of its arguments.

    Each of ``knobs`` says which values an argument takes: a ``range`` or a list of numbers makes a slider, a pair
    ``(0.0, 1.0)`` one between two numbers, a list of texts a choice, and ``bool`` a switch. It begins with the default of the
    argument. ``play`` names one that can run by itself, such as a number of rounds.

    What is drawn inside ``<g class="ghost">`` stays behind, faintly, when a control is turned: so every picture is compared
    with the one before.

    ``<circle data-drag="side" data-from="90" data-to="10" data-set="colour=red">`` can be dragged up and down: at the height
    ``data-from``, in the SVG's viewBox, the control is at its first position, at ``data-to`` at its last. Dragging it sets
    others, too (``a=1;b=2``); who has no mouse uses the sliders.
    """

    _esm = (STATIC / "playground.js").read_text()
    _css = (STATIC / "playground.css").read_text()

    def __init__(self, draw: Callable[..., str], *, play: str = "", presentation: bool = False, **knobs: Any) -> None:
        if not callable(draw):
            raise ArgumentError(f"draw={draw!r:.60}: a function that gives an SVG")
        defaults = {
            name: parameter.default
            for name, parameter in inspect.signature(draw).parameters.items()
            if parameter.default is not parameter.empty
        }
        self._draw, self._title = draw, (draw.__doc__ or "").strip().partition("\n")[0]
        self._positions = {name: _positions(name, kind) for name, kind in knobs.items()}
        if play and play not in knobs:
            raise ArgumentError(f"play={play!r}: one of the knobs, {', '.join(knobs) or 'of which there are none'}")
        self._play = list(knobs).index(play) if play else -1
        self._at = {name: _nearest(name, values, defaults.get(name)) for name, values in self._positions.items()}
        self._turn = 0
        self._svg = self._drawn()
        super().__init__(presentation=presentation)

    @property
    def values(self) -> dict[str, Any]:
        """What it is drawn for now."""
        return {name: values[self._at[name]] for name, values in self._positions.items()}

    def set(self, **values: Any) -> None:
        """Turn controls from Python."""
        with self._lock:
            for name, value in values.items():
                if name not in self._positions:
                    raise ArgumentError(f"{name}={value!r:.40}: the knobs are {', '.join(self._positions)}")
                self._at[name] = _nearest(name, self._positions[name], value)
            self._turn += 1
            self._redraw()

    def _picture(self) -> str:
        """Without the page there is neither its ink nor its ground."""
        opening, rest = re.sub(r"var\(--[\w-]+, *([^)]+)\)", r"\1", self._svg).split(">", 1)
        return f'{opening}><rect width="100%" height="100%" fill="#fff"/>{rest}'

    def __repr__(self) -> str:
        return f"<playground {', '.join(f'{name} = {_text(value)}' for name, value in self.values.items())}>"

    @property
    def _label(self) -> str:  # type: ignore[override]
        return self._title or "a picture with controls"

    def _drawn(self) -> str:
        try:
            return self._draw(**self.values)
        except Exception as error:  # noqa: BLE001  (whatever a user's function does: it is shown where the picture would be)
            lines = textwrap.wrap(f"{type(error).__name__}: {error}", 100, max_lines=8, placeholder=" …")
            said = "".join(f'<tspan x="4" dy="19">{escape(line)}</tspan>' for line in lines)
            size = f'width="660" height="{19 * len(lines) + 16}"'
            return (
                f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-size="13" font-family="{escape(theme.FONT)}">'
                f'<text y="2" fill="#D55E00">{said}</text></svg>'
            )

    def _redraw(self) -> None:
        self._svg = self._drawn()
        self._sender.offer(messages.Picture(self._svg, list(self._at.values()), self._turn))

    def _state(self) -> list[Any]:
        knobs = [
            messages.Knob(name=name.replace("_", " "), texts=[_text(value) for value in values], choice=_is_choice(values))
            for name, values in self._positions.items()
        ]
        return [
            messages.Knobs(self._label, knobs, self._play),
            messages.Picture(self._svg, list(self._at.values()), self._turn),
        ]

    def _take(self, message: Any) -> None:
        if isinstance(message, messages.Turned):
            for (name, values), at in zip(self._positions.items(), message.at, strict=False):
                if isinstance(at, int) and 0 <= at < len(values):
                    self._at[name] = at
            self._turn = int(message.turn)
            self._redraw()

    def _catch_up(self) -> None:
        self._redraw()


def _positions(name: str, kind: Any) -> Sequence[Any]:
    """All values that a control has."""
    if kind is bool:
        return [False, True]
    if isinstance(kind, tuple) and len(kind) == 2 and all(isinstance(end, int | float) for end in kind):
        low, high = kind
        return [low + (high - low) * k / _STEPS for k in range(_STEPS + 1)]
    if isinstance(kind, range | list) and len(kind):
        return kind
    raise ArgumentError(f"{name}={kind!r:.60}: a range, a list of values, a pair of numbers, or bool")


def _nearest(name: str, values: Sequence[Any], value: Any) -> int:
    if value is None:
        return 0
    if value in values:
        return list(values).index(value)
    try:
        return min(range(len(values)), key=lambda k: abs(values[k] - value))
    except TypeError:
        raise ArgumentError(f"{name}={value!r:.40}: one of {', '.join(map(_text, values))}") from None


def _is_choice(values: Sequence[Any]) -> bool:
    return not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
