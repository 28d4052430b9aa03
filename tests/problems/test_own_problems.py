"""Problems from one's own function or gradient."""

import pickle

import numpy as np
import pytest
import torch
from every_problem import F64, somewhere
from torch.nn.functional import cross_entropy

from ifog import problems
from ifog.errors import ProblemError


def squares(x, data):
    A, b = data
    return ((A @ x - b) ** 2).mean() / 2


def squares_by_name(x, data):
    return squares(x, (data["A"], data["b"]))


def distance(x, c):
    return ((x - c) ** 2).sum() / 2


def gradient_of_distance(x, node):
    return x - node


def half_square_of_distance(x, node):
    return ((x - node) ** 2).sum() / 2


LS = problems.least_squares(5, d=4, samples=6)
DATA = LS._data["A"], LS._data["b"]


@pytest.mark.parametrize(
    ("f", "data"),
    [
        (squares, DATA),
        (squares, tuple(part.numpy() for part in DATA)),
        (squares_by_name, dict(zip("Ab", DATA, strict=True))),
    ],
    ids=["tuple", "numpy", "dict"],
)
def test_a_function_of_one_node_makes_the_problem_written_for_all(f, data):
    own = problems.from_function(f, data, d=4, n=5, samples=True, optimum=LS.optimum, L=LS.L, mu=LS.mu)
    nodes, x = range(5), somewhere(LS, range(5))
    torch.testing.assert_close(own.loss(x, nodes), LS.loss(x, nodes), rtol=1e-13, atol=1e-14)
    torch.testing.assert_close(own.gradient(x, nodes), LS.gradient(x, nodes), rtol=1e-12, atol=1e-13)
    batch = own.batch(nodes, 3, 4, seed=1)
    assert torch.equal(batch.picks, LS.batch(nodes, 3, 4, seed=1).picks)
    torch.testing.assert_close(own.gradient(x, nodes, batch), LS.gradient(x, nodes, batch), rtol=1e-12, atol=1e-13)
    assert own.smallest == pytest.approx(LS.smallest, rel=1e-12)
    assert own.heterogeneity == pytest.approx(LS.heterogeneity, rel=1e-12)
    assert (own.L, own.mu, own.samples, own.n) == (LS.L, LS.mu, 6, 5)
    part = own.take([3, 1])
    torch.testing.assert_close(part.gradient(x[[3, 1]], [3, 1]), LS.gradient(x[[3, 1]], [3, 1]), rtol=1e-12, atol=1e-13)


def test_labels_may_stand_beside_numbers():
    X, y = torch.randn(3, 8, 2, dtype=F64), torch.arange(24).reshape(3, 8) % 2
    own = problems.from_function(lambda x, data: cross_entropy(data[0] @ x.view(2, 2), data[1]), (X, y), d=4, samples=True)
    single = own.to(dtype=torch.float32)
    assert own.gradient(own.start(range(3)), range(3)).shape == (3, 4)
    assert single.gradient(single.start(range(3)), range(3), single.batch(range(3), 0, 2)).dtype == torch.float32


def test_a_single_tensor_has_no_samples_unless_it_is_said():
    own = problems.from_function(distance, torch.zeros(3, 2, dtype=F64), d=2)
    assert own.samples is None
    assert own.batch(range(3), 0, 8).picks is None
    assert (own.L, own.mu, own.optimum, own.smallest, own.heterogeneity) == (None,) * 5


def test_it_computes_in_the_type_of_its_data():
    assert problems.from_function(distance, torch.zeros(3, 2), d=2).dtype == torch.float32
    assert problems.from_function(distance, np.zeros((3, 2)), d=2).dtype == F64


@pytest.mark.parametrize("form", [np.array, torch.tensor])
def test_what_happens_to_the_data_afterwards_does_not_change_it(form):
    data = form([[1.0], [2.0]])
    own = problems.from_function(distance, data, d=1)
    data[:] = 7
    assert own.gradient(own.start(range(2)), range(2)).tolist() == [[-1], [-2]]


def test_the_name_is_that_of_the_function():
    assert problems.from_function(distance, torch.zeros(3, 2), d=2).label == "distance(3)"
    assert problems.from_function(lambda x, c: distance(x, c), torch.zeros(3, 2), d=2, name="mine").name == "mine"
    assert repr(problems.from_gradient(gradient_of_distance, 3, 2, L=1, noise=0.5)) == (
        "gradient_of_distance(3): d = 2, σ = 0.5, L = 1"
    )


def test_the_start_is_the_one_given():
    own = problems.from_function(lambda x, c: (c * x.log()).sum(), torch.ones(3, 2, dtype=F64), d=2, start=[1, 2])
    assert own.start([2, 0]).tolist() == [[1, 2], [1, 2]]


def test_noise_is_added_to_its_gradients():
    own = problems.from_gradient(gradient_of_distance, 50, 40, noise=2.0)
    x, nodes = own.start(range(50)), range(50)
    noise = own.gradient(x, nodes, own.batch(nodes, 0, 4)) - own.gradient(x, nodes)
    assert float(noise.std()) == pytest.approx(1, rel=0.05)


def test_a_gradient_is_enough():
    own = problems.from_gradient(gradient_of_distance, n=3, d=2, optimum=[1, 1], L=1, mu=1)
    x = somewhere(own, range(3))
    assert torch.equal(own.gradient(x, range(3)), x - torch.arange(3)[:, None])
    assert own.heterogeneity == pytest.approx(4 / 3)
    assert own.smallest is None
    assert own.take([2]).gradient(x[2:], [2]).tolist() == (x[2:] - 2).tolist()
    with pytest.raises(ProblemError, match=r"gradients only.*loss="):
        own.loss(x, range(3))
    with_loss = problems.from_gradient(gradient_of_distance, n=3, d=2, optimum=[1, 1], loss=half_square_of_distance)
    assert with_loss.smallest == pytest.approx(2 / 3)


def test_a_gradient_may_come_from_numpy():
    own = problems.from_gradient(lambda x, _: np.asarray(x) * 2, n=2, d=2)
    assert own.gradient(torch.ones(2, 2, dtype=F64), range(2)).tolist() == [[2, 2], [2, 2]]


def test_ones_own_problem_can_be_sent_elsewhere():
    for own in (
        problems.from_function(squares, DATA, d=4, samples=True),
        problems.from_gradient(gradient_of_distance, n=5, d=4, loss=half_square_of_distance),
    ):
        x = somewhere(LS, range(5))
        assert torch.equal(pickle.loads(pickle.dumps(own)).gradient(x, range(5)), own.gradient(x, range(5)))


def test_iterates_that_diverge_are_let_go():
    own = problems.from_function(lambda x, c: (x**4).sum() + c.sum(), torch.zeros(2, 1), d=1)
    assert own.loss(torch.full((2, 1), 1e30), range(2)).tolist() == [torch.inf] * 2


def whatever(x, data):
    return x.sum() * 0


CASES = {
    "no function": (lambda: problems.from_function(3, torch.zeros(2, 1), d=1), r"f=3.*f\(x, data_i\)"),
    "a vector": (
        lambda: problems.from_function(lambda x, c: x - c, torch.zeros(2, 3), d=3),
        r"f returned a tensor of shape \(3,\).*one number.*\.mean\(\)",
    ),
    "a float": (lambda: problems.from_function(lambda *_: 1.0, torch.zeros(2, 3), d=3), r"f returned a float and no tensor"),
    "a whole number": (
        lambda: problems.from_function(lambda x, c: (x > c).sum(), torch.zeros(2, 3), d=3),
        r"f returned torch\.int64",
    ),
    "nan at the start": (
        lambda: problems.from_function(lambda x, c: (x / c).sum(), torch.tensor([[1.0], [0.0]]), d=1),
        r"f: at the start its value is nan for node 1.*finite.*another start",
    ),
    "a nan gradient": (
        lambda: problems.from_function(lambda x, c: (x - c).pow(2).sum().sqrt(), torch.zeros(2, 2), d=2),
        r"f: at the start its gradient is \[nan, nan\] for node 0",
    ),
    "nan in the data": (
        lambda: problems.from_function(whatever, (torch.zeros(2, 1), torch.tensor([0.0, torch.nan])), d=1),
        r"data\[1\] holds nan or inf at node 1",
    ),
    "integers": (
        lambda: problems.from_function(whatever, torch.zeros(2, 1, dtype=torch.int64), d=1),
        r"data is torch\.int64.*floating-point.*data\.double\(\)",
    ),
    "two types": (
        lambda: problems.from_function(whatever, (torch.zeros(2, 1), torch.zeros(2, 1, dtype=F64)), d=1),
        r"data\[0\] is torch\.float32, data\[1\] is torch\.float64.*one type",
    ),
    "another n": (
        lambda: problems.from_function(whatever, torch.zeros(2, 1), d=1, n=3),
        r"data has 2 rows and n=3: its leading axis is the node, of shape \(3, …\)",
    ),
    "different n": (
        lambda: problems.from_function(whatever, {"A": torch.zeros(2, 1), "b": torch.zeros(3)}, d=1),
        r"data\['b'\] has 3 rows and n=2",
    ),
    "no node axis": (lambda: problems.from_function(whatever, torch.tensor(1.0), d=1), r"data has shape \(\).*leading axis"),
    "no data": (lambda: problems.from_function(whatever, (), d=1), r"data=\(\).*torch\.zeros\(n, 0\)"),
    "a ragged list": (lambda: problems.from_function(whatever, [[1.0], [1.0, 2.0]], d=1), r"data.*list.*tensor"),
    "no samples": (
        lambda: problems.from_function(whatever, (torch.zeros(2, 3), torch.zeros(2)), d=1, samples=True),
        r"samples=True.*data\[1\] has shape \(2,\).*second axis",
    ),
    "different samples": (
        lambda: problems.from_function(whatever, (torch.zeros(2, 3), torch.zeros(2, 4)), d=1, samples=True),
        r"samples=True.*same samples",
    ),
    "no unknowns": (lambda: problems.from_function(whatever, torch.zeros(2, 1), d=0), r"d=0.*at least 1"),
    "a long optimum": (
        lambda: problems.from_function(whatever, torch.zeros(2, 1), d=1, optimum=[1, 2]),
        r"optimum has shape \(2,\).*\(1,\)",
    ),
    "no optimum": (lambda: problems.from_function(whatever, torch.zeros(2, 1), d=1, optimum="x"), r"optimum='x'.*vector"),
    "a nan start": (
        lambda: problems.from_function(whatever, torch.zeros(2, 1), d=1, start=[torch.nan]),
        r"start is not finite",
    ),
    "no curvature": (lambda: problems.from_function(whatever, torch.zeros(2, 1), d=1, L=0), r"L=0.*above 0"),
    "negative noise": (lambda: problems.from_function(whatever, torch.zeros(2, 1), d=1, noise=-1), r"noise=-1.*at least 0"),
    "a wrong d": (
        lambda: problems.from_function(squares, DATA, d=3, samples=True),
        r"f failed for node 0, with x of shape \(3,\) and data of \(6, 4\), \(6,\):.*must return one number",
    ),
    "a function of all samples only": (
        lambda: problems.from_function(lambda x, c: (x * c.view(6)).mean(), torch.ones(2, 6), d=1, samples=True),
        r"f failed for node 0, with x of shape \(1,\) and data of \(1,\)",
    ),
    "a value taken out": (
        lambda: problems.from_function(lambda x, c: x.sum() * c.sum().item(), torch.zeros(2, 1), d=1),
        r"works for one node and not for all at once.*vmap.*from_gradient",
    ),
    "no gradient": (lambda: problems.from_gradient(None, 2, 1), r"gradient=None.*gradient\(x, node\)"),
    "no loss": (lambda: problems.from_gradient(gradient_of_distance, 2, 1, loss=3), r"loss=3.*loss\(x, node\)"),
    "a short gradient": (
        lambda: problems.from_gradient(lambda x, _: x[:1], 2, 3),
        r"gradient\(x, 0\) has shape \(1,\).*\(3,\)",
    ),
    "a nan in it": (lambda: problems.from_gradient(lambda x, _: x * torch.nan, 2, 1), r"gradient: at the start.*nan.*node 0"),
    "a vector for a loss": (
        lambda: problems.from_gradient(gradient_of_distance, 2, 3, loss=gradient_of_distance),
        r"loss\(x, 0\) has shape \(3,\).*one number",
    ),
    "an integer type": (lambda: problems.from_gradient(gradient_of_distance, 2, 1, dtype=torch.int64), r"dtype=torch\.int64"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_cannot_be_a_problem_is_refused_with_the_reason(case):
    call, says = CASES[case]
    with pytest.raises(ProblemError, match=says):
        call()


def test_an_error_inside_the_function_is_its_own():
    with pytest.raises(ZeroDivisionError):
        problems.from_function(lambda x, _: x.sum() * (1 // 0), torch.zeros(2, 1), d=1)
