"""The exact mean: in every step as data centres do, now and then as federated learning does, or between rounds of gossip.

Averaging in two levels, inside a machine and between machines, is `ifog.algorithms.atc` on ``hierarchical(machines, local)``.
"""

from __future__ import annotations

import torch

from .method import method, zeros


@method()
def allreduce_sgd(net, x, grad, s, *, lr):
    r"""Parallel SGD: every node takes the mean of all gradients; ends at the optimum. All start at the same x.

    .. math::
        x^{k+1} = x^k - \alpha \, \overline{\nabla f(x^k)}

    Sergeev, Del Balso, *Horovod: fast and easy distributed deep learning in TensorFlow*, 2018, https://arxiv.org/abs/1802.05799
    """
    return x - lr * net.mean(grad())


@method()
def parameter_server(net, x, grad, s, *, lr):
    r"""Parameter server: it averages what the nodes make of the model they got, and sends it back; ends at the optimum.

    .. math::
        x^{k+1} = \overline{x^k - \alpha \nabla f(x^k)}

    Li et al., *Scaling distributed machine learning with the parameter server*, 2014,
    https://www.usenix.org/conference/osdi14/technical-sessions/presentation/li_mu
    """
    return net.mean(x - lr * grad())


@method()
def local_sgd(net, x, grad, s, *, lr, H=4):
    r"""Local SGD, or FedAvg: H steps alone, then the mean; ends O(α) from the optimum, farther the larger H.

    .. math::
        \psi^k &= x^k - \alpha \nabla f(x^k) \\
        x^{k+1} &= \bar\psi^k \text{ if } H \text{ divides } k + 1, \text{ else } \psi^k

    McMahan, Moore, Ramage, Hampson, Agüera y Arcas, *Communication-efficient learning of deep networks from decentralized
    data*, 2017, https://arxiv.org/abs/1602.05629
    """
    psi = x - lr * grad()
    return psi if (net.round + 1) % H else net.mean(psi)


@method(needs="doubly_stochastic")
def gossip_pga(net, x, grad, s, *, lr, H=6):
    r"""Gossip with periodic global averaging: `atc`, and every H-th time the exact mean; ends O(α) from the optimum.

    .. math::
        \psi^k &= x^k - \alpha \nabla f(x^k) \\
        x^{k+1} &= \bar\psi^k \text{ if } H \text{ divides } k + 1, \text{ else } W \psi^k

    Chen, Yuan, Zhang, Pan, Xu, Yin, *Accelerating gossip SGD with periodic global averaging*, 2021,
    https://arxiv.org/abs/2105.09080
    """
    psi = x - lr * grad()
    return net.mix(psi) if (net.round + 1) % H else net.mean(psi)


@method(h=zeros)
def proxskip(net, x, grad, s, *, lr, p=0.1):
    r"""ProxSkip, or Scaffnew: averages with probability p only, and corrects for it; ends at the optimum itself.

    .. math::
        \hat x^k &= x^k - \alpha (\nabla f(x^k) - h^k) \\
        x^{k+1} &= \overline{\hat x^k - (\alpha / p)\, h^k} \text{ with probability } p, \text{ else } \hat x^k \\
        h^{k+1} &= h^k + (p / \alpha) (x^{k+1} - \hat x^k), \qquad h^0 = 0

    Mishchenko, Malinovsky, Stich, Richtárik, *ProxSkip: yes! Local gradient steps provably lead to communication acceleration!
    Finally!*, 2022, https://arxiv.org/abs/2202.09357
    """
    xh = x - lr * (grad() - s.h)
    if net.random.shared()[0] >= p or not lr:  # the same coin on all nodes
        return xh
    x = net.mean(xh - lr / p * s.h)
    s.h = s.h + p / lr * (x - xh)
    return x


@method(m=zeros)
def pmsgd(net, x, grad, s, *, lr, beta=0.9):
    r"""Parallel momentum SGD: the mean of all gradients, with momentum; ends at the optimum. All start at the same x.

    .. math::
        m^{k+1} &= \beta m^k + \overline{\nabla f(x^k)} \\
        x^{k+1} &= x^k - \alpha m^{k+1}

    Goyal et al., *Accurate, large minibatch SGD: training ImageNet in 1 hour*, 2017, https://arxiv.org/abs/1706.02677
    """
    s.m = beta * s.m + net.mean(grad())
    return x - lr * s.m


@method(v=zeros)
def lars(net, x, grad, s, *, lr, beta=0.9, eta=1e-3, weight_decay=0.0):
    r"""LARS: parallel momentum SGD with a step for each tensor, in proportion to its norm; ends near the optimum.

    .. math::
        g &= \overline{\nabla f(x^k)}, \qquad \lambda = \eta \, \|x^k\| \,/\, (\|g\| + \delta \|x^k\|) \\
        v^{k+1} &= \beta v^k + \alpha \lambda (g + \delta x^k) \\
        x^{k+1} &= x^k - v^{k+1}

    δ is the weight decay. The steps do not become small where the gradient does, so it ends within α η ‖x‖ / (1 − β), and at
    the optimum once α shrinks. A tensor that is zero takes the step α.

    You, Gitman, Ginsburg, *Large batch training of convolutional networks*, 2017, https://arxiv.org/abs/1708.03888
    """
    g = net.mean(grad())
    size, slope = net.norm(x, by=net.segments), net.norm(g, by=net.segments)
    ratio = torch.where(size > 0, eta * size / (slope + weight_decay * size + 1e-12), 1.0)
    s.v = beta * s.v + lr * ratio * (g + weight_decay * x)
    return x - s.v
