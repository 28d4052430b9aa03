"""How long the ranks of one machine take to average tensors: ifog beside raw MPI, gloo, and reading and writing alone.

Run from the repository root::

    python -m benchmarks.comm                # 2, 4 and 8 ranks, up to 25.5 million numbers: about a quarter of an hour
    python -m benchmarks.comm --quick        # 4 ranks, up to 3.2 million: about a minute
    python -m benchmarks.comm --overlap      # only how much of a non-blocking call between machines a computation hides
    python -m benchmarks.comm --lateness     # only how late a one-sided write comes to a rank that is busy

For each number of ranks one MPI world is started, in which all methods take turns: within each size, round after round, in
an order that changes from round to round. In its turn a method runs a few times without a pause; that takes from the moment
the first rank starts until the last one is done, by the clock that the processes of a machine share. The median over the
rounds counts. Compare the ratios: the milliseconds depend on the machine, and on who else uses it.

Before anything is timed, what each method returns is compared with the matrix product W x: everywhere if it is small, in
ten thousand places if it is large.

The last two are about two machines, of one rank each. They are pretended: between them MPI carries the bytes, through this
machine's memory instead of a network.

The tables go to the terminal, the numbers of every round to a JSON file, and the curves to an HTML page.
"""

from __future__ import annotations

import argparse
import datetime
import gc
import itertools
import json
import math
import os
import platform
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ifog import topology as t
from ifog.comm.mpi import MPI, find
from ifog.errors import IfogError, SetupError

if TYPE_CHECKING:  # the parent, which only starts the ranks and shows what they found, needs none of these
    import plotly.graph_objects as go
    import torch

RANKS = (2, 4, 8)
SIZES = (100, 100_000, 3_200_000, 25_500_000)  # float32: 400 bytes … 102 MB, the size of ResNet-50
SMALL, LARGE, HUGE = 1_000, 3_200_000, 25_000_000  # what the goals call so
PARTS = 16  # tensors in a fused list
PERIOD = 1009  # the test tensors repeat after so many numbers: a prime, so that no block looks like another one
WARM = 3  # runs outside the clock: what is done once for a topology, or until buffers go round, is not what is measured
LR = 1e-3
FAR = 2  # ranks that count as a machine each, where talking between machines is measured
FAR_SIZES = (100_000, 3_200_000)
PATIENCE = 120  # seconds without any news after which a world counts as hanging

Floats = NDArray[np.float32]


# ---- what is measured --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Operation:
    """Something that ranks do together, and what must come out of it."""

    name: str
    schedule: Callable[[int], t.Schedule]
    """The averaging: x ← W x with the W of each round."""
    loop: bool = False
    """x ← W (x − lr g), each result being the next input; otherwise the input stays the same."""
    beside: str = ""
    """The operation whose peers are compared with, if it has none of its own."""


STATIC = Operation("static exponential", t.exponential)
ONE_PEER = Operation("one-peer exponential", t.one_peer_exponential)
RING = Operation("ring", t.ring)
ALLREDUCE = Operation("allreduce", t.complete)
FUSED = Operation(f"list of {PARTS} tensors", t.exponential)
NONBLOCKING = Operation("nonblocking, waited for", t.exponential, beside=STATIC.name)
IN_PLACE = Operation("x -= lr*g; x = W x", t.exponential, loop=True)
LOOP = Operation("x = W (x - lr*g)", t.exponential, loop=True)
TRIAD = Operation("triad a = b + s*c", t.complete)
OPERATIONS = (STATIC, ONE_PEER, RING, ALLREDUCE, FUSED, NONBLOCKING, IN_PLACE, LOOP, TRIAD)

SHARED, COPIED, RESULT = "ifog, shared", "ifog, copied in", "ifog"
MPI4PY, GLOO, FLOOR, TORCH = "mpi4py", "gloo", "floor", "torch"
METHODS = {
    SHARED: "the input lives in ifog's shared memory, made by ifog.empty",
    COPIED: "the input is a private torch tensor",
    RESULT: "the input is what the call before returned",
    MPI4PY: "Isend and Irecv, sum, scale, into numpy arrays made once; or MPI_Allreduce, a sum without the division",
    GLOO: "batch_isend_irecv and sum, into tensors made once; or all_reduce, a sum in place without the division",
    FLOOR: "only the reads and writes, by ifog's own kernel: no rank waits for another",
}


# Okabe and Ito's, told apart by colour-blind readers
COLOURS = {
    SHARED: "#0072B2",
    COPIED: "#56B4E9",
    RESULT: "#009E73",
    MPI4PY: "#D55E00",
    GLOO: "#E69F00",
    FLOOR: "#7d828c",
}


@dataclass
class Work:
    """A method at one size on one rank, ready to run."""

    step: Callable[[], Any]
    """Do it once: an array, or a list of them."""
    start: Callable[[], object] = lambda: None
    """Called before every turn, outside the clock."""
    stop: Callable[[], object] = lambda: None
    """Called after it."""
    expected: Callable[[NDArray[np.int64]], Any] | None = None
    """What must stand in these places of the result; None: what the operation says."""
    factor: float = 1.0
    """The result is so many times the operation's: peers that give a sum are not made to divide it."""


@dataclass(frozen=True)
class Row:
    """A line of the table: an operation by a method."""

    operation: Operation
    method: str
    prepare: Callable[[Bench], Work]


ROWS: list[Row] = []


def row(operation: Operation, method: str, *options: Any) -> Callable[[Callable[..., Work]], Callable[..., Work]]:
    """Add what the decorated function prepares to the table."""

    def add(prepare: Callable[..., Work]) -> Callable[..., Work]:
        ROWS.append(Row(operation, method, lambda bench: prepare(bench, *options)))
        return prepare

    return add


class Bench:
    """The tensors of one rank at one size, made when first needed.

    All methods use the same ones: eight ranks with 102 MB in each tensor must fit into an ordinary machine's memory.
    """

    def __init__(self, world: Any, size: int) -> None:
        self.world, self.size = world, size
        self.n, self.rank = world.size, world.rank

    @cached_property
    def x(self) -> Floats:
        """The input; in the loops, the gradient."""
        return filled(np.empty(self.size, np.float32), self.rank)

    @cached_property
    def out(self) -> Floats:
        """Where peers write their result; in the loops, the iterate."""
        return np.ones(self.size, np.float32)

    @cached_property
    def received(self) -> list[Floats]:
        """Where peers receive: one for each neighbour of the densest graph."""
        degree = max(STATIC.schedule(self.n).degree, RING.schedule(self.n).degree)
        return [filled(np.empty(self.size, np.float32), j) for j in range(degree)]

    @cached_property
    def private(self) -> torch.Tensor:
        """The input as a torch tensor."""
        return _tensor(self.x)

    @cached_property
    def shared(self) -> torch.Tensor:
        """The input in ifog's shared memory."""
        import ifog

        shared: torch.Tensor = ifog.empty((self.size,), dtype=self.private.dtype)
        return shared.copy_(self.private)

    @cached_property
    def parts(self) -> list[torch.Tensor]:
        """The input in pieces."""
        return [_tensor(part) for part in pieces(self.x)]

    @cached_property
    def shared_parts(self) -> list[torch.Tensor]:
        """The same in ifog's shared memory: views of one tensor, as the parameters of a model can be."""
        return [*self.shared.tensor_split(PARTS)]


def pattern(rank: int, index: NDArray[np.int64]) -> Floats:
    """A rank's numbers in these places: every rank can work out those of every other."""
    return ((index % PERIOD * 37 + rank * 101) % 211 / 211 - 0.5).astype(np.float32)


def filled(array: Floats, rank: int) -> Floats:
    """The array with the rank's numbers in it."""
    period = pattern(rank, np.arange(PERIOD))
    whole = array.size // PERIOD * PERIOD
    array[:whole].reshape(-1, PERIOD)[:] = period
    array[whole:] = period[: array.size - whole]
    return array


def pieces(array: Floats) -> list[Floats]:
    """The array's views as a model's parameters."""
    return np.array_split(array, PARTS)


def _tensor(array: Floats) -> torch.Tensor:
    import torch

    return torch.from_numpy(array)


# ---- ifog --------------------------------------------------------------------------------------------------------------


@row(STATIC, SHARED, STATIC, True)
@row(STATIC, COPIED, STATIC, False)
@row(ONE_PEER, SHARED, ONE_PEER, True)
@row(ONE_PEER, COPIED, ONE_PEER, False)
@row(RING, SHARED, RING, True)
@row(RING, COPIED, RING, False)
def ifog_mixing(bench: Bench, operation: Operation, shared: bool) -> Work:
    """A tensor averaged with the neighbours'."""
    import ifog

    x = bench.shared if shared else bench.private
    return Work(lambda: ifog.neighbor_allreduce(x), _topology(bench, operation))


@row(ALLREDUCE, SHARED, True)
@row(ALLREDUCE, COPIED, False)
def ifog_allreduce(bench: Bench, shared: bool) -> Work:
    """The mean over all ranks."""
    import ifog

    x = bench.shared if shared else bench.private
    return Work(lambda: ifog.allreduce(x))


@row(FUSED, SHARED, True)
@row(FUSED, COPIED, False)
def ifog_fused(bench: Bench, shared: bool) -> Work:
    """Many tensors in one call."""
    import ifog

    parts = bench.shared_parts if shared else bench.parts
    return Work(lambda: ifog.neighbor_allreduce(parts), _topology(bench, FUSED))


@row(NONBLOCKING, SHARED, True)
@row(NONBLOCKING, COPIED, False)
def ifog_nonblocking(bench: Bench, shared: bool) -> Work:
    """A call that returns at once, and a wait."""
    import ifog

    x = bench.shared if shared else bench.private
    return Work(lambda: ifog.neighbor_allreduce_nonblocking(x).wait(), _topology(bench, NONBLOCKING))


@row(IN_PLACE, RESULT, True)
@row(LOOP, RESULT, False)
def ifog_loop(bench: Bench, in_place: bool) -> Work:
    """What a user writes: a step along the gradient, and an averaging."""
    import ifog

    g = bench.private
    choose = _topology(bench, LOOP)
    x = g

    def start() -> None:
        nonlocal x
        choose()
        x = ifog.empty((bench.size,), dtype=g.dtype).copy_(g)

    def descend_in_place() -> Any:
        nonlocal x
        x -= LR * g
        x = ifog.neighbor_allreduce(x)
        return x

    def descend() -> Any:
        nonlocal x
        x = ifog.neighbor_allreduce(x - LR * g)
        return x

    def stop() -> None:
        nonlocal x
        x = g

    return Work(descend_in_place if in_place else descend, start, stop)


def _topology(bench: Bench, operation: Operation) -> Callable[[], object]:
    """What makes it the topology in force, at its first round."""
    import ifog

    schedule = operation.schedule(bench.n)
    return lambda: ifog.set_topology(schedule)


# ---- peers -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Neighbours:
    """Whom a rank hears from and talks to in a round; all weights are the same, as in all the graphs measured here."""

    sources: tuple[int, ...]
    targets: tuple[int, ...]
    weight: float


def neighbours(operation: Operation, n: int, rank: int) -> list[Neighbours]:
    """One for each round of the period."""
    rounds = []
    schedule = operation.schedule(n)
    for k in range(schedule.period or 1):
        W = schedule[k].W
        sources, targets = ([int(j) for j in np.flatnonzero(line) if j != rank] for line in (W[rank], W[:, rank]))
        weight = float(W[rank, rank])
        if not np.allclose(W[W != 0], weight):
            raise ValueError(f"{operation.name}: its weights differ, so that summing and scaling would be wrong")
        rounds.append(Neighbours(tuple(sources), tuple(targets), weight))
    return rounds


Mix = Callable[[Floats, Floats], Floats]


def mixing(bench: Bench, operation: Operation) -> tuple[Mix, Callable[[], None]]:
    """Averaging by raw mpi4py, and what makes it begin at the first round again: post everything, wait, add up, scale once."""
    from mpi4py import MPI

    world, waitall = bench.world, MPI.Request.Waitall
    rounds = [
        (list(zip(bench.received, now.sources, strict=False)), now.targets, now.weight)
        for now in neighbours(operation, bench.n, bench.rank)
    ]
    turns = itertools.cycle(rounds)

    def mix(x: Floats, out: Floats) -> Floats:
        sources, targets, weight = next(turns)
        requests = [world.Irecv(buffer, j) for buffer, j in sources]
        requests += [world.Isend(x, j) for j in targets]
        waitall(requests)
        total = x
        for buffer, _ in sources:
            total = np.add(total, buffer, out)
        return np.multiply(total, weight, out)

    def rewind() -> None:
        nonlocal turns
        turns = itertools.cycle(rounds)

    return mix, rewind


@row(STATIC, MPI4PY, STATIC)
@row(ONE_PEER, MPI4PY, ONE_PEER)
@row(RING, MPI4PY, RING)
def mpi_mixing(bench: Bench, operation: Operation) -> Work:
    """A message to and from each neighbour."""
    mix, rewind = mixing(bench, operation)
    x, out = bench.x, bench.out
    return Work(lambda: mix(x, out), rewind)


@row(FUSED, MPI4PY)
def mpi_fused(bench: Bench) -> Work:
    """A message for each tensor and neighbour, all under way together."""
    from mpi4py import MPI

    world, waitall = bench.world, MPI.Request.Waitall
    (now,) = neighbours(FUSED, bench.n, bench.rank)
    x, out = pieces(bench.x), pieces(bench.out)
    received = [pieces(buffer) for buffer, _ in zip(bench.received, now.sources, strict=False)]

    def step() -> list[Floats]:
        requests = [world.Irecv(part, j) for parts, j in zip(received, now.sources, strict=True) for part in parts]
        requests += [world.Isend(part, j) for j in now.targets for part in x]
        waitall(requests)
        for mine, written, *others in zip(x, out, *received, strict=True):
            total = mine
            for other in others:
                total = np.add(total, other, written)
            np.multiply(total, now.weight, written)
        return out

    return Work(step)


@row(ALLREDUCE, MPI4PY)
def mpi_allreduce(bench: Bench) -> Work:
    """The library's own."""
    x, out, world = bench.x, bench.out, bench.world

    def step() -> Floats:
        world.Allreduce(x, out)
        return out

    return Work(step, factor=bench.n)


@row(IN_PLACE, MPI4PY, True)
@row(LOOP, MPI4PY, False)
def mpi_loop(bench: Bench, in_place: bool) -> Work:
    """The loop of `ifog_loop`: the same expressions in torch, the averaging by raw mpi4py."""
    mix, _ = mixing(bench, LOOP)
    g, x = bench.private, _tensor(bench.out)

    def descend_in_place() -> torch.Tensor:
        nonlocal x
        x -= LR * g
        mix(x.numpy(), x.numpy())
        return x

    def descend() -> torch.Tensor:
        mix((x - LR * g).numpy(), x.numpy())
        return x

    return Work(descend_in_place if in_place else descend, lambda: x.copy_(g))


def gloo(world: Any) -> Any:
    """torch.distributed, talking among these ranks over gloo."""
    import torch.distributed as dist

    if dist.is_initialized():
        return dist
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo" if sys.platform == "linux" else "lo0")  # the ranks share a machine
    dist.init_process_group(
        "gloo",
        init_method=f"file://{os.environ['BENCHMARK_STORE']}",
        rank=world.rank,
        world_size=world.size,
        timeout=datetime.timedelta(seconds=PATIENCE),
    )
    return dist


@row(STATIC, GLOO, STATIC)
@row(ONE_PEER, GLOO, ONE_PEER)
def gloo_mixing(bench: Bench, operation: Operation) -> Work:
    """A message to and from each neighbour."""
    dist = gloo(bench.world)
    rounds = neighbours(operation, bench.n, bench.rank)
    turns = itertools.cycle(rounds)
    x, out = bench.private, _tensor(bench.out)
    buffers = [_tensor(buffer) for buffer in bench.received]

    def start() -> None:
        nonlocal turns
        turns = itertools.cycle(rounds)

    def step() -> torch.Tensor:
        now = next(turns)
        received = buffers[: len(now.sources)]
        messages = [dist.P2POp(dist.irecv, buffer, j) for buffer, j in zip(received, now.sources, strict=True)]
        messages += [dist.P2POp(dist.isend, x, j) for j in now.targets]
        for request in dist.batch_isend_irecv(messages):
            request.wait()
        _add(x, received[0], out)
        for buffer in received[1:]:
            out.add_(buffer)
        return out.mul_(now.weight)

    return Work(step, start)


def _add(x: torch.Tensor, y: torch.Tensor, out: torch.Tensor) -> None:
    import torch

    torch.add(x, y, out=out)


@row(ALLREDUCE, GLOO)
def gloo_allreduce(bench: Bench) -> Work:
    """In place: summing sums of sums soon gives infinity, which takes no longer than any other number."""
    dist = gloo(bench.world)
    x, out = bench.private, _tensor(bench.out)

    def step() -> torch.Tensor:
        dist.all_reduce(out)
        return out

    return Work(step, lambda: out.copy_(x), factor=bench.n)


# ---- what the memory allows --------------------------------------------------------------------------------------------


@row(STATIC, FLOOR, STATIC)
@row(ONE_PEER, FLOOR, ONE_PEER)
@row(RING, FLOOR, RING)
def floor_mixing(bench: Bench, operation: Operation) -> Work:
    """Read as many tensors as an averaging must, and write one."""
    from ifog.comm.arithmetic import weighted_sum

    now = neighbours(operation, bench.n, bench.rank)[0]
    arrays = [bench.x, *bench.received[: len(now.sources)]]
    terms, out = [_tensor(array) for array in arrays], _tensor(bench.out)
    weights = [now.weight] * len(terms)

    def step() -> torch.Tensor:
        weighted_sum(out, terms, weights)
        return out

    return Work(step, expected=lambda index: now.weight * sum(array[index].astype(float) for array in arrays))


@row(ALLREDUCE, FLOOR)
def floor_allreduce(bench: Bench) -> Work:
    """Average one n-th of n tensors, and write it to n: the least that a rank must do."""
    from ifog.comm.arithmetic import weighted_sum

    part = bench.size // bench.n
    x, out = bench.private[: part * bench.n].view(bench.n, part), _tensor(bench.out)[: part * bench.n].view(bench.n, part)
    terms, weights = list(x), [1 / bench.n] * bench.n

    def step() -> torch.Tensor:
        weighted_sum(out[0], terms, weights)
        out[1:] = out[0]
        return out

    return Work(step, expected=lambda index: x.numpy().mean(0, dtype=float)[index % part])


@row(TRIAD, TORCH)
def triad(bench: Bench) -> Work:
    """STREAM's measure of memory, on all ranks at once: 12 bytes for each number."""
    import torch

    b, c, out = bench.private, _tensor(bench.received[0]), _tensor(bench.out)
    return Work(
        lambda: torch.add(b, c, alpha=3.0, out=out),
        expected=lambda index: bench.x[index] + 3.0 * bench.received[0][index].astype(float),
    )


# ---- on the ranks ------------------------------------------------------------------------------------------------------


class WrongResultError(Exception):
    """A method did not return W x."""


# what a peer raises that is not there, or not there yet: said in the table, and the others go on
MISSING = (ImportError, AttributeError, NotImplementedError, RuntimeError, OSError, IfogError, WrongResultError)


def worker(folder: Path) -> None:
    """Measure on this rank; rank 0 tells the parent, line by line."""
    import torch
    from mpi4py import MPI

    torch.set_num_threads(1)
    plan = json.loads((folder / "plan.json").read_text())
    world = MPI.COMM_WORLD.Dup()
    os.environ["BENCHMARK_STORE"] = str(folder / "store")
    with (folder / "said.jsonl").open("a") as file:

        def say(**what: Any) -> None:
            if world.rank == 0:
                print(json.dumps(what), file=file, flush=True)

        say(event="library", name=" ".join(map(str, MPI.get_vendor())), text=MPI.Get_library_version().splitlines()[0])
        match plan["what"]:
            case "memory":
                memory(world, max(plan["sizes"]), say)
            case "overlap":
                for size in FAR_SIZES:
                    overlap(world, size, 3 * plan["rounds"], say)
            case "lateness":
                lateness(world, plan["rounds"], say)
            case _:
                for size in sorted(plan["sizes"]):
                    measure(world, size, plan["seconds"], rounds_for(size, plan["rounds"]), say)
    meet(world)


def rounds_for(size: int, rounds: int) -> int:
    """Fewer of the large ones."""
    return rounds if size < LARGE else max(3, rounds * 2 // 3 if size < HUGE else rounds // 3)


def measure(world: Any, size: int, seconds: float, rounds: int, say: Callable[..., None]) -> None:
    """All methods at one size: first each is checked, then they take turns."""
    bench = Bench(world, size)
    works: dict[int, Work] = {}
    errors: dict[int, float] = {}
    often: dict[int, int] = {}
    for place, line in enumerate(ROWS):
        about = {"operation": line.operation.name, "method": line.method, "size": size}
        say(event="at", text=f"{size:,} numbers: checking {line.operation.name}, {line.method}")
        why = ""
        try:
            work = line.prepare(bench)
            errors[place] = check(bench, line, work)
        except MISSING as error:
            why = f"{type(error).__name__}: {error}"
        reasons = [f"rank {rank}: {reason}" for rank, reason in enumerate(world.allgather(why)) if reason]
        if reasons:
            say(event="missing", why=reasons[0], **about)
            continue
        works[place] = work
        begin, end = turn(world, work, WARM, 1)
        estimate = world.allreduce(end, _max()) - world.allreduce(begin, _min())
        often[place] = int(min(max(seconds / estimate, 2), 2000))
    gc.collect()

    times: dict[int, list[tuple[float, float]]] = {place: [] for place in works}
    for k in range(rounds):
        order = list(works)
        random.Random(k).shuffle(order)  # the same on every rank, and nobody always comes after the same one
        for place in order:
            line = ROWS[place]
            warm = max(WARM, line.operation.schedule(bench.n).period or 1)
            say(event="at", text=f"{size:,} numbers: round {k + 1} of {rounds}, {line.operation.name}, {line.method}")
            times[place].append(turn(world, works[place], warm, often[place]))
    for place, mine in times.items():
        begins, ends = np.array(world.allgather(mine)).transpose(2, 0, 1)
        line = ROWS[place]
        say(
            event="row",
            operation=line.operation.name,
            method=line.method,
            size=size,
            iterations=often[place],
            error=max(world.allgather(errors[place])),
            seconds=((ends.max(0) - begins.min(0)) / often[place]).tolist(),
        )


def _max() -> Any:
    from mpi4py import MPI

    return MPI.MAX


def _min() -> Any:
    from mpi4py import MPI

    return MPI.MIN


def turn(world: Any, work: Work, warm: int, iterations: int) -> tuple[float, float]:
    """When this rank began and when it ended."""
    work.start()
    for _ in range(warm):
        result = work.step()
    meet(world)
    begin = time.perf_counter()
    for _ in range(iterations):
        result = work.step()  # the last result is held while the next is made, as in `y = f(x)`
    end = time.perf_counter()
    del result
    work.stop()
    meet(world)
    return begin, end


def meet(world: Any) -> None:
    """A barrier that leaves the processors to the ranks that are still at work."""
    request = world.Ibarrier()
    while not request.Test():
        time.sleep(2e-5)


def check(bench: Bench, line: Row, work: Work) -> float:
    """The largest error of the first rounds' results."""
    operation = line.operation
    schedule = operation.schedule(bench.n)
    if bench.size > 1_000_000:
        few = np.random.default_rng(0).integers(bench.size, size=10_000)
        index = np.unique(np.concatenate([few, [0, 1, bench.size - 2, bench.size - 1]]))
    else:
        index = np.arange(bench.size)
    X = np.array([pattern(j, index) for j in range(bench.n)], float)
    G = X  # in the loops
    worst = 0.0
    work.start()
    for k in range(max(schedule.period or 1, 2 if operation.loop else 1)):
        W = schedule[k].W
        result = work.step()
        flat = np.concatenate([np.asarray(part).ravel() for part in result] if isinstance(result, list) else [result])
        flat = flat.ravel()
        if work.expected is not None:
            index = index[index < flat.size]
            expected = work.expected(index)
        else:
            Y = W @ (X - LR * G if operation.loop else X)
            expected = work.factor * Y[bench.rank]
            X = Y if operation.loop else X
        error = float(np.abs(flat[index] - expected).max() / work.factor)
        if not error < 1e-5:
            raise WrongResultError(f"round {k} is wrong by {error:.3g}")
        worst = max(worst, error)
        del result, flat
    work.stop()
    return worst


def memory(world: Any, size: int, say: Callable[..., None]) -> None:
    """What `ifog.neighbor_allreduce` keeps beside the tensors that the user holds, in tensors a rank."""
    import ifog

    say(event="at", text=f"{size:,} numbers: memory")
    try:
        ifog.set_topology(STATIC.schedule(world.size))
        small = np.zeros(100, np.float32)
        ifog.neighbor_allreduce(_tensor(small))
        bench = Bench(world, size)
        x = bench.private
        used(world)  # reading it takes memory as well, the first time
        before = used(world)

        z = x
        for _ in range(6):
            z = ifog.neighbor_allreduce(z)
        loop = (used(world) - before) / (world.size * x.nbytes) - 1  # the user holds z
        del z
        y = x
        for _ in range(6):
            y = ifog.neighbor_allreduce(x)
        private = (used(world) - before) / (world.size * x.nbytes) - 1  # the user holds y
        del y
        say(event="memory", size=size, loop=loop, private=private)
    except (*MISSING, FileNotFoundError) as error:
        say(event="missing", operation="memory", method=RESULT, size=size, why=f"{type(error).__name__}: {error}")


def used(world: Any) -> int:
    """Bytes of memory that the ranks use together. Shared pages count once: each rank counts its share (Pss)."""
    gc.collect()
    meet(world)
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    mine = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    total = int(world.allreduce(mine))
    meet(world)
    return total


# ---- between machines --------------------------------------------------------------------------------------------------


def overlap(world: Any, size: int, rounds: int, say: Callable[..., None]) -> None:
    """A non-blocking averaging, something else that takes as long, and both at once; in turns, like the methods."""
    import torch

    import ifog

    bench = Bench(world, size)
    ifog.set_topology(RING.schedule(world.size))
    A, out = torch.ones(64, 64), torch.empty(64, 64)
    x = bench.shared

    def talk() -> None:
        ifog.neighbor_allreduce_nonblocking(x).wait()

    def multiply(often: int = 100) -> None:
        for _ in range(often):
            torch.mm(A, A, out=out)

    alone = median(_together(world, talk) for _ in range(WARM + rounds))
    often = math.ceil(100 * alone / median(_together(world, multiply) for _ in range(WARM + rounds)))
    works: dict[str, Callable[[], object]] = {
        "multiplying matrices": lambda: multiply(often),
        "sleeping, as while a GPU works": lambda: time.sleep(alone),
    }
    for name, work in works.items():
        say(event="at", text=f"{size:,} numbers: overlap with {name}")

        starts: list[float] = []

        def both(work: Callable[[], object] = work, starts: list[float] = starts) -> None:
            begin = time.perf_counter()
            handle = ifog.neighbor_allreduce_nonblocking(x)
            starts.append(time.perf_counter() - begin)
            work()
            handle.wait()

        seconds = [[_together(world, step) for step in (talk, work, both)] for _ in range(WARM + rounds)][WARM:]
        say(event="overlap", meanwhile=name, size=size, seconds=seconds, start=world.allreduce(median(starts), _max()))


def _together(world: Any, step: Callable[[], object]) -> float:
    """How long all ranks take to do it, from the first one's beginning to the last one's end."""
    meet(world)
    begin = time.perf_counter()
    step()
    end = time.perf_counter()
    meet(world)
    return float(world.allreduce(end, _max()) - world.allreduce(begin, _min()))


HOLD = 1.0  # seconds for which a C function keeps Python's lock


def lateness(world: Any, rounds: int, say: Callable[..., None]) -> None:
    """How long a put takes until it is in the memory of a rank that does something else; `put` returns just then."""
    import ctypes

    import torch

    import ifog

    keeping, A = ctypes.PyDLL(None), torch.ones(500, 500)

    def hold() -> None:
        keeping.usleep(int(HOLD * 1e6))
        time.sleep(HOLD / 4)

    busy: dict[str, Callable[[], object]] = {
        "sleeps": lambda: time.sleep(0.01),
        "multiplies matrices in torch": lambda: torch.mm(A, A),
        "runs a loop in Python": lambda: sum(i for i in range(1000)),
        f"is in C functions that keep Python's lock for {HOLD:g} s": hold,
    }
    ifog.set_topology(t.complete(world.size))
    pause = random.Random(0)
    for name, work in busy.items():
        say(event="at", text=f"lateness when the target {name}")
        seconds: list[float] = []
        with ifog.Window(torch.zeros(10)) as w:
            w.put()
            meet(world)
            # between two puts, so that they come at any moment of what the target does
            longest = HOLD if work is hold else 0.03
            until = time.monotonic() + 1.5 * rounds * longest
            while world.rank > 0 and time.monotonic() < until:
                work()
            while world.rank == 0:
                time.sleep(pause.uniform(0.0, longest))
                begin = time.monotonic()
                w.put()
                if time.monotonic() > until:
                    break
                seconds.append(time.monotonic() - begin)
            meet(world)
        say(event="lateness", target=name, seconds=seconds)


# ---- collect -----------------------------------------------------------------------------------------------------------


@dataclass
class Result:
    """What was measured of a row at one size."""

    operation: str
    method: str
    size: int
    iterations: int
    """How often it ran in each turn."""
    error: float
    """The largest difference from W x."""
    seconds: list[float]
    """For each round, the time of one run."""

    @property
    def median(self) -> float:
        """The number that counts."""
        return median(self.seconds)


@dataclass
class World:
    """What one number of ranks said."""

    n: int
    library: str = ""
    results: list[Result] = field(default_factory=list)
    memory: dict[str, float] = field(default_factory=dict)
    overlap: list[dict[str, Any]] = field(default_factory=list)
    """For each round, the seconds of the call, of the work, and of both; and how long the call's start takes."""
    lateness: list[dict[str, Any]] = field(default_factory=list)
    missing: list[dict[str, Any]] = field(default_factory=list)
    problem: str = ""
    """Why it ended early."""
    others: float | None = None
    """The part of the processors' time that went to other people's processes meanwhile."""

    def find(self, operation: str, method: str, size: int) -> float | None:
        """The median, if it was measured."""
        for result in self.results:
            if (result.operation, result.method, result.size) == (operation, method, size):
                return result.median
        return None

    def hear(self, said: dict[str, Any], report: Callable[[str], None]) -> None:
        """Take up a line of rank 0."""
        match said.pop("event"):
            case "at":
                report(said["text"])
            case "library":
                self.library = f"{said['name']}; {said['text']}"
            case "row":
                self.results.append(Result(**said))
            case "memory":
                self.memory = said
            case "overlap":
                self.overlap.append({**said, **hidden(said["seconds"])})
            case "lateness":
                self.lateness.append({**said, "median": median(said["seconds"] or [math.nan])})
            case "missing":
                self.missing.append(said)


def hidden(rounds: Sequence[Sequence[float]]) -> dict[str, float]:
    """Medians, and what part of the shorter one the longer one hides: 1 all, 0 none, below 0 they hinder each other."""
    talk, work, both = (median(seconds) for seconds in zip(*rounds, strict=True))
    return {"talk": talk, "work": work, "both": both, "overlap": (talk + work - both) / min(talk, work)}


def launch(mpi: MPI, world: World, plan: Mapping[str, Any], report: Callable[[str], None], patience: float) -> None:
    """Run a world to its end, or until it says nothing for too long, and hear what it says."""
    with tempfile.TemporaryDirectory(prefix="ifog-benchmark-") as name, (Path(name) / "errors").open("w+") as errors:
        folder = Path(name)
        (folder / "plan.json").write_text(json.dumps(plan))
        (folder / "said.jsonl").touch()
        # `-m mpi4py` ends all ranks when one of them fails; alone, the others would wait for it
        command = mpi.command(world.n, "-m", "mpi4py", "-m", "benchmarks.comm", "--worker", str(folder))
        process = subprocess.Popen(
            command,
            env={
                **mpi.environment(),
                "OMP_NUM_THREADS": "1",
                **({"IFOG_NODES_PER_MACHINE": "1"} if plan["what"] in ("overlap", "lateness") else {}),
            },
            cwd=Path(__file__).parents[1],
            stdout=errors,
            stderr=errors,
            start_new_session=True,  # Ctrl-C is for the parent, which ends the ranks
        )
        heard, at = time.monotonic(), "starting"
        busy, idle = _processors()
        try:
            with (folder / "said.jsonl").open() as file:
                rest = ""
                while True:
                    over = process.poll() is not None
                    rest += file.read()
                    *lines, rest = rest.split("\n")
                    for line in lines:
                        heard = time.monotonic()
                        said = json.loads(line)
                        at = said["text"] if said["event"] == "at" else at
                        world.hear(said, lambda text: report(f"{world.n} ranks, {text}"))
                    if over:
                        break
                    if time.monotonic() - heard > patience:
                        world.problem = f"no news for {patience:g} s, so it was ended, at: {at}"
                        break
                    time.sleep(0.1)
        finally:
            end(process)
        now_busy, now_idle = _processors()
        if now_busy > busy:
            world.others = max(0.0, (now_busy - busy) / (now_busy - busy + now_idle - idle))
        if process.returncode and not world.problem:
            errors.seek(0)
            said_last = "\n".join(errors.read().strip().splitlines()[-12:])
            world.problem = f"it ended with code {process.returncode}, at: {at}\n{said_last}"


def _processors() -> tuple[float, float]:
    """Seconds since the machine started in which its processors worked for others than us, and all the rest of them."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return 0.0, 0.0
    user, nice, system, idle, waiting, *interrupts = (int(word) for word in stat.read_text().split("\n")[0].split()[1:9])
    tick = os.sysconf("SC_CLK_TCK")
    ours = sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return (user + nice + system + sum(interrupts)) / tick - ours, (idle + waiting) / tick + ours


def end(process: subprocess.Popen[bytes]) -> None:
    """End a launcher and its ranks: it passes a polite request on to them, and nobody outlives the second one."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


# ---- judge -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Goal:
    """What we want, and what was found on the largest number of ranks."""

    text: str
    size: int
    needed: float
    measured: float
    at_most: bool = False

    @property
    def met(self) -> bool:
        """Whether it is reached."""
        return self.measured <= self.needed if self.at_most else self.measured >= self.needed


def goals(world: World) -> Iterator[Goal]:
    """The goals that the sizes measured allow to judge. Ratios of medians; 2 means twice as fast."""
    sizes = sorted({result.size for result in world.results})

    def against(size: int, operation: Operation, method: str, other: Operation, peer: str, needed: float) -> Iterator[Goal]:
        ours, theirs = world.find(operation.name, method, size), world.find(other.name, peer, size)
        if ours is not None and theirs is not None:
            beside = peer if other is operation else "MPI_Allreduce"
            yield Goal(f"{method}: {operation.name} / {beside}", size, needed, theirs / ours)

    for size in sizes:
        if size <= SMALL:
            for operation in (STATIC, ONE_PEER, RING):
                yield from against(size, operation, SHARED, operation, MPI4PY, 1.0)
        if size >= LARGE:
            yield from against(size, STATIC, SHARED, STATIC, MPI4PY, 2.0)
            yield from against(size, STATIC, SHARED, STATIC, GLOO, 3.0)
            yield from against(size, ONE_PEER, SHARED, ALLREDUCE, MPI4PY, 2.5)
            for operation in (STATIC, ONE_PEER):
                ours, floor = (world.find(operation.name, method, size) for method in (SHARED, FLOOR))
                if ours is not None and floor is not None:
                    yield Goal(f"{SHARED}: {operation.name}, time / floor", size, 1.5, ours / floor, at_most=True)
        for operation in (STATIC, ONE_PEER, RING):
            needed = 2.0 if size >= HUGE and operation is STATIC else 1.0
            yield from against(size, operation, COPIED, operation, MPI4PY, needed)
    for how in ("loop", "private"):
        if how in world.memory and world.memory["size"] >= LARGE:  # of less, the tables are most
            what = "x = neighbor_allreduce(x)" if how == "loop" else "y = neighbor_allreduce(x), x private"
            kept = round(world.memory[how], 1)  # tables and a few pages more or less do not count
            yield Goal(f"kept beside {what}, in tensors", int(world.memory["size"]), 2.0, kept, at_most=True)


def judged(worlds: Sequence[World]) -> tuple[int, list[Goal]]:
    """The largest number of ranks with results, and the goals there."""
    return next(((world.n, list(goals(world))) for world in reversed(worlds) if world.results), (0, []))


def bandwidth(world: World, size: int) -> dict[str, float]:
    """GB/s of all ranks together, counted as STREAM does: without what the cache fetches before it overwrites."""
    found = {}
    degree = neighbours(STATIC, world.n, 0)[0].sources
    for operation, method, tensors in ((TRIAD, TORCH, 3), (STATIC, FLOOR, len(degree) + 2)):
        seconds = world.find(operation.name, method, size)
        if seconds is not None:
            found[f"{method}, {tensors} tensors"] = tensors * 4 * size * world.n / seconds / 1e9
    return found


def spread(world: World, size: int) -> float:
    """How far the middle half of the rounds lies apart, in the typical row, as a part of the median."""
    wide = [np.subtract(*np.percentile(r.seconds, [75, 25])) / r.median for r in world.results if r.size == size]
    return float(median(wide)) if wide else math.nan


# ---- show --------------------------------------------------------------------------------------------------------------


def table(world: World) -> Table:
    """The terminal's table of one number of ranks."""
    sizes = sorted({result.size for result in world.results})
    shown = Table(title=f"{world.n} ranks", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    shown.caption = (
        "milliseconds, medians of the rounds; ×: how many times faster than mpi4py\n"
        "the middle half of the rounds: " + ", ".join(f"±{spread(world, size) / 2:.0%} at {size:,}" for size in sizes)
    )
    shown.caption_justify = "left"
    shown.add_column("", no_wrap=True)
    for size in sizes:
        shown.add_column(f"{size:,}", justify="right", no_wrap=True)
        shown.add_column("×", justify="right", no_wrap=True)
    for operation in OPERATIONS:
        rows = [line for line in ROWS if line.operation is operation]
        shown.add_row(f"[bold]{escape(operation.name)}[/bold]")
        for place, line in enumerate(sorted(rows, key=lambda line: [*METHODS, TORCH].index(line.method))):
            cells = []
            for size in sizes:
                ours = world.find(operation.name, line.method, size)
                theirs = world.find(operation.beside or operation.name, MPI4PY, size)
                cells += [_milliseconds(ours), "" if ours is None or theirs is None else f"{theirs / ours:.2f}"]
            shown.add_row(f"  {line.method}", *cells, end_section=place == len(rows) - 1)
    return shown


def _milliseconds(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    milliseconds = seconds * 1e3
    return f"{milliseconds:.{max(0, 2 - math.floor(math.log10(milliseconds)))}f}"  # three digits


def far_tables(world: World) -> Iterator[Table]:
    """What was measured between machines."""
    if world.overlap:
        shown = Table(title="A non-blocking averaging between two machines, and something else meanwhile")
        shown.box, shown.show_edge, shown.padding = SIMPLE_HEAD, False, (0, 1, 0, 0)
        shown.caption = (
            "milliseconds, medians; start: until the call returns, which moves what it can\n"
            "overlap: the part of the shorter of the two that the longer one hides"
        )
        shown.caption_justify = "left"
        for title in ("meanwhile", "numbers", "start", "averaging", "the other", "both", "overlap"):
            shown.add_column(title, justify="left" if title == "meanwhile" else "right", no_wrap=True)
        for line in world.overlap:
            times = [_milliseconds(line[what]) for what in ("start", "talk", "work", "both")]
            shown.add_row(line["meanwhile"], f"{line['size']:,}", *times, f"{line['overlap']:.0%}")
        yield shown
    if world.lateness:
        shown = Table(title="A put to another machine, until it is in the target's memory")
        shown.box, shown.show_edge, shown.padding = SIMPLE_HEAD, False, (0, 1, 0, 0)
        shown.caption, shown.caption_justify = "milliseconds", "left"
        for title in ("the target", "puts", "median", "worst"):
            shown.add_column(title, justify="left" if title == "the target" else "right", no_wrap=True)
        for line in world.lateness:
            seconds = line["seconds"]
            times = [_milliseconds(line["median"] if seconds else None), _milliseconds(max(seconds, default=None))]
            shown.add_row(line["target"], str(len(seconds)), *times)
        yield shown


def verdict(found: Sequence[Goal], n: int) -> Table:
    """Which goals are met."""
    shown = Table(title=f"Goals, on {n} ranks", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for title in ("", "numbers", "goal", "measured", "met"):
        shown.add_column(title, justify="left" if title in ("", "met") else "right", no_wrap=True)
    for goal in found:
        needed = f"{'≤' if goal.at_most else '≥'} {goal.needed:g}"
        colour = "green" if goal.met else "red"
        met = f"[{colour}]{'yes' if goal.met else 'no'}[/{colour}]"
        shown.add_row(goal.text, f"{goal.size:,}", needed, f"{goal.measured:.2f}", met)
    return shown


def figure(worlds: Sequence[World]) -> go.Figure:
    """A column for each number of ranks, a row for each operation: how many times faster than raw mpi4py, over the size."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    operations = [operation for operation in OPERATIONS if operation is not TRIAD]
    titles = [f"{operation.name}, {world.n} ranks" for operation in operations for world in worlds]
    drawn = make_subplots(
        len(operations), len(worlds), subplot_titles=titles, shared_xaxes="all", shared_yaxes="all", vertical_spacing=0.03
    )
    named: set[str] = set()
    for (at, operation), (column, world) in itertools.product(enumerate(operations, 1), enumerate(worlds, 1)):
        for method, colour in COLOURS.items():
            rows = sorted((r for r in world.results if (r.operation, r.method) == (operation.name, method)), key=_size)
            points = [(r, peer) for r in rows if (peer := world.find(operation.beside or r.operation, MPI4PY, r.size))]
            if not points:
                continue
            low, middle, high = ([peer / np.percentile(r.seconds, q) for r, peer in points] for q in (75, 50, 25))
            curve = go.Scatter(
                x=[r.size for r, _ in points],
                y=middle,
                error_y={"array": np.subtract(high, middle), "arrayminus": np.subtract(middle, low), "thickness": 1},
                customdata=[r.median * 1e3 for r, _ in points],
                name=method,
                legendgroup=method,
                showlegend=method not in named,
                mode="lines+markers",
                line={"color": colour, "dash": "dot" if method == FLOOR else "solid"},
                hovertemplate=f"{method}: %{{customdata:.3g}} ms, %{{y:.2f}} ×<extra></extra>",
            )
            named.add(method)
            drawn.add_trace(curve, row=at, col=column)
    drawn.update_xaxes(type="log", exponentformat="power", dtick=1)
    drawn.update_yaxes(type="log", tickvals=[0.01, 0.1, 0.5, 1, 2, 5, 10, 50])
    drawn.update_xaxes(title="float32 numbers", row=len(operations))
    drawn.update_yaxes(title="× faster", col=1)
    drawn.update_layout(
        title="Averaging on one machine, beside raw mpi4py: medians, with the middle half of the rounds",
        height=260 * len(operations) + 160,
        template="plotly_white",
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"},
        margin={"t": 150},
        hovermode="x",
    )
    return drawn


def _size(result: Result) -> int:
    return result.size


def machine() -> dict[str, Any]:
    """Where and with what it was measured."""
    return {
        "when": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load": os.getloadavg()[0],
        "system": platform.platform(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("ifog", "mpi4py", "numpy", "torch")},
    }


def save(worlds: Sequence[World], far: World, about: Mapping[str, Any], folder: Path) -> list[Path]:
    """The numbers and the picture."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers, curves = folder / "comm.json", folder / "comm.html"
    content = {
        "machine": about,
        "methods": METHODS,
        "worlds": [
            {
                "ranks": world.n,
                "library": world.library,
                "rows": [{**vars(result), "median": result.median} for result in world.results],
                "memory": world.memory,
                "bandwidth": {size: bandwidth(world, size) for size in sorted({r.size for r in world.results})},
                "others": world.others,
                "missing": world.missing,
                "problem": world.problem,
            }
            for world in worlds
        ],
        "between machines": {"overlap": far.overlap, "lateness": far.lateness, "others": far.others, "problem": far.problem},
        "goals": [{**vars(goal), "met": goal.met} for goal in judged(worlds)[1]],
    }
    numbers.write_text(json.dumps(content, indent=1), encoding="utf-8")
    if worlds:
        figure(worlds).write_html(curves, include_plotlyjs=True)
    return [numbers, curves][: 2 if worlds else 1]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.comm",
        description="Time to average tensors on one machine: ifog, raw mpi4py, gloo, and the memory's own speed.",
    )
    parser.add_argument("--quick", action="store_true", help="about a minute: 4 ranks, up to 3,200,000 numbers, few rounds")
    parser.add_argument("--ranks", type=int, nargs="+", metavar="N", help="numbers of ranks (default: 2 4 8, quick: 4)")
    parser.add_argument(
        "--sizes",
        type=float,
        nargs="+",
        metavar="SIZE",
        help="float32 numbers in a tensor (default: 1e2 1e5 3.2e6 25.5e6, quick: the first three)",
    )
    parser.add_argument("--rounds", type=int, help="turns of each method; fewer of the large tensors (default: 15, quick: 7)")
    parser.add_argument("--seconds", type=float, help="what a turn should take, at least (default: 0.06, quick: 0.02)")
    parser.add_argument("--overlap", action="store_true", help="only the overlap of a non-blocking call between machines")
    parser.add_argument("--lateness", action="store_true", help="only how late one-sided writes come to another machine")
    parser.add_argument("--mpi", metavar="NAME", help="'MPICH' or 'Open MPI' (default: the one that comes with ifog)")
    parser.add_argument("--prefix", type=Path, help="the folder of an MPI that is installed elsewhere, with bin/mpiexec in it")
    parser.add_argument(
        "--out", "--output", type=Path, default=Path("benchmarks/results"), metavar="FOLDER", help="(default: %(default)s)"
    )
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.worker:
        worker(given.worker)
        return
    only = given.overlap or given.lateness
    ranks = sorted(set(given.ranks or ((4,) if given.quick else RANKS)))
    sizes = sorted({int(size) for size in given.sizes or (SIZES[:3] if given.quick else SIZES)})
    if ranks[0] < 2 or sizes[0] < ranks[-1] + PARTS:
        parser.error(f"at least 2 ranks, and sizes of at least the number of ranks + {PARTS}")
    plan = {
        "sizes": sizes,
        "rounds": given.rounds or (7 if given.quick else 15),
        "seconds": given.seconds or (0.02 if given.quick else 0.06),
    }
    console = Console()
    if not console.is_terminal:
        console = Console(width=110)
    try:
        mpi = find(given.mpi, prefix=given.prefix)
    except SetupError as error:
        parser.error(str(error))

    about = {**machine(), "mpi": str(mpi), **plan}
    console.print(f"{mpi}; {about['cores']} cores, load {about['load']:.1f}", highlight=False)
    if about["load"] > about["cores"] / 2:
        console.print("Others use this machine: trust the ratios, and only if they are far from 1.")
    worlds: list[World] = []
    far, aspects = World(FAR), [what for what in ("overlap", "lateness") if getattr(given, what)]
    written: list[Path] = []
    try:
        for n in () if only else ranks:
            world = World(n)
            worlds.append(world)
            try:
                with console.status("") as status:
                    for what in ("memory", "methods"):
                        if not world.problem:
                            launch(mpi, world, {**plan, "what": what}, status.update, PATIENCE)
            finally:
                show(world, console)
                written = save(worlds, far, about, given.out)  # at once: the larger worlds take long
        try:
            with console.status("") as status:
                for what in aspects or (["overlap"] if given.quick else ["overlap", "lateness"]):
                    if not far.problem:
                        launch(mpi, far, {**plan, "what": what}, status.update, PATIENCE)
        finally:
            show(far, console)
            written = save(worlds, far, about, given.out)
    except KeyboardInterrupt:
        console.print("Stopped: that is what was measured until then.")
    n, found = judged(worlds)
    if found:
        console.print(verdict(found, n))
        console.print(f"{sum(goal.met for goal in found)} of {len(found)} goals are met.")
    for path in written:
        console.print(f"Written: {path}")
    if any(world.problem for world in (*worlds, far)):
        sys.exit(1)


def show(world: World, console: Console) -> None:
    """All that one number of ranks said."""
    if world.results:
        console.print(table(world))
        for size in sorted({r.size for r in world.results if r.size >= LARGE}):
            speeds = ", ".join(f"{speed:.1f} GB/s ({what})" for what, speed in bandwidth(world, size).items())
            console.print(f"  Memory bandwidth of all ranks together at {size:,}: {speeds}", highlight=False)
    for shown in far_tables(world):
        console.print(shown)
    reasons: dict[tuple[str, str], list[str]] = {}
    for missing in world.missing:
        operations = reasons.setdefault((missing["method"], missing["why"]), [])
        operations += [missing["operation"]] * (missing["operation"] not in operations)
    for (method, why), operations in reasons.items():
        console.print(f"  Not measured, {method} ({', '.join(operations)}): {escape(why)}", highlight=False)
    if world.others is not None:
        console.print(f"  Others had {world.others:.0%} of the processors' time meanwhile.", highlight=False)
    if world.problem:
        console.print(f"[red]{world.n} ranks: {escape(world.problem)}[/red]", highlight=False)


if __name__ == "__main__":
    main()
