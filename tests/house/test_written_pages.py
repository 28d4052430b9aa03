"""What is written about topologies and methods says what the code says."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["methods", "readme"])
def test_a_written_page_is_what_its_program_writes(name):
    spec = importlib.util.spec_from_file_location(f"page_of_{name}", ROOT / "docs" / f"{name}.py")
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    if name == "methods":
        assert (ROOT / "docs" / "methods.md").read_text() == program.page(), "run: python docs/methods.py"
    else:
        text = (ROOT / "README.md").read_text()
        assert text == program.renewed(text), "run: python docs/readme.py"
        assert text.count(program.BEGIN) == text.count(program.END) == 1
