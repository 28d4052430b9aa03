"""Least squares that differ between nodes: a problem of which everything is known, and a driver for methods on it."""

from functools import cached_property, lru_cache

import numpy as np
import torch

from ifog.algorithms import find
from ifog.experiment import Asynchronous
from ifog.network import Network


class LeastSquares:
    """fᵢ(x) = ‖Aᵢx − bᵢ‖² / 2K, where bᵢ is what Aᵢ makes of a point h away from a common one, and noise."""

    def __init__(self, n, d, K, h, noise, seed):
        r = np.random.default_rng(seed)
        common = r.standard_normal(d)
        A = r.standard_normal((n, K, d))
        points = common + h * r.standard_normal((n, d))
        b = np.einsum("ikd,id->ik", A, points) + noise * r.standard_normal((n, K))
        self._set(np.einsum("ika,ikb->iab", A, A) / K, np.einsum("ikd,ik->id", A, b) / K)

    @classmethod
    def of(cls, H, c):
        """The problem with the gradients Hᵢx − cᵢ."""
        made = cls.__new__(cls)
        made._set(np.asarray(H, float), np.asarray(c, float))
        return made

    def _set(self, H, c):
        self.H, self.c = H, c
        self.n, self.d = c.shape
        self.L = max(np.linalg.eigvalsh(h)[-1] for h in self.H)
        self.mu = np.linalg.eigvalsh(self.H.mean(0))[0]
        self._tensors = {}

    @cached_property
    def optimum(self):
        """x*."""
        return self.weighted(np.ones(self.n))

    @cached_property
    def b2(self):
        """How much the nodes differ: the mean of ‖∇fᵢ(x*)‖²."""
        return (self.G(np.tile(self.optimum, (self.n, 1))) ** 2).sum(1).mean()

    def weighted(self, p):
        """The optimum of Σ pᵢ fᵢ."""
        return np.linalg.solve(np.einsum("i,iab->ab", p, self.H), np.asarray(p) @ self.c)

    def G(self, x):
        """The gradients, a row for each node."""
        return np.einsum("iab,ib->ia", self.H, x) - self.c

    def gradient(self, z, nodes):
        """The gradients of some nodes, all at once."""
        H, c = self._in(z.dtype)
        rows = slice(nodes.start, nodes.stop)
        return torch.bmm(H[rows], z.unsqueeze(2)).squeeze(2) - c[rows]

    def gradient_by_rows(self, z, nodes):
        """The same, node by node: so that the digits do not depend on how many nodes are here."""
        H, c = self._in(z.dtype)
        return torch.stack([H[i] @ z[at] - c[i] for at, i in enumerate(nodes)])

    def _in(self, dtype):
        if dtype not in self._tensors:
            self._tensors[dtype] = torch.tensor(self.H, dtype=dtype), torch.tensor(self.c, dtype=dtype)
        return self._tensors[dtype]

    def error(self, x, at=None):
        """√(mean ‖xᵢ − x*‖²), from the optimum or another point or other points."""
        difference = np.asarray(x, dtype=np.float64) - (self.optimum if at is None else at)
        return float(np.sqrt((difference**2).sum(1).mean()))

    def solve(self, A, B):
        """The x with A x + B G(x) = 0, where A and B mix nodes."""
        n, d = self.n, self.d
        system = np.kron(A, np.eye(d)) + np.einsum("ij,jab->iajb", B, self.H).reshape(n * d, n * d)
        return np.linalg.solve(system, (B @ self.c).ravel()).reshape(n, d)


@lru_cache
def ls16():
    """Sixteen nodes, ten numbers."""
    return LeastSquares(16, 10, 30, 1.0, 0.1, 0)


@lru_cache
def ls4():
    """Four nodes, three numbers."""
    return LeastSquares(4, 3, 10, 1.0, 0.1, 1)


@lru_cache
def ls8():
    """Eight nodes, five numbers, and an optimum that is easy to condition."""
    return LeastSquares(8, 5, 30, 1.0, 0.1, 3)


def iterate(method, problem, topology, steps, *, x=None, net=None, each=None, by_rows=False, dtype=torch.float64, **parameters):
    """The iterates of the nodes here after so many steps; ``each(k, x, s)`` sees all, and may return changed parameters."""
    method = find(method)
    net = Network(topology, problem.n) if net is None else net
    if method.asynchronous:
        return _activate(method, problem, steps, x, net, each, by_rows, dtype, parameters)
    parameters = method.check(net, **parameters)
    x = torch.zeros(len(net.nodes), problem.d, dtype=dtype) if x is None else x
    s = method.start(net, x, **parameters)
    gradient = problem.gradient_by_rows if by_rows else problem.gradient
    for k in range(steps):

        def grad(z=None, *, fresh=False, x=x):
            return gradient(x if z is None else z, net.nodes)

        x = method(net, x, grad, s, **parameters)
        net.advance()
        if each is not None:
            parameters |= each(k, x, s) or {}
    return x


def _activate(method, problem, steps, x, net, each, by_rows, dtype, parameters):
    """The same for methods in which nobody waits: in a step every node is active once on average."""
    gradient = problem.gradient_by_rows if by_rows else problem.gradient
    x = torch.zeros(len(net.nodes), problem.d, dtype=dtype) if x is None else x
    run = Asynchronous(net, method, lambda z, nodes, k: gradient(z, nodes), x, parameters)
    for k in range(steps):
        run.step()
        if each is not None:
            run.parameters |= each(k, run.x, run.s) or {}
    run.finish()
    return run.x
