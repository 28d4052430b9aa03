"""Engines to try things on: a real cluster, its processes, and what each rank answered."""

import ast
import contextlib
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
from traitlets.config import Config

from ifog.comm.mpi import find


@dataclass
class Outcome:
    """What a rank answered to a cell."""

    rank: int
    error: str | None
    """The name of the error, None if there was none, ``"no reply"`` if nothing came before the deadline."""
    message: str = ""
    traceback: str = ""
    value: str = ""
    """What the cell's last expression was, as text."""
    stdout: str = ""
    stderr: str = ""
    seconds: float = float("inf")
    """From the submission to the reply."""


class Cell:
    """A cell that runs on some engines."""

    def __init__(self, engines, code, ranks, silent=False):
        self.began = time.monotonic()
        self.ended = {}
        self.results = {}
        for rank in ranks:
            text = code(rank) if callable(code) else code
            result = engines.client[rank].execute(text, silent=silent, block=False)
            result.add_done_callback(lambda _, rank=rank: self.ended.setdefault(rank, time.monotonic() - self.began))
            self.results[rank] = result

    def outcomes(self, timeout=20):
        deadline = time.monotonic() + timeout
        return [self._outcome(rank, result, deadline - time.monotonic()) for rank, result in self.results.items()]

    def _outcome(self, rank, result, timeout):
        from ipyparallel.error import KernelError, RemoteError

        try:
            reply = result.get(timeout=max(timeout, 0.001))
        except TimeoutError:
            return Outcome(rank, "no reply")
        except RemoteError as error:
            answer = Outcome(rank, error.ename, error.evalue, re.sub(r"\x1b\[[\d;]*m", "", error.traceback))
        except KernelError as error:  # the engine has died, or never was
            answer = Outcome(rank, type(error).__name__, str(error))
        else:
            result.wait_for_output(5)  # what it printed comes by another way than the reply
            value = reply.execute_result["data"]["text/plain"] if reply.execute_result else ""
            answer = Outcome(rank, None, value=value)
        answer.stdout, answer.stderr, answer.seconds = (
            result.stdout,
            result.stderr,
            self.ended.get(rank, time.monotonic() - self.began),
        )
        return answer


class Engines:
    """A cluster of MPI engines without nannies, in a folder of its own, with `ifog.engine` in each."""

    def __init__(self, n, folder, **environment):
        import ipyparallel

        self.client = None
        self.n, self.folder, self.temporary = n, folder, folder / "tmp"
        self.temporary.mkdir()
        mpi = find()
        config = Config()
        config.MPILauncher.mpi_cmd = [str(mpi.launcher)]
        config.MPIEngineSetLauncher.engine_args = ["--IPEngine.enable_nanny=False"]
        config.MPIEngineSetLauncher.environment = mpi.environment() | {"TMPDIR": str(self.temporary)} | environment
        self.cluster = ipyparallel.Cluster(
            engines="mpi",
            n=n,
            delay=0,
            profile_dir=str(folder / "profile"),
            controller_args=["--ping=300"],  # an engine counts as registered after its first heartbeat
            engine_timeout=60,
            config=config,
            log_level=50,
        )
        try:
            self.client = self.cluster.start_and_connect_sync()
            (launcher,) = self.cluster.engines.values()
            self.launcher = psutil.Process(launcher.pid)
            outcomes = self.good("import os; from mpi4py import MPI; (os.getpid(), MPI.COMM_WORLD.rank)")
            processes = [ast.literal_eval(outcome.value) for outcome in outcomes]
            assert [rank for _, rank in processes] == list(range(n))  # an engine's id is its rank
            self.pids = [pid for pid, _ in processes]
            self.files = mpi_files(self.pids)
        except BaseException:
            self.stop()
            raise

    def start(self, code, on=None, silent=False):
        """Send a cell, the same to all or ``code(rank)`` to each, and do not wait for it."""
        return Cell(self, code, range(self.n) if on is None else on, silent)

    def begin(self, code, on=None):
        """Send a cell, and wait until it runs everywhere."""
        prefix = "print('begun', flush=True)\n"
        cell = self.start(lambda rank: prefix + (code(rank) if callable(code) else code), on)
        deadline = time.monotonic() + 20
        while not all("begun" in result.stdout for result in cell.results.values()):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return cell

    def run(self, code, on=None, silent=False, timeout=20):
        """What each rank answered to a cell."""
        return self.start(code, on, silent).outcomes(timeout)

    def good(self, code, on=None, timeout=20):
        """Run a cell that no rank fails."""
        outcomes = self.run(code, on, timeout=timeout)
        assert not any(outcome.error for outcome in outcomes), outcomes
        return outcomes

    def signal(self, number, *ranks):
        for rank in ranks or range(self.n):
            os.kill(self.pids[rank], number)

    def healthy(self):
        """Whether all engines answer."""
        return self.launcher.is_running() and not any(outcome.error for outcome in self.run("1 + 1", timeout=5))

    def stop(self):
        """End everything, whatever state it is in."""
        processes = psutil.Process().children(recursive=True)
        if self.client is not None:
            self.client.close()
        self.cluster.stop_engines_sync()
        self.cluster.stop_controller_sync()
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.environ().get("TMPDIR") == str(self.temporary):
                    process.kill()


def mpi_files(pids):
    """The files in /dev/shm that belong to processes, whether they still have a name or not."""
    lines = [line for pid in pids for line in Path(f"/proc/{pid}/maps").read_text().splitlines() if "/dev/shm/" in line]
    return {Path(line.split()[5]) for line in lines}
