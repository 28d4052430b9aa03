"""Parameters, the state of optimizers, the distributed optimizers, and activities in a timeline."""

import copy
import json
import shutil
import tempfile
from pathlib import Path

import torch
from oracle import assert_rows, averaging, everyone, refused

import ifog
import ifog.bluefog as bf
from ifog.bluefog import topology_util


class Model(torch.nn.Module):
    """Parameters in its own name, which BlueFog's optimizers overlook, and buffers, one of them a counter."""

    def __init__(self):
        super().__init__()
        self.own = torch.nn.Parameter(torch.randn(3))
        self.layers = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 1))

    def forward(self, x):
        return self.layers(x * self.own)


def flat(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def parameters():
    n, me = bf.size(), bf.rank()
    model = Model()
    X = everyone(flat(model))
    model.layers[1].num_batches_tracked.fill_(me)
    bf.broadcast_parameters(model.state_dict(), root_rank=n - 1)
    assert torch.equal(flat(model), X[n - 1])
    assert model.layers[1].num_batches_tracked.item() == n - 1

    for given in (
        lambda model: model.state_dict(),
        lambda model: dict(reversed(model.state_dict().items())) if me == 0 else model.state_dict(),
        lambda model: list(model.named_parameters()),
        lambda model: list(model.parameters()),
        lambda model: model.named_parameters(),
        lambda model: model.parameters(),
    ):
        model = Model()
        X = everyone(flat(model))
        bf.allreduce_parameters(given(model))
        assert torch.allclose(flat(model), X.mean(dim=0), atol=1e-6)
        model = Model()
        X = everyone(flat(model))
        bf.broadcast_parameters(given(model), 0)
        assert torch.equal(flat(model), X[0])


def optimizer_state():
    n, me = bf.size(), bf.rank()
    for make in (
        lambda p: torch.optim.SGD(p, lr=0.1 * (me + 1), momentum=0.9),
        lambda p: torch.optim.Adam(p, lr=1e-3 * (me + 1), betas=(0.5 + 0.1 * (me == 0), 0.9), foreach=None),
        lambda p: torch.optim.AdamW(p, lr=1e-17 / 3 * (me + 1)),
    ):
        model = torch.nn.Linear(3, 2)
        bf.broadcast_parameters(model.state_dict(), 0)
        optimizer = make(model.parameters())
        for _ in range(me):  # BlueFog's ranks must all have made some, or none
            model(torch.randn(5, 3)).sum().backward()
            optimizer.step()
        bf.broadcast_optimizer_state(optimizer, root_rank=n - 1)
        bf.broadcast_parameters(model.state_dict(), n - 1)
        said = ifog.allgather_object(repr((optimizer.state_dict()["param_groups"], optimizer.state_dict()["state"])))
        assert len(set(said)) == 1, said
        torch.manual_seed(5)
        optimizer.zero_grad()
        model(torch.randn(5, 3)).sum().backward()
        optimizer.step()
        assert len(set(ifog.allgather_object(repr(list(model.parameters()))))) == 1


def matrices():
    """What averages the ranks in each way of communicating."""
    n = bf.size()
    bf.set_topology(topology_util.RingGraph(n))
    bf.set_machine_topology(topology_util.RingGraph(bf.machine_size()))
    W, J = averaging(bf.load_topology()).float(), torch.full((n, n), 1 / n)
    inside = torch.kron(torch.eye(bf.machine_size()), torch.full((bf.local_size(), bf.local_size()), 1 / bf.local_size()))
    H = torch.kron(averaging(bf.load_machine_topology()).float(), inside[: bf.local_size(), : bf.local_size()])
    return W, J, H, torch.eye(n)


def gradient_at(model, batch):
    """The gradient as one vector, made by another road than the optimizers'."""
    twin = copy.deepcopy(model)  # whose being computed is none of the optimizer's business
    loss = twin(batch).square().mean()
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(twin.parameters()))])


def optimizers():
    """x⁺ = of_x x − α of_g g, for all of them."""
    W, J, H, one = matrices()
    kinds = bf.CommunicationType
    ways = [
        (bf.DistributedAdaptThenCombineOptimizer, W, W),
        (lambda o, m: bf.DistributedAdaptThenCombineOptimizer(o, m, kinds.allreduce), J, J),
        (lambda o, m: bf.DistributedAdaptThenCombineOptimizer(o, m, kinds.empty), one, one),
        (bf.DistributedAdaptWithCombineOptimizer, W, one),
        (bf.DistributedNeighborAllreduceOptimizer, W, one),
        (bf.DistributedAllreduceOptimizer, J, one),
        (bf.DistributedGradientAllreduceOptimizer, one, J),
    ]
    if bf.local_size() > 1:
        ways += [
            (lambda o, m: bf.DistributedAdaptThenCombineOptimizer(o, m, kinds.hierarchical_neighbor_allreduce), H, H),
            (bf.DistributedHierarchicalNeighborAllreduceOptimizer, H, one),
        ]
    for make, of_x, of_g in ways:
        model = Model()
        momentum = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.5)
        momentum.state[model.own]["momentum_buffer"] = torch.ones(3)  # what it remembers is kept
        optimizer = make(momentum, model)
        batch = torch.randn(8, 3)
        g = gradient_at(model, batch)
        X, G = everyone(flat(model)), everyone(g)
        model(batch).square().mean().backward()
        optimizer.step()
        kept = torch.zeros_like(flat(model))
        kept[:3] = 0.5
        assert_rows(flat(model), of_x @ X - 0.1 * of_g @ (G + everyone(kept)), tolerance=1e-5)


def every_other_time():
    """num_steps_per_communication: two steps of one's own with an averaging, or two gradients for one step."""
    W, J, _, one = matrices()
    for make, *mixes in ((bf.DistributedAdaptThenCombineOptimizer, W, W), (bf.DistributedAllreduceOptimizer, J, one)):
        model = Model()
        optimizer = make(torch.optim.SGD(model.parameters(), lr=0.1), model, num_steps_per_communication=2)
        for k in range(4):
            batch = torch.randn(8, 3)
            x, g = flat(model).clone(), gradient_at(model, batch)
            X, G = everyone(x), everyone(g)
            optimizer.zero_grad()
            model(batch).square().mean().backward()
            optimizer.step()
            of_x, of_g = (one, one) if k % 2 == 0 else mixes
            assert_rows(flat(model), of_x @ X - 0.1 * of_g @ G, tolerance=1e-5)
    model = Model()
    optimizer = bf.DistributedGradientAllreduceOptimizer(torch.optim.SGD(model.parameters(), lr=0.1), model, 2)
    X, total = everyone(flat(model)), 0
    for _ in range(2):
        batch = torch.randn(8, 3)
        total = total + everyone(gradient_at(model, batch))
        model(batch).square().mean().backward()
    optimizer.step()
    assert_rows(flat(model), X - 0.1 * J @ total, tolerance=1e-5)


def edges_of_its_own():
    """A graph that changes before each computation of the model, and several modules at once."""
    n, me = bf.size(), bf.rank()
    models = [torch.nn.Linear(3, 4), torch.nn.Linear(4, 1)]
    parameters = [p for model in models for p in model.parameters()]
    optimizer = bf.DistributedAdaptWithCombineOptimizer(torch.optim.SGD(parameters, lr=0.0), models)
    for away in range(1, n):
        X = everyone(torch.cat([p.detach().flatten() for p in parameters]))
        optimizer.self_weight = 0.5
        optimizer.src_weights = {(me - away) % n: 0.5}
        optimizer.dst_weights = [(me + away) % n]
        models[1](models[0](torch.randn(2, 3))).sum().backward()
        optimizer.step()
        now = torch.cat([p.detach().flatten() for p in parameters])
        assert torch.allclose(now, (X[me] + X[(me - away) % n]) / 2, atol=1e-6)


def nobody_waits():
    """With windows they agree after some time, each at its own pace."""
    bf.set_topology(topology_util.RingGraph(bf.size()))
    model = Model()
    optimizer = bf.DistributedWinPutOptimizer(torch.optim.SGD(model.parameters(), lr=0.0), model, window_prefix="mine")
    if bf.size() > 1:
        assert bf.get_current_created_window_names() == ["mine.float32 parameters"]
    for _ in range(30):
        optimizer.zero_grad()
        model(torch.randn(8, 3)).square().mean().backward()
        optimizer.step()
        bf.barrier()
    assert torch.allclose(flat(model), bf.allreduce(flat(model)), atol=1e-2)
    optimizer.unregister_window()
    assert bf.get_current_created_window_names() == []


def bad_optimizers():
    model, other = Model(), torch.nn.Linear(2, 2)
    refused(ValueError, "does not know it", bf.DistributedAdaptThenCombineOptimizer, torch.optim.SGD(other.parameters()), model)
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    refused(ValueError, "num_steps_per_communication", bf.DistributedGradientAllreduceOptimizer, sgd, model, 0)
    refused(AssertionError, "communication_type", bf.DistributedAdaptWithCombineOptimizer, sgd, model, "allreduce")
    optimizer = bf.DistributedAdaptThenCombineOptimizer(sgd, model)
    refused(TypeError, "set src_weights instead", setattr, optimizer, "neighbor_weights", {0: 1.0})


def activities():
    assert bf.timeline_start_activity("x", "not on") is False
    assert bf.timeline_end_activity("x") is False
    with bf.timeline_context("x", "not on"):
        pass
    path = Path(ifog.broadcast_object(tempfile.mkdtemp() if bf.rank() == 0 else None)) / "trace.json"
    ifog.start_timeline(path)
    assert bf.timeline_start_activity("x", "thinking") is True
    assert bf.timeline_start_activity("x", "harder") is True
    bf.allreduce(torch.ones(3), name="important")
    assert bf.timeline_end_activity("x") is True
    assert bf.timeline_end_activity("x") is True
    assert bf.timeline_end_activity("x") is False
    with bf.timeline_context("y", "resting"):
        pass
    ifog.stop_timeline()
    names = [event["name"] for event in json.loads(path.read_text())["traceEvents"]]
    for name in ("x: thinking", "x: harder", "y: resting"):
        assert names.count(name) == bf.size()
    assert any("important" in name for name in names)
    bf.barrier()
    if bf.rank() == 0:
        shutil.rmtree(path.parent)


def main():
    bf.init()
    torch.manual_seed(1 + bf.rank())
    parameters()
    optimizer_state()
    optimizers()
    every_other_time()
    edges_of_its_own()
    nobody_waits()
    bad_optimizers()
    activities()
    refused(ValueError, "optimizer", bf.broadcast_optimizer_state, "no optimizer", 0)


if __name__ == "__main__":
    main()
