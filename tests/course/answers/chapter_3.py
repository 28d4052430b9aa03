# %%
import math

import numpy as np

import ifog


# %% 3.1
def ring_rho(n):
    return (1 + 2 * math.cos(2 * math.pi / n)) / 3


# %% 3.1 trap: a node has two neighbours
def ring_rho(n):
    return (1 + math.cos(2 * math.pi / n)) / 3


# %% 3.1 trap: also the node's own
def ring_rho(n):
    return (1 + math.cos(2 * math.pi / n)) / 2


# %% 3.1 trap: the eigenvalue of the mean itself
def ring_rho(n):
    return max(abs(np.linalg.eigvals(ifog.topology.ring(n).W)))


# %% 3.1 trap: the gap
def ring_rho(n):
    return 1 - ifog.topology.ring(n).rho


# %% 3.2
def rounds_needed(rho, share):
    return math.log(share) / math.log(rho)


# %% 3.2 trap: for ρ close to 1
def rounds_needed(rho, share):
    return math.log(1 / share) / (1 - rho)


# %% 3.2 trap: divide the logarithms
def rounds_needed(rho, share):
    return share / rho


# %% 3.2 trap: the same base
def rounds_needed(rho, share):
    return math.log10(share) / math.log(rho)


# %% 3.2 trap: round up
def rounds_needed(rho, share):
    return math.floor(math.log(share) / math.log(rho))


# %% 3.3
def best_weight(n):
    waves = 2 - 2 * np.cos(2 * np.pi * np.arange(1, n) / n)
    return 2 / (waves.min() + waves.max())


# %% 3.3 trap: what everybody takes
def best_weight(n):
    return 1 / 3


# %% 3.3 trap: the zigzag
def best_weight(n):
    return 1 / 2


# %% 3.3 trap: the slow ones decide
def best_weight(n):
    return 1 / max(2 - 2 * np.cos(2 * np.pi * np.arange(1, n) / n))


# %% 3.3 trap: does not quite close
def best_weight(n):
    return 2 / (2 - 2 * np.cos(2 * np.pi / n) + 4)


# %% 3.4
def accelerated(W, x, steps):
    n = len(x)
    rho = (1 + 2 * math.cos(2 * math.pi / n)) / 3
    omega = ((1 - math.sqrt(1 - rho**2)) / rho) ** 2
    before, x = x, W @ x
    for _ in range(steps - 1):
        before, x = x, (1 + omega) * (W @ x) - omega * before
    return x


# %% 3.4 trap: remembers where it came from
def accelerated(W, x, steps):
    for _ in range(steps):
        x = W @ x
    return x


# %% 3.4 trap: nobody knows the mean
def accelerated(W, x, steps):
    return np.full(len(x), x.mean())


# %% 3.4 trap: one `W @ …` in each
def accelerated(W, x, steps):
    for _ in range(2 * steps + 2):
        x = W @ x
    return x


# %% 3.4 trap: each node sends what it holds
def accelerated(W, x, steps):
    return np.linalg.matrix_power(W @ np.eye(len(x)), 10_000) @ x


# %% 3.4 trap: what came through messages
def accelerated(W, x, steps):
    W @ x
    return np.full(len(x), x.mean())


# %% 3.4 trap: no node has all of W
def accelerated(W, x, steps):
    return np.linalg.matrix_power(W, steps) @ x


# %% 3.4 trap: no node has all of W
def accelerated(W, x, steps):
    lazy = (np.eye(len(x)) + W) / 2
    return lazy @ x


# %% 3.5
def gossip(x, rounds):
    for _ in range(rounds):
        x = ifog.neighbor_allreduce(x)
    return x


# %% 3.5 trap: neighbours alone
def gossip(x, rounds):
    return ifog.allreduce(x)


# %% 3.5 trap: x does not change
def gossip(x, rounds):
    for _ in range(rounds):
        ifog.neighbor_allreduce(x)
    return x


# %% 3.5 trap: one `x = ifog.neighbor_allreduce(x)` a round
def gossip(x, rounds):
    return ifog.neighbor_allreduce(x)


# %% 3.5 trap: all ranks must make the same calls
def gossip(x, rounds):
    if ifog.rank() > 0:
        for _ in range(rounds):
            x = ifog.neighbor_allreduce(x)
    return x
