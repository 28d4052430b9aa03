"""Writes docs/methods.md from the register of methods: ``python docs/methods.py``."""

import sys
from pathlib import Path

from ifog import algorithms
from ifog.algorithms.method import REQUIRED
from ifog.algorithms.needs import NEEDS

PAGE = Path(__file__).with_suffix(".md")
HEAD = """# The methods

Written by `python docs/methods.py` from what stands beside each method's code. Run any of them with
`ifog.run("NAME", problem, topology=…, steps=…)`, or call it in a loop of your own.

Those that average without gradients start from the nodes' own values in `ifog.problems.averaging(n, d=…)`, and their error
there is the distance to the mean.

"""


def page() -> str:
    """The table of all methods, and the formula of each."""
    methods = algorithms.all().values()
    rows = ["| method | what it is | needs of W | parameters |", "|---|---|---|---|"]
    for m in methods:
        needs = "; ".join(NEEDS[need].words for need in m.needs) or "nothing"
        parameters = ", ".join(f"`{name}`" if v is REQUIRED else f"`{name}={v!r}`" for name, v in m.parameters.items())
        rows.append(f"| [`{m.name}`](#{m.name}) | {_cell(m.summary)} | {needs} | {_cell(parameters)} |")
    parts = [HEAD, "\n".join(rows), "\n"]
    for m in methods:
        formula = m.formula
        aligned = f"\\begin{{aligned}}\n{formula}\n\\end{{aligned}}" if "&" in formula else formula
        parts += [
            f"\n## {m.name}\n\n{m.summary}\n",
            f"\n```math\n{aligned}\n```\n" if formula else "",
            f"\n{m.paper}\n" if m.paper else "",
        ]
    return "".join(parts)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page())
    sys.exit(0)
