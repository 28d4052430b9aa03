"""A chapter of the course as a student opens it: its figure lives, its slider draws anew, and an exercise is answered."""

import nbformat
import pytest
from lab import ROOT, Notebook, chromium, jupyter_lab, skip_without_a_browser

pytestmark = pytest.mark.slow


def test_the_figure_of_a_chapter_answers_to_its_slider_and_leaves_the_one_before_behind(tmp_path):
    skip_without_a_browser()
    chapter = nbformat.read(ROOT / "tutorials" / "03_averaging.ipynb", 4)
    setup, figure = [cell.source for cell in chapter.cells if cell.cell_type == "code"][:2]
    wrong = "def ring_rho(n):\n    return 1.0\n\n\ncheck('3.1', ring_rho)"
    with jupyter_lab(tmp_path) as address, chromium() as page:
        notebook = Notebook(page, address, tmp_path / "chapter.ipynb", [setup, f"shown = {figure}\nshown", wrong])
        notebook.run_all()
        picture = page.locator(".ifog-playground .ifog-picture")
        picture.locator("svg image").first.wait_for()
        before = picture.inner_html()
        assert page.locator(".ghost-before").count() == 0

        slider = page.get_by_role("slider", name="n", exact=True)
        slider.focus()
        for _ in range(5):
            slider.press("ArrowRight")
        notebook.until("shown.values['n'] == 21")
        page.wait_for_function("(before) => document.querySelector('.ifog-picture').innerHTML != before", arg=before)
        page.locator(".ghost-before polyline").first.wait_for()
        notebook.picture("course-slider")
        page.get_by_label("topology").select_option("star")
        notebook.until("shown.values['topology'] == 'star'")

        dot = picture.locator("[data-drag]").nth(4)
        dot.scroll_into_view_if_needed()
        box = dot.bounding_box()
        x, y = box["x"] + box["width"] / 2 + 2, box["y"] + box["height"] / 2 + 2
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + 90, y - 30, steps=12)  # to the side, too: past other dots
        notebook.until("shown.values['node'] == 4 and shown.values['jolt'] > 4")
        page.wait_for_function("() => document.querySelectorAll('[data-drag][fill=\"#D55E00\"]').length == 1")
        after = dot.bounding_box()
        assert abs(after["y"] - (box["y"] - 30)) < 3  # under the hand
        notebook.picture("course-dragged")
        page.mouse.up()
        page.mouse.move(x, y + 60, steps=3)
        page.get_by_label("topology").select_option("ring")
        notebook.until("shown.values['topology'] == 'ring'")
        assert notebook.ask("shown.values['jolt']") > 4

        verdict = page.locator(".jp-OutputArea-output", has_text="3.1")
        assert "Which is the next one?" in verdict.inner_text()
        verdict.scroll_into_view_if_needed()
        notebook.picture("course-hint")
        assert page.troubles == []
