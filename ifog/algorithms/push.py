"""Gradients over push-sum: for directed graphs on which a node knows whom it sends to, and no more.

What travels is a sum u with its weight w; x = u/w is what is shown, and where gradients are taken. They are subtracted from u.
"""

from __future__ import annotations

import torch

from ..network import Network
from .method import method, ones


@method(needs="column_stochastic", w=ones)
def sgp(net, x, grad, s, *, lr):
    r"""Stochastic gradient push: `atc` where columns alone sum to one; ends O(α) from the optimum.

    .. math::
        w^{k+1} &= C w^k, \qquad w^0 = 1 \\
        x^{k+1} &= C (w^k x^k - \alpha \nabla f(x^k)) \,/\, w^{k+1}

    Assran, Loizou, Ballas, Rabbat, *Stochastic gradient push for distributed deep learning*, 2019,
    https://arxiv.org/abs/1811.10792
    """
    u, s.w = net.mix(s.w * x - lr * grad(), s.w)
    return u / s.w


@method(needs="column_stochastic", w=ones)
def subgradient_push(net, x, grad, s, *, lr):
    r"""Subgradient-push: mix, divide, then subtract; ends O(α) from the optimum, at it with steps like 1/√k.

    .. math::
        w^{k+1} &= C w^k, \qquad w^0 = 1 \\
        z^{k+1} &= C (w^k x^k) \,/\, w^{k+1} \\
        x^{k+1} &= z^{k+1} - \alpha \nabla f(z^{k+1}) \,/\, w^{k+1}

    Its z are the iterates of `sgp`, as the φ of `cta` are those of `atc`.

    Nedić, Olshevsky, *Distributed optimization over time-varying directed graphs*, 2015, https://arxiv.org/abs/1303.2289
    """
    u, s.w = net.mix(s.w * x, s.w)
    z = u / s.w
    return z - lr * grad(z) / s.w


def late(net: Network, x: torch.Tensor, *, tau: int) -> torch.Tensor:
    """What is under way: τ messages a node, the one to arrive next first."""
    return torch.zeros((len(x), tau, *x.shape[1:]), dtype=x.dtype, device=x.device)


def late_weight(net: Network, x: torch.Tensor, *, tau: int) -> torch.Tensor:
    """The weights of those messages."""
    return late(net, ones(net, x), tau=tau)


@method(needs="column_stochastic", w=ones, us=late, ws=late_weight)
def overlap_sgp(net, x, grad, s, *, lr, tau=1):
    r"""Overlap SGP: `sgp` whose messages arrive τ iterations late; ends O(α) from the optimum, as with a larger step.

    .. math::
        u^k &= w^k x^k - \alpha \nabla f(x^k), \qquad w^0 = 1 \\
        w_i^{k+1} &= c_{ii} w_i^k + \sum_{j \ne i} c_{ij} w_j^{k-\tau} \\
        x_i^{k+1} &= \Big( c_{ii} u_i^k + \sum_{j \ne i} c_{ij} u_j^{k-\tau} \Big) \,/\, w_i^{k+1}

    Part of the weight is always under way, so the step that counts is α(1 + τ(1 − c)) for a common own weight c.

    Assran, Loizou, Ballas, Rabbat, *Stochastic gradient push for distributed deep learning*, 2019,
    https://arxiv.org/abs/1811.10792
    """
    u = s.w * x - lr * grad()
    own = net.own_weight(x)
    mixed_u, mixed_w = net.mix(u, s.w, late=tau)
    u_came, s.us = arrive(s.us, mixed_u - own * u)
    w_came, s.ws = arrive(s.ws, mixed_w - own * s.w)
    s.w = own * s.w + w_came
    return (own * u + u_came) / s.w


def arrive(queue: torch.Tensor, sent: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What arrives now, and what is still under way once ``sent`` has joined it."""
    queue = torch.cat([queue, sent.unsqueeze(1)], dim=1)
    return queue[:, 0], queue[:, 1:]
