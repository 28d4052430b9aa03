"""Gradient descent with neighbours: simple, and biased by the step size where nodes differ.

On ``hierarchical(machines, local)`` these are hierarchical averaging; with steps that shrink like 1/√k they reach the optimum.
"""

from __future__ import annotations

from .method import method


@method(needs="doubly_stochastic")
def dgd(net, x, grad, s, *, lr):
    r"""Decentralized gradient descent, adapt while combining (AWC): ends in an O(α) neighbourhood of the optimum.

    .. math::
        x^{k+1} = W x^k - \alpha \nabla f(x^k)

    Nedić, Ozdaglar, *Distributed subgradient methods for multi-agent optimization*, 2009,
    https://doi.org/10.1109/TAC.2008.2009515
    """
    mixed = net.start_mix(x)  # travels while the gradient is computed
    return mixed.wait() - lr * grad()


@method(needs="doubly_stochastic")
def atc(net, x, grad, s, *, lr):
    r"""Diffusion, adapt then combine (ATC): ends O(α) from the optimum, nearer than `dgd`, and stable up to α = 2/L.

    .. math::
        x^{k+1} = W (x^k - \alpha \nabla f(x^k))

    Chen, Sayed, *Diffusion adaptation strategies for distributed optimization and learning over networks*, 2012,
    https://arxiv.org/abs/1111.0034
    """
    return net.mix(x - lr * grad())


@method(needs="doubly_stochastic")
def cta(net, x, grad, s, *, lr):
    r"""Diffusion, combine then adapt (CTA): its φ are the iterates of `atc`, and x ends one gradient step away from them.

    .. math::
        \phi^k &= W x^k \\
        x^{k+1} &= \phi^k - \alpha \nabla f(\phi^k)

    Chen, Sayed, *Diffusion adaptation strategies for distributed optimization and learning over networks*, 2012,
    https://arxiv.org/abs/1111.0034
    """
    phi = net.mix(x)
    return phi - lr * grad(phi)
