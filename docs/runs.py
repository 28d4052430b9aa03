"""A picture in the README: a topology swapped while a run works, and one slow node.

From the repository root::

    python docs/runs.py runs.html && python docs/picture.py runs.html docs/runs.png 790
"""

import sys
import time
from pathlib import Path

import ifog


def swapped() -> ifog.Run:
    """Descent on a ring, whose topology and step are changed while it runs."""
    run = ifog.run("dgd", "least_squares", n=16, topology="ring", steps=10**9, lr=0.02, every=2, wait=False)
    for wish in (lambda: setattr(run, "topology", "exponential"), lambda: run.set(lr=0.005), run.stop):
        reached = run.iteration + 1500
        while run.iteration < reached:
            time.sleep(0.001)
        wish()
    return run.wait()


def one_slow_node() -> ifog.experiment.Comparison:
    """One of 16 nodes is ten times slower: who waits for it, and who does not."""
    problem = ifog.problems.least_squares(16, heterogeneity=0.1)
    methods = [("async_gradient_push", "ring"), ("ad_psgd", "ring"), ("dgd", "ring"), ("allreduce_sgd", "ring")]
    return ifog.compare(methods, problem=problem, steps=600, lr=0.02, speeds={0: 0.1}, every=2)


def main(page: Path) -> None:
    """Write the page."""
    left = swapped().figure().update_layout(title="Swapped while it runs", margin_t=60)
    right = one_slow_node().figure(x="simulated").update_layout(title="One node of 16 is ten times slower", margin_t=90)
    right.update_xaxes(range=[0, 1500]).update_yaxes(range=[-2, 0.6])
    parts = [
        figure.update_layout(width=1160, height=390).to_html(
            full_html=False, include_plotlyjs=figure is left, config={"displayModeBar": False}
        )
        for figure in (left, right)
    ]
    page.write_text(f'<!doctype html><meta charset="utf-8"><body style="margin:8px">{"".join(parts)}')


if __name__ == "__main__":
    main(Path(sys.argv[1]))
