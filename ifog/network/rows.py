"""The rows of W that belong to the nodes hosted here, and multiplying with them.

A row's terms are added in a fixed order, own node first, then ascending j, each product and each sum rounded by itself. So a
node gets the same bits whether all n nodes are hosted here or only this one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import scipy.sparse as sp
import torch

from ..comm import arithmetic

_PANEL = 8 * 2**20
"""Bytes of all rows together that are worked on at once: they stay in the cache while each is read by its neighbours."""
_LEAST = 32 * 1024  # of a row: shorter pieces from all over memory take longer than reading them twice
_KERNEL_DTYPES = (torch.float32, torch.float64)


class Rows:
    """Whom each of some nodes listens to, and with which weights."""

    def __init__(self, matrix: sp.csr_array, low: int, high: int, bounds: Sequence[int]) -> None:
        part = matrix[low:high].tocoo()
        i, j = part.coords[0].astype(np.int64), part.coords[1].astype(np.int64)
        order = np.lexsort((j, j != i + low, i))
        self.low, self.high = low, high
        self.receivers, self.nodes, self.weights = i[order], j[order], np.ascontiguousarray(part.data[order], np.float64)
        self.starts = np.zeros(high - low + 1, np.int64)
        np.cumsum(np.bincount(self.receivers, minlength=high - low), out=self.starts[1:])
        self.hosts = np.searchsorted(bounds, self.nodes, side="right") - 1
        """Which host's slice each term comes from; ``bounds`` are the slices' first nodes."""
        self.within = self.nodes - np.asarray(bounds, np.int64)[self.hosts]

    @cached_property
    def sources(self) -> list[int]:
        """The hosts whose values are needed, ascending."""
        return [int(host) for host in np.unique(self.hosts)]

    @cached_property
    def own_weights(self) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """What each node puts on its own value."""
        own = np.zeros(self.high - self.low)
        here = self.nodes == self.receivers + self.low
        own[self.receivers[here]] = self.weights[here]
        return own

    def weigh(self, slices: dict[int, torch.Tensor]) -> torch.Tensor:
        """W x, for the nodes of these rows; ``slices`` are the values that each host has."""
        x = next(iter(slices.values()))
        if arithmetic.COMPILED and x.is_cpu and x.dtype in _KERNEL_DTYPES and x.dim() == 2:
            return self._in_the_kernel(x, slices)
        return self._by_torch(slices)

    def differ(self, slices: dict[int, torch.Tensor], own: torch.Tensor) -> torch.Tensor:
        r""":math:`\sum_j w_{ij} (x_i - x_j)`, formed edge by edge: exact where the nodes agree."""
        total = torch.zeros_like(own)
        values, where = self._gathered(slices)
        for edges, nodes in self._neighbours:
            everybody = len(nodes) == len(own)
            to = torch.as_tensor(nodes, device=own.device)
            weights = torch.as_tensor(self.weights[edges], dtype=own.dtype, device=own.device)
            heard = values.index_select(0, torch.as_tensor(where[edges], device=own.device))
            term = torch.sub(own if everybody else own.index_select(0, to), heard, out=heard)
            term.mul_(_column(weights, term))
            if everybody:
                total.add_(term)
            else:
                total.index_add_(0, to, term)
        return total

    # ----------------------------------------------------------------------------------------------------------- how
    def _in_the_kernel(self, x: torch.Tensor, slices: dict[int, torch.Tensor]) -> torch.Tensor:
        width = x.shape[1]
        bases = np.zeros(max(slices) + 1, np.int64)
        for host, rows in slices.items():
            slices[host] = rows = rows.contiguous()
            bases[host] = rows.data_ptr()
        row_bytes = width * x.element_size()
        terms = bases[self.hosts] + self.within * row_bytes
        out = torch.empty((self.high - self.low, width), dtype=x.dtype)
        nodes = max(1, sum(len(rows) for rows in slices.values()))
        panel = max(_LEAST, _PANEL // nodes // 64 * 64)
        arithmetic.weighted_rows_at(out.data_ptr(), terms, self.weights, self.starts, row_bytes, x.dtype, panel)
        return out

    def _by_torch(self, slices: dict[int, torch.Tensor]) -> torch.Tensor:
        values, where = self._gathered(slices)
        out = torch.zeros((self.high - self.low, *values.shape[1:]), dtype=values.dtype, device=values.device)
        for position, (edges, nodes) in enumerate(self._positions):
            weights = torch.as_tensor(self.weights[edges], dtype=values.dtype, device=values.device)
            term = values[torch.as_tensor(where[edges], device=values.device)]
            term.mul_(_column(weights, term))
            if position == 0:
                out[torch.as_tensor(nodes, device=out.device)] = term
            else:
                out.index_add_(0, torch.as_tensor(nodes, device=out.device), term)
        return out

    def _gathered(self, slices: dict[int, torch.Tensor]) -> tuple[torch.Tensor, np.ndarray[tuple[int], np.dtype[np.int64]]]:
        """All values one below the other, and where each term's lies among them."""
        hosts = sorted(slices)
        begins = np.zeros(max(hosts) + 1, np.int64)
        at = 0
        for host in hosts:
            begins[host] = at
            at += len(slices[host])
        values = slices[hosts[0]] if len(hosts) == 1 else torch.cat([slices[host] for host in hosts])
        return values, begins[self.hosts] + self.within

    @cached_property
    def _positions(self) -> list[tuple[np.ndarray[tuple[int], np.dtype[np.int64]], np.ndarray[tuple[int], np.dtype[np.int64]]]]:
        """The first term of every row, then the second …: the terms, and the rows that have so many."""
        lengths = np.diff(self.starts)
        found = []
        for position in range(int(lengths.max(initial=0))):
            nodes = np.flatnonzero(lengths > position)
            found.append((self.starts[nodes] + position, nodes))
        return found

    @cached_property
    def _neighbours(
        self,
    ) -> list[tuple[np.ndarray[tuple[int], np.dtype[np.int64]], np.ndarray[tuple[int], np.dtype[np.int64]]]]:
        """The same without the nodes' own terms."""
        found = []
        for edges, nodes in self._positions:
            others = self.nodes[edges] != nodes + self.low
            found.append((edges[others], nodes[others]))
        return [(edges, nodes) for edges, nodes in found if len(edges)]


def message_size(*xs: torch.Tensor) -> int:
    """The bytes of a row of each: what a node sends to a neighbour."""
    return sum(math.prod(x.shape[1:]) * x.element_size() for x in xs)


def _column(weights: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return weights.view(-1, *[1] * (like.dim() - 1))
