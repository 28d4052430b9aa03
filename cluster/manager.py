"""The manager: a process that owns one cluster, from its start to its end.

``python -m ifog.cluster.manager < plan.json`` is how it is begun. It starts ipyparallel's controller and, through ipyparallel's
launchers, the engines; it notices when they die, and says so; it starts them again when asked; and when it ends, they all end.
What it knows stands in the state file (`home`), and it takes requests through a socket that only its user can reach:
``{"do": "restart"}``, a line of JSON, answered by a line.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import ipyparallel
import psutil
from ipyparallel.cluster.launcher import MPIEngineSetLauncher

from ..errors import SetupError
from .home import COMPLAINT, LEAST_SHARED
from .hosts import SILENCE, check_hosts, complaint_of, silent_host
from .leftovers import end_processes, remove_leftovers
from .plan import Plan
from .shown import ranks_in_short
from .slurm import SlurmEngines
from .wire import Wire

_LOOK = 0.05  # seconds between two looks while something is awaited
_PATIENCE = 0.5  # seconds for engines to end by themselves
_OWNER = 0.5  # seconds between two looks at the owner
_QUEUE = 3.0  # seconds between two looks at the queue
_SILENCE_IN_A_JOB = 30.0  # seconds; there is no ssh to be asked whether the machine is still there


class MPIEngines(MPIEngineSetLauncher):  # type: ignore[misc]
    """ipyparallel's launcher, which keeps what the engines have written, also after their end."""

    def get_output(self, remove: bool = False) -> str:  # noqa: ARG002
        """The end of it."""
        with contextlib.suppress(OSError), Path(self.output_file).open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 20_000))
            return file.read().decode(errors="replace")
        return ""


_LAUNCHERS = {"mpi": MPIEngines, "slurm": SlurmEngines}


class Manager:
    """One cluster, and what is known about it."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.home = plan, plan.home
        self.mpi = plan.found_mpi
        self.wire: Wire | None = None
        self.log = logging.getLogger("ifog.manager")
        self.over = asyncio.Event()
        self.busy = asyncio.Lock()  # one start, restart or stop at a time
        self.said: dict[str, Any] = {
            "plan": {**plan.to_json(), "env": sorted(plan.env)},  # values may be secrets
            "phase": "starting",
            "registered": 0,
            "engines": [],
            "world": 0,
            "trouble": None,
            "mpi": str(self.mpi),
            "python": sys.executable,
            "began": time.time(),
            "processes": [],
        }
        self._ours: dict[int, float] = {}
        self._first_dead: int | None = None
        self._watches: list[asyncio.Task[None]] = []
        self._restarting: asyncio.Task[None] | None = None
        self.note_process(os.getpid())
        self.cluster = ipyparallel.Cluster(
            cluster_file="",  # none: JupyterLab's list of clusters would look after what is ours
            engines=_LAUNCHERS.get(plan.launcher, plan.launcher),
            n=plan.n,
            delay=0,
            profile_dir=str(self.home.folder),
            cluster_id=plan.cluster_id,
            controller_args=plan.controller_arguments(),
            config=plan.config(),
            shutdown_atexit=False,
            load_profile=False,
            log=self.log,
            parent=None,
        )

    # ----------------------------------------------------------------------------------------------------- saying
    def say(self, **more: Any) -> None:
        """Write down what has changed."""
        self.said |= more
        self.said["processes"] = [[pid, created] for pid, created in self._ours.items()]
        with contextlib.suppress(OSError):  # a full disk is no reason to end the engines; the socket tells the same
            self.home.write(self.said)

    def note_process(self, pid: int) -> None:
        """Remember one of ours, in a way that no later process with the same number is taken for."""
        with contextlib.suppress(psutil.Error):
            self._ours[pid] = psutil.Process(pid).create_time()

    def note_children(self, pid: int) -> None:
        """Remember its children: one that is killed cannot end them, and they do not end by themselves."""
        with contextlib.suppress(psutil.Error):
            for child in psutil.Process(pid).children():
                self.note_process(child.pid)

    # --------------------------------------------------------------------------------------------------- starting
    async def start(self) -> None:
        """Start everything."""
        async with self.busy:
            await self.start_controller()
            await self.start_engines()

    async def start_controller(self) -> None:
        """The controller, which all engines and clients talk to."""
        self.home.client_file.unlink(missing_ok=True)
        self.home.engine_file.unlink(missing_ok=True)
        self.cluster.controller = None
        await self.cluster.start_controller()
        controller = self.cluster.controller
        self.note_process(controller.pid)
        self.say(controller=controller.pid)
        controller.on_stop(lambda data: self.controller_ended(controller, data))
        try:
            await controller.get_connection_info()
        except (RuntimeError, TimeoutError) as error:
            raise SetupError(f"the controller did not start: {_last_words(controller.get_output()) or error}") from error
        self.wire = Wire(self.home.client_file)

    async def start_engines(self) -> None:
        """All engines, as one MPI world. An engine's id is its rank."""
        assert self.wire is not None
        plan = self.plan
        began = time.monotonic()
        self.say(phase="starting", registered=0, engines=[], trouble=None, began=time.time())
        self.cluster.engines.clear()
        self._first_dead = None
        try:
            await self.cluster.start_engines(output_file=str(self.home.new_engine_log()))
        except subprocess.CalledProcessError as error:
            why = _last_words(self.home.log.read_text(errors="replace"))
            raise SetupError(f"{error.cmd[0]} has refused the job: {why}") from error
        engines = self.cluster.engine_set
        if plan.launcher == "mpi":
            self.note_process(engines.pid)
        else:
            self.say(job=[*engines.delete_command, engines.job_id])
        if isinstance(engines, SlurmEngines):
            self._watches.append(asyncio.create_task(self.watch_job(engines)))
        self.say()
        while (there := len(await self._look())) < plan.n:
            if there != self.said["registered"]:
                self.say(registered=there)
            if engines.state == "after":
                raise SetupError(f"the engines ended while they started: {self.last_words(engines)}{_little_room()}")
            if time.monotonic() - began > plan.timeout:
                queue = f" (job {engines.job_id} is {engines.said})" if isinstance(engines, SlurmEngines) else ""
                raise SetupError(
                    f"after {plan.timeout:g} s only {there} of {plan.n} engines are there{queue}: a longer --timeout may "
                    f"help, or what stands in {self.home.log}"
                )
            await asyncio.sleep(_LOOK)
        ranks = await asyncio.to_thread(self.wire.ask, range(plan.n), "ifog.engine.status:status", timeout=10.0)
        for engine in range(plan.n):
            rank = ranks.get(engine, {}).get("rank")
            if rank != engine:
                raise SetupError(f"engine {engine} says that its rank is {rank}, and they must be equal: start again")
        if plan.local:
            for rank in range(plan.n):
                self.watch(rank, ranks[rank]["pid"])
        elif plan.hosts:
            self.note_children(engines.pid)  # ssh: to a machine that is gone it waits for many minutes
        table = [{key: ranks[i][key] for key in ("rank", "host", "pid", "gpu", "threads", "memory")} for i in range(plan.n)]
        self.say(phase="running", registered=plan.n, engines=table, world=self.said["world"] + 1, took=time.monotonic() - began)
        engines.on_stop(lambda _: self.engines_ended(engines))
        if not plan.local:
            self._watches.append(asyncio.create_task(self.watch_hosts(engines)))
        for engine in range(plan.n):
            self.wire.request(engine, "ifog.engine.app:warm_up")

    async def _look(self) -> dict[int, str]:
        assert self.wire is not None
        return await asyncio.to_thread(self.wire.look, self.plan.timeout)

    # --------------------------------------------------------------------------------------------------- watching
    def watch(self, rank: int, pid: int) -> None:
        """Remember an engine of this machine, and which is the first to die: its launcher soon ends all the others."""
        self.note_process(pid)
        if not hasattr(os, "pidfd_open"):
            return
        try:
            descriptor = os.pidfd_open(pid)
        except OSError:
            return
        loop = asyncio.get_running_loop()

        def died() -> None:
            loop.remove_reader(descriptor)
            os.close(descriptor)
            if self._first_dead is None:
                self._first_dead = rank

        loop.add_reader(descriptor, died)

    def engines_ended(self, engines: Any) -> None:
        """The engines have ended, and nobody asked them to."""
        if engines is not self.cluster.engine_set or self.said["phase"] != "running":
            return
        self.say(phase="broken", trouble=self.last_words(engines))
        if self.wire is not None:
            self.wire.forget(range(self.plan.n))

    def controller_ended(self, controller: Any, data: Any) -> None:
        """The controller has ended, and nobody asked it to: no client can reach the engines any more."""
        if controller is not self.cluster.controller or self.said["phase"] not in ("running", "broken"):
            return
        code = (data or {}).get("exit_code")
        self.say(phase="broken", trouble=f"the controller's process {controller.pid} has ended (exit code {code})")

    def last_words(self, engines: Any) -> str:
        """Why the engines have ended, as far as their launcher has said."""
        if isinstance(engines, SlurmEngines) and engines.stop_data:
            return f"job {engines.job_id} of Slurm {engines.stop_data['end']}"
        output = engines.get_output()
        ours = re.findall(r"ifog: (rank \d+ .*?)\. All ranks must be started again", output)
        if ours:
            return str(ours[0])
        code = re.search(r"EXIT CODE: (\d+)", output)
        how = "killed by signal 9, perhaps because memory ran out" if code and code[1] == "9" else "gone"
        if self._first_dead is not None:
            pid = self.said["engines"][self._first_dead]["pid"]
            return f"rank {self._first_dead} (process {pid}) was {how}"
        return _last_words(output) or "their launcher has ended without a word"

    async def watch_hosts(self, engines: Any) -> None:
        """Notice that a machine is gone: no process of ours ends with it, and its connections stay silent."""
        assert self.wire is not None
        plan, places = self.plan, self.plan.places(self.said["engines"])
        patience = SILENCE if plan.hosts else _SILENCE_IN_A_JOB
        while True:
            host = await silent_host(self.wire, places, patience)
            if not plan.hosts or await asyncio.to_thread(complaint_of, host) is not None:
                break
        async with self.busy:
            if engines is self.cluster.engine_set and self.said["phase"] == "running":
                gone = f"host {host} ({ranks_in_short(places[host])}) cannot be reached any more"
                job = f"; job {engines.job_id} of Slurm is {engines.said}" if isinstance(engines, SlurmEngines) else ""
                self.say(phase="broken", trouble=f"{gone}: none of its engines has answered for {patience:g} s{job}")
                self.wire.forget(range(plan.n))
                await self.stop_engines()

    async def watch_job(self, engines: SlurmEngines) -> None:
        """Notice that Slurm has ended the job of the engines."""
        while not (end := await asyncio.to_thread(engines.poll)):
            await asyncio.sleep(_QUEUE)
        engines.notify_stop({"end": end})

    async def watch_owner(self) -> None:
        """End with the process that this cluster belongs to."""
        if self.plan.owner is None:
            return
        try:
            owner = psutil.Process(self.plan.owner)
            while owner.is_running() and owner.status() != psutil.STATUS_ZOMBIE:
                await asyncio.sleep(_OWNER)
        except psutil.NoSuchProcess:
            pass
        self.over.set()

    # ----------------------------------------------------------------------------------------------------- ending
    async def stop_engines(self) -> None:
        """End the engines: soon, whatever they are doing, and without leaving any."""
        for watch in self._watches:
            if watch is not asyncio.current_task():
                watch.cancel()
        self._watches.clear()
        engines = self.cluster.engine_set
        if engines is None:
            return
        if self.plan.launcher != "mpi":
            if job := self.said.get("job"):
                await asyncio.to_thread(subprocess.run, job, check=False)  # it may have ended by itself
        elif engines.state == "running":
            launcher = engines.process
            with contextlib.suppress(psutil.Error):
                launcher.terminate()
            for _ in range(int(_PATIENCE / _LOOK)):
                if not launcher.is_running():
                    break
                await asyncio.sleep(_LOOK)
            with contextlib.suppress(psutil.Error):
                launcher.kill()  # the engines follow: MPICH ends them, and each looks after its launcher
        keep = {os.getpid(), getattr(self.cluster.controller, "pid", -1)}
        end_processes({pid: created for pid, created in self._ours.items() if pid not in keep})
        self._ours = {pid: created for pid, created in self._ours.items() if pid in keep}

    async def restart(self) -> None:
        """All engines anew; and the controller, if it has gone."""
        async with self.busy:
            self.say(phase="restarting", registered=0, trouble=None)
            await self.stop_engines()
            await asyncio.to_thread(check_hosts, [host for host, _ in self.plan.hosts])
            if self.cluster.controller is None or self.cluster.controller.state != "running":
                if self.wire is not None:
                    self.wire.close()
                await self.start_controller()
            else:
                assert self.wire is not None
                self.wire.forget(await self._look())
                while await self._look():  # else a new engine could not have its rank as its id
                    await asyncio.sleep(_LOOK)
            await self.start_engines()

    async def stop(self) -> None:
        """End everything, and forget it."""
        if self._restarting is not None:
            self._restarting.cancel()
        self.say(phase="stopping")
        await self.stop_engines()
        if self.wire is not None:
            self.wire.close()
        controller = self.cluster.controller
        if controller is not None and controller.state == "running":
            with contextlib.suppress(psutil.Error):
                controller.process.terminate()
        end_processes({pid: created for pid, created in self._ours.items() if pid != os.getpid()})
        self.home.forget()

    # --------------------------------------------------------------------------------------------------- requests
    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Take requests."""
        with tempfile.TemporaryDirectory(prefix="ifog-", dir=_short_folder()) as folder:
            server = await asyncio.start_unix_server(self.serve, path=Path(folder) / "requests")
            self.said["socket"] = str(Path(folder) / "requests")
            self.say()
            try:
                yield
            finally:
                server.close()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one who asks."""
        with contextlib.suppress(ConnectionError):
            asked = json.loads(await reader.readline() or "{}").get("do")
            try:
                if asked == "restart":
                    self._restarting = asyncio.create_task(self.restart())
                    await self._restarting
                elif asked == "stop":
                    self.over.set()
            except Exception as error:
                self.log.exception("while asked to %s", asked)
                self.say(phase="broken", trouble=str(error) if isinstance(error, SetupError) else repr(error))
            writer.write(json.dumps(self.said).encode() + b"\n")
            await writer.drain()
        writer.close()


def _last_words(output: str) -> str:
    """The line of a log that says most about an end: of Python's error, of MPI's, or else the last."""
    for telling in (r"^(?:\[\d+\] )?(\w*(?:Error|Exception)\b: .*)$", r"EXIT STRING: (.*)", r"^(?:\[\d+\] )?(.*\S.*)$"):
        found: list[str] = re.findall(telling, output, re.MULTILINE)
        if found:
            return found[-1].strip()
    return ""


def _little_room() -> str:
    """MPICH ends with a bus error where a container has hardly any shared memory."""
    with contextlib.suppress(OSError):
        free = shutil.disk_usage("/dev/shm").free
        if free < LEAST_SHARED:
            return f"; /dev/shm has only {free / 1e6:.0f} MB free, and MPI needs some: docker run --shm-size=1g"
    return ""


def _short_folder() -> str | None:
    """A folder for temporary files in which a socket's name is short enough."""
    return None if len(tempfile.gettempdir()) < 70 else "/tmp"


async def manage(plan: Plan) -> str | None:
    """Own a cluster until it is stopped. If it could not be started: why."""
    home = plan.home
    home.make()
    lock = home.hold()
    if lock is None:
        return f"a cluster {home.name!r} is running already"
    with lock:
        before = home.read() or {}
        end_processes(dict(before.get("processes", [])))  # of a manager that was killed
        remove_leftovers(home, before)
        loop, manager = asyncio.get_running_loop(), Manager(plan)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, manager.over.set)
        watching = asyncio.create_task(manager.watch_owner())
        trouble = None
        async with manager.serving():
            starting = asyncio.create_task(manager.start())
            stopped = asyncio.create_task(manager.over.wait())
            await asyncio.wait({starting, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done() and (error := starting.exception()) is not None:
                trouble = str(error) if isinstance(error, SetupError) else repr(error)
            else:
                await stopped
            starting.cancel()
            await manager.stop()
        watching.cancel()
    return trouble


def main() -> None:
    """Manage the cluster that is described on the standard input."""
    plan = Plan.from_json(json.load(sys.stdin))
    plan.home.make()
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO, stream=sys.stdout)
    trouble = asyncio.run(manage(plan))
    if trouble is not None:  # last: the processes that have just been ended may have had words of their own
        print(COMPLAINT + trouble, flush=True)  # noqa: T201
        sys.exit(1)


if __name__ == "__main__":
    main()
