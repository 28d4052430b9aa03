"""Consensus by averaging with neighbours, along every graph of topology_util, with equal weights and with the graph's."""

import networkx as nx
import torch
from oracle import assert_rows, averaging, everyone

import ifog.bluefog as bf
from ifog.bluefog import topology_util


def graphs(n):
    yield topology_util.ExponentialTwoGraph(n)
    yield topology_util.ExponentialGraph(n, base=3)
    yield topology_util.SymmetricExponentialGraph(n)
    yield topology_util.MeshGrid2DGraph(n, shape=(1, n))
    yield topology_util.StarGraph(n)
    yield topology_util.StarGraph(n, center_rank=n - 1)
    for style in (0, 1, 2):
        yield topology_util.RingGraph(n, connect_style=style)
    yield topology_util.FullyConnectedGraph(n)
    yield nx.DiGraph(nx.path_graph(n, create_using=nx.DiGraph))  # no loops, no weights, and the last sends to nobody


def main():
    bf.init()
    torch.manual_seed(1 + bf.rank())
    for graph in graphs(bf.size()):
        for weighted in (False, True):
            assert bf.set_topology(graph, is_weighted=weighted) is True
            assert bf.load_topology() is graph
            assert bf.in_neighbor_ranks() == [j for j in graph.predecessors(bf.rank()) if j != bf.rank()]
            assert bf.out_neighbor_ranks() == [j for j in graph.successors(bf.rank()) if j != bf.rank()]
            x = torch.randn(100, dtype=torch.float64)
            X, W = everyone(x), averaging(graph, weighted=weighted)
            before = x.clone()
            y = bf.neighbor_allreduce(x, name="x")
            assert torch.equal(x, before)
            assert y.data_ptr() != x.data_ptr()
            assert_rows(y, W @ X)
            for _ in range(4):
                y = bf.neighbor_allreduce(y)
            assert_rows(y, torch.linalg.matrix_power(W, 5) @ X)

    bf.set_topology(topology_util.StarGraph(bf.size()), is_weighted=True)
    mean = bf.allreduce(x)
    for _ in range(500):
        x = bf.neighbor_allreduce(x)
    assert torch.allclose(x, mean, rtol=0, atol=1e-10)


if __name__ == "__main__":
    main()
