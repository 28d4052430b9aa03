"""From your own graphs: networkx graphs, matrices, names and lists of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from ..errors import TopologyError
from .arguments import real, whole
from .families import make
from .graph import Graph, Schedule, Topology
from .matrix import is_networkx, networkx_pattern, ordered_nodes
from .weights import rules

if TYPE_CHECKING:
    import networkx as nx


def from_networkx(
    graph: nx.Graph[Any],
    *,
    weights: str | Mapping[tuple[Any, Any], float] = "metropolis",
    signed: bool = False,
    connected: bool = True,
) -> Topology:
    """A networkx graph as a topology; an edge (j, i) of a directed one means that j sends to i.

    ``weights`` is a rule (``"metropolis"``, ``"uniform"``, ``"push"`` … see `rules`), or ``"given"`` to take each edge's
    ``weight`` (self-loops are the nodes' own weights; where there is none, what is missing to one in the row), or a
    dict {(receiver, sender): weight}. Nodes keep their numbers if these are 0 … n − 1, else their order.
    """
    pattern = networkx_pattern(graph)
    name = graph.name or "networkx"
    if isinstance(weights, str) and weights != "given":
        known = rules()
        if weights not in known:
            raise TopologyError(f"weights={weights!r}: 'given', a dict, or one of the rules {', '.join(map(repr, known))}")
        plain = Graph(pattern, name=name, connected=connected)
        return known[weights](plain) if weights == "fdla" else known[weights](plain, connected=connected)
    order = {node: i for i, node in enumerate(ordered_nodes(graph))}
    if isinstance(weights, str):
        entries = {}
        for sender, receiver, weight in graph.edges(data="weight"):
            if weight is None:
                raise TopologyError(
                    f"weights='given', but the edge {(sender, receiver)} of the graph has no 'weight': give every edge one, or "
                    f"choose a rule such as weights='metropolis'"
                )
            entries[order[receiver], order[sender]] = weight
            if not graph.is_directed():
                entries[order[sender], order[receiver]] = weight
    elif not isinstance(weights, Mapping):
        raise TopologyError(f"weights={weights!r:.60}: 'given', a dict {{(receiver, sender): weight}}, or the name of a rule")
    else:
        entries = {}
        for (receiver, sender), weight in weights.items():
            for node in (receiver, sender):
                if node not in order:
                    raise TopologyError(f"weights has an entry for node {node!r}, which the graph does not have")
            i, j = order[receiver], order[sender]
            if i != j and not pattern[i, j]:
                raise TopologyError(
                    f"weights[{receiver!r}, {sender!r}] = {weight}: the graph has no edge from {sender!r} to {receiver!r}"
                )
            entries[i, j] = weight
    for (i, j), weight in entries.items():
        real("weights", weight, f"the weight that node {i} puts on node {j} must be a finite number")
    return Topology(_with_own_share(pattern.shape[0], entries), name=name, signed=signed, connected=connected)


def as_topology(graph: Any, n: int | None = None) -> Schedule:
    """Whatever describes a topology, as one: a Topology or Schedule, a family's name, a networkx graph, a matrix W.

    >>> as_topology("ring", n=8)
    ring(8): ρ = 0.8047, degree 2, symmetric, doubly stochastic
    """
    if isinstance(graph, str):
        if n is None:
            raise TopologyError(f"topology={graph!r}: a family's name needs a number of nodes, n=…")
        return make(graph, n)
    found = graph if isinstance(graph, Schedule) else _from_anything(graph, connected=True)
    if n is not None and found.n != n:
        raise TopologyError(f"topology {found.label} has {found.n} nodes, but {n} are needed: build it with n={n}")
    return found


def schedule(
    rounds: Iterable[Any] | Callable[[int], Any], *, n: int | None = None, name: str = "schedule", connected: bool = True
) -> Schedule:
    """Your own rounds as a schedule: a list that repeats, or a function of the round's number that never ends.

    A round is anything that `as_topology` takes (a networkx graph with nodes 0 … n − 1), and need not be connected by
    itself; all together must be, unless ``connected=False``. A function must give the same graph whenever it is asked for
    the same round, as it is asked on every node: draw at random from ``default_rng([seed, k])``.

    >>> import networkx as nx
    >>> schedule([nx.Graph([(0, 1), (2, 3)]), nx.Graph([(1, 2), (3, 0)])], n=4).rounds_to_exact
    2
    """
    if n is not None:
        n = whole("n", n, minimum=1)
    made: Schedule
    if callable(rounds):
        if n is None:
            raise TopologyError("schedule(function) needs the number of nodes, n=…")
        made = Schedule(partial(_round, rounds, n), n=n, period=None, name=name)
        if _as_round(rounds(0), n) != made[0]:
            raise TopologyError(
                f"{name}: the function gave two different graphs for round 0; every node asks for itself, so draw at random "
                f"from np.random.default_rng([seed, k])"
            )
    else:
        if isinstance(rounds, str | Schedule) or not isinstance(rounds, Iterable):
            raise TopologyError(f"rounds={rounds!r:.80}: a list of graphs, or a function from the round's number to a graph")
        listed = [_as_round(graph, n) for graph in rounds]
        if not listed:
            raise TopologyError("rounds is empty: a schedule has at least one round")
        sizes = [graph.n for graph in listed]
        if len(set(sizes)) > 1:
            raise TopologyError(f"the rounds have {sizes} nodes: they must all be on the same nodes")
        if len({isinstance(graph, Topology) for graph in listed}) > 1:
            raise TopologyError("rounds mixes topologies with rounds of CECA, which work on two buffers: use one or the other")
        made = listed[0] if len(listed) == 1 else Schedule(listed.__getitem__, n=sizes[0], period=len(listed), name=name)
    if connected and not made.jointly_connected:
        raise TopologyError(
            f"{name}: even all rounds together do not let every node reach every other, so they can never agree; "
            f"add edges to some round, or say connected=False if that is meant"
        )
    return made


def _round(rounds: Callable[[int], Any], n: int, k: int) -> Graph:
    return _as_round(rounds(k), n)


def _as_round(graph: Any, n: int | None) -> Graph:
    found = _any_round(graph, n)
    if n is not None and found.n != n:
        raise TopologyError(f"the round {found.label} has {found.n} nodes: all rounds must have n={n}")
    return found


def _any_round(graph: Any, n: int | None) -> Graph:
    if isinstance(graph, str):
        if n is None:
            raise TopologyError(f"round {graph!r}: a family's name needs a number of nodes, n=…")
        graph = make(graph, n)
    if isinstance(graph, Graph):
        return graph
    if isinstance(graph, Schedule):
        raise TopologyError(f"{graph.label} is a schedule: put its rounds in the list, such as schedule[0]")
    if is_networkx(graph):
        nodes = set(graph.nodes)
        count = len(nodes) if n is None else n
        if not nodes <= set(range(count)):
            # each round would number its nodes in another order
            raise TopologyError(
                f"a round has the nodes {list(graph.nodes)!r:.60}: number them 0 to {count - 1}, the same in all rounds, e.g. "
                f"with nx.relabel_nodes"
            )
        if len(nodes) < count:
            graph = graph.copy()
            graph.add_nodes_from(range(count))  # they idle in this round
    return _from_anything(graph, connected=False)


def _from_anything(graph: Any, *, connected: bool) -> Topology:
    """A topology from a networkx graph or a matrix."""
    if is_networkx(graph):
        edge_weights = [weight for _, _, weight in graph.edges(data="weight")]
        if not any(weight is not None for weight in edge_weights):
            return from_networkx(graph, weights="push" if graph.is_directed() else "metropolis", connected=connected)
        try:
            return from_networkx(graph, weights="given", connected=connected)
        except TopologyError as error:
            raise TopologyError(
                f"the edges of the networkx graph have weights that do not make a mixing matrix ({error}); to choose weights "
                f'for them, from_networkx(graph, weights="metropolis")'
            ) from None
    if sp.issparse(graph) or isinstance(graph, list | tuple | np.ndarray):
        return Topology(graph, connected=connected)
    raise TopologyError(
        f"topology={graph!r:.80}: give a Topology or Schedule, a family's name, a networkx graph, or a matrix W"
    )


def _with_own_share(n: int, entries: Mapping[tuple[int, int], float]) -> sp.csr_array:
    """The matrix of the given weights; a node without a weight for itself keeps what its row lacks to one."""
    rows = np.array([i for i, _ in entries], dtype=np.int64)
    columns = np.array([j for _, j in entries], dtype=np.int64)
    data = np.array(list(entries.values()), dtype=np.float64)
    own = np.array([i for i in range(n) if (i, i) not in entries], dtype=np.int64)
    missing = 1 - np.bincount(rows, data, minlength=n)[own]
    missing[np.abs(missing) < 1e-12] = 0.0
    data = np.concatenate([data, missing])
    matrix = sp.coo_array((data, (np.concatenate([rows, own]), np.concatenate([columns, own]))), shape=(n, n))
    return sp.csr_array(matrix)
