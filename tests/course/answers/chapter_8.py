# %%
import numpy as np

import ifog


# %% 8.1
def extra(W, x, gradient, lr, steps):
    d = np.zeros_like(x)
    for _ in range(steps):
        mixed = W @ x
        x, d = mixed - lr * gradient(x) - d, d + (x - mixed) / 2
    return x


# %% 8.1 trap: without a memory
def extra(W, x, gradient, lr, steps):
    for _ in range(steps):
        x = W @ x - lr * gradient(x)
    return x


# %% 8.1 trap: without a memory
def extra(W, x, gradient, lr, steps):
    for _ in range(steps):
        x = W @ (x - lr * gradient(x))
    return x


# %% 8.1 trap: it explodes
def extra(W, x, gradient, lr, steps):
    before, x = x, W @ x - lr * gradient(x)
    for _ in range(steps - 1):
        before, x = x, W @ (2 * x - before) - lr * (gradient(x) - gradient(before))
    return x


# %% 8.1 trap: multiply with W
def extra(W, x, gradient, lr, steps):
    for _ in range(steps):
        x = x - lr * gradient(x)
    return x


# %% 8.1 trap: half of it
def extra(W, x, gradient, lr, steps):
    d = np.zeros_like(x)
    for _ in range(steps):
        mixed = W @ x
        x, d = mixed - lr * gradient(x) - d, d + x - mixed
    return x


# %% 8.1 trap: both with the x that came
def extra(W, x, gradient, lr, steps):
    d = np.zeros_like(x)
    for _ in range(steps):
        mixed = W @ x
        x, d = mixed - lr * gradient(x) - d, d + (x - mixed) / 4
    return x


# %% 8.1 trap: It takes the x that came
def extra(W, x, gradient, lr, steps):
    d = np.zeros_like(x)
    for _ in range(steps):
        x = W @ x - lr * gradient(x) - d
        d = d + (x - W @ x) / 2
    return x


# %% 8.2
def learnt(H, c, lr):
    best = np.linalg.solve(H.sum(0), c.sum(0))
    return -lr * (H @ best - c)


# %% 8.2 trap: look at the sign
def learnt(H, c, lr):
    best = np.linalg.solve(H.sum(0), c.sum(0))
    return lr * (H @ best - c)


# %% 8.2 trap: so α is in it
def learnt(H, c, lr):
    best = np.linalg.solve(H.sum(0), c.sum(0))
    return -(H @ best - c)


# %% 8.2 trap: each node has its own
def learnt(H, c, lr):
    return np.zeros_like(c)


# %% 8.3
def calmed(W):
    return (np.eye(len(W)) + W) / 2


# %% 8.3 trap: there is no edge
def calmed(W):
    return (np.eye(len(W)) + ifog.topology.ring(len(W)).W) / 2


# %% 8.3 trap: above −1/3
def calmed(W):
    return W


# %% 8.3 trap: there is no edge
def calmed(W):
    return W @ W


# %% 8.3 trap: with I alone nobody talks
def calmed(W):
    return np.eye(len(W))


# %% 8.3 trap: rows that sum to one
def calmed(W):
    return np.eye(len(W)) + W


# %% 8.4
def admm(A, H, c, rho, steps):
    degree = A.sum(1)
    x, p = np.zeros_like(c), np.zeros_like(c)
    for _ in range(steps):
        right = c - p + rho * (degree[:, None] * x + A @ x)
        x = np.array(
            [np.linalg.solve(Hi + 2 * rho * k * np.eye(len(Hi)), r) for Hi, k, r in zip(H, degree, right, strict=True)]
        )
        p = p + rho * (degree[:, None] * x - A @ x)
    return x


# %% 8.4 trap: nobody has heard a neighbour
def admm(A, H, c, rho, steps):
    return np.array([np.linalg.solve(Hi, ci) for Hi, ci in zip(H, c, strict=True)])


# %% 8.4 trap: Does p change at all
def admm(A, H, c, rho, steps):
    degree = A.sum(1)
    x = np.zeros_like(c)
    for _ in range(steps):
        right = c + rho * (degree[:, None] * x + A @ x)
        x = np.array(
            [np.linalg.solve(Hi + 2 * rho * k * np.eye(len(Hi)), r) for Hi, k, r in zip(H, degree, right, strict=True)]
        )
    return x


# %% 8.4 trap: it explodes
def admm(A, H, c, rho, steps):
    degree = A.sum(1)
    x, p = np.zeros_like(c), np.zeros_like(c)
    for _ in range(steps):
        right = c + p + rho * (degree[:, None] * x + A @ x)
        x = np.array(
            [np.linalg.solve(Hi + 2 * rho * k * np.eye(len(Hi)), r) for Hi, k, r in zip(H, degree, right, strict=True)]
        )
        p = p + rho * (degree[:, None] * x - A @ x)
    return x


# %% 8.4 trap: nobody can know it
def admm(A, H, c, rho, steps):
    return np.tile(np.linalg.solve(H.sum(0), c.sum(0)), (len(c), 1))


# %% 8.4 trap: what the **new** x disagree
def admm(A, H, c, rho, steps):
    degree = A.sum(1)
    x, p = np.zeros_like(c), np.zeros_like(c)
    for _ in range(steps):
        right = c - p + rho * (degree[:, None] * x + A @ x)
        before, x = (
            x,
            np.array(
                [np.linalg.solve(Hi + 2 * rho * k * np.eye(len(Hi)), r) for Hi, k, r in zip(H, degree, right, strict=True)]
            ),
        )
        p = p + rho * (degree[:, None] * before - A @ before)
    return x


# %% 8.4 trap: by ρ times the disagreement
def admm(A, H, c, rho, steps):
    degree = A.sum(1)
    x, p = np.zeros_like(c), np.zeros_like(c)
    for _ in range(steps):
        right = c - p + rho * (degree[:, None] * x + A @ x)
        x = np.array(
            [np.linalg.solve(Hi + 2 * rho * k * np.eye(len(Hi)), r) for Hi, k, r in zip(H, degree, right, strict=True)]
        )
        p = p + rho / 2 * (degree[:, None] * x - A @ x)
    return x


# %% 8.5
def remember(x, d, gradient, lr):
    mixed = ifog.neighbor_allreduce(x)
    return mixed - lr * gradient(x) - d, d + (x - mixed) / 2


# %% 8.5 trap: keep W x in a variable
def remember(x, d, gradient, lr):
    return ifog.neighbor_allreduce(x) - lr * gradient(x) - d, d + (x - ifog.neighbor_allreduce(x)) / 2


# %% 8.5 trap: d is subtracted
def remember(x, d, gradient, lr):
    mixed = ifog.neighbor_allreduce(x)
    return mixed - lr * gradient(x) + d, d + (x - mixed) / 2


# %% 8.5 trap: half of it
def remember(x, d, gradient, lr):
    mixed = ifog.neighbor_allreduce(x)
    return mixed - lr * gradient(x) - d, d + x - mixed


# %% 8.5 trap: with the old x
def remember(x, d, gradient, lr):
    new = ifog.neighbor_allreduce(x) - lr * gradient(x) - d
    return new, d + (new - ifog.neighbor_allreduce(new)) / 2
