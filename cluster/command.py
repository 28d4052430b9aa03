"""The command ``ifog``: starts, watches and stops engines, and runs scripts on ranks."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..errors import IfogError, SetupError
from .home import PROFILE, Home, homes, running

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from .cluster import Cluster

_EXAMPLES = """examples:
  ifog start -np 8                     8 engines on this machine
  ifog start -np 4 --cluster-id b      another cluster beside it
  ifog start --hosts a:4,b:4           on two machines, through ssh
  ifog status --watch                  what each engine is doing
  ifog run -np 4 script.py             a script on 4 ranks, without engines
  ifog lab -np 4                       engines, and JupyterLab on the tutorials
  ifog demo                            8 engines learn together: a table, and a page of pictures
  ifog doctor                          is this machine ready?
"""


def main(argv: Sequence[str] | None = None, *, embedded: bool = False) -> int:
    """Do what the words say. ``embedded`` in a notebook, errors are raised, and not turned into an exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    arguments, rest = _split(words)
    parser = _parser()
    asked = parser.parse_args(arguments)
    if not hasattr(asked, "do"):
        parser.print_help()
        return 0
    asked.rest = rest
    try:
        return int(asked.do(asked) or 0)
    except IfogError as error:
        if embedded:
            raise
        _say_error(error, as_json=getattr(asked, "json", False))
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `ifog logs | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _split(words: list[str]) -> tuple[list[str], list[str]]:
    """Our own options, and what belongs to another program: of ``ifog run`` from the script or module on, of ``demo`` all."""
    if words[:1] == ["demo"]:
        return words[:1], words[1:]
    if words[:1] != ["run"]:
        return words, []
    taking = {"-np", "-n", "--gpus", "--threads", "--bind", "--hosts", "--hostfile", "--mpi", "--env", "--timeout"}
    i = 1
    while i < len(words):
        if words[i] == "-m" or not words[i].startswith("-"):
            return words[:i], words[i:]
        i += 2 if words[i] in taking else 1
    return words, []


def named(words: Sequence[str]) -> tuple[str | None, str | None]:
    """The id and the profile of the cluster that the words name."""
    asked = _parser().parse_args(_split(list(words))[0])
    return getattr(asked, "cluster_id", None), getattr(asked, "profile", None)


# --------------------------------------------------------------------------------------------------------- the words
def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ifog",
        description="Decentralized learning taught, tried and shown in a notebook: engines for it.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"ifog {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    def command(name: str, do: Callable[[Any], int | None], says: str, example: str = "") -> argparse.ArgumentParser:
        made = commands.add_parser(
            name,
            help=says,
            description=says,
            epilog=example and f"examples:\n{example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        made.set_defaults(do=do)
        return made

    start = command(
        "start",
        _start,
        "start engines, and leave them running",
        "  ifog start -np 8\n  ifog start -np 4 --threads 2 --env SEED=3\n  ifog start --hosts a:4,b:4\n"
        "  ifog start -np 16 --launcher slurm --options '#SBATCH --time=1:00:00'\n"
        '  ifog start -np 4 --profile bluefog    for notebooks that say ipp.Client(profile="bluefog")\n',
    )
    _add_ranks(start)
    _add_name(start)
    start.add_argument("--launcher", default="mpi", help="mpi (this machine, or --hosts), slurm, pbs, sge or lsf")
    start.add_argument("--options", default="", metavar="LINES", help="for a batch system: more lines at the head of the job")
    start.add_argument("--timeout", type=float, metavar="S", help="how long to wait for the engines (60 s; in a queue 600 s)")
    start.add_argument("--foreground", action="store_true", help="stay until Ctrl-C, and stop the engines then")
    start.add_argument("--json", action="store_true", help="say it in JSON, for scripts")

    stop = command("stop", _stop, "stop the engines, whatever they are doing")
    _add_name(stop)
    stop.add_argument("--all", action="store_true", help="of all clusters")
    stop.add_argument("--force", action="store_true", help="without asking the manager: if it does not answer")

    restart = command("restart", _restart, "start all engines anew; notebooks go on with the new ones")
    _add_name(restart)
    restart.add_argument("--json", action="store_true", help="say it in JSON, for scripts")

    status = command("status", _status, "what each engine is doing")
    _add_name(status)
    status.add_argument("--watch", action="store_true", help="again and again, until Ctrl-C")
    status.add_argument("--json", action="store_true", help="say it in JSON, for scripts")

    interrupt = command("interrupt", _interrupt, "interrupt what the engines are running")
    _add_name(interrupt)

    logs = command("logs", _logs, "what the engines have written beside the output of cells", "  ifog logs -f --rank 3\n")
    _add_name(logs)
    logs.add_argument("-f", "--follow", action="store_true", help="go on as more is written")
    logs.add_argument("--rank", type=int, metavar="R", help="of this rank only")

    run = command(
        "run",
        _run,
        "run a script, or a module, on ranks of MPI",
        "  ifog run -np 4 script.py --steps 100      everything after the script belongs to it\n"
        "  ifog run -np 4 -m package.module --steps 100\n",
    )
    _add_ranks(run)
    run.usage = "ifog run [-np N] [options] SCRIPT.py … | -m MODULE …"

    lab = command("lab", _lab, "engines, and JupyterLab beside them; at the end both are stopped", "  ifog lab -np 4\n")
    _add_ranks(lab)
    _add_name(lab)
    lab.add_argument("--folder", metavar="F", help="where JupyterLab begins (the tutorials, if they are here)")
    lab.add_argument("--no-browser", action="store_true", help="print the address, and open no browser")

    command("demo", _demo, "engines learn together, and a page shows how it went; demo -h says more", "  ifog demo -np 4\n")

    doctor = command("doctor", _doctor, "is this machine ready? Every finding with its remedy")
    doctor.add_argument("--json", action="store_true", help="say it in JSON, for scripts")

    bench = command("bench", _bench, "how fast ranks talk on this machine")
    _add_ranks(bench)
    return parser


def _add_ranks(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-np", "-n", dest="n", type=int, metavar="N", help="how many (the slots of the hosts, or the cores)")
    parser.add_argument("--gpus", default="auto", metavar="G", help="auto (shared out by rank), none, or a list such as 0,1")
    parser.add_argument("--threads", type=int, metavar="T", help="per rank (the cores shared out, at least 1)")
    parser.add_argument("--bind", default="none", help="bind ranks to: none, core, socket or numa")
    parser.add_argument("--hosts", metavar="H", help="machines to run on, reached through ssh: a:4,b:4")
    parser.add_argument("--hostfile", metavar="F", help="the same in a file, one a line")
    parser.add_argument("--mpi", metavar="M", help='"MPICH" or "Open MPI" (the first that is found)')
    parser.add_argument("--env", action="append", default=[], metavar="K=V", help="a variable for the ranks; may be repeated")


def _add_name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--profile", default=None, metavar="P", help=f"the IPython profile ({PROFILE})")
    parser.add_argument("--cluster-id", default=None, metavar="C", help="the name of one cluster of several")


def _made(asked: Any) -> Cluster:
    from .cluster import Cluster
    from .plan import read_variables

    return Cluster(
        asked.n,
        profile=PROFILE if asked.profile is None else asked.profile,
        cluster_id=asked.cluster_id or "",
        gpus=asked.gpus,
        threads=asked.threads,
        bind=asked.bind,
        hosts=asked.hosts,
        hostfile=asked.hostfile,
        launcher=getattr(asked, "launcher", "mpi"),
        options=getattr(asked, "options", "").replace("\\n", "\n"),
        mpi=asked.mpi,
        env=read_variables(asked.env),
        timeout=getattr(asked, "timeout", None),
    )


def _connected(asked: Any) -> Cluster:
    from .cluster import connect

    return connect(asked.cluster_id, asked.profile)


# ------------------------------------------------------------------------------------------------------- the engines
def _start(asked: Any) -> int:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    cluster = _made(asked)
    began = time.monotonic()
    if asked.json:
        cluster.start()
        print(json.dumps(cluster.said()))  # noqa: T201
    else:
        console = _console()
        columns = TextColumn("starting engines"), BarColumn(20), MofNCompleteColumn(), TimeElapsedColumn()
        with Progress(*columns, console=console, transient=True) as progress:
            bar = progress.add_task("", total=len(cluster))
            cluster.start(lambda said: progress.update(bar, completed=said["registered"]))
        said = cluster.said()
        console.print(_table(said, ("rank", "host", "pid", "gpu", "threads", "memory")))
        name = cluster.home.arguments and f" as {cluster.home.name!r}"
        console.print(f"{len(cluster)} engines{name} in {time.monotonic() - began:.1f} s, on {said['mpi']}")
        _say_how_gpus_are_shared(console, said)
        console.print(
            "\nIn a notebook:\n\n    [bold]%load_ext ifog[/]\n    [bold]%px import ifog; ifog.rank()[/]\n", highlight=False
        )
    if asked.foreground:
        _until_interrupted(cluster)
    return 0


def _until_interrupted(cluster: Cluster) -> None:
    try:
        while cluster.home.held:
            time.sleep(0.2)
    except KeyboardInterrupt:
        cluster.stop()


def _say_how_gpus_are_shared(console: Console, said: Mapping[str, Any]) -> None:
    on: dict[tuple[str, str], list[int]] = {}
    for engine in said["engines"]:
        if engine["gpu"] is not None:
            on.setdefault((engine["host"], engine["gpu"]), []).append(engine["rank"])
    if any(len(ranks) > 1 for ranks in on.values()):
        console.print(f"there are more engines than GPUs: up to {max(map(len, on.values()))} share one")


def _stop(asked: Any) -> int:
    from .cluster import Cluster

    chosen = [Home(asked.profile or PROFILE, asked.cluster_id or "")]
    if asked.all:
        chosen = list(homes())
    elif asked.profile is None and asked.cluster_id is None and not chosen[0].held:
        chosen = running()[:1] if len(running()) == 1 else chosen
    stopped = 0
    for home in chosen:
        if home.held and not asked.force:
            Cluster.of(home).stop()
            stopped += 1
        elif home.read() is not None:
            stopped += _clean_up(home)
    names = ", ".join(repr(home.name) for home in chosen)
    _console().print(f"stopped {names}" if stopped else "no cluster is running" if asked.all else f"{names} is not running")
    return 0


def _clean_up(home: Home) -> int:
    """End what a manager that was killed has left."""
    from .leftovers import end_processes, remove_leftovers

    said = home.read() or {}
    end_processes(dict(said.get("processes", [])))
    remove_leftovers(home, said)
    return 1


def _restart(asked: Any) -> int:
    began = time.monotonic()
    cluster = _connected(asked)
    cluster.restart()
    if asked.json:
        print(json.dumps(cluster.said()))  # noqa: T201
    else:
        _console().print(f"{len(cluster)} new engines in {time.monotonic() - began:.1f} s; what was in the old ones is lost")
    return 0


def _status(asked: Any) -> int:
    from .cluster import Cluster

    unnamed = asked.profile is None and asked.cluster_id is None
    found = {cluster.home: cluster for cluster in ([] if unnamed else [_connected(asked)])}

    def look() -> list[Cluster]:
        for home in running() if unnamed else ():
            if home not in found:
                with contextlib.suppress(SetupError):  # it is just ending
                    found[home] = Cluster.of(home)
        return list(found.values())

    if asked.json:
        print(json.dumps([{"name": cluster.home.name, **cluster.status()} for cluster in look()]))  # noqa: T201
        return 0
    console, nothing = _console(), "no cluster is running: `ifog start -np 4` starts one"
    if not asked.watch:
        for part in [part for cluster in look() for part in _pictured(cluster)] or [nothing]:
            console.print(part)
    else:
        from rich.console import Group
        from rich.live import Live

        with Live(console=console, auto_refresh=False) as live:
            while True:
                parts = [part for cluster in look() for part in _pictured(cluster)]
                live.update(Group(*(parts or [nothing])), refresh=True)
                time.sleep(0.5)
    for cluster in found.values():
        cluster.close()
    return 0


def _pictured(cluster: Cluster) -> list[Any]:
    from rich.markup import escape

    said = cluster.status()
    if not said:
        return [f"{cluster.home.name}: has ended"]
    head = f"[bold]{cluster.home.name}[/]: {said['plan']['n']} engines, {said['phase']}, {said['mpi']}"
    parts: list[Any] = [head]
    if said["phase"] == "running":
        parts.append(_table(said, ("rank", "host", "pid", "gpu", "memory", "state", "exchanges", "doing", "error")))
    if said["trouble"]:
        parts.append(f"[red]{escape(said['trouble'])}[/]; `ifog restart{cluster.home.options}` starts them again")
    return parts


def _table(said: Mapping[str, Any], columns: Sequence[str]) -> Table:
    from rich.table import Table

    table = Table(box=None, header_style="dim")
    columns = [c for c in columns if c != "gpu" or any(e["gpu"] is not None for e in said["engines"])]
    columns = [c for c in columns if c != "error" or any(e.get("error") for e in said["engines"])]
    columns = [c for c in columns if c != "exchanges" or any(e.get("exchanges") for e in said["engines"])]
    for column in columns:
        right = column in ("rank", "pid", "threads", "memory", "exchanges")
        table.add_column({"error": "last error"}.get(column, column), justify="right" if right else "left")
    for engine in said["engines"]:
        table.add_row(*(_cell(engine, column) for column in columns))
    return table


def _cell(engine: Mapping[str, Any], column: str) -> str:
    from rich.markup import escape

    if column == "memory":
        return f"{engine['memory'] / 1e6:.0f} MB"
    if column == "doing":
        if engine.get("operation"):
            return escape(f"{engine['operation']}, for rank {engine['waits_for']}")
        return escape(f"{engine['seconds']:.0f} s: {engine['cell']}") if engine.get("cell") else ""
    if column == "gpu" and engine.get("gpu_memory"):
        return f"{engine['gpu']} ({engine['gpu_memory'] / 1e9:.1f} GB)"
    if column == "error" and engine.get("error"):
        return escape(f"{engine['error']} ({time.time() - engine['error_at']:.0f} s ago)")
    value = engine.get(column)
    return "" if value is None else escape(str(value))


def _interrupt(asked: Any) -> int:
    from .shown import ranks_in_short

    cluster = _connected(asked)
    ran = cluster.interrupt()
    cluster.close()
    busy = [rank for rank, running in ran.items() if running]
    _console().print(f"interrupted {ranks_in_short(busy)}" if busy else "no engine was running anything")
    return 0


def _logs(asked: Any) -> int:
    home = Home(asked.profile or PROFILE, asked.cluster_id or "")
    if asked.profile is None and asked.cluster_id is None and not home.held and len(running()) == 1:
        home = running()[0]
    if not home.engine_log.exists():
        raise IfogError(f"there is no log of {home.name!r}: {home.engine_log}")
    mark = "" if asked.rank is None else f"[{asked.rank}]"
    with home.engine_log.open(errors="replace") as file:
        while True:
            line = file.readline()
            if line and (not mark or mark in line.partition(" ")[0].replace("[1,", "[")):
                print(line, end="", flush=asked.follow)  # noqa: T201
            elif not line and not asked.follow:
                return 0
            elif not line:
                if os.fstat(file.fileno()).st_size < os.lseek(file.fileno(), 0, os.SEEK_CUR):
                    file.seek(0)  # a restart has begun it anew
                time.sleep(0.1)


# ---------------------------------------------------------------------------------------------------- the other words
def _run(asked: Any) -> int:
    from .batch import run

    return run(asked.rest, _plan_of(asked))


def _plan_of(asked: Any) -> Any:
    asked.profile = asked.cluster_id = None
    return _made(asked).plan


def _lab(asked: Any) -> int:
    from .lab import lab

    return lab(_made(asked), asked.folder, browser=not asked.no_browser)


def _demo(asked: Any) -> int:
    import subprocess

    # what a person sees stands above the cluster, which does not know it
    return subprocess.call([sys.executable, "-m", "ifog.widgets.demo", *asked.rest])


def _doctor(asked: Any) -> int:
    from .doctor import examine

    findings = examine()
    if asked.json:
        print(json.dumps([finding._asdict() for finding in findings]))  # noqa: T201
    else:
        console = _console()
        for finding in findings:
            mark = {"good": "[green]✓[/]", "note": "[yellow]•[/]", "bad": "[red]✗[/]"}[finding.verdict]
            console.print(f"{mark} {finding.what}", highlight=False, soft_wrap=True)
            if finding.remedy:
                console.print(f"    {finding.remedy}", style="dim", highlight=False, soft_wrap=True)
    return int(any(finding.verdict == "bad" for finding in findings))


def _bench(asked: Any) -> int:
    from .batch import run

    return run(["-m", "ifog.cluster.bench"], _plan_of(asked), tagged=False)


def _console() -> Console:
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 140)


def _say_error(error: IfogError, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"error": str(error)}))  # noqa: T201
        return
    from rich.console import Console
    from rich.markup import escape

    Console(stderr=True).print(f"[bold red]ifog:[/] {escape(str(error))}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
