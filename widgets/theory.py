"""What theory says of a run: the factor by which its disagreement shrinks in an iteration, where that is known."""

from __future__ import annotations

from ifog.experiment import Run
from ifog.topology import Schedule, Topology
from ifog.topology.spectrum import DENSE

METRICS = ["disagreement", "error"]
"""What shrinks by it: of an average that is kept, both are the same."""
_METHODS = ("consensus",)  # x⁺ = W x and nothing else
_ROUNDS = 64  # of a schedule, whose product is still quick to know


class Theory:
    """The rates of one run, one for each topology that it has had while somebody looked."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.rates: list[tuple[int, float]] = []
        """From which iteration on, and how much is left after each."""
        self._seen: Schedule | None = None

    def look(self) -> None:
        """Take up a topology that is new."""
        run, topology = self.run, self.run.topology
        if topology is None or topology is self._seen or run.about.get("method") not in _METHODS or run.world.get("effects"):
            return
        at = next((k for k, what in reversed(list(run.marks)) if what == topology.label), None)
        if at is None and self._seen is not None:
            return  # it has been swapped, and the mark will be there soon
        self._seen = topology
        rate = known(topology)
        self.rates.append((at or 0, 1.0 if rate is None else rate))


def known(topology: Schedule) -> float | None:
    """The rate of averaging with a topology, if it is quick to know."""
    if isinstance(topology, Topology):
        quick = topology.n <= DENSE or topology._fourier is not None
    elif topology.period is None:
        quick = topology._known_factor is not None
    else:
        quick = topology.period <= _ROUNDS and topology.n * topology.period <= 8 * DENSE
    rate = topology.consensus_rate if quick and topology.doubly_stochastic else 1.0
    return rate if 1e-6 < rate < 1 - 1e-12 else None
