"""Push-sum and what is built on it: mass, directed graphs, messages that are late."""

import numpy as np
import pytest
import torch
from method_claims import directed
from quadratics import LeastSquares, iterate, ls16

from ifog import topology as t

GRAPH = directed(16)


@pytest.mark.parametrize("name", ["push_sum", "sgp", "subgradient_push", "push_diging"])
@pytest.mark.parametrize("topology", [GRAPH, t.push(t.star(16)), t.one_peer_exponential(16)], ids=lambda graph: graph.label)
def test_the_weights_sum_to_n_at_every_moment(name, topology):
    problem, lr = ls16(), {} if name == "push_sum" else {"lr": 0.01 / ls16().L}

    def mass(k, x, s):
        assert float(s.w.sum()) == pytest.approx(16, abs=1e-12)
        assert float(s.w.min()) > 0

    iterate(name, problem, topology, 100, each=mass, **lr)


def test_the_weighted_sum_is_kept():
    problem = ls16()
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((16, 10)))

    def total(k, z, s):
        torch.testing.assert_close((s.w * z).sum(0), x.sum(0), rtol=0, atol=1e-12)

    iterate("push_sum", problem, GRAPH, 50, x=x, each=total)


def test_pulling_on_a_directed_graph_ends_elsewhere_but_push_sum_at_the_mean():
    start = np.random.default_rng(0).standard_normal((16, 10))
    pull = t.uniform(GRAPH)
    assert abs(np.linalg.matrix_power(pull.W, 500) @ start - start.mean(0)).max() > 0.05
    x = iterate("push_sum", ls16(), GRAPH, 300, x=torch.from_numpy(start))
    np.testing.assert_allclose(x, np.tile(start.mean(0), (16, 1)), rtol=0, atol=1e-13)


@pytest.mark.parametrize("name", ["sgp", "subgradient_push"])
def test_gradient_push_comes_to_the_optimum_of_all_equally_in_proportion_to_the_step(name):
    problem = ls16()
    errors = [
        problem.error(iterate(name, problem, GRAPH, steps, lr=aL / problem.L)) for aL, steps in ((0.02, 2500), (0.01, 5000))
    ]
    assert errors[0] / errors[1] == pytest.approx(2, abs=0.05)
    assert errors[0] < 0.05


def test_without_the_weights_it_would_end_far_away():
    problem, C = ls16(), GRAPH.W
    x = np.zeros((16, 10))
    for _ in range(3000):
        x = C @ (x - 0.01 / problem.L * problem.G(x))
    assert problem.error(x) > 10 * problem.error(iterate("sgp", problem, GRAPH, 3000, lr=0.01 / problem.L))


def test_push_diging_is_exact_on_changing_graphs_whose_rows_never_sum_to_one():
    problem = ls16()
    rng = np.random.default_rng(1)
    graphs = []
    for k in range(4):
        sends = np.roll(np.eye(16), 2**k, axis=0) + (rng.random((16, 16)) < 0.05)
        np.fill_diagonal(sends, 0)
        graphs.append(t.push((sends > 0).astype(float), connected=False))
    schedule = t.schedule(graphs)
    assert not any(graph.row_stochastic for graph in graphs)
    assert problem.error(iterate("push_diging", problem, schedule, 2500, lr=0.1 / problem.L)) < 1e-11


# ---- late messages ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tau", [0, 1, 2, 4])
def test_what_is_under_way_is_not_lost_and_settles_at_its_share(tau):
    topology, own = t.exponential(16), 1 / 5

    seen = {}

    def mass(k, x, s):
        assert float(s.w.sum() + s.ws.sum()) == pytest.approx(16, abs=1e-12)
        seen["w"] = s.w

    iterate("overlap_sgp", ls16(), topology, 1500, lr=0.0, tau=tau, each=mass)
    assert float(seen["w"].sum()) / 16 == pytest.approx(1 / (1 + tau * (1 - own)), abs=1e-12)


@pytest.mark.parametrize(("tau", "err"), [(0, 0.0074), (1, 0.0132), (2, 0.0191), (4, 0.0307)])
def test_late_messages_act_like_a_larger_step(tau, err):
    problem = ls16()
    x = iterate("overlap_sgp", problem, t.exponential(16), 4000, lr=0.01 / problem.L, tau=tau)
    assert problem.error(x) == pytest.approx(err, abs=1e-4)


@pytest.mark.parametrize("tau", [1, 3])
def test_without_gradients_late_messages_still_average(tau):
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((16, 10)))
    z = iterate("overlap_sgp", ls16(), GRAPH, 1000, lr=0, tau=tau, x=x)
    np.testing.assert_allclose(z, np.tile(x.mean(0), (16, 1)), rtol=0, atol=1e-12)


# ---- two buffers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 3, 5, 6, 7, 10, 12, 17, 33])
def test_two_buffers_average_exactly_after_one_period(n):
    topology = t.ceca(n)
    problem = LeastSquares.of(np.ones((n, 1, 1)), np.zeros((n, 1)))
    x = torch.from_numpy(np.random.default_rng(n).standard_normal((n, 1)))
    mean = iterate("ceca_consensus", problem, topology, (n - 1).bit_length(), x=x)
    torch.testing.assert_close(mean, x.mean(0).expand(n, 1), rtol=0, atol=1e-14)


@pytest.mark.parametrize("n", [5, 8, 17])
def test_descent_on_two_buffers_as_the_paper_writes_it(n):
    problem = LeastSquares(n, 4, 10, 1.0, 0.1, 0)
    lr, digits = 0.05 / problem.L, [int(digit) for digit in f"{n - 1:b}"]
    x = xh = np.zeros((n, 4))
    seen = []
    for k in range(3 * len(digits)):
        d = digits[k % len(digits)]
        m = 0 if k % len(digits) == 0 else m  # noqa: F821
        g = problem.G(x if d else xh)
        z, zh = x - lr * g, xh - lr * g
        r = np.roll(z if d else zh, m + d, axis=0)
        if d:
            x, xh = (z + r) / 2, (m * zh + (m + 1) * r) / (2 * m + 1)
        else:
            x, xh = ((m + 1) * z + m * r) / (2 * m + 1), (zh + r) / 2
        m = 2 * m + d
        seen.append(x)
    ours = []
    iterate("dsgd_ceca", problem, t.ceca(n), len(seen), lr=lr, each=lambda k, x, s: ours.append(x.numpy()))
    np.testing.assert_allclose(ours, seen, rtol=0, atol=1e-14)


@pytest.mark.parametrize("ports", [1, 2])
def test_descent_on_two_buffers_ends_in_proportion_to_the_step(ports):
    problem = LeastSquares(12, 10, 30, 1.0, 0.1, 0)

    def error(aL):
        tail = []
        lr = aL / problem.L
        iterate("dsgd_ceca", problem, t.ceca(12, ports=ports), int(40 / aL), lr=lr, each=lambda k, x, s: tail.append(x))
        return np.mean([problem.error(x) for x in tail[-4:]])

    assert error(0.02) / error(0.01) == pytest.approx(2, abs=0.05)
    assert error(0.02) < 0.05
