"""What ruff says of the code in ``%%px`` cells, which it skips: it is given the cells of each notebook as one text.

``python tests/px_cells.py`` is a part of ``make lint``.
"""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
TUTORIALS = sorted((ROOT / "tutorials").glob("*.ipynb"))


def px_code(path):
    """The code of all cells for the engines, one after the other."""
    cells = ["".join(cell["source"]) for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    return "\n\n".join(cell.partition("\n")[2] for cell in cells if cell.startswith("%%px")) + "\n"


def complaints(paths):
    """Of all notebooks together; nothing, if all is well."""
    said = ""
    for path in paths:
        # cells begin with imports and end with what they show; and a name may be defined anew
        options = ["--stdin-filename", f"tutorials/{path.stem}.py", "--ignore", "B018,E402,F811,I001"]
        ruff = [sys.executable, "-m", "ruff", "check", "--quiet", "--output-format", "concise", *options, "-"]
        run = subprocess.run(ruff, input=px_code(path), capture_output=True, text=True, cwd=ROOT)
        said += f"{path.name}, %%px cells:\n{run.stdout}{run.stderr}" if run.returncode else ""
    return said


if __name__ == "__main__":
    sys.exit(complaints(TUTORIALS) or 0)
