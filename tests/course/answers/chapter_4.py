# %%
import math
import warnings

import numpy as np

import ifog
from ifog import topology as t

warnings.simplefilter("ignore", ifog.TopologyWarning)


# %% 4.1
def exponential_rho(n):
    return 1 - 2 / (1 + math.log2(n))


# %% 4.1 trap: the gap
def exponential_rho(n):
    return 2 / (1 + math.log2(n))


# %% 4.1 trap: neighbours and itself
def exponential_rho(n):
    return 1 - 2 / math.log2(n)


# %% 4.1 trap: base 2
def exponential_rho(n):
    return 1 - 2 / (1 + math.log(n))


# %% 4.1 trap: the zigzag
def exponential_rho(n):
    return 1 - 1 / (1 + math.log2(n))


# %% 4.2
def one_peer_error(n):
    product = np.eye(n)
    for k in range(math.ceil(math.log2(n))):
        product = t.one_peer_exponential(n)[k].W @ product
    return abs(product - 1 / n).max()


# %% 4.2 trap: for powers of two only
def one_peer_error(n):
    return 0.0


# %% 4.2 trap: one round less
def one_peer_error(n):
    product = np.eye(n)
    for k in range(math.ceil(math.log2(n)) - 1):
        product = t.one_peer_exponential(n)[k].W @ product
    return abs(product - 1 / n).max()


# %% 4.2 trap: for powers of two only
def one_peer_error(n):
    return 0.0 if n % 2 == 0 else 1 / n


# %% 4.3
def exact_mean(x, send):
    n = len(x)
    s, m = np.zeros(n), 0  # the sum of the m numbers before a node
    for digit in format(n - 1, "b"):
        if digit == "1":
            s, m = s + send(x + s, m + 1), 2 * m + 1
        else:
            s, m = s + send(s, m), 2 * m
    return (x + s) / n


# %% 4.3 trap: overshoots
def exact_mean(x, send):
    n = len(x)
    for k in range(math.ceil(math.log2(n))):
        x = x + send(x, 2**k)
    return x / n


# %% 4.3 trap: in it twice
def exact_mean(x, send):
    for k in range(math.ceil(math.log2(len(x)))):
        x = (x + send(x, 2**k)) / 2
    return x


# %% 4.3 trap: carry a sum
def exact_mean(x, send):
    total = x
    for k in range(1, len(x)):
        total = total + send(x, k)
    return total / len(x)


# %% 4.3 trap: the only way to hear anything
def exact_mean(x, send):
    return np.full(len(x), x.mean())


# %% 4.3 trap: a message is one number of each node
def exact_mean(x, send):
    known = np.diag(x)  # all that each node has heard, sent on as a whole
    for k in range(math.ceil(math.log2(len(x)))):
        known = np.maximum(known, send(known, 2**k))
    return known.sum(1) / len(x)


# %% 4.3 trap: what came through messages
def exact_mean(x, send):
    send(x, 1)
    return np.full(len(x), x.mean())


# %% 4.4
def equitopo(n, offsets):
    W = np.eye(n) / n
    for u in offsets:
        for i in range(n):
            W[i, (i - u) % n] += (n - 1) / n / len(offsets)
    return W


# %% 4.4 trap: the row of i has a weight for what it hears
def equitopo(n, offsets):
    W = np.eye(n) / n
    for u in offsets:
        for i in range(n):
            W[i, (i + u) % n] += (n - 1) / n / len(offsets)
    return W


# %% 4.4 trap: own weight is 1/n, and
def equitopo(n, offsets):
    W = np.eye(n) / 2
    for u in offsets:
        W += np.roll(np.eye(n), u, axis=0) / 2 / len(offsets)
    return W


# %% 4.4 trap: some weight stays
def equitopo(n, offsets):
    return sum(np.roll(np.eye(n), u, axis=0) for u in offsets) / len(offsets)


# %% 4.5
def whole_mean(x):
    ifog.set_topology(t.one_peer_exponential(ifog.size()))
    for _ in range(2):
        x = ifog.neighbor_allreduce(x)
    return x


# %% 4.5 trap: one message a round
def whole_mean(x):
    ifog.set_topology(t.complete(ifog.size()))
    return ifog.neighbor_allreduce(x)


# %% 4.5 trap: only `neighbor_allreduce`
def whole_mean(x):
    return ifog.allreduce(x)


# %% 4.5 trap: one round after the other
def whole_mean(x):
    ifog.set_topology(t.one_peer_exponential(ifog.size()))
    return ifog.neighbor_allreduce(x)


# %% 4.5 trap: rounds are enough
def whole_mean(x):
    ifog.set_topology(t.one_peer_exponential(ifog.size()))
    for _ in range(20):
        x = ifog.neighbor_allreduce(x)
    return x


# %% 4.5 trap: only `neighbor_allreduce`
def whole_mean(x):
    ifog.set_topology(t.complete(ifog.size()))
    return (x + ifog.neighbor_allgather(x).sum(0, keepdim=True)) / ifog.size()


# %% 4.5 trap: only `neighbor_allreduce`
def whole_mean(x):
    return ifog.hierarchical_neighbor_allreduce(x)
