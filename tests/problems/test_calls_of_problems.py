"""The register, and calls that cannot be."""

import numpy as np
import pytest
import torch
from every_problem import F64

import ifog
from ifog import problems
from ifog.errors import ProblemError

QUADRATIC = problems.quadratic(4, d=3)
PART = QUADRATIC.take([1, 2])


def test_the_name_of_a_problem_of_ifog_is_not_for_ones_own():
    before = problems.all()
    with pytest.raises(ProblemError, match=r"quadratic is a problem of ifog's own, .* e\.g\. my_quadratic"):

        @problems.problem
        def quadratic(n):
            return problems.averaging(n)

    assert problems.all() == before


def test_every_registered_problem_is_exported():
    for name, function in problems.all().items():
        assert getattr(problems, name, None) is function, f"export {name} in ifog/problems/__init__.py"
    assert ifog.problems is problems


def test_a_problem_is_called_what_was_typed():
    assert problems.quadratic(4, d=3, noise=0.0).label == "quadratic(4, d=3)"
    assert problems.make("lasso", 2, l1=0.5).label == "lasso(2, l1=0.5)"
    assert problems.lasso(2, l1=0.5).parameters["l1"] == 0.5


def test_a_new_problem_needs_one_formula():
    class Rosenbrock(problems.Problem):
        def _f(self, x, a):
            return (a - x[:, 0]) ** 2 + 100 * (x[:, 1] - x[:, 0] ** 2) ** 2

    problem = Rosenbrock(d=2, data={"a": torch.tensor([1.0, 2.0], dtype=F64)})
    x = torch.tensor([[0.5, 0.5], [2.0, 4.0]], dtype=F64)
    with torch.no_grad():
        gradient = problem.gradient(x, range(2))
    assert gradient.tolist() == [pytest.approx([-51, 50]), [0, 0]]
    assert problem.optimum is problem.L is problem.mu is problem.smallest is None
    assert problem.metrics(x, range(2)) == {}


CASES = {
    "no such problem": (lambda: problems.make("lasoo", 4), r"no problem 'lasoo': did you mean 'lasso'\? the problems are"),
    "no nodes": (lambda: problems.quadratic(0), r"n=0: n must be at least 1"),
    "half a node": (lambda: problems.quadratic(2.5), r"n=2\.5.*whole"),
    "no unknowns": (lambda: problems.least_squares(2, d=0), r"d=0"),
    "too few samples": (lambda: problems.least_squares(2, d=10, samples=4), r"samples=4: 8 samples.*d=10.*at least 5"),
    "negative heterogeneity": (lambda: problems.logistic(2, heterogeneity=-1), r"heterogeneity=-1.*at least 0"),
    "nan noise": (lambda: problems.least_squares(2, noise=float("nan")), r"noise=nan.*finite"),
    "a word for noise": (lambda: problems.quadratic(2, noise="much"), r"noise='much'"),
    "a condition below one": (lambda: problems.quadratic(2, condition=0.5), r"condition=0\.5.*at least 1"),
    "a condition for one": (lambda: problems.quadratic(2, d=1, condition=5), r"condition=5.*d=1"),
    "a negative seed": (lambda: problems.lasso(2, seed=-1), r"seed=-1"),
    "too many nonzeros": (lambda: problems.lasso(2, d=3, nonzeros=4), r"nonzeros=4.*at most 3"),
    "hidden layers by a number": (lambda: problems.digits(2, hidden=32), r"hidden=32.*tuple.*\(32,\)"),
    "an empty layer": (lambda: problems.digits(2, hidden=(0,)), r"hidden=0"),
    "more nodes than digits": (lambda: problems.digits(2000), r"n=2000.*1,437"),
    "no alpha": (lambda: problems.digits(2, alpha=0), r"alpha=0"),
    "a short x": (lambda: QUADRATIC.loss(torch.zeros(4, 2, dtype=F64), range(4)), r"x has shape \(4, 2\).*\(4, 3\)"),
    "one vector": (lambda: QUADRATIC.gradient(torch.zeros(3, dtype=F64), range(4)), r"x has shape \(3,\).*\(4, 3\).*4 nodes"),
    "too few rows": (lambda: QUADRATIC.gradient(torch.zeros(2, 3, dtype=F64), range(4)), r"x has shape \(2, 3\)"),
    "numpy": (lambda: QUADRATIC.gradient(np.zeros((4, 3)), range(4)), r"x is of type ndarray and no tensor"),
    "another type": (
        lambda: QUADRATIC.gradient(torch.zeros(4, 3), range(4)),
        r"x is torch\.float32 and quadratic\(4, d=3\) torch\.float64.*problem\.to\(dtype=torch\.float32\)",
    ),
    "another device": (
        lambda: QUADRATIC.gradient(torch.zeros(4, 3, dtype=F64, device="meta"), range(4)),
        r"x is on meta and quadratic\(4, d=3\) on cpu.*problem\.to\('meta'\)",
    ),
    "a stack of vectors": (
        lambda: QUADRATIC.objective(torch.zeros(4, 3)),
        r"x has shape \(4, 3\).*one vector.*loss\(x, nodes\)",
    ),
    "a node beyond": (lambda: QUADRATIC.start([4]), r"no node 4.*0 to 3"),
    "a node before": (lambda: QUADRATIC.start([-1]), r"no node -1"),
    "a range beyond": (lambda: QUADRATIC.start(range(5)), r"no node 4"),
    "one node": (lambda: QUADRATIC.start(2), r"nodes=2.*range\(4\)"),
    "nodes by name": (lambda: QUADRATIC.start(["a"]), r"nodes=\['a'\]"),
    "a node elsewhere": (lambda: PART.start([1, 3]), r"node 3 of quadratic\(4, d=3\) are not here, only those of 1 to 2.*take"),
    "an objective of a part": (lambda: PART.objective(torch.zeros(3)), r"objective.*all 4 nodes.*1 to 2"),
    "a node twice": (lambda: QUADRATIC.take([1, 1]), r"nodes=\[1, 1\].*once"),
    "an empty batch": (lambda: QUADRATIC.batch(range(4), 0, 0), r"size=0.*at least 1"),
    "half a round": (lambda: QUADRATIC.batch(range(4), 0.5, 1), r"round=0\.5"),
    "another's batch": (
        lambda: QUADRATIC.gradient(torch.zeros(2, 3, dtype=F64), [0, 1], QUADRATIC.batch([1, 2], 0, 1)),
        r"batch was drawn for nodes \[1, 2\] and not for \[0, 1\]",
    ),
    "integers": (lambda: QUADRATIC.to(dtype=torch.int64), r"dtype=torch\.int64.*floating"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_call_that_cannot_be_is_refused_with_the_reason(case):
    call, says = CASES[case]
    with pytest.raises(ProblemError, match=says):
        call()


def test_an_unknown_option_shows_the_right_ones():
    with pytest.raises(TypeError, match=r"quadratic: .*kappa.*it is quadratic\(n: int, \*, d: int = 10"):
        problems.quadratic(4, kappa=3)


def test_nodes_may_be_given_in_any_form():
    x = torch.arange(9, dtype=F64).reshape(3, 3)
    rows = [QUADRATIC.gradient(x, nodes) for nodes in ([1, 2, 3], range(1, 4), np.arange(1, 4), torch.arange(1, 4), (1, 2, 3))]
    assert all(torch.equal(row, rows[0]) for row in rows)
    assert torch.equal(QUADRATIC.gradient(x, range(3, 0, -1)), QUADRATIC.gradient(x.flip(0), [1, 2, 3]).flip(0))


def test_parts_say_what_they_hold():
    assert list(PART.nodes) == [1, 2]
    assert repr(PART) == "quadratic(4, d=3): d = 3, L = 1, μ = 0.1, b² = 1, only nodes 1 to 2"
    assert repr(QUADRATIC.take([3, 0])).endswith("only nodes 3, 0")
    assert list(PART.take(range(2, 3)).nodes) == [2]


def test_a_large_problem_does_not_solve_itself_to_be_shown():
    assert repr(problems.least_squares(4000)) == "least_squares(4000): d = 10, 30 samples per node"
