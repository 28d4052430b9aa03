"""What the scripts are compared with: the same in matrices, for all ranks at once."""

import re

import networkx as nx
import pytest
import torch

import ifog.bluefog as bf


def everyone(x):
    """The tensors of all ranks, one a row."""
    return bf.allgather(x.detach()[None])


def averaging(graph, *, weighted=False):
    """W with ``X ← W X``, from BlueFog's graph: its transpose, or equal weights for a rank and its in-neighbours."""
    W = nx.to_numpy_array(graph).T.copy()
    if not weighted:
        W = (W + torch.eye(len(graph)).numpy() > 0).astype(float)
        W /= W.sum(axis=1, keepdims=True)
    return torch.from_numpy(W)


def one_round(said):
    """W of a dynamic round: a rank averages with those it receives from."""
    W = torch.eye(len(said), dtype=torch.float64)
    for rank, (_, recv) in enumerate(said):
        W[rank, recv] = 1
    return W / W.sum(dim=1, keepdim=True)


def assert_rows(x, X, tolerance=1e-13):
    """This rank's tensor is its row of what the matrices say."""
    expected = X[bf.rank()]
    assert torch.allclose(x, expected, rtol=tolerance, atol=tolerance), (bf.rank(), x, expected)


def refused(kind, words, function, *arguments, **options):
    """A call that is an error of a kind, and says why."""
    with pytest.raises(kind, match=re.escape(words)):
        function(*arguments, **options)
