"""Right answers and common wrong ones, of the files in `answers/`.

``# %% 3.1`` begins a right one, ``# %% 3.1 trap: …`` a wrong one, with a piece of the hint that it must get. What stands before
the first of them goes before each.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

_MARK = re.compile(r"^# %%[ ]?(\d+\.\d+)?(?: trap: (.+))?$", re.M)


@dataclass
class Answers:
    """What is known for one exercise."""

    before: str
    right: str = ""
    traps: list[tuple[str, str]] = field(default_factory=list)
    """Pieces of a hint, and the answer that must get it."""


def answers():
    found = {}
    for path in sorted((Path(__file__).parent / "answers").glob("chapter_*.py")):
        parts = _MARK.split(path.read_text())
        before = parts[3].strip()
        for number, trap, code in zip(parts[4::3], parts[5::3], parts[6::3], strict=True):
            known = found.setdefault(number, Answers(before))
            if trap is None:
                known.right = code.strip()
            else:
                known.traps.append((trap, code.strip()))
    return found


ANSWERS = answers()
