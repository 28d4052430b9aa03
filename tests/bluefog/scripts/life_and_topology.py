"""Beginning, ending and beginning again; what a topology is asked and told."""

import networkx as nx
import torch
from oracle import refused

import ifog.bluefog as bf
from ifog.bluefog import topology_util


def main():
    bf.init()
    n, me = bf.size(), bf.rank()
    assert 0 <= me < n
    assert bf.local_size() * bf.machine_size() == n
    assert bf.machine_rank() * bf.local_size() + bf.local_rank() == me
    assert bf.is_homogeneous()
    assert bf.mpi_threads_supported() in (0, 1)
    assert bf.unified_mpi_window_model_supported() is True
    assert bf.nccl_built() is False

    exponential = topology_util.ExponentialGraph(n)
    assert topology_util.IsTopologyEquivalent(bf.load_topology(), exponential)

    # the same graph again, now weighted: BlueFog would not notice
    uneven = exponential.copy()
    for i in uneven:
        uneven.edges[i, i]["weight"] = 2.0
    x = torch.tensor([1.0 + me])
    bf.set_topology(uneven)
    plain = bf.neighbor_allreduce(x)
    bf.set_topology(uneven, is_weighted=True)
    extra = 2.0 - 1 / (len(bf.in_neighbor_ranks()) + 1)
    assert torch.allclose(bf.neighbor_allreduce(x), plain + extra * x)

    # init again: the default topology, without weights
    bf.set_topology(topology_util.RingGraph(n, connect_style=1), is_weighted=True)
    bf.init()
    assert topology_util.IsTopologyEquivalent(bf.load_topology(), exponential)
    assert torch.allclose(bf.neighbor_allreduce(x), plain)
    bf.init(lambda size: topology_util.StarGraph(size), is_weighted=True)
    assert topology_util.IsTopologyEquivalent(bf.load_topology(), topology_util.StarGraph(n))
    bf.init(topology_util.RingGraph)
    assert bf.set_topology() is True
    assert topology_util.IsTopologyEquivalent(bf.load_topology(), exponential)

    # a topology is the object that was given, and what is done to it later does not count
    mine = topology_util.RingGraph(n)
    bf.set_topology(mine)
    neighbours = bf.in_neighbor_ranks()
    mine.clear_edges()
    assert bf.load_topology() is mine
    assert bf.in_neighbor_ranks() == neighbours
    bf.neighbor_allreduce(x)

    # machines
    assert bf.load_machine_topology() is None
    assert bf.in_neighbor_machine_ranks() == bf.out_neighbor_machine_ranks() == []
    between = topology_util.FullyConnectedGraph(bf.machine_size())
    assert bf.set_machine_topology(between) is True
    assert bf.load_machine_topology() is between
    others = [m for m in range(bf.machine_size()) if m != bf.machine_rank()]
    assert bf.in_neighbor_machine_ranks() == bf.out_neighbor_machine_ranks() == others

    # what is no topology
    refused(TypeError, "is a Graph", bf.set_topology, nx.path_graph(n))
    refused(TypeError, "is a ndarray", bf.set_topology, nx.to_numpy_array(exponential))
    refused(TypeError, f"one for each of the {n} ranks", bf.set_topology, topology_util.RingGraph(n + 1))
    refused(TypeError, "numbered from 0", bf.set_topology, nx.relabel_nodes(exponential, str))
    refused(ValueError, "DiGraph of the machines", bf.set_machine_topology, None)
    refused(TypeError, "DiGraph", bf.set_machine_topology, [1, 2])
    refused(TypeError, "machines", bf.set_machine_topology, topology_util.RingGraph(bf.machine_size() + 1))

    # suspended
    bf.suspend()
    refused(ValueError, "bf.resume()", bf.allreduce, x)
    refused(ValueError, "bf.resume()", bf.win_create, x, "x")
    bf.resume()
    assert torch.equal(bf.allreduce(x, average=False), torch.tensor([n * (n + 1) / 2]))

    # no negotiation, so nothing to skip
    assert bf.get_skip_negotiate_stage() is False
    bf.set_skip_negotiate_stage(True)
    assert bf.get_skip_negotiate_stage() is True
    bf.barrier()
    bf.set_skip_negotiate_stage(False)

    # ended, and begun anew
    bf.win_create(x, "x")
    shared = bf.neighbor_allreduce(torch.full((100_000,), float(me)))
    bf.shutdown()
    assert (bf.rank(), bf.size()) == (me, n)
    assert bf.load_topology() is None
    assert bf.in_neighbor_ranks() == []
    refused(RuntimeError, "bf.init()", bf.allreduce, x)
    refused(RuntimeError, "bf.init()", bf.win_update, "x")
    assert x.tolist() == [1.0 + me]
    bf.shutdown()
    bf.init()
    assert (bf.rank(), bf.size()) == (me, n)
    assert bf.get_current_created_window_names() == []
    assert torch.equal(bf.neighbor_allreduce(shared), bf.neighbor_allreduce(shared.clone()))


if __name__ == "__main__":
    main()
