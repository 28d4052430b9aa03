"""Random graphs, drawn once, and random schedules, drawn anew in every round; the same on every node for the same seed."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import TopologyError
from .arguments import real, share, whole
from .families import family
from .graph import Schedule, Topology, from_pairs, metropolis_pairs

Drawn = tuple[NDArray[np.int64], NDArray[np.float64] | None]
"""Pairs of nodes, and where the nodes are if they are somewhere."""

_MOST_EDGES = 50_000_000
_ATTEMPTS = 200  # graphs drawn before a probability or radius is called too small


@family
def erdos_renyi(n: int, *, p: float | None = None, seed: int = 0) -> Topology:
    """Every pair is an edge with probability p = 2 ln n / n (or as given); drawn again until connected. Metropolis weights."""
    p = min(1.0, 2 * math.log(n) / n) if p is None else share("p", p)
    return _connected(f"erdos_renyi(n={n}, p={p:.4g})", n, seed, lambda rng: _independent_pairs(n, p, rng), "p")


@family
def half_random(n: int, *, seed: int = 0) -> Topology:
    """Every pair is an edge with probability 1/2. Dense, and so well connected that ρ falls like 1/√n."""
    return _connected(f"half_random(n={n})", n, seed, lambda rng: _independent_pairs(n, 0.5, rng), "seed")


@family
def geometric(n: int, *, radius: float | None = None, seed: int = 0) -> Topology:
    """Nodes at random places in the unit square, joined when closer than √(2 ln n / n): a field of sensors."""
    from scipy.spatial import cKDTree

    r = (
        math.sqrt(2 * math.log(n) / n)
        if radius is None
        else real("radius", radius, "radius must be a distance above 0", above=0)
    )

    def draw(rng: np.random.Generator) -> Drawn:
        places = rng.random((n, 2))
        return cKDTree(places).query_pairs(r, output_type="ndarray").astype(np.int64), places

    return _connected(f"geometric(n={n}, radius={r:.4g})", n, seed, draw, "radius")


@family
def random_regular(n: int, *, degree: int | None = None, seed: int = 0) -> Topology:
    """A graph in which every node has the same number of neighbours (4 unless given), otherwise random: an expander."""
    degree = min(4, n - 1) if degree is None else whole("degree", degree, minimum=1, maximum=n - 1)
    if n * degree % 2:
        raise TopologyError(
            f"random_regular(n={n}, degree={degree}): n · degree counts every edge twice, so one of them must be even"
        )
    import networkx as nx

    def draw(rng: np.random.Generator) -> Drawn:
        return _pairs(nx.random_regular_graph(degree, n, seed=int(rng.integers(2**31))))

    return _connected(f"random_regular(n={n}, degree={degree})", n, seed, draw, "degree")


@family
def small_world(n: int, *, neighbors: int | None = None, p: float = 0.2, seed: int = 0) -> Topology:
    """A ring with a few neighbours, of whose edges a share p is rewired at random (Watts and Strogatz 1998).

    ``neighbors`` counts both sides, so it is even: 4, or 2 for up to four nodes.
    """
    if neighbors is None:
        neighbors = 4 if n > 4 else 2
    elif whole("neighbors", neighbors, minimum=2, maximum=n - 1) % 2:
        raise TopologyError(f"neighbors={neighbors}: half of them are on each side, so their number must be even")
    p = share("p", p, with_zero=True)
    import networkx as nx

    def draw(rng: np.random.Generator) -> Drawn:
        return _pairs(nx.watts_strogatz_graph(n, neighbors, p, seed=int(rng.integers(2**31))))

    return _connected(f"small_world(n={n}, neighbors={neighbors}, p={p:.4g})", n, seed, draw, "neighbors")


@family
def random_matching(n: int, *, seed: int = 0) -> Schedule:
    """A new random pairing every round, each pair meeting in the middle; with odd n one node idles.

    E‖Wx − mean‖² shrinks by (n − 2) / (2(n − 1)) a round for even n, by 1/2 for odd n.
    """
    factor = (n - 2) / (2 * (n - 1)) if n % 2 == 0 else 1 / 2
    seed = whole("seed", seed, minimum=0)
    return Schedule(partial(_matching_round, n, seed), n=n, period=None, expected_factor=partial(float, factor))


@family
def random_edge(n: int, *, seed: int = 0) -> Schedule:
    """One random pair a round, everybody else idles: randomized gossip. The factor is 1 − 1/(n − 1) a round."""
    seed = whole("seed", seed, minimum=0)
    return Schedule(partial(_edge_round, n, seed), n=n, period=None, expected_factor=partial(float, 1 - 1 / (n - 1)))


def _matching_round(n: int, seed: int, k: int) -> Topology:
    order = np.random.default_rng([seed, k]).permutation(n)
    return from_pairs(n, order[: n // 2 * 2].reshape(-1, 2), 1 / 2, connected=False)


def _edge_round(n: int, seed: int, k: int) -> Topology:
    i, j = np.random.default_rng([seed, k]).choice(n, 2, replace=False)
    return from_pairs(n, [(i, j)], 1 / 2, connected=False)


def _connected(what: str, n: int, seed: int, draw: Callable[[np.random.Generator], Drawn], knob: str) -> Topology:
    """Draw until the graph is connected; each attempt has its own random stream, so that the first success is reproducible."""
    whole("seed", seed, minimum=0)
    for attempt in range(_ATTEMPTS):
        pairs, places = draw(np.random.default_rng([seed, attempt]))
        topology = metropolis_pairs(n, pairs, connected=False, positions=places)
        if topology.connected:
            return topology
    raise TopologyError(f"{what}: none of {_ATTEMPTS} random graphs was connected; choose a larger {knob}")


def _independent_pairs(n: int, p: float, rng: np.random.Generator) -> Drawn:
    """Each of the n(n−1)/2 pairs with probability p: first how many, then which, so that sparse graphs cost little."""
    total = n * (n - 1) // 2
    if p * total > _MOST_EDGES:
        raise TopologyError(
            f"n={n}, p={p:.4g}: some {p * total:.2g} edges would not fit in memory; the limit is {_MOST_EDGES:,}"
        )
    drawn = np.sort(rng.choice(total, int(rng.binomial(total, p)), replace=False, shuffle=False))
    # pair number t = j(j−1)/2 + i with i < j; the root may be off by one in floating point
    j = ((1 + np.sqrt(1 + 8 * drawn.astype(np.float64))) / 2).astype(np.int64)
    j -= drawn < j * (j - 1) // 2
    j += drawn >= j * (j + 1) // 2
    return np.column_stack([drawn - j * (j - 1) // 2, j]), None


def _pairs(graph: Any) -> Drawn:
    return np.array(graph.edges, dtype=np.int64).reshape(-1, 2), None
