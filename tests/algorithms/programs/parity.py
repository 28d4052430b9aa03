"""Every method on the ranks of an MPI world, beside its simulation in this process: `tests/network/test_on_ranks.py`."""

import sys
import warnings
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from method_claims import CLAIMS, step
from quadratics import iterate, ls8

import ifog
from ifog import algorithms
from ifog import topology as t
from ifog.errors import MethodError
from ifog.network import Network

STEPS = 200
ONLY_MIX = ["consensus", "push_sum", "chebyshev", "shift_register", "finite_time", "ceca_consensus"]


def both(name, topology, problem, x, **parameters):
    """The nodes of this rank, simulated and on ranks, and the traffic of all of them."""
    simulated, real = Network(topology, seed=7), Network.on_ranks(topology, seed=7)
    mine = slice(real.nodes.start, real.nodes.stop)
    run = {"by_rows": True, **parameters}
    here = iterate(name, problem, topology, STEPS, net=simulated, x=x, **run)
    there = iterate(name, problem, topology, STEPS, net=real, x=x[mine], **run)
    traffic = ifog.allreduce(torch.tensor([real.messages, real.bytes], dtype=torch.float64), "sum")
    assert traffic[0] == simulated.messages, (name, traffic, simulated.messages)
    assert abs(traffic[1] - simulated.bytes) <= STEPS * ifog.size() * 2, (name, traffic, simulated.bytes)
    return here[mine], there


def main():
    """Raise where the two worlds differ."""
    problem = ls8()
    x = torch.from_numpy(np.random.default_rng(2).standard_normal((problem.n, problem.d)))
    runs = 0
    for name, claim in CLAIMS.items():
        if algorithms.find(name).asynchronous:  # each rank at its own pace: they agree in where they end, `asynchronous.py`
            continue
        for topology in (claim.topology(problem.n), t.one_peer_exponential(problem.n)):
            try:
                algorithms.find(name).check_topology(Network(topology))
            except MethodError:
                continue
            here, there = both(name, topology, problem, x, **step(name, problem), **claim.parameters)
            assert here.isfinite().all(), (name, topology)
            apart = float((here - there).abs().max() / here.abs().max())
            assert apart <= 1e-12, f"{name} on {topology.label}: rank {ifog.rank()} is {apart} from the simulation"
            assert name not in ONLY_MIX or torch.equal(here, there), (name, topology)
            runs += 1
    if ifog.rank() == 0:
        print(f"{runs} runs agree")  # noqa: T201


if __name__ == "__main__":
    warnings.simplefilter("error")
    ifog.init()
    main()
