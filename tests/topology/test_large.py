"""A hundred thousand nodes and more: the gap to many digits, and no dense matrix on the way."""

import tracemalloc
from math import cos, pi, sin

import numpy as np
import pytest

from ifog import topology as t

N = 100_000


@pytest.fixture
def frugally():
    """A dense 100,000 × 100,000 matrix would take 80 GB; even a hundredth of it is not needed."""
    tracemalloc.start()
    yield
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 800e6


@pytest.mark.slow
@pytest.mark.usefixtures("frugally")
@pytest.mark.parametrize(
    ("make", "gap"),
    [
        (lambda: t.ring(N), 4 / 3 * sin(pi / N) ** 2),
        (lambda: t.chain(N), 4 / 3 * sin(pi / (2 * N)) ** 2),
        (lambda: t.directed_ring(N), 2 * sin(pi / (2 * N)) ** 2),
        (lambda: t.torus(N), 4 / 5 * sin(pi / 400) ** 2),
        (lambda: t.max_degree(t.grid(N)), 4 / 5 * sin(pi / 800) ** 2),
        (lambda: t.star(N), 1 / N),
        (lambda: t.exponential(N), 2 / (17 + 1)),
        (lambda: t.hypercube(2**17), 2 / (17 + 1)),
        (lambda: t.laplacian(t.ring(N), alpha=1 / 4), sin(pi / N) ** 2),
    ],
    ids=["ring", "chain", "directed ring", "torus", "grid", "star", "exponential", "hypercube", "lazy ring"],
)
def test_the_gap_of_a_hundred_thousand_nodes_has_many_digits(make, gap):
    topology = make()
    assert topology.gap == pytest.approx(gap, rel=1e-6)
    assert topology.rho == pytest.approx(1 - gap, abs=1e-14)


def test_the_metropolis_grid_is_slower_than_its_closed_relatives():
    # edges at the rim weigh at least 1/5, so it mixes at least as fast as with 1/5 everywhere, and at most as with 1/4
    gap = t.grid(10_000).gap
    assert 4 / 5 * sin(pi / 200) ** 2 < gap < 4 / 4 * sin(pi / 200) ** 2


def test_a_ring_of_a_million_nodes():
    assert t.ring(10**6).gap == pytest.approx(4 / 3 * sin(pi / 10**6) ** 2, rel=1e-6)


@pytest.mark.parametrize("n", [2000, 3001])
def test_the_sizes_just_beyond_the_dense_road(n):
    assert t.chain(n).rho == pytest.approx(1 / 3 + 2 / 3 * cos(pi / n), abs=1e-13)
    assert t.star(n).rho == pytest.approx(1 - 1 / n, abs=1e-12)
    assert t.best_constant(t.star(n)).rho == pytest.approx((n - 1) / (n + 1), abs=1e-9)
    assert t.hierarchical(t.chain(n), 2).rho == pytest.approx(1 / 3 + 2 / 3 * cos(pi / n), abs=1e-13)


@pytest.mark.slow
def test_an_expander_is_not_factorised(monkeypatch):
    # a random 4-regular graph mixes as fast as its degree allows: λ₂ of its adjacency matrix is close to 2√3
    monkeypatch.delattr(t.graph.spectrum.spla, "splu")  # its factors would fill the memory
    topology = t.random_regular(12_001)
    assert topology.rho == pytest.approx((1 + 2 * 3**0.5) / 5, abs=0.01)


@pytest.mark.parametrize("n", [1024, 2**16])
def test_exactness_of_a_large_schedule(n):
    assert t.one_peer_exponential(n).rounds_to_exact == n.bit_length() - 1
    assert t.ceca(n + 1).rounds_to_exact == n.bit_length()


def test_the_expected_factors_have_no_size():
    assert t.od_equidyn(10**6).expected_factor == pytest.approx(1 / 2, abs=1e-6)
    assert t.random_matching(10**6).expected_factor == pytest.approx(1 / 2, abs=1e-6)


@pytest.mark.parametrize(("topology", "diameter"), [(t.ring(N), N // 2), (t.chain(20_001), 20_000), (t.grid(10_000), 198)])
def test_the_diameter_of_a_large_graph(topology, diameter):
    assert topology.diameter == diameter


def test_a_round_of_a_million_nodes_keeps_the_mean():
    schedule = t.random_matching(10**6)
    x = np.random.default_rng(0).standard_normal(10**6)
    mixed = schedule[0] @ x
    assert mixed.mean() == pytest.approx(x.mean(), abs=1e-12)
