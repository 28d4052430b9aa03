"""Erasing the bias: EXTRA, exact diffusion, ADMM."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ... import topology as t
from ..engines import Engines
from ..exercise import Attempt, Wrong, exercise
from .counted import Counted, knows_nothing_alone
from .quadratics import Gradient, Quadratics, draw, solved

Array = NDArray[np.float64]
_SMALL = 1e-10


def _ring(n: int, smallest: float) -> Array:
    """A ring of an even number of nodes whose W has this smallest eigenvalue."""
    a = (1 - smallest) / 4
    W: Array = t.circulant(n, {0: 1 - 2 * a, 1: a, n - 1: a}).matrix.toarray()
    return W


@exercise("8.1", "extra(W, x, gradient, lr, steps)", "EXTRA: a descent that ends at the optimum itself")
def extra(attempt: Attempt) -> str:
    """Audited: how often W is used. Also where the smallest eigenvalue of W is dangerous."""
    said, tried = [], []
    for n, smallest in ((8, 0.0), (6, -1 / 3)):
        q = draw(attempt.random, n, 3)
        L = float(np.linalg.eigvalsh(q.H).max())
        whole, lr, steps = _ring(n, smallest), 0.5 / L, 3000
        W = Counted(whole, (n, 3))
        x = np.zeros((n, 3))
        call = f"`extra(W, x, gradient, {lr:.3g}, {steps})` on a ring of {n}"
        with np.errstate(all="ignore"):
            found = _finite(attempt, attempt.call(W, x, q.gradient, lr, steps), (n, 3), call)
        attempt.expect(W.used, f"{call}: no node has talked to another one", "multiply with W, in each of the steps")
        attempt.expect(
            W.used <= 2 * steps + 2,
            f"{call} used W {W.used} times, in {steps} steps",
            "one or two products `W @ …` in each of the steps",
        )
        error = q.distance(found) if np.isfinite(found).all() else np.inf
        biased = q.distance(q.parking(whole, lr)), q.distance(q.parking(whole, lr, atc=True))
        attempt.expect(
            error < _SMALL,
            f"{call} ends {error:.1e} away from the optimum, and {_SMALL:.0e} is wanted",
            "that is where descent without a memory parks. What is missing is d: it adds up (x − W x) / 2"
            if any(abs(error - bias) < 1e-3 * bias for bias in biased)
            else "it explodes: W has an eigenvalue of −1/3 here, a zigzag that is turned around in each step. With (I + W)/2 "
            "in place of W in W(2x − x₋) it is calmed down. Or is d changed too early? "
            "It takes the x that came"
            if error > 10
            else "d ← d + (x − W x)/2 begins with zero, and is subtracted in each step: x ← W x − α ∇f(x) − d",
        )
        tried.append((q, whole, lr))
        said.append(f"{error:.0e} (descent alone: {biased[0]:.2f})")
    for each in tried:
        _first_steps(attempt, *each)
    return f"it ends at the optimum on two rings, up to {' and '.join(said)}"


def _first_steps(attempt: Attempt, q: Quadratics, W: Array, lr: float) -> None:
    """Five of them, from somewhere: there are other ways that end at the optimum."""
    start, steps = attempt.random.standard_normal(q.c.shape), 5

    def iterated(share: float = 0.5, alpha: float = lr, *, new: bool = False) -> Array:
        x, d = start, np.zeros_like(start)
        for _ in range(steps):
            after = W @ x - alpha * q.gradient(x) - d
            of = after if new else x
            x, d = after, d + share * (of - W @ of)
        return x

    said = f"`extra(W, x, gradient, {lr:.3g}, {steps})`, from an x drawn at random,"
    attempt.close(
        attempt.as_array(attempt.call(Counted(W, q.c.shape), start, q.gradient, lr, steps), q.c.shape, said),
        iterated(),
        said,
        mistakes={
            "half of it: d ← d + (x − W x)/2": iterated(1.0),
            "d takes the x that came, and not the new one": iterated(new=True),
            "begin where you are told to, at x, and not at zero": iterated() - start,
        },
        hint="x ← W x − α ∇f(x) − d and d ← d + (x − W x)/2, both with the x that came, `steps` times, with the `lr` that came",
    )
    cut = Counted(W, q.c.shape, cut=True)
    knows_nothing_alone(attempt, lambda x: attempt.call(cut, x, q.gradient, lr, steps), start, said)


def _finite(attempt: Attempt, value: Any, shape: tuple[int, ...], said: str) -> Array:
    """Like `as_array`, but what has exploded is to be said in other words."""
    try:
        return attempt.as_array(value, shape, said)
    except Wrong:
        if np.shape(value) == shape and np.asarray(value).dtype.kind == "f":
            return np.full(shape, np.inf)
        raise


@exercise("8.2", "learnt(H, c, lr)", "what each node has learnt when it stands at the optimum")
def learnt(attempt: Attempt) -> str:
    """The fixed point of EXTRA: d = −α ∇f_i(x*)."""
    for n, d in ((5, 2), (8, 3)):
        q, lr = draw(attempt.random, n, d), float(attempt.random.uniform(0.02, 0.2))
        gradients = q.gradient(q.optimum[None].repeat(n, 0))
        attempt.close(
            attempt.array(q.H, q.c, lr, shape=(n, d)),
            -lr * gradients,
            f"`learnt(H, c, {lr:.3g})` for {n} nodes",
            within=1e-6,
            mistakes={
                "look at the sign: x = W x − α ∇f(x) − d, and all x are equal": lr * gradients,
                "d is what has been subtracted, so α is in it": -gradients,
                "the mean of all d is zero, but each node has its own": np.zeros((n, d)),
                "the gradients are wanted at the optimum, and not at zero": lr * q.c,
            },
            hint="stand still at x* in x = W x − α ∇f(x) − d: W x* = x*, so what must d be?",
        )
    return "−α ∇f_i(x*): exactly what pulled each node away"


@exercise("8.3", "calmed(W)", "a matrix with the same edges whose smallest eigenvalue is not dangerous")
def calmed(attempt: Attempt) -> str:
    """Exact diffusion runs with it, and without it overflows."""
    drawn = float(attempt.random.uniform(-0.95, -0.4))
    for W, smallest in ((_ring(8, -0.8), -0.8), (_ring(6, -0.5), -0.5), (_crooked(7, drawn), drawn)):
        n = len(W)
        got = attempt.array(W, shape=(n, n))
        said = f"`calmed(W)` for λ_min = {smallest:.2f}"
        attempt.expect(np.allclose(got, got.T, atol=1e-12), f"{said} is not symmetric", "(I + W)/2 is")
        attempt.expect(
            np.allclose(got.sum(1), 1, atol=1e-12),
            f"the rows of {said} sum to {got.sum(1)[0]:.3g}, and not to one",
            "what averages has rows that sum to one",
        )
        off = (np.abs(got) > 1e-12) & (np.abs(W) < 1e-12) & ~np.eye(n, dtype=bool)
        attempt.expect(
            not off.any(),
            f"{said} has a weight at [{', '.join(str(int(k)) for k in np.argwhere(off)[0])}]" if off.any() else "",
            "there is no edge: use I and W alone",
        )
        eigenvalues = np.linalg.eigvalsh(got)
        attempt.expect(
            eigenvalues[0] > -1 / 3,
            f"{said} has an eigenvalue of {eigenvalues[0]:.2f}",
            "exact diffusion needs all of them above −1/3. Let everybody keep half of its own number",
        )
        attempt.expect(
            eigenvalues[-2] < 1 - 1e-9,
            f"{said} lets two groups never agree: it has the eigenvalue 1 twice",
            "W must still be in it: with I alone nobody talks",
        )
        q = draw(attempt.random, n, 2)
        error = q.distance(exact_diffusion(q, got, 0.5 / float(np.linalg.eigvalsh(q.H).max()), 4000))
        attempt.expect(
            error < 1e-8, f"with {said}, exact diffusion ends {error:.1e} away from the optimum", "(I + W)/2 will do"
        )
    return "symmetric, the same edges, and exact diffusion ends at the optimum with it, on two rings and a crooked graph"


def _crooked(n: int, smallest: float) -> Array:
    """A path with a shortcut, whose W has this smallest eigenvalue."""
    A = np.diag(np.ones(n - 1), 1)
    A[0, n // 2] = 1
    A += A.T
    laplacian = np.diag(A.sum(1)) - A
    W: Array = np.eye(n) - (1 - smallest) / float(np.linalg.eigvalsh(laplacian)[-1]) * laplacian
    return W


def exact_diffusion(q: Quadratics, V: Array, lr: float, steps: int) -> Array:
    """As it is printed: adapt, correct, combine with V."""
    x = before = np.zeros_like(q.c)
    with np.errstate(all="ignore"):
        for _ in range(steps):
            psi = x - lr * q.gradient(x)
            x, before = V @ (psi + x - before), psi
    return x


@exercise("8.4", "admm(A, H, c, rho, steps)", "decentralized ADMM: exact, with a multiplier at each node")
def admm(attempt: Attempt) -> str:
    """Reaches the known optimum, by the steps that were asked for."""
    for n, d in ((5, 2), (6, 3)):
        q, rho = draw(attempt.random, n, d), float(attempt.random.uniform(0.2, 0.5))
        A = (t.ring(n).matrix.toarray() > 0).astype(float) - np.eye(n)
        A[0, n // 2] = A[n // 2, 0] = 1.0
        call = f"`admm(A, H, c, {rho:.3g}, 600)` of {n} nodes"
        with np.errstate(all="ignore"):
            found = _finite(attempt, attempt.call(A, q.H, q.c, rho, 600), (n, d), call)
        error = q.distance(found) if np.isfinite(found).all() else np.inf
        alone = q.distance(q.own_optima)
        attempt.expect(
            error < _SMALL,
            f"{call} ends {error:.1e} away from the optimum, and {_SMALL:.0e} is wanted",
            "these are the optima of the nodes: nobody has heard a neighbour"
            if abs(error - alone) < 1e-6
            else "it explodes: is p ← p + ρ Σ_j (x_i − x_j) added up, and subtracted in c − p?"
            if error > 10
            else "x_i solves (H_i + 2ρ·deg_i I) x_i = c_i − p_i + ρ Σ_j (x_i + x_j), with the old x on the right. "
            "Does p change at all?",
        )
        attempt.close(
            attempt.array(A, q.H, q.c, rho, 3, shape=(n, d)),
            _admm(q, A, rho, 3),
            f"`admm(A, H, c, {rho:.3g}, 3)` of {n} nodes",
            mistakes={
                "that is the optimum of all, and nobody can know it after three rounds": q.optimum[None].repeat(n, 0),
                "the prices are raised by what the **new** x disagree": _admm(q, A, rho, 3, old=True),
                "the prices are raised by ρ times the disagreement": _admm(q, A, rho, 3, raised=0.5),
            },
            hint="three rounds from x = p = 0, each with the ρ that came: first all x, and then all p with the new x",
        )
    return "the right steps, and at the optimum of two random networks to ten digits"


def _admm(q: Quadratics, A: Array, rho: float, steps: int, *, old: bool = False, raised: float = 1.0) -> Array:
    degree = A.sum(1)[:, None]
    left = q.H + 2 * rho * degree[:, :, None] * np.eye(q.c.shape[1])
    x, p = np.zeros_like(q.c), np.zeros_like(q.c)
    for _ in range(steps):
        new = solved(left, (q.c - p + rho * (degree * x + A @ x))[..., None])[..., 0]
        of = x if old else new
        x, p = new, p + raised * rho * (degree * of - A @ of)
    return x


@exercise("8.5", "remember(x, d, gradient, lr)", "on the engines: one iteration of EXTRA, with one message", on_engines=True)
def remember(attempt: Engines) -> str:
    """Audited: W x is asked for once, though it is used twice."""
    n, d, lr = attempt.n, 3, 0.1
    q = draw(attempt.random, n, d)
    x, memory = attempt.random.standard_normal((n, d)), attempt.random.standard_normal((n, d))
    W = t.ring(n).matrix.toarray()
    rows = [[torch.from_numpy(row) for row in part] for part in (x, memory)]
    outcomes = attempt.run(*rows, [Gradient(q.H[i], q.c[i]) for i in range(n)], [lr] * n)
    new = W @ x - lr * q.gradient(x) - memory
    after = memory + (x - W @ x) / 2
    for rank, outcome in enumerate(outcomes):
        found = attempt.as_array(outcome.value, (2, d), f"`remember` on rank {rank}")
        attempt.close(
            found[0],
            new[rank],
            f"the new x of `remember` on rank {rank}",
            mistakes={
                "d is subtracted, and not added": (new + 2 * memory)[rank],
                "the d that came is used here; the new one is for the next iteration": (new + memory - after)[rank],
                "and minus d: what has been learnt must be used": (new + memory)[rank],
            },
            hint="x ← W x − α ∇f(x) − d",
        )
        attempt.close(
            found[1],
            after[rank],
            f"the new d of `remember` on rank {rank}",
            mistakes={
                "half of it: d ← d + (x − W x)/2": (memory + x - W @ x)[rank],
                "with the old x, of which W x has been computed already": (memory + (new - W @ new) / 2)[rank],
                "d must change, else nothing is learnt": memory[rank],
                "x − W x, and not W x − x": (memory - (x - W @ x) / 2)[rank],
            },
            hint="d ← d + (x − W x)/2, with the x that came",
        )
        attempt.expect(
            outcome.count("neighbor_allreduce") == 1 and not outcome.together,
            f"rank {rank} made {outcome.in_words}",
            "one message is enough: keep W x in a variable, and use it twice",
        )
    return f"right on every rank, with {outcomes[0].in_words}: exactness costs a memory, but no message"
