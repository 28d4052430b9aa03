"""What four ranks on two hosts see of each other: ``mpiexec -n 4 python two_hosts.py FOLDER``. At the end rank 3 is killed.

Each rank writes what it saw to FOLDER/RANK.json.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import torch

import ifog

t = ifog.topology
folder = Path(sys.argv[1])
rank, n = ifog.rank(), ifog.size()
seen = {"machine": [ifog.machine_rank(), ifog.machine_size(), ifog.local_rank(), ifog.local_size()]}
LARGE = 300_000  # 2.4 MB in float64


def numbers(j, numel):
    """Rank j's tensor."""
    return torch.from_numpy(np.random.default_rng(j).standard_normal(numel))


def error(result, expected):
    return float((result - expected).abs().max())


def through_the_network():
    """Bytes that have come to this host and left it."""
    lines = Path("/proc/self/net/dev").read_text().splitlines()
    counts = next(line.split(":")[1].split() for line in lines if line.strip().startswith("ifog:"))
    return [int(counts[0]), int(counts[8])]


def mixing():
    """The largest error of each topology and size."""
    errors = {}
    for topology in (t.ring(n), t.star(n), t.exponential(n), t.one_peer_exponential(n)):
        for numel in (1, 5000, LARGE):
            ifog.set_topology(topology)
            xs = [numbers(j, numel) for j in range(n)]
            for k in range(topology.period):
                W = topology[k].W
                exact = sum(W[rank, j] * xs[j] for j in range(n) if W[rank, j])
                errors[f"{topology.label}, round {k}, {numel} numbers"] = error(ifog.neighbor_allreduce(xs[rank]), exact)
    return errors


def hierarchy():
    """Means of the two hosts, mixed with 3/4 and 1/4."""
    errors = {}
    for numel in (3, LARGE):
        xs = [numbers(j, numel) for j in range(n)]
        means = [sum(xs[j] for j in range(n) if j // 2 == m) / 2 for m in range(2)]
        here = ifog.machine_rank()
        mixed = ifog.hierarchical_neighbor_allreduce(xs[rank], self_weight=0.75, src_machine_weights={1 - here: 0.25})
        errors[f"{numel} numbers"] = error(mixed, 0.75 * means[here] + 0.25 * means[1 - here])
    return errors


def window():
    """A put and a get are the matrix product; what is accumulated keeps its sum."""
    errors = {}
    topology = t.complete(n)
    ifog.set_topology(topology)
    for numel in (3, LARGE):
        xs = [numbers(j, numel) for j in range(n)]
        mean = sum(xs) / n
        with ifog.Window(xs[rank], zero=True) as w:
            w.put()
            ifog.barrier()
            errors[f"put, {numel} numbers"] = error(w.update(), mean)
        with ifog.Window(xs[rank], zero=True) as w:
            w.get()
            ifog.barrier()
            errors[f"get, {numel} numbers"] = error(w.update(), mean)
        with ifog.Window(xs[rank], zero=True) as w:
            for _ in range(3):
                w.accumulate(dst_weights=dict.fromkeys(w.out_neighbors, 1 / n), self_weight=1 / n)
                w.collect()
            ifog.barrier()
            w.collect()
            errors[f"accumulate, {numel} numbers"] = error(ifog.allreduce(w.value, "sum"), n * mean)
    return errors


def traffic():
    """What a large averaging on the ring sends through the network: one tensor from each rank to the other host."""
    ifog.set_topology(t.ring(n))
    x = torch.full((6_250_000,), float(rank))
    ifog.barrier()
    before = through_the_network()
    ifog.barrier()
    y = ifog.neighbor_allreduce(x)
    ifog.barrier()
    after = through_the_network()
    return {
        "error": error(y, (float(rank) + (rank - 1) % n + (rank + 1) % n) / 3),
        "sent": 2 * x.nbytes,  # by the two ranks of each host
        "counted": [b - a for a, b in zip(before, after, strict=True)],
    }


def failure(culprit):
    """One rank fails while the others average."""
    told = None
    try:
        ifog.barrier()
        for k in range(1000):
            if rank == culprit and k == 3:
                (folder / f"failed.{culprit}").write_text(str(time.monotonic()))
                raise ValueError("no data on this rank")
            ifog.allreduce(numbers(rank, LARGE))
    except (ValueError, ifog.PeerFailed) as failed:
        told = [type(failed).__name__, str(failed).splitlines()[0], time.monotonic()]
        ifog.recover()
    xs = [numbers(j, LARGE) for j in range(n)]
    return {"told": told, "error after it": error(ifog.allreduce(xs[rank]), sum(xs) / n)}


for part in (mixing, hierarchy, window, traffic):
    seen[part.__name__] = part()
seen["failures"] = [failure(culprit) for culprit in (1, 2)]
(folder / f"{rank}.json").write_text(json.dumps(seen))
ifog.barrier()
if rank == 3:
    (folder / "killed").write_text(str(time.monotonic()))
    os.kill(os.getpid(), signal.SIGKILL)
while True:
    ifog.allreduce(torch.ones(3))
