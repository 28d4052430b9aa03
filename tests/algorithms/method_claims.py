"""What each method claims: the topology it is tried on, with which step, and where it must end."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from quadratics import ls16

from ifog import algorithms
from ifog import topology as t


class Claim(NamedTuple):
    """A row of the table."""

    topology: Callable[[int], Any]
    aL: float  # lr times L; 0 for methods without gradients
    steps: int
    ends: Any  # "mean", "optimum", "like α", "like √α", or a function of (problem, W, lr) that solves for where it ends
    within: float = 1e-10
    parameters: dict[str, Any] = {}  # noqa: RUF012


def directed(n):
    """An irregular directed graph with push weights: columns sum to one, rows do not."""
    sends = np.random.default_rng(0).random((n, n)) < 0.2
    sends |= np.roll(np.eye(n, dtype=bool), 1, axis=0)  # strongly connected at least by a ring
    np.fill_diagonal(sends, False)
    return t.push(sends.astype(float))


def lazy_ring(n):
    """A ring whose eigenvalues are not negative."""
    return t.lazy(t.ring(n))


def awc(problem, W, lr):
    """(I − W) x + α G(x) = 0."""
    identity = np.eye(problem.n)
    return problem.solve(identity - W, lr * identity)


def atc(problem, W, lr):
    """(I − W) x + α W G(x) = 0."""
    return problem.solve(np.eye(problem.n) - W, lr * W)


def one_step_away(problem, W, lr):
    """φ − α G(φ), where φ is where atc ends."""
    phi = atc(problem, W, lr)
    return phi - lr * problem.G(phi)


def doubly_averaged(problem, W, lr, beta=0.9):
    """(I − W) x + α W (I − βW)⁻¹ G(x) = 0."""
    identity = np.eye(problem.n)
    return problem.solve(identity - W, lr * W @ np.linalg.inv(identity - beta * W))


def choco(problem, W, lr, gamma=0.3):
    """Where atc ends with I − γ(I − W) in place of W."""
    identity = np.eye(problem.n)
    return atc(problem, identity - gamma * (identity - W), lr)


def tenfold(limit):
    """The limit of a method at the step α/(1 − β), β = 0.9."""
    return lambda problem, W, lr: limit(problem, W, 10 * lr)


CLAIMS = {
    "consensus": Claim(t.ring, 0, 700, "mean"),
    "push_sum": Claim(directed, 0, 200, "mean"),
    "chebyshev": Claim(t.ring, 0, 120, "mean"),
    "shift_register": Claim(t.ring, 0, 150, "mean"),
    "finite_time": Claim(t.ring, 0, 8, "mean"),
    "ceca_consensus": Claim(t.ceca, 0, 4, "mean"),
    "dgd": Claim(t.ring, 0.1, 1200, awc),
    "atc": Claim(t.exponential, 0.1, 1200, atc),
    "cta": Claim(t.ring, 0.1, 1200, one_step_away),
    "extra": Claim(t.ring, 0.2, 800, "optimum"),
    "extra_slide": Claim(lazy_ring, 0.2, 800, "optimum"),
    "exact_diffusion": Claim(t.ring, 0.2, 800, "optimum"),
    "d2": Claim(lazy_ring, 0.2, 800, "optimum"),
    "nids": Claim(t.ring, 0.2, 800, "optimum"),
    "gradient_tracking": Claim(t.exponential, 0.2, 800, "optimum"),
    "semi_atc_tracking": Claim(t.one_peer_exponential, 0.2, 800, "optimum"),
    "diging": Claim(t.one_peer_exponential, 0.2, 800, "optimum"),
    "push_diging": Claim(directed, 0.1, 2000, "optimum"),
    "dmsgd": Claim(t.exponential, 0.01, 2500, tenfold(atc)),
    "awc_dmsgd": Claim(t.exponential, 0.01, 2500, tenfold(awc)),
    "da_dmsgd": Claim(t.ring, 0.01, 2500, doubly_averaged),
    "qg_dmsgd": Claim(t.exponential, 0.05, 2500, atc),
    "d2_dmsgd": Claim(t.ring, 0.02, 1500, "optimum"),
    "decentlam": Claim(t.ring, 0.02, 2000, atc),
    "slowmo": Claim(t.ring, 0.05, 1200, "like α", 0.15),
    "sgp": Claim(directed, 0.02, 2500, "like α", 0.02),
    "subgradient_push": Claim(directed, 0.02, 2500, "like α", 0.05),
    "overlap_sgp": Claim(t.exponential, 0.02, 4000, "like α", 0.05),
    "allreduce_sgd": Claim(t.ring, 0.2, 700, "optimum"),
    "parameter_server": Claim(t.ring, 0.2, 700, "optimum"),
    "local_sgd": Claim(t.ring, 0.05, 1500, "like α", 0.1),
    "gossip_pga": Claim(t.ring, 0.05, 1500, "like α", 0.1),
    "proxskip": Claim(t.ring, 1.0, 3000, "optimum"),
    "pmsgd": Claim(t.ring, 0.05, 1000, "optimum"),
    "lars": Claim(t.ring, 1.0, 3000, "like α", 0.05),
    "relay_sgd": Claim(t.binary_tree, 1.0, 500, "optimum"),
    "relay_double_sgd": Claim(t.double_binary_tree, 1.0, 500, "optimum"),
    "dsgd_ceca": Claim(t.ceca, 0.02, 2500, "like α", 0.05),
    "choco_gossip": Claim(t.ring, 0, 3000, "mean", 1e-8, {"compress": algorithms.top_k(0.5)}),
    "choco_sgd": Claim(t.ring, 0.02, 4000, choco, 4e-4, {"compress": algorithms.top_k(0.5), "gamma": 0.3}),
    "ef_sgd": Claim(t.ring, 0.02, 3000, "like α", 0.05),
    "ef_signsgd": Claim(t.ring, 0.02, 3000, "like α", 0.05),
    "qsgd_sgd": Claim(t.ring, 0.02, 3000, "like √α", 0.05),
    "async_push_sum": Claim(directed, 0, 300, "mean"),
    "async_gradient_push": Claim(directed, 0.05, 900, "like α", 0.25),
    "ad_psgd": Claim(t.ring, 0.05, 900, "like α", 0.5),
}


def step(name, problem=None):
    """The step size of a claim, as keyword."""
    aL = CLAIMS[name].aL
    return {"lr": aL / (problem or ls16()).L} if aL else {}
