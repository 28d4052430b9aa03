"""The page's side: what is committed is what the source gives, and its own tests pass. Needs npm."""

import shutil
import subprocess
from pathlib import Path

import pytest

from ifog.widgets import messages

FRONT = Path(__file__).parents[2] / "widgets" / "front"
STATIC = FRONT.parent / "static"


def npm(*command):
    """Run something that npm has brought, or skip."""
    if shutil.which("npm") is None or not (FRONT / "node_modules").is_dir():
        pytest.skip("npm's modules are missing: make front")
    run = subprocess.run(command, cwd=FRONT, capture_output=True, text=True, timeout=180)
    assert run.returncode == 0, run.stdout + run.stderr


def test_both_sides_speak_of_the_same_messages():
    written = (FRONT / "src" / "messages.ts").read_text()
    assert written == messages.typescript(), "python -m ifog.widgets.messages writes it"


def test_the_committed_bundle_is_what_the_source_gives(tmp_path):
    npm("node", "build.mjs", str(tmp_path))
    built = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert built == {path.name: path.read_text() for path in STATIC.iterdir()}, "make front builds it"


def test_types_fit():
    npm("npm", "run", "types")


def test_the_pages_own_tests_pass():
    npm("npm", "test")
