"""Parameters and optimizer state, the same on all ranks: for every kind of parameters, and for every optimizer of torch."""

import copy
import inspect

import pytest
import torch
from spmd_claims import all_is_well, alone, everywhere, me, n, refused, same
from torch import nn

import ifog
from ifog.comm import state as room

last = n - 1


class Model(nn.Module):
    """All that a model may have: tied, transposed and empty parameters, double precision, buffers, one of them not saved."""

    def __init__(self, seed=me):
        super().__init__()
        torch.manual_seed(seed)
        self.inner = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
        self.tied = self.inner[0].weight
        self.turned = nn.Parameter(torch.randn(5, 7).t())
        self.empty = nn.Parameter(torch.randn(0, 3))
        self.number = nn.Parameter(torch.randn((), dtype=torch.float64))
        self.rough = nn.Parameter(torch.randn(6).bfloat16())
        self.register_buffer("mask", torch.rand(9) > 0.5)
        self.register_buffer("waves", torch.randn(4, dtype=torch.complex64), persistent=False)
        for _ in range(1 + seed):
            self.inner(torch.randn(8, 3))


def state(model):
    return {name: tensor.detach().clone() for name, tensor in [*model.named_parameters(), *model.named_buffers()]}


def alike(a, b):
    return a.keys() == b.keys() and all(same(a[name].contiguous(), b[name].contiguous()) for name in a)


FORMS = {
    "module": lambda model: model,
    "state_dict": lambda model: model.state_dict() | {"waves": model.waves},
    "named": lambda model: (pair for pair in [*model.named_parameters(), *model.named_buffers()]),
    "tensors": lambda model: (tensor for tensor in [*model.parameters(), *model.buffers()]),
    "list": lambda model: [*model.parameters(), *model.buffers()],
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("root", sorted({0, last}))
def test_broadcast_parameters_makes_all_models_that_of_the_root(form, root):
    model = Model()
    tensors = [*model.parameters(), *model.buffers()]
    ifog.broadcast_parameters(FORMS[form](model), root)
    assert alike(state(model), state(Model(root)))
    assert all(a is b for a, b in zip(tensors, [*model.parameters(), *model.buffers()], strict=True))
    assert model.tied is model.inner[0].weight
    assert model.turned.requires_grad
    assert model.turned.stride() == (1, 7)


@pytest.mark.parametrize("form", FORMS)
def test_average_parameters_makes_all_models_their_mean(form):
    model = Model()
    ifog.average_parameters(FORMS[form](model))
    ours, all_ = state(model), [state(Model(rank)) for rank in range(n)]
    for name, x in ours.items():
        if x.is_floating_point() or x.is_complex():
            mean = sum(theirs[name].to(torch.complex128) for theirs in all_) / n
            bound = {torch.bfloat16: 2.0**-8, torch.float64: 1e-15}.get(x.dtype, 1e-6)
            size = sum(theirs[name].abs().double() for theirs in all_) / n
            assert ((x.to(torch.complex128) - mean).abs() <= bound * size).all(), name
        else:
            assert same(x, torch.stack([theirs[name] for theirs in all_]).long().amax(0).to(x.dtype)), name
    assert ours["inner.1.num_batches_tracked"] == n
    assert all(alike(ours, theirs) for theirs in everywhere(ours))


def test_parameters_of_many_bytes_travel_in_several_messages(monkeypatch):
    monkeypatch.setattr(room, "_MESSAGE", 100_000)
    rng = [torch.Generator().manual_seed(rank) for rank in range(n)]
    everyones = [[torch.rand(length, generator=rng[rank]) for length in (30_000, 5, 20_000, 4_000, 2_000)] for rank in range(n)]
    mine = everyones[me]
    mean = [sum(x.double() for x in xs) / n for xs in zip(*everyones, strict=True)]
    assert [len(message) for message in room._messages(mine)] == [1, 3, 1]
    ifog.average_parameters(mine)
    assert all((x - y).abs().max() < 1e-6 for x, y in zip(mine, mean, strict=True))


def test_nothing_is_recorded_for_gradients_and_hooks_of_autograd_do_not_run():
    w = nn.Parameter(torch.full((3,), float(me)))
    w.register_hook(lambda _: pytest.fail("a gradient came by"))
    ifog.average_parameters([w])
    assert w.is_leaf
    assert w.grad is None
    assert w.tolist() == [(n - 1) / 2] * 3
    with torch.inference_mode():
        ifog.broadcast_parameters({"w": torch.ones(3)})


def test_what_has_no_tensors_is_refused():
    for params in (3, torch.ones(3), None):
        with refused(ifog.ArgumentError, "params is of type", "model.parameters()"):
            ifog.broadcast_parameters(params)
    with refused(ifog.ArgumentError, "lr is of type float"):
        ifog.average_parameters({"lr": 0.1})
    with refused(ifog.ArgumentError, "tensor 0 is of type dict"):
        ifog.average_parameters(torch.optim.SGD(Model().parameters()).param_groups)
    with refused(ifog.ArgumentError, f"root names rank {n}"):
        ifog.broadcast_parameters(Model(), root=n)
    for call in (ifog.broadcast_optimizer_state, ifog.average_optimizer_state):
        with refused(ifog.ArgumentError, "optimizer is of type Model"):
            call(Model())
    ifog.broadcast_parameters([])
    ifog.average_parameters({})


@alone
@pytest.mark.parametrize("call", [ifog.broadcast_parameters, ifog.average_parameters])
def test_ranks_with_other_models_are_told_where_they_differ(call):
    layers = [nn.Linear(3, 3) for _ in range(9)] + [nn.Linear(3, 3 + (me == last))]
    with pytest.raises(ifog.Mismatch) as caught:
        call(nn.Sequential(*layers))
    expected = f"rank 0 has 9.weight (float32 [3, 3]) where rank {last} has 9.weight (float32 [4, 3])"
    assert expected in str(caught.value)
    ifog.recover()
    with pytest.raises(ifog.Mismatch, match=rf"rank 0 has nothing more where rank {last} has tensor 2 \(float64 \[\]\)"):
        call([torch.ones(2), torch.ones(3)] + [torch.tensor(1.0).double()] * (me == last))
    ifog.recover()
    all_is_well()


# ---------------------------------------------------------------------------------------------------------- optimizers
OPTIMIZERS = {
    name: optimizer
    for name, optimizer in vars(torch.optim).items()
    if inspect.isclass(optimizer) and issubclass(optimizer, torch.optim.Optimizer) and optimizer is not torch.optim.Optimizer
}
OPTIONS = [
    {},
    {"foreach": True},
    {"fused": True},
    {"capturable": True},
    {"differentiable": True},
    {"maximize": True, "weight_decay": 0.01},
    {"momentum": 0.9, "nesterov": True},
    {"momentum": 0.9, "centered": True},
    {"amsgrad": True},
    {"initial_accumulator_value": 0.1, "lr_decay": 0.1},
    {"line_search_fn": "strong_wolfe"},
]


class Trained:
    """Some parameters of double precision and an optimizer, after a number of steps."""

    def __init__(self, kind, options, seed=me, steps=0, lr=None):
        torch.manual_seed(seed)
        accepted = inspect.signature(kind).parameters
        options = {key: value for key, value in options.items() if key in accepted}
        self.sparse = "Sparse" in kind.__name__
        lr = 0.01 if lr is None else torch.tensor(lr)
        shapes = [(4, 3), (3, 3)]
        self.params = [nn.Parameter(torch.randn(shape, dtype=torch.float64)) for shape in shapes]
        if kind.__name__ != "Muon":  # which is for matrices
            self.params.append(nn.Parameter(torch.randn(5)))
        groups = [{"params": self.params[1:]}, {"params": self.params[:1], "lr": lr, "initial_lr": 0.02}]
        self.optimizer = kind(self.params if kind.__name__ == "LBFGS" else groups, lr=lr, **options)
        for _ in range(steps):
            self.step()

    def step(self):
        def closure():
            self.optimizer.zero_grad()
            loss = sum(((p - 1) ** 4 + (p - 1) ** 2).sum() for p in self.params)
            for p, gradient in zip(self.params, torch.autograd.grad(loss, self.params), strict=True):
                p.grad = gradient.to_sparse() if self.sparse else gradient
            return loss.detach()

        with torch.no_grad() if self.optimizer.defaults.get("differentiable") else torch.enable_grad():
            with torch.enable_grad():
                closure()
            self.optimizer.step(torch.enable_grad()(closure))

    def state(self):
        """A copy of all that the optimizer knows."""
        return copy.deepcopy(self.optimizer.state_dict())


def equal(a, b):
    """The same dicts, lists, numbers and, to the last bit, tensors."""
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return a.dtype == b.dtype and same(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(equal, a, b))
    return type(a) is type(b) and a == b


def combinations():
    for name, kind in OPTIMIZERS.items():
        accepted = inspect.signature(kind).parameters
        for options in OPTIONS:
            if options.keys() <= accepted.keys():
                try:
                    Trained(kind, options, steps=1)
                except (RuntimeError, ValueError, AssertionError):
                    continue  # not on a CPU, or not with the other options
                yield pytest.param(kind, options, id="-".join([name, *options]))


COMBINATIONS = list(combinations())


def test_all_optimizers_of_torch_are_here():
    assert {param.values[0] for param in COMBINATIONS} == set(OPTIMIZERS.values())
    assert len(OPTIMIZERS) >= 15


@pytest.mark.parametrize(("kind", "options"), COMBINATIONS)
def test_the_optimizer_of_the_root_goes_on_on_all_ranks(kind, options):
    for root, steps in ((0, 3 if me == 0 else 0), (last, 1 + me), (0, 0 if me == 0 else 2)):
        mine = Trained(kind, options, steps=steps)
        before = mine.state()
        ifog.broadcast_optimizer_state(mine.optimizer, root)
        after = mine.state()
        states = everywhere(after)
        assert all(equal(after, theirs) for theirs in states)
        if me == root:
            assert equal(after, before)
        ifog.broadcast_parameters(mine.params, root)
        mine.step()
        mine.step()
        params = everywhere([p.detach() for p in mine.params])
        assert all(equal(params[0], theirs) for theirs in params)


@pytest.mark.parametrize("kind", OPTIMIZERS.values())
def test_options_of_any_type_are_broadcast_exactly(kind):
    lr = 0.1 + 1e-12 * me
    mine = Trained(kind, {}, lr=None)
    for group in mine.optimizer.param_groups:
        group["lr"] = lr
        group["foreach"] = None if me == last else False
        group["mine"] = (None, "text", 1e300 * (me + 1), float("nan"))
    ifog.broadcast_optimizer_state(mine.optimizer, last)
    for group in mine.optimizer.param_groups:
        assert group["lr"] == 0.1 + 1e-12 * last
        assert group["foreach"] is None
        assert group["mine"][:3] == (None, "text", 1e300 * n)
        assert group["params"]


def test_a_learning_rate_that_is_a_tensor_stays_the_one_that_the_user_holds():
    lr = torch.tensor(0.5 + me, dtype=torch.float64)
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(2))], lr=lr)
    ifog.broadcast_optimizer_state(optimizer, last)
    assert optimizer.param_groups[0]["lr"] is lr
    assert lr == 0.5 + last
    plain = torch.optim.SGD([nn.Parameter(torch.ones(2))], lr=lr if me == 0 else 0.1)
    ifog.broadcast_optimizer_state(plain)
    assert plain.param_groups[0]["lr"] == 0.5 + last


@pytest.mark.parametrize(("kind", "options"), COMBINATIONS)
def test_what_optimizers_remember_is_averaged_tensor_by_tensor(kind, options):
    mine = Trained(kind, options, steps=1 + me)
    if kind is torch.optim.LBFGS:
        with refused(ifog.ArgumentError, "LBFGS remembers", "has no mean", "ifog.broadcast_optimizer_state"):
            ifog.average_optimizer_state(mine.optimizer)
        return
    before = everywhere(mine.state())
    ifog.average_optimizer_state(mine.optimizer)
    after = mine.state()
    assert equal(after["param_groups"], before[me]["param_groups"])
    for i, now in after["state"].items():
        for key, value in now.items():
            terms = [theirs["state"][i][key] for theirs in before]
            assert type(value) is type(terms[0])
            if key == "step":
                assert value == n
            elif isinstance(value, torch.Tensor):
                mean = sum(term.double() for term in terms) / n
                assert value.dtype == terms[0].dtype
                assert torch.allclose(value.double(), mean, rtol=1e-14 if value.dtype == torch.float64 else 1e-6, atol=0)
    assert all(equal(after["state"], theirs["state"]) for theirs in everywhere(after))
    mine.step()


@alone
def test_a_rank_that_has_not_stepped_has_nothing_to_average_and_is_named():
    mine = Trained(torch.optim.Adam, {}, steps=0 if me == last else 1)
    missing = rf"'exp_avg' of parameter 0 in group 0 of Adam .* where rank {last} has nothing more"
    with pytest.raises(ifog.Mismatch, match=missing):
        ifog.average_optimizer_state(mine.optimizer)
    ifog.recover()
    ifog.broadcast_optimizer_state(mine.optimizer)
    ifog.average_optimizer_state(mine.optimizer)


@alone
def test_another_optimizer_or_another_model_is_named():
    kind = torch.optim.SGD if me == last else torch.optim.Adam
    with pytest.raises(ifog.Mismatch, match=rf"group 0 of Adam .* where rank {last} has .* group 0 of SGD"):
        ifog.broadcast_optimizer_state(Trained(kind, {}).optimizer)
    ifog.recover()
    with pytest.raises(ifog.Mismatch, match=r"parameter 0 in group 0 of SGD \(float32 \[3\]\)"):
        ifog.broadcast_optimizer_state(torch.optim.SGD([torch.ones(2 + (me == last))]))
    ifog.recover()
    all_is_well()
