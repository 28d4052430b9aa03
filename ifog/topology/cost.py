"""What a round costs: the α–β model of communication.

A message of M bytes takes L + M/B seconds over a link with latency L and bandwidth B; a node may send and receive at the
same time, but all its messages share its bandwidth. That is enough to see why gossip was invented: a ring allreduce needs
2(n − 1) latencies, a neighbour average needs one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import TopologyError
from .arguments import log2_ceil, real, share, whole
from .graph import Schedule

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Link:
    """A network between nodes: latency of a message in seconds, bandwidth of a node in bytes per second.

    Measured systems differ from the plain model in two ways: every gossip round may cost a fixed ``overhead`` (packing,
    launching), and collectives may reach another bandwidth than single messages.
    """

    latency: float
    bandwidth: float
    overhead: float = 0.0
    collective_bandwidth: float | None = None

    def __post_init__(self) -> None:
        for name in ("latency", "overhead"):
            real(name, getattr(self, name), "seconds, zero or more", at_least=0)
        real("bandwidth", self.bandwidth, "bytes per second, more than zero", above=0)
        if self.collective_bandwidth is not None:
            real("collective_bandwidth", self.collective_bandwidth, "bytes per second, more than zero", above=0)

    def message(self, size: float) -> float:
        """Seconds for one message of a collective."""
        return self.latency + size / (self.collective_bandwidth or self.bandwidth)


LINKS = {
    "25GbE": Link(latency=50e-6, bandwidth=25e9 / 8),
    # fitted to published times of 256 V100 GPUs on 25 Gb/s: ResNet-50 278 ms (ring allreduce) and 150 ms (one peer),
    # BERT-Large 1469 ms and 567 ms
    "v100-25g": Link(latency=0.349e-3, bandwidth=2.92e9, overhead=0.1147, collective_bandwidth=2.04e9),
}


def round_time(schedule: Schedule, size: float, link: Link | str = "25GbE", *, one_port: bool = False) -> float:
    """Seconds for one round of neighbour averaging of ``size`` bytes at every node, the mean over the rounds.

    A round takes as long as its busiest node. It sends its messages side by side, L + degree · M/B, or with ``one_port``
    one after the other, degree · (L + M/B).

    >>> from ifog.topology import exponential
    >>> round(round_time(exponential(8), size=102e6) * 1e3, 1)    # milliseconds for ResNet-50 in float32
    98.0
    """
    _check_schedule("round_time", schedule)
    link, size = _link(link), _size(size)
    times = []
    for graph in schedule._sample():
        busiest = max(int(graph.out_degrees.max()), int(graph.in_degrees.max()))
        times.append(exchange_time(busiest, size, link, one_port=one_port))
    return sum(times) / len(times)


def exchange_time(degree: int, size: float, link: Link | str = "25GbE", *, one_port: bool = False) -> float:
    """Seconds for a node to exchange ``size`` bytes with ``degree`` neighbours."""
    degree, size, link = whole("degree", degree, minimum=0), _size(size), _link(link)
    latencies = degree if one_port else min(degree, 1)
    return (link.overhead if degree else 0.0) + latencies * link.latency + degree * size / link.bandwidth


# ---- what everybody compares with: seconds to give every node the exact mean of n vectors of M bytes -----------------


def parameter_server(n: int, size: float, link: Link | str = "25GbE") -> float:
    """One node collects everything and sends it back: 2 (L + nM/B). Its own link is the bottleneck."""
    n, size, link = _checked(n, size, link)
    return 2 * link.message(n * size) if n > 1 else 0.0


def sharded_parameter_server(n: int, size: float, link: Link | str = "25GbE") -> float:
    """Every node serves 1/n of the vector: 2 (L + (n−1)/n M/B)."""
    n, size, link = _checked(n, size, link)
    return 2 * link.message((n - 1) / n * size) if n > 1 else 0.0


def ring_allreduce(n: int, size: float, link: Link | str = "25GbE") -> float:
    """Twice around the ring in n pieces: 2(n−1) L + 2(n−1)/n M/B. Optimal in bytes, slow in latency."""
    n, size, link = _checked(n, size, link)
    return 2 * (n - 1) * link.message(size / n)


def halving_doubling(n: int, size: float, link: Link | str = "25GbE") -> float:
    """Recursive halving and doubling: 2⌈log₂ n⌉ L + 2(n−1)/n M/B."""
    n, size, link = _checked(n, size, link)
    return 2 * log2_ceil(n) * link.latency + 2 * (n - 1) / n * (link.message(size) - link.latency)


def recursive_doubling(n: int, size: float, link: Link | str = "25GbE") -> float:
    """⌈log₂ n⌉ exchanges of the whole vector: ⌈log₂ n⌉ (L + M/B)."""
    n, size, link = _checked(n, size, link)
    return log2_ceil(n) * link.message(size)


def tree_allreduce(n: int, size: float, link: Link | str = "25GbE") -> float:
    """Up a binary tree and down again, without pipelining: 2⌈log₂ n⌉ (L + M/B)."""
    return 2 * recursive_doubling(n, size, link)


def double_tree_allreduce(n: int, size: float, link: Link | str = "25GbE") -> float:
    """Two trees, each with half of the vector, pipelined: about 2⌈log₂ n⌉ L + 2M/B."""
    n, size, link = _checked(n, size, link)
    return 2 * log2_ceil(n) * link.latency + 2 * (link.message(size) - link.latency) if n > 1 else 0.0


@dataclass(frozen=True)
class Collective:
    """A way to the exact mean in one operation: its time, and what its busiest node sends."""

    seconds: Callable[[int, float, Link | str], float]
    messages: Callable[[int], int]
    vectors: Callable[[int], float]
    """How many times the whole vector."""


COLLECTIVES = {
    "parameter server": Collective(parameter_server, lambda n: n - 1, lambda n: n - 1),
    "sharded parameter server": Collective(sharded_parameter_server, lambda n: 2 * (n - 1), lambda n: 2 * (n - 1) / n),
    "ring allreduce": Collective(ring_allreduce, lambda n: 2 * (n - 1), lambda n: 2 * (n - 1) / n),
    "halving-doubling allreduce": Collective(halving_doubling, lambda n: 2 * log2_ceil(n), lambda n: 2 * (n - 1) / n),
    "recursive doubling allreduce": Collective(recursive_doubling, log2_ceil, log2_ceil),
    # a node inside a tree sends one message up and two down; in two trees it is inside one and a leaf of the other
    "tree allreduce": Collective(tree_allreduce, lambda n: min(3, n - 1), lambda n: min(3, n - 1)),
    "double tree allreduce": Collective(double_tree_allreduce, lambda n: min(4, 2 * (n - 1)), lambda n: min(2, n - 1)),
}


def compare(
    *schedules: Schedule, size: float, link: Link | str = "25GbE", n: int | None = None, accuracy: float = 1e-6
) -> pd.DataFrame:
    """Topologies and the usual collectives side by side, the cheapest round first.

    Columns: ``messages`` and ``bytes`` that the busiest node sends in a round, ``seconds`` a round, ``rate`` (what a round
    leaves of a disagreement), ``rounds`` until a disagreement has shrunk by ``accuracy``, and the ``total`` seconds for
    that. The collectives are exact after one round.

    >>> from ifog import topology as t
    >>> table = t.compare(t.ring(8), t.one_peer_exponential(8), size=102e6)
    >>> table.loc["one_peer_exponential(8)", ["messages", "rounds"]].tolist()
    [1, 3]
    """
    import pandas as pd

    for schedule in schedules:
        _check_schedule("compare", schedule)
    sizes = {schedule.n for schedule in schedules} | ({whole("n", n, minimum=1)} if n is not None else set())
    if len(sizes) != 1:
        raise TopologyError(
            f"compare(...): topologies of {sorted(sizes) or 'no'} nodes; give at least one, all with the same n"
        )
    accuracy = share("accuracy", accuracy, with_one=False)
    (n,) = sizes
    size = _size(size)
    rows: list[tuple[str, int, float, float, float, float, float]] = []
    for schedule in schedules:
        seconds = round_time(schedule, size, link)
        rate, rounds = schedule.consensus_rate, _rounds_until(schedule, accuracy)
        rows.append((schedule.label, schedule.degree, schedule.degree * size, seconds, rate, rounds, rounds * seconds))
    for name, collective in COLLECTIVES.items():
        seconds = collective.seconds(n, size, link)
        rows.append((name, collective.messages(n), collective.vectors(n) * size, seconds, 0.0, 1, seconds))
    columns = ["scheme", "messages", "bytes", "seconds", "rate", "rounds", "total"]
    return pd.DataFrame(rows, columns=columns).set_index("scheme").sort_values("seconds", kind="stable")


def _rounds_until(schedule: Schedule, accuracy: float) -> float:
    """Rounds until the worst disagreement has shrunk by the accuracy: an estimate from the rate, exact where that is 0."""
    exact = schedule.rounds_to_exact
    if exact is not None:
        return exact
    if schedule.consensus_rate >= 1:
        return math.inf
    if schedule.consensus_rate == 0:
        return 1
    return math.ceil(math.log(accuracy) / math.log(schedule.consensus_rate))


def _checked(n: int, size: float, link: Link | str) -> tuple[int, float, Link]:
    return whole("n", n, minimum=1), _size(size), _link(link)


def _check_schedule(function: str, schedule: Schedule) -> None:
    if not isinstance(schedule, Schedule):
        raise TopologyError(
            f"{function}({schedule!r:.40}): give topologies and schedules, e.g. {function}(ring(8), size=102e6)"
        )


def _link(link: Link | str) -> Link:
    if isinstance(link, Link):
        return link
    if not isinstance(link, str) or link not in LINKS:
        raise TopologyError(f"link={link!r}: one of {', '.join(map(repr, LINKS))}, or Link(latency=…, bandwidth=…)")
    return LINKS[link]


def _size(size: float) -> float:
    return real("size", size, "the bytes of one message, zero or more, e.g. 4 * number_of_parameters", at_least=0)
