"""What is seen of real engines, in a real JupyterLab: tiles, and the timeline of a cell; pictures go to build/screenshots."""

import json
import os

import nbformat
import pytest
from lab import Notebook, chromium, jupyter_lab, skip_without_a_browser

from ifog.cluster import Cluster
from ifog.cluster.home import Home

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A JupyterLab, and beside it 4 engines."""
    skip_without_a_browser()
    folder = tmp_path_factory.mktemp("lab")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IPYTHONDIR", str(folder / "ipython"))
        try:
            Cluster(4, threads=1, directory=folder).start()
            with jupyter_lab(folder) as address:
                yield folder, address
        finally:
            if Home().held:
                Cluster.of(Home()).stop()


@pytest.fixture
def page(lab):
    with chromium() as page:
        yield page


TILES = [
    "%load_ext ifog\nfrom ifog.widgets import Cluster",
    "tiles = Cluster()\ntiles",
    "%%px\nimport ifog, torch, time\nprint('hello from', ifog.rank())",
    "%%px\nif ifog.rank() == 2:\n    while True: time.sleep(0.1)\nifog.barrier()",
    "%%px\nimport ifog\n1 + ifog.rank()",
]


def test_engines_are_watched_interrupted_killed_and_restarted(lab, page):
    folder, address = lab
    notebook = Notebook(page, address, folder / "tiles.ipynb", TILES)

    def run(cell):
        page.evaluate("""(k) => { const w = jupyterapp.shell.currentWidget; w.content.activeCellIndex = k;
            w.content.deselectAll(); jupyterapp.commands.execute('notebook:run-cell'); }""", cell)  # fmt: skip

    def tile(rank, state=None):
        return page.locator(".ifog-tile" + ("" if state is None else f"[data-state='{state}']")).nth(rank)

    def press(name):
        page.get_by_role("button", name=name).click()

    def output(cell):
        return page.locator(".jp-Cell").nth(cell).locator(".jp-OutputArea")

    run(0)
    run(1)
    tile(3, "idle").wait_for()
    run(2)
    output(2).get_by_text("hello from 3").wait_for()
    notebook.picture("cluster-idle")

    run(3)  # rank 2 does not come: the others wait for it, and nobody can go on
    tile(2, "waiting").wait_for()
    assert page.locator(".ifog-tile[data-state='busy']").count() == 1
    page.locator(".ifog-line", has_text="ranks 0, 1, 3 wait for rank 2").wait_for()
    notebook.picture("cluster-busy")
    page.get_by_role("button", name="interrupt rank 2").click()
    output(3).get_by_text("KeyboardInterrupt").first.wait_for()
    tile(3, "idle").wait_for()
    tile(0).click()
    words = page.locator(".ifog-words")
    words.get_by_text("hello from 0").wait_for()
    words.get_by_text("PeerFailed").first.wait_for()
    words.scroll_into_view_if_needed()
    notebook.picture("cluster-words")

    pid = notebook.ask("tiles._seen.tiles[1]['pid']")
    os.kill(pid, 9)
    page.get_by_role("alert").get_by_text(f"rank 1 (process {pid}) was killed by signal 9").wait_for()
    assert page.locator(".ifog-tile[data-state='gone']").count() == 4
    notebook.picture("cluster-killed")
    press("all engines anew")
    tile(3, "idle").wait_for(timeout=60_000)
    run(4)
    output(4).get_by_text("4", exact=True).wait_for()
    words.get_by_role("button", name="close").click()
    notebook.picture("cluster-restarted")

    notebook.theme("Dark")
    press("larger type, for a lecture hall")
    page.evaluate("() => document.querySelector('.ifog-cluster').scrollIntoView()")
    notebook.picture("cluster-dark-presentation")
    page.mouse.move(5, 5)
    page.evaluate("() => document.activeElement.blur()")
    notebook.until("not tiles._stale")
    notebook.save()
    notebook.open()
    tile(3, "idle").wait_for(timeout=30_000)
    press("end the engines")
    assert notebook.ask("tiles._seen.phase") == "running"  # it asks whether one is sure
    press("end the engines")
    tile(3, "off").wait_for()
    notebook.picture("cluster-stopped")
    stored = nbformat.read(notebook.path, 4)
    assert stored.cells[1].outputs[0].data["image/png"]
    press("start the engines")
    tile(3, "idle").wait_for(timeout=60_000)
    run(4)
    page.wait_for_function("() => jupyterapp.shell.currentWidget.content.widgets[4].model.executionCount > 6")
    assert page.troubles == []


TRACE = [
    "%load_ext ifog\nfrom ifog.widgets import Timeline",
    "%%px\nimport ifog, torch, os\nx = torch.randn(100_000)\n"
    "with ifog.timeline('trace.json'):\n"
    "    for k in range(20):\n"
    "        with ifog.span('gradient'):\n"
    "            for _ in range(30 if ifog.rank() == k % 4 else 5): x = x.sin()\n"
    "        x = ifog.neighbor_allreduce(x, name='x')\n"
    "path = os.path.abspath('trace.json')\npath",
    "shown = Timeline(Out[2][0])\nshown",
]


def test_the_timeline_of_a_cell_is_shown_and_can_be_looked_into(lab, page):
    folder, address = lab
    cluster = Cluster.of(Home())
    if cluster.trouble():
        cluster.restart()
    notebook = Notebook(page, address, folder / "timeline.ipynb", TRACE)
    notebook.run_all()
    canvas = page.locator(".ifog-timeline canvas")
    canvas.wait_for(timeout=60_000)
    page.wait_for_function("() => document.querySelector('.ifog-timeline canvas').dataset.frames > 0")
    canvas.scroll_into_view_if_needed()
    notebook.picture("timeline")
    trace = notebook.ask("[shown.summary, len(shown._trace.segments), len(shown._trace.arrows)]")
    assert [row["name"] for row in trace[0]] == [f"rank {rank}" for rank in range(4)]
    assert all(abs(row["compute"] + row["wait"] + row["copy"] - 1) < 1e-6 for row in trace[0])
    assert trace[2] == 20 * 4 * 2  # each rank of exponential(4) has two neighbours

    part = page.locator(".ifog-part")
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + 600, box["y"] + 40)
    page.keyboard.down("Control")
    for _ in range(5):
        page.mouse.wheel(0, -200)
    page.keyboard.up("Control")
    page.wait_for_function("() => / to .* of /.test(document.querySelector('.ifog-part').textContent)")
    before = part.inner_text()
    page.mouse.down()
    page.mouse.move(box["x"] + 500, box["y"] + 40, steps=4)
    page.mouse.up()
    assert part.inner_text() != before
    canvas.focus()
    canvas.press("n")
    tip = page.locator(".ifog-timeline .ifog-tip")
    assert tip.inner_text().startswith("rank 0: ")
    canvas.press("ArrowDown")
    canvas.press("n")
    assert page.locator(".ifog-timeline [aria-live]").inner_text().startswith("rank 1: ")
    notebook.picture("timeline-zoomed")
    canvas.press("0")
    assert " of " not in part.inner_text()
    page.get_by_role("button", name="which share of the time").click()
    assert page.locator(".ifog-shares tr").count() == 5
    with page.expect_download() as download:
        page.get_by_role("button", name="open it at ui.perfetto.dev").click()
    saved = json.loads(download.value.path().read_text())
    assert {event["ph"] for event in saved["traceEvents"]} == set("MXsf")

    notebook.theme("Dark")
    page.get_by_role("button", name="larger type, for a lecture hall").click()
    page.wait_for_timeout(300)
    canvas.scroll_into_view_if_needed()
    notebook.picture("timeline-dark-presentation")
    notebook.save()
    notebook.open()
    canvas.wait_for(timeout=30_000)
    page.wait_for_function("() => document.querySelector('.ifog-timeline canvas').dataset.frames > 0")
    assert nbformat.read(notebook.path, 4).cells[2].outputs[0].data["image/png"]
    assert page.troubles == []
