"""Asynchronous methods on the ranks of an MPI world, each at its own pace: `tests/network/test_on_ranks.py`."""

import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from method_claims import CLAIMS, step
from quadratics import iterate, ls8

import ifog
from ifog import algorithms
from ifog import topology as t
from ifog.algorithms import method
from ifog.errors import ArgumentError, MethodError, TopologyError
from ifog.experiment import Asynchronous
from ifog.network import Network, lose

PROBLEM = ls8()
STEPS = 250
PACE = 4  # steps: no rank is so many ahead of another where the shares of the nodes decide the limit
START = torch.from_numpy(np.random.default_rng(2).standard_normal((PROBLEM.n, PROBLEM.d)))


def run(name, topology, steps, *, effects=(), pace=None, uneven=False, **parameters):
    """All iterates in the end, and the run; every rank has made so many steps at least, and with a pace just so many."""
    net = Network.on_ranks(topology, PROBLEM.n, seed=7, effects=effects)
    gradient = lambda z, nodes, k: PROBLEM.gradient_by_rows(z, nodes)  # noqa: E731
    made = Asynchronous(net, name, gradient, START[net.nodes.start : net.nodes.stop], parameters)
    for k in range(steps):
        if pace is not None and k % pace == 0:
            ifog.barrier()
        made.step()
        time.sleep(0.001 * (1 + 2 * (ifog.rank() == 0)) if uneven else 0.0002)
    arrived = ifog.barrier_nonblocking()
    while pace is None and not arrived.done:  # who is done first goes on: the others still count on it
        made.step()
    arrived.wait()
    made.finish()
    x = torch.cat(ifog.allgather_object(made.x))
    made.close()
    return x, made


def total(value):
    """The sum over all ranks."""
    return float(ifog.allreduce(torch.tensor([float(value)], dtype=torch.float64), "sum"))


def same_limits():
    """Each method ends where its simulation does."""
    runs = 0
    for name, claim in CLAIMS.items():
        if not algorithms.find(name).asynchronous:
            continue
        topology, lr = claim.topology(PROBLEM.n), step(name, PROBLEM)
        at = START.mean(0).numpy() if claim.ends == "mean" else None
        simulated = PROBLEM.error(iterate(name, PROBLEM, topology, STEPS, x=START, **lr), at=at)
        x, made = run(name, topology, STEPS, pace=PACE, **lr)  # or a rank that a busy machine starves would weigh less
        if (
            claim.ends != "mean"
        ):  # a node that holds little of the weight is where its last step led it: of all, the mean counts
            w = made.s.w if "w" in made.s else torch.ones(len(made.x), 1)
            x = (torch.cat(ifog.allgather_object(w)) * x).sum(0, keepdim=True) / PROBLEM.n
        error = PROBLEM.error(x, at=at)
        # as near as α and the lateness of the mail allow, which on a busy machine is more than simulated
        assert error <= max(5 * simulated, 1e-12), (name, error, simulated)
        if "w" in made.s:
            assert abs(total(made.s.w.sum()) - PROBLEM.n) < 1e-12, (name, total(made.s.w.sum()))
        assert total(made.net.messages) >= STEPS * PROBLEM.n
        assert made.net.traffic.messages.sum() == made.net.messages
        runs += 1
    return runs


def what_is_kept():
    """Without gradients the sum stays, though one rank is slower; what is lost is missed."""
    for topology in (t.ring(8), t.complete(8)):
        x, _ = run("ad_psgd", topology, 100, uneven=True, lr=0.0)
        torch.testing.assert_close(x.sum(0), START.sum(0), rtol=0, atol=1e-13)
        assert PROBLEM.error(x, at=START.mean(0).numpy()) < 1e-6
    for topology in (t.push(t.star(8)), t.one_peer_exponential(8)):
        x, made = run("async_push_sum", topology, 100, uneven=True)
        assert abs(total(made.s.w.sum()) - 8) < 1e-12
        torch.testing.assert_close((x * torch.cat(ifog.allgather_object(made.s.w))).sum(0), START.sum(0), rtol=0, atol=1e-12)
        assert PROBLEM.error(x, at=START.mean(0).numpy()) < 1e-6
    _, made = run("async_push_sum", t.ring(8), 30, effects=[lose(0.2)])
    assert total(made.s.w.sum()) < 6


def gossip_by_put_and_get():
    """What was put last is there, from every node of every rank."""

    @method(needs="row_stochastic", mail=("x",))
    def stale_gossip(net, x, grad, s):
        x = net.mailbox.get(x)
        net.mailbox.put(x)
        return x

    x, _ = run("stale_gossip", t.exponential(8), 100)
    assert float((x - x.mean(0)).abs().max()) < 1e-6
    assert START.min() <= x.min() <= x.max() <= START.max()


def refused():
    """What cannot be on ranks is said on each of them."""
    net = Network.on_ranks("ring", 8)
    mine = START[net.nodes.start : net.nodes.stop]
    for make, error, said in (
        (lambda: Asynchronous(net, "async_push_sum", None, mine, speeds=2), ArgumentError, "on ranks each is as fast as it is"),
        (lambda: net.mailbox, ArgumentError, "is made by ifog.experiment.Asynchronous"),
        (
            lambda: Asynchronous(Network.on_ranks("random_edge", 8), "ad_psgd", None, mine, {"lr": 0.1}),
            TopologyError,
            "never repeats",
        ),
    ):
        with pytest.raises(error, match=said):
            make()
    made = Asynchronous(net, "async_push_sum", None, mine)
    with pytest.raises(MethodError, match=r"call finish\(\) first"):
        made.state()
    made.close()


if __name__ == "__main__":
    warnings.simplefilter("error")
    ifog.init()
    limits = same_limits()
    what_is_kept()
    gossip_by_put_and_get()
    refused()
    ifog.barrier()
    if ifog.rank() == 0:
        print(f"{limits} methods end where they do in simulation")  # noqa: T201
