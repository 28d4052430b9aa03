"""Who takes part in a run: this process alone, or all ranks of an MPI world together."""

from __future__ import annotations

import os
from typing import Any

import torch

from ..comm import api, world
from ..network.hosts import Done, Here, Hosts, Pending, Ranks

_SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "PMIX_SIZE")


class Alone:
    """A simulation: whatever is agreed upon, is agreed at once."""

    rank, size = 0, 1

    def hosts(self) -> Hosts:
        """For the network."""
        return Here()

    def start_sum(self, x: torch.Tensor, name: str | None = None) -> Pending[torch.Tensor]:  # noqa: ARG002
        """The sum over all; it travels until ``wait``."""
        return Done(x)

    def told(self, value: Any) -> Any:
        """What rank 0 gives, on every rank."""
        return value

    def all_of(self, value: Any) -> list[Any]:
        """What each gives."""
        return [value]

    def gathered(self, x: torch.Tensor) -> torch.Tensor:
        """The rows of all, in the order of the ranks."""
        return x

    def waited(self) -> float:
        """Seconds that this process has waited for others."""
        return 0.0


class Together:
    """The ranks of an MPI world: every call is a collective."""

    def __init__(self) -> None:
        self.rank, self.size = api.rank(), api.size()

    def hosts(self) -> Hosts:
        """For the network."""
        return Ranks()

    def start_sum(self, x: torch.Tensor, name: str | None = None) -> Pending[torch.Tensor]:
        """The sum over all; it travels until ``wait``. The name is what it is called if the ranks sum different things."""
        handle: Pending[torch.Tensor] = api.allreduce_nonblocking(x, "sum", name=name)
        return handle

    def told(self, value: Any) -> Any:
        """What rank 0 gives, on every rank."""
        return api.broadcast_object(value, 0)

    def all_of(self, value: Any) -> list[Any]:
        """What each gives."""
        return api.allgather_object(value)

    def gathered(self, x: torch.Tensor) -> torch.Tensor:
        """The rows of all, in the order of the ranks."""
        rows: torch.Tensor = api.allgather(x)
        return rows

    def waited(self) -> float:
        """Seconds that this rank has waited for others."""
        return world.current().waited


Crew = Alone | Together


def crew() -> Crew:
    """All ranks where this process is one of several, else this process."""
    several = any(os.environ.get(name, "1") not in ("", "1") for name in _SIZES)
    return Together() if several and api.size() > 1 else Alone()
