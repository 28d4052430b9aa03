"""Least squares with known numbers, and the limits of gradient descent with constant steps on it."""

import numpy as np
import pytest
import torch

from ifog import problems
from ifog import topology as t
from ifog.errors import ProblemError

LS16 = {"n": 16, "d": 10, "samples": 30, "heterogeneity": 1.0, "noise": 0.1, "seed": 0}
LS4 = {"n": 4, "d": 3, "samples": 10, "heterogeneity": 1.0, "noise": 0.1, "seed": 1}


@pytest.mark.parametrize(
    ("options", "L", "mu", "b2", "optimum"),
    [
        (LS16, 2.71378335, 0.74404303, 10.65351444, [0.1720887, 0.06017359, 0.68427434]),
        (LS4, 2.16944838, 0.63512170, 1.43094456, [0.31865858, 1.60054685, 0.28016977]),
    ],
    ids=["LS16", "LS4"],
)
def test_the_constants_are_the_known_ones(options, L, mu, b2, optimum):
    problem = problems.least_squares(**options)
    assert pytest.approx(L, abs=5e-9) == problem.L
    assert problem.mu == pytest.approx(mu, abs=5e-9)
    assert problem.heterogeneity == pytest.approx(b2, abs=5e-9)
    assert problem.optimum[:3].numpy() == pytest.approx(optimum, abs=5e-9)


LIMITS = [
    (LS16, t.ring, 0.02, "atc", 0.15993043),
    (LS16, t.ring, 0.02, "awc", 0.17109205),
    (LS16, t.exponential, 0.02, "atc", 0.01467879),
    (LS16, t.exponential, 0.02, "awc", 0.03114683),
    (LS16, t.ring, 0.01, "atc", 0.08503926),
    (LS16, t.ring, 0.01, "awc", 0.09116131),
    (LS16, t.exponential, 0.01, "atc", 0.00735862),
    (LS16, t.exponential, 0.01, "awc", 0.01569054),
    (LS4, t.ring, 0.05, "atc", 0.01267875),
    (LS4, t.ring, 0.05, "awc", 0.03704954),
]


@pytest.mark.parametrize(("options", "graph", "aL", "form", "err"), LIMITS)
def test_the_limits_are_the_known_ones(options, graph, aL, form, err):
    problem = problems.least_squares(**options)
    limit = problem.limit(graph(problem.n).W, aL / problem.L, form)
    assert float((limit - problem.optimum).norm()) / problem.n**0.5 == pytest.approx(err, abs=1e-8)


@pytest.mark.parametrize("form", ["atc", "awc"])
def test_gradient_descent_ends_at_the_limit(form):
    problem, nodes = problems.least_squares(**LS4), range(4)
    W, lr = torch.tensor(t.ring(4).W), 0.2 / problem.L
    x = problem.start(nodes)
    for _ in range(1000):
        x = W @ (x - lr * problem.gradient(x, nodes)) if form == "atc" else W @ x - lr * problem.gradient(x, nodes)
    torch.testing.assert_close(x, problem.limit(W, lr, form), rtol=0, atol=1e-13)


def test_with_perfect_averaging_only_adapt_then_combine_has_no_bias():
    problem = problems.least_squares(**LS16)
    J = np.full((16, 16), 1 / 16)
    assert (problem.limit(J, 0.05 / problem.L, "atc") - problem.optimum).norm() < 1e-13
    assert float((problem.limit(J, 0.05 / problem.L, "awc") - problem.optimum).norm()) / 4 == pytest.approx(0.0594, abs=5e-5)


def test_least_squares_has_the_closed_form_of_all_rows_together():
    problem = problems.least_squares(5, d=4, samples=7)
    rows, targets = problem._data["A"].reshape(-1, 4), problem._data["b"].reshape(-1)
    known, residual, *_ = np.linalg.lstsq(rows.numpy(), targets.numpy())
    assert problem.optimum.numpy() == pytest.approx(known, abs=1e-13)
    assert problem.smallest == pytest.approx(residual[0] / (2 * 35), rel=1e-12)


def test_nodes_that_agree_have_no_heterogeneity():
    assert problems.least_squares(16, heterogeneity=0, noise=0).heterogeneity < 1e-28


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"W": np.eye(3)}, r"W has shape \(3, 3\).*\(4, 4\)"),
        ({"form": "cta"}, r"form='cta'.*'atc'.*'awc'"),
    ],
)
def test_a_limit_that_cannot_be_is_refused(options, says):
    with pytest.raises(ProblemError, match=says):
        problems.least_squares(**LS4).limit(**{"W": t.ring(4).W, "lr": 0.1} | options)
    with pytest.raises(ProblemError, match=r"limit.*all 4 nodes.*taken"):
        problems.least_squares(**LS4).take([0]).limit(t.ring(4).W, 0.1)
