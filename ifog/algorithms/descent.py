"""Gradient descent with neighbours: simple, and biased by the step size where nodes differ."""

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
