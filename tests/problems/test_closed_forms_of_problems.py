"""What is known exactly of single problems."""

import numpy as np
import pytest
import torch
from every_problem import F64, somewhere

from ifog import problems
from ifog.errors import ProblemError

# ---- averaging ----


def test_averaging_is_best_at_the_mean_of_its_starts():
    problem = problems.averaging(7, d=3, seed=2)
    c = problem.start(range(7))
    assert len(torch.unique(c)) == 21
    torch.testing.assert_close(problem.optimum, c.mean(0))
    assert (problem.L, problem.mu) == (1, 1)
    assert problem.smallest == pytest.approx(float((c - c.mean(0)).square().sum()) / 14)
    assert problem.heterogeneity == pytest.approx(2 * problem.smallest)


# ---- quadratics ----


@pytest.mark.parametrize("n", [2, 3, 17])
@pytest.mark.parametrize("b2", [0.0, 1.0, 12.5])
@pytest.mark.parametrize("kappa", [1, 10, 1e6])
def test_a_quadratic_is_what_was_asked_for(n, b2, kappa):
    problem = problems.quadratic(n, d=4, heterogeneity=b2, condition=kappa)
    assert problem.heterogeneity == pytest.approx(b2, rel=1e-9, abs=1e-30 * kappa**2)
    assert pytest.approx(1, rel=1e-12) == problem.L
    assert problem.mu == pytest.approx(1 / kappa, rel=1e-9)
    H, c = problem._shared["H"], problem._data["c"]
    assert torch.equal(H, H.T)
    x = somewhere(problem, range(n))
    largest = max(1.0, float((x - c).abs().max()))  # how the products of large numbers are rounded depends on the processor
    torch.testing.assert_close(problem.gradient(x, range(n)), (x - c) @ H, rtol=1e-13, atol=1e-13 * largest)
    distance = (problem.optimum - c) @ torch.linalg.cholesky(H)
    assert problem.smallest == pytest.approx(float((distance**2).sum()) / (2 * n), rel=1e-9, abs=1e-20)


def test_without_heterogeneity_the_gradients_of_all_nodes_are_identical():
    problem = problems.quadratic(5, heterogeneity=0)
    x = somewhere(problem, [0]).expand(5, -1)
    gradients = problem.gradient(x, range(5))
    assert torch.equal(gradients, gradients[:1].expand(5, -1))


def test_one_unknown_has_curvature_one():
    problem = problems.quadratic(4, d=1)
    assert (problem.L, problem.mu) == (1, 1)


def test_noise_has_the_standard_deviation_that_was_asked_for():
    problem = problems.quadratic(100, d=100, noise=3.0)
    x, nodes = problem.start(range(100)), range(100)
    for size, expected in ((None, 3.0), (1, 3.0), (9, 1.0)):
        noise = problem.gradient(x, nodes, problem.batch(nodes, 0, size)) - problem.gradient(x, nodes)
        assert float(noise.std()) == pytest.approx(expected, rel=0.03)
        assert abs(float(noise.mean())) < 0.03 * expected


# ---- logistic regression ----


def test_the_nonconvex_regulariser_is_the_one_of_the_papers():
    problem = problems.logistic(1, d=2, l2=0.3, nonconvex=0.7)
    plain = problems.logistic(1, d=2, l2=0)
    x = torch.tensor([[1.0, -2.0]], dtype=F64)
    assert float(problem.loss(x, [0]) - plain.loss(x, [0])) == pytest.approx(0.15 * 5 + 0.7 * (1 / 2 + 4 / 5), rel=1e-12)
    extra = problem.gradient(x, [0]) - plain.gradient(x, [0])
    assert extra[0].tolist() == pytest.approx([0.3 + 1.4 / 4, -0.6 - 2.8 / 25], rel=1e-12)


def test_logistic_regression_agrees_with_scikit_learn():
    from sklearn.linear_model import LogisticRegression

    problem = problems.logistic(4, d=3, samples=50, l2=0.02)
    h, y = problem._data["h"].reshape(-1, 3).numpy(), problem._data["y"].flatten().numpy()
    model = LogisticRegression(C=1 / (0.02 * len(y)), fit_intercept=False, tol=1e-12, max_iter=1000).fit(h, y)
    assert problem.optimum.numpy() == pytest.approx(model.coef_[0], abs=1e-6)


def test_large_margins_neither_overflow_nor_lose_the_gradient():
    problem = problems.logistic(2, l2=0)
    x = torch.full((2, 10), 1e4, dtype=F64)
    assert torch.isfinite(problem.loss(x, range(2))).all()
    assert torch.isfinite(problem.gradient(x, range(2))).all()


def test_labels_that_can_be_separated_have_no_optimum():
    problem = problems.logistic(1, samples=5, l2=0)
    with pytest.raises(ProblemError, match=r"logistic\(1, samples=5, l2=0\).*no minimum.*l2"):
        problem.optimum  # noqa: B018
    assert repr(problem).startswith("logistic(1, samples=5, l2=0): d = 10")
    with pytest.raises(ProblemError, match="no minimum"):
        problem.take([0]).smallest  # noqa: B018


# ---- lasso ----


@pytest.mark.parametrize("l1", [0.01, 0.1, 1.0, 100.0])
@pytest.mark.parametrize("n", [1, 4])
def test_the_lasso_satisfies_its_subgradient_condition(l1, n):
    problem = problems.lasso(n, l1=l1)
    x = problem.optimum
    gradient = problem.gradient(x.expand(n, problem.d), range(n)).mean(0)
    there = x != 0
    torch.testing.assert_close(gradient[there], -l1 * x[there].sign(), rtol=0, atol=1e-12 * (1 + l1))
    assert (gradient[~there].abs() <= l1 * (1 + 1e-12)).all()


def test_the_lasso_agrees_with_scikit_learn():
    from sklearn.linear_model import Lasso

    problem = problems.lasso(3, d=12, l1=0.2)
    A, b = problem._data["A"].reshape(-1, 12).numpy(), problem._data["b"].flatten().numpy()
    model = Lasso(alpha=0.2, fit_intercept=False, tol=1e-14, max_iter=100_000).fit(A, b)
    assert problem.optimum.numpy() == pytest.approx(model.coef_, abs=1e-8)


def test_a_large_penalty_leaves_nothing_and_none_is_least_squares():
    assert (problems.lasso(3, l1=1e6).optimum == 0).all()
    problem = problems.lasso(3, l1=0)
    rows, targets = problem._data["A"].reshape(-1, 20).numpy(), problem._data["b"].reshape(-1).numpy()
    assert problem.optimum.numpy() == pytest.approx(np.linalg.lstsq(rows, targets)[0], abs=1e-12)


def test_the_lasso_has_an_optimum_with_fewer_samples_than_unknowns():
    problem = problems.lasso(1, d=40, samples=15, l1=0.3)
    gradient = problem.gradient(problem.optimum[None], [0])
    assert (problem.prox(problem.optimum - gradient, 1.0) - problem.optimum).norm() < 1e-12


def test_prox_minimises_what_it_says():
    problem = problems.lasso(2, d=3, l1=0.5)
    x = torch.tensor([[1.0, -0.2, 0.4], [0.0, 3.0, -0.5]], dtype=F64)
    lr = torch.tensor([[0.4], [1.0]], dtype=F64)
    best = problem.prox(x, lr)
    value = lambda z: problem.penalty(z) + ((z - x) ** 2).sum(1) / (2 * lr[:, 0])  # noqa: E731
    for seed in range(50):
        other = best + 0.1 * torch.randn(2, 3, dtype=F64, generator=torch.Generator().manual_seed(seed))
        assert (value(other) >= value(best)).all()
    assert best.tolist() == [pytest.approx([0.8, 0, 0.2]), pytest.approx([0, 2.5, 0])]


def test_only_composite_problems_have_a_prox():
    assert [name for name in problems.all() if problems.make(name, 2).prox is not None] == ["lasso"]


# ---- digits ----


def test_every_node_has_as_many_digits_and_no_picture_twice():
    for alpha in (None, 0.05):
        problem = problems.digits(7, alpha=alpha)
        assert problem.samples == 1437 // 7
        counts = sum(problem.labels(node) for node in range(7))
        assert counts.sum() == 7 * (1437 // 7)
        assert all(problem.labels(node).sum() == problem.samples for node in range(7))
        pictures = torch.cat([problem._data["X"].flatten(0, 1), problem._shared["X_held_out"]])
        assert len(torch.unique(pictures, dim=0)) == len(pictures)


def test_a_small_alpha_deals_unevenly():
    kinds = {alpha: np.mean([(problems.digits(8, alpha=alpha).labels(i) > 0).sum() for i in range(8)]) for alpha in (0.05, 100)}
    assert kinds[0.05] < 6
    assert kinds[100] == 10


def test_the_network_is_the_one_of_torch():
    problem = problems.digits(2, hidden=(5, 3))
    net = torch.nn.Sequential(
        torch.nn.Linear(64, 5), torch.nn.Tanh(), torch.nn.Linear(5, 3), torch.nn.Tanh(), torch.nn.Linear(3, 10)
    ).double()
    x = torch.cat([value for layer in net[::2] for value in (layer.weight.T.flatten(), layer.bias)]).detach()
    assert problem.d == len(x)
    X, y = problem._data["X"][1], problem._data["y"][1]
    known = torch.nn.functional.cross_entropy(net(X), y).detach()
    assert float(problem.loss(x[None], [1])) == pytest.approx(float(known), rel=1e-12)


def test_training_makes_it_accurate_and_the_mean_is_asked_for_only_where_all_are():
    problem = problems.digits(4, hidden=())
    nodes = range(4)
    x = problem.start(nodes)
    before = problem.metrics(x, nodes)
    for _ in range(100):
        x = x - 1.0 * problem.gradient(x, nodes).mean(0)
    after = problem.metrics(x, nodes)
    assert after["accuracy"].shape == (4,)
    assert float(before["accuracy_of_mean"]) < 0.2
    assert float(after["accuracy_of_mean"]) > 0.9
    assert set(problem.metrics(x[:2], range(2))) == {"accuracy"}
    assert set(problem.take([0, 1]).metrics(x[:2], [0, 1])) == {"accuracy"}


def test_the_network_starts_differently_for_another_seed_and_softmax_regression_at_zero():
    assert (problems.digits(2, hidden=()).start([0]) == 0).all()
    first, other = (problems.digits(2, seed=seed).start([1]) for seed in (0, 1))
    assert not torch.equal(first, other)
