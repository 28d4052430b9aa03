"""Walking along the arrows of a graph: what can be reached, and how far it is."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import scipy.sparse.csgraph as csgraph
from numpy.typing import NDArray

Vector = NDArray[np.float64]


def pieces(pattern: sp.csr_array) -> int:
    """The number of parts whose nodes can all reach each other."""
    return int(csgraph.connected_components(pattern.astype(np.int8), directed=True, connection="strong", return_labels=False))


def distances(outgoing: sp.csr_array, source: int) -> Vector:
    """Hops from one node to each other; infinite where there is no way."""
    hops: Vector = csgraph.dijkstra(outgoing.astype(np.float64), unweighted=True, indices=source)
    return hops


def undirected_diameter(outgoing: sp.csr_array) -> int:
    """By bounds (Takes and Kosters 2011): a search from one node bounds how far every other node can see.

    Usually a handful of searches settle the question, where trying all nodes would need n.
    """
    n = outgoing.shape[0]
    lower, upper = np.zeros(n), np.full(n, np.inf)
    candidates = np.ones(n, dtype=bool)
    best, look_far = 0.0, True
    while candidates.any():
        bound = np.where(candidates, upper, -np.inf) if look_far else np.where(candidates, -lower, -np.inf)
        node = int(bound.argmax())
        hops = distances(outgoing, node)
        far = float(hops.max())
        best = max(best, far)
        lower = np.maximum(lower, np.maximum(hops, far - hops))
        upper = np.minimum(upper, far + hops)
        candidates &= upper > best
        candidates[node] = False
        look_far = not look_far
    return int(best)
