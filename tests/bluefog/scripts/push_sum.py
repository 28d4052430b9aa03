"""Average consensus by push-sum with windows, on a directed graph, in step and then with ranks of very different speeds."""

import time

import torch
from oracle import assert_rows, averaging, everyone

import ifog.bluefog as bf
from ifog.bluefog import topology_util


def main():
    bf.init()
    n, me = bf.size(), bf.rank()
    graph = topology_util.RingGraph(n, connect_style=2)
    graph.add_edge(n - 1, n // 2)
    bf.set_topology(graph)
    torch.manual_seed(1 + me)
    x = torch.randn(1000, dtype=torch.float64)
    X, mean = everyone(x), bf.allreduce(x)
    V = torch.ones(n, 1, dtype=torch.float64)
    sends = (averaging(graph) > 0).double()
    P = sends / sends.sum(dim=0, keepdim=True)  # each splits what it has equally
    outgoing = bf.out_neighbor_ranks()
    share = 1.0 / (len(outgoing) + 1)

    bf.turn_on_win_ops_with_associated_p()
    assert bf.win_create(x, name="x_buff", zero_init=True) is True
    assert bf.win_associated_p("x_buff") == 1.0
    for _ in range(20):
        done = bf.win_accumulate(
            x, name="x_buff", self_weight=share, dst_weights=dict.fromkeys(outgoing, share), require_mutex=True
        )
        assert done is True
        bf.barrier()
        assert bf.win_update_then_collect(name="x_buff") is x
        bf.barrier()
        X, V = P @ X, P @ V
        assert_rows(x, X)
        assert abs(bf.win_associated_p(name="x_buff") - V[me, 0].item()) < 1e-14

    # nobody waits for anybody: the last rank does ten steps while the first does hundreds
    until = time.monotonic() + 1.0
    steps = 0
    while time.monotonic() < until:
        handle = bf.neighbor_win_accumulate_nonblocking(x, "x_buff", share, dict.fromkeys(outgoing, share), True)
        bf.win_poll(handle)
        assert bf.win_wait(handle) is True
        bf.win_update_then_collect("x_buff")
        steps += 1
        time.sleep(0.1 * me / n)
    bf.barrier()
    bf.win_update_then_collect("x_buff")
    total = bf.allreduce(torch.cat([x, torch.tensor([bf.win_associated_p("x_buff")], dtype=torch.float64)]), average=False)
    assert torch.allclose(total[:-1], n * mean, rtol=0, atol=1e-11)
    assert abs(total[-1].item() - n) < 1e-12
    for _ in range(200):
        bf.win_accumulate(x, "x_buff", share, dict.fromkeys(outgoing, share))
        bf.barrier()
        bf.win_update_then_collect("x_buff")
        bf.barrier()
    assert torch.allclose(x / bf.win_associated_p("x_buff"), mean, rtol=0, atol=1e-6)
    bf.turn_off_win_ops_with_associated_p()
    assert bf.win_free("x_buff") is True


if __name__ == "__main__":
    main()
