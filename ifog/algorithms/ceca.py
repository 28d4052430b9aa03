"""Descent on a schedule of two buffers: as many messages as a one-peer graph, exact averaging for every n."""

from __future__ import annotations

from .method import method, start


@method(needs="two_buffers", xh=start)
def dsgd_ceca(net, x, grad, s, *, lr):
    r"""DSGD-CECA: one gradient an iteration, for two models, and one message; ends O(α) from the optimum for every n.

    .. math::
        g &= \nabla f(x^k) \text{ in rounds that send } a, \text{ else } \nabla f(\hat x^k) \\
        (x^{k+1}, \hat x^{k+1}) &= A_k\, (x^k - \alpha g,\; \hat x^k - \alpha g)

    A_k is a round of ``ceca(n)`` on the buffers a and b.

    Ding, Jin, Ying, Yuan, Yin, *DSGD-CECA: Decentralized SGD with communication-optimal exact consensus algorithm*, 2023,
    https://arxiv.org/abs/2306.00256
    """
    g = grad() if net.sends == "a" else grad(s.xh)
    x, s.xh = net.mix_pair(x - lr * g, s.xh - lr * g)
    return x
