"""From a command to the first answer: ``ifog start`` beside ``ipcluster start --engines=mpi``, in one run.

Run from the repository root::

    python -m benchmarks.start             # 2, 4 and 8 engines, five turns: about five minutes
    python -m benchmarks.start --quick     # 2 engines, one turn

Both take turns: a command, then a client that asks every engine for its process, until all have answered. Then, on the largest
set of ours: the memory of an idle engine, the processor time of all over a while, and what telemetry costs the one who sends
and delivers to the one who listens.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import ipyparallel
import psutil
from rich.console import Console
from rich.table import Table

from ifog.cluster import Cluster, connect
from ifog.comm.mpi import find

_TIMEOUT = 120


def answer(client: Any, n: int) -> None:
    """Wait until all engines have answered."""
    client.wait_for_engines(n, timeout=_TIMEOUT, interactive=False)
    assert len(set(client[:].apply_sync(os.getpid))) == n


@contextmanager
def ours(n: int) -> Iterator[float]:
    """Seconds from ``ifog start`` to the first answer."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "ifog.cluster.command"]
    subprocess.run([*command, "start", "-np", str(n)], check=True, capture_output=True, timeout=_TIMEOUT)
    cluster = connect()
    answer(cluster.client, n)
    try:
        yield time.perf_counter() - began
    finally:
        cluster.close()
        subprocess.run([*command, "stop"], check=True, capture_output=True, timeout=_TIMEOUT)


@contextmanager
def theirs(n: int) -> Iterator[float]:
    """Seconds from ``ipcluster start`` to the first answer."""
    began = time.perf_counter()
    mpi = find()
    command = [sys.executable, "-m", "ipyparallel.cluster"]
    environment = mpi.environment() | {"PATH": f"{mpi.launcher.parent}{os.pathsep}{os.environ['PATH']}"}
    options = ["--profile=peer", "--cluster-id="]
    subprocess.run(
        [*command, "start", f"--n={n}", "--engines=mpi", "--daemonize", *options],
        check=True,
        capture_output=True,
        timeout=_TIMEOUT,
        env=environment,
    )
    with ipyparallel.Client(profile="peer", timeout=_TIMEOUT) as client:
        answer(client, n)
        try:
            yield time.perf_counter() - began
        finally:
            client.shutdown(hub=True, block=False)
    subprocess.run([*command, "stop", *options], capture_output=True, timeout=_TIMEOUT, env=environment, check=False)
    deadline = time.monotonic() + 30  # or the next turn would share the processor with the end of this one
    while time.monotonic() < deadline and any("profile_peer" in " ".join(p.info["cmdline"] or []) for p in _processes()):
        time.sleep(0.2)


def _processes() -> Iterator[Any]:
    yield from psutil.process_iter(["cmdline"])


def idle(cluster: Cluster, seconds: float) -> dict[str, float]:
    """What engines take that do nothing: memory that is theirs alone and their share of what is shared, and processor time."""
    engines = [psutil.Process(engine["pid"]) for engine in cluster.said()["engines"]]
    others = [psutil.Process(pid) for pid, _ in cluster.said()["processes"] if pid not in {e.pid for e in engines}]
    before = [sum(process.cpu_times()[:2]) for process in engines + others]
    time.sleep(seconds)
    after = [sum(process.cpu_times()[:2]) for process in engines + others]
    spent = [(b - a) / seconds for a, b in zip(before, after, strict=True)]
    return {
        "engine MB": median(process.memory_full_info().pss for process in engines) / 1e6,
        "manager and controller MB": sum(process.memory_full_info().pss for process in others) / 1e6,
        "of a core per engine": max(spent[: len(engines)]),
        "of a core, all together": sum(spent),
    }


def publish(records: int) -> float:
    """On an engine: the seconds that one record costs."""
    import time  # an engine has not run what stands above

    from ifog.engine import telemetry

    began = time.perf_counter()
    for k in range(records):
        telemetry.publish("benchmark", k)
    return (time.perf_counter() - began) / records


def publish_data(records: int) -> float:
    """The same with ipyparallel's own way."""
    import time

    from ipyparallel.datapub import publish_data as send

    began = time.perf_counter()
    for k in range(records):
        send({"benchmark": k})
    return (time.perf_counter() - began) / records


def telemetry(cluster: Cluster, records: int) -> dict[str, float]:
    """What a record costs, and how many arrive."""
    arrived, dropped, last = [0], [0], [0.0]

    def listen(_rank: int, new: Any, _newest: Any, lost: int) -> None:
        arrived[0] += len(new)
        dropped[0] += lost
        last[0] = time.perf_counter()

    silence = cluster.wire.listen(listen)
    time.sleep(0.3)
    began = time.perf_counter()
    costs = cluster.view.apply_sync(publish, records)
    total = records * len(cluster)
    deadline = time.monotonic() + 20
    while arrived[0] + dropped[0] < total and time.monotonic() < deadline:
        time.sleep(0.05)
    silence()
    peer = cluster.view.apply_sync(publish_data, 200)
    asked = []
    for _ in range(50):
        before = time.perf_counter()
        cluster.wire.request(0, "ifog.engine.status:status").result(5)
        asked.append(time.perf_counter() - before)
    return {
        "µs a record": 1e6 * median(costs),
        "µs with publish_data": 1e6 * median(peer),
        "published": total,
        "arrived": arrived[0],
        "dropped": dropped[0],
        "records a second": arrived[0] / (last[0] - began),
        "ms a question": 1e3 * median(asked),
    }


def main() -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="2 engines, one turn")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    sets, turns, pause, records = ((2,), 1, 2.0, 5_000) if options.quick else ((2, 4, 8), 5, 60.0, 100_000)

    console = Console(width=120)
    table = Table(title="seconds from the command to the first answer (medians)", box=None, header_style="dim")
    for column in ("engines", "ifog start", "ipcluster start", "ratio"):
        table.add_column(column, justify="right")
    found: dict[str, Any] = {"start": []}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        os.environ["IPYTHONDIR"] = folder
        for n in sets:
            pairs = []
            for _ in range(turns):
                with ours(n) as mine:
                    pass
                with theirs(n) as peers:
                    pass
                pairs.append((mine, peers))
            mine, peers = (median(times) for times in zip(*pairs, strict=True))
            ratio = median(mine / peer for mine, peer in pairs)
            found["start"].append({"engines": n, "pairs": pairs, "ratio": ratio})
            table.add_row(str(n), f"{mine:.1f}", f"{peers:.1f}", f"{ratio:.2f}")
        console.print(table)
        with Cluster(sets[-1]) as cluster:
            deadline = time.monotonic() + _TIMEOUT
            while not all(engine.get("ready") for engine in cluster.status()["engines"]) and time.monotonic() < deadline:
                time.sleep(0.2)
            found["telemetry"] = telemetry(cluster, records)
            time.sleep(2)
            found["idle"] = idle(cluster, pause)
    for name in ("idle", "telemetry"):
        console.print(f"\n{name} ({sets[-1]} engines, torch imported)")
        for what, value in found[name].items():
            console.print(f"  {what:28} {value:,.4g}" if value < 1000 else f"  {what:28} {value:,.0f}", highlight=False)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "start.json").write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
