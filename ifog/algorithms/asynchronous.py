"""Methods in which nobody waits: a call is one activation of one node, which has a mailbox (`ifog.network.mailbox`).

An activation is what happens once the node's gradient is there. While it was computed, mail has come.
"""

from __future__ import annotations

from .method import constant, method, ones, start


@method(needs="column_stochastic", mail=("x", "w"), w=ones)
def async_push_sum(net, x, grad, s):
    r"""Asynchronous push-sum: ends at the mean of the starts, however fast each node is and however late messages come.

    Node i is active; :math:`(u_m, w_m)` are the messages that have arrived since it was last:

    .. math::
        u_i &= w_i x_i + \sum_m u_m, \qquad w_i \leftarrow w_i + \sum_m w_m \\
        &\text{to each } j:\; (c_{ji} u_i, c_{ji} w_i), \qquad (u_i, w_i) \leftarrow (c_{ii} u_i, c_{ii} w_i) \\
        x_i &= u_i / w_i

    Bénézit, Blondel, Thiran, Tsitsiklis, Vetterli, *Weighted gossip: distributed averaging using non-doubly stochastic
    matrices*, 2010, https://doi.org/10.1109/ISIT.2010.5513273
    """
    u, w = net.mailbox.collect(s.w * x, s.w)
    u, s.w = net.mailbox.accumulate(u, w)
    return u / s.w


@method(needs="column_stochastic", mail=("x", "w", "k"), w=ones, k=constant(0.0), t=constant(0.0))
def async_gradient_push(net, x, grad, s, *, lr, least=0.25):
    r"""Asynchronous gradient push: ends O(α) from the optimum of all nodes equally, however fast each of them is.

    Node i is active; :math:`(u_m, w_m, k_m)` are the messages that have arrived since it was last:

    .. math::
        u_i &= w_i x_i + \sum_m u_m, \qquad w_i \leftarrow w_i + \sum_m w_m, \qquad k_i \leftarrow k_i + \sum_m k_m \\
        t_i &\leftarrow t_i + 1, \qquad k_i \leftarrow k_i + 1 \\
        u_i &\leftarrow u_i - \alpha \frac{k_i}{w_i t_i} \nabla f_i(x_i) \\
        &\text{to each } j:\; c_{ji} (u_i, w_i, k_i), \qquad (u_i, w_i, k_i) \leftarrow c_{ii} (u_i, w_i, k_i) \\
        x_i &= u_i / w_i

    The steps are counted by push-sum too: :math:`k_i / w_i` is how many the nodes have made on average, and :math:`t_i` those
    of this one. So who is active more often takes smaller steps, or the objectives of fast nodes would weigh more. The step
    that x sees is α/w: while w is below ``least`` the node only takes in mail, since a weight that is nearly gone would make it
    huge.

    Assran, Rabbat, *Asynchronous gradient-push*, 2018, https://arxiv.org/abs/1803.08950
    """
    g = grad()
    u, w, k = net.mailbox.collect(s.w * x, s.w, s.k)
    if float(w) < least:
        s.w, s.k = w, k
        return u / w
    s.t, k = s.t + 1, k + 1
    u, s.w, s.k = net.mailbox.accumulate(u - lr * k / (w * s.t) * g, w, k)
    return u / s.w


@method(needs="undirected", mail=("x",), read=start)
def ad_psgd(net, x, grad, s, *, lr):
    r"""AD-PSGD: average with one neighbour at a time; ends O(α) from the optimum of Σ pᵢ fᵢ, where the fast weigh more.

    Node i is active; j is a neighbour drawn at random, and :math:`\hat x_i` what i had when it began its gradient:

    .. math::
        x_i, x_j &\leftarrow \tfrac12 (x_i + x_j), \tfrac12 (x_i + x_j) \\
        x_i &\leftarrow x_i - \alpha \nabla f_i(\hat x_i)

    :math:`p_i` is the share of the updates that node i makes: that is the optimum of all equally only if all are equally fast.

    Lian, Zhang, Zhang, Liu, *Asynchronous decentralized parallel stochastic gradient descent*, 2018,
    https://arxiv.org/abs/1710.06952
    """
    s.read = net.mailbox.average(plus=-lr * grad(s.read))
    return s.read
