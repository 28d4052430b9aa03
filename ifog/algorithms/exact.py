"""Bias-corrected descent on a fixed symmetric W: the optimum itself, at a constant step, for one message an iteration.

Each has a dual variable d that adds up disagreements. Written with ``net.diff``, which forms them edge by edge, so that no
rounding error is added up with them: the forms in 2xᵏ − xᵏ⁻¹ lose digits on long runs. They may be steered: a changed α is the
same as in a recursion with αₖ∇f(xᵏ) − αₖ₋₁∇f(xᵏ⁻¹), which stays exact, and never αₖ(∇f(xᵏ) − ∇f(xᵏ⁻¹)), which does not.
"""

from __future__ import annotations

import torch

from .method import method, start, zeros


@method(needs=("symmetric", "static"), d=zeros)
def extra(net, x, grad, s, *, lr):
    r"""EXTRA: gradient descent with its bias corrected; ends at the optimum itself.

    .. math::
        x^{k+1} &= W x^k - \alpha \nabla f(x^k) - d^k \\
        d^{k+1} &= d^k + \tfrac12 (I - W)\, x^k, \qquad d^0 = 0

    Shi, Ling, Wu, Yin, *EXTRA: an exact first-order algorithm for decentralized consensus optimization*, 2015,
    https://arxiv.org/abs/1404.6264
    """
    r = net.diff(x)
    new = x - r - lr * grad() - s.d
    s.d = s.d + r / 2
    return new


@method(needs=("symmetric", "static", "above_minus_one_third"), before=start, step=zeros)
def extra_slide(net, x, grad, s, *, lr):
    r"""EXTRA as slides print it, with V = (I + W)/2 written as one matrix; ends at the optimum, up to rounding that adds up.

    .. math::
        x^{k+1} = V (2 x^k - x^{k-1}) - \alpha \left( \nabla f(x^k) - \nabla f(x^{k-1}) \right), \qquad
        x^1 = V x^0 - \alpha \nabla f(x^0)

    Shi, Ling, Wu, Yin, *EXTRA: an exact first-order algorithm for decentralized consensus optimization*, 2015,
    https://arxiv.org/abs/1404.6264
    """
    step = lr * grad()
    new = net.mix(2 * x - s.before) - (step - s.step)
    s.before, s.step = x, step
    return new


@method(needs=("symmetric", "static"), d=zeros)
def exact_diffusion(net, x, grad, s, *, lr):
    r"""Exact diffusion: diffusion with its bias corrected; ends at the optimum itself, stable up to α = 2/L.

    .. math::
        z^k &= x^k - \alpha \nabla f(x^k) - d^k \\
        x^{k+1} &= \tfrac12 (I + W)\, z^k \\
        d^{k+1} &= d^k + \tfrac12 (I - W)\, z^k, \qquad d^0 = 0

    Yuan, Ying, Zhao, Sayed, *Exact diffusion for distributed optimization and learning, part I*, 2018,
    https://arxiv.org/abs/1702.05122
    """
    z = x - lr * grad() - s.d
    r = net.diff(z) / 2
    s.d = s.d + r
    return z - r


@method(needs=("symmetric", "static", "above_minus_one_third"), d=zeros)
def d2(net, x, grad, s, *, lr):
    r"""D²: exact diffusion with W itself in place of (I + W)/2; ends at the optimum itself.

    .. math::
        z^k &= x^k - \alpha \nabla f(x^k) - d^k \\
        x^{k+1} &= W z^k \\
        d^{k+1} &= d^k + (I - W)\, z^k, \qquad d^0 = 0

    Tang, Lian, Yan, Zhang, Liu, *D²: decentralized training over decentralized data*, 2018, https://arxiv.org/abs/1803.07068
    """
    z = x - lr * grad() - s.d
    r = net.diff(z)
    s.d = s.d + r
    return z - r


@method(needs=("symmetric", "static"), d=zeros)
def nids(net, x, grad, s, *, lr, relative=1.0):
    r"""NIDS: exact with a step of each node's own, α times one of n numbers, up to 2/Lᵢ; ends at the optimum itself.

    .. math::
        z^k &= x^k - \alpha \Lambda \nabla f(x^k) - d^k, \qquad \Lambda = \mathrm{diag}(\text{relative}) \\
        x^{k+1} &= z^k - c \Lambda (I - W)\, z^k, \qquad c = 1 / (2 \max_i \Lambda_{ii}) \\
        d^{k+1} &= d^k + c \Lambda (I - W)\, z^k, \qquad d^0 = 0

    Li, Shi, Yan, *A decentralized proximal-gradient method with network independent step-sizes and separated convergence
    rates*, 2019, https://arxiv.org/abs/1704.07807
    """
    Lambda = net.per_node(relative, x)
    c = 1 / (2 * torch.as_tensor(relative).max())
    z = x - lr * Lambda * grad() - s.d
    r = c * Lambda * net.diff(z)
    s.d = s.d + r
    return z - r
