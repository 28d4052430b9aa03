"""Compressors keep their promises, and so do the methods that use them."""

import numpy as np
import pytest
import torch
from method_claims import choco
from quadratics import LeastSquares, iterate, ls16

from ifog import algorithms
from ifog import topology as t
from ifog.algorithms import identity, method, qsgd, random_k, scaled_sign, top_k
from ifog.errors import ArgumentError
from ifog.network import Network

RING = t.ring(16)
COMPRESSORS = [
    qsgd(4),
    qsgd(4, unbiased=False),
    top_k(0.1),
    random_k(0.1),
    random_k(0.1, unbiased=True),
    scaled_sign(),
    identity(),
]


def sample(compress, d=200, n=2000):
    """A vector, and n independent compressions of it."""
    x = torch.from_numpy(np.random.default_rng(0).standard_normal(d))
    return x, compress(Network("ring", n), x.expand(n, d).contiguous())


@pytest.mark.parametrize("compress", COMPRESSORS, ids=str)
def test_an_unbiased_compressor_is_right_on_average_and_a_contraction_contracts(compress):
    x, y = sample(compress)
    error = ((y - x) ** 2).sum(1)
    if compress.unbiased:
        assert float((y.mean(0) - x).norm()) < 1.5 * float((error.mean() / len(y)).sqrt()) + 1e-12
    else:
        assert float(error.mean()) <= (1 - compress.delta(200)) * float((x**2).sum()) * 1.02


@pytest.mark.parametrize("levels", [1, 4, 16])
def test_the_variance_of_quantisation_is_that_of_its_coins_and_below_its_bound(levels):
    x, y = sample(qsgd(levels))
    relative = float(((y - x) ** 2).sum(1).mean() / (x**2).sum())
    fraction = (levels * x.abs() / x.norm()) % 1
    assert relative == pytest.approx(float((fraction * (1 - fraction)).sum()) / levels**2, rel=0.02)
    assert relative <= qsgd(levels).omega(200)


def test_quantised_numbers_are_few():
    x, y = sample(qsgd(1))
    assert len((y / x.norm()).abs().round(decimals=9).unique()) <= 2
    assert float((y != 0).sum(1).double().mean()) == pytest.approx(float(x.abs().sum() / x.norm()), rel=0.05)


def test_top_k_keeps_the_largest_and_random_k_any():
    x, y = sample(top_k(0.1), n=3)
    kept = y[0] != 0
    assert int(kept.sum()) == 20
    assert float(x[kept].abs().min()) >= float(x[~kept].abs().max())
    assert torch.equal(y[0][kept], x[kept])
    x, y = sample(random_k(0.1))
    assert ((y != 0).sum(1) == 20).all()
    assert float((y != 0).double().mean(0).std()) < 0.02  # all places alike
    x, y = sample(random_k(0.1, unbiased=True))
    assert float(((y - x) ** 2).sum(1).mean() / (x**2).sum()) == pytest.approx(9, rel=0.05)


def test_the_error_of_scaled_signs_is_known():
    x, y = sample(scaled_sign(), n=2)
    assert float(((y[0] - x) ** 2).sum()) == pytest.approx(float((x**2).sum() - x.abs().sum() ** 2 / 200))


def test_signs_are_scaled_for_each_tensor_by_itself():
    net, x = Network("ring", 2), torch.tensor([[1.0, -3.0, 10.0], [0.0, 0.0, -1.0]])
    net.segments = (2, 1)
    assert torch.equal(scaled_sign()(net, x), torch.tensor([[2.0, -2.0, 10.0], [0.0, 0.0, -1.0]]))


@pytest.mark.parametrize("compress", COMPRESSORS, ids=str)
def test_zero_is_sent_as_zero_and_no_row_sees_another(compress):
    x = torch.zeros(8, 20, dtype=torch.float64)
    assert torch.equal(compress(Network("ring", 8), x), x)
    x[3] = torch.arange(20.0)
    y = compress(Network("ring", 8), x)
    assert (y[[0, 1, 2, 4, 5, 6, 7]] == 0).all()
    assert (y[3] != 0).any()


def test_what_they_send_is_counted():
    assert top_k(0.1).bits(1000) == 100 * (32 + 10)
    assert scaled_sign().bits(1000) == 1032
    assert qsgd(4).bits(1000) == pytest.approx(32 + 1000 * (1 + np.log2(4.5)))
    assert random_k(0.1).bits(1000) == 3200
    problem, net = ls16(), Network(RING)
    iterate("choco_sgd", problem, RING, 10, net=net, lr=0.01, compress=top_k(0.2))
    assert net.messages == 10 * 32
    assert net.bytes == 10 * 32 * 2 * (32 + 4) / 8


@pytest.mark.parametrize("make", [lambda: top_k(0), lambda: random_k(1.5), lambda: qsgd(0), lambda: qsgd(2.5)])
def test_senseless_compressors_are_refused(make):
    with pytest.raises(ArgumentError, match="give a"):
        make()


@pytest.mark.parametrize("name", ["choco_sgd", "ef_sgd"])
def test_what_is_no_contraction_is_refused_where_errors_are_kept(name):
    with pytest.raises(ArgumentError, match=r"is no contraction.*: take qsgd\(unbiased=False\)"):
        iterate(name, ls16(), RING, 1, lr=0.1, compress=qsgd(1))


# ---- CHOCO -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compress", [top_k(0.2), random_k(0.2), qsgd(4, unbiased=False), scaled_sign()], ids=str)
def test_compressed_gossip_keeps_the_mean_and_comes_to_it(compress):
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((16, 10)))

    def kept(k, y, s):
        torch.testing.assert_close(y.mean(0), x.mean(0), rtol=0, atol=1e-12)

    gamma = 0.2 if compress == scaled_sign() else None
    y = iterate("choco_gossip", ls16(), RING, 4000, x=x, each=kept, compress=compress, gamma=gamma)
    assert float((y - x.mean(0)).abs().max()) < 1e-6 * float((x - x.mean(0)).abs().max())


def test_compressed_gossip_without_compression_is_gossip():
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((16, 10)))
    y = iterate("choco_gossip", ls16(), RING, 30, x=x, gamma=1, compress=identity())
    torch.testing.assert_close(y, iterate("consensus", ls16(), RING, 30, x=x), rtol=0, atol=1e-14)


@pytest.mark.parametrize(("aL", "err"), [(0.02, 0.4384), (0.01, 0.2585), pytest.param(0.005, 0.1425, marks=pytest.mark.slow)])
def test_compressed_descent_ends_where_descent_on_the_gentler_matrix_ends(aL, err):
    problem, lr = ls16(), aL / ls16().L
    target = choco(problem, RING.W, lr)
    assert problem.error(target) == pytest.approx(err, abs=5e-5)
    x = iterate("choco_sgd", problem, RING, int(60 / aL), lr=lr, gamma=0.3, compress=top_k(0.5))
    assert problem.error(x) == pytest.approx(err, abs=2e-4)


def test_compressing_the_value_instead_of_its_change_stalls():
    made = method(needs="symmetric")

    def naive(net, x, grad, s, *, gamma=0.2):
        return x - gamma * net.diff(top_k(0.2)(net, x))

    from ifog.algorithms.method import _register

    x = torch.from_numpy(np.random.default_rng(0).standard_normal((16, 10)))
    try:
        y = iterate(made(naive), ls16(), RING, 4000, x=x)
    finally:
        _register.pop("naive")
    assert float((y - x.mean(0)).norm()) > 0.1 * float((x - x.mean(0)).norm())


# ---- error feedback --------------------------------------------------------------------------------------------------


def tail(name, aL, steps, **parameters):
    """The error, averaged over the last iterations."""
    problem, seen = ls16(), []

    def keep(k, x, s):
        if k >= steps - 300:
            seen.append(problem.error(x))

    iterate(name, problem, RING, steps, lr=aL / problem.L, each=keep, **parameters)
    return float(np.mean(seen))


@pytest.mark.parametrize(
    ("name", "parameters", "ratio"),
    [
        ("ef_signsgd", {}, 10),
        ("ef_sgd", {"compress": top_k(0.2)}, 10),
        ("qsgd_sgd", {"feedback": True}, 10),
        ("qsgd_sgd", {}, 10**0.5),
    ],
)
def test_with_error_feedback_the_error_falls_like_the_step_and_without_like_its_root(name, parameters, ratio):
    errors = [tail(name, aL, steps, **parameters) for aL, steps in ((0.1, 1500), (0.01, 3500))]
    assert errors[0] / errors[1] == pytest.approx(ratio, rel=0.3)
    assert errors[0] < 0.06


def test_the_level_of_sign_sgd_with_error_feedback():
    assert tail("ef_signsgd", 0.1, 1500) == pytest.approx(0.036, abs=2e-3)
    assert tail("ef_signsgd", 0.01, 3500) == pytest.approx(0.0036, abs=2e-4)


def test_the_largest_numbers_without_error_feedback_never_get_there():
    problem, x = ls16(), torch.zeros(16, 10, dtype=torch.float64)
    net = Network(RING)
    for _ in range(3000):
        x = x - 0.01 / problem.L * net.mean(top_k(0.2)(net, problem.gradient(x, net.nodes)))
    assert problem.error(x) > 0.3


def test_signs_alone_keep_a_sum_for_ever_which_error_feedback_does_not():
    """Two samples ±(1, −1) + (1, 1)/2: every sign vector is ±(1, −1), so x₁ + x₂ never moves."""
    a = torch.tensor([[1.5, -0.5], [-0.5, 1.5]], dtype=torch.float64)
    H = (a[:, :, None] * a[:, None, :]).numpy()
    problem = LeastSquares.of(H, np.zeros((2, 2)))
    start = torch.ones(2, 2, dtype=torch.float64)
    x = iterate("ef_signsgd", problem, t.complete(2), 2000, x=start, lr=0.05)
    assert float(x.abs().max()) < 1e-6
    alone = start[0].clone()
    for k in range(2000):
        g = a[k % 2] * (a[k % 2] @ alone)
        alone = alone - 0.01 * torch.sign(g)
    assert float(alone.sum()) == pytest.approx(2)


def test_the_remembered_error_is_what_was_not_sent():
    problem = ls16()

    def bounded(k, x, s):
        assert float(s.e.norm()) < 1

    iterate(algorithms.ef_sgd, problem, RING, 300, lr=0.02 / problem.L, compress=top_k(0.1), each=bounded)
