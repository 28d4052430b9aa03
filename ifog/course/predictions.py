"""``predict(…)``: say what will come before you run it, and see afterwards how near it was.

::

    guess = predict("How many rounds until all agree?")  # a field for a number
    guess
    guess.compare(33, "rounds")  # after the run: what was said, beside what is so

What was said is kept with the user's other files of ifog, so it is still there on another day.
"""

from __future__ import annotations

import contextlib
import html
import json
import math
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from ..cluster.home import PROFILE, ipython_folder, open_privately
from ..errors import ArgumentError

_NEAR = 0.1  # relative: so near a number counts as right
_WIDE = 260  # pixels of the longest bar
_BLUE, _ORANGE = "#0072B2", "#E69F00"

Said = float | str | None


@dataclass(frozen=True)
class Compared:
    """What was said, and what is so."""

    said: Said
    true: float | str
    unit: str = ""

    @property
    def near(self) -> bool:
        """Whether it was right, a number up to a tenth."""
        if isinstance(self.said, str) or isinstance(self.true, str):
            return self.said == self.true
        return self.said is not None and math.isclose(self.said, self.true, rel_tol=_NEAR, abs_tol=1e-12)

    def __repr__(self) -> str:
        so = f"it is {_text(self.true)}{' ' * bool(self.unit)}{self.unit}"
        if self.said is None:
            return f"You have said nothing: {so}."
        return f"You said {_text(self.said)}, and {so}" + (": as you said." if self.near else ".")

    def _repr_html_(self) -> str:
        bars = ""
        if not isinstance(self.said, str) and not isinstance(self.true, str) and self.said is not None:
            longest = max(abs(self.said), abs(self.true)) or 1
            for name, value, colour in (("you", self.said, _ORANGE), ("it is", self.true, _BLUE)):
                wide = round(_WIDE * abs(value) / longest)
                bars += (
                    f'<div style="display:flex;gap:8px;align-items:center"><span style="width:3em">{name}</span><span style="'
                    f'background:{colour};height:10px;width:{wide}px"></span><span>{_text(value)}</span></div>'
                )
        return (
            f'<div style="border-left:4px solid {_BLUE if self.near else _ORANGE};padding:4px 12px;margin:2px 0;'
            f'font:14px/1.5 var(--jp-ui-font-family,system-ui,sans-serif);max-width:50em">{html.escape(repr(self))}{bars}</div>'
        )


class Prediction:
    """A question, and a field or a few buttons for what somebody thinks."""

    def __init__(self, question: str, choices: tuple[str, ...]) -> None:
        self.question, self.choices = question, choices
        self.said: Said = None
        before = _kept().get(question, {}).get("said")
        if before in choices if choices else isinstance(before, int | float):
            self.said = before

    def say(self, said: float | str) -> None:
        """What you think; the page's field and buttons do the same."""
        if self.choices:
            if said not in self.choices:
                raise ArgumentError(f"said={said!r:.60}: one of {', '.join(map(repr, self.choices))}")
        elif isinstance(said, str) or not math.isfinite(said):
            raise ArgumentError(f"said={said!r:.60}: a number")
        self.said = said
        _keep(self.question, said=said)

    def compare(self, true: float | str, unit: str = "") -> Compared:
        """Put what was said beside what is so."""
        if self.choices and true not in self.choices:
            raise ArgumentError(f"true={true!r:.60}: one of {', '.join(map(repr, self.choices))}")
        true = true if isinstance(true, str) else float(true)
        _keep(self.question, said=self.said, true=true)
        return Compared(self.said, true, unit)

    def __repr__(self) -> str:
        return f"{self.question} " + ("…" if self.said is None else _text(self.said))

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        found = _field(self)._repr_mimebundle_()
        data, metadata = found if isinstance(found, tuple) else (found or {}, {})
        return data | {"text/plain": repr(self)}, metadata


def predict(question: str, *choices: str) -> Prediction:
    """Ask for a number, or for one of the choices. Show it as the last line of a cell, and `compare` after the run."""
    if not isinstance(question, str) or not question:
        raise ArgumentError(f"question={question!r:.60}: what is to be predicted, in words")
    if len(choices) == 1 or not all(isinstance(choice, str) for choice in choices):
        raise ArgumentError(f"choices={choices!r:.60}: two texts or more; or none, if a number is asked for")
    return Prediction(question, choices)


# ---------------------------------------------------------------------------------------------------------- in the page
def _field(prediction: Prediction) -> Any:
    """What it looks like in a notebook."""
    import ipywidgets

    question = ipywidgets.HTML(f"<b>Predict</b> &nbsp;{html.escape(prediction.question)}")
    note = ipywidgets.HTML()
    said = prediction.said
    if prediction.choices:
        answer: Any = ipywidgets.ToggleButtons(options=list(prediction.choices), value=said, style={"button_width": "auto"})
    else:
        answer = ipywidgets.Text(
            "" if said is None else _text(said), placeholder="a number", continuous_update=False, layout={"width": "10em"}
        )

    def write(words: str) -> None:
        note.value = f'<span style="opacity:.7">{html.escape(words)}</span>'

    def taken(change: dict[str, Any]) -> None:
        value = change["new"]
        try:
            prediction.say(value if prediction.choices else _number(value))
        except ArgumentError:
            write(f"{value!r:.30} is no number")
        else:
            write("noted: now run the next cell")

    answer.observe(taken, "value")
    write("you have said this before" if said is not None else "")
    return ipywidgets.VBox([question, ipywidgets.HBox([answer, note])])


def _number(text: str) -> float:
    """A number as people write it: ``20``, ``0,5``, ``1/12``, ``1e-3``."""
    try:
        return float(Fraction(text.strip().replace(",", ".")))
    except (ValueError, ZeroDivisionError, OverflowError):
        return math.nan


def _text(value: float | str) -> str:
    return f"“{value}”" if isinstance(value, str) else f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"


# ------------------------------------------------------------------------------------------------------------- on the disk
def _file() -> Path:
    return ipython_folder() / f"profile_{PROFILE}" / "predictions.json"


def _kept() -> dict[str, dict[str, Any]]:
    """What has been said so far, by question."""
    try:
        found = json.loads(_file().read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _keep(question: str, **facts: Any) -> None:
    """Remember it; where nothing can be written, only as long as the notebook lives."""
    kept = _kept()
    kept[question] = kept.get(question, {}) | facts
    with contextlib.suppress(OSError):
        _file().parent.mkdir(parents=True, exist_ok=True)
        with open_privately(_file()) as file:
            json.dump(kept, file, indent=1)
