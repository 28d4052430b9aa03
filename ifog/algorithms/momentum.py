"""Momentum with neighbours: where it is kept and what is mixed decides how far from the optimum a method ends.

m begins at zero. Where a formula divides by α, the code keeps αm, the displacement itself: a changed lr, zero included, does
no harm.
"""

from __future__ import annotations

from .method import method, start, zeros


@method(needs="doubly_stochastic", m=zeros)
def dmsgd(net, x, grad, s, *, lr, beta=0.9):
    r"""Decentralized momentum SGD: ends where `atc` ends with the step α/(1 − β), far from the optimum where nodes differ.

    .. math::
        m^{k+1} &= \beta m^k + \nabla f(x^k) \\
        x^{k+1} &= W (x^k - \alpha m^{k+1})

    Gao, Huang, *Periodic stochastic gradient descent with momentum for decentralized training*, 2020,
    https://arxiv.org/abs/2008.10435
    """
    s.m = beta * s.m + grad()
    return net.mix(x - lr * s.m)


@method(needs="doubly_stochastic", m=zeros)
def awc_dmsgd(net, x, grad, s, *, lr, beta=0.9):
    r"""Momentum SGD that adapts while combining: ends where `dgd` ends with the step α/(1 − β).

    .. math::
        m^{k+1} &= \beta m^k + \nabla f(x^k) \\
        x^{k+1} &= W x^k - \alpha m^{k+1}

    Balu, Jiang, Tan, Hegde, Lee, Sarkar, *Decentralized deep learning using momentum-accelerated consensus*, 2021,
    https://arxiv.org/abs/2010.11166
    """
    mixed = net.start_mix(x)
    s.m = beta * s.m + grad()
    return mixed.wait() - lr * s.m


@method(needs="doubly_stochastic", m=zeros)
def da_dmsgd(net, x, grad, s, *, lr, beta=0.9):
    r"""Momentum SGD that averages the momentum too: ends between `atc` and `dmsgd`, for two models a message.

    .. math::
        h^{k+1} &= \beta m^k + \nabla f(x^k) \\
        x^{k+1} &= W (x^k - \alpha h^{k+1}) \\
        m^{k+1} &= W h^{k+1}

    Yu, Jin, Yang, *On the linear speedup analysis of communication efficient momentum SGD for distributed non-convex
    optimization*, 2019, https://arxiv.org/abs/1905.03817
    """
    h = beta * s.m + grad()
    x, s.m = net.mix(x - lr * h, h)
    return x


@method(needs="doubly_stochastic", am=zeros)
def qg_dmsgd(net, x, grad, s, *, lr, beta=0.9, mu=0.9):
    r"""Quasi-global momentum: m follows how x moved, the neighbours' part included; ends where `atc` ends.

    .. math::
        x^{k+1} &= W \left( x^k - \alpha (\beta m^k + \nabla f(x^k)) \right) \\
        m^{k+1} &= \mu m^k + (1 - \mu) (x^k - x^{k+1}) / \alpha

    Lin, Karimireddy, Stich, Jaggi, *Quasi-global momentum: accelerating decentralized deep learning on heterogeneous data*,
    2021, https://arxiv.org/abs/2102.04761
    """
    new = net.mix(x - beta * s.am - lr * grad())
    s.am = mu * s.am + (1 - mu) * (x - new)
    return new


@method(needs=("symmetric", "static"), m=zeros, d=zeros)
def d2_dmsgd(net, x, grad, s, *, lr, beta=0.9):
    r"""Exact diffusion with momentum: ends at the optimum itself.

    .. math::
        m^{k+1} &= \beta m^k + \nabla f(x^k) \\
        z^k &= x^k - \alpha m^{k+1} - d^k \\
        x^{k+1} &= \tfrac12 (I + W)\, z^k \\
        d^{k+1} &= d^k + \tfrac12 (I - W)\, z^k, \qquad d^0 = 0

    Tang, Lian, Yan, Zhang, Liu, *D²: decentralized training over decentralized data*, 2018, https://arxiv.org/abs/1803.07068
    """
    s.m = beta * s.m + grad()
    z = x - lr * s.m - s.d
    r = net.diff(z) / 2
    s.d = s.d + r
    return z - r


@method(needs=("symmetric", "static"), d=zeros)
def decentlam(net, x, grad, s, *, lr, beta=0.9):
    r"""DecentLaM: momentum that does not enlarge the bias; as fast as `dmsgd`, and ends where `atc` ends.

    .. math::
        x^{k+1} = W (x^k - \alpha \nabla f(x^k)) + \beta (x^k - x^{k-1})

    Yuan, Chen, Huang, Zhang, Pan, Xu, Yin, *DecentLaM: decentralized momentum SGD for large-batch deep training*, 2021,
    https://arxiv.org/abs/2104.11981
    """
    new = net.mix(x - lr * grad()) + beta * s.d
    s.d = new - x
    return new


@method(needs="doubly_stochastic", v=zeros, x0=start)
def slowmo(net, x, grad, s, *, lr, H=12, alpha=1.0, beta=0.7):
    r"""SlowMo: after every H steps of `atc` the exact mean, and momentum over those jumps; ends where `gossip_pga` ends.

    .. math::
        x^{k+1} &= W (x^k - \gamma \nabla f(x^k)), \qquad \text{and after every } H \text{ steps, which began at } x_0: \\
        u &\leftarrow \beta u + (x_0 - \bar x) / \gamma \\
        x &\leftarrow x_0 - \alpha \gamma u

    Wang, Tantia, Ballas, Rabbat, *SlowMo: improving communication-efficient distributed SGD with slow momentum*, 2020,
    https://arxiv.org/abs/1910.00643
    """
    psi = x - lr * grad()
    if (net.round + 1) % H:
        return net.mix(psi)
    s.v = beta * s.v + s.x0 - net.mean(psi)  # v = γu; the mean of Wψ is that of ψ
    s.x0 = s.x0 - alpha * s.v
    return s.x0
