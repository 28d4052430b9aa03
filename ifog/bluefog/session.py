"""Beginning and ending, who this rank is, and the topologies in force: BlueFog's rules on top of ifog's world."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar

from .. import topology
from ..comm import api, timeline, world
from ..errors import Mismatch, TopologyError
from ..topology.matrix import digest
from .topology_util import ExponentialGraph, GetRecvWeights

if TYPE_CHECKING:
    import networkx as nx

P = ParamSpec("P")
T = TypeVar("T")
E = TypeVar("E", bound=Exception)

log = logging.getLogger("ifog.bluefog")


class Mismatched(Mismatch, ValueError):
    """The ranks called different things: for BlueFog's scripts that is a ValueError too."""


class Neighborhood(NamedTuple):
    """A topology, and what it means for this rank (or machine)."""

    graph: nx.DiGraph[Any]
    sources: list[int]
    dests: list[int]
    weights: tuple[float, dict[int, float]] | None
    """What it gives to itself and to each source; None when all get the same."""


class _Session:
    """What BlueFog's calls remember between them."""

    world: world.World | None = None
    """The ranks' world of the last `init`; it still says who is who after `shutdown`."""
    running = False
    suspended = False
    skip_negotiate = False
    ranks: Neighborhood | None = None
    machines: Neighborhood | None = None
    windows: dict[str, Any]

    def __init__(self) -> None:
        self.windows = {}


session = _Session()


def run(function: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
    """A call of ifog's as one of BlueFog's: refused before `init`, and with its kinds of errors."""
    check()
    try:
        return function(*arguments, **options)
    except Mismatch as error:
        raise mismatched(error) from None


def check() -> None:
    """Refuse a call before `init`, after `shutdown` and while suspended."""
    _identity()
    if not session.running:
        raise RuntimeError("BlueFog has been shut down: call bf.init() to begin anew")
    if session.suspended:
        raise ValueError("BlueFog is suspended: call bf.resume() first")


def refused(error: E) -> E:
    """An error about an argument, to be raised; ranks that wait for this one's call are told why it does not come."""
    if session.running:
        api._here().refuse(error)
    return error


def mismatched(error: Mismatch) -> Mismatched:
    """The same error with the type that BlueFog's scripts expect."""
    return Mismatched(str(error))


def _identity() -> world.World:
    if session.world is None:
        raise ValueError("BlueFog has not been initialized: call bf.init() first")
    return session.world


# ------------------------------------------------------------------------------------------------------------- life
def init(topology_fn: Callable[[int], nx.DiGraph[Any]] | None = None, is_weighted: bool = False) -> None:
    """Begin, or begin anew: the topology becomes ``topology_fn(size)``, or the unweighted exponential graph.

    Unlike BlueFog's it works again after `shutdown`; and after a failure that all ranks caught, it starts a clean epoch.
    """
    if "BLUEFOG_NODES_PER_MACHINE" in os.environ:
        os.environ.setdefault("IFOG_NODES_PER_MACHINE", os.environ["BLUEFOG_NODES_PER_MACHINE"])
    here = world.current()
    if here.board.words[0] >= here.epoch:
        api.recover()
    session.world, session.running, session.suspended = here, True, False
    if here.timeline is None and "BLUEFOG_TIMELINE" in os.environ:
        timeline.start_timeline(os.environ["BLUEFOG_TIMELINE"] + ".json")
    set_topology(None if topology_fn is None else topology_fn(here.size), is_weighted)


def shutdown() -> None:
    """Leave the others. ``rank()`` and ``size()`` stay known; `init` begins anew, which BlueFog cannot."""
    if session.running:
        for window in session.windows.values():
            window.leave()
        session.windows.clear()
        session.running, session.ranks, session.machines = False, None, None
        api.shutdown()


def suspend() -> None:
    """Refuse calls until `resume`. There is no background thread to put to sleep: an idle rank costs nothing anyway."""
    _identity()
    session.suspended = True


def resume() -> None:
    """Allow calls again."""
    session.suspended = False


# --------------------------------------------------------------------------------------------------------- identity
def size() -> int:
    """How many ranks there are."""
    return _identity().size


def rank() -> int:
    """The number of this rank, from 0."""
    return _identity().rank


def local_size() -> int:
    """How many ranks run on this machine (or, for trying out, ``BLUEFOG_NODES_PER_MACHINE``)."""
    return _identity().local_size


def local_rank() -> int:
    """The number of this rank among those of its machine."""
    return _identity().local_rank


def machine_size() -> int:
    """How many machines there are; only if all have equally many ranks."""
    return homogeneous().machine_count


def machine_rank() -> int:
    """The number of this machine; only if all have equally many ranks."""
    return homogeneous().machine_rank


def is_homogeneous() -> bool:
    """Whether every machine has equally many ranks, numbered one after the other."""
    return _identity().is_homogeneous


def homogeneous() -> world.World:
    """The world, if all its machines are alike."""
    here = _identity()
    if not here.is_homogeneous:
        said = f"the machines must have equally many ranks, numbered in order; they have {here.machine_ranks}"
        raise refused(AssertionError(said))
    return here


# ----------------------------------------------------------------------------------------------------- capabilities
def mpi_threads_supported() -> int:
    """1 if MPI may be called by several threads at once, else 0."""
    mpi = _identity().wire.mpi
    return int(mpi.Query_thread() == mpi.THREAD_MULTIPLE)


def unified_mpi_window_model_supported() -> bool:
    """True: a window is memory that all see at once. It is not one of MPI's, so no rank has to be asked."""
    _identity()
    return True


def nccl_built() -> bool:
    """False: nothing is compiled against NCCL."""
    return False


def set_skip_negotiate_stage(value: bool) -> None:
    """Remembered, without effect: there is no negotiation to skip, and the ranks' calls are always compared."""
    session.skip_negotiate = bool(value)


def get_skip_negotiate_stage() -> bool:
    """What `set_skip_negotiate_stage` was told."""
    return session.skip_negotiate


# --------------------------------------------------------------------------------------------------------- topology
def set_topology(topology: nx.DiGraph[Any] | None = None, is_weighted: bool = False) -> bool:
    """Talk along this graph from now on: with equal weights, or with those of its edges if ``is_weighted``.

    False, and nothing is changed, while a window exists. The graph is compared between the ranks, weights included; and a
    graph that is equal to the last one still changes ``is_weighted``. Neither holds for BlueFog.
    """
    check()
    if topology is None:
        topology = ExponentialGraph(size())
    _check_graph(topology, size(), "ranks")
    if session.windows:
        log.error("set_topology is refused while there are windows: free %s first", ", ".join(sorted(session.windows)))
        return False
    session.ranks = run(_follow, topology, rank(), is_weighted, api.set_topology)
    return True


def load_topology() -> nx.DiGraph[Any] | None:
    """The very graph that is in force, or None before `init`."""
    return None if session.ranks is None else session.ranks.graph


def set_machine_topology(topology: nx.DiGraph[Any] | None, is_weighted: bool = False) -> bool:
    """The graph between machines, of which each is a node, for `hierarchical_neighbor_allreduce`.

    All ranks call it: unlike in BlueFog it is compared between them.
    """
    check()
    if topology is None:
        raise refused(
            ValueError("topology=None: a networkx DiGraph of the machines, e.g. topology_util.RingGraph(bf.machine_size())")
        )
    _check_graph(topology, machine_size(), "machines")
    session.machines = run(_follow, topology, machine_rank(), is_weighted, api.set_machine_topology)
    return True


def load_machine_topology() -> nx.DiGraph[Any] | None:
    """The very graph between machines that is in force, or None."""
    return None if session.machines is None else session.machines.graph


def in_neighbor_ranks() -> list[int]:
    """The ranks from which this one receives."""
    return [] if session.ranks is None else list(session.ranks.sources)


def out_neighbor_ranks() -> list[int]:
    """The ranks to which this one sends."""
    return [] if session.ranks is None else list(session.ranks.dests)


def in_neighbor_machine_ranks() -> list[int]:
    """The machines from which this one receives."""
    return [] if session.machines is None else list(session.machines.sources)


def out_neighbor_machine_ranks() -> list[int]:
    """The machines to which this one sends."""
    return [] if session.machines is None else list(session.machines.dests)


def _check_graph(graph: Any, n: int, what: str) -> None:
    import networkx as nx

    if not isinstance(graph, nx.DiGraph):
        raise refused(
            TypeError(
                f"topology is a {type(graph).__name__}: a networkx DiGraph, as from ifog.bluefog.topology_util; "
                "ifog's own topologies give one with .to_networkx()"
            )
        )
    if set(graph) != set(range(n)):
        nodes = f"topology has {len(graph)} nodes, {list(graph)[:8]} …"
        raise refused(TypeError(f"{nodes}: one for each of the {n} {what}, numbered from 0 to {n - 1}"))


def _follow(graph: nx.DiGraph[Any], me: int, weighted: bool, follow: Callable[[Any], None]) -> Neighborhood:
    """Let ifog follow the graph's edges; weights of its own go with each call, because BlueFog's may sum to anything."""
    followed = topology.uniform(graph, connected=False)
    follow(followed)
    weights = sorted((i, j, float(d.get("weight", 1.0))) for i, j, d in graph.edges(data=True)) if weighted else None
    if len(set(api.allgather_object(digest(weights)))) > 1:
        raise TopologyError("the ranks gave the same graph, but not the same weights (or not the same is_weighted)")
    sources, dests = ([int(j) for j in others(me) if j != me] for others in (graph.predecessors, graph.successors))
    return Neighborhood(graph, sources, dests, GetRecvWeights(graph, me) if weighted else None)
