"""Gradients with noise, and methods that toss coins."""

import numpy as np
import pytest
import torch
from quadratics import LeastSquares, iterate, ls16

from ifog import topology as t
from ifog.network import Network


class Noisy(LeastSquares):
    """f = ‖x‖²/2 at every node, with gradients that carry unit noise."""

    @classmethod
    def of_size(cls, n, d):
        made = cls.of(np.ones((n, 1, 1)), np.zeros((n, d)))
        made.noise = Network("ring", n, seed=1)
        return made

    def gradient(self, z, nodes):
        self.noise.advance()
        return z + self.noise.random.normal(z)


@pytest.mark.parametrize("topology", [t.ring(16), t.exponential(16), t.one_peer_exponential(16)], ids=lambda g: g.label)
@pytest.mark.parametrize("gamma", [0.1, 0.05])
def test_the_noise_of_the_mean_is_that_of_one_large_batch_on_every_topology(topology, gamma):
    problem, seen = Noisy.of_size(16, 1000), []

    def keep(k, x, s):
        if k >= 60 / gamma / 10 and k % 5 == 0:
            seen.append(16 * float((x.mean(0) ** 2).sum()) / 1000)

    iterate("atc", problem, topology, int(20 / gamma), lr=gamma, each=keep)
    assert np.mean(seen) == pytest.approx(gamma / (2 - gamma), rel=0.05)


def test_the_disagreement_that_noise_causes():
    gamma, seen = 0.01, []
    problem, topology = Noisy.of_size(16, 500), t.exponential(16)
    powers = [np.linalg.matrix_power(topology.W, j) for j in range(1, 200)]
    C = sum((np.linalg.norm(power) ** 2 - 1) / 16 for power in powers)

    def keep(k, x, s):
        if k >= 50 and k % 5 == 0:
            seen.append(float(((x - x.mean(0)) ** 2).sum(1).mean()) / 500)

    iterate("atc", problem, topology, 300, lr=gamma, each=keep)
    assert np.mean(seen) / gamma**2 == pytest.approx(C, rel=0.05)


@pytest.mark.parametrize("p", [0.1, 0.3, 1.0])
def test_proxskip_is_exact_and_talks_as_seldom_as_it_was_asked(p):
    problem, talked = ls16(), []

    def count(k, x, s):
        talked.append(float((x - x[0]).abs().max()) == 0)
        torch.testing.assert_close(s.h.sum(0), torch.zeros(10, dtype=torch.float64), rtol=0, atol=1e-11)

    net = Network("ring", 16)
    x = iterate("proxskip", problem, "ring", 2500, net=net, lr=1 / problem.L, p=p, each=count)
    assert problem.error(x) < 1e-12
    rounds = net.messages / (16 * 2 * 15)
    assert rounds == pytest.approx(2500 * p, abs=4 * (2500 * p * (1 - p)) ** 0.5 + 1e-9)


def test_a_layer_wise_step_is_in_proportion_to_the_layers_norm():
    problem, net = ls16(), Network("ring", 16)
    net.segments = (4, 6)
    x = torch.ones(16, 10, dtype=torch.float64)
    new = iterate("lars", problem, "ring", 1, net=net, x=x, lr=1.0, eta=0.01)
    moved = new - x
    g = problem.gradient(x, range(16)).mean(0)
    for part in (slice(0, 4), slice(4, 10)):
        torch.testing.assert_close(moved[0, part].norm(), 0.01 * x[0, part].norm())
        torch.testing.assert_close(moved[0, part] / moved[0, part].norm(), -g[part] / g[part].norm())


def test_weight_decay_shrinks_where_there_is_no_gradient():
    problem = LeastSquares.of(np.zeros((4, 3, 3)), np.zeros((4, 3)))
    x = iterate(
        "lars", problem, "ring", 1, x=torch.ones(4, 3, dtype=torch.float64), lr=1.0, eta=0.01, weight_decay=0.1, beta=0.0
    )
    torch.testing.assert_close(x, torch.full((4, 3), 0.99, dtype=torch.float64))
