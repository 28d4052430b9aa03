"""Who trains together: all ranks of an MPI world, or this process alone."""

from __future__ import annotations

import torch

from ..comm import api
from ..experiment.crew import crew


def memory(numel: int, *, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """An uninitialised vector that the neighbours can read where it lies."""
    if crew().size == 1:
        return torch.empty(numel, dtype=dtype, device=device)
    return api.empty(numel, dtype=dtype, device=device)
