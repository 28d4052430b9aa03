"""The figures of the chapters: they draw whatever their controls say, and what they claim is so."""

from xml.etree import ElementTree

import numpy as np
import pytest

from ifog import topology as t
from ifog.course import averaging, ink, learning_the_bias, parking
from ifog.course.figures import _Walk

FIGURES = {"averaging": averaging, "ink": ink, "parking": parking, "learning_the_bias": learning_the_bias}


@pytest.mark.parametrize("name", FIGURES)
def test_every_control_can_be_turned_to_both_of_its_ends_and_to_every_choice(name):
    figure = FIGURES[name]()
    start = figure.values
    for knob, positions in figure._positions.items():
        ends = positions if isinstance(positions[0], str) else [positions[0], positions[-1]]
        for value in ends:
            figure.set(**{**start, knob: value})
            assert "<polyline" in figure.snapshot(), (knob, value, figure.snapshot())


def test_the_dots_of_all_nodes_can_be_dragged_and_go_where_the_hand_goes():
    def dots(jolt):
        figure.set(node=3, jolt=jolt)
        return [dot for dot in ElementTree.fromstring(figure._svg).iter() if dot.get("data-drag") == "jolt"]

    figure = averaging(n=8)
    low, free, high = dots(-10.0), dots(0.0), dots(10.0)
    assert [dot.get("data-set") for dot in free] == [f"node={i}" for i in range(8)]
    begin, end = (float(free[3].get(name)) for name in ("data-from", "data-to"))
    at = [float(each[3].get("cy")) for each in (low, free, high)]
    assert at[2] - at[0] == pytest.approx(end - begin, abs=0.3)
    assert at[1] == pytest.approx((at[0] + at[2]) / 2, abs=0.3)
    assert [dot.get("cy") for dot in low[4:]] == [dot.get("cy") for dot in high[4:]]


def test_a_method_that_is_refused_says_so_in_the_figure():
    figure = learning_the_bias()
    figure.set(method="d2", smallest_eigenvalue=-0.8)
    assert "d2 on custom: it needs" in figure.snapshot()


@pytest.mark.parametrize(("method", "form"), [("dgd", "awc"), ("atc", "atc")])
def test_the_dots_park_where_the_rings_have_been_drawn_before(method, form):
    walk = _Walk(method, t.ring(8), alpha=0.1, heterogeneity=1.0)
    limit = walk.problem.limit(t.ring(8).W, 0.1, form=form).numpy() - walk.star
    assert np.allclose(walk.path[-1], limit, atol=1e-9)
    assert walk.error[-1] > 0.1


@pytest.mark.parametrize("method", ["extra", "exact_diffusion", "d2"])
def test_exact_methods_walk_into_the_star_and_learn_what_pulls_them_away(method):
    walk = _Walk(method, t.lazy(t.ring(8)), alpha=0.1, heterogeneity=1.0)
    assert walk.error[-1] < 1e-12
    assert np.allclose(walk.learnt[-1] / 0.1, -walk.gradients, atol=1e-9)
