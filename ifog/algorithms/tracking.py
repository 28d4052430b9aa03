"""Gradient tracking: y follows the mean gradient, whatever the graph does. Exact, for two models a message.

The mean of y is the mean of the gradients at every moment: y is mixed, and what each gradient changed is added.
"""

from __future__ import annotations

from .method import method, ones, zeros


@method(needs="doubly_stochastic", y=zeros, g=zeros)
def gradient_tracking(net, x, grad, s, *, lr):
    r"""Gradient tracking, adapt then combine: ends at the optimum itself, on directed and changing graphs too.

    .. math::
        y^k &= W (y^{k-1} + \nabla f(x^k) - \nabla f(x^{k-1})), \qquad y^{-1} = \nabla f(x^{-1}) = 0 \\
        x^{k+1} &= W (x^k - \alpha y^k)

    Di Lorenzo, Scutari, *NEXT: in-network nonconvex optimization*, 2016, https://arxiv.org/abs/1602.00591
    """
    g = grad()
    s.y = net.mix(s.y + g - s.g)
    s.g = g
    return net.mix(x - lr * s.y)


@method(needs="doubly_stochastic", wy=zeros, g=zeros)
def semi_atc_tracking(net, x, grad, s, *, lr):
    r"""Gradient tracking with x adapted then combined and y not, in one message: ends at the optimum itself.

    .. math::
        x^{k+1} &= W (x^k - \alpha y^k) \\
        y^{k+1} &= W y^k + \nabla f(x^{k+1}) - \nabla f(x^k), \qquad y^0 = \nabla f(x^0)

    Alghunaim, Yuan, *A unified and refined convergence analysis for non-convex decentralized learning*, 2022,
    https://arxiv.org/abs/2110.09993
    """
    g = grad()
    y = s.wy + g - s.g
    s.g = g
    x, s.wy = net.mix(x - lr * y, y)
    return x


@method(needs="doubly_stochastic", wy=zeros, g=zeros)
def diging(net, x, grad, s, *, lr):
    r"""DIGing, gradient tracking that adapts while combining: ends at the optimum itself, on changing graphs too.

    .. math::
        x^{k+1} &= W x^k - \alpha y^k \\
        y^{k+1} &= W y^k + \nabla f(x^{k+1}) - \nabla f(x^k), \qquad y^0 = \nabla f(x^0)

    Nedić, Olshevsky, Shi, *Achieving geometric convergence for distributed optimization over time-varying graphs*, 2017,
    https://arxiv.org/abs/1607.03218
    """
    g = grad()
    y = s.wy + g - s.g
    s.g = g
    wx, s.wy = net.mix(x, y)  # one message, the same W
    return wx - lr * y


@method(needs="column_stochastic", w=ones, cy=zeros, g=zeros)
def push_diging(net, x, grad, s, *, lr):
    r"""Push-DIGing: gradient tracking over push-sum; ends at the optimum itself where columns alone sum to one.

    .. math::
        w^{k+1} &= C w^k, \qquad w^0 = 1 \\
        x^{k+1} &= C (w^k x^k - \alpha y^k) \,/\, w^{k+1} \\
        y^{k+1} &= C y^k + \nabla f(x^{k+1}) - \nabla f(x^k), \qquad y^0 = \nabla f(x^0)

    Nedić, Olshevsky, Shi, *Achieving geometric convergence for distributed optimization over time-varying graphs*, 2017,
    https://arxiv.org/abs/1607.03218
    """
    g = grad()
    y = s.cy + g - s.g
    s.g = g
    u, s.w, s.cy = net.mix(s.w * x - lr * y, s.w, y)
    return u / s.w
