"""Every window function, on every kind of tensor: what is in step is compared with matrices."""

import torch
from oracle import assert_rows, averaging, everyone, refused

import ifog
import ifog.bluefog as bf
from ifog.bluefog import topology_util


def put_and_update(graph, *, weighted):
    bf.set_topology(graph, is_weighted=weighted)
    W = averaging(graph, weighted=weighted)
    x = torch.randn(30, dtype=torch.float64)
    X = everyone(x)
    assert bf.win_create(x, "w") is True
    assert_rows(bf.win_update("w"), torch.diag(W.sum(dim=1)) @ X)  # the buffers begin as copies of one's own
    assert bf.get_win_version("w") == dict.fromkeys(bf.in_neighbor_ranks(), 0)
    x.copy_(X[bf.rank()])
    bf.barrier()
    for _ in range(3):
        assert bf.win_put(x, "w") is True
        bf.barrier()
        assert bf.get_win_version("w") == dict.fromkeys(bf.in_neighbor_ranks(), 1)
        assert bf.win_update("w") is x
        assert bf.get_win_version("w") == dict.fromkeys(bf.in_neighbor_ranks(), 0)
        bf.barrier()
        X = W @ X
        assert_rows(x, X)
    for _ in range(3):
        bf.barrier()
        assert bf.neighbor_win_get("w") is True
        bf.barrier()
        bf.win_update("w")
        X = W @ X
        assert_rows(x, X)
    # what the owner writes into its tensor, the others get
    x.fill_(bf.rank())
    bf.barrier()
    bf.win_get("w", src_weights={j: 2.0 + j for j in bf.in_neighbor_ranks()})
    bf.barrier()
    expected = 10.0 * bf.rank() + sum((2.0 + j) * j for j in bf.in_neighbor_ranks())
    found = bf.win_update("w", 10.0, dict.fromkeys(bf.in_neighbor_ranks(), 1.0))
    assert torch.allclose(found, torch.full_like(found, expected))
    bf.barrier()
    bf.win_free("w")
    assert torch.allclose(x, torch.full_like(x, expected))


def some_of_it():
    """Weights for some neighbours, scaling of what is kept, reset, and copies."""
    n, me = bf.size(), bf.rank()
    bf.set_topology(topology_util.FullyConnectedGraph(n))
    others = [j for j in range(n) if j != me]
    x = torch.full((2, 3), 1.0 + me)
    bf.win_create(x, "a", zero_init=True)
    bf.win_create(torch.zeros(1), "b")
    assert bf.get_current_created_window_names() == ["a", "b"]
    assert bf.win_create(x, "a") is False
    assert bf.set_topology(topology_util.RingGraph(n)) is False
    assert topology_util.IsTopologyEquivalent(bf.load_topology(), topology_util.FullyConnectedGraph(n))
    assert bf.win_free("b") is True
    refused(KeyError, "no window 'b'", bf.win_free, "b")

    right = (me + 1) % n
    if n > 1:
        bf.win_accumulate(x, "a", self_weight=0.5, dst_weights={right: 2.0})
        bf.win_accumulate(torch.full((2, 3), 100.0), "a", dst_weights={right: 1.0})
        bf.barrier()
        left = (me - 1) % n
        from_left = 2 * (1.0 + left) + 100
        assert torch.equal(x, torch.full((2, 3), 0.5 * (1 + me)))
        seen = bf.win_update("a", 0.0, {left: 1.0}, clone=True)
        assert torch.equal(seen, torch.full((2, 3), from_left))
        assert torch.equal(x, torch.full((2, 3), 0.5 * (1 + me)))
        seen = bf.win_update("a", 1.0, {left: 1.0}, reset=True, require_mutex=True)
        assert seen is x
        assert torch.equal(x, torch.full((2, 3), 0.5 * (1 + me) + from_left))
        before = x.clone()
        assert torch.equal(bf.win_update_then_collect("a", require_mutex=False), before)  # it was emptied
        bf.barrier()
        # a mutex of one's own buffer there: whoever owns it cannot read it meanwhile
        with bf.win_mutex("a", ranks=[right]):
            bf.win_put(x, "a", dst_weights={right: 0.0}, require_mutex=True)
            bf.win_put(x, "a", dst_weights={right: 1.0})
        with bf.win_mutex("a", for_self=True, ranks=[left]):
            bf.win_update("a", 0.0, {left: 0.0})
    with bf.win_mutex("a"):
        pass

    # another tensor than the window's: it is sent, and it is scaled
    bf.barrier()
    y = torch.full((2, 3), 5.0, requires_grad=True)
    before = x.clone()
    bf.win_wait(bf.win_put_nonblocking(y, "a", self_weight=0.5))
    assert y.tolist() == [[2.5] * 3] * 2
    assert torch.equal(x, before)
    bf.barrier()
    assert torch.equal(bf.win_update("a", 0.0, dict.fromkeys(others, 1.0)), torch.full((2, 3), 5.0 * (n - 1)))
    bf.barrier()

    refused(KeyError, "no window 'c'", bf.win_update, "c")
    refused(ValueError, "no window 'c'", bf.win_put, x, "c")
    refused(ValueError, "no window 'c'", bf.win_get, "c")
    refused(ValueError, "no window 'c'", bf.win_accumulate, x, "c")
    refused(ValueError, "no window 'c'", bf.win_mutex("c").__enter__)
    refused(ValueError, "together", bf.win_update, "a", self_weight=1.0)
    refused(ValueError, "together", bf.win_update, "a", neighbor_weights={})
    refused(ValueError, f"rank {n}", bf.win_update, "a", 1.0, {n: 1.0})
    refused(ValueError, f"rank {me} itself", bf.win_update, "a", 1.0, {me: 1.0})
    refused(ValueError, "self_weight='one'", bf.win_update, "a", "one", {})
    refused(ValueError, f"rank {n}", bf.win_put, x, "a", dst_weights={n: 1.0})
    refused(ValueError, f"rank {n}", bf.win_accumulate, x, "a", dst_weights={n: 1.0})
    refused(ValueError, f"rank {n}", bf.win_get, "a", src_weights={n: 1.0})
    refused(ValueError, "float32", bf.win_put, torch.ones(3), "a")
    refused(TypeError, "a tensor", bf.win_put, [1.0], "a")
    refused(TypeError, "a tensor", bf.win_create, [1.0], "d")
    refused(ValueError, "handle 12345", bf.win_poll, 12345)
    assert bf.win_wait(12345) is False
    assert bf.win_free() is True
    assert bf.win_free() is True
    assert bf.get_current_created_window_names() == []


def tensors_of_all_kinds():
    """A view, a parameter, what autograd needs, halves, integers: whatever the tensor, the window is in it."""
    n, me = bf.size(), bf.rank()
    bf.set_topology(topology_util.RingGraph(n))
    left_and_right = sum(1.0 + j for j in bf.in_neighbor_ranks())
    whole = torch.zeros(4, 6)
    parameter = torch.nn.Parameter(torch.zeros(3))
    kinds = {
        "own memory": torch.zeros(5),
        "view": whole[1],
        "strided": whole[:, 2],
        "parameter": parameter,
        "its data": parameter.data,
        "empty": torch.zeros(0),
        "scalar": torch.tensor(0.0),
        "float16": torch.zeros(3, dtype=torch.float16),
        "bfloat16": torch.zeros(3, dtype=torch.bfloat16),
        "int32": torch.zeros(3, dtype=torch.int32),
        "int64": torch.zeros(3, dtype=torch.int64),
        "complex128": torch.zeros(2, dtype=torch.complex128),
    }
    alone = {
        "own memory",
        "empty",
        "scalar",
        "float16",
        "bfloat16",
        "int32",
        "int64",
        "complex128",
    }  # these move, and cost no copies
    for name, tensor in kinds.items():
        bf.win_create(tensor, name, zero_init=True)
        assert (ifog.windows()[-1].value.data_ptr() == tensor.data_ptr()) == (name in alone), name
        tensor.detach().fill_(1 + me)
        bf.win_accumulate(tensor, name)
        bf.barrier()
        found = bf.win_update_then_collect(name)
        assert found is tensor
        assert torch.equal(tensor.detach(), torch.full_like(tensor, 1 + me + left_and_right)), (name, tensor)
        bf.barrier()
        tensor.detach().fill_(1 + me)
        bf.barrier()
        bf.win_get(name)
        bf.barrier()
        bf.win_update_then_collect(name)
        assert torch.equal(tensor.detach(), torch.full_like(tensor, 1 + me + left_and_right)), (name, tensor)
        if name in ("view", "strided"):
            assert whole[1, 0].item() == 1 + me + left_and_right
        if name == "its data":
            assert parameter.tolist() == tensor.tolist()
    bf.win_free()
    refused(ValueError, "bool", bf.win_create, torch.ones(2, dtype=torch.bool), "bool")


def associated_p():
    n = bf.size()
    bf.set_topology(topology_util.RingGraph(n))
    m = len(bf.in_neighbor_ranks())
    bf.turn_on_win_ops_with_associated_p()
    x = torch.ones(2)
    bf.win_create(x, "p", zero_init=True)
    bf.win_put(x, "p", self_weight=0.5, dst_weights=dict.fromkeys(bf.out_neighbor_ranks(), 0.25))
    assert bf.win_associated_p("p") == 0.5
    bf.barrier()
    bf.win_update("p", 1.0, dict.fromkeys(bf.in_neighbor_ranks(), 2.0))
    assert bf.win_associated_p("p") == 0.5 + 0.5 * m
    assert x.tolist() == [0.5 + 0.5 * m] * 2
    bf.barrier()
    bf.win_free("p")
    bf.turn_off_win_ops_with_associated_p()


def main():
    bf.init()
    torch.manual_seed(1 + bf.rank())
    n = bf.size()
    put_and_update(topology_util.ExponentialGraph(n), weighted=False)
    put_and_update(topology_util.StarGraph(n), weighted=False)
    put_and_update(topology_util.StarGraph(n), weighted=True)
    put_and_update(topology_util.RingGraph(n, connect_style=1), weighted=True)
    some_of_it()
    tensors_of_all_kinds()
    associated_p()


if __name__ == "__main__":
    main()
