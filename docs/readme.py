"""Writes README.md's tables of topologies and methods from their registers: ``python docs/readme.py``."""

import sys
from pathlib import Path

from ifog import algorithms, topology

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- tables: python docs/readme.py -->\n", "<!-- end of tables -->\n"


def tables() -> str:
    """Both, folded."""
    families, methods = topology.families(), algorithms.all()
    described = {name: (family.__doc__ or "").partition("\n")[0] for name, family in families.items()}
    linked = {f"[`{name}`](docs/methods.md#{name})": method.summary for name, method in methods.items()}
    return "\n".join(
        [
            _folded(f"{len(families)} families of topologies: `ifog.topology.…(n)`", "topology", _code(described)),
            _folded(f"{len(methods)} methods: `ifog.run(…)`", "method", linked),
        ]
    )


def _code(rows: dict[str, str]) -> dict[str, str]:
    return {f"`{name}`": text for name, text in rows.items()}


def _folded(title: str, first: str, rows: dict[str, str]) -> str:
    lines = [f"| {name} | {text.replace('|', chr(92) + '|').replace('``', '`')} |" for name, text in rows.items()]
    head = title.replace("`", "<code>", 1).replace("`", "</code>", 1)
    return "\n".join(
        ["<details>", f"<summary>{head}</summary>", "", f"| {first} | |", "|---|---|", *lines, "", "</details>", ""]
    )


def renewed(text: str) -> str:
    """README with the tables as they should be."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{tables()}{END}{after}"


if __name__ == "__main__":
    README.write_text(renewed(README.read_text()))
    sys.exit(0)
