"""What a person sees and does, in a real JupyterLab; pictures of it go to build/screenshots."""

import base64

import nbconvert
import nbformat
import pytest
from lab import Notebook, chromium, jupyter_lab, skip_without_a_browser

from ifog.topology import ring
from ifog.widgets import Network

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    skip_without_a_browser()
    folder = tmp_path_factory.mktemp("lab")
    with jupyter_lab(folder) as address:
        yield folder, address


@pytest.fixture
def page(lab):
    with chromium() as page:
        yield page


def frames(widget):
    return int(widget.locator("canvas").first.get_attribute("data-frames"))


def at_node(notebook, widget, node):
    """Where a node is on the screen: the unit square is in the middle, 22 pixels from the nearer edges."""
    box = widget.locator(".ifog-sheet").bounding_box()
    x, y = notebook.ask(f"network._places[{node}].tolist()")
    side = min(box["width"], box["height"]) - 44
    return box["x"] + box["width"] / 2 + (x - 0.5) * side, box["y"] + box["height"] / 2 + (y - 0.5) * side


def drag(page, start, end):
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(*end, steps=8)
    page.mouse.up()


NETWORK = [
    "import ifog, threading, time, numpy as np\nfrom ifog.widgets import Network",
    "network = Network(ifog.topology.ring(12), values=np.arange(12))\nnetwork",
    "ifog.topology.one_peer_exponential(16)",
    "last = Network(ifog.topology.grid(900))\nlast",
]

GOSSIP = """[threading.Thread(target=lambda: [
    (time.sleep(0.02), network.show(np.linalg.matrix_power(network.topology.W, k) @ np.arange(12.0))) for k in range(60)
]).start()]"""


def test_a_network_lives(lab, page):
    folder, address = lab
    notebook = Notebook(page, address, folder / "network.ipynb", NETWORK)
    notebook.run_all()
    widget, schedule = page.locator(".ifog-network").nth(0), page.locator(".ifog-network").nth(1)
    widget.wait_for()
    page.wait_for_function("() => document.querySelector('.ifog-sheet canvas').dataset.frames > 0")
    notebook.picture("network")

    before = frames(widget)
    notebook.ask(f"str({GOSSIP})")
    page.wait_for_timeout(1500)
    assert frames(widget) > before + 5
    notebook.until("not network._sender._thread")  # the saved picture is renewed then
    page.wait_for_timeout(1000)
    notebook.picture("network-agreeing")

    x, y = at_node(notebook, widget, 3)
    drag(page, (x, y), (x - 60, y - 40))
    notebook.until("network._places[3][0] < 0.95")

    widget.get_by_role("button", name="drag from node to node for an edge").click()
    drag(page, at_node(notebook, widget, 0), at_node(notebook, widget, 6))
    notebook.until("network.topology.messages == 26")
    assert notebook.ask("[bool(network.topology.W[0, 6] > 0), network.topology.doubly_stochastic]") == [True, True]
    assert "drawn" in widget.locator(".ifog-title").inner_text()
    box = widget.locator(".ifog-sheet").bounding_box()
    page.mouse.click(box["x"] + 30, box["y"] + 60)
    notebook.until("network.topology.n == 13")

    widget.get_by_role("button", name="click a node or an edge").click()
    page.mouse.click(*at_node(notebook, widget, 12))
    notebook.until("network.topology.n == 12")
    widget.get_by_label("layout").last.select_option("spring")
    notebook.until("network._layout == 'spring'")
    page.wait_for_timeout(800)
    a, b = at_node(notebook, widget, 0), at_node(notebook, widget, 6)
    widget.get_by_role("button", name="drag nodes; drag the background to pan").click()
    page.mouse.move((a[0] + b[0]) / 2, (a[1] + b[1]) / 2)
    page.wait_for_timeout(300)
    assert "W[6, 0]" in widget.locator(".ifog-tip").inner_text()
    notebook.picture("network-drawn")

    # with the keyboard: from node 1 to node 5
    canvas = widget.locator("canvas").first
    page.mouse.move(5, 5)
    canvas.focus()
    for key in ("Escape", "ArrowRight", "ArrowRight", "Enter", *["ArrowRight"] * 4, "Enter"):
        canvas.press(key)
    notebook.until("network.topology.W[1, 5] > 0")

    schedule.scroll_into_view_if_needed()
    schedule.get_by_role("button", name="next round").click()
    assert schedule.locator(".ifog-round").inner_text() == "round 1 (2 of 4)"
    schedule.get_by_role("button", name="play the rounds").click()
    page.wait_for_timeout(900)
    notebook.picture("schedule-playing")
    assert not schedule.locator(".ifog-round").inner_text().startswith("round 1 ")

    # the saved picture is renewed, for which JupyterLab makes a new view: the notebook stays where it is
    page.mouse.move(5, 5)
    page.locator(".ifog-network").nth(2).scroll_into_view_if_needed()
    page.wait_for_timeout(500)
    scroll = "() => document.querySelector('.jp-WindowedPanel-outer').scrollTop"
    place = page.evaluate(scroll)
    assert place > 300
    notebook.ask("str(last.show(np.random.default_rng(0).normal(size=900)))")
    notebook.until("not last._sender._thread")
    page.wait_for_timeout(1000)
    assert abs(page.evaluate(scroll) - place) < 5
    notebook.picture("network-900")

    notebook.theme("Dark")
    widget.get_by_role("button", name="larger type, for a lecture hall").click()
    page.wait_for_timeout(300)
    widget.scroll_into_view_if_needed()
    notebook.picture("network-dark-presentation")

    notebook.save()
    notebook.open()
    page.locator(".ifog-network").first.wait_for(timeout=30_000)
    page.wait_for_timeout(500)
    notebook.picture("network-reloaded")
    assert "drawn" in page.locator(".ifog-title").first.inner_text()
    assert page.locator(".ifog-network").count() == 3
    assert page.troubles == []


FOLLOWED = [
    "import ifog\nfrom ifog.widgets import Network",
    "run = ifog.run('gradient_tracking', 'least_squares', n=16, topology='ring', steps=10**9, lr=0.002, wait=False)\n"
    "network = Network(run, machines=4)\nnetwork",
    "network",
]


def test_a_run_is_seen_and_steered_in_its_network(lab, page):
    folder, address = lab
    notebook = Notebook(page, address, folder / "followed.ipynb", FOLLOWED)
    notebook.run_all()
    widgets = page.locator(".ifog-network")
    widgets.nth(1).wait_for()  # displayed twice
    widget = widgets.first
    before = frames(widget)
    page.wait_for_timeout(1000)
    assert frames(widget) > before + 10
    notebook.picture("network-of-a-run")
    assert widget.get_by_label("colour", exact=True).last.input_value() == "disagreement"
    widget.get_by_label("colour", exact=True).last.select_option("loss")
    notebook.until("network._colouring.what == 'loss'")

    widget.get_by_role("button", name="drag from node to node for an edge").click()
    drag(page, at_node(notebook, widget, 0), at_node(notebook, widget, 6))
    notebook.until("run.topology.messages == 34 and run.marks")
    page.get_by_text("metropolis(drawn)").nth(1).wait_for()  # both views show it
    notebook.ask("str(run.stop())")
    notebook.until("run.over")
    notebook.ask("str(network.close())")
    widgets.first.wait_for(state="detached")
    assert notebook.ask("list(network._bundle()[0])") == ["text/plain", "image/png"]
    assert page.troubles == []


CURVES = [
    "import ifog\nfrom ifog.widgets import Convergence",
    "def start(method, topology, **options):\n"
    "    return ifog.run(method, 'least_squares', n=16, topology=topology, steps=10**9, every=2, wait=False, **options)\n"
    "run = start('dgd', 'ring', lr=0.02)\n"
    "curves = Convergence(run)\ncurves",
    "'below'",
]


def points(page):
    """How many updates have been drawn."""
    return int(page.locator(".ifog-plot").first.get_attribute("data-updates"))


def test_curves_grow_bend_and_stay(lab, page):
    folder, address = lab
    notebook = Notebook(page, address, folder / "curves.ipynb", CURVES)
    notebook.run_all()
    plot = page.locator(".ifog-plot")
    plot.locator("canvas").wait_for()
    before, rows = points(page), notebook.ask("run.iteration")
    page.wait_for_timeout(1500)
    assert notebook.ask("run.iteration") > rows
    assert points(page) > before + 3

    notebook.ask("setattr(run, 'topology', 'exponential')")
    notebook.until("run.marks")
    page.wait_for_timeout(1200)
    notebook.ask("run.set(lr=0.005)")
    notebook.until("len(run.marks) == 2")
    page.wait_for_timeout(1000)
    notebook.picture("curves-live")
    notebook.ask("[run.stop(), curves.add(ifog.run('gradient_tracking', 'least_squares', n=16, topology='ring', steps=5000, "
                 "lr=0.02)), curves.add(start('dgd', 'ring', lr=9.0))][:0]")  # fmt: skip
    notebook.until("all(run.over for run in curves.runs)")
    legend = page.locator(".ifog-legend button")
    legend.nth(2).get_by_text("Diverged").wait_for()
    notebook.picture("curves-three")
    legend.nth(1).click()
    assert legend.nth(1).get_attribute("aria-pressed") == "true"
    page.locator("select[aria-label=against]").select_option("bytes")
    page.wait_for_timeout(300)
    notebook.picture("curves-one-alone")
    legend.nth(1).click()
    page.locator("select[aria-label=against]").select_option("iteration")

    notebook.theme("Dark")
    page.get_by_role("button", name="larger type, for a lecture hall").click()
    page.wait_for_timeout(300)
    notebook.picture("curves-dark-presentation")

    page.mouse.move(5, 5)
    page.evaluate("() => document.activeElement.blur()")
    notebook.until("not curves._stale")
    page.wait_for_timeout(500)
    notebook.save()
    stored = nbformat.read(notebook.path, 4)
    (output,) = stored.cells[1].outputs
    assert output.data["image/png"]
    assert "Diverged" in notebook.ask("curves.snapshot()")
    notebook.open()
    page.locator(".ifog-plot canvas").wait_for(timeout=30_000)
    assert legend.count() == 3
    notebook.picture("curves-reloaded")
    assert page.troubles == []


BARS = [
    "%load_ext ifog\nimport numpy as np, torch\nfrom ifog.learning import data, partition\nfrom ifog.widgets import Data",
    "bars = Data(data.digits()[0], n=8, alpha=0.1)\nbars",
    "partition(data.Labelled(torch.zeros(5000), np.arange(5000) % 100, [f'kind {i}' for i in range(100)]), 20, alpha=0.3)",
]


def test_samples_are_dealt_by_hand(lab, page):
    folder, address = lab
    notebook = Notebook(page, address, folder / "bars.ipynb", BARS)
    notebook.run_all()
    widget, many = page.locator(".ifog-data").nth(0), page.locator(".ifog-data").nth(1)
    many.wait_for()
    page.wait_for_function("() => document.querySelector('.ifog-data canvas').dataset.frames > 0")
    notebook.picture("data")
    before = notebook.ask("bars.partition.counts.tolist()")

    slider = widget.get_by_label("α of the Dirichlet shares")
    slider.focus()
    for _ in range(16):
        slider.press("ArrowRight")
    notebook.until("bars.partition.alpha == 10")
    assert "heterogeneity 0.1" in widget.inner_text()
    widget.get_by_role("button", name="deal again, with the next seed").click()
    notebook.until("bars.partition.seed == 1")
    widget.get_by_label("equal sizes").uncheck()
    notebook.until("len(set(bars.partition.sizes)) > 2")
    slider.press("Home")
    notebook.until("bars.partition.alpha == 0.01")
    page.wait_for_timeout(500)
    notebook.picture("data-unequal")
    nodes = widget.get_by_label("nodes", exact=True).last
    nodes.fill("2000")
    widget.get_by_role("alert").get_by_text("n=2000").wait_for()
    nodes.fill("8")
    notebook.until("bars.partition.n == 8 and not bars._note")
    widget.get_by_label("equal sizes").check()
    slider.fill("8")
    notebook.until("bars.partition.alpha == 0.1 and bars.partition.equal")
    notebook.ask("str(bars.deal(seed=0))")
    notebook.until(f"bars.partition.counts.tolist() == {before}")

    canvas = widget.locator("canvas")
    canvas.focus()
    for key in ("ArrowRight", "ArrowUp"):
        canvas.press(key)
    tip = widget.locator(".ifog-tip")
    assert tip.inner_text().startswith(f"node 0: {sum(before[0])} samples\nclass 0: {before[0][0]} (")
    assert canvas.get_attribute("aria-label").startswith("digits dealt to 8 nodes, Dirichlet shares with α = 0.1")
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + 0.55 * box["width"], box["y"] + 0.5 * box["height"])
    page.wait_for_timeout(200)
    assert tip.inner_text().startswith("node 3")
    notebook.picture("data-hover")
    widget.get_by_role("button", name="only class 3").click()
    notebook.picture("data-one-class")
    many.scroll_into_view_if_needed()
    many.get_by_label("class", exact=True).select_option("kind 70")
    page.wait_for_timeout(200)
    notebook.picture("data-100-classes")

    notebook.theme("Dark")
    widget.get_by_role("button", name="larger type, for a lecture hall").click()
    widget.get_by_role("button", name="shares instead of numbers of samples").click()
    widget.get_by_label("how samples are dealt").select_option("by label")
    notebook.until("bars.partition.shards == 2")
    widget.scroll_into_view_if_needed()
    page.wait_for_timeout(500)
    notebook.picture("data-dark-presentation")
    assert page.troubles == []


RACE = [
    "import ifog\nfrom ifog.widgets import Race",
    "race = Race([('dgd', 'ring'), ('extra', 'complete'), ('gradient_tracking', 'ring')], problem='least_squares', n=16,\n"
    "            steps=10**9, lr=0.05, every=4, pace=400)\nrace",
]


def test_a_race_is_run_by_another_measure_and_played_again(lab, page):
    folder, address = lab
    notebook = Notebook(page, address, folder / "race.ipynb", RACE)
    notebook.run_all()
    race = page.locator(".ifog-race")
    lane, first = race.locator(".ifog-lane"), race.locator(".ifog-lane.leads.there .ifog-runner")
    first.get_by_text("extra on complete(16)").wait_for()
    race.get_by_label("what is counted").select_option("bytes")
    first.get_by_text("gradient_tracking on ring(16)").wait_for()  # more iterations, but to two neighbours only
    race.get_by_role("button", name="stop all runs").click()
    notebook.until("all(run.over for run in race.runs)")
    notebook.picture("race")

    clock = race.get_by_label("how much of it is shown")
    assert clock.input_value() == "1000"
    race.get_by_role("button", name="play the race").click()
    shown = "+document.querySelector('.ifog-race [type=range]').value"
    page.wait_for_function(f"() => {shown} > 50 && {shown} < 1000")  # at first it still stands at its end
    race.get_by_role("button", name="play the race").click()
    assert 50 < int(clock.input_value()) < 1000
    assert lane.locator(".ifog-way").evaluate_all("bars => bars.some((bar) => parseFloat(bar.style.width) < 99)")
    notebook.picture("race-played")
    notebook.theme("Dark")
    race.get_by_role("button", name="larger type, for a lecture hall").click()
    page.wait_for_timeout(300)
    notebook.picture("race-dark-presentation")
    assert page.troubles == []


def test_without_a_kernel_the_picture_is_shown(lab, page):
    folder, address = lab
    data, metadata = Network(ring(12), values=range(12))._repr_mimebundle_()
    output = nbformat.v4.new_output("display_data", data=data, metadata=metadata)
    notebook = Notebook(page, address, folder / "saved.ipynb", ["'a saved picture'"], outputs=[output])
    picture = page.locator(".jp-OutputArea-output img")
    picture.wait_for()
    notebook.save()
    stored = nbformat.read(notebook.path, 4)
    page_of, _ = nbconvert.HTMLExporter().from_notebook_node(stored)
    assert f"data:image/png;base64,{data['image/png']}" in page_of.replace("\n", "")
    _, files = nbconvert.LatexExporter().from_notebook_node(stored)
    assert [base64.b64encode(content).decode() for content in files["outputs"].values()] == [data["image/png"]]
    assert picture.evaluate("image => [image.naturalWidth, image.width]") == [1320, 660]
    notebook.picture("saved")
