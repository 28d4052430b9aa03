"""The pictures of live widgets in the README, taken in a real JupyterLab.

From the repository root, with playwright and pillow in the environment (``pip install pillow``) and a chromium::

    python docs/pictures.py              # docs/live.webp, a moving picture, and docs/bench.png

A run is watched, and another topology given to it while it works. It is paused for each picture, so that the animation goes on
evenly on any machine.
"""

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "widgets"))

from lab import Notebook, chromium, jupyter_lab  # noqa: E402

CELLS = [
    "import ifog, torch\n"
    "from ifog.widgets import Convergence, Network\n"
    "problem, start = ifog.problems.averaging(36, d=40_000), torch.randn(36, 1).expand(36, 40_000)\n"
    "run = ifog.run('consensus', problem, topology='ring', start=start, steps=10**6, every=1, wait=False, progress=False)\n"
    "Network(run)",
    "Convergence(run, y='disagreement')",
    "run.topology = 'grid'",
    "run.topology = 'exponential'",
]
SCENES = [(None, 12, 16), (2, 9, 4), (3, 7, 2)]
"""The cell that begins a scene, its pictures, and the iterations from one to the next."""
WIDTH, SECONDS, REST = 880, 0.16, 3.0  # of the animation, between two pictures, and after the last


def picture(page) -> Image.Image:
    """What is seen of the notebook now."""
    page.evaluate("() => { document.querySelector('.jp-WindowedPanel-outer').scrollTop = 0; }")
    taken = Image.open(io.BytesIO(page.screenshot(animations="disabled"))).convert("RGB")
    left, top = 34, 90  # without JupyterLab's bars
    cut = taken.crop((left, top, taken.width - 34, taken.height - 26))
    return cut.resize((WIDTH, round(cut.height * WIDTH / cut.width)), Image.Resampling.LANCZOS)


def animate(notebook: Notebook) -> list[Image.Image]:
    """Run all scenes; a picture every so many iterations."""
    page, pictures = notebook.page, []
    for cell, count, iterations in SCENES:
        if cell is not None:
            notebook.run_cell(cell)
        for _ in range(count):
            reached = notebook.ask("run.iteration") + iterations
            notebook.ask("str(run.resume())")
            notebook.until(f"run.iteration >= {reached}", 120)
            notebook.ask("str(run.pause())")
            notebook.until("run.status == 'paused'", 60)
            page.wait_for_timeout(700)  # for the last messages, and the colours on their way
            pictures.append(picture(page))
    return pictures


BENCH = ["from ifog.widgets import LabBench\nbench = LabBench('dgd', topology='ring', n=16)\nbench"]


def swap_on_the_bench(notebook: Notebook) -> None:
    """The lab bench, with a run whose topology is swapped while its curve falls."""
    notebook.run_all()
    bench = notebook.page.locator(".ifog-bench")
    bench.get_by_role("button", name="Start", exact=True).click()
    notebook.until("bench.run and bench.run.iteration > 60")
    bench.get_by_label("topology", exact=True).select_option("exponential")
    notebook.until("bench.run.iteration > 120")
    notebook.page.mouse.move(5, 5)
    bench.screenshot(path=ROOT / "docs" / "bench.png")
    notebook.ask("str(bench.close())")


def main() -> None:
    """Take the pictures, and write them."""
    with tempfile.TemporaryDirectory() as folder, jupyter_lab(Path(folder)) as address, chromium() as page:
        page.set_viewport_size({"width": 1180, "height": 1000})
        swap_on_the_bench(Notebook(page, address, Path(folder) / "bench.ipynb", BENCH))
    with tempfile.TemporaryDirectory() as folder, jupyter_lab(Path(folder)) as address, chromium() as page:
        page.set_viewport_size({"width": 1140, "height": 1300})
        notebook = Notebook(page, address, Path(folder) / "live.ipynb", CELLS)
        for cell in (0, 1):
            notebook.run_cell(cell)
        page.locator(".ifog-plot canvas").wait_for(timeout=60_000)
        page.locator(".ifog-network canvas").first.wait_for()
        notebook.ask("str(run.pause())")
        pictures = animate(notebook)
        notebook.ask("str(run.stop())")
    times = [int(1000 * SECONDS)] * (len(pictures) - 1) + [int(1000 * REST)]
    first, *others = pictures
    first.save(ROOT / "docs" / "live.webp", save_all=True, append_images=others, duration=times, loop=0, quality=60, method=6)


if __name__ == "__main__":
    main()
