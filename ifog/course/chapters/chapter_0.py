"""Several brains in one notebook: ranks, cells for all of them, and calls that all must make."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

import numpy as np
import torch

from ..engines import Engines
from ..exercise import Attempt, Wrong, exercise


@exercise("0.1", "odd(ranks)", "the set of those ranks that are odd")
def odd(attempt: Attempt) -> str:
    """For all ranks of a few clusters, and for some of the ranks of a large one."""
    large = sorted(attempt.some(range(100), 20))
    for ranks in (list(range(attempt.random.integers(4, 9))), [0], large):
        given, called = attempt.call(list(ranks)), attempt.called(ranks)
        attempt.there(given, "a set", called)
        if not isinstance(given, set | frozenset):
            came = f"an array of the shape {given.shape}" if isinstance(given, np.ndarray) else f"{given!r:.60}"
            raise Wrong(f"{called} gave {came}, and a set is wanted", "braces make a set: `{… for … in …}`")
        right = {rank for rank in ranks if rank % 2}
        strange, even, missing = given - set(ranks), given - right, right - given
        attempt.expect(
            not strange,
            f"{called} has {_one(strange)} in it, which is none of the ranks",
            "go through the ranks that are given: on another day there are other ones",
        )
        attempt.expect(not even, f"{called} has {_one(even)} in it", "`rank % 2` is 1 for odd numbers, and 0 for even ones")
        attempt.expect(not missing, f"{called} lacks {_one(missing)}", "look at all the ranks that are given, from 0 on")
    return "right for all ranks of a cluster, for one rank alone, and for twenty ranks of a hundred"


def _one(ranks: Set[Any]) -> str:
    return f"{min(ranks, key=str)!r:.20}" if ranks else ""


@exercise("0.2", "report(x)", "on the engines: the mean of all x, without a rank that waits for ever", on_engines=True)
def report(attempt: Engines) -> str:
    """All ranks make the call, though only one may print."""
    x = attempt.random.integers(0, 100, attempt.n).astype(float)
    outcomes = attempt.run([torch.tensor([value], dtype=torch.float64) for value in x])
    for rank, outcome in enumerate(outcomes):
        found = attempt.as_number(outcome.value, f"`report` on rank {rank}")
        attempt.expect(
            outcome.calls,
            f"rank {rank} has said nothing to the others",
            "every rank must call `ifog.allreduce`, also those that do not need its result",
        )
        attempt.close(
            found,
            float(x.mean()),
            f"`report({x[rank]:g})` on rank {rank}",
            mistakes={
                "that is its own number: return what `ifog.allreduce` gives": float(x[rank]),
                "that is the sum; `ifog.allreduce(x)` gives the mean": float(x.sum()),
            },
        )
    return f"{outcomes[0].in_words} on every rank, and all know the mean"


@exercise("0.3", "sum_of_squares()", "on the engines: Σ rank², with one allreduce", on_engines=True)
def sum_of_squares(attempt: Engines) -> str:
    """Audited: one call, and no other."""
    ranks = np.arange(attempt.n)
    outcomes = attempt.run()
    for rank, outcome in enumerate(outcomes):
        attempt.close(
            attempt.as_number(outcome.value, f"`sum_of_squares` on rank {rank}"),
            float((ranks**2).sum()),
            f"`sum_of_squares()` on rank {rank}",
            mistakes={
                'that is the mean: `ifog.allreduce(x, "sum")` adds up': float((ranks**2).mean()),
                "square first, and add up then": float(ranks.sum() ** 2),
                "that is the sum of the ranks: square them": float(ranks.sum()),
                "that is this rank's own square: the others' are missing": float(rank**2),
            },
            hint='put `ifog.rank() ** 2` into a tensor, and `ifog.allreduce(…, "sum")` it',
        )
        attempt.expect(
            [call.name for call in outcome.calls] == ["allreduce"],
            f"rank {rank} made {outcome.in_words}",
            "one `ifog.allreduce` is enough, and nothing needs to be known beforehand",
        )
    return f"{sum(ranks**2)} on all {attempt.n} ranks, with one allreduce"
