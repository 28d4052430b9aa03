"""The optimizers on the ranks of an MPI world, beside what they must equal: `tests/learning/test_optimizers.py`."""

import copy
import io
import json
import shutil
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[2] / "algorithms"))
sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[3]))

from method_claims import CLAIMS
from odd_model import Odd

import ifog
from benchmarks.train import extra_buffers
from ifog import algorithms, learning
from ifog.errors import MethodError
from ifog.network import Network

STEPS, D, K = 12, 6, 10


def data(dtype=torch.float64):
    """Least squares that differ between nodes: a row of each for every node."""
    r = np.random.default_rng(1)
    return (torch.from_numpy(r.standard_normal((ifog.size(), K, width))).to(dtype) for width in (D, 1))


def loss_of(model, A, b):
    return (model(A) - b).square().sum() / (2 * K)


def linear(dtype):
    """A model of one vector, the same on all ranks."""
    model = nn.Linear(D, 1, bias=False, dtype=dtype)
    with torch.no_grad():
        model.weight.copy_(torch.linspace(-1, 1, D))
    return model


def mlp(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(D, 5), nn.Tanh(), nn.Linear(5, 1)).double()


def train(optimizer, model, A, b, steps=STEPS):
    for _ in range(steps):
        optimizer.zero_grad()
        loss_of(model, A, b).backward()
        optimizer.step()


def vector(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def near(a, b, within=1e-12):
    assert float((a - b).abs().max()) <= within * float(b.abs().max()), float((a - b).abs().max())


def twin(method, A, b, topologies, lr, **parameters):
    """The iterates of all nodes, by the method itself in a simulation; topologies by the round in which they begin."""
    n = len(A)
    net = Network(topologies[0], seed=5)
    x = linear(A.dtype).weight.detach().repeat(n, 1)
    s = method.start(net, x, **parameters)
    for k in range(STEPS):
        if k and k in topologies:
            net.topology = topologies[k]
            method.swapped(net, x, s)

        def grad(z=None, *, fresh=False, x=x):
            z = x if z is None else z
            return (torch.bmm(A, z.unsqueeze(2)) - b).mul(A).sum(1) / K

        x = method(net, x, grad, s, **lr, **parameters)
        net.advance()
    return x, net


def every_method_equals_its_twin():
    n, me = ifog.size(), ifog.rank()
    for name, method in algorithms.all().items():
        if method.asynchronous:
            continue
        claim = CLAIMS[name]
        lr = {"lr": 0.05} if "lr" in method.parameters else {}
        for dtype, within in ((torch.float64, 1e-12), (torch.float32, 1e-6)):
            A, b = data(dtype)
            x, net = twin(method, A, b, {0: claim.topology(n)}, lr, **claim.parameters)
            model = linear(dtype)
            sgd = torch.optim.SGD(model.parameters(), lr=0.05)
            optimizer = learning.optimizer(sgd, model, method=name, topology=claim.topology(n), seed=5, **claim.parameters)
            train(optimizer, model, A[me], b[me])
            apart = float((model.weight.detach()[0] - x[me]).abs().max() / x.abs().max())
            assert apart <= within, f"{name} in {dtype}: {apart}"
            sent = ifog.allreduce(torch.tensor([optimizer.net.messages], dtype=torch.float64), "sum")
            assert sent == net.messages or name in ("atc", "dgd"), name  # what was rehearsed is not counted twice


def a_topology_is_swapped_while_it_trains():
    n, me = ifog.size(), ifog.rank()
    A, b = data()
    for name in ("dgd", "diging", "extra"):
        x, _ = twin(algorithms.find(name), A, b, {0: ifog.topology.ring(n), 5: ifog.topology.star(n)}, {"lr": 0.05})
        model = linear(torch.float64)
        sgd = torch.optim.SGD(model.parameters(), lr=0.05)
        optimizer = learning.optimizer(sgd, model, method=name, topology="ring")
        train(optimizer, model, A[me], b[me], 5)
        with pytest.raises(ifog.TopologyError, match=f"n={n}"):
            optimizer.topology = ifog.topology.star(n + 1)
        optimizer.topology = "star"
        train(optimizer, model, A[me], b[me], STEPS - 5)
        near(model.weight.detach()[0], x[me])


def a_loop_watches_and_steers_it():
    me = ifog.rank()
    A, b = data()
    model = linear(torch.float64)
    optimizer = learning.optimizer(torch.optim.SGD(model.parameters(), lr=0.05), model, topology="ring")
    swapped = []
    for k in (loop := ifog.loop(200, topology="ring", lr=0.05, progress=False)):
        if k == 3 and me == 0:
            loop.run.topology = "star"
            loop.run.set(lr=0.01)
        optimizer.topology = loop.topology
        optimizer.param_groups[0]["lr"] = loop.lr
        train(optimizer, model, A[me], b[me], 1)
        loop.record(loss=loss_of(model, A[me], b[me]).detach())
        if not swapped and loop.topology.label.startswith("star"):
            swapped.append(k)
        if swapped and k > swapped[0] + 3:
            break
    assert optimizer.net.topology.label.startswith("star")
    assert optimizer.param_groups[0]["lr"] == 0.01
    assert len(set(ifog.allgather_object((swapped[0], optimizer.steps)))) == 1
    assert loop.run.history["loss"].notna().all()


def one_s_own_method_trains_too():
    @algorithms.method(needs="doubly_stochastic", m=algorithms.zeros)
    def nesterov(net, x, grad, s, *, lr, beta=0.9):
        """x⁺ = W (z − α ∇f(z)),   z = x + β m,   m⁺ = x⁺ − x"""
        z = x + beta * s.m
        new = net.mix(z - lr * grad(z))
        s.m = new - x
        return new

    me = ifog.rank()
    A, b = data()
    x, _ = twin(nesterov, A, b, {0: ifog.topology.ring(ifog.size())}, {"lr": 0.05})
    for closure in (False, True):
        model = linear(torch.float64)
        optimizer = learning.optimizer(torch.optim.SGD(model.parameters(), lr=0.05), model, method=nesterov, topology="ring")

        def compute(model=model, optimizer=optimizer):
            optimizer.zero_grad()
            loss = loss_of(model, A[me], b[me])
            loss.backward()
            return loss

        for _ in range(STEPS):
            assert optimizer.step(compute) > 0 if closure else (compute(), optimizer.step())
        near(model.weight.detach()[0], x[me])
    model = linear(torch.float64)
    optimizer = learning.optimizer(torch.optim.SGD(model.parameters(), lr=0.05), model, method=nesterov, topology="ring")
    train(optimizer, model, A[me], b[me], 1)
    model.weight.grad = torch.ones_like(model.weight)
    with pytest.raises(MethodError, match="call the model itself"):
        optimizer.step()


TORCH = {
    "momentum": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=0.01),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.02, weight_decay=0.1),
}


def the_mean_of_all_gradients_is_that_of_the_whole_batch():
    n, me = ifog.size(), ifog.rank()
    A, b = data()
    for make in TORCH.values():
        for pieces in (1, 2):
            alone, model = mlp(), mlp(me)  # it begins where rank 0 does
            torch_alone = make(alone.parameters())
            optimizer = learning.optimizer(make(model.parameters()), model, method="allreduce")
            for k in range(STEPS):
                torch_alone.zero_grad()
                loss_of(alone, A, b).div(n).backward()
                nn.utils.clip_grad_norm_(alone.parameters(), 0.5)
                torch_alone.step()
                optimizer.zero_grad(set_to_none=k % 2 == 0)
                parts = list(zip(A[me].chunk(pieces), b[me].chunk(pieces), strict=True))
                with optimizer.accumulate():
                    for a, y in parts[:-1]:
                        loss_of(model, a, y).backward()
                loss_of(model, *parts[-1]).backward()
                nn.utils.clip_grad_norm_(model.parameters(), 0.5)
                optimizer.step()
            near(vector(model), vector(alone), 1e-13)
            assert len({v.numpy().tobytes() for v in ifog.allgather_object(vector(model))}) == 1


def a_parameter_that_only_some_ranks_use_is_averaged_all_the_same():
    model = nn.ModuleList([nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)])
    for layer in model:
        nn.init.ones_(layer.weight)
    optimizer = learning.optimizer(torch.optim.SGD(model.parameters(), lr=1.0), model, method="allreduce")
    model[ifog.rank() % 2](torch.ones(1, 1)).sum().backward()
    optimizer.step()
    assert vector(model).tolist() == [0.5, 0.5]


def odd_models_train_by_mixing():
    """One step on the complete graph is the mean of what each would do alone: tied, frozen, bf16, attention, two groups."""
    me = ifog.rank()
    tokens = torch.arange(6).view(2, 3) + me % 2
    for method, before in (("atc", False), ("local_sgd", False), ("dgd", True)):
        torch.manual_seed(0)
        model = Odd()
        alone = copy.deepcopy(model)
        optimizer = learning.optimizer(
            torch.optim.AdamW(groups(model), lr=0.1), model, method=method, topology="complete",
            **({"H": 1} if method == "local_sgd" else {}),
        )  # fmt: skip
        torch_alone = torch.optim.AdamW(groups(alone), lr=0.1)
        for m, o in ((model, optimizer), (alone, torch_alone)):
            m(tokens).square().mean().backward()
            o.step()
        for (name, p), q in zip(model.named_parameters(), alone.parameters(), strict=True):
            mean = q.detach() if before else ifog.allreduce(q.detach().float())  # they began alike
            assert torch.allclose(p.detach().float(), mean.float(), atol=1e-2 if p.dtype is torch.bfloat16 else 1e-6), name
        assert model.frozen.tolist() == [1.0] * 4
        assert model.out.weight is model.embed.weight


def groups(model):
    last = [model.scale]
    return [
        {"params": [p for p in model.parameters() if p is not model.scale]},
        {"params": last, "lr": 0.01, "weight_decay": 0.0},
    ]


def training_goes_on_bit_for_bit():
    me = ifog.rank()
    A, b = data()
    for method, topology, make, parameters in (
        ("diging", "ring", lambda p: torch.optim.SGD(p, lr=0.05), {}),
        ("relay_sgd", "chain", TORCH["momentum"], {}),
        ("slowmo", "one_peer_exponential", TORCH["adamw"], {"H": 3}),
        ("choco_sgd", "ring", TORCH["momentum"], {}),
        ("cta", "one_peer_exponential", lambda p: torch.optim.SGD(p, lr=0.05), {}),
        ("atc", "one_peer_exponential", TORCH["adamw"], {}),
        ("allreduce", None, TORCH["adamw"], {}),
    ):

        def fresh(method=method, topology=topology, make=make, parameters=parameters):
            model = mlp()
            return model, learning.optimizer(make(model.parameters()), model, method=method, topology=topology, **parameters)

        model, optimizer = fresh()
        train(optimizer, model, A[me], b[me], 5)
        file = io.BytesIO()
        torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, file)
        train(optimizer, model, A[me], b[me], 5)
        again, other = fresh()
        file.seek(0)
        kept = torch.load(file)
        again.load_state_dict(kept["model"])
        other.load_state_dict(kept["optimizer"])
        train(other, again, A[me], b[me], 5)
        assert torch.equal(vector(again), vector(model)), method
        assert other.net.state() == optimizer.net.state()


def where_one_rank_cannot_scale_nobody_steps():
    me = ifog.rank()
    for method in ("atc", "diging", "allreduce"):
        model = linear(torch.float32)
        optimizer = learning.optimizer(torch.optim.SGD(model.parameters(), lr=0.1), model, method=method)
        scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
        before = vector(model).clone()
        A, b = data(torch.float32)
        for k in range(2):
            optimizer.zero_grad()
            loss = loss_of(model, A[me], b[me])
            scaler.scale(loss * (float("inf") if k == 0 and me == 1 else 1.0)).backward()
            scaler.step(optimizer)
            scaler.update()
            assert torch.equal(vector(model), before) == (k == 0), (method, k)
        plain = linear(torch.float32)
        optimizer = learning.optimizer(torch.optim.SGD(plain.parameters(), lr=0.1), plain, method=method)
        train(optimizer, plain, A[me], b[me], 1)
        near(vector(model), vector(plain), 1e-6)


def buffers_are_averaged_when_somebody_asks():
    model = nn.BatchNorm1d(2)
    model(torch.full((3, 2), float(ifog.rank())) + torch.arange(3.0)[:, None])
    mean = ifog.allreduce(model.running_mean)
    own = model.running_mean.clone()
    with learning.averaged(model) as averaged:
        assert torch.equal(averaged.running_mean, mean)
    assert torch.equal(model.running_mean, own)
    learning.average_buffers(model)
    assert torch.equal(model.running_mean, mean)
    assert int(model.num_batches_tracked) == 1


def fail_in_the_middle(optimizer, model, A, b):
    optimizer.zero_grad()
    loss = loss_of(model, A, b)
    if ifog.rank() == 1:
        ifog.allgather_object("something else")
    loss.backward()
    optimizer.step()
    ifog.barrier()


def training_goes_on_after_a_failure():
    """One rank leaves the others alone in the middle of an iteration; when all have recovered, they train on together."""
    me = ifog.rank()
    A, b = data()
    for method in ("dgd", "cta", "diging", "allreduce"):
        model = linear(torch.float64)
        sgd = torch.optim.SGD(model.parameters(), lr=0.05)
        optimizer = learning.optimizer(sgd, model, method=method, topology="one_peer_exponential")
        train(optimizer, model, A[me], b[me], 2)
        with pytest.raises(ifog.CommError):
            fail_in_the_middle(optimizer, model, A[me], b[me])
        ifog.recover()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ifog.IfogWarning)  # some ranks may have made the step
            train(optimizer, model, A[me], b[me], 2)
        assert len(set(ifog.allgather_object((optimizer.steps, optimizer.net.round)))) == 1
        if method == "allreduce":
            assert len({v.numpy().tobytes() for v in ifog.allgather_object(vector(model))}) == 1


def ranks_that_mean_different_things_are_told_so():
    model = linear(torch.float64)
    for name, mine in (("method", {"method": "dgd" if ifog.rank() == 1 else "atc"}), ("seed", {"seed": ifog.rank()})):
        with pytest.raises(ifog.ArgumentError, match=f"{name}: rank 0 has"):
            learning.optimizer(torch.optim.SGD(model.parameters(), lr=0.1), model, **mine)
    with pytest.raises(ifog.TopologyError, match=f"build it with n={ifog.size()}"):
        learning.optimizer(torch.optim.SGD(model.parameters(), lr=0.1), model, topology=ifog.topology.ring(9))
    wider = nn.Linear(D + (ifog.rank() == 1), 1)
    with pytest.raises(ifog.Mismatch, match="different things"):
        learning.optimizer(torch.optim.SGD(wider.parameters(), lr=0.1), wider)
    ifog.recover()


def messages_travel_while_the_model_is_computed():
    """As a timeline shows: what needs no gradient begins before the model is computed, gradients before the last is there."""
    me = ifog.rank()
    folder = Path(ifog.broadcast_object(tempfile.mkdtemp() if me == 0 else ""))
    for method, said, before in (("dgd", "mix", "computed"), ("allreduce", "gradients", "last gradient")):
        model = nn.Sequential(*[nn.Linear(1100, 1100) for _ in range(3)])  # three buckets
        optimizer = learning.optimizer(torch.optim.SGD(model.parameters(), lr=0.1), model, method=method)
        model[2].register_forward_hook(lambda *_: mark("computed"))
        model[0].weight.register_post_accumulate_grad_hook(lambda _: mark("last gradient"))
        with ifog.timeline(folder / "trace.json"):
            model(torch.ones(2, 1100)).mean().backward()
            optimizer.step()
        if me == 0:
            events = json.loads((folder / "trace.json").read_text())["traceEvents"]
            mine = [event for event in events if event["pid"] == events[0]["pid"]]
            (there,) = (event["ts"] for event in mine if event["name"] == before)
            assert min(event["ts"] for event in mine if event["ph"] == "b" and said in event["name"]) < there, method
        ifog.barrier()
    if me == 0:
        shutil.rmtree(folder)


def mark(name):
    with ifog.span(name):
        pass


def what_only_mixes_takes_three_buffers_at_most():
    for method in ("atc", "dgd", "allreduce"):
        assert -0.5 < extra_buffers(method, width=300) <= 3, method


def ranks_with_unequal_parts_stay_together():
    train, _ = learning.data.digits()
    parts = learning.partition(train, ifog.size(), alpha=0.05, equal=False, seed=1)
    assert parts.sizes.max() > 2 * parts.sizes.min()
    assert {tuple(some) for some in ifog.allgather_object(parts.sizes.tolist())} == {tuple(parts.sizes.tolist())}
    model, steps, seen = learning.models.logistic_regression(), 0, set()
    optimizer = learning.optimizer(torch.optim.SGD(model.parameters(), lr=0.1), model, method="allreduce")
    loader = parts.loader(batch=32)  # of the node that this rank is
    for _ in range(2):
        for x, y in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
            steps, seen = steps + 1, seen | set(y.tolist())
    assert steps == 2 * len(loader)
    assert seen <= set(train.y[parts[ifog.rank()]].tolist())


CLAIMED = [
    ranks_with_unequal_parts_stay_together,
    messages_travel_while_the_model_is_computed,
    what_only_mixes_takes_three_buffers_at_most,
    every_method_equals_its_twin,
    a_topology_is_swapped_while_it_trains,
    a_loop_watches_and_steers_it,
    one_s_own_method_trains_too,
    the_mean_of_all_gradients_is_that_of_the_whole_batch,
    a_parameter_that_only_some_ranks_use_is_averaged_all_the_same,
    odd_models_train_by_mixing,
    training_goes_on_bit_for_bit,
    where_one_rank_cannot_scale_nobody_steps,
    buffers_are_averaged_when_somebody_asks,
    training_goes_on_after_a_failure,
    ranks_that_mean_different_things_are_told_so,
]

if __name__ == "__main__":
    warnings.simplefilter("error")
    ifog.init()
    for claim in CLAIMED:
        if claim.__name__ not in sys.argv[1:] and len(sys.argv) > 1:  # some, by name
            continue
        claim()
        ifog.barrier()
        if ifog.rank() == 0:
            print(f"{claim.__name__} holds", flush=True)
    if ifog.rank() == 0 and len(sys.argv) == 1:
        print("\nall hold", flush=True)
