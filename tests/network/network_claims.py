"""The topologies that the network is tried on."""

import warnings
from functools import lru_cache

from ifog import topology as t
from ifog.errors import TopologyError

SIZES = (5, 8, 12, 17)


@lru_cache
def topologies(family):
    """Its members of several sizes; those that it does not have are left out."""
    made = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # one-peer graphs and grids of awkward sizes warn
        for n in SIZES:
            try:
                made.append(t.make(family, n))
            except TopologyError:
                continue
    return made


WEIGHTED = [family for family in t.families() if family != "ceca"]
