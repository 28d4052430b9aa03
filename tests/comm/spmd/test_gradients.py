"""The gradient of W x is Wᵀ g: compared with torch's own, which sees all ranks as one stack."""

import numpy as np
import pytest
import torch
from spmd_claims import LARGE, assert_close, everyones, everywhere, me, n, numbers, refused

import ifog
from ifog import topology as t


def stack(xs):
    return torch.stack([x.detach() for x in xs]).requires_grad_()


def losses(ys):
    """A loss on each rank, of another form on each: their sum is what the whole network minimises."""
    return sum(((rank + 1) * y.abs() ** 3).sum() for rank, y in enumerate(ys))


def loss(y):
    return ((me + 1) * y.abs() ** 3).sum()


def assert_gradient(x, X):
    assert_close(x.grad, X.grad[me], rtol=1e-12, atol=1e-13)


def mixed(W, X):
    return torch.einsum("ij,j...->i...", torch.from_numpy(np.asarray(W, float)).to(X.dtype), X)


@pytest.mark.parametrize("shape", [(), (3,), (LARGE, 2)])
@pytest.mark.parametrize("topology", [t.ring(n), t.exponential(n), t.star(n)], ids=lambda topology: topology.label)
def test_along_a_topology(topology, shape):
    ifog.set_topology(topology)
    xs = everyones(1, shape)
    x, X = xs[me].clone().requires_grad_(), stack(xs)
    y = ifog.neighbor_allreduce(x)
    assert y.requires_grad
    loss(y).backward()
    losses(mixed(topology.W, X)).backward()
    assert_gradient(x, X)


def test_through_the_rounds_of_a_schedule():
    topology = t.base_graph(n)
    ifog.set_topology(topology)
    xs = everyones(2)
    x, X = xs[me].clone().requires_grad_(), stack(xs)
    y, Y = x, X
    for k in range(4):
        y = torch.tanh(ifog.neighbor_allreduce(y))
        Y = torch.tanh(mixed(topology[k].W, Y))
    loss(y).backward()
    losses(Y).backward()
    assert_gradient(x, X)


def test_with_weights_on_both_sides():
    rng = np.random.default_rng(3)
    edges = (rng.random((n, n)) < 0.5) & ~np.eye(n, dtype=bool)
    src, dst, own = rng.normal(size=(n, n)), rng.normal(size=(n, n)), rng.normal(size=n)
    xs = everyones(3)
    x, X = xs[me].clone().requires_grad_(), stack(xs)
    y = ifog.neighbor_allreduce(
        x,
        self_weight=own[me],
        src_weights={j: src[me, j] for j in range(n) if edges[me, j]},
        dst_weights={i: dst[me, i] for i in range(n) if edges[i, me]},
    )
    loss(y).backward()
    losses(mixed(np.where(edges, src * dst.T, 0) + np.diag(own), X)).backward()
    assert_gradient(x, X)


def test_with_weights_for_some_of_the_neighbours():
    ifog.set_topology(t.complete(n))
    xs = everyones(4)
    x, X = xs[me].clone().requires_grad_(), stack(xs)
    loss(ifog.neighbor_allreduce(x, self_weight=0.5, src_weights=dict.fromkeys(range(me + 1, n), 0.25))).backward()
    losses(mixed(np.diag(np.full(n, 0.5)) + np.triu(np.full((n, n), 0.25), 1), X)).backward()
    assert_gradient(x, X)


@pytest.mark.parametrize("op", ["mean", "sum"])
@pytest.mark.parametrize("shape", [(3,), (LARGE, 2)])
def test_of_allreduce(op, shape):
    xs = everyones(5, shape)
    x, X = xs[me].clone().requires_grad_(), stack(xs)
    loss(ifog.allreduce(x, op)).backward()
    total = X.sum(0) if op == "sum" else X.mean(0)
    losses([total] * n).backward()
    assert_gradient(x, X)


def test_of_complex_numbers():
    xs = everyones(6, dtype=torch.complex128)
    x, X = xs[me].clone().requires_grad_(), stack(xs)
    loss(ifog.neighbor_allreduce(x)).backward()
    losses(mixed(t.exponential(n).W, X)).backward()
    assert_gradient(x, X)


def test_a_call_used_twice_in_one_graph_adds_its_gradients():
    W = t.exponential(n).W
    xs = everyones(7)
    x, X = xs[me].clone().requires_grad_(), stack(xs)
    y, Y = ifog.neighbor_allreduce(x), mixed(W, X)
    loss(y * ifog.neighbor_allreduce(y) + ifog.neighbor_allreduce(x) * ifog.allreduce(x)).backward()
    losses(Y * mixed(W, Y) + mixed(W, X) * X.mean(0)).backward()
    assert_gradient(x, X)


def test_twice_backward_through_one_graph():
    xs = everyones(8)
    x = xs[me].clone().requires_grad_()
    value = loss(ifog.neighbor_allreduce(x))
    value.backward(retain_graph=True)
    once = x.grad.clone()
    value.backward()
    assert torch.equal(x.grad, 2 * once)


def test_gradients_of_gradients():
    def cubes(y, rank=me):  # of `abs`, torch takes the second derivative by its compiler, which takes seconds to import
        return ((rank + 1) * y**3).sum()

    W = t.ring(n).W
    ifog.set_topology(t.ring(n))
    xs = everyones(9)
    x, X = xs[me].clone().requires_grad_(), stack(xs)
    (g,) = torch.autograd.grad(cubes(ifog.allreduce(ifog.neighbor_allreduce(x))), x, create_graph=True)
    cubes(g).backward()
    (G,) = torch.autograd.grad(sum(cubes(mixed(W, X).mean(0), rank) for rank in range(n)), X, create_graph=True)
    sum(map(cubes, G, range(n))).backward()
    assert_gradient(x, X)


def test_of_a_list_and_a_dict_some_of_which_need_none():
    W = t.exponential(n).W
    a, b, c = everyones(10), everyones(11, (4, 2)), everyones(12, (2,))
    A, B = stack(a), stack(b)
    x = {"a": a[me].clone().requires_grad_(), "b": b[me].clone().requires_grad_(), "c": c[me], "d": c[me].numpy()}
    y = ifog.neighbor_allreduce(x)
    assert list(y) == ["a", "b", "c", "d"]
    assert isinstance(y["d"], np.ndarray)
    (loss(y["a"]) + loss(y["b"])).backward()
    (losses(mixed(W, A)) + losses(mixed(W, B))).backward()
    assert_gradient(x["a"], A)
    assert_gradient(x["b"], B)
    ys = ifog.allreduce([x["a"], x["b"]])
    assert isinstance(ys, list)
    loss(ys[1]).backward()


def test_float32_parameters_of_a_model():
    """A network whose layers are averaged on the way: as the same network on one stack."""
    torch.manual_seed(me)
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    inputs = torch.randn(16, 4)
    hidden = ifog.neighbor_allreduce(model[1](model[0](inputs)))
    model[2](hidden).square().mean().backward()
    W = t.exponential(n).W
    said = everywhere({"state": model.state_dict(), "inputs": inputs})
    parameters = [{k: v.clone().requires_grad_() for k, v in rank["state"].items()} for rank in said]
    H = torch.stack([
        torch.tanh(rank["inputs"] @ p["0.weight"].T + p["0.bias"]) for rank, p in zip(said, parameters, strict=True)
    ])  # fmt: skip
    H = mixed(W, H)
    sum((h @ p["2.weight"].T + p["2.bias"]).square().mean() for h, p in zip(H, parameters, strict=True)).backward()
    for name, value in model.named_parameters():
        assert_close(value.grad, parameters[me][name].grad, rtol=1e-4, atol=1e-6)


def test_no_graph_is_made_where_none_is_wanted():
    x = numbers(13).requires_grad_()
    with torch.no_grad():
        assert not ifog.neighbor_allreduce(x).requires_grad
        assert not ifog.allreduce(x, "max").requires_grad
        assert ifog.neighbor_allreduce(x, out=x) is x
        assert not ifog.neighbor_allreduce_nonblocking(x).wait().requires_grad
    assert not ifog.neighbor_allreduce(x.detach()).requires_grad


@pytest.mark.parametrize("call", [
    lambda x: ifog.neighbor_allreduce(x, out=torch.empty(3, dtype=x.dtype)), ifog.neighbor_allreduce_nonblocking,
    lambda x: ifog.allreduce(x, out=torch.empty(3, dtype=x.dtype)), ifog.allreduce_nonblocking,
    lambda x: ifog.allreduce(x, "min"), ifog.hierarchical_neighbor_allreduce,
])  # fmt: skip
def test_forms_without_a_gradient_say_so(call):
    with refused(ifog.ArgumentError, "x requires a gradient", "x.detach()"):
        call(numbers(14).requires_grad_())
