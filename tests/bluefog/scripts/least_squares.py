"""Decentralized least squares, min_x ½ Σ_i ‖A_i x − b_i‖²: exact diffusion, gradient tracking, and push-DIGing with windows."""

import torch
from oracle import assert_rows, averaging, everyone

import ifog.bluefog as bf
from ifog.bluefog import topology_util

LR = 0.1


def main():
    bf.init()
    n = bf.size()
    torch.manual_seed(123 + bf.rank())
    A = torch.randn(20, 5, dtype=torch.float64) / 20**0.5
    b = A @ torch.ones(5, dtype=torch.float64) + 0.1 * torch.randn(20, dtype=torch.float64)
    H, c = A.T @ A, A.T @ b
    H_sum, c_sum = bf.allreduce(H, average=False), bf.allreduce(c, average=False)
    optimum = torch.linalg.solve(H_sum, c_sum)
    of_all = everyone(H), everyone(c)

    def grad(x):
        return H @ x - c

    def gradients(X):
        return torch.einsum("nij,nj->ni", of_all[0], X) - of_all[1]

    zeros = torch.zeros(n, 5, dtype=torch.float64)

    # exact diffusion, on a ring with symmetric weights
    bf.set_topology(topology_util.RingGraph(n), is_weighted=True)
    W = (torch.eye(n, dtype=torch.float64) + averaging(bf.load_topology(), weighted=True)) / 2
    x, psi = torch.zeros(5, dtype=torch.float64), torch.zeros(5, dtype=torch.float64)
    X, PSI = zeros, zeros
    for k in range(200):
        psi_new = x - LR * grad(x)
        phi = psi_new + x - psi
        x, psi = (phi + bf.neighbor_allreduce(phi, name="exact.diffusion")) / 2, psi_new
        if k < 30:
            PSI_new = X - LR * gradients(X)
            X, PSI = W @ (PSI_new + X - PSI), PSI_new
            assert_rows(x, X)
    assert torch.allclose(x, optimum, atol=1e-2), (x, optimum)

    # gradient tracking, with both messages under way while the gradient is computed
    bf.set_topology(topology_util.ExponentialTwoGraph(n))
    W = averaging(bf.load_topology())
    x = torch.zeros(5, dtype=torch.float64)
    y = g = grad(x)
    X, Y, G = zeros, gradients(zeros), gradients(zeros)
    for k in range(200):
        x_handle = bf.neighbor_allreduce_nonblocking(x, name="x")
        y_handle = bf.neighbor_allreduce_nonblocking(y, name="y")
        bf.poll(x_handle)
        x = bf.synchronize(x_handle) - LR * y
        g, g_before = grad(x), g
        y = bf.wait(y_handle) + g - g_before
        if k < 30:
            X, Y, G_before = W @ X - LR * Y, W @ Y, G
            G = gradients(X)
            Y = Y + G - G_before
            assert_rows(x, X)
            assert_rows(y, Y)
    assert torch.allclose(x, optimum, atol=1e-2), (x, optimum)

    # push-DIGing: [x, y] and push-sum's p travel through one window, along a directed graph that no weights can balance
    graph = topology_util.RingGraph(n, connect_style=2)
    graph.add_edge(0, n // 2, weight=1.0)
    bf.set_topology(graph)
    sends = (averaging(graph) > 0).double()  # sends[i, j]: j sends to i
    P = sends / sends.sum(dim=0, keepdim=True)
    share = 1 / (len(bf.out_neighbor_ranks()) + 1)
    bf.turn_on_win_ops_with_associated_p()
    x = torch.zeros(5, dtype=torch.float64)
    w = torch.cat([x, grad(x)])
    g = grad(x)
    U, Y, G, V = zeros, gradients(zeros), gradients(zeros), torch.ones(n, 1, dtype=torch.float64)
    bf.win_create(w, name="w", zero_init=True)
    for k in range(200):
        w[:5] -= LR * w[5:]
        bf.win_accumulate(
            w, "w", self_weight=share, dst_weights=dict.fromkeys(bf.out_neighbor_ranks(), share), require_mutex=True
        )
        bf.barrier()
        w = bf.win_update_then_collect("w")
        p = bf.win_associated_p("w")
        bf.barrier()
        x = w[:5] / p
        g, g_before = grad(x), g
        w[5:] += g - g_before
        if k < 30:
            U, V, G_before = P @ (U - LR * Y), P @ V, G
            G = gradients(U / V)
            Y = P @ Y + G - G_before
            assert_rows(x, U / V)
            assert_rows(w[5:], Y)
    bf.win_free("w")
    bf.turn_off_win_ops_with_associated_p()
    assert torch.allclose(x, optimum, atol=1e-2), (x, optimum)


if __name__ == "__main__":
    main()
