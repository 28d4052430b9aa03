"""`ifog demo`: the engines did what the page says, and the page needs nothing but itself."""

import json
import re
import subprocess
import sys

import pytest
from loads import Loads

from ifog.widgets import demo, picture

pytestmark = pytest.mark.slow
N = 4


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """What the terminal says, and the folder with what was written."""
    folder = tmp_path_factory.mktemp("demo")
    words = [
        sys.executable,
        "-W",
        "error",
        "-m",
        "ifog.cluster.command",
        "demo",
        "-np",
        str(N),
        "--output",
        str(folder / "page.html"),
    ]
    run = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout, folder


def rows(said):
    """Of each line of the table: method, topologies, and the error, or what is right of a hundred."""
    line = r"(\w+) +(\S+\)(?: → \S+\))*) +(\S+?)(%? right)? +\d+ +\S+ [kMG]?B +[\d.]+ *$"
    return [(method, topology, float(value)) for method, topology, value, _ in re.findall(line, said, re.MULTILINE)]


def test_methods_end_where_their_theory_says(shown):
    said, _ = shown
    ended = {(method, topology): value for method, topology, value in rows(said)}
    assert len(rows(said)) == sum(len(chapter.entries) for chapter in demo.CHAPTERS), said
    assert ended["consensus", f"one_peer_exponential({N})"] < 1e-14
    assert ended["extra", f"ring({N})"] < 1e-12
    assert ended["diging", f"one_peer_exponential({N})"] < 1e-12
    assert 1e-3 < ended["decentlam", f"ring({N})"] < ended["dmsgd", f"ring({N})"] / 2
    assert ended["dgd", f"ring({N}) → exponential({N})"] <= ended["dgd", f"ring({N})"]
    assert ended["atc", f"one_peer_exponential({N})"] > 80 < ended["allreduce_sgd", f"complete({N})"]


def test_the_terminal_says_where_the_pictures_are_and_what_comes_next(shown):
    said, folder = shown
    assert "page.html" in said
    assert "make lab" in said
    assert max(map(len, said.splitlines())) <= 110
    image = (folder / "page.png").read_bytes()
    assert image.startswith(b"\x89PNG")
    assert picture.width(image) == 1240


def test_the_page_loads_nothing_and_shows_every_run(shown):
    _, folder = shown
    text = (folder / "page.html").read_text(encoding="utf-8")
    page = Loads(text)
    assert len(page.frames) == 5  # four networks and a timeline
    for part in page.frames:
        page.addresses += Loads(part).addresses
    assert all(address.startswith(("data:", "#")) for address in page.addresses), page.addresses
    assert text.count("plotly.js v") == 1
    for chapter in demo.CHAPTERS:
        for entry in chapter.entries:
            assert json.dumps(f"{entry.method} on {entry.topology}({N})")[1:-1] in text


def test_bad_arguments_are_named(capsys):
    for words, message in ((["-np", "1"], "between 2 and 64"), (["--output", "no/such/folder/a.html"], "there is no folder")):
        with pytest.raises(SystemExit) as end:
            demo.main(words)
        assert end.value.code == 2
        assert message in capsys.readouterr().err
