"""Methods that send compressed messages, and remember what was lost in them."""

from __future__ import annotations

from .compress import numbers, qsgd, scaled_sign, top_k
from .method import method, zeros


@method(needs=("symmetric", "static"), xh=zeros, r=zeros)
def choco_gossip(net, x, grad, s, *, gamma=None, compress=top_k(0.1)):
    r"""CHOCO-gossip: sends compressed what a node has moved since; ends at the mean itself. γ = δ of the compressor by default.

    .. math::
        \hat x^{k+1} &= \hat x^k + C(x^k - \hat x^k), \qquad \hat x^0 = 0 \\
        x^{k+1} &= x^k - \gamma (I - W)\, \hat x^{k+1}

    Koloskova, Stich, Jaggi, *Decentralized stochastic optimization and gossip algorithms with compressed communication*, 2019,
    https://arxiv.org/abs/1902.00340
    """
    d = numbers(x)
    gamma = compress.delta(d) if gamma is None else gamma
    q = compress(net, x - s.xh)
    s.xh = s.xh + q
    s.r = s.r + net.diff(q, bits=compress.bits(d))  # (I − W) x̂, without sending x̂
    return x - gamma * s.r


@method(needs=("symmetric", "static"), xh=zeros, r=zeros)
def choco_sgd(net, x, grad, s, *, lr, gamma=None, compress=top_k(0.1)):
    r"""CHOCO-SGD: a gradient step, then `choco_gossip`; ends where `atc` ends with I − γ(I − W) in place of W.

    .. math::
        \psi^k &= x^k - \alpha \nabla f(x^k) \\
        \hat x^{k+1} &= \hat x^k + C(\psi^k - \hat x^k), \qquad \hat x^0 = 0 \\
        x^{k+1} &= \psi^k - \gamma (I - W)\, \hat x^{k+1}

    Koloskova, Stich, Jaggi, *Decentralized stochastic optimization and gossip algorithms with compressed communication*, 2019,
    https://arxiv.org/abs/1902.00340
    """
    return choco_gossip(net, x - lr * grad(), grad, s, gamma=gamma, compress=compress)


@method(e=zeros)
def ef_sgd(net, x, grad, s, *, lr, compress=top_k(0.1)):
    r"""SGD with error feedback: what the compressor left out is added to the next message; ends O(α) from the optimum.

    .. math::
        q^k &= \alpha \nabla f(x^k) + e^k \\
        e^{k+1} &= q^k - C(q^k), \qquad e^0 = 0 \\
        x^{k+1} &= x^k - \overline{C(q^k)}

    Stich, Cordonnier, Jaggi, *Sparsified SGD with memory*, 2018, https://arxiv.org/abs/1809.07599
    """
    compress.delta(numbers(x))  # refuses what is no contraction
    q = lr * grad() + s.e
    sent = compress(net, q)
    s.e = q - sent
    return x - net.mean(sent, bits=compress.bits(numbers(x)))


@method(e=zeros)
def ef_signsgd(net, x, grad, s, *, lr):
    r"""Sign SGD with error feedback: a bit for each number; ends O(α) from the optimum, where signs alone do not.

    .. math::
        q^k &= \alpha \nabla f(x^k) + e^k \\
        \Delta^k &= \|q^k\|_1 / d \cdot \mathrm{sign}(q^k) \\
        e^{k+1} &= q^k - \Delta^k, \qquad e^0 = 0 \\
        x^{k+1} &= x^k - \overline{\Delta^k}

    Karimireddy, Rebjock, Stich, Jaggi, *Error feedback fixes SignSGD and other gradient compression schemes*, 2019,
    https://arxiv.org/abs/1901.09847
    """
    return ef_sgd(net, x, grad, s, lr=lr, compress=scaled_sign())


@method(e=zeros)
def qsgd_sgd(net, x, grad, s, *, lr, levels=4, feedback=False):
    r"""QSGD: gradients rounded at random to a few levels; ends O(√α) from the optimum, O(α) with error feedback.

    .. math::
        x^{k+1} = x^k - \overline{C(\alpha \nabla f(x^k))}

    Alistarh, Grubic, Li, Tomioka, Vojnović, *QSGD: communication-efficient SGD via gradient quantization and encoding*, 2017,
    https://arxiv.org/abs/1610.02132
    """
    compress = qsgd(levels, unbiased=not feedback)
    if feedback:
        return ef_sgd(net, x, grad, s, lr=lr, compress=compress)
    return x - net.mean(compress(net, lr * grad()), bits=compress.bits(numbers(x)))
