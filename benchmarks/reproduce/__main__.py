"""All experiments, one after the other."""

from . import (
    consensus,
    large_batch,
    local_steps,
    momentum,
    one_peer,
    periodic,
    relay,
    stragglers,
    tracking,
    transient,
)
from .report import main

EXPERIMENTS = {
    "consensus": consensus.experiment,
    "tracking": tracking.experiment,
    "transient": transient.experiment,
    "momentum": momentum.experiment,
    "relay": relay.experiment,
    "periodic": periodic.experiment,
    "one_peer": one_peer.experiment,
    "large_batch": large_batch.experiment,
    "stragglers": stragglers.experiment,
    "local_steps": local_steps.experiment,
}

if __name__ == "__main__":
    main(EXPERIMENTS)
