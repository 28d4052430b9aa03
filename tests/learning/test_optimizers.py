"""A torch optimizer that trains with others: alone it is the one that was given, on ranks it is the method."""

import copy
import gc
import pickle
import warnings
import weakref

import mpi_programs
import pytest
import torch
from odd_model import Odd
from torch import nn

import ifog
from ifog import algorithms, learning
from ifog.errors import MethodError


def mlp():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()


X = torch.linspace(-1, 1, 24, dtype=torch.float64).view(8, 3)


def train(model, optimizer, steps=6, after=lambda: None):
    for _ in range(steps):
        optimizer.zero_grad()
        model(X).square().mean().backward()
        optimizer.step()
        after()


def vector(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_what_must_hold_on_ranks_holds():
    assert "all hold" in mpi_programs.run(4, "learning/programs/optimizers.py")


TORCH = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, weight_decay=0.01),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.1),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.01),
}


@pytest.mark.parametrize("method", ["atc", "dgd", "allreduce", "sgp", "local_sgd", "exact_diffusion"])
@pytest.mark.parametrize("make", TORCH.values(), ids=TORCH)
def test_a_node_that_is_alone_does_what_torch_does(method, make):
    alone, model = mlp(), mlp()
    wrapped = learning.optimizer(make(model.parameters()), model, method=method)
    torch_alone = make(alone.parameters())
    schedulers = [torch.optim.lr_scheduler.StepLR(o, 2, 0.5) for o in (wrapped, torch_alone)]
    train(model, wrapped, after=schedulers[0].step)
    train(alone, torch_alone, after=schedulers[1].step)
    assert wrapped.param_groups[0]["lr"] == torch_alone.param_groups[0]["lr"] < 0.1
    assert torch.allclose(vector(model), vector(alone), rtol=1e-12, atol=1e-14)


def test_a_method_s_own_momentum_is_torch_s():
    alone, model = mlp(), mlp()
    groups = [{"params": model[0].parameters()}, {"params": model[2].parameters(), "lr": 0.02}]
    train(model, learning.optimizer(torch.optim.SGD(groups, lr=0.1, weight_decay=0.1), model, method="dmsgd", beta=0.9))
    groups = [{"params": alone[0].parameters()}, {"params": alone[2].parameters(), "lr": 0.02}]
    train(alone, torch.optim.SGD(groups, lr=0.1, momentum=0.9, weight_decay=0.1))
    assert torch.allclose(vector(model), vector(alone), rtol=1e-12)


def test_closures_are_asked_as_often_as_torch_asks():
    alone, model = mlp(), mlp()
    optimizers = [torch.optim.LBFGS(m.parameters(), max_iter=4) for m in (model, alone)]
    optimizers[0] = learning.optimizer(optimizers[0], model, method="dgd")
    for m, optimizer in zip((model, alone), optimizers, strict=True):

        def compute(m=m, optimizer=optimizer):
            optimizer.zero_grad()
            loss = m(X).square().mean()
            loss.backward()
            return loss

        losses = [optimizer.step(compute).item() for _ in range(3)]
        assert losses == sorted(losses, reverse=True)
    assert torch.allclose(vector(model), vector(alone), rtol=1e-10)


def test_schedulers_of_torch_s_own_optimizer_count_too():
    model = mlp()
    inner = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(inner, 0.5)
    optimizer = learning.optimizer(inner, model, method="diging")
    train(model, optimizer, 3, after=scheduler.step)
    assert optimizer.param_groups[0]["lr"] == 0.0125
    train(model, optimizer, 1)


def test_a_step_of_zero_is_none():
    model = mlp()
    optimizer = learning.optimizer(torch.optim.SGD(model.parameters(), lr=0.0, weight_decay=0.1), model, method="qg_dmsgd")
    before = vector(model).clone()
    train(model, optimizer, 2)
    assert torch.equal(vector(model), before)
    optimizer.param_groups[0]["lr"] = 0.1
    train(model, optimizer, 1)
    assert vector(model).isfinite().all()


def test_a_model_that_is_only_judged_says_nothing():
    model = mlp()
    optimizer = learning.optimizer(torch.optim.SGD(model.parameters(), lr=0.1), model, method="cta", topology="ring")
    with torch.no_grad():
        model(X)
    model.eval()
    model(X)
    assert not optimizer._way.begun
    model.train()
    model(X)
    assert optimizer._way.begun


@pytest.mark.slow  # the compiler is large
def test_a_compiled_model_trains_as_it_did():
    alone, model = mlp(), mlp()
    optimizer = learning.optimizer(torch.optim.SGD(model.parameters(), lr=0.1), model, method="cta")
    compiled = torch.compile(model, backend="eager")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the compiler itself
        train(compiled, optimizer)
    train(alone, torch.optim.SGD(alone.parameters(), lr=0.1))
    assert torch.allclose(vector(model), vector(alone), rtol=1e-12)


def test_odd_models_train_with_a_method_of_their_own_step():
    model, alone = Odd(), None
    alone = copy.deepcopy(model)
    optimizer = learning.optimizer(torch.optim.SGD(model.parameters(), lr=0.1), model, method="dmsgd", beta=0.0)
    torch_alone = torch.optim.SGD(alone.parameters(), lr=0.1)
    for m, o in ((model, optimizer), (alone, torch_alone)):
        for _ in range(2):
            o.zero_grad()
            m(torch.arange(6).view(2, 3)).square().mean().backward()
            o.step()
    for p, q in zip(model.parameters(), alone.parameters(), strict=True):
        assert torch.allclose(p, q, rtol=1e-5, atol=1e-2 if p.dtype is torch.bfloat16 else 1e-6)


def sgd(model):
    return torch.optim.SGD(model.parameters(), lr=0.1)


def test_bad_input_is_named():
    model = mlp()
    with pytest.raises(ifog.ArgumentError, match=r"0.weight is to be trained, but SGD does not know it"):
        learning.optimizer(torch.optim.SGD(model[2].parameters(), lr=0.1), model)
    with pytest.raises(ifog.ArgumentError, match=r"parameter 0 of group 0, of shape \[1, 1\], is none of the model"):
        learning.optimizer(sgd(nn.Linear(1, 1)), nn.ReLU())
    with pytest.raises(ifog.ArgumentError, match="torch_optimizer is of type Sequential"):
        learning.optimizer(model, model)
    with pytest.raises(ifog.ArgumentError, match="the learning rate is torch's"):
        learning.optimizer(sgd(model), model, method="diging", lr=0.1)
    with pytest.raises(ifog.ArgumentError, match="dmsgd has no parameter 'bata': did you mean beta"):
        learning.optimizer(sgd(model), model, method="dmsgd", bata=0.1)
    with pytest.raises(ifog.ArgumentError, match="'allreduce' has no parameters"):
        learning.optimizer(sgd(model), model, method="allreduce", beta=0.1)
    with pytest.raises(MethodError, match="no method 'dmsg': did you mean dmsgd"):
        learning.optimizer(sgd(model), model, method="dmsg")
    with pytest.raises(MethodError, match="waits for nobody"):
        learning.optimizer(sgd(model), model, method="ad_psgd")
    with pytest.raises(ifog.TopologyError, match="build it with n=1"):
        learning.optimizer(sgd(model), model, topology=ifog.topology.ring(4))
    with pytest.warns(ifog.IfogWarning, match=r"momentum=0\.9 of SGD and beta=0\.9 of dmsgd are two momenta"):
        learning.optimizer(torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), model, method="dmsgd")
    optimizer = learning.optimizer(sgd(model), model, method="dmsgd")
    optimizer.parameters["beta"] = 2.0
    with pytest.raises(ifog.ArgumentError, match=r"beta=2\.0 of dmsgd"):
        train(model, optimizer, 1)


def test_parameters_that_come_later_are_refused():
    model = mlp()
    model[0].requires_grad_(False)
    optimizer = learning.optimizer(sgd(model), model)
    train(model, optimizer, 1)
    with pytest.raises(ifog.ArgumentError, match=r"add_param_group: .*anew"):
        optimizer.add_param_group({"params": [nn.Parameter(torch.ones(1))]})
    model[0].requires_grad_(True)
    with pytest.raises(ifog.ArgumentError, match=r"parameter of shape \[4, 3\] was frozen"):
        train(model, optimizer, 1)


def test_a_method_that_asks_twice_is_told_what_it_takes():
    @algorithms.method()
    def extragradient(net, x, grad, s, *, lr):
        """x⁺ = x − α ∇f(x − α ∇f(x))"""
        return x - lr * grad(x - lr * grad())

    model = nn.Linear(1, 1, bias=False)
    nn.init.ones_(model.weight)
    optimizer = learning.optimizer(torch.optim.SGD(model.parameters(), lr=0.5), model, method=extragradient)

    def compute():
        optimizer.zero_grad()
        loss = model(torch.ones(1, 1)).square().sum() / 2
        loss.backward()
        return loss

    optimizer.step(compute)
    assert model.weight.item() == 0.75  # 1 − 0.5 · (1 − 0.5)
    compute()
    with pytest.raises(MethodError, match=r"second gradient.*step\(closure\)"):
        optimizer.step()
    assert model.weight.item() == 0.75


def test_the_state_of_another_model_or_method_is_refused_by_name():
    model, other = mlp(), nn.Linear(3, 4).double()
    state = learning.optimizer(sgd(model), model, method="dmsgd").state_dict()
    with pytest.raises(ifog.ArgumentError, match=r"another model: it has 0.weight .*where this one has weight"):
        learning.optimizer(sgd(other), other, method="dmsgd").load_state_dict(state)
    with pytest.raises(ifog.ArgumentError, match=r"of the method 'dmsgd', and this is the method 'atc'.*can still be"):
        learning.optimizer(sgd(model), model).load_state_dict(state)
    with pytest.raises(ifog.ArgumentError, match="of 4 nodes, and this is 1 nodes"):
        learning.optimizer(sgd(model), model, method="dmsgd").load_state_dict({**state, "ifog": {**state["ifog"], "n": 4}})
    with pytest.raises(ifog.ArgumentError, match="one of a torch optimizer"):
        learning.optimizer(sgd(model), model).load_state_dict(sgd(model).state_dict())


def test_a_cell_that_is_run_again_replaces_the_optimizer():
    model = mlp()
    first = learning.optimizer(sgd(model), model, method="dgd")
    second = learning.optimizer(sgd(model), model, method="allreduce")
    train(model, second, 2)
    assert (first.steps, second.steps) == (0, 2)
    assert not first._way.begun
    with pytest.raises(ifog.ArgumentError, match="another one since"):
        first.step()


def test_copies_of_a_model_are_plain_models():
    model = mlp()
    optimizer = learning.optimizer(sgd(model), model, method="dgd")
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        other(X)
        assert not optimizer._way.begun
        assert torch.equal(vector(other), vector(model))


@pytest.mark.parametrize("method", ["atc", "diging", "allreduce"])
def test_the_vector_goes_with_its_last_user(method):
    model = mlp()
    optimizer = learning.optimizer(sgd(model), model, method=method)
    train(model, optimizer, 1)
    vectors = weakref.ref(optimizer.flat)
    gc.disable()  # no cycle holds it
    try:
        del model, optimizer
        assert vectors() is None
    finally:
        gc.enable()
