"""What training together costs: an iteration with ifog's methods beside torch's DDP over gloo, and beside none at all.

Run from the repository root::

    python -m benchmarks.train              # ResNet-20 and ResNet-50 at 2, 4 and 8 ranks: some twenty minutes
    python -m benchmarks.train --quick      # ResNet-20 at 4 ranks: a minute or two

For each number of ranks one MPI world is started. In it all methods take turns, round after round, in an order that changes:
a model and its optimizer are made, a few iterations are made outside the clock, and then some are timed, from the moment the
first rank starts until the last one is done. What counts is the ratio to the iteration without communication of the same round,
and of these ratios the median: milliseconds depend on the machine, and on who else uses it. Each rank has one thread. With more
ranks than cores the ranks take turns on them, with communication and without.

The pictures are synthetic. ResNet-20 has 0.27 million parameters and batches of 32 pictures of 32 × 32, ResNet-50 25.6 million
and batches of 4; the optimizer is SGD with momentum.

The last table says how many buffers as large as all parameters a method takes at most, beyond what torch takes alone: in
torch's own memory and in what neighbours read.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from ifog.comm.mpi import find

if TYPE_CHECKING:
    from torch import nn

RANKS = (2, 4, 8)
PATIENCE = 1800  # seconds for a world
ALONE, DDP = "no communication", "torch DDP, gloo"
METHODS: Mapping[str, Mapping[str, Any]] = {
    ALONE: {},
    "one-peer exponential": {"method": "atc", "topology": "one_peer_exponential"},
    "one-peer exponential, overlapped": {"method": "dgd", "topology": "one_peer_exponential"},
    "static exponential": {"method": "atc", "topology": "exponential"},
    "ring": {"method": "atc", "topology": "ring"},
    "allreduce": {"method": "allreduce"},
    DDP: {},
}
MEMORY: Mapping[str, Mapping[str, Any]] = {
    "atc": {},
    "dgd": {},
    "allreduce": {},
    "dmsgd": {},
    "decentlam": {"topology": "ring"},
    "diging": {},
    "gradient_tracking": {},
    "exact_diffusion": {"topology": "ring"},
    "sgp": {},
    "relay_sgd": {"topology": "chain"},
    "slowmo": {},
    "choco_sgd": {"topology": "ring"},
}
"""With SGD without momentum: the methods have their own."""


class Task(NamedTuple):
    """A model, and how often it is trained."""

    model: str
    batch: int
    size: int  # of the pictures
    warm: int
    iterations: int
    rounds: int


SMALL, LARGE = Task("resnet20", 32, 32, 2, 5, 9), Task("resnet50", 4, 64, 1, 2, 3)


# ---- on the ranks ------------------------------------------------------------------------------------------------------


def worker(plan: Mapping[str, Any]) -> None:
    """Measure, and let rank 0 say what was found, a line each."""
    import torch

    import ifog

    torch.set_num_threads(1)
    ifog.init()
    for task in (Task(*task) for task in plan["tasks"]):
        for round_ in range(task.rounds):
            names = list(METHODS)
            names = names[round_ % len(names) :] + names[: round_ % len(names)]
            found = {name: _turn(name, task) for name in names}
            if ifog.rank() == 0:
                print(json.dumps({"task": task.model, "seconds": found}), flush=True)
    if plan["memory"]:
        for method, options in MEMORY.items():
            buffers = extra_buffers(method, **options)
            if ifog.rank() == 0:
                print(json.dumps({"method": method, "buffers": buffers}), flush=True)


def _turn(name: str, task: Task) -> float:
    """Seconds for an iteration."""
    import torch

    import ifog
    from ifog import learning

    torch.manual_seed(ifog.rank())
    model: nn.Module = getattr(learning.models, task.model)(10)
    images = torch.randn(task.batch, 3, task.size, task.size)
    labels = torch.randint(10, (task.batch,))
    computed = model
    if name == DDP:
        computed = _ddp(model)
    optimizer: torch.optim.Optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    if METHODS[name]:
        optimizer = learning.optimizer(optimizer, model, **METHODS[name])

    def iterate(times: int) -> None:
        for _ in range(times):
            optimizer.zero_grad()
            loss: Any = torch.nn.functional.cross_entropy(computed(images), labels)
            loss.backward()
            optimizer.step()

    iterate(task.warm)
    ifog.barrier()
    began = time.monotonic()
    iterate(task.iterations)
    ended = time.monotonic()
    span = ifog.allgather(torch.tensor([[began, ended]], dtype=torch.float64))
    return float(span[:, 1].max() - span[:, 0].min()) / task.iterations


def _ddp(model: nn.Module) -> nn.Module:
    import torch.distributed as dist

    import ifog

    if not dist.is_initialized():
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo" if sys.platform == "linux" else "lo0")  # the ranks share a machine
        store = f"file://{os.environ['BENCHMARK_STORE']}"
        dist.init_process_group("gloo", init_method=store, rank=ifog.rank(), world_size=ifog.size())
    from torch.nn.parallel import DistributedDataParallel

    wrapped: nn.Module = DistributedDataParallel(model, gradient_as_bucket_view=True)
    return wrapped


def extra_buffers(method: str, *, width: int = 1000, layers: int = 4, **options: Any) -> float:
    """How many buffers of the size of all parameters training takes at most, beyond what torch takes without it."""
    import torch
    from torch import nn

    from ifog import learning

    size = (width * width + width) * layers * 4

    def train(*, together: bool) -> int:
        def run() -> None:
            model = nn.Sequential(*[nn.Linear(width, width) for _ in range(layers)])
            optimizer: torch.optim.Optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
            if together:
                optimizer = learning.optimizer(optimizer, model, method=method, **options)
            for _ in range(3):
                optimizer.zero_grad()
                model(torch.ones(1, width)).sum().backward()
                optimizer.step()

        return _peak(run)

    return (train(together=True) - train(together=False)) / size


def _peak(run: Callable[[], None]) -> int:
    """The most that ``run`` holds at a time: in torch's own memory, and in what neighbours read."""
    from torch.profiler import ProfilerActivity, profile

    from ifog.comm import world

    pool = world.current().pool
    before = held = pool.held
    take = pool.take

    def noting(nbytes: int) -> int:
        nonlocal held
        offset = take(nbytes)
        held = max(held, sum(pool.used.values()))
        return offset

    pool.take = noting  # type: ignore[method-assign]
    try:
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
            run()
    finally:
        pool.take = take  # type: ignore[method-assign]
    events = [event for event in profiled.profiler.kineto_results.events() if event.name() == "[memory]"]
    now = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        most = max(most, now)
    return most + held - before


# ---- beside them -------------------------------------------------------------------------------------------------------


def launch(n: int, plan: Mapping[str, Any]) -> tuple[list[dict[str, Any]], str]:
    """What a world has found, and what it said instead."""
    mpi = find()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        environment = mpi.environment() | {"OMP_NUM_THREADS": "1", "BENCHMARK_STORE": str(Path(folder) / "store")}
        command = mpi.command(n, "-m", "benchmarks.train", "--worker", json.dumps(plan))
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False)
    found = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]
    return found, "" if ran.returncode == 0 else ran.stdout + ran.stderr


def table(model: str, n: int, seconds: Mapping[str, list[float]]) -> Table:
    """An iteration of each method."""
    made = Table(title=f"{model}, {n} ranks: an iteration", box=SIMPLE_HEAD, header_style="dim")
    made.add_column("")
    for column in ("ms", "to none", "to DDP"):
        made.add_column(column, justify="right")
    for name, times in seconds.items():
        made.add_row(
            name, f"{1e3 * median(times):.1f}", f"{ratio(seconds, name, ALONE):.2f}", f"{ratio(seconds, name, DDP):.2f}"
        )
    return made


def ratio(seconds: Mapping[str, list[float]], name: str, beside: str) -> float:
    """The median over the rounds of how many times as long it takes."""
    return median(a / b for a, b in zip(seconds[name], seconds[beside], strict=True))


def main() -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.train", description="What training together costs.")
    parser.add_argument("--quick", action="store_true", help="ResNet-20 at 4 ranks, few rounds")
    parser.add_argument("--ranks", type=int, nargs="+", metavar="N", help="numbers of ranks (default: 2 4 8, quick: 4)")
    parser.add_argument("--rounds", type=int, help="turns of each method (default: 9 of ResNet-20, 3 of ResNet-50; quick: 3)")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), metavar="FOLDER", help="(default: %(default)s)")
    parser.add_argument("--worker", type=json.loads, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        worker(given.worker)
        return
    tasks = [SMALL._replace(rounds=3, iterations=3)] if given.quick else [SMALL, LARGE]
    tasks = [task if given.rounds is None else task._replace(rounds=given.rounds) for task in tasks]
    console = Console(width=100)
    console.print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}", highlight=False)
    results: dict[str, Any] = {"iterations": {}, "buffers": {}}
    ranks = given.ranks or ([4] if given.quick else RANKS)
    for n in ranks:
        found, problem = launch(n, {"tasks": tasks, "memory": n == ranks[0]})
        for task in tasks:
            rounds = [line["seconds"] for line in found if line.get("task") == task.model]
            if rounds:
                seconds = {name: [line[name] for line in rounds] for name in METHODS}
                results["iterations"][f"{task.model}, {n} ranks"] = seconds
                console.print(table(task.model, n, seconds))
        results["buffers"] |= {line["method"]: line["buffers"] for line in found if "buffers" in line}
        if problem:
            console.print(problem[-4000:], markup=False)
            sys.exit(1)
    made = Table(title="buffers as large as all parameters, beyond torch's own", box=SIMPLE_HEAD, header_style="dim")
    made.add_column("method")
    made.add_column("at most", justify="right")
    for method, buffers in results["buffers"].items():
        made.add_row(method, f"{buffers:.2f}")
    console.print(made)
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "train.json").write_text(json.dumps(results, indent=1))
    small = {key: seconds for key, seconds in results["iterations"].items() if key.startswith(SMALL.model)}
    for key, seconds in small.items():
        one_peer = min(ratio(seconds, name, ALONE) for name in METHODS if name.startswith("one-peer"))
        console.print(
            f"{key}: one-peer is {one_peer:.2f} times the iteration without communication (goal: 1.15)", highlight=False
        )
    slower = {
        f"{name} ({key})": ratio(seconds, name, DDP)
        for key, seconds in results["iterations"].items()
        for name in METHODS
        if METHODS[name]
    }
    said = "; ".join(f"{name}: {times:.2f} times" for name, times in slower.items() if times > 1.05)
    console.print(f"More than 5 % slower than DDP: {said or 'none'}", highlight=False)


if __name__ == "__main__":
    main()
