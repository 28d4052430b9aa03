"""Who talks to whom, and with which weights: graphs, schedules, weights, spectra and what they cost.

>>> from ifog import topology as t
>>> t.ring(8)
ring(8): ρ = 0.8047, degree 2, symmetric, doubly stochastic
>>> t.one_peer_exponential(8)
one_peer_exponential(8): period 3, degree 1, exact in 3 rounds

``W[i, j]`` is the weight that node i puts on what it receives **from** node j, so that averaging is ``x = W @ x``.
"""

# ruff: noqa: I001  (in the order of teaching, which is also the order of `families()`)

from . import cost as cost
from .graph import Graph as Graph
from .graph import Schedule as Schedule
from .graph import Topology as Topology
from .graph import circulant as circulant
from .graph import from_pairs as from_pairs
from .classic import binary_tree as binary_tree
from .classic import chain as chain
from .classic import complete as complete
from .classic import directed_ring as directed_ring
from .classic import double_binary_tree as double_binary_tree
from .classic import grid as grid
from .classic import hypercube as hypercube
from .classic import one_peer_hypercube as one_peer_hypercube
from .classic import ring as ring
from .classic import star as star
from .classic import torus as torus
from .exponential import exponential as exponential
from .exponential import one_peer_exponential as one_peer_exponential
from .exponential import symmetric_exponential as symmetric_exponential
from .equitopo import d_equistatic as d_equistatic
from .equitopo import od_equidyn as od_equidyn
from .equitopo import ou_equidyn as ou_equidyn
from .equitopo import u_equistatic as u_equistatic
from .ceca import Coefficients as Coefficients
from .ceca import Exchange as Exchange
from .ceca import ceca as ceca
from .base_graph import base_graph as base_graph
from .random_graphs import erdos_renyi as erdos_renyi
from .random_graphs import geometric as geometric
from .random_graphs import half_random as half_random
from .random_graphs import random_edge as random_edge
from .random_graphs import random_matching as random_matching
from .random_graphs import random_regular as random_regular
from .random_graphs import small_world as small_world
from .hierarchy import hierarchical as hierarchical
from .hierarchy import inner_outer as inner_outer
from .weights import best_constant as best_constant
from .weights import fdla as fdla
from .weights import laplacian as laplacian
from .weights import lazy as lazy
from .weights import max_degree as max_degree
from .weights import metropolis as metropolis
from .weights import push as push
from .weights import rules as rules
from .weights import uniform as uniform
from .families import families as families
from .families import family as family
from .families import make as make
from .convert import as_topology as as_topology
from .convert import from_networkx as from_networkx
from .convert import schedule as schedule
from .cost import Link as Link
from .cost import compare as compare

import difflib as _difflib
import sys as _sys
import types as _types
from typing import Any as _Any


class _Room(_types.ModuleType):
    """The module, which can also be called: ``ifog.topology()`` is the topology along which the ranks talk now."""

    def __call__(self) -> Schedule:
        # asked of the top, which knows the rooms above this one
        found: Schedule = _sys.modules[__name__.partition(".")[0]].current_topology()
        return found

    def __getattr__(self, name: str) -> _Any:
        near = _difflib.get_close_matches(name, [known for known in self.__dict__ if not known.startswith("_")], 1)
        raise AttributeError(
            f"ifog.topology has no {name!r}" + (f": did you mean {near[0]!r}?" if near else ""), name=name, obj=self
        )


_sys.modules[__name__].__class__ = _Room
