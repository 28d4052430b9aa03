"""Averaging without gradients: how fast, and after how many rounds exactly."""

import numpy as np
import pytest
import torch
from quadratics import LeastSquares, iterate

from ifog import topology as t
from ifog.algorithms.averaging import leja


def left(name, topology, rounds, seed=0, **parameters):
    """What is left of a random disagreement, relative to what there was."""
    n = topology.n
    x = np.random.default_rng(seed).standard_normal((n, 3))
    problem = LeastSquares.of(np.ones((n, 1, 1)), np.zeros((n, 3)))
    y = iterate(name, problem, topology, rounds, x=torch.from_numpy(x), **parameters).numpy()
    return np.linalg.norm(y - x.mean(0)) / np.linalg.norm(x - x.mean(0))


def chebyshev(k, z):
    """T_k(z) for z ≥ 1."""
    return np.cosh(k * np.arccosh(z))


@pytest.mark.parametrize(
    "topology", [t.ring(32), t.grid(36), t.star(9), t.metropolis(t.erdos_renyi(20))], ids=lambda g: g.label
)
@pytest.mark.parametrize("rounds", [1, 2, 5, 30])
def test_chebyshev_is_within_its_bound_and_consensus_within_its_own(topology, rounds):
    assert left("chebyshev", topology, rounds) <= 1 / chebyshev(rounds, 1 / topology.rho) + 1e-14
    assert left("consensus", topology, rounds) <= topology.rho**rounds + 1e-14


@pytest.mark.parametrize("rounds", [1, 2, 3, 10])
def test_chebyshev_is_the_polynomial_of_its_name(rounds):
    topology = t.ring(12)
    eigenvalue, vector = (parts[..., 3] for parts in np.linalg.eigh(topology.W))
    problem = LeastSquares.of(np.ones((12, 1, 1)), np.zeros((12, 1)))
    y = iterate("chebyshev", problem, topology, rounds, x=torch.from_numpy(vector[:, None].copy()))
    z = eigenvalue / topology.rho
    T = np.cos(rounds * np.arccos(z)) if abs(z) <= 1 else np.cosh(rounds * np.arccosh(z))
    np.testing.assert_allclose(y[:, 0], vector * T / chebyshev(rounds, 1 / topology.rho), atol=1e-13)


def test_chebyshev_does_not_overflow_on_long_runs():
    assert left("chebyshev", t.ring(16), 5000) < 1e-12


def test_both_accelerated_forms_reach_the_faster_rate():
    ring = t.ring(32)
    rate = (1 - (1 - ring.rho**2) ** 0.5) / ring.rho
    assert rate == pytest.approx(0.851, abs=5e-4)
    for name in ("chebyshev", "shift_register"):
        assert (left(name, ring, 120) / left(name, ring, 60)) ** (1 / 60) == pytest.approx(rate, rel=0.02)
        assert left(name, ring, 60) < 1e-2 * left("consensus", ring, 60)


@pytest.mark.parametrize(("topology", "rounds"), [(t.star(9), 2), (t.ring(32), 16), (t.grid(36), 26), (t.complete(8), 1)])
def test_distinct_eigenvalues_count_the_rounds_to_exactness(topology, rounds):
    assert left("finite_time", topology, rounds) < 1e-11
    assert len(leja(topology)) == rounds
    assert left("finite_time", topology, rounds // 2) > 1e-4
    assert left("finite_time", topology, 3 * rounds + 1) < 1e-11  # and it stays


@pytest.mark.parametrize(
    "topology", [t.one_peer_exponential(16), t.one_peer_hypercube(8), t.base_graph(15), t.complete(5)], ids=lambda g: g.label
)
def test_consensus_is_exact_where_the_topology_is(topology):
    assert left("consensus", topology, topology.rounds_to_exact) < 1e-14


@pytest.mark.parametrize("make", [t.random_matching, t.random_edge, t.od_equidyn, t.ou_equidyn])
def test_random_pairs_and_peers_are_consensus_on_such_a_topology(make):
    topology = make(16)
    rounds = 400 if make is t.random_edge else 60
    assert left("consensus", topology, rounds) < 3 * topology.expected_factor ** (rounds / 2)


def test_push_sum_on_doubly_stochastic_weights_is_consensus():
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((16, 3)))
    problem = LeastSquares.of(np.ones((16, 1, 1)), np.zeros((16, 3)))
    a, b = (iterate(name, problem, t.exponential(16), 10, x=x) for name in ("push_sum", "consensus"))
    torch.testing.assert_close(a, b, rtol=0, atol=1e-14)
