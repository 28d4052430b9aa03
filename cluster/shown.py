"""What the engines have said, as a reader wants it: by rank, what is the same only once, and the cause of an error first.

Nothing here knows of engines: a rank's words come in, text and HTML go out.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")

_LINES = 300  # of a rank's output; of more the last ones are shown
_PLAIN = ("text/html", "image/png", "image/jpeg", "image/svg+xml", "text/latex", "text/markdown", "text/plain")
"""What can stand within HTML. A widget or a plotly figure cannot, and is displayed by itself."""
_ANSI = re.compile(r"\x1b\[[\d;]*m")


@dataclass
class Answer:
    """What one rank has said in a cell."""

    rank: int
    stdout: str = ""
    stderr: str = ""
    outputs: list[Mapping[str, Any]] = field(default_factory=list)
    """What it displayed: data by MIME type."""

    @property
    def empty(self) -> bool:
        """Whether it has said nothing that can be shown here."""
        return not (self.stdout or self.stderr or any(map(plain, self.outputs)))


def ranks_in_short(ranks: Iterable[int]) -> str:
    """``rank 3``, ``ranks 0–7``, ``ranks 0–2, 5``."""
    ordered = sorted(ranks)
    runs: list[list[int]] = []
    for rank in ordered:
        if runs and runs[-1][-1] == rank - 1:
            runs[-1].append(rank)
        else:
            runs.append([rank])
    said = ", ".join(f"{run[0]}–{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs)
    return f"rank{'s' if len(ordered) != 1 else ''} {said}"


def who_waits(states: Mapping[int, Mapping[str, Any]]) -> str:
    """Who waits for whom, if somebody does, as of what `Cluster.status` says of these ranks."""
    waiting = {rank: said for rank, said in states.items() if said["state"] == "waiting" and said["waits_for"] in states}
    awaited = {said["waits_for"] for said in waiting.values()} - set(waiting)
    if not waiting or not awaited:
        return ""
    return f"{ranks_in_short(waiting)} {'waits' if len(waiting) == 1 else 'wait'} for {ranks_in_short(awaited)}"


def alike(items: Mapping[int, T], key: Callable[[T], Hashable]) -> list[tuple[list[int], T]]:
    """The ranks that have the same, together; in the order of the first of each."""
    groups: dict[Hashable, tuple[list[int], T]] = {}
    for rank in sorted(items):
        groups.setdefault(key(items[rank]), ([], items[rank]))[0].append(rank)
    return list(groups.values())


def plain(bundle: Mapping[str, Any]) -> bool:
    """Whether an output can stand within HTML."""
    return all(kind in _PLAIN for kind in bundle)


# ---------------------------------------------------------------------------------------------------------- output
def as_text(answers: Sequence[Answer], note: str = "") -> str:
    """All output, for a terminal."""
    lines = []
    for ranks, answer in _groups(answers):
        said = [text for text in (answer.stdout, answer.stderr) if text]
        said += [str(bundle.get("text/plain", next(iter(bundle), ""))) for bundle in answer.outputs if plain(bundle)]
        label, text = ranks_in_short(ranks), _last_lines("\n".join(part.rstrip("\n") for part in said))
        lines.append(f"{label}: {text}" if "\n" not in text else f"{label}:\n" + _indented(text))
    return "\n".join(lines + [note] * bool(note))


def as_html(answers: Sequence[Answer], note: str = "") -> str:
    """All output, for a notebook: a coloured block for each rank, or for those that said the same."""
    blocks = []
    for ranks, answer in _groups(answers):
        parts = [_stream(answer.stdout, "")] if answer.stdout else []
        parts += [_stream(answer.stderr, "color:var(--jp-error-color1,#c62828);")] if answer.stderr else []
        parts += [in_html(bundle) for bundle in answer.outputs if plain(bundle)]
        blocks.append(_block(ranks, "".join(parts)))
    if note:
        blocks.append(
            '<div style="color:var(--jp-ui-font-color2,#666);font:12px sans-serif;padding:2px 0 2px 8px">'
            f"{html.escape(note)}</div>"
        )
    return f'<div class="ifog-px">{"".join(blocks)}</div>' if blocks else ""


def in_html(bundle: Mapping[str, Any]) -> str:
    """One output as HTML: the richest form of it that HTML can hold."""
    if "text/html" in bundle:
        return f"<div>{bundle['text/html']}</div>"
    for kind in ("image/png", "image/jpeg"):
        if kind in bundle:
            return f'<img style="max-width:100%" src="data:{kind};base64,{str(bundle[kind]).strip()}">'
    if "image/svg+xml" in bundle:
        return f"<div>{bundle['image/svg+xml']}</div>"
    return _stream(str(bundle.get("text/plain", "")), "")


def _groups(answers: Sequence[Answer]) -> list[tuple[list[int], Answer]]:
    spoken = {answer.rank: answer for answer in answers if not answer.empty}
    return alike(spoken, lambda answer: (answer.stdout, answer.stderr, repr(answer.outputs)))


def _block(ranks: Sequence[int], inside: str) -> str:
    colour = f"hsl({ranks[0] * 137 % 360},60%,50%)" if len(ranks) == 1 else "var(--jp-border-color1,#9e9e9e)"
    return (
        f'<div style="border-left:3px solid {colour};padding:0 0 0 8px;margin:2px 0;display:flex;gap:10px">'
        f'<div style="color:{colour if len(ranks) == 1 else "inherit"};font:600 12px sans-serif;white-space:nowrap;'
        f'padding-top:1px;min-width:4.5em;opacity:.85">{html.escape(ranks_in_short(ranks))}</div>'
        f'<div style="flex:1;min-width:0;overflow-x:auto">{inside}</div></div>'
    )


def _stream(text: str, style: str) -> str:
    text = html.escape(_ANSI.sub("", _last_lines(text.rstrip("\n"))))
    return f'<pre style="margin:0;padding:0;white-space:pre-wrap;line-height:1.35;{style}">{text}</pre>'


def _last_lines(text: str) -> str:
    lines = text.split("\n")
    if len(lines) <= _LINES:
        return text
    return "\n".join([f"… {len(lines) - _LINES} lines before", *lines[-_LINES:]])


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.split("\n"))


# ---------------------------------------------------------------------------------------------------------- values
class Text(str):
    """A value that could not travel: its text."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


class Results(list[Any]):
    """What the last line of a cell gave, a value for each rank, in their order."""

    def __init__(self, values: Iterable[Any], ranks: Sequence[int], bundles: Sequence[Mapping[str, Any]]) -> None:
        super().__init__(values)
        self.ranks = list(ranks)
        """Whose value each is."""
        self._bundles = dict(zip(ranks, bundles, strict=True))

    def __repr__(self) -> str:
        return as_text([Answer(rank, outputs=[bundle]) for rank, bundle in self._bundles.items() if bundle])

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        answers = [Answer(rank, outputs=[bundle]) for rank, bundle in self._bundles.items() if bundle]
        return {"text/plain": as_text(answers), "text/html": as_html(answers)}


# ---------------------------------------------------------------------------------------------------------- errors
@dataclass(frozen=True)
class Fault:
    """An error on one rank, as text."""

    kind: str
    message: str
    traceback: str

    @property
    def line(self) -> str:
        """Kind and message, in one line."""
        return f"{self.kind}: {self.message}".partition("\n")[0].removesuffix(": ")


_FOLLOWED = ("PeerFailed",)
_SHOWN = 3  # tracebacks of different errors


def causes(faults: Mapping[int, Fault]) -> tuple[list[tuple[list[int], Fault]], list[int]]:
    """The errors that count, each with the ranks that had it, and the ranks that were merely woken by them."""
    own = {rank: fault for rank, fault in faults.items() if fault.kind not in _FOLLOWED}
    if not own:  # the cause lies in an earlier cell, or on a rank that has died
        own = dict(faults)
    groups = alike(own, lambda fault: (fault.kind, fault.message))
    return groups, sorted(set(faults) - set(own))


def error_in_text(faults: Mapping[int, Fault]) -> list[str]:
    """The errors of a cell, each shown once, the cause first."""
    groups, woken = causes(faults)
    parts = []
    for ranks, fault in groups[:_SHOWN]:
        parts.append(f"\x1b[1;31m{ranks_in_short(ranks)}\x1b[0m\n{fault.traceback or fault.line}")
    parts += [f"\x1b[1;31m{ranks_in_short(ranks)}\x1b[0m: {fault.line}" for ranks, fault in groups[_SHOWN:]]
    if woken:
        parts.append(
            f"\x1b[2m{ranks_in_short(woken)} waited for that, and {'was' if len(woken) == 1 else 'were'} released\x1b[0m"
        )
    return parts
