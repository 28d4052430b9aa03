"""A cluster of engines, as a notebook or a script has it in hand.

::

    cluster = ifog.cluster.Cluster(4).start()  # stays when this process ends; `with Cluster(4) as cluster:` does not
    cluster = ifog.connect()                   # the one that runs
    cluster.view.apply_sync(f)                 # plain ipyparallel: cluster.client is its Client
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import json
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ..errors import CellFailed, ExperimentError, PeerFailed, SetupError
from .home import COMPLAINT, PROFILE, Home, open_privately, running
from .hosts import read_hosts
from .plan import Plan
from .shown import Fault, causes, ranks_in_short
from .wire import Wire

if TYPE_CHECKING:
    from ipyparallel import AsyncResult, Client
    from ipyparallel.client.view import DirectView

    from ..experiment.place import Report
    from ..experiment.steering import Command

_LOOK = 0.05  # seconds
_DEAF = 30.0  # seconds: an engine that computes answers, unless it holds Python's lock for so long
_HEARSAY = 1.0  # seconds: so much later than a neighbour may the manager hear of a death


class EnginesLost(CellFailed):
    """The engines are gone, or their manager."""

    def _render_traceback_(self) -> list[str]:
        """For IPython: the message alone."""
        return [f"\x1b[1;31m{self}\x1b[0m"]


Progress = Callable[[Mapping[str, Any]], object]


class Cluster:
    """Engines that run as the ranks of an MPI world, and their manager."""

    def __init__(
        self,
        n: int | None = None,
        *,
        cluster_id: str = "",
        profile: str = PROFILE,
        gpus: str | Sequence[int] = "auto",
        threads: int | None = None,
        bind: str = "none",
        hosts: str | None = None,
        hostfile: str | Path | None = None,
        launcher: str = "mpi",
        options: str = "",
        mpi: str | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float | None = None,
        directory: str | Path | None = None,
    ) -> None:
        """What `start` shall start: ``n`` engines, by default as many as ``hosts`` take, or the processor has cores."""
        places = read_hosts(hosts, hostfile)
        self.plan = Plan(
            n=n if n is not None else sum(slots for _, slots in places) or os.cpu_count() or 1,
            profile=profile,
            cluster_id=cluster_id,
            gpus=gpus if isinstance(gpus, str) else ",".join(map(str, gpus)) or "none",
            threads=threads,
            bind=bind,
            hosts=places,
            launcher=launcher,
            options=options,
            mpi=mpi,
            env=dict(env or {}),
            timeout=timeout if timeout is not None else 60.0 if launcher == "mpi" else 600.0,
            directory=str(directory or Path.cwd()),
        )
        self.home = self.plan.home
        self._forget_connections()

    def _forget_connections(self) -> None:
        self._client: Client | None = None
        self._wire: Wire | None = None
        self._controller: int | None = None  # the process that both are connected to
        self._world = 0  # which engines these are: a restart brings others
        self._submitted: dict[str, AsyncResult] = {}

    @classmethod
    def of(cls, home: Home) -> Cluster:
        """A cluster that runs already."""
        said = home.read() or {}
        if "plan" not in said:
            raise SetupError(f"the cluster {home.name!r} is just starting or ending: try again in a moment")
        found = cls.__new__(cls)
        found.plan = Plan.from_json({**said["plan"], "env": {}})
        found.home = home
        found._forget_connections()
        return found

    def apart(self) -> Cluster:
        """The same cluster, with connections of its own: for another thread, which may not share these."""
        other = copy.copy(self)
        other._forget_connections()
        return other

    def __repr__(self) -> str:
        said = self.said()
        if not said:
            return f"<Cluster {self.home.name!r}: not running>"
        return f"<Cluster {self.home.name!r}: {said['plan']['n']} engines, {said['phase']}>"

    def __len__(self) -> int:
        return self.plan.n

    # --------------------------------------------------------------------------------------------- start and stop
    def start(self, progress: Progress | None = None) -> Cluster:
        """Start the engines, and wait until all are there. They stay when this process ends, until `stop`."""
        self._start(self.plan, progress)
        return self

    def __enter__(self) -> Cluster:
        self._start(dataclasses.replace(self.plan, owner=os.getpid()), None)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        self.stop()

    def _start(self, plan: Plan, progress: Progress | None) -> None:
        plan.check()
        home = self.home
        home.make()
        if home.held:
            said = home.read() or {}
            n = said.get("plan", {}).get("n", "?")
            raise SetupError(
                f"a cluster {home.name!r} is running already, with {n} engines: use it, end it with `ifog stop{home.options}`, "
                f"start its engines again with `ifog restart{home.options}`, or start another beside it, "
                f"`ifog start -np {plan.n} --cluster-id NAME`"
            )
        try:
            with open_privately(home.log) as log:
                manager = subprocess.Popen(
                    [sys.executable, "-m", "ifog.cluster.manager"],
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    cwd=plan.directory,
                )
        except OSError as error:
            raise home.unwritable(error) from error
        assert manager.stdin is not None
        with manager.stdin as pipe:
            pipe.write(json.dumps(plan.to_json()).encode())
        try:
            while True:
                if manager.poll() is not None:
                    raise SetupError(_complaint(home))
                said = home.read() or {}
                if said.get("processes", [[0]])[0][0] == manager.pid:
                    if progress is not None:
                        progress(said)
                    if said["phase"] == "running":
                        break
                time.sleep(_LOOK)
        except BaseException:
            manager.terminate()
            manager.wait(10)
            raise
        manager.returncode = 0  # it lives on without us: no ResourceWarning that it does

    def stop(self) -> None:
        """End the engines, the controller and the manager: whatever they are doing, and soon."""
        self.close()
        self._ask("stop", 15.0)
        deadline = time.monotonic() + 15.0
        while self.home.held:
            if time.monotonic() > deadline:
                raise SetupError(f"the manager of {self.home.name!r} does not end: `ifog stop{self.home.options} --force`")
            time.sleep(_LOOK)

    def restart(self) -> Cluster:
        """All engines anew: an MPI world has no holes. What was in them is lost; notebooks go on with the new ones."""
        said = self._ask("restart", self.plan.timeout + 30.0)
        if not said:
            raise SetupError(self._absent())
        if said["phase"] != "running":
            raise SetupError(f"the engines did not start again: {said['trouble']}")
        return self

    def _ask(self, what: str, timeout: float) -> dict[str, Any]:
        """Have the manager do something; nothing, if there is none."""
        said = self.home.read() or {}
        if not self.home.held or "socket" not in said:
            return {}
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(timeout)
            try:
                line.connect(said["socket"])
                line.sendall(json.dumps({"do": what}).encode() + b"\n")
                with line.makefile() as answer:
                    return dict(json.loads(answer.readline() or "{}"))
            except TimeoutError:
                raise SetupError(
                    f"the manager of {self.home.name!r} has not answered for {timeout:g} s: `ifog stop{self.home.options} "
                    "--force` and start again"
                ) from None
            except OSError:  # it has just ended
                return {}

    # ----------------------------------------------------------------------------------------------------- asking
    def said(self) -> dict[str, Any]:
        """What the manager says: the phase, the table of engines, and what is wrong, if anything is. Empty: it does not run."""
        return (self.home.read() or {}) if self.home.held else {}

    def status(self, timeout: float = 1.0) -> dict[str, Any]:
        """The same, with what each engine does now, also while it computes."""
        said = self.said()
        if said.get("phase") == "running":
            answers = self.wire.ask(range(said["plan"]["n"]), "ifog.engine.status:status", timeout=timeout)
            for engine in said["engines"]:
                engine |= answers.get(engine["rank"], {"state": "no answer"})
        return said

    def interrupt(self, ranks: Sequence[int] | None = None, timeout: float = 1.0) -> dict[int, bool]:
        """Interrupt the cells that run on the engines. Per rank: whether one ran. A rank that cannot answer is missing."""
        self._expect_all()
        return self.wire.ask(range(len(self)) if ranks is None else ranks, "ifog.engine.status:interrupt", timeout=timeout)

    def trouble(self) -> str | None:
        """What is wrong with the engines, and what helps; None if nothing is."""
        said = self.said()
        if not said or said["phase"] == "stopping":
            return self._absent()
        if said["phase"] in ("running", "starting", "restarting"):
            return None
        return f"{said['trouble']}. Start them again: `%ifog restart{self.home.options}` here, or without % in a terminal"

    def _absent(self) -> str:
        return (
            f"no cluster {self.home.name!r} is running: `%ifog start -np {self.plan.n}{self.home.options}` here, or without % "
            "in a terminal"
        )

    # --------------------------------------------------------------------------------------------------- connected
    @property
    def wire(self) -> Wire:
        """The line for questions, and for what the engines publish."""
        said = self._connected()
        if self._wire is None:
            try:
                self._wire = Wire(self.home.client_file)
            except (OSError, ValueError) as error:  # not there yet, or not whole
                raise SetupError(f"the controller of {self.home.name!r} is just starting: try again in a moment") from error
        if said["world"] != self._world:  # the ranks are others now, and the line knows those of before
            self._wire.engines, self._world = {}, said["world"]
        return self._wire

    @property
    def client(self) -> Client:
        """The client of ipyparallel, whose ids are the ranks."""
        self._connected()
        if self._client is None:
            from ipyparallel import Client

            self._client = Client(str(self.home.client_file))
        return self._client

    @property
    def view(self) -> DirectView:
        """All engines, in the order of their ranks."""
        return self[:]

    def __getitem__(self, which: Any) -> DirectView:
        self._expect_all()
        view: DirectView = self.client[which]
        return view

    def _expect_all(self) -> None:
        """Refuse to go on with some of the engines, while they come."""
        said = self.said()
        if said.get("phase") in ("starting", "restarting"):
            there = f"{said['registered']} of {said['plan']['n']}"
            raise EnginesLost(f"the engines are starting, {there} are there: try again in a moment")

    def _connected(self) -> dict[str, Any]:
        """What the manager says. Whoever starts the controller again has all that were connected to it connect anew."""
        said = self.said()
        if not said:
            raise SetupError(self._absent())
        if said.get("controller") != self._controller:
            self.close()
            self._controller = said.get("controller")
        return said

    # ---------------------------------------------------------------------------------- `ifog.run(…, on=cluster)`
    def submit(self, task: Mapping[str, Any]) -> str:
        """Begin ``ifog.run(**task)`` on all engines; a key for it."""
        trouble = self.trouble()
        if trouble:
            raise EnginesLost(trouble)
        from ..experiment.place import packed, work

        key = uuid.uuid4().hex
        self._submitted[key] = self.view.apply_async(work, key, packed(task))
        return key

    def records(self, key: str, begin: int) -> Report:
        """What has become of it, with its rows from ``begin`` on."""
        submitted = self._submitted[key]
        ended = submitted.done()  # before the question, else it might end between the two
        deadline = time.monotonic() + _DEAF
        while True:
            try:
                report: Report = self.wire.request(0, "ifog.experiment.place:seen", key, begin).result(1.0)
                break
            except TimeoutError:
                trouble = self.trouble()
                if trouble or time.monotonic() > deadline:
                    raise EnginesLost(trouble or f"rank 0 has not answered for {_DEAF:g} s") from None
        if ended and report.status not in ("done", "stopped", "failed"):
            raise _why(submitted)
        if report.error is not None and report.error.startswith(PeerFailed.__name__):
            self._say_if_engines_died()
        return report

    def _say_if_engines_died(self) -> None:
        """A rank's death is known to its neighbours a moment before the manager hears of it, who also knows what helps."""
        deadline = time.monotonic() + _HEARSAY
        while time.monotonic() < deadline:
            trouble = self.trouble()
            if trouble:
                raise EnginesLost(trouble)
            time.sleep(0.05)

    def command(self, key: str, command: Command) -> None:
        """Steer it."""
        self.wire.request(0, "ifog.experiment.place:steered", key, command).result(_DEAF)

    # ------------------------------------------------------------------------------------------------------- the end
    def close(self) -> None:
        """Hang up. The engines stay."""
        wire, self._wire = self._wire, None
        client, self._client = self._client, None
        if wire is not None:
            wire.close()
        if client is not None:
            with contextlib.suppress(Exception):
                client.close(linger=0)


def _why(submitted: Any) -> Exception:
    """Why a run has never begun."""
    from ipyparallel.error import CompositeError, RemoteError

    try:
        submitted.get()
    except CompositeError as error:
        faults = {where["engine_id"]: Fault(kind, said, "") for kind, said, _, where in error.elist}
        (ranks, fault), *_ = causes(faults)[0]
        return ExperimentError(f"{ranks_in_short(ranks)}: {fault.line}")
    except RemoteError as error:
        return ExperimentError(Fault(error.ename, error.evalue, "").line)
    except Exception as error:  # noqa: BLE001  (the engines have died, for instance)
        return error
    return ExperimentError("the engines have ended the run without a word")


def connect(cluster_id: str | None = None, profile: str | None = None) -> Cluster:
    """The cluster that runs: without arguments the only one, or the one without a name."""
    there = [
        home
        for home in running()
        if (cluster_id is None or home.cluster_id == cluster_id) and (profile is None or home.profile == profile)
    ]
    if len(there) > 1:
        there = [home for home in there if home in (Home(), Home(profile or PROFILE, cluster_id or ""))] or there
    if not there:
        wanted = f" {cluster_id or profile!r}" if cluster_id or profile else ""
        raise SetupError(
            f"no cluster{wanted} is running on this machine: `ifog start -np 4` in a terminal, or `%ifog start -np 4` in a "
            "notebook, starts one with 4 engines"
        )
    if len(there) > 1:
        raise SetupError(f"several clusters run: say which, {' or '.join(f'ifog.connect({home.arguments})' for home in there)}")
    return Cluster.of(there[0])


def clusters() -> list[Cluster]:
    """All clusters of this user that run on this machine."""
    return [Cluster.of(home) for home in running()]


def _complaint(home: Home) -> str:
    """Why a manager has ended while it started."""
    try:
        _, found, why = home.log.read_text(errors="replace").rpartition(COMPLAINT)
    except OSError as error:
        return str(home.unwritable(error))
    return why.strip() if found else f"the manager has ended without a word; what there is stands in {home.log}"
