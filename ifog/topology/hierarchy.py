"""Machines with several nodes each: rank = machine · local + local rank."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import scipy.sparse as sp

from ..errors import TopologyError
from .arguments import log2_ceil, whole
from .families import family
from .graph import Schedule, Topology


def hierarchical(machines: Topology, local: int) -> Topology:
    """All nodes of a machine average, the machines mix, and every node takes the result: W = W_machines ⊗ 11ᵀ/local.

    It mixes exactly as fast as the machines do.

    >>> from ifog.topology import ring
    >>> round(hierarchical(ring(4), local=2).rho, 6), round(ring(4).rho, 6)
    (0.333333, 0.333333)
    """
    local = whole("local", local, minimum=1)
    if not isinstance(machines, Topology):
        raise TopologyError(f"machines={machines!r}: it must be a Topology of the machines, such as ring(4)")
    signed = bool((machines.matrix.data < 0).any())
    return Topology(
        sp.kron(machines.matrix, np.full((local, local), 1 / local), format="csr"),
        name=f"hierarchical({machines.label}, local={local})",
        signed=signed,
        connected=machines.connected,
    )


@family
def inner_outer(n: int, *, local: int = 4, kind: str = "ring") -> Schedule:
    """In round k the local rank k mod ``local`` of each machine talks to the next machine, the others among themselves.

    ``kind="ring"``: the next machine and the next rank; ``kind="exponential"``: at distances 1, 2, 4 … in turn. Every node
    sends one message and receives one, and few of them leave a machine: W = (I + P)/2 with a permutation P.
    """
    local = whole("local", local, minimum=3)
    if n % local or n < 2 * local:
        near = max(2, round(n / local)) * local
        raise TopologyError(
            f"inner_outer(n={n}, local={local}): n must be a multiple of local with at least two machines, such as {near}"
        )
    if kind not in ("ring", "exponential"):
        raise TopologyError(f"kind={kind!r}: 'ring' or 'exponential'")
    machines = n // local
    outside, inside = (log2_ceil(machines), log2_ceil(local - 1)) if kind == "exponential" else (1, 1)
    return Schedule(partial(_round, n, local, outside, inside), n=n, period=math.lcm(local, outside, inside))


def _round(n: int, local: int, outside: int, inside: int, k: int) -> Topology:
    machine, rank = np.divmod(np.arange(n), local)
    speaker = k % local
    # the others in a circle that starts behind the speaker and leaves it out
    place = (rank - speaker - 1) % local
    neighbour = ((place + 2 ** (k % inside)) % (local - 1) + speaker + 1) % local
    outward = (machine + 2 ** (k % outside)) % (n // local) * local + rank
    target = np.where(rank == speaker, outward, machine * local + neighbour)
    halves = np.full(n, 0.5)
    permutation = sp.coo_array((halves, (target, np.arange(n))), shape=(n, n))
    return Topology(permutation + sp.diags_array(halves), connected=False)
