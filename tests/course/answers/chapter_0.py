# %%
import torch

import ifog


# %% 0.1
def odd(ranks):
    return {rank for rank in ranks if rank % 2}


# %% 0.1 trap: braces make a set
def odd(ranks):
    return [rank for rank in ranks if rank % 2]


# %% 0.1 trap: 1 for odd numbers
def odd(ranks):
    return {rank for rank in ranks if rank % 2 == 0}


# %% 0.1 trap: go through the ranks that are given
def odd(ranks):
    return {1, 3}


# %% 0.1 trap: look at all the ranks
def odd(ranks):
    return {max((rank for rank in ranks if rank % 2), default=0)} - {0}


# %% 0.2
def report(x):
    mean = ifog.allreduce(x)
    if ifog.rank() == 0:
        print(f"the mean is {mean.item()}")
    return mean


# %% 0.2 trap: all ranks must make the same calls
def report(x):
    if ifog.rank() == 0:
        x = ifog.allreduce(x)
    return x


# %% 0.2 trap: also those that do not need its result
def report(x):
    return x


# %% 0.2 trap: gives the mean
def report(x):
    return ifog.allreduce(x, "sum")


# %% 0.2 trap: return what
def report(x):
    ifog.allreduce(x)
    return x


# %% 0.3
def sum_of_squares():
    return ifog.allreduce(torch.tensor([ifog.rank() ** 2]), "sum")


# %% 0.3 trap: that is the mean
def sum_of_squares():
    return ifog.allreduce(torch.tensor([float(ifog.rank() ** 2)]))


# %% 0.3 trap: square first
def sum_of_squares():
    return ifog.allreduce(torch.tensor([ifog.rank()]), "sum") ** 2


# %% 0.3 trap: own square
def sum_of_squares():
    return ifog.rank() ** 2


# %% 0.3 trap: one `ifog.allreduce` is enough
def sum_of_squares():
    return ifog.allgather(torch.tensor([ifog.rank() ** 2])).sum()


# %% 0.3 trap: one `ifog.allreduce` is enough
def sum_of_squares():
    return sum(rank**2 for rank in range(ifog.size()))
