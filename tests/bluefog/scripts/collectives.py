"""The other calls: with all ranks, in place, under way; gathering from neighbours; inference; who may be called what."""

import numpy as np
import torch
from oracle import everyone, refused

import ifog.bluefog as bf
from ifog.bluefog import topology_util


def with_all_ranks():
    n, me = bf.size(), bf.rank()
    x = torch.randn(3, 4)
    X = everyone(x)
    mean = X.sum(dim=0) / n
    assert torch.allclose(bf.allreduce(x), mean, atol=1e-6)
    assert torch.allclose(bf.allreduce(x, False), X.sum(dim=0), atol=1e-6)
    assert torch.allclose(bf.synchronize(bf.allreduce_nonblocking(x, average=True, name="a")), mean, atol=1e-6)
    local = X[[r for r in range(n) if r // bf.local_size() == bf.machine_rank()]]
    assert torch.allclose(bf.allreduce(x, is_hierarchical_local=True), local.mean(dim=0), atol=1e-6)
    assert torch.allclose(bf.allreduce(x, False, True), local.sum(dim=0), atol=1e-6)
    assert bf.allreduce(torch.tensor([me]), average=False).item() == n * (n - 1) // 2
    refused(AssertionError, "average=False", bf.allreduce, torch.tensor([me]))
    refused(AssertionError, "average=False", bf.allreduce_nonblocking_, torch.tensor([me]))
    y = x.clone()
    assert bf.allreduce_(y) is y
    assert torch.allclose(y, mean, atol=1e-6)
    z = x.clone()
    handle = bf.allreduce_nonblocking_(z, average=False, name="in place")
    assert bf.wait(handle) is z
    assert torch.allclose(z, X.sum(dim=0), atol=1e-6)

    for root in range(n):
        assert torch.equal(bf.broadcast(x, root), X[root])
        assert torch.equal(bf.synchronize(bf.broadcast_nonblocking(x, root_rank=root, name="b")), X[root])
        y = x.clone()
        assert bf.broadcast_(y, root) is y
        assert torch.equal(y, X[root])
        y = torch.nn.Parameter(x.clone())
        assert bf.synchronize(bf.broadcast_nonblocking_(y, root)) is y
        assert torch.equal(y.detach(), X[root])
    assert torch.equal(bf.broadcast(torch.tensor([me % 2 == 0]), 0), torch.tensor([True]))

    rows = bf.allgather(torch.full((me + 1, 2), me))
    assert rows.tolist() == [[r, r] for r in range(n) for _ in range(r + 1)]
    assert torch.equal(bf.synchronize(bf.allgather_nonblocking(x, name="g")), X.flatten(0, 1))
    assert bf.barrier() is None


def with_neighbours():
    n, me = bf.size(), bf.rank()
    bf.set_topology(topology_util.ExponentialGraph(n))
    x = torch.full((me + 1, 2), float(me))
    assert bf.neighbor_allgather(x)[:, 0].tolist() == [j for j in sorted(bf.in_neighbor_ranks()) for _ in range(j + 1)]
    others = [j for j in range(n) if j != me]
    backwards = np.array(others[::-1], dtype=np.int64)
    found = bf.neighbor_allgather(x, src_ranks=backwards, dst_ranks=others, enable_topo_check=False, name="backwards")
    assert found[:, 1].tolist() == [j for j in backwards for _ in range(j + 1)]
    handle = bf.neighbor_allgather_nonblocking(x, src_ranks=others, dst_ranks=backwards)
    assert bf.synchronize(handle)[:, 1].tolist() == [j for j in others for _ in range(j + 1)]
    refused(ValueError, "together", bf.neighbor_allgather, x, src_ranks=others)
    refused(ValueError, "together", bf.neighbor_allgather, x, dst_ranks=others)

    # a part of the in-neighbours: each weight goes with its rank
    X = everyone(torch.tensor([10.0 + me]))
    for j in bf.in_neighbor_ranks():
        mixed = bf.neighbor_allreduce(X[me], self_weight=0.0, src_weights={j: 1.0})
        assert torch.equal(mixed, X[j]), (j, mixed)
    # the result is a tensor of its own, also of a rank without in-neighbours
    alone = bf.neighbor_allreduce(X[me], self_weight=0.5, src_weights={}, dst_weights={})
    assert X[me].item() == 10.0 + me
    assert alone.item() == 0.5 * (10.0 + me)

    # all kinds of tensors, also those that BlueFog refuses
    uniform = 1 / (len(bf.in_neighbor_ranks()) + 1)
    expected = uniform * (me + sum(bf.in_neighbor_ranks()))
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex128):
        tolerance = 1e-2 if dtype.itemsize == 2 else 1e-6
        for tensor in (
            torch.full((2, 3), me, dtype=dtype),
            torch.full((6, 4), me, dtype=dtype)[::2, 1:],
            torch.tensor(me, dtype=dtype),
        ):
            mixed = bf.neighbor_allreduce(tensor)
            assert (mixed.dtype, mixed.shape) == (dtype, tensor.shape)
            assert torch.allclose(mixed, torch.full_like(tensor, expected), atol=tolerance)
    if n > 1:
        refused(ValueError, "whole numbers", bf.neighbor_allreduce, torch.tensor([3]))

    # parameters as they are: nothing here is differentiable
    w = torch.nn.Parameter(torch.full((3,), float(me)))
    assert not bf.neighbor_allreduce(w).requires_grad
    assert not bf.synchronize(bf.neighbor_allreduce_nonblocking(w)).requires_grad
    assert not bf.allreduce(w).requires_grad
    w.data = bf.neighbor_allreduce(w)


def under_way():
    n, me = bf.size(), bf.rank()
    x = torch.full((4,), float(me))
    handles = [bf.neighbor_allreduce_nonblocking(x + k, name=f"x{k}") for k in range(5)]
    assert all(type(handle) is int for handle in handles)
    expected = bf.neighbor_allreduce(x)
    for k in (3, 0, 4, 1, 2):
        assert torch.allclose(bf.synchronize(handles[k]), expected + k)
    refused(ValueError, "cannot find handle", bf.synchronize, handles[0])
    refused(ValueError, "cannot find handle", bf.wait, 98765)
    refused(ValueError, "98765", bf.poll, 98765)
    # a name is in use once at a time, but different kinds of calls have names of their own
    first, second = bf.allreduce_nonblocking(x, name="same"), bf.neighbor_allreduce_nonblocking(x, name="same")
    if n > 1 and not bf.poll(first):
        refused(ValueError, "still in use", bf.allreduce_nonblocking, x, name="same")
    bf.synchronize(second)
    bf.synchronize(first)
    bf.barrier()


def inference():
    n, me = bf.size(), bf.rank()
    forward = [(me + d) % n for d in (1, 2) if d < n]
    back = sorted({(me - d) % n for d in (1, 2) if d < n})
    assert bf.InferSourceFromDestinationRanks(forward) == back
    assert bf.InferDestinationFromSourceRanks(src_ranks=[(me - d) % n for d in (1, 2) if d < n]) == sorted(forward)
    # not balanced: everybody to 0, and 0 to 1
    dst_ranks = [0] if me else [1] if n > 1 else []
    sources, W = bf.InferSourceFromDestinationRanks(dst_ranks, construct_adjacency_matrix=True)
    assert sources == (list(range(1, n)) if me == 0 else [0] if me == 1 else [])
    assert np.allclose(W.sum(axis=0), 1)
    assert np.array_equal(
        W > 0, np.eye(n) + np.array([[j == (0 if i else 1) for j in range(n)] for i in range(n)]) * (n > 1) > 0
    )
    again, V = bf.InferDestinationFromSourceRanks(sources, construct_adjacency_matrix=True)
    assert again == dst_ranks
    assert np.array_equal(V, W)
    x = torch.tensor([float(me)], dtype=torch.float64)
    column = {int(i): W[i, me] for i in sources}
    mixed = bf.neighbor_allreduce(x, self_weight=W[me, me], src_weights=column, dst_weights=dst_ranks)
    assert np.allclose(mixed.item(), W[:, me] @ np.arange(n))
    for wrong in ([n], [-1], [me], ["0"], [0.5], [(me + 1) % n] * 2):
        refused(AssertionError, "dst_ranks", bf.InferSourceFromDestinationRanks, wrong)
        refused(AssertionError, "src_ranks", bf.InferDestinationFromSourceRanks, wrong)


def main():
    bf.init()
    torch.manual_seed(1 + bf.rank())
    with_all_ranks()
    with_neighbours()
    under_way()
    inference()


if __name__ == "__main__":
    main()
