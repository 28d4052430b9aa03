"""Several brains in one notebook: ranks, cells for all of them, and calls that all must make."""

from __future__ import annotations

import numpy as np
import torch

from ..engines import Engines
from ..exercise import Attempt, Wrong, exercise


@exercise("0.1", "odd", "the set of the odd ranks")
def odd(attempt: Attempt) -> str:
    """Whatever the number of engines."""
    given = attempt.answer
    if isinstance(given, list | tuple):
        raise Wrong(f"{given!r:.60} is a {type(given).__name__}, and a set is wanted", "braces make a set: `{… for … in …}`")
    if not isinstance(given, set) or not all(isinstance(rank, int) for rank in given):
        raise Wrong(
            f"{given!r:.60} is no set of ranks", "a set of numbers, such as `{5, 7}`: `{rank for rank in everybody if …}`"
        )
    attempt.expect(given, "the set is empty", "ranks are counted from 0, so rank 1 is the first odd one")
    even = sorted(rank for rank in given if rank % 2 == 0)
    attempt.expect(
        not even, f"rank {even[0] if even else ''} is not odd", "`rank % 2` is 1 for odd numbers, and 0 for even ones"
    )
    missing = sorted(set(range(1, max(given), 2)) - given)
    attempt.expect(not missing, f"rank {missing[0] if missing else ''} is missing", "look at all ranks, from 0 on")
    return f"{len(given)} of {max(given) + 1} engines or one more"


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
