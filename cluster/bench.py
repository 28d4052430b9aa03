"""``ifog bench``: how fast ranks talk on this machine, beside how fast one of them reads and writes memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from statistics import median

import torch
from rich.console import Console
from rich.table import Table

import ifog

_SIZES = 100, 100_000, 3_200_000
_SECONDS = 0.3


def seconds(do: Callable[[], object]) -> float:
    """The median of how long it takes, on the slowest rank."""
    do()
    times = []
    ends = time.monotonic() + _SECONDS
    going = torch.ones(1)
    while going:
        ifog.barrier()
        began = time.perf_counter()
        do()
        times.append(time.perf_counter() - began)
        going = ifog.broadcast(torch.tensor([float(time.monotonic() < ends)]), 0)
    return float(ifog.allreduce(torch.tensor([median(times)], dtype=torch.float64), "max"))


def main() -> None:
    """Measure, and print it on rank 0."""
    table = Table(title=f"{ifog.size()} ranks", box=None, header_style="dim", title_justify="left")
    for column in ("float32 numbers", "static exponential", "one-peer exponential", "allreduce", "copy in memory"):
        table.add_column(column, justify="right")
    for size in _SIZES:
        x = ifog.share(torch.ones(size))
        row = []
        for topology in (ifog.topology.exponential(ifog.size()), ifog.topology.one_peer_exponential(ifog.size())):
            ifog.set_topology(topology)
            row.append(seconds(partial(ifog.neighbor_allreduce, x)))
        row += [seconds(partial(ifog.allreduce, x)), seconds(partial(torch.empty_like(x).copy_, x))]
        table.add_row(f"{size:,}", *(f"{1e6 * took:,.0f} µs" for took in row))
    if ifog.rank() == 0:
        Console(width=100).print(table)


if __name__ == "__main__":
    main()
