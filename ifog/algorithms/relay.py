"""RelaySum on trees: every node's model reaches every other, unchanged though late; so heterogeneity does no harm.

What node i sends to its neighbour j is the sum of all models that reach it from elsewhere, and its own. All nodes start at the
same x. A model is max(hops − 1, 0) iterations late, so the step that counts is α/(1 + their mean): give a larger one.
"""

from __future__ import annotations

import torch

from ..network import Network
from ..network.edges import Edges
from .method import Start, counts, messages, method, start, zeros


@method(needs="tree", m=messages, c=counts, v=zeros, x0=start)
def relay_sgd(net, x, grad, s, *, lr, beta=0.0, mode="counts"):
    r"""RelaySGD: the mean over a tree, by sums relayed along its edges; ends at the optimum itself.

    .. math::
        h_i &= x_i^k - \alpha v_i, \qquad v_i \leftarrow \beta v_i + \nabla f_i(x_i^k) \\
        m_{i \to j} &\leftarrow h_i + \sum_{l \ne j} m_{l \to i}, \qquad
        c_{i \to j} \leftarrow 1 + \sum_{l \ne j} c_{l \to i} \\
        x_i^{k+1} &= \Big( h_i + \sum_j m_{j \to i} \Big) \Big/ N_i, \qquad N_i = 1 + \sum_j c_{j \to i}

    With the mode "world_size" what has not yet come is taken to be the start:
    :math:`x_i^{k+1} = (h_i + \sum_j m_{j \to i} + (n - N_i) x^0) / n`.

    Vogels, He, Koloskova, Lin, Karimireddy, Stich, Jaggi, *RelaySum for decentralized deep learning on heterogeneous data*,
    2021, https://arxiv.org/abs/2110.04175
    """
    s.v = beta * s.v + grad()
    h = x - lr * s.v
    s.m, s.c = relay(net.edges, h, s.m, s.c)
    return average(net, h, s.m, s.c, s.x0, mode)


def of_tree(begin: Start, k: int) -> Start:
    """Memory of the k-th of two trees, which carries every other coordinate."""
    return lambda net, x: begin(net.on(net.topology[k]), x[:, k::2])


@method(
    needs="two_trees",
    m=of_tree(messages, 0),
    c=of_tree(counts, 0),
    m_mirror=of_tree(messages, 1),
    c_mirror=of_tree(counts, 1),
    v=zeros,
    x0=start,
)
def relay_double_sgd(net, x, grad, s, *, lr, beta=0.0, mode="counts"):
    r"""RelaySGD on two trees at once, half the coordinates on each: ends at the optimum, and the nodes share the load.

    .. math::
        x_{0, 2, 4 \dots} \text{ as } \texttt{relay\_sgd} \text{ on the one tree}, \qquad
        x_{1, 3, 5 \dots} \text{ on the other}

    Sanders, Speck, Träff, *Two-tree algorithms for full bandwidth broadcast, reduction and scan*, 2009,
    https://doi.org/10.1016/j.parco.2009.09.001
    """
    s.v = beta * s.v + grad()
    h = x - lr * s.v
    even, odd = net.on(net.topology[0]), net.on(net.topology[1])
    s.m, s.c = relay(even.edges, h[:, 0::2], s.m, s.c)
    s.m_mirror, s.c_mirror = relay(odd.edges, h[:, 1::2], s.m_mirror, s.c_mirror)
    new = torch.empty_like(x)
    new[:, 0::2] = average(even, h[:, 0::2], s.m, s.c, s.x0[:, 0::2], mode)
    new[:, 1::2] = average(odd, h[:, 1::2], s.m_mirror, s.c_mirror, s.x0[:, 1::2], mode)
    return new


def relay(edges: Edges, h: torch.Tensor, m: torch.Tensor, c: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What comes when each node sends each neighbour its own h, and what came last time from the others."""
    one = torch.ones_like(h[:, :1])
    m_out = edges.to_edges(h + edges.sum_in(m)) - edges.reverse(m)
    c_out = edges.to_edges(one + edges.sum_in(c)) - edges.reverse(c)
    m, c = edges.exchange(m_out, c_out)
    return m, c


def average(net: Network, h: torch.Tensor, m: torch.Tensor, c: torch.Tensor, x0: torch.Tensor, mode: str) -> torch.Tensor:
    """The mean of what is there, or of all n with the start in place of what is not."""
    total: torch.Tensor = h + net.edges.sum_in(m)
    N: torch.Tensor = 1 + net.edges.sum_in(c)
    return total / N if mode == "counts" else (total + (net.n - N) * x0) / net.n
