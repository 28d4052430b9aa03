"""Matrices: what may be one of weights, patterns of who hears whom, and small questions about both."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..errors import TopologyError

if TYPE_CHECKING:
    import networkx as nx

Integers = NDArray[np.int64]

SUM_TOLERANCE = 1e-6  # how far a row or column sum may be from one: a matrix that went through float32 passes


def as_array(name: str, matrix: Any) -> Any:
    """A sparse array as it is, anything else as a numpy array, or an error that names the argument."""
    if sp.issparse(matrix):
        return matrix
    try:
        return np.asarray(matrix)
    except ValueError:
        raise TopologyError(
            f"{name}={matrix!r:.80}: its rows have different lengths; a matrix has n rows of n numbers"
        ) from None


def checked(W: Any, *, signed: bool) -> sp.csr_array:
    """W as a sparse array of its own, or a clear error."""
    if isinstance(W, str) or is_networkx(W) or hasattr(W, "fingerprint"):
        raise TopologyError(f"W={W!r:.60}: it must be a matrix; as_topology(…) takes graphs, names and matrices alike")
    W = as_array("W", W)
    if W.ndim != 2 or W.shape[0] != W.shape[1]:
        raise TopologyError(f"W has shape {W.shape}: a mixing matrix is square, one row and one column for each node")
    if W.shape[0] == 0:
        raise TopologyError("W is empty: a topology has at least one node")
    if W.dtype.kind not in "biuf":
        raise TopologyError(f"W holds {W.dtype} values: weights are real numbers")
    matrix = sp.csr_array(W, dtype=np.float64, copy=True)
    matrix.sum_duplicates()
    _tidy_rounding(matrix)
    matrix.eliminate_zeros()
    if not np.isfinite(matrix.data).all():
        i, j = (int(index[0]) for index in _entries(matrix, ~np.isfinite(matrix.data)))
        raise TopologyError(f"W[{i}, {j}] is {matrix[i, j]}: every weight must be a finite number")
    if not signed and (matrix.data < 0).any():
        i, j = (int(index[0]) for index in _entries(matrix, matrix.data < 0))
        raise TopologyError(f"W[{i}, {j}] = {matrix[i, j]:.6g} is negative: say signed=True if that is meant")
    if not sums_to_one(matrix, axis=1) and not sums_to_one(matrix, axis=0):
        sums = matrix.sum(axis=1)
        i = int(np.abs(sums - 1).argmax())
        hint = "; for an adjacency matrix use metropolis(W)" if set(np.unique(matrix.data)) <= {1.0} else ""
        raise TopologyError(
            f"W is neither row- nor column-stochastic (row {i} sums to {sums[i]:.10g}): its rows must sum to one to average, "
            f"or its columns to push{hint}"
        )
    return matrix


def _tidy_rounding(matrix: sp.csr_array) -> None:
    """A weight like −3e-17 on the diagonal is a rounding error of 1 − Σ w, not a negative weight."""
    matrix.data[np.abs(matrix.data) < 1e-15] = 0.0


def digest(*parts: Any) -> str:
    """A fingerprint of arrays and values, the same on every machine."""
    sha = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            # weights that differ in their last bits, as 1/3 and 1 − 2/3 do, are the same; + 0.0 makes −0.0 zero
            rounded = np.round(part, 12) + 0.0 if part.dtype.kind == "f" else part.astype(np.int64)
            sha.update(rounded.tobytes())
        else:
            sha.update(repr(part).encode())
    return sha.hexdigest()


def read_only(*arrays: NDArray[Any]) -> None:
    """From now on an attempt to write into these arrays is an error."""
    for array in arrays:
        array.flags.writeable = False


def off_diagonal(matrix: sp.csr_array) -> sp.csr_array:
    """Where a matrix has entries for others than oneself: ``pattern[i, j]`` where node i receives from j."""
    entries = matrix.tocoo()
    off = entries.row != entries.col
    return pattern_of(matrix.shape[0], entries.row[off], entries.col[off])


def pattern_of(n: int, receivers: Integers, senders: Integers) -> sp.csr_array:
    """``pattern[i, j]`` for each receiver i and its sender j."""
    pattern = sp.csr_array((np.ones(len(receivers), dtype=bool), (receivers, senders)), shape=(n, n))
    pattern.sort_indices()
    return pattern


def is_networkx(graph: Any) -> bool:
    """Whether it is a networkx graph, without importing networkx."""
    return hasattr(graph, "adjacency") and hasattr(graph, "nodes")


def ordered_nodes(graph: nx.Graph[Any]) -> list[Any]:
    """The nodes of a networkx graph: by their numbers if these are 0 … n − 1, else in their own order."""
    nodes = list(graph.nodes)
    numbered = all(isinstance(node, int | np.integer) for node in nodes) and sorted(nodes) == list(range(len(nodes)))
    return sorted(nodes) if numbered else nodes


def networkx_pattern(graph: nx.Graph[Any]) -> sp.csr_array:
    """Who receives from whom, in a networkx graph: ``pattern[i, j]`` for an edge from j to i ≠ j."""
    if not is_networkx(graph):
        raise TopologyError(f"graph={graph!r:.60}: it must be a networkx graph; as_topology(…) takes matrices and names too")
    if len(graph) == 0:
        raise TopologyError("the networkx graph is empty: a topology has at least one node")
    if graph.is_multigraph():
        raise TopologyError("the networkx graph is a multigraph: merge its parallel edges first, e.g. nx.Graph(graph)")
    order = {node: i for i, node in enumerate(ordered_nodes(graph))}
    edges = [(order[receiver], order[sender]) for sender, receiver in graph.edges if sender != receiver]
    if not graph.is_directed():
        edges += [(sender, receiver) for receiver, sender in edges]
    receivers, senders = np.array(edges, dtype=np.int64).reshape(-1, 2).T
    return pattern_of(len(order), receivers, senders)


def row(pattern: sp.csr_array, i: int) -> Integers:
    """The columns of the entries in a row, ascending."""
    columns: Integers = pattern.indices[pattern.indptr[i] : pattern.indptr[i + 1]].astype(np.int64)
    return columns


def _entries(matrix: sp.csr_array, where: NDArray[np.bool_]) -> tuple[Integers, Integers]:
    entries = matrix.tocoo()
    return entries.row[where], entries.col[where]


def sums_to_one(matrix: sp.csr_array, *, axis: int) -> bool:
    """Whether all columns (axis 0) or all rows (axis 1) sum to one."""
    return bool(np.abs(matrix.sum(axis=axis) - 1).max() <= SUM_TOLERANCE)
