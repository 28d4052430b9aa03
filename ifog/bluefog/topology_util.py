"""What ``bluefog.common.topology_util`` exports: graphs for networkx, their weights, and one-peer schedules as generators.

The graphs are those of `ifog.topology`, as networkx digraphs with BlueFog's orientation: an edge i → j is one along which i
sends, and its weight is what j gives to it. So BlueFog's matrix is the transpose of ifog's ``W``::

    from ifog.bluefog import topology_util
    graph = topology_util.RingGraph(8)
    self_weight, src_weights = topology_util.GetRecvWeights(graph, rank=3)
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import topology
from ..topology.matrix import ordered_nodes

if TYPE_CHECKING:
    import networkx as nx

Ranks = tuple[list[int], list[int]]


# ----------------------------------------------------------------------------------------------------------- graphs
def ExponentialTwoGraph(size: int) -> nx.DiGraph[int]:
    """Rank i sends to i + 1, i + 2, i + 4 … (mod size), with equal weights.

    >>> sorted(ExponentialTwoGraph(8).successors(0))
    [0, 1, 2, 4]
    """
    return topology.exponential(_size(size)).to_networkx()


def ExponentialGraph(size: int, base: int = 2) -> nx.DiGraph[int]:
    """Rank i sends to i + 1, i + base, i + base² … (mod size). Powers are found in integers: 243 is one of 3."""
    return topology.exponential(_size(size), base=_base(base)).to_networkx()


def SymmetricExponentialGraph(size: int, base: int = 4) -> nx.DiGraph[int]:
    """Neighbours at the distances 1, base, base² … up to size/2, on both sides, with equal weights."""
    return topology.symmetric_exponential(_size(size), base=_base(base)).to_networkx()


def MeshGrid2DGraph(size: int, shape: tuple[int, int] | None = None) -> nx.DiGraph[int]:
    """A rectangle of (rows, columns), as square as can be unless given, with Metropolis-Hastings weights."""
    if shape is None:
        return topology.grid(_size(size)).to_networkx()
    rows, columns = shape
    if rows * columns != _size(size):
        raise AssertionError(f"shape={shape}: {rows} × {columns} is not {size}, the number of ranks")
    return topology.grid(size, rows=rows).to_networkx()


def StarGraph(size: int, center_rank: int = 0) -> nx.DiGraph[int]:
    """The centre talks to everybody, the others to the centre only, with weights 1/size."""
    star = topology.star(_size(size))
    swap = np.arange(size)
    swap[[0, center_rank]] = swap[[center_rank, 0]]
    return topology.Topology(star.matrix[swap][:, swap], name="star").to_networkx()


def RingGraph(size: int, connect_style: int = 0) -> nx.DiGraph[int]:
    """A ring: ``connect_style`` 0 sends both ways, 1 to the left (rank − 1), 2 to the right."""
    if connect_style not in (0, 1, 2):
        raise AssertionError(f"connect_style={connect_style!r}: 0 for both ways, 1 for left, 2 for right")
    if connect_style == 0:
        return topology.ring(_size(size)).to_networkx()
    return topology.circulant(_size(size), {0: 1 / 2, -1 if connect_style == 1 else 1: 1 / 2}).to_networkx()


def FullyConnectedGraph(size: int) -> nx.DiGraph[int]:
    """Everybody talks to everybody, with weights 1/size."""
    return topology.complete(_size(size)).to_networkx()


# --------------------------------------------------------------------------------------------- questions about graphs
def IsTopologyEquivalent(topo1: nx.DiGraph[Any] | None, topo2: nx.DiGraph[Any] | None) -> bool:
    """Whether two graphs have the same edges with the same weights, rank for rank; never, if one is None."""
    import networkx as nx

    if topo1 is None or topo2 is None or len(topo1) != len(topo2):
        return False
    A, B = (nx.to_numpy_array(graph, nodelist=ordered_nodes(graph)) for graph in (topo1, topo2))
    return np.array_equal(A, B)


def IsRegularGraph(topo: nx.DiGraph[Any]) -> bool:
    """Whether all ranks have equally many edges, those in and those out taken together."""
    return len({degree for _, degree in topo.degree}) == 1


def GetRecvWeights(topo: nx.DiGraph[Any], rank: int) -> tuple[float, dict[int, float]]:
    """What a rank gives to itself, and to what it receives from each in-neighbour: its column of BlueFog's matrix."""
    weights = {int(i): float(topo.edges[i, rank].get("weight", 1.0)) for i in topo.predecessors(rank)}
    return weights.pop(rank, 0.0), weights


def GetSendWeights(topo: nx.DiGraph[Any], rank: int) -> tuple[float, dict[int, float]]:
    """What a rank gives to itself, and what each out-neighbour gives to what it sends: its row of BlueFog's matrix."""
    weights = {int(j): float(topo.edges[rank, j].get("weight", 1.0)) for j in topo.successors(rank)}
    return weights.pop(rank, 0.0), weights


def isPowerOf(x: int, base: int) -> bool:
    """Whether x is a power of the base, in integers: 1, base, base² and so on.

    >>> isPowerOf(243, 3), isPowerOf(1000, 10), isPowerOf(244, 3)
    (True, True, False)
    """
    if x <= 0:
        raise AssertionError(f"x={x!r}: a positive number")
    power = 1
    while power < x:
        power *= _base(base)
    return power == x


# --------------------------------------------------------------------------------- one peer at a time, round by round
def GetDynamicOnePeerSendRecvRanks(topo: nx.DiGraph[Any], self_rank: int) -> Iterator[Ranks]:
    """Round by round, the out-neighbour to which a rank sends, clockwise in turn, and the ranks that send to it.

    Self-loops do not count, whether the graph has them or not. A rank without out-neighbours sends to nobody.

    >>> rounds = GetDynamicOnePeerSendRecvRanks(ExponentialGraph(8), 0)
    >>> [next(rounds) for _ in range(4)]
    [([1], [7]), ([2], [6]), ([4], [4]), ([1], [7])]
    """
    return _in_turn({i: _clockwise(topo, i) for i in sorted(topo)}, self_rank)


def _clockwise(topo: nx.DiGraph[Any], i: int) -> list[int]:
    return sorted((int(j) for j in topo.successors(i) if j != i), key=lambda j: (j - i) % len(topo))


def _in_turn(dests: dict[int, list[int]], me: int) -> Iterator[Ranks]:
    for k in itertools.count():
        target = {i: ranks[k % len(ranks)] for i, ranks in dests.items() if ranks}
        yield [target[me]] if me in target else [], [i for i, j in target.items() if j == me]


def GetExp2DynamicSendRecvMachineRanks(world_size: int, local_size: int, self_rank: int, local_rank: int) -> Iterator[Ranks]:
    """Round by round, the machine to which a rank's machine sends and its source, at distances 1, 2, 4 … in turn."""
    if self_rank % local_size != local_rank or world_size % local_size:
        raise AssertionError(
            f"rank {self_rank} as local rank {local_rank}: every machine must have {local_size} of the {world_size} ranks, "
            "numbered one after the other"
        )
    machines, machine = world_size // local_size, self_rank // local_size
    if machines < 2:
        raise AssertionError(f"{world_size} ranks are one machine of {local_size}: there must be two to talk between them")
    period = (machines - 1).bit_length()
    return (([(machine + 2**k) % machines], [(machine - 2**k) % machines]) for k in itertools.cycle(range(period)))


def GetInnerOuterRingDynamicSendRecvRanks(world_size: int, local_size: int, self_rank: int) -> Iterator[Ranks]:
    """Round by round, one rank of each machine sends to the next machine, the others around their own; and from whom.

    With a single machine, the rank whose turn it is to leave it sends to nobody.
    """
    return _inner_outer(world_size, local_size, self_rank, "ring")


def GetInnerOuterExpo2DynamicSendRecvRanks(world_size: int, local_size: int, self_rank: int) -> Iterator[Ranks]:
    """The same at the distances 1, 2, 4 … in turn, both between machines and inside them.

    >>> rounds = GetInnerOuterExpo2DynamicSendRecvRanks(world_size=8, local_size=4, self_rank=0)
    >>> [next(rounds) for _ in range(4)]
    [([4], [4]), ([3], [2]), ([1], [3]), ([2], [1])]
    """
    return _inner_outer(world_size, local_size, self_rank, "exponential")


def _inner_outer(world_size: int, local_size: int, self_rank: int, kind: str) -> Iterator[Ranks]:
    if local_size <= 2 or world_size % local_size:
        raise AssertionError(
            f"world_size={world_size}, local_size={local_size}: every machine must have equally many ranks, at least 3"
        )
    # one machine is one of two: its ranks only lose the neighbour that is not there
    schedule = topology.inner_outer(max(world_size, 2 * local_size), local=local_size, kind=kind)
    for k in itertools.count():
        graph = schedule[k]
        send, recv = graph.out_neighbors(self_rank).tolist(), graph.in_neighbors(self_rank).tolist()
        yield [j for j in send if j < world_size], [j for j in recv if j < world_size]


# -------------------------------------------------------------------------------------------------------- arguments
def _size(size: int) -> int:
    if not size > 0:
        raise AssertionError(f"size={size!r}: a number of ranks, at least 1")
    return size


def _base(base: int) -> int:
    if not isinstance(base, int) or base < 2:
        raise AssertionError(f"base={base!r}: a whole number, at least 2")
    return base
