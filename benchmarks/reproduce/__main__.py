"""All experiments, one after the other."""

from . import consensus, momentum, periodic, relay, tracking, transient
from .report import main

EXPERIMENTS = {
    "consensus": consensus.experiment,
    "tracking": tracking.experiment,
    "transient": transient.experiment,
    "momentum": momentum.experiment,
    "relay": relay.experiment,
    "periodic": periodic.experiment,
}

if __name__ == "__main__":
    main(EXPERIMENTS)
