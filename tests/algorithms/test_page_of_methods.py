"""The page of the methods says what the code says."""

import importlib.util
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_is_what_its_program_writes():
    spec = importlib.util.spec_from_file_location("page_of_methods", DOCS / "methods.py")
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    assert (DOCS / "methods.md").read_text() == program.page(), "run: python docs/methods.py"
