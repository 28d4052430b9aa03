"""The zoo of graphs, and exact averaging in log n rounds."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ... import topology as t
from ...errors import TopologyWarning
from ..engines import Engines
from ..exercise import Attempt, Wrong, exercise
from .counted import knows_nothing_alone

Array = NDArray[np.float64]


@exercise("4.1", "exponential_rho(n)", "the ρ of the exponential graph of n nodes, for n a power of two")
def exponential_rho(attempt: Attempt) -> str:
    """Ying and others have proved it."""
    sizes = [2**tau for tau in [3, *attempt.some(range(4, 15), 5)]]
    for n in sizes:
        tau = n.bit_length() - 1
        attempt.close(
            attempt.number(n),
            1 - 2 / (1 + tau),
            attempt.called(n),
            within=1e-6,
            mistakes={
                "that is the gap, 1 − ρ": 2 / (1 + tau),
                "a node has log₂ n neighbours and itself: 1 + log₂ n weights in a row": 1 - 2 / tau,
                "the logarithm to base 2, please: the offsets are 1, 2, 4, 8 …": 1 - 2 / (1 + math.log(n)),
                "look at the zigzag + − + −: of the offsets 1, 2, 4, 8 … it notices only the 1, which turns it around. "
                "What is left of it?": 1 - 1 / (1 + tau),
            },
            hint="W turns + − + − into (1 + (τ − 1) − 1) / (1 + τ) of it, where τ = log₂ n: all offsets are even but one",
        )
    return f"right for n = {', '.join(map(str, sizes))}"


@exercise("4.2", "one_peer_error(n)", "how far ⌈log₂ n⌉ rounds of the one-peer graph are from exact averaging")
def one_peer_error(attempt: Attempt) -> str:
    """The largest entry of P − 11ᵀ/n, with P the product of the rounds."""
    sizes = [8, 6, 16, 12, *attempt.some([5, 7, 9, 10, 20, 24, 32, 33, 48, 100], 3)]
    for n in sizes:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TopologyWarning)
            schedule = t.one_peer_exponential(n)
        product = np.eye(n)
        for k in range((n - 1).bit_length()):
            product = schedule[k].W @ product
        want = float(np.abs(product - 1 / n).max())
        attempt.close(
            attempt.number(n),
            want,
            attempt.called(n),
            within=1e-6,
            mistakes={
                "that it is exact is a theorem for powers of two only. Multiply the rounds and look": 0.0,
                "that is one round less than ⌈log₂ n⌉": float(np.abs(_one_less(schedule, n) - 1 / n).max()),
                "the largest distance of a single entry from 1/n is wanted, not a norm of all of them": float(
                    np.linalg.norm(product - 1 / n, 2)
                ),
            },
            hint="multiply the matrices of ⌈log₂ n⌉ rounds, P = W₂ W₁ W₀, and compare each entry with 1/n",
        )
    return f"right for n = {', '.join(map(str, sizes))}: exact for powers of two, and for no other n"


def _one_less(schedule: t.Schedule, n: int) -> Array:
    product = np.eye(n)
    for k in range((n - 1).bit_length() - 1):
        product = schedule[k].W @ product
    return product


class _Post:
    """Carries one message of each node, around the ring by an offset; and counts."""

    def __init__(self, n: int, *, cut: bool = False) -> None:
        self.n, self.rounds, self._cut = n, 0, cut

    def __call__(self, values: Any, offset: Any) -> Array:
        """What node i receives: the value of node i − offset."""
        sent = np.asarray(values, dtype=np.float64)
        if sent.shape != (self.n,):
            raise Wrong(
                f"an array of the shape {sent.shape} was sent",
                f"a message is one number of each node, an array of the shape ({self.n},)",
            )
        self.rounds += 1
        return np.zeros(self.n) if self._cut else np.roll(sent, int(offset))

    def __repr__(self) -> str:
        return "send"


@exercise("4.3", "exact_mean(x, send)", "the exact mean of any number of nodes, in ⌈log₂ n⌉ rounds")
def exact_mean(attempt: Attempt) -> str:
    """Audited: how often it sends, one number of each node at a time."""
    sizes = [8, 3, 5, 6, 7, 12, 13, 100, *attempt.some(range(14, 99), 3)]
    for n in sizes:
        x = attempt.random.standard_normal(n) + 1
        post, allowed = _Post(n), (n - 1).bit_length()
        said = f"`exact_mean(x, send)` of {n} nodes"
        given = attempt.call(x, post)
        rounds = post.rounds
        found = attempt.as_array(given, (n,), said)
        attempt.expect(
            rounds,
            f"{said} has sent nothing: no node can know the numbers of the others",
            "`send(values, offset)` gives each node i what node i − offset has in values. It is the only way to hear anything",
        )
        attempt.expect(
            rounds <= allowed,
            f"{said} took {rounds} rounds, and ⌈log₂ n⌉ = {allowed} are enough",
            "carry a sum, and not a single number: with the sum over m nodes, one message makes it a sum over 2m",
        )
        attempt.close(
            found,
            np.full(n, x.mean()),
            said,
            within=1e-12,
            mistakes={
                "doubling the window, 1, 2, 4, 8 …, overshoots unless n is a power of two: some numbers are in the sum twice. "
                "Let s be the sum of the m numbers before a node, and go from m to 2m or 2m + 1, along the binary digits of "
                "n − 1": _doubled(x) / n,
                "as before, but divided by how many there are: some numbers are in it twice": _doubled(x) / 2**allowed,
                "that is the sum, not the mean": np.full(n, x.sum()),
                "the node's own number is missing": (x.sum() - x) / n,
            },
            hint="some numbers are in it twice, or not at all: which has a node seen after each round?",
        )

        def unplugged(x: Array, n: int = n) -> object:
            return attempt.call(x, _Post(n, cut=True))

        knows_nothing_alone(attempt, unplugged, x, said)
    return f"exact for n = {', '.join(map(str, sizes))}, with one message a node and round"


def _doubled(x: Array) -> Array:
    for k in range((len(x) - 1).bit_length()):
        x = x + np.roll(x, 2**k)
    return x


@exercise("4.4", "equitopo(n, offsets)", "W of an EquiTopo graph: random offsets that all nodes share")
def equitopo(attempt: Attempt) -> str:
    """Its formula, and that all offsets together are the exact mean."""
    for n in attempt.some(range(6, 60), 4):
        offsets = [int(u) for u in attempt.random.choice(np.arange(1, n), size=min(5, n - 2), replace=False)]
        want = _equitopo(n, offsets)
        got = attempt.array(n, offsets, shape=(n, n))
        bare = (want - np.eye(n) / n) * n / (n - 1)
        attempt.close(
            got,
            want,
            attempt.called(n, offsets),
            mistakes={
                "that is what node i sends to i + u; the row of i has a weight for what it hears from i − u": want.T,
                "each row must sum to one: the node's own weight is 1/n": want - np.eye(n) / n,
                "a node's own weight is 1/n, and (n − 1)/n goes to what it hears": (bare + np.eye(n)) / 2,
                "some weight stays at the node itself: 1/n": bare,
            },
            hint="W = (1/M) Σ A(u) with A(u) = (n − 1)/n · [from i − u] + 1/n · I",
        )
        everything = attempt.array(n, list(range(1, n)), shape=(n, n))
        attempt.close(
            everything, np.full((n, n), 1 / n), f"`equitopo({n}, [1, …, {n - 1}])`", hint="all offsets: the exact mean"
        )
    n = 512
    rho = float(np.linalg.norm(attempt.array(n, _some_offsets(attempt, n), shape=(n, n)) - 1 / n, 2))
    return f"right for four n. With 8 offsets, 512 nodes have ρ = {rho:.2f}; a ring of them has {t.ring(n).rho:.5f}"


def _some_offsets(attempt: Attempt, n: int) -> list[int]:
    return [int(u) for u in attempt.random.choice(np.arange(1, n), size=8, replace=False)]


def _equitopo(n: int, offsets: list[int]) -> Array:
    W = np.eye(n) / n
    for u in offsets:
        W += (n - 1) / n / len(offsets) * np.roll(np.eye(n), u, axis=0)
    return W


@exercise("4.5", "whole_mean(x)", "on the engines: the exact mean, one message at a time", on_engines=True)
def whole_mean(attempt: Engines) -> str:
    """Audited: one message in each of ⌈log₂ n⌉ rounds."""
    n = attempt.n
    rounds = (n - 1).bit_length()
    x = attempt.random.standard_normal(n)
    outcomes = attempt.run([torch.tensor([value], dtype=torch.float64) for value in x])
    for rank, outcome in enumerate(outcomes):
        found = attempt.as_number(outcome.value, f"`whole_mean` on rank {rank}")
        others = [call.name for call in outcome.calls if call.name not in ("neighbor_allreduce", "set_topology")]
        attempt.expect(
            not others,
            f"rank {rank} made {outcome.in_words}",
            "only `neighbor_allreduce`, along a topology of your choice: nothing that asks all ranks at once",
        )
        talks = [call for call in outcome.calls if call.name == "neighbor_allreduce"]
        attempt.expect(
            all(call.messages <= 1 for call in talks),
            f"rank {rank} sent {max((call.messages for call in talks), default=0)} messages in a round",
            "one message a round: a one-peer graph, `ifog.topology.one_peer_exponential(ifog.size())`",
        )
        attempt.close(
            found,
            float(x.mean()),
            f"`whole_mean({x[rank]:.3f})` on rank {rank}",
            within=1e-12,
            mistakes={"x does not change: `x = ifog.neighbor_allreduce(x)` keeps what comes back": float(x[rank])},
            hint=f"one round after the other, {rounds} of them: each `neighbor_allreduce` takes the next graph of the schedule",
        )
        attempt.expect(
            len(talks) <= rounds,
            f"rank {rank} talked {len(talks)} times",
            f"with {n} engines, {rounds} rounds are enough",
        )
    return (
        f"exact on all {n} ranks, with {outcomes[0].in_words} of {outcomes[0].calls[-1].bytes if rounds else 0} bytes on each"
    )
