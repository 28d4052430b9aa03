"""Decentralized gradient descent, and why it parks beside the optimum."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from ... import topology as t
from ..engines import Engines
from ..exercise import Attempt, exercise
from .quadratics import Gradient, Quadratics, draw

Array = NDArray[np.float64]


@exercise("7.1", "parking_place(W, H, c, lr)", "where x ← W x − α ∇f(x) ends, by a linear system")
def parking_place(attempt: Attempt) -> str:
    """Compared with running it, for random objectives and graphs."""
    for n, d in ((5, 2), (8, 3), (4, 1)):
        q = draw(attempt.random, n, d)
        W, lr = t.metropolis(t.ring(n)).matrix.toarray(), float(attempt.random.uniform(0.02, 0.1))
        want = q.parking(W, lr)
        attempt.close(
            attempt.array(W, q.H, q.c, lr, shape=(n, d)),
            want,
            f"`parking_place(W, H, c, {lr:.3g})` for {n} nodes in {d} dimensions",
            within=1e-8,
            mistakes={
                "that is the optimum. At a fixed point every node stands still, and not all at one place": q.optimum[
                    None
                ].repeat(n, 0),
                "these are the optima of the nodes: each of them alone, without W": np.linalg.solve(q.H, q.c[..., None])[
                    ..., 0
                ],
                "that is where W(x − α ∇f(x)) ends, the other form": q.parking(W, lr, atc=True),
                "look at the sign: (I − W) x + α ∇f(x) = 0": q.parking(W, -lr),
            },
            hint="set x = W x − α (H x − c) and bring all x to one side: n·d equations, with `np.kron(W, np.eye(d))`",
        )
    return "equal to where the iteration ends, for three random problems"


@exercise("7.2", "order(lrs, distances)", "the power of α with which the distance shrinks")
def order(attempt: Attempt) -> str:
    """On exact powers, and on the real thing."""
    for _ in range(3):
        power, factor = float(attempt.random.uniform(0.4, 2.5)), float(attempt.random.uniform(0.1, 3))
        steps = 0.3 / 2.0 ** np.arange(4)
        distances = factor * steps**power
        attempt.close(
            attempt.number(steps, distances),
            power,
            attempt.called(steps, distances),
            within=1e-6,
            mistakes={
                "the logarithms of both, please: the slope of distances against steps has a unit": float(
                    np.polyfit(steps, distances, 1)[0]
                ),
                "that is the slope of steps against distances, upside down": 1 / power,
                "that is the factor and not the power: which of the two numbers of the fit is the slope?": math.log(factor),
                "look at the sign: a smaller step brings a smaller distance": -power,
            },
            hint="a power law is a straight line through the logarithms of both: `np.polyfit(np.log(steps), …, 1)` fits one",
        )
    q = draw(attempt.random, 8, 5)
    W = t.ring(8).matrix.toarray()
    steps = 0.02 / 2.0 ** np.arange(4)
    distances = np.array([q.distance(q.parking(W, float(lr))) for lr in steps])
    return f"right. For gradient descent on a ring of 8 it says {attempt.number(steps, distances):.3f}"


@exercise("7.3", "largest_steps(W, H)", "the largest stable α of both forms")
def largest_steps(attempt: Attempt) -> str:
    """Within 1 % of where the spectral radius of the iteration crosses one."""
    for n, d in ((6, 2), (8, 1), (10, 2)):
        q = draw(attempt.random, n, d)
        W = t.ring(n).matrix.toarray()
        mix, H = np.kron(W, np.eye(d)), q.block
        L = float(np.linalg.eigvalsh(H)[-1])
        awc, atc = _crossing(np.eye(n * d), mix, H), _crossing(mix, mix, H)
        want = np.array([awc, atc])
        attempt.close(
            attempt.array(mix, H, shape=(2,)) / want,
            np.ones(2),
            f"`largest_steps(W, H)` for a ring of {n}, each as a part of what is right,",
            within=0.01,
            mistakes={
                "that is the limit of a node that is alone, 2/L. With neighbours it is another one: smaller if W x is added, "
                "and larger if W comes last": np.array([2 / L, 2 / L]) / want,
                "first x ← W x − α ∇f(x), then x ← W (x − α ∇f(x)): they have changed places": np.array([atc, awc]) / want,
                "(1 + λ_min(W)) / L is safe whatever the H are, but these H allow more": np.array(
                    [(1 + float(np.linalg.eigvalsh(W)[0])) / L, 2 / L]
                )
                / want,
            },
            hint="an iteration is stable while all eigenvalues of its matrix, W − αH or W(I − αH), lie within the unit circle",
        )
    return "within 1 % of where the spectral radius crosses one, for three rings: adapt-then-combine bears larger steps"


def _crossing(before: Array, mix: Array, H: Array) -> float:
    """The α at which the spectral radius of W − α ``before`` H becomes one."""
    low, high = 0.0, 100.0
    for _ in range(60):
        middle = (low + high) / 2
        stable = np.abs(np.linalg.eigvals(mix - middle * before @ H)).max() < 1
        low, high = (middle, high) if stable else (low, middle)
    return low


@exercise("7.4", "alike(H, c)", "other objectives with the same optimum, on which descent has no bias")
def alike(attempt: Attempt) -> str:
    """The same curvatures, and an optimum in common: nothing pulls a node away from it, on any graph."""
    said = []
    for n, d in ((6, 2), (8, 3)):
        q = draw(attempt.random, n, d)
        got = Quadratics(q.H, attempt.array(q.H, q.c, shape=(n, d)))
        W, lr = t.ring(n).W, 0.05
        here = f"for {n} nodes in {d} dimensions"
        bias = float(np.abs(got.parking(W, lr) - got.optimum).max())
        hints = {
            "with the same c everywhere the slopes are equal at 0 alone: the H_i differ, so the lowest points do too": q.c.mean(
                0
            )[None].repeat(n, 0),
            "these are the same objectives as before": q.c,
            "that is the optimum itself. A slope H_i x − c_i is zero there if c_i is what?": q.optimum[None].repeat(n, 0),
        }
        attempt.expect(
            bias < 1e-9,
            f"{here}, descent parks {bias:.2g} beside the optimum",
            next(
                (hint for hint, wrong in hints.items() if np.allclose(got.c, wrong)),
                "at x*, the slope of each single node must be zero",
            ),
        )
        moved = float(np.abs(got.optimum - q.optimum).max())
        attempt.expect(
            moved < 1e-9,
            f"{here}, there is no bias, but the optimum is another one, {moved:.2g} away",
            "first the optimum of all, from Σ H_i and Σ c_i. Then for each node the c_i that has its lowest point there",
        )
        before = float(np.abs(q.parking(W, lr) - q.optimum).max())
        said.append(f"{before:.2f} → {max(bias, 1e-16):.0e}")
    return f"the farthest node from the optimum, on two rings: {' and '.join(said)}. The graph is still the same"


@exercise("7.5", "step(x, gradient, lr)", "on the engines: one iteration of x ← W x − α ∇f(x)", on_engines=True)
def step(attempt: Engines) -> str:
    """Audited: one averaging with neighbours, d numbers."""
    n, d, lr = attempt.n, 3, 0.1
    q = draw(attempt.random, n, d)
    x = attempt.random.standard_normal((n, d))
    W = t.ring(n).matrix.toarray()
    gradients = [Gradient(q.H[i], q.c[i]) for i in range(n)]
    outcomes = attempt.run([torch.from_numpy(row) for row in x], gradients, [lr] * n)
    g = q.gradient(x)
    want = W @ x - lr * g
    for rank, outcome in enumerate(outcomes):
        found = attempt.as_array(outcome.value, (d,), f"`step` on rank {rank}")
        attempt.expect(
            not outcome.together,
            f"rank {rank} made {outcome.in_words}: that asks all ranks at once",
            "only the neighbours: `ifog.neighbor_allreduce`",
        )
        attempt.close(
            found,
            want[rank],
            f"`step` on rank {rank}",
            mistakes={
                "that is W (x − α ∇f(x)), adapt then combine: here x is mixed, and the step comes after that": (
                    W @ (x - lr * g)
                )[rank],
                "the gradient is taken at x itself, not at what came from the neighbours": (W @ x - lr * q.gradient(W @ x))[
                    rank
                ],
                "nobody has talked to a neighbour: that is gradient descent alone": (x - lr * g)[rank],
                "down the hill: minus the gradient": (W @ x + lr * g)[rank],
            },
            hint="`ifog.neighbor_allreduce(x) - lr * gradient(x)`, along the topology that is set, the ring",
        )
        attempt.expect(
            outcome.count("neighbor_allreduce") == 1,
            f"rank {rank} made {outcome.in_words}",
            "one averaging an iteration is enough: every message counts",
        )
    return f"the same numbers as simulated, and {outcomes[0].in_words} of {outcomes[0].calls[-1].bytes} bytes on every rank"
