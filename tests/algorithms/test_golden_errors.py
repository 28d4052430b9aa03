"""The test problem itself, and methods on it, to numbers that were worked out independently."""

import numpy as np
import pytest
import torch
from method_claims import atc, awc
from quadratics import LeastSquares, iterate, ls4, ls16

from ifog import topology as t

RING, EXPONENTIAL = t.ring(16), t.exponential(16)


def test_sixteen_nodes():
    problem = ls16()
    assert [problem.L, problem.mu, problem.b2] == pytest.approx([2.71378335, 0.74404303, 10.65351444], abs=1e-8)
    np.testing.assert_allclose(problem.optimum[:3], [0.1720887, 0.06017359, 0.68427434], atol=1e-8)


def test_four_nodes():
    problem = ls4()
    assert [problem.L, problem.mu, problem.b2] == pytest.approx([2.16944838, 0.63512170, 1.43094456], abs=1e-8)
    np.testing.assert_allclose(problem.optimum, [0.31865858, 1.60054685, 0.28016977], atol=1e-8)


def test_both_gradients_are_the_same_and_vanish_at_the_optimum():
    problem = ls16()
    x = torch.from_numpy(np.tile(problem.optimum, (16, 1)))
    nodes = range(16)
    torch.testing.assert_close(problem.gradient(x, nodes), problem.gradient_by_rows(x, nodes))
    np.testing.assert_allclose(problem.gradient(x, nodes), problem.G(x.numpy()), atol=1e-13)
    assert abs(problem.G(x.numpy()).sum(0)).max() < 1e-13


@pytest.mark.parametrize(
    ("method", "limit", "topology", "err"),
    [
        ("atc", atc, RING, {0.02: 0.15993043, 0.01: 0.08503926}),
        ("dgd", awc, RING, {0.02: 0.17109205, 0.01: 0.09116131}),
        ("atc", atc, EXPONENTIAL, {0.02: 0.01467879, 0.01: 0.00735862}),
        ("dgd", awc, EXPONENTIAL, {0.02: 0.03114683, 0.01: 0.01569054}),
    ],
)
def test_descent_ends_as_far_from_the_optimum_as_worked_out(method, limit, topology, err):
    problem = ls16()
    for aL, expected in err.items():
        lr = aL / problem.L
        target = limit(problem, topology.W, lr)
        assert problem.error(target) == pytest.approx(expected, abs=1e-8)
        assert problem.error(iterate(method, problem, topology, int(100 / aL), lr=lr), at=target) < 1e-9


def test_descent_on_four_nodes():
    problem, lr = ls4(), 0.05 / ls4().L
    assert problem.error(iterate("atc", problem, t.ring(4), 2500, lr=lr)) == pytest.approx(0.01267875, abs=1e-8)
    assert problem.error(iterate("dgd", problem, t.ring(4), 2500, lr=lr)) == pytest.approx(0.03704954, abs=1e-8)


def test_with_all_for_neighbours_atc_has_no_bias_and_awc_has():
    problem, lr = ls16(), 0.05 / ls16().L
    assert problem.error(iterate("atc", problem, t.complete(16), 2500, lr=lr)) < 1e-12
    assert problem.error(iterate("dgd", problem, t.complete(16), 2500, lr=lr)) == pytest.approx(0.0594, abs=5e-5)


def test_where_nodes_do_not_differ_there_is_no_bias():
    problem = LeastSquares(16, 10, 30, 0.0, 0.0, 0)
    for method in ("atc", "dgd", "cta", "dmsgd"):
        assert problem.error(iterate(method, problem, RING, 4000, lr=0.05 / problem.L)) < 1e-10


def test_steps_that_shrink_lead_to_the_optimum():
    problem = ls16()

    def run(steps):
        def shrink(k, x, s):
            return {"lr": 0.5 / problem.L / (k + 2) ** 0.5}

        return problem.error(iterate("atc", problem, RING, steps, lr=0.5 / problem.L, each=shrink))

    assert run(1000) == pytest.approx(0.131, abs=5e-4)
    assert run(10_000) == pytest.approx(0.0440, abs=5e-5)


# ---- periodic averaging, at the moments of averaging, aL = 0.05 on the ring -----------------------------------------------


@pytest.mark.parametrize(("H", "err"), [(2, 0.0022), (4, 0.0058), (8, 0.0111), (16, 0.0181), (48, 0.0317)])
def test_periodic_averaging_shrinks_the_bias_of_gossip(H, err):
    problem = ls16()
    assert problem.error(iterate("gossip_pga", problem, RING, 960, H=H, lr=0.05 / problem.L)) == pytest.approx(err, abs=5e-5)


@pytest.mark.parametrize(("H", "err"), [(2, 0.0053), (4, 0.0157), (8, 0.0358), (16, 0.0735), (48, 0.193)])
def test_local_steps_drift(H, err):
    problem = ls16()
    assert problem.error(iterate("local_sgd", problem, RING, 960, H=H, lr=0.05 / problem.L)) == pytest.approx(err, abs=5e-4)


# ---- how large a step may be, for equal Hessians ----------------------------------------------------------------------


@pytest.mark.parametrize("topology", [t.ring(16), t.star(8), t.lazy(t.ring(16))], ids=lambda graph: graph.label)
@pytest.mark.parametrize(
    ("method", "limit"),
    [
        ("dgd", lambda smallest: 1 + smallest),
        ("atc", lambda smallest: 2),
        ("exact_diffusion", lambda smallest: 2),
        ("extra", lambda smallest: (5 + 3 * smallest) / 4),
        ("diging", lambda smallest: (1 + smallest) ** 2 / 2),
    ],
)
def test_the_largest_stable_step_is_that_of_theory(method, limit, topology):
    n = topology.n
    problem = LeastSquares.of(np.ones((n, 1, 1)), np.zeros((n, 1)))
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((n, 1)))
    largest = limit(topology.smallest_eigenvalue)

    def size(lr):
        return float(iterate(method, problem, topology, 2000, x=x, lr=lr).abs().max())

    assert size(0.99 * largest) < float(x.abs().max())
    assert size(1.01 * largest) > 100
