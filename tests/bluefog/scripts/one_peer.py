"""Dynamic topologies: another neighbour in each round."""

import itertools

import numpy as np
import torch
from oracle import assert_rows, everyone, one_round

import ifog.bluefog as bf
from ifog.bluefog import topology_util


def schedules(n):
    """How a rank's schedule is made, for each kind of them."""
    yield lambda rank: topology_util.GetDynamicOnePeerSendRecvRanks(topology_util.ExponentialGraph(n), rank)
    yield lambda rank: topology_util.GetDynamicOnePeerSendRecvRanks(topology_util.StarGraph(n), rank)
    yield lambda rank: topology_util.GetDynamicOnePeerSendRecvRanks(topology_util.RingGraph(n), rank)
    for local in range(3, n + 1):
        if n % local == 0:
            yield lambda rank, local=local: topology_util.GetInnerOuterRingDynamicSendRecvRanks(n, local, rank)
            yield lambda rank, local=local: topology_util.GetInnerOuterExpo2DynamicSendRecvRanks(n, local, rank)


def main():
    bf.init()
    n, me = bf.size(), bf.rank()
    bf.set_topology(topology_util.RingGraph(n, connect_style=1))  # the dynamic ones need not lie inside it
    torch.manual_seed(1 + me)
    for schedule in schedules(n):
        x = torch.randn(50, dtype=torch.float64)
        X = everyone(x)
        mine = schedule(me)
        of_all = zip(*(schedule(rank) for rank in range(n)), strict=True)
        for k, said in enumerate(itertools.islice(of_all, 12)):
            dst_ranks, src_ranks = next(mine)
            uniform = 1.0 / (len(src_ranks) + 1)
            x = bf.neighbor_allreduce(
                x,
                self_weight=uniform,
                src_weights=dict.fromkeys(src_ranks, uniform),
                dst_weights=dst_ranks if k % 2 else dict.fromkeys(dst_ranks, 1.0),
                enable_topo_check=bool(k % 3),
                name="one.peer",
            )
            X = one_round(said) @ X
            assert_rows(x, X)

    # the exponential graph, one peer at a time, is exact in log2 n rounds
    if n & (n - 1) == 0:
        x, mean = torch.tensor([float(me)], dtype=torch.float64), (n - 1) / 2
        dynamic = topology_util.GetDynamicOnePeerSendRecvRanks(topology_util.ExponentialGraph(n), me)
        for _ in range(n.bit_length() - 1):
            to, of = next(dynamic)
            x = bf.neighbor_allreduce(x, self_weight=0.5, src_weights=dict.fromkeys(of, 0.5), dst_weights=to)
        assert x.item() == mean

    # weights on both ends, from numpy; and ranks that only send, only receive, or do neither
    x = torch.randn(7, dtype=torch.float64)
    X = everyone(x)
    if n > 1:
        if me == 0:
            y = bf.neighbor_allreduce(x, self_weight=np.float64(0.25), src_weights={}, dst_weights={1: np.float64(1 / 3)})
            assert torch.equal(y, 0.25 * x)
        elif me == 1:
            y = bf.neighbor_allreduce(x, self_weight=0.5, src_weights={np.int64(0): 0.1}, dst_weights={})
            assert torch.allclose(y, 0.5 * X[1] + (0.1 * (1 / 3)) * X[0], rtol=1e-15, atol=1e-15)  # in double, all of it
        else:
            y = bf.neighbor_allreduce(x, self_weight=1.0, src_weights={}, dst_weights=[])
            assert torch.equal(y, x)
            assert y.data_ptr() != x.data_ptr()


if __name__ == "__main__":
    main()
