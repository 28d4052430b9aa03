"""Averaging within machines and between them. Run it with BLUEFOG_NODES_PER_MACHINE set, or on several machines."""

import itertools

import torch
from oracle import assert_rows, averaging, everyone, refused

import ifog.bluefog as bf
from ifog.bluefog import topology_util


def main():
    bf.init()
    torch.manual_seed(1 + bf.rank())
    n, local, machines, machine = bf.size(), bf.local_size(), bf.machine_size(), bf.machine_rank()
    x = torch.randn(200, dtype=torch.float64)
    mix = bf.hierarchical_neighbor_allreduce
    if local == 1:
        bf.set_machine_topology(topology_util.RingGraph(machines))
        refused(AssertionError, "neighbor_allreduce does the same", mix, x)
        return
    refused(RuntimeError, "bf.set_machine_topology", mix, x)

    inside = torch.kron(torch.eye(machines, dtype=torch.float64), torch.full((local, local), 1 / local, dtype=torch.float64))
    spread = torch.full((local, local), 1 / local, dtype=torch.float64)
    for graph in (
        topology_util.RingGraph(machines),
        topology_util.StarGraph(machines),
        topology_util.ExponentialGraph(machines),
    ):
        for weighted in (False, True):
            bf.set_machine_topology(graph, is_weighted=weighted)
            X = everyone(x)
            W = torch.kron(averaging(graph, weighted=weighted), spread)
            assert_rows(mix(x), W @ X)
            handle = bf.hierarchical_neighbor_allreduce_nonblocking(x, name="h")
            assert_rows(bf.synchronize(handle), W @ X)
            assert_rows(bf.allreduce(x, is_hierarchical_local=True), inside @ X)

    # another machine in each round
    bf.set_machine_topology(topology_util.FullyConnectedGraph(machines))
    if machines > 1:
        mine = topology_util.GetExp2DynamicSendRecvMachineRanks(n, local, bf.rank(), bf.local_rank())
        of_all = zip(
            *(topology_util.GetExp2DynamicSendRecvMachineRanks(n, local, m * local, 0) for m in range(machines)), strict=True
        )
        X = everyone(x)
        for said in itertools.islice(of_all, 5):
            dst, src = next(mine)
            x = mix(
                x, self_weight=0.5, src_machine_weights=dict.fromkeys(src, 0.5), dst_machine_weights=dst, enable_topo_check=True
            )
            W = 0.5 * torch.eye(machines, dtype=torch.float64)
            for m, (_, recv) in enumerate(said):
                W[m, recv] += 0.5
            X = torch.kron(W, spread) @ X
            assert_rows(x, X)

    nowhere = machines + 3
    refused(ValueError, "together", mix, x, self_weight=0.5)
    refused(ValueError, "together", mix, x, self_weight=0.5, src_machine_weights={})
    refused(ValueError, "together", mix, x, src_machine_weights={}, dst_machine_weights={})
    refused(
        ValueError, f"machine {nowhere}", mix, x, self_weight=0.5, src_machine_weights={nowhere: 1.0}, dst_machine_weights={}
    )
    refused(ValueError, f"machine {nowhere}", mix, x, self_weight=0.5, src_machine_weights={}, dst_machine_weights=[nowhere])
    refused(ValueError, "a dict", mix, x, self_weight=0.5, src_machine_weights=[], dst_machine_weights={})
    if machines > 1:
        twice = [(machine + 1) % machines] * 2
        refused(ValueError, "twice", mix, x, self_weight=0.5, src_machine_weights={}, dst_machine_weights=twice)
    refused(ValueError, "int64", mix, torch.ones(2, dtype=torch.int64))


if __name__ == "__main__":
    main()
