"""The chapters of the course as a student opens them: figures live and answer to sliders, predictions and exercises answer."""

import shutil

import nbformat
import pytest
from lab import ROOT, Notebook, chromium, jupyter_lab, skip_without_a_browser

pytestmark = pytest.mark.slow

SLIDERS = {"03_averaging": "n", "04_graphs": "n", "07_descent": "step", "08_exact": "step"}


@pytest.fixture(scope="module")
def opened(tmp_path_factory, ipython):
    """A JupyterLab with copies of the chapters, and a page that shows it."""
    skip_without_a_browser()
    folder = tmp_path_factory.mktemp("course")
    shutil.copytree(ROOT / "tutorials", folder / "tutorials")
    with jupyter_lab(folder) as address, chromium() as page:
        yield folder / "tutorials", address, page


@pytest.fixture
def chapter(opened):
    """Opens a chapter, and finds its cells by how they begin."""
    folder, address, page = opened
    page.troubles.clear()

    def open_chapter(name):
        notebook = Notebook(page, address, folder / f"{name}.ipynb")
        cells = nbformat.read(folder / f"{name}.ipynb", 4).cells

        def run(begin):
            (k,) = [k for k, cell in enumerate(cells) if cell.cell_type == "code" and cell.source.startswith(begin)]
            notebook.run_cell(k)

        notebook.run = run
        notebook.figure = [cell.source for cell in cells if cell.cell_type == "code"][1]
        return notebook

    yield open_chapter
    assert page.troubles == []


@pytest.mark.parametrize("name", SLIDERS)
def test_the_figure_of_a_chapter_answers_to_its_slider_and_leaves_the_one_before_behind(chapter, name):
    notebook = chapter(name)
    page = notebook.page
    notebook.run("%load_ext ifog")
    notebook.run(notebook.figure)
    page.locator(".ifog-picture svg").first.wait_for(timeout=60_000)
    before = page.locator(".ifog-picture").inner_html()
    assert page.locator(".ghost-before").count() == 0

    slider = page.get_by_role("slider", name=SLIDERS[name], exact=True)
    slider.focus()
    at = int(slider.input_value())
    for _ in range(5):
        slider.press("ArrowRight")
    assert int(slider.input_value()) == at + 5
    page.wait_for_function("(before) => document.querySelector('.ifog-picture').innerHTML != before", arg=before)
    page.locator(".ghost-before polyline").first.wait_for(state="attached")
    page.wait_for_timeout(500)
    notebook.picture(f"chapter-{name}")


def test_a_dot_that_is_dragged_takes_the_curve_with_it(opened):
    folder, address, page = opened
    cells = ["from ifog.course import averaging\nshown = averaging()\nshown"]
    notebook = Notebook(page, address, folder / "dragged.ipynb", cells)
    notebook.run_all()
    dot = page.locator(".ifog-picture [data-drag]").nth(4)
    dot.wait_for(timeout=60_000)
    dot.scroll_into_view_if_needed()
    box = dot.bounding_box()
    x, y = box["x"] + box["width"] / 2 + 2, box["y"] + box["height"] / 2 + 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 90, y - 30, steps=12)  # to the side, too: past other dots
    notebook.until("shown.values['node'] == 4 and shown.values['jolt'] > 4")
    page.wait_for_function("() => document.querySelectorAll('[data-drag][fill=\"#D55E00\"]').length == 1")
    assert abs(dot.bounding_box()["y"] - (box["y"] - 30)) < 3  # under the hand
    notebook.picture("course-dragged")
    page.mouse.up()
    page.mouse.move(x, y + 60, steps=3)
    page.get_by_label("topology").select_option("star")
    notebook.until("shown.values['topology'] == 'star'")
    assert notebook.ask("shown.values['jolt']") > 4

    def touch(kind, *points):
        finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y} for x, y in points]})

    finger = page.context.new_cdp_session(page)
    box = page.locator(".ifog-picture [data-drag]").nth(9).bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    touch("touchStart", (x, y))
    for k in range(1, 21):
        touch("touchMove", (x, y - 2 * k))
    touch("touchEnd")
    notebook.until("shown.values['node'] == 9 and shown.values['jolt'] > 7")  # it has not scrolled the page
    assert page.troubles == []


def test_the_chapter_about_engines_opens_with_a_tile_for_each(chapter, engines):
    notebook = chapter("00_engines")
    notebook.run("%load_ext ifog")
    notebook.run(notebook.figure)
    tiles = notebook.page.locator(".ifog-tile")
    tiles.nth(3).wait_for(timeout=60_000)
    assert tiles.count() == len(engines)
    notebook.page.wait_for_timeout(1000)
    notebook.picture("chapter-00_engines")


def test_a_prediction_is_typed_and_compared_and_a_wrong_answer_gets_its_hint(chapter):
    notebook = chapter("03_averaging")
    page = notebook.page
    for begin in ("%load_ext ifog", "ring = t.ring", "x = start", 'guess = predict("After how many'):
        notebook.run(begin)
    field = page.get_by_placeholder("a number")
    field.fill("20")
    field.press("Enter")
    page.get_by_text("noted: now run the next cell").wait_for()
    notebook.run("x, took = start, 0")
    page.get_by_text("You said 20, and it is").wait_for()
    page.get_by_text("You said 20, and it is").scroll_into_view_if_needed()
    notebook.picture("course-prediction")

    notebook.ask("str(exec('ring_rho = lambda n: 1.0'))")
    notebook.run('check("3.1"')
    verdict = page.locator(".jp-OutputArea-output", has_text="Which is the next one?")
    verdict.wait_for()
    verdict.scroll_into_view_if_needed()
    notebook.picture("course-hint")
