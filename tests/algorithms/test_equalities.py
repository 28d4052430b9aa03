"""Methods that are others in disguise, and recursions written in another way."""

import numpy as np
import pytest
import torch
from method_claims import atc, awc, choco, directed, doubly_averaged
from quadratics import LeastSquares, iterate, ls16

from ifog import algorithms
from ifog import topology as t
from ifog.algorithms import method, zeros

RING, EXPONENTIAL = t.ring(16), t.exponential(16)
LR = 0.01 / ls16().L
BETA = 0.9


def history(name, steps=60, topology=RING, lr=LR, **parameters):
    seen = []
    iterate(name, ls16(), topology, steps, lr=lr, each=lambda k, x, s: seen.append(x.numpy()), **parameters)
    return np.array(seen)


def recursion(step, steps=60, topology=RING):
    """The iterates of step(k, x, x₋, G(x), G(x₋), W), in numpy."""
    problem, W = ls16(), topology.W
    x = before = np.zeros((problem.n, problem.d))
    seen = []
    for k in range(steps):
        x, before = step(k, x, before, problem.G(x), problem.G(before), W), x
        seen.append(x)
    return np.array(seen)


def same(a, b, atol=1e-13):
    np.testing.assert_allclose(a, b, rtol=0, atol=atol)


# ---- momentum: six methods, and where they end ---------------------------------------------------------------------------


def end(name, lr, topology, steps=4000, **parameters):
    return iterate(name, ls16(), topology, steps, lr=lr, **parameters).numpy()


@pytest.mark.parametrize("topology", [RING, EXPONENTIAL], ids=lambda graph: graph.label)
@pytest.mark.parametrize(("name", "plain", "factor"), [("dmsgd", atc, 10), ("awc_dmsgd", awc, 10), ("qg_dmsgd", atc, 1)])
def test_momentum_ends_where_a_method_without_it_ends(name, plain, factor, topology):
    same(end(name, LR, topology), plain(ls16(), topology.W, factor * LR), 1e-10)


def test_decentlam_ends_where_atc_ends():
    same(end("decentlam", LR, RING), atc(ls16(), RING.W, LR), 1e-10)


@pytest.mark.parametrize("topology", [RING, EXPONENTIAL], ids=lambda graph: graph.label)
def test_doubly_averaged_momentum_ends_at_its_own_point(topology):
    problem = ls16()
    target = doubly_averaged(problem, topology.W, LR)
    same(end("da_dmsgd", LR, topology), target, 1e-10)


def test_d2_momentum_and_parallel_momentum_end_at_the_optimum():
    problem = ls16()
    for name in ("d2_dmsgd", "pmsgd"):
        assert problem.error(end(name, LR, RING)) < 1e-12


def test_momentum_multiplies_the_bias_by_a_hundred_when_steps_are_small():
    problem, lr = ls16(), 1e-4 / ls16().L
    for topology, ratio in ((RING, 98.8), (EXPONENTIAL, 99.95)):
        small = problem.error(atc(problem, topology.W, lr)) ** 2
        assert problem.error(atc(problem, topology.W, 10 * lr)) ** 2 / small == pytest.approx(ratio, abs=0.05)


def test_the_levels_at_a_practical_step():
    problem = ls16()
    levels = {name: problem.error(end(name, LR, RING)) for name in ("decentlam", "qg_dmsgd", "dmsgd")}
    assert levels["dmsgd"] == pytest.approx(0.5506, abs=5e-5)
    assert levels["decentlam"] == pytest.approx(0.0850, abs=5e-5)
    assert levels["decentlam"] == pytest.approx(levels["qg_dmsgd"], abs=1e-10)
    assert (levels["dmsgd"] / levels["decentlam"]) ** 2 == pytest.approx(41.9, abs=0.05)


def test_the_usual_forms_of_momentum_in_one_line():
    same(history("dmsgd"), recursion(lambda k, x, b, g, gb, W: W @ (x - LR * g) + (BETA * (x - W @ b) if k else 0)))
    same(history("decentlam"), recursion(lambda k, x, b, g, gb, W: W @ (x - LR * g) + BETA * (x - b)))


def test_decentlam_as_the_paper_writes_it():
    m = 0.0

    def step(k, x, before, g, g_before, W):
        nonlocal m
        m = BETA * m + (x - W @ (x - LR * g)) / LR
        return x - LR * m

    same(history("decentlam"), recursion(step), 1e-11)


def test_quasi_global_momentum_as_the_paper_writes_it():
    m = 0.0

    def step(k, x, before, g, g_before, W):
        nonlocal m
        new = W @ (x - LR * (BETA * m + g))
        m = BETA * m + (1 - BETA) * (x - new) / LR
        return new

    same(history("qg_dmsgd"), recursion(step), 1e-11)


def test_slow_momentum_as_the_paper_writes_it():
    u, x0 = 0.0, np.zeros((16, 10))

    def step(k, x, before, g, g_before, W):
        nonlocal u, x0
        new = W @ (x - LR * g)
        if (k + 1) % 4 == 0:
            u = 0.6 * u + (x0 - new.mean(0)) / LR
            new = x0 = x0 - 0.5 * LR * u
        return new

    same(history("slowmo", H=4, alpha=0.5, beta=0.6), recursion(step), 1e-12)


@pytest.mark.parametrize("parameters", [{}, {"beta": 0.5, "alpha": 0.5}, {"beta": 0.0}])
def test_slow_momentum_ends_where_periodic_averaging_ends(parameters):
    end_of = end("gossip_pga", 5 * LR, RING, 2400, H=12)
    same(end("slowmo", 5 * LR, RING, 2400, H=12, **parameters), end_of, 1e-8)


@pytest.mark.parametrize("name", ["decentlam", "qg_dmsgd", "dmsgd", "slowmo"])
def test_a_step_ten_times_smaller_makes_no_jump(name):
    problem = ls16()
    far = []

    def drop(k, x, s):
        if k >= 1999:
            far.append(problem.error(x))
        return {"lr": LR / 10 if k >= 1999 else LR}

    iterate(name, problem, RING, 2600, lr=LR, each=drop)
    assert max(far) < 1.2 * far[0]
    assert far[-1] < far[0]


# ---- exact methods -------------------------------------------------------------------------------------------------------


def test_extra_as_a_recursion_in_two_iterates():
    def step(k, x, before, g, g_before, W):
        V = (np.eye(16) + W) / 2
        return W @ x - LR * g if k == 0 else x + W @ x - V @ before - LR * (g - g_before)

    same(history("extra"), recursion(step))


def test_the_slides_form_of_extra_is_extra_with_the_lazy_matrix():
    same(history("extra_slide", topology=t.lazy(RING)), history("extra"))


def test_exact_diffusion_as_adapt_correct_combine():
    psi = np.zeros((16, 10))

    def step(k, x, before, g, g_before, W):
        nonlocal psi
        new = x - LR * g
        phi, psi = new + x - psi, new
        return (phi + W @ phi) / 2

    same(history("exact_diffusion"), recursion(step))


def test_d2_as_a_recursion_in_two_iterates():
    def step(k, x, before, g, g_before, W):
        return W @ (x - LR * g) if k == 0 else W @ (2 * x - before - LR * (g - g_before))

    same(history("d2", topology=t.lazy(RING)), recursion(step, topology=t.lazy(RING)))


def test_d2_on_the_lazy_matrix_and_nids_with_equal_steps_are_exact_diffusion():
    same(history("d2", topology=t.lazy(RING)), history("exact_diffusion"))
    same(history("nids"), history("exact_diffusion"))


@pytest.mark.parametrize("factor", [1.0, 1.8])
def test_nids_takes_a_step_for_each_node(factor):
    problem = ls16()
    largest = [1 / np.linalg.eigvalsh(H)[-1] for H in problem.H]
    assert problem.error(iterate("nids", problem, RING, 2000, lr=factor, relative=largest)) < 1e-12


@pytest.mark.parametrize("name", ["extra", "exact_diffusion", "d2", "nids", "d2_dmsgd"])
def test_without_drift_float32_stays_as_good_as_it_can_be(name):
    problem, topology = ls16(), t.lazy(RING)
    lr = (0.05 if name == "d2_dmsgd" else 0.3) / problem.L
    assert problem.error(iterate(name, problem, topology, 3000, dtype=torch.float32, lr=lr)) < 2e-6


def test_the_form_in_two_iterates_drifts_in_float32():
    problem = ls16()
    x = iterate("extra_slide", problem, t.lazy(RING), 3000, dtype=torch.float32, lr=0.3 / problem.L)
    assert 3e-5 < problem.error(x) < 1


# ---- tracking ------------------------------------------------------------------------------------------------------------


def test_the_mean_of_y_is_the_mean_gradient_at_every_moment():
    problem = ls16()
    for name, part in (("gradient_tracking", "y"), ("semi_atc_tracking", "wy"), ("diging", "wy"), ("push_diging", "cy")):
        topology = directed(16) if name == "push_diging" else t.one_peer_exponential(16)

        def mean_is_kept(k, x, s, part=part):
            torch.testing.assert_close(s[part].mean(0), s.g.mean(0), rtol=0, atol=1e-13)

        iterate(name, problem, topology, 100, lr=0.1 / problem.L, each=mean_is_kept)


def test_push_diging_with_doubly_stochastic_weights_is_semi_atc_tracking():
    same(history("push_diging", topology=EXPONENTIAL), history("semi_atc_tracking", topology=EXPONENTIAL))


@pytest.mark.parametrize("name", ["gradient_tracking", "semi_atc_tracking", "diging"])
@pytest.mark.parametrize("n", [12, 16])
def test_tracking_is_exact_on_changing_graphs(name, n, recwarn):
    problem = LeastSquares(n, 10, 30, 1.0, 0.1, 0)
    x = iterate(name, problem, t.one_peer_exponential(n), 1500, lr=0.1 / problem.L)
    assert problem.error(x) < 1e-12


def test_mixing_the_gradient_instead_of_y_gives_diffusion_and_its_bias():
    made = method(needs="doubly_stochastic", wy=zeros, g=zeros)

    def wrong_diging(net, x, grad, s, *, lr):
        g = grad()
        y = s.wy + g - s.g
        s.g = g
        wx, s.wy = net.mix(x, g)  # it must be y
        return wx - lr * y

    from ifog.algorithms.method import _register

    problem, lr = ls16(), 0.05 / ls16().L
    try:
        x = iterate(made(wrong_diging), problem, RING, 3000, lr=lr)
    finally:
        _register.pop("wrong_diging")
    assert problem.error(x) == pytest.approx(0.34, abs=5e-3)
    assert problem.error(x, at=atc(problem, RING.W, lr)) < 1e-10
    assert problem.error(iterate("diging", problem, RING, 3000, lr=lr)) < 1e-12


# ---- averages ------------------------------------------------------------------------------------------------------------


def test_combine_then_adapt_passes_through_the_iterates_of_adapt_then_combine():
    combined = np.array([RING.W @ x for x in history("cta")])
    start = ls16()  # atc started one combination later
    seen = []
    x = torch.from_numpy(RING.W @ history("cta", 1)[0])
    iterate("atc", start, RING, 59, x=x, lr=LR, each=lambda k, x, s: seen.append(x.numpy()))
    same(combined[1:], np.array(seen), 1e-14)


def test_averaging_models_is_averaging_gradients_and_global_averaging_in_every_step():
    same(history("parameter_server"), history("allreduce_sgd"))
    same(history("gossip_pga", H=1), history("allreduce_sgd"))
    same(history("local_sgd", H=1), history("allreduce_sgd"))
    same(history("atc", topology=t.complete(16)), history("allreduce_sgd"))


def test_a_hierarchy_is_its_machines_times_exact_averaging():
    topology = t.hierarchical(t.ring(4), local=4)
    W = np.kron(t.ring(4).W, np.full((4, 4), 1 / 4))
    same(history("atc", topology=topology), recursion(lambda k, x, b, g, gb, _: W @ (x - LR * g)))


def test_gradient_push_with_doubly_stochastic_weights_is_diffusion():
    same(history("sgp", topology=EXPONENTIAL), history("atc", topology=EXPONENTIAL))
    same(history("overlap_sgp", topology=EXPONENTIAL, tau=0), history("atc", topology=EXPONENTIAL))
    same(history("subgradient_push", topology=EXPONENTIAL), history("cta", topology=EXPONENTIAL))


def test_choco_without_compression_is_diffusion_with_a_gentler_matrix():
    problem, gamma = ls16(), 0.3
    W = np.eye(16) - gamma * (np.eye(16) - RING.W)
    plain = history("choco_sgd", gamma=gamma, compress=algorithms.identity())
    same(plain, recursion(lambda k, x, b, g, gb, _: W @ (x - LR * g)))
    assert problem.error(choco(problem, RING.W, LR)) == pytest.approx(0.2585, abs=5e-5)
