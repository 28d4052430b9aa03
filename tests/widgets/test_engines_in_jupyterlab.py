"""What is seen of real engines, in a real JupyterLab: tiles, timelines, the lab bench; pictures go to build/screenshots."""

import json
import os

import nbconvert
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


def run(page, cell):
    """Start a cell, and do not wait for it."""
    page.evaluate("""(k) => { const w = jupyterapp.shell.currentWidget; w.content.activeCellIndex = k;
        w.content.deselectAll(); jupyterapp.commands.execute('notebook:run-cell'); }""", cell)  # fmt: skip


TILES = [
    "%load_ext ifog\nfrom ifog.widgets import Cluster",
    "tiles = Cluster()\ntiles",
    "%%px\nimport ifog, torch, time\nprint('hello from', ifog.rank())",
    "%%px\nif ifog.rank() == 2:\n    while True: time.sleep(0.1)\nifog.barrier()",
    "%%px\nimport ifog\n1 + ifog.rank()",
    "%%px\nimport ifog, torch, time\nfor _ in range(120):\n    ifog.neighbor_allreduce(torch.ones(2))\n    time.sleep(0.04)",
]


def test_engines_are_watched_interrupted_killed_and_restarted(lab, page):
    folder, address = lab
    notebook = Notebook(page, address, folder / "tiles.ipynb", TILES)

    def tile(rank, state=None):
        return page.locator(".ifog-tile" + ("" if state is None else f"[data-state='{state}']")).nth(rank)

    def press(name):
        page.get_by_role("button", name=name).click()

    def output(cell):
        return page.locator(".jp-Cell").nth(cell).locator(".jp-OutputArea")

    run(page, 0)
    run(page, 1)
    tile(3, "idle").wait_for()
    run(page, 2)
    output(2).get_by_text("hello from 3").wait_for()
    notebook.picture("cluster-idle")

    for state in ("hidden", "visible"):  # another tab is opened in front of this one, and closed
        page.evaluate("""(state) => { Object.defineProperty(document, 'visibilityState', { value: state, configurable: true });
            document.dispatchEvent(new Event('visibilitychange')); }""", state)  # fmt: skip
        notebook.until(f"tiles._watched == {state == 'visible'}")

    run(page, 3)  # rank 2 does not come: the others wait for it, and nobody can go on
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

    words.get_by_role("button", name="close").click()
    run(page, 5)
    page.locator(".ifog-cluster").evaluate("e => e.scrollIntoView()")
    page.locator(".ifog-ring path.used").first.wait_for()
    notebook.picture("cluster-talking")
    press("freeze rank 2 for 5 seconds")
    page.locator(".ifog-tile[data-state='frozen']", has_text="rank 2").wait_for()
    page.locator(".ifog-line", has_text="ranks 0, 1, 3 wait for rank 2").wait_for()
    notebook.picture("cluster-frozen")
    page.locator(".ifog-tile[data-state='idle']").nth(3).wait_for()
    assert "rror" not in output(5).inner_text()
    assert notebook.ask("[tile['exchanges'] for tile in tiles._seen.tiles] == [120] * 4")
    tile(0).click()

    pid = notebook.ask("tiles._seen.tiles[1]['pid']")
    os.kill(pid, 9)
    page.get_by_role("alert").get_by_text(f"rank 1 (process {pid}) was killed by signal 9").wait_for()
    assert page.locator(".ifog-tile[data-state='gone']").count() == 4
    notebook.picture("cluster-killed")
    press("all engines anew")
    tile(3, "idle").wait_for(timeout=60_000)
    run(page, 4)
    output(4).get_by_text("4", exact=True).wait_for()
    words.get_by_role("button", name="close").click()
    page.locator(".ifog-cluster").evaluate("e => e.scrollIntoView()")
    notebook.picture("cluster-restarted")

    notebook.theme("Dark")
    run(page, 5)
    page.locator(".ifog-ring path.used").first.wait_for()
    page.evaluate("() => document.querySelector('.ifog-cluster').scrollIntoView()")
    notebook.picture("cluster-dark")
    tile(3, "idle").wait_for()
    press("larger type, for a lecture hall")
    page.evaluate("() => document.querySelector('.ifog-cluster').scrollIntoView()")
    notebook.picture("cluster-dark-presentation")
    page.mouse.move(5, 5)
    page.evaluate("() => document.activeElement.blur()")
    notebook.until("not tiles._stale")
    notebook.until("[said.views for said in tiles._pages.values()] == [1]")  # JupyterLab has made others, and closed none
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
    count = "jupyterapp.shell.currentWidget.content.widgets[4].model.executionCount"
    before = page.evaluate(f"() => {count}")
    run(page, 4)
    page.wait_for_function(f"(before) => {count} > before", arg=before)
    output(4).get_by_text("4", exact=True).wait_for()

    manager, *_ = Cluster.of(Home()).said()["processes"]
    os.kill(manager[0], 9)
    page.get_by_role("alert").get_by_text("its manager has ended without stopping it").wait_for()
    page.locator(".ifog-cluster").evaluate("e => e.scrollIntoView()")
    notebook.picture("cluster-without-manager")
    press("start the engines")
    tile(3, "idle").wait_for(timeout=60_000)
    page.get_by_role("alert").wait_for(state="hidden")
    assert page.troubles == []


TRACE = [
    "%load_ext ifog\nfrom ifog.widgets import Timeline",
    "live = Timeline()\nlive",
    "%%px\nimport ifog, torch, time\nx = torch.randn(100_000)\n"
    "with ifog.timeline('trace.json'):\n"
    "    for k in range(12):\n"
    "        with ifog.span('gradient'):\n"
    "            time.sleep(0.3 if ifog.rank() == k % 4 else 0.1)\n"
    "        x = ifog.neighbor_allreduce(x, name='x')",
    "shown = Timeline('trace.json')\nshown",
]


def test_the_timeline_of_a_cell_is_followed_shown_and_can_be_looked_into(lab, page):
    folder, address = lab
    cluster = Cluster.of(Home())
    if cluster.trouble():
        cluster.restart()
    (folder / "notebooks").mkdir()  # the engines are at home in another folder than the notebook
    notebook = Notebook(page, address, folder / "notebooks" / "timeline.ipynb", TRACE)
    run(page, 0)
    run(page, 1)
    page.get_by_text("no timeline is on").wait_for()
    run(page, 2)
    run(page, 3)
    page.locator(".ifog-timeline").get_by_text("· recording").wait_for()
    page.wait_for_timeout(1200)
    notebook.picture("timeline-live")
    page.wait_for_function("() => document.querySelectorAll('.ifog-timeline').length == 2", timeout=60_000)
    notebook.until("live._trace.content == shown._trace.content")  # in the end, it is the file that is shown
    view = page.locator(".ifog-timeline").nth(1)
    canvas = view.locator("canvas")
    canvas.scroll_into_view_if_needed()
    page.wait_for_function("() => document.querySelectorAll('.ifog-timeline canvas')[1].dataset.frames > 0")
    notebook.picture("timeline")
    trace = notebook.ask("[shown.summary, len(shown._trace.segments), len(shown._trace.arrows)]")
    assert [row["name"] for row in trace[0]] == [f"rank {rank}" for rank in range(4)]
    assert all(abs(row["compute"] + row["wait"] + row["copy"] - 1) < 1e-6 for row in trace[0])
    assert trace[2] == 12 * 4 * 2  # each rank of exponential(4) has two neighbours

    part = view.locator(".ifog-part")
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + 600, box["y"] + 40)
    page.keyboard.down("Control")
    for _ in range(5):
        page.mouse.wheel(0, -200)
    page.keyboard.up("Control")
    page.wait_for_function("() => / to .* of /.test(document.querySelectorAll('.ifog-part')[1].textContent)")
    before = part.inner_text()
    page.mouse.down()
    page.mouse.move(box["x"] + 500, box["y"] + 40, steps=4)
    page.mouse.up()
    assert part.inner_text() != before
    canvas.focus()
    canvas.press("n")
    tip = view.locator(".ifog-tip")
    assert tip.inner_text().startswith("rank 0: ")
    canvas.press("ArrowDown")
    canvas.press("n")
    assert view.locator("[aria-live]").inner_text().startswith("rank 1: ")
    notebook.picture("timeline-zoomed")
    canvas.press("0")
    assert " of " not in part.inner_text()
    view.get_by_role("button", name="which share of the time").click()
    assert view.locator(".ifog-shares tr").count() == 5
    with page.expect_download() as download:
        view.get_by_role("button", name="open it at ui.perfetto.dev").click()
    saved = json.loads(download.value.path().read_text())
    assert {event["ph"] for event in saved["traceEvents"]} == set("MXsf")

    notebook.theme("Dark")
    view.get_by_role("button", name="larger type, for a lecture hall").click()
    page.wait_for_timeout(300)
    canvas.scroll_into_view_if_needed()
    notebook.picture("timeline-dark-presentation")
    notebook.save()
    notebook.open()
    canvas.wait_for(timeout=30_000)
    page.wait_for_function("() => document.querySelectorAll('.ifog-timeline canvas')[1].dataset.frames > 0")
    assert nbformat.read(notebook.path, 4).cells[3].outputs[0].data["image/png"]
    assert page.troubles == []


BENCH = [
    "%load_ext ifog\nimport ifog\nfrom ifog.widgets import LabBench",
    "bench = LabBench('dgd', topology='ring', n=8, on=ifog.connect(), pace=25)\nbench",
    "%%px\nimport ifog\nifog.rank()",
    "'below'",
]


def test_a_run_on_engines_is_steered_from_the_bench_while_a_cell_waits_for_them(lab, page):
    folder, address = lab
    notebook = Notebook(page, address, folder / "bench.ipynb", BENCH)
    bench = page.locator(".ifog-bench")
    pill, count, said = bench.locator(".ifog-pill"), bench.locator(".ifog-count"), bench.locator(".ifog-said")

    def press(name):
        bench.get_by_role("button", name=name, exact=True).click()

    def after(iteration):
        page.wait_for_function(
            "(k) => +document.querySelector('.ifog-count').textContent.replace(/,/g, '').split(' ')[1] > k", arg=iteration
        )

    run(page, 0)
    run(page, 1)
    press("Start")
    after(40)
    assert bench.get_by_label("where it runs").input_value() == "on 4 engines"
    bench.get_by_label("colour", exact=True).wait_for()  # the engines tell what their nodes hold
    notebook.picture("bench-on-engines")

    run(page, 2)  # it waits for the engines, which are busy with the run
    page.locator(".jp-Cell").nth(2).get_by_text("[*]").wait_for()
    bench.get_by_label("topology", exact=True).select_option("exponential")
    said.get_by_text("exponential(8) from iteration").wait_for()
    now = int(count.inner_text().replace(",", "").split()[1])
    after(now + 30)
    bench.get_by_label("method", exact=True).select_option("extra")
    said.get_by_text("method: with the next start").wait_for()
    notebook.picture("bench-swapped-while-a-cell-runs")
    press("Start anew")  # what does not fit is refused, and the run goes on
    said.get_by_text("extra on exponential(8): it needs a symmetric W").wait_for()
    now = int(count.inner_text().replace(",", "").split()[1])
    after(now + 10)
    notebook.picture("bench-refused")
    assert page.locator(".jp-Cell").nth(2).get_by_text("[*]").count() == 1
    press("stop; the curve stays")
    page.wait_for_function("() => jupyterapp.shell.currentWidget.content.widgets[2].model.executionCount > 0")
    ((k, what),) = notebook.ask("bench.run.marks")
    assert what == "exponential(8)"
    error = notebook.ask("[bench.run.status, *bench.run.history['error'].tolist()]")
    assert error.pop(0) == "stopped"
    assert error[k + 25] < 0.7 * error[k - 1]  # the curve bends

    bench.get_by_label("topology", exact=True).select_option("grid")
    press("Start anew")
    notebook.until("bench.run.iteration > 20 and bench.run.status == 'running'")
    press("pause")
    page.wait_for_function("() => document.querySelector('.ifog-pill').textContent === 'paused'")
    now = int(count.inner_text().replace(",", "").split()[1])
    press("one iteration")
    after(now)
    assert int(count.inner_text().replace(",", "").split()[1]) == now + 1

    notebook.theme("Dark")
    press("larger type, for a lecture hall")
    bench.scroll_into_view_if_needed()
    notebook.picture("bench-dark-presentation")
    page.mouse.move(5, 5)
    page.evaluate("() => document.activeElement.blur()")
    notebook.until("not bench._stale")
    notebook.save()
    notebook.open()
    pill.get_by_text("paused").wait_for(timeout=30_000)
    assert bench.locator(".ifog-legend button").count() == 2
    assert bench.get_by_label("method", exact=True).input_value() == "extra"
    notebook.picture("bench-reloaded")
    press("Go on")
    after(now + 20)
    press("stop; the curve stays")
    notebook.until("bench.run.over")

    stored = nbformat.read(notebook.path, 4)
    html, _ = nbconvert.HTMLExporter().from_notebook_node(stored)
    assert page.troubles == []
    (folder / "bench.html").write_text(html)
    page.goto((folder / "bench.html").as_uri())
    picture = page.locator(".jp-OutputArea-output img")
    picture.scroll_into_view_if_needed()
    assert picture.evaluate("image => image.naturalWidth") > 1000
    notebook.picture("bench-exported")
