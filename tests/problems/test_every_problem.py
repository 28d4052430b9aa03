"""What every registered problem is held to: a newcomer to the register is found by itself."""

import pickle

import numpy as np
import pytest
import torch
from every_problem import BITS, CASES, F64, FORMS, IDS, somewhere

from ifog import problems

every = pytest.mark.parametrize(("name", "form"), CASES, ids=IDS)
every_to_the_bit = pytest.mark.parametrize(("name", "form"), BITS)


def made(name, form, n=6):
    return problems.make(name, n, **form)


def stationary_scale(problem):
    return 1 + problem.L * float(problem.optimum.norm())


def test_every_problem_has_its_forms_here():
    assert set(FORMS) <= set(problems.all())


@pytest.mark.parametrize("name", problems.all())
@pytest.mark.parametrize("n", [1, 2, 3, 8])
def test_every_problem_is_made_from_n_alone(name, n):
    problem = problems.make(name, n)
    assert (problem.n, problem.name, problem.label) == (n, name, f"{name}({n})")
    assert problem.dtype == F64
    nodes = range(n)
    x = problem.start(nodes)
    assert x.shape == problem.gradient(x, nodes).shape == (n, problem.d)
    assert problem.loss(x, nodes).shape == (n,)
    together, at_its_own_best = (x == x[0]).all(), (problem.gradient(x, nodes) == 0).all()
    assert together or at_its_own_best, "all nodes start together, or each where its own loss is smallest"
    assert repr(problem).startswith(f"{name}({n}): d = {problem.d}")


@every
@pytest.mark.parametrize("batched", [False, True])
def test_the_gradient_is_that_of_the_loss(name, form, batched):
    problem = made(name, form | {"noise": 0.0} if "noise" in form else form)
    nodes = range(problem.n)
    batch = problem.batch(nodes, 3, 5, seed=1) if batched else None
    x = somewhere(problem, nodes).requires_grad_()
    (autograd,) = torch.autograd.grad(problem.loss(x, nodes, batch).sum(), x)
    gradient = problem.gradient(x.detach(), nodes, batch)
    torch.testing.assert_close(gradient, autograd, rtol=1e-12, atol=1e-13)


@every
def test_the_loss_of_a_node_is_its_own(name, form):
    problem = made(name, form)
    nodes = range(problem.n)
    x = somewhere(problem, nodes)
    moved = x.clone()
    moved[0] += 1
    assert (problem.loss(moved, nodes) != problem.loss(x, nodes)).tolist() == [True] + [False] * (problem.n - 1)


@every
@pytest.mark.parametrize("S", [1, 20])
def test_losses_at_points_that_all_nodes_share_are_their_losses_there(name, form, S):
    problem = made(name, form)
    points = torch.cat([somewhere(problem, range(6), seed) for seed in range(4)])[:S]
    for nodes in (range(6), [4, 1]):
        each = torch.stack([problem.loss(point.expand(len(nodes), -1), nodes) for point in points])
        torch.testing.assert_close(problem.take(nodes).losses(points, nodes), each, rtol=1e-12, atol=1e-14)


@every
def test_the_optimum_is_stationary(name, form):
    problem = made(name, form)
    if problem.optimum is None:
        assert problem.smallest is None
        assert problem.heterogeneity is None
        return
    gradient = problem.gradient(problem.optimum.expand(problem.n, problem.d), range(problem.n)).mean(0)
    if problem.prox is None:
        assert gradient.norm() <= 1e-12 * stationary_scale(problem)
    else:  # x = prox(x − t ∇f(x)) for every t
        for t in (0.01, 1.0, 10.0):
            back = problem.prox(problem.optimum - t * gradient, t)
            assert (back - problem.optimum).norm() <= 1e-12 * t * stationary_scale(problem)


@every
def test_the_objective_is_smallest_at_the_optimum(name, form):
    problem = made(name, form)
    if problem.optimum is None:
        return
    assert problem.objective(problem.optimum) == problem.smallest
    for seed in range(20):
        direction = torch.randn(problem.d, dtype=F64, generator=torch.Generator().manual_seed(seed))
        for size in (1e-3, 1e-1):
            assert problem.objective(problem.optimum + size * direction) > problem.smallest


@every
def test_the_objective_is_the_mean_of_the_losses_and_the_penalty(name, form):
    problem = made(name, form)
    x = somewhere(problem, [0])[0]
    mean = float(problem.loss(x.expand(problem.n, problem.d), range(problem.n)).mean())
    penalty = 0 if problem.penalty is None else float(problem.penalty(x[None])[0])
    assert problem.objective(x) == pytest.approx(mean + penalty, rel=1e-13)


@every
def test_heterogeneity_is_the_mean_square_of_the_gradients_at_the_optimum(name, form):
    problem = made(name, form)
    if problem.optimum is not None:
        gradients = problem.gradient(problem.optimum.expand(problem.n, problem.d), range(problem.n))
        assert problem.heterogeneity == pytest.approx(float((gradients**2).sum() / problem.n), rel=1e-13)


@every
def test_L_and_mu_bound_the_curvature(name, form):
    problem = made(name, form, n=3)
    nodes = range(3)
    if problem.d <= 50:
        for scale in (0.0, 0.3, 3.0):
            x = scale * somewhere(problem, nodes, seed=1)
            H = torch.autograd.functional.jacobian(lambda x: problem.gradient(x, nodes), x)
            blocks = torch.stack([H[i, :, i] for i in nodes])
            assert torch.linalg.eigvalsh(blocks).max() <= problem.L * (1 + 1e-12)
            common = scale * somewhere(problem, nodes, seed=1)[:1].expand(3, -1)
            H = torch.autograd.functional.jacobian(lambda x: problem.gradient(x, nodes), common)
            if problem.mu is not None:
                mean = torch.stack([H[i, :, i] for i in nodes]).mean(0)
                assert torch.linalg.eigvalsh(mean)[0] >= problem.mu * (1 - 1e-12) - 1e-12
    elif problem.L is not None:  # too many unknowns for a Hessian
        for seed in range(10):
            x, y = somewhere(problem, nodes, seed), 0.1 * somewhere(problem, nodes, seed + 100)
            change = problem.gradient(x + y, nodes) - problem.gradient(x, nodes)
            assert (change.norm(dim=1) <= problem.L * y.norm(dim=1)).all()


@every_to_the_bit
@pytest.mark.parametrize("nodes", [range(1), range(2, 5), [4, 0, 3], np.array([5]), range(6)], ids=str)
def test_a_part_computes_the_same_bits_as_the_whole(name, form, nodes):
    problem = made(name, form)
    part, everyone = problem.take(nodes), range(problem.n)
    rows = list(nodes)
    x = somewhere(problem, everyone)
    for batch, its_batch in (
        (None, None),
        (problem.batch(everyone, 7, 4, seed=2), part.batch(nodes, 7, 4, seed=2)),
    ):
        whole, some = problem.gradient(x, everyone, batch)[rows], part.gradient(x[rows], nodes, its_batch)
        assert torch.equal(whole, some)
        assert torch.equal(whole, problem.gradient(x[rows], nodes, problem.batch(nodes, 7, 4, seed=2) if batch else None))
        assert torch.equal(problem.loss(x, everyone, batch)[rows], part.loss(x[rows], nodes, its_batch))
    assert torch.equal(problem.start(everyone)[rows], part.start(nodes))


@every
def test_a_part_computes_the_same_as_the_whole(name, form):
    problem = made(name, form)
    x, nodes = somewhere(problem, range(6)), [4, 1]
    part = problem.take(nodes)
    torch.testing.assert_close(part.gradient(x[nodes], nodes), problem.gradient(x, range(6))[nodes], rtol=1e-12, atol=1e-15)


@every
def test_a_part_knows_what_the_whole_knows(name, form):
    problem = made(name, form)
    part = made(name, form).take([2, 3]).take([3])
    assert (part.L, part.mu, part.smallest, part.heterogeneity) == (
        problem.L, problem.mu, problem.smallest, problem.heterogeneity,
    )  # fmt: skip
    assert (part.n, part.d, list(part.nodes)) == (problem.n, problem.d, [3])
    assert (part.optimum is None and problem.optimum is None) or torch.equal(part.optimum, problem.optimum)


@every
def test_a_batch_is_the_same_however_nodes_are_grouped(name, form):
    problem = made(name, form)
    whole = problem.batch(range(6), 5, 8, seed=3)
    for nodes in (range(1, 4), [5, 2], np.array([0, 5, 3]), [4]):
        part = problem.take(nodes).batch(nodes, 5, 8, seed=3)
        for ours, all_of_them in ((part.picks, whole.picks), (part.noise, whole.noise)):
            assert ours is all_of_them is None or torch.equal(ours, all_of_them[list(nodes)])


@every
def test_a_batch_of_the_mean_gradient_is_right_on_average(name, form):
    problem = made(name, form, n=2)
    nodes = range(2)
    x = 0.5 * somewhere(problem, nodes)
    exact = problem.gradient(x, nodes)
    drawn = torch.stack([problem.gradient(x, nodes, problem.batch(nodes, k, 16)) for k in range(100)])
    if problem.samples is None and not problem.gradient_noise:
        assert torch.equal(drawn, exact.expand(100, -1, -1))
        return
    expected = drawn.var(0).sum() / 100  # of the squared distance between the mean and what it estimates
    assert 0.1 < ((drawn.mean(0) - exact) ** 2).sum() / expected < 5


@every
def test_another_round_seed_or_node_draws_something_else(name, form):
    problem = made(name, form)
    if problem.samples is None and not problem.gradient_noise:
        batch = problem.batch(range(6), 0, 8)
        assert batch.picks is None
        assert batch.noise is None
        return
    x = somewhere(problem, [0]).expand(6, -1)
    drawn = [problem.batch(range(6), k, 8, seed=seed) for k in (0, 1) for seed in (0, 1, 2**32)]
    rows = torch.cat([batch.noise if batch.picks is None else batch.picks for batch in drawn])
    assert len(torch.unique(rows, dim=0)) >= (36 if problem.samples != 4 else 30)
    assert torch.equal(problem.gradient(x, range(6), drawn[0]), problem.gradient(x, range(6), problem.batch(range(6), 0, 8)))


@every
def test_the_same_seed_makes_the_same_problem_and_another_seed_another(name, form):
    first, again, other = (problems.make(name, 4, **form, seed=seed) for seed in (1, 1, 2))
    x = somewhere(first, range(4))
    assert torch.equal(first.gradient(x, range(4)), again.gradient(x, range(4)))
    assert not torch.equal(first.gradient(x, range(4)), other.gradient(x, range(4)))


@every
def test_in_single_precision_it_is_the_same_up_to_rounding(name, form):
    problem = made(name, form)
    single = problem.to(dtype=torch.float32)
    assert single.dtype == torch.float32
    assert problem.dtype == F64
    x = somewhere(problem, range(6))
    low, high = single.gradient(x.float(), range(6)), problem.gradient(x, range(6))
    assert low.dtype == torch.float32
    torch.testing.assert_close(low.double(), high, rtol=1e-4, atol=1e-4)
    assert (single.L, single.smallest) == (problem.L, problem.smallest)
    assert single.optimum is None or torch.equal(single.optimum, problem.optimum.float())
    assert "float32" in repr(single)


@every
def test_it_can_be_sent_elsewhere(name, form):
    problem = made(name, form)
    there = pickle.loads(pickle.dumps(problem))
    x = somewhere(problem, range(6))
    assert torch.equal(there.gradient(x, range(6)), problem.gradient(x, range(6)))
    assert repr(there) == repr(problem)


@every
def test_gradients_leave_the_iterate_alone(name, form):
    problem = made(name, form)
    x = somewhere(problem, range(6))
    before = x.clone()
    problem.gradient(x, range(6))
    problem.start(range(6)).add_(1)
    assert torch.equal(x, before)
    assert torch.equal(problem.start(range(6)), problem.start(range(6)))


@every
def test_no_nodes_are_no_error(name, form):
    problem = made(name, form)
    assert problem.start([]).shape == (0, problem.d)
    assert problem.take([2]).loss(torch.zeros(1, problem.d, dtype=F64), [2]).shape == (1,)


@every
def test_metrics_are_values_by_name(name, form):
    problem = made(name, form)
    for key, value in problem.metrics(somewhere(problem, range(6)), range(6)).items():
        assert isinstance(key, str)
        assert value.shape in [(), (6,)]
