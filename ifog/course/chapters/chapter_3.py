"""Average consensus, and the spectral gap."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from ... import topology as t
from ..engines import Engines
from ..exercise import Attempt, exercise
from .counted import Counted, knows_nothing_alone

Array = NDArray[np.float64]


@exercise("3.1", "ring_rho(n)", "the ρ of a ring of n nodes, by a formula")
def ring_rho(attempt: Attempt) -> str:
    """The second largest eigenvalue of a circulant matrix, in absolute value."""
    sizes = [8, *attempt.some(range(5, 200), 6)]
    for n in sizes:
        angle = math.cos(2 * math.pi / n)
        attempt.close(
            attempt.number(n),
            t.ring(n).rho,
            attempt.called(n),
            within=1e-6,
            mistakes={
                "a node has two neighbours, and each of them adds cos(2π/n) / 3": (1 + angle) / 3,
                "the weights of this ring are 1/3, 1/3, 1/3: also the node's own": (1 + angle) / 2,
                "that is the eigenvalue of the mean itself. Which is the next one?": 1.0,
                "that is the gap, 1 − ρ": 2 * (1 - angle) / 3,
                "is the angle 2π/n, and not π/n?": (1 + 2 * math.cos(math.pi / n)) / 3,
            },
            hint="W turns a wave of k periods into (1 + 2 cos(2πk/n)) / 3 of it. Which k decides?",
        )
    return f"right for n = {', '.join(map(str, sizes))}"


@exercise("3.2", "rounds_needed(rho, share)", "how many rounds until only this share of the worst disagreement is left")
def rounds_needed(attempt: Attempt) -> str:
    """Compared with what a simulation of the slowest wave takes."""
    for n in attempt.some(range(6, 40), 4):
        ring = t.ring(n)
        rho, share = ring.rho, 10.0 ** -int(attempt.random.integers(3, 9))
        wave = np.cos(2 * np.pi * np.arange(n) / n)
        x, took = wave, 0
        while np.abs(x).max() > share * np.abs(wave).max():
            x, took = ring @ x, took + 1
        got, exact = attempt.number(rho, share), math.log(share) / math.log(rho)
        if exact - 1e-4 <= got <= exact + 1e-4:
            continue  # a fraction of a round is fine
        attempt.close(
            got,
            took,
            attempt.called(rho, share),
            mistakes={
                "round up: after that many rounds there is still more than the share": float(took - 1),
                "ln(1/share) / (1 − ρ) is what one says for ρ close to 1; exactly, ρᵏ = share": math.log(1 / share) / (1 - rho),
                "divide the logarithms, ln(share) / ln(ρ), rather than the numbers": share / rho,
                "both logarithms must have the same base": math.log10(share) / math.log(rho),
            },
            hint="after k rounds the share ρᵏ is left: solve ρᵏ = share for k",
        )
    return "what a simulation takes, for four rings"


@exercise("3.3", "best_weight(n)", "the weight on each edge of a ring with which the mean is found fastest")
def best_weight(attempt: Attempt) -> str:
    """Where the largest and the smallest eigenvalue are equally bad."""
    for n in attempt.some(range(5, 60), 6):
        around = 2 - 2 * np.cos(2 * np.pi * np.arange(1, n) / n)  # eigenvalues of the Laplacian
        low, high = float(around.min()), float(around.max())
        attempt.close(
            attempt.number(n),
            2 / (low + high),
            attempt.called(n),
            within=1e-6,
            mistakes={
                "1/3 is what everybody takes; with a little more, the slow waves die faster": 1 / 3,
                "with 1/2 nothing stays at the node: if n is even, the zigzag + − + − never dies": 1 / 2,
                "that kills the fastest wave at once, but the slow ones decide": 1 / high,
                "that kills the slowest wave at once, and the zigzag explodes": 1 / low,
                "if n is odd, the zigzag does not quite close: the fastest wave has (n − 1)/2 periods": 2 / (low + 4),
                "balance the slowest wave and the zigzag: 1 − a·low = −(1 − a·high) has a 2 in it": 1 / (low + high),
            },
            hint="with weight a the wave k shrinks by 1 − a(2 − 2cos(2πk/n)). Where are the first and the last equally large?",
        )
    return "the eigenvalue optimum for six rings, to six digits"


@exercise("3.4", "accelerated(W, x, steps)", "an averaging that needs at most half the rounds of x ← W x")
def accelerated(attempt: Attempt) -> str:
    """Audited: how often W is used."""
    said = []
    for n in attempt.some(range(16, 33), 3):
        plain = t.ring(n)
        x = attempt.random.standard_normal(n)
        need = math.ceil(math.log(1e-8) / math.log(plain.rho))
        whole = plain.matrix.toarray()
        W, steps = Counted(whole, (n,)), need // 2
        found = attempt.array(W, x, steps, shape=(n,))
        error = float(np.abs(found - x.mean()).max() / np.abs(x - x.mean()).max())
        attempt.expect(
            W.used > 0, "no node has talked to another one", "multiply with W: nobody knows the mean of all numbers by itself"
        )
        attempt.expect(
            W.used <= steps, f"it used W {W.used} times, where {steps} rounds were allowed", "one `W @ …` in each of the steps"
        )
        attempt.expect(
            error < 1e-8,
            f"on a ring of {n}, {steps} rounds leave {error:.1e} of the disagreement, and 1e-08 is wanted",
            "x ← (1+ω) W x − ω x₋ remembers where it came from. ω = ((1 − √(1−ρ²)) / ρ)² is the best"
            if error < 1
            else "is the mean kept? The weights of what is added up must sum to one",
        )

        def unplugged(x: Array, whole: Array = whole, n: int = n) -> object:
            return attempt.call(Counted(whole, (n,), cut=True), x, 20)

        knows_nothing_alone(attempt, unplugged, x, f"on a ring of {n}")
        said.append(f"{W.used} rounds instead of {need}")
    return f"on three rings {'; '.join(said)}"


@exercise("3.5", "gossip(x, rounds)", "on the engines: the mean by neighbours alone", on_engines=True)
def gossip(attempt: Engines) -> str:
    """Audited: nobody talks to all."""
    n, rounds = attempt.n, int(attempt.random.integers(5, 12))
    x = attempt.random.standard_normal(n)
    outcomes = attempt.run([torch.tensor([value], dtype=torch.float64) for value in x], [rounds] * n)
    want = np.linalg.matrix_power(t.ring(n).W, rounds) @ x
    for rank, outcome in enumerate(outcomes):
        attempt.expect(
            not outcome.together,
            f"rank {rank} made {outcome.in_words}: that asks all ranks at once",
            "`neighbor_allreduce` hears from the neighbours alone: that is all that a node of this chapter can do",
        )
        found = attempt.as_number(outcome.value, f"`gossip` on rank {rank}")
        talks = outcome.count("neighbor_allreduce")
        attempt.expect(
            talks == rounds,
            f"rank {rank} talked to its neighbours {talks} times, in {rounds} rounds",
            "one `x = ifog.neighbor_allreduce(x)` a round: do you use what it returns?",
        )
        attempt.close(
            found,
            want[rank],
            f"`gossip({x[rank]:.3f}, {rounds})` on rank {rank}",
            mistakes={
                "x does not change: `x = ifog.neighbor_allreduce(x)` keeps what comes back": float(x[rank]),
                "that is the exponential graph, which is used unless you say `ifog.set_topology(ifog.topology.ring(n))`": float(
                    (np.linalg.matrix_power(t.exponential(n).W, rounds) @ x)[rank]
                ),
            },
        )
    return f"{rounds} rounds, {outcomes[0].in_words} on every rank, and the numbers of x ← W x to the last digit"
