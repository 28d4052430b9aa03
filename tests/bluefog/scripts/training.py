"""Parameters and optimizers; the lines that stand for the optimizers that are not there yet; and activities in a timeline."""

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


def lines_instead():
    """The errors of the optimizers are to be believed: their lines do what the optimizers would."""
    n = bf.size()
    bf.set_topology(topology_util.RingGraph(n))
    bf.set_machine_topology(topology_util.RingGraph(bf.machine_size()))
    W, J = averaging(bf.load_topology()).float(), torch.full((n, n), 1 / n)
    inside = torch.kron(torch.eye(bf.machine_size()), torch.full((bf.local_size(), bf.local_size()), 1 / bf.local_size()))
    H = torch.kron(averaging(bf.load_machine_topology()).float(), inside[: bf.local_size(), : bf.local_size()])
    one, allreduce = torch.eye(n), bf.CommunicationType.allreduce
    hierarchical, empty = bf.CommunicationType.hierarchical_neighbor_allreduce, bf.CommunicationType.empty
    for make, of_x, of_g in (  # x⁺ = of_x x − α of_g g
        (bf.DistributedAdaptThenCombineOptimizer, W, W),
        (lambda o, m: bf.DistributedAdaptThenCombineOptimizer(o, m, allreduce), J, J),
        (lambda o, m: bf.DistributedAdaptThenCombineOptimizer(o, m, hierarchical), H, H),
        (lambda o, m: bf.DistributedAdaptThenCombineOptimizer(o, m, empty), one, one),
        (bf.DistributedAdaptWithCombineOptimizer, W, one),
        (lambda o, m: bf.DistributedAdaptWithCombineOptimizer(o, m, communication_type=hierarchical), H, one),
        (bf.DistributedNeighborAllreduceOptimizer, W, one),
        (bf.DistributedAllreduceOptimizer, J, one),
        (bf.DistributedHierarchicalNeighborAllreduceOptimizer, H, one),
        (bf.DistributedGradientAllreduceOptimizer, one, J),
    ):
        model = Model()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        loss = model(torch.randn(8, 3)).square().mean()
        (grad,) = [torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()), retain_graph=True)])]
        X, G = everyone(flat(model)), everyone(grad)
        try:
            make(optimizer, model)
        except NotImplementedError as error:
            lines = str(error).partition(":\n")[2]
        run(lines, model=model, optimizer=optimizer, loss=loss)
        assert_rows(flat(model), of_x @ X - 0.1 * of_g @ G, tolerance=1e-5)

    model = Model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    try:
        bf.DistributedWinPutOptimizer(optimizer, model)
    except NotImplementedError as error:
        once, _, lines = str(error).partition(":\n")[2].partition("\n")
    scope = {"model": model, "optimizer": optimizer}
    run(once, **scope, keep=scope)
    for _ in range(30):
        run(lines, **scope, loss=model(torch.randn(8, 3)).square().mean())
        bf.barrier()
    assert torch.allclose(flat(model), bf.allreduce(flat(model)), atol=1e-2)


def run(lines, keep=None, **names):
    """Indented lines, as they stand in an error."""
    scope = {"ifog": ifog, **names}
    exec("\n".join(line.removeprefix("    ") for line in lines.splitlines()), scope)
    if keep is not None:
        keep["windows"] = scope["windows"]


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
    lines_instead()
    activities()
    refused(ValueError, "optimizer", bf.broadcast_optimizer_state, "no optimizer", 0)


if __name__ == "__main__":
    main()
