# %%
import numpy as np

import ifog


# %% 7.1
def parking_place(W, H, c, lr):
    n, d = c.shape
    system = np.eye(n * d) - np.kron(W, np.eye(d))
    for i in range(n):
        system[i * d : (i + 1) * d, i * d : (i + 1) * d] += lr * H[i]
    return np.linalg.solve(system, lr * c.ravel()).reshape(n, d)


# %% 7.1 trap: that is the optimum
def parking_place(W, H, c, lr):
    return np.tile(np.linalg.solve(H.sum(0), c.sum(0)), (len(c), 1))


# %% 7.1 trap: the optima of the nodes
def parking_place(W, H, c, lr):
    return np.array([np.linalg.solve(Hi, ci) for Hi, ci in zip(H, c, strict=True)])


# %% 7.1 trap: the other form
def parking_place(W, H, c, lr):
    x = np.zeros_like(c)
    for _ in range(20000):
        x = W @ (x - lr * (np.einsum("nij,nj->ni", H, x) - c))
    return x


# %% 7.2
def order(lrs, distances):
    slope, _ = np.polyfit(np.log(lrs), np.log(distances), 1)
    return slope


# %% 7.2 trap: the logarithms of both
def order(lrs, distances):
    return np.polyfit(lrs, distances, 1)[0]


# %% 7.2 trap: upside down
def order(lrs, distances):
    return np.polyfit(np.log(distances), np.log(lrs), 1)[0]


# %% 7.2 trap: the factor and not the power
def order(lrs, distances):
    return np.polyfit(np.log(lrs), np.log(distances), 1)[1]


# %% 7.3
def largest_steps(W, H):
    def largest(matrix):
        low, high = 0.0, 100.0
        for _ in range(50):
            lr = (low + high) / 2
            if abs(np.linalg.eigvals(matrix(lr))).max() < 1:
                low = lr
            else:
                high = lr
        return low

    return largest(lambda lr: W - lr * H), largest(lambda lr: W @ (np.eye(len(H)) - lr * H))


# %% 7.3 trap: a node that is alone
def largest_steps(W, H):
    L = max(np.linalg.eigvalsh(H))
    return 2 / L, 2 / L


# %% 7.3 trap: these H allow more
def largest_steps(W, H):
    L = max(np.linalg.eigvalsh(H))
    return (1 + min(np.linalg.eigvalsh(W))) / L, 2 / L


# %% 7.4
def alike(H, c):
    return H @ np.linalg.solve(H.sum(0), c.sum(0))


# %% 7.4 trap: the H_i differ
def alike(H, c):
    return c.mean(0).repeat(len(c)).reshape(c.shape[1], len(c)).T


# %% 7.4 trap: the same objectives as before
def alike(H, c):
    return c


# %% 7.4 trap: that is the optimum itself
def alike(H, c):
    return np.tile(np.linalg.solve(H.sum(0), c.sum(0)), (len(c), 1))


# %% 7.4 trap: first the optimum of all
def alike(H, c):
    return np.zeros_like(c)


# %% 7.5
def step(x, gradient, lr):
    return ifog.neighbor_allreduce(x) - lr * gradient(x)


# %% 7.5 trap: adapt then combine
def step(x, gradient, lr):
    return ifog.neighbor_allreduce(x - lr * gradient(x))


# %% 7.5 trap: taken at x itself
def step(x, gradient, lr):
    mixed = ifog.neighbor_allreduce(x)
    return mixed - lr * gradient(mixed)


# %% 7.5 trap: alone
def step(x, gradient, lr):
    return x - lr * gradient(x)


# %% 7.5 trap: only the neighbours
def step(x, gradient, lr):
    return ifog.allreduce(x) - lr * gradient(x)


# %% 7.5 trap: minus the gradient
def step(x, gradient, lr):
    return ifog.neighbor_allreduce(x) + lr * gradient(x)
