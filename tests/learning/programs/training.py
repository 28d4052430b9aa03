"""Training on the ranks of an MPI world: ``mpiexec -n 4 python training.py FOLDER``."""

import functools
import sys
import warnings
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy

import ifog
from ifog.experiment import crew, drive
from ifog.learning import fit as module
from ifog.learning import from_model, load, partition, trained
from ifog.learning.data import Labelled

FOLDER = Path(sys.argv[1])
X, Y = load_digits(return_X_y=True)
X, Y = torch.tensor(X / 16), torch.tensor(Y)
TRAIN, TEST = (X[:600], Y[:600]), (X[600:800], Y[600:800])


def mlp(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(64, 8), nn.Dropout(0.1), nn.Tanh(), nn.Linear(8, 10)).double()


def simulated(*args, **options):
    """The same in this process alone."""
    fit = sys.modules["ifog.learning.fit"]
    real = drive.crew, fit.crew
    drive.crew = fit.crew = crew.Alone
    try:
        return module(*args, **options)
    finally:
        drive.crew, fit.crew = real


def alike(here, there):
    """Whether a run on ranks has the numbers of the simulation."""
    nodes = there._experiment.steps.net.nodes
    torch.testing.assert_close(there.x, here.x[nodes.start : nodes.stop], rtol=1e-9, atol=1e-11)
    names = ("iteration", "disagreement", "loss", "gradient_norm", "accuracy", "accuracy_of_mean", "accuracy_spread", "bytes")
    for name in names:
        np.testing.assert_allclose(there.history[name], here.history[name], rtol=1e-7, atol=1e-9, err_msg=name)


def ranks_are_virtual_nodes():
    n = ifog.size()
    adam = functools.partial(torch.optim.AdamW, weight_decay=0.1)
    for given in (
        {"method": "diging", "topology": "ring", "nodes": n, "alpha": 0.3, "lr_schedule": "cosine"},
        {"method": "relay_sgd", "topology": "chain", "nodes": n + 3},
        {"method": "atc", "topology": "od_equidyn", "nodes": 2 * n, "optimizer": adam, "lr": 0.02},
    ):
        given = {"batch": 8, "lr": 0.2, "steps": 20, "test": TEST, "evaluate": 0.3, "seed": 5, **given}
        here, there = simulated(mlp(), TRAIN, **given), module(mlp(), TRAIN, **given)
        assert there.about["ranks"] == n
        alike(here, there)
        for node in (None, n):
            if node is None or node < given["nodes"]:
                for p, q in zip(trained(there, node).parameters(), trained(here, node).parameters(), strict=True):
                    torch.testing.assert_close(p, q, rtol=1e-9, atol=1e-11)


def every_rank_begins_where_rank_0_does_and_is_a_node():
    run = module(mlp(seed=ifog.rank()), TRAIN, topology="ring", steps=3, batch=8)
    problem = run._experiment.steps.problem
    assert problem.n == ifog.size()
    start = torch.cat([p.flatten() for p in mlp(seed=0).parameters()])
    assert (problem._start() == start).all()


def allreduce_is_one_process_with_the_whole_batch():
    n = ifog.size()
    model = nn.Linear(64, 10).double()
    torch.nn.init.zeros_(model.weight)
    torch.nn.init.zeros_(model.bias)
    run = module(model, TRAIN, method="pmsgd", topology="complete", steps=15, batch=8, lr=0.1, seed=2)
    problem = from_model(model, TRAIN, n, seed=2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for k in range(15):
        samples = problem._data["samples"].gather(1, problem.batch(range(n), k, 8, seed=2).picks).flatten()
        optimizer.zero_grad()
        cross_entropy(model(TRAIN[0][samples]), TRAIN[1][samples]).backward()
        optimizer.step()
    for p, q in zip(trained(run).parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-9, atol=1e-11)


def a_loop_of_one_s_own_has_the_same_numbers():
    """`ifog.learning.optimizer` with the batches of a partition, one node a rank, and `fit`."""
    n = ifog.size()
    train = Labelled(*TRAIN)
    parts = partition(train, n, alpha=0.5)
    for method, topology, make in (
        ("diging", "ring", torch.optim.SGD),
        ("dmsgd", "od_equidyn", torch.optim.SGD),
        ("atc", "ring", torch.optim.AdamW),
        ("qg_dmsgd", "ring", torch.optim.Adam),
    ):
        plain = None if make is torch.optim.SGD else make
        model = nn.Sequential(nn.Linear(64, 8), nn.Tanh(), nn.Linear(8, 10)).double()
        run = module(
            model, train, parts=parts, method=method, topology=topology, optimizer=plain, steps=25, batch=8, lr=0.05, seed=3
        )
        optimizer = ifog.learning.optimizer(make(model.parameters(), lr=0.05), model, method=method, topology=topology, seed=3)
        sampler = parts.batches(batch=8, seed=3)
        for k in range(25):
            x, y = train[sampler.at(k)]
            optimizer.zero_grad()
            cross_entropy(model(x), y).backward()
            optimizer.step()
        mine = torch.cat([p.detach().flatten() for p in model.parameters()])
        torch.testing.assert_close(run.x[0], mine, rtol=1e-9, atol=1e-11)


def a_checkpoint_of_ranks_goes_on_anywhere():
    given = {"method": "dmsgd", "topology": "ring", "nodes": 5, "batch": 8, "lr": 0.1, "test": TEST, "evaluate": 1 / 3}
    path = FOLDER / "run.pt"
    module(mlp(), TRAIN, steps=10, checkpoint=path, **given)
    ifog.barrier()
    whole = simulated(mlp(), TRAIN, steps=20, **given)
    there = module(mlp(), TRAIN, steps=20, checkpoint=path, resume=True, **given)
    alike(whole, there)
    ifog.barrier()
    model = mlp(seed=1)
    load(model, path)
    for p, q in zip(model.parameters(), trained(whole).parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-9, atol=1e-11)
    refused("5 nodes then and 6 now", steps=30, checkpoint=path, resume=True, **{**given, "nodes": 6})
    refused("0.weight", model=nn.Linear(64, 10).double(), steps=30, checkpoint=path, resume=True, **given)


def refused(words, *, model=None, data=TRAIN, **given):
    """Every rank gets the error, and can go on: what is wrong with its arguments, each says itself, and nothing was sent."""
    try:
        module(mlp() if model is None else model, data, **{"topology": "ring", "steps": 3, **given})
    except ifog.IfogError as error:
        assert words in str(error), error
    else:
        raise AssertionError(words)
    ifog.barrier()


def what_does_not_fit_is_an_error_on_every_rank():
    rank = ifog.rank()
    refused("alpha", alpha=-1.0)
    refused("has 97 nodes", topology=ifog.topology.ring(97), nodes=5)
    refused("other data", data=(TRAIN[0] + rank, TRAIN[1]))
    refused("lr", lr=0.1 + rank)
    try:
        module(nn.Linear(64, 10 + rank).double(), TRAIN, topology="ring", steps=3)
    except ifog.CommError as error:
        assert "weight" in str(error) or "recover" in str(error), error
    else:
        raise AssertionError("models of different shapes")
    ifog.recover()


if __name__ == "__main__":
    warnings.simplefilter("error")
    ifog.init()
    tests = [
        ranks_are_virtual_nodes,
        every_rank_begins_where_rank_0_does_and_is_a_node,
        allreduce_is_one_process_with_the_whole_batch,
        a_loop_of_one_s_own_has_the_same_numbers,
        a_checkpoint_of_ranks_goes_on_anywhere,
        what_does_not_fit_is_an_error_on_every_rank,
    ]
    for test in tests:
        test()
    ifog.barrier()
    if ifog.rank() == 0:
        print(f"{len(tests)} held")
