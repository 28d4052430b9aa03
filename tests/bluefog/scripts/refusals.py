"""What BlueFog calls an error is one here, of the same kind; and what is an error between the ranks is one on all of them."""

import time

import torch
from oracle import refused

import ifog
import ifog.bluefog as bf
from ifog.bluefog import topology_util


def by_each_rank():
    n, me = bf.size(), bf.rank()
    x = torch.ones(3)
    right = (me + 1) % n
    mix = bf.neighbor_allreduce
    for call in (mix, bf.neighbor_allreduce_nonblocking):
        refused(TypeError, f"neighbor_weights is deprecated in {call.__name__}: Use src_weights", call, x, neighbor_weights={})
        refused(TypeError, f"send_neighbors is deprecated in {call.__name__}: Use dst_weights", call, x, send_neighbors=[])
    refused(TypeError, "positional", mix, x, 0.5, {right: 0.5})
    refused(ValueError, "together", mix, x, self_weight=0.5)
    refused(ValueError, "together", mix, x, src_weights={right: 0.5})
    refused(ValueError, "names both ends", mix, x, dst_weights={right: 0.5})
    refused(ValueError, "together", mix, x, self_weight=0.5, dst_weights={right: 0.5})
    refused(ValueError, "twice", mix, x, self_weight=0.5, src_weights={}, dst_weights=[right, right])
    refused(ValueError, "a dict", mix, x, self_weight=0.5, src_weights=[right])
    refused(ValueError, "self_weight='half'", mix, x, self_weight="half", src_weights={})
    refused(ValueError, "self_weight=tensor", mix, x, self_weight=torch.ones(2), src_weights={})
    refused(ValueError, f"rank {n}", mix, x, self_weight=0.5, src_weights={n: 0.5}, dst_weights={})
    refused(ValueError, "rank -1", mix, x, self_weight=0.5, src_weights={}, dst_weights=[-1])
    refused(ValueError, "itself", mix, x, self_weight=0.5, src_weights={me: 0.5}, dst_weights=[])
    if n > 2:
        bf.set_topology(topology_util.RingGraph(n, connect_style=2))
        refused(ValueError, "no in-neighbor", mix, x, self_weight=0.5, src_weights={right: 0.5})
    refused(ValueError, "takes one tensor", bf.allgather, [x, x])
    refused(ValueError, "root", bf.broadcast, x, n)
    for call in (bf.hierarchical_neighbor_allreduce, bf.hierarchical_neighbor_allreduce_nonblocking):
        refused(TypeError, "neighbor_machine_weights is deprecated", call, x, neighbor_machine_weights={})
        refused(TypeError, "Use dst_machine_weights", call, x, send_neighbor_machines=[])
    for params in (x, 3, None, [3], {"x": "y"}):
        refused(ValueError, "type", bf.broadcast_parameters, params, 0)
        refused(ValueError, "type", bf.allreduce_parameters, params)


def between_ranks():
    """A mismatch is a ValueError on every rank; after it, bf.init() on all of them begins anew."""
    n, me = bf.size(), bf.rank()
    if n == 1:
        return
    x = torch.ones(3)
    graph = topology_util.FullyConnectedGraph(n)

    def together(words, call, *arguments, kind=ValueError, **options):
        def sequence():  # a rank that has no part in the disagreement hears of it in its next call, or still in the last one
            bf.init()
            bf.set_topology(graph)
            call(*arguments, **options)
            bf.barrier()

        refused(kind, words, sequence)

    together("float32 [4]", bf.neighbor_allreduce, torch.ones(4) if me == 0 else x)
    together("float64", bf.allreduce, x.double() if me == 0 else x)
    together("allreduce", *((bf.allreduce, x) if me == 0 else (bf.neighbor_allreduce, x)))
    together("left", bf.neighbor_allreduce, x, name="left" if me == 0 else "right")
    # roots that wait for each other: a mismatch on one machine, a deadlock that says the same between several
    together("from rank 1", bf.broadcast, x, int(me == 0), kind=(ValueError, ifog.Deadlock))
    if n > 2:
        together("set_topology", bf.set_topology, topology_util.RingGraph(n, 1) if me == 0 else graph)
    # an edge that only one end names, with the check and without
    for check in (True, False):
        together(
            "rank 0 sends something to rank 1",
            bf.neighbor_allreduce,
            x,
            self_weight=1.0,
            src_weights={},
            dst_weights=[1] if me == 0 else [],
            enable_topo_check=check,
        )
        together(
            "rank 0 sends nothing to rank 1",
            bf.neighbor_allgather,
            x,
            src_ranks=[0] if me == 1 else [],
            dst_ranks=[],
            enable_topo_check=check,
        )
    together("float32 [4]", lambda x: bf.synchronize(bf.neighbor_allreduce_nonblocking(x)), torch.ones(3 + int(me == 0)))
    bf.init()
    weights = topology_util.RingGraph(n)
    if me == 0:
        weights.edges[0, 0]["weight"] = 0.7
    refused(ValueError, "same weights", bf.set_topology, weights, is_weighted=True)
    refused(ValueError, "same weights", bf.set_topology, topology_util.RingGraph(n), is_weighted=me == 0)
    # an error of one rank reaches those that wait for it
    if me == 0:
        refused(ValueError, "together", bf.neighbor_allreduce, x, self_weight=0.5)
        time.sleep(0.5)  # until the others have seen the end of what came before
        ifog.recover()
    else:
        refused(RuntimeError, "rank 0", bf.set_topology, graph)
        ifog.recover()
    bf.init()
    assert torch.allclose(bf.allreduce(x), x)


def main():
    bf.init()
    by_each_rank()
    between_ranks()


if __name__ == "__main__":
    main()
