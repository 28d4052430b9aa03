"""Averaging without gradients: from each node's own value to the mean of all, as in `ifog.problems.averaging`.

Random pairs, matchings, one-peer graphs and hierarchies are `consensus` on such a topology: ``random_edge``,
``random_matching``, ``one_peer_exponential``, ``hierarchical(machines, local)``.
"""

from __future__ import annotations

import functools

import numpy as np
import torch

from ..topology import Topology
from .method import constant, method, ones, start, zeros


@method(needs="doubly_stochastic")
def consensus(net, x, grad, s):
    r"""Average consensus: ends at the mean of the starts, as fast as ρ of W says.

    .. math::
        x^{k+1} = W x^k

    Xiao, Boyd, *Fast linear iterations for distributed averaging*, 2004, https://doi.org/10.1016/j.sysconle.2004.02.022
    """
    return net.mix(x)


@method(needs="column_stochastic", w=ones)
def push_sum(net, x, grad, s):
    r"""Push-sum: the mean on directed graphs whose columns alone sum to one; the ratio x of a sum and its weight w is shown.

    .. math::
        w^{k+1} &= C w^k, \qquad w^0 = 1 \\
        x^{k+1} &= C (w^k x^k) \,/\, w^{k+1}

    Kempe, Dobra, Gehrke, *Gossip-based computation of aggregate information*, 2003, https://doi.org/10.1109/SFCS.2003.1238221
    """
    sums, s.w = net.mix(s.w * x, s.w)
    return sums / s.w


@method(needs=("symmetric", "static"), omega=constant(0.0), before=start)
def chebyshev(net, x, grad, s):
    r"""Chebyshev gossip: the fastest polynomial of W for a known ρ; ends at the mean, in about the root of consensus' rounds.

    .. math::
        \omega_1 &= 1, \qquad \omega_2 = \frac{1}{1 - \rho^2/2}, \qquad \omega_{k+1} = \frac{1}{1 - \omega_k \rho^2/4} \\
        x^{k+1} &= \omega_{k+1} W x^k + (1 - \omega_{k+1})\, x^{k-1}

    Scaman, Bach, Bubeck, Lee, Massoulié, *Optimal algorithms for smooth and strongly convex distributed optimization in
    networks*, 2017, https://arxiv.org/abs/1702.08704
    """
    rho = net.topology.rho
    part = torch.where(s.omega > 1, s.omega / 4, s.omega / 2)  # ω₀ = 0 and ω₁ = 1 come before the recursion proper
    s.omega = 1 / (1 - rho**2 * part)
    new = s.omega * net.mix(x) + (1 - s.omega) * s.before
    s.before = x
    return new


@method(needs=("symmetric", "static"), before=start)
def shift_register(net, x, grad, s):
    r"""Gossip with one shift register: Chebyshev's asymptotic speed with a fixed ω; ends at the mean.

    .. math::
        x^{k+1} = \omega W x^k + (1 - \omega)\, x^{k-1}, \qquad \omega = \frac{2}{1 + \sqrt{1 - \rho^2}}, \qquad x^{-1} = x^0

    Berthier, Bach, Gaillard, *Accelerated gossip in networks of given dimension using Jacobi polynomial iterations*, 2018,
    https://arxiv.org/abs/1805.08531
    """
    omega = 2 / (1 + (1 - min(net.topology.rho, 1.0) ** 2) ** 0.5)
    new = omega * net.mix(x) + (1 - omega) * s.before
    s.before = x
    return new


@method(needs=("symmetric", "static"))
def finite_time(net, x, grad, s):
    r"""Finite-time consensus: the exact mean after D − 1 rounds, where D counts the distinct eigenvalues of W.

    .. math::
        x^{k+1} = \frac{W x^k - \lambda_k x^k}{1 - \lambda_k}, \qquad \lambda_k \ne 1 \text{ one after the other}

    Sandryhaila, Kar, Moura, *Finite-time distributed consensus through graph filters*, 2014
    """
    eigenvalues = leja(net.topology)
    if not len(eigenvalues):  # one node
        return x
    eigenvalue = eigenvalues[net.round % len(eigenvalues)]
    return (net.mix(x) - eigenvalue * x) / (1 - eigenvalue)


@functools.lru_cache(maxsize=16)
def leja(topology: Topology) -> tuple[float, ...]:
    """The distinct eigenvalues but 1, each as far as can be from those before it: so no partial product becomes large."""
    ascending = np.sort(topology.eigenvalues.real)
    distinct = ascending[np.flatnonzero(np.diff(ascending, prepend=-np.inf) > 1e-9)]
    left = distinct[distinct < 1 - 1e-9]
    chosen: list[float] = []
    far = np.log(1 - left)  # the logarithm of the product of the distances to 1 and to those already chosen
    for _ in left:
        best = int(far.argmax())
        chosen.append(float(left[best]))
        with np.errstate(divide="ignore"):
            far = far + np.log(np.abs(left - left[best]))
    return tuple(chosen)


@method(needs="two_buffers", b=zeros)
def ceca_consensus(net, x, grad, s):
    r"""CECA: the exact mean after ⌈log₂ n⌉ rounds for every n, one message a node and round.

    .. math::
        (a^{k+1}, b^{k+1}) = A_k\, (a^k, b^k), \qquad x = a

    A_k is a round of ``ceca(n)``: each node takes one of the two buffers of one other node into both of its own.

    Ding, Jin, Ying, Yuan, Yin, *DSGD-CECA: Decentralized SGD with communication-optimal exact consensus algorithm*, 2023,
    https://arxiv.org/abs/2306.00256
    """
    x, s.b = net.mix_pair(x, s.b)
    return x
