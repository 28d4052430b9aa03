"""How the ranks find each other: MPI starts, all of them come, and each hears what the others say.

Whoever waits here can be interrupted, and goes on where it was when it calls again. Nothing waits inside MPI, not even for its
start: there a rank would wait, deaf, for one that has a typo above its first call.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import itertools
import os
import pickle
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import Deadlock, SetupError, WaitWarning
from ..topology.arguments import warn
from .board import ranks_in_words
from .patience import DEADLOCK_AFTER, seconds_until_warning

if TYPE_CHECKING:
    from mpi4py import MPI

T = TypeVar("T")

_begun: dict[str, Any] = {}
"""What has been begun together with the others, and an interrupt has left behind: it is not to be begun twice."""
_INSISTING = 5.0
_LAUNCHERS = {"hydra_pmi_proxy", "orterun", "orted", "prterun", "prted", "mpirun", "mpiexec"}


@contextlib.contextmanager
def undisturbed() -> Iterator[Callable[[], None]]:
    """Keep a SIGINT until the end. What this gives, when called, lets it through before; so does insisting."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield lambda: None
        return
    kept: list[float] = []

    def keep(*_: Any) -> None:
        kept.append(time.monotonic())
        if kept[-1] - kept[0] > _INSISTING:
            let_through()

    def let_through() -> None:
        if kept:
            kept.clear()
            before(signal.SIGINT, sys._getframe(1))

    signal.signal(signal.SIGINT, keep)
    try:
        yield let_through
    finally:
        signal.signal(signal.SIGINT, before)
        let_through()


def meet(let_through: Callable[[], None]) -> list[MPI.Intracomm]:
    """Wait until all ranks are here. Communicators of our own: for all, for what machines tell each other, and for pairs."""
    mpi = start_mpi(let_through)
    comms = []
    for name in ("world", "side", "pairs"):
        if name not in _begun:
            _begun[name] = mpi.COMM_WORLD.Idup()
        comm, request = _begun[name]
        _until(request.Test, let_through)
        comms.append(comm)
    if "all" not in _begun:  # also for another world after `shutdown`, which has the same communicators
        _begun["all"] = comms[0].Ibarrier()
    _until(_begun["all"].Test, let_through)
    del _begun["all"]
    return comms


def allgather(comm: MPI.Intracomm, value: T) -> list[T]:
    """What every rank says. They are all here, so it does not take long."""
    import numpy as np

    mine = np.frombuffer(pickle.dumps(value), np.uint8)
    sizes = np.zeros(comm.size, np.int64)
    _until(comm.Iallgather(np.array([mine.size], np.int64), sizes).Test)
    everything = np.zeros(sizes.sum(), np.uint8)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    _until(comm.Iallgatherv(mine, [everything, (sizes.tolist(), starts[:-1].tolist())]).Test)
    return [pickle.loads(everything[low:high].tobytes()) for low, high in itertools.pairwise(starts)]


@contextlib.contextmanager
def agreed(comm: MPI.Intracomm, what: str) -> Iterator[None]:
    """What the ranks do here succeeds on all of them, or is an error on all."""
    problem, cause = "", None
    try:
        yield
    except Exception as error:  # noqa: BLE001 (it is raised again, on all ranks)
        problem, cause = f"rank {comm.rank} {what}: {error}", error
    for said in allgather(comm, problem):
        if said:
            raise SetupError(said) from cause


def _until(done: Callable[[], bool], let_through: Callable[[], None] = lambda: None) -> None:
    began = time.monotonic()
    warn_at = began + seconds_until_warning()
    look_at = began + DEADLOCK_AFTER
    gone: list[int] = []
    while not done():
        let_through()
        now = time.monotonic()
        time.sleep(0 if now - began < 0.01 else 0.001)
        if now > look_at:
            look_at, before, gone = now + 0.5, gone, _gone()
            if gone and gone == before:
                _forget_memory_of_mpi()  # nobody will need it, and engines may be ended by a signal
                has = "has" if len(gone) == 1 else "have"
                raise Deadlock(f"ifog.init() waits for {ranks_in_words(gone)}, which {has} ended without ever calling ifog")
        if now > warn_at:
            warn_at = now + 3 * (now - began)
            warn(
                f"ifog.init() has been waiting {now - began:.0f} s for the other ranks to call it too, or any other of ifog",
                WaitWarning,
            )


# --------------------------------------------------------------------------------------------------------------- MPI
def start_mpi(let_through: Callable[[], None] = lambda: None) -> Any:
    """mpi4py, with MPI started. MPI_Init waits for all ranks: so a thread calls it, and without Python's lock."""
    import mpi4py

    if "mpi4py.MPI" not in sys.modules:
        mpi4py.rc.initialize = False
        mpi4py.rc.finalize = False  # MPI_Finalize may wait for ever for a rank that has failed: `ending` decides
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        raise SetupError(f"no MPI can be loaded ({str(error).splitlines()[0]}): pip install mpich") from error
    if MPI.Is_finalized():
        raise SetupError("MPI has been finalized in this process, and cannot start again: start another process")
    if not MPI.Is_initialized():
        _not_started_by_a_rank()
        if "mpi" not in _begun:
            library, given = ctypes.CDLL(MPI.__file__), ctypes.c_int()
            arguments = (None, None, ctypes.c_int(MPI.THREAD_MULTIPLE), ctypes.byref(given))
            atexit.register(_forget_memory_of_mpi)  # until the ranks have met, and `forget_files_of_mpi` is called
            _begun["mpi"] = threading.Thread(target=library.MPI_Init_thread, args=arguments, name="MPI_Init", daemon=True)
            _begun["mpi"].start()
        _until(lambda: not _begun["mpi"].is_alive(), let_through)
        for comm in (MPI.COMM_SELF, MPI.COMM_WORLD):
            comm.Set_errhandler(MPI.ERRORS_RETURN)  # as mpi4py does when it starts MPI itself: errors, not the end
    return MPI


def rank_of_mpi() -> int:
    """The place of this process among all, as MPI counts them, which has been started."""
    from mpi4py import MPI

    rank: int = MPI.COMM_WORLD.rank
    return rank


def _not_started_by_a_rank() -> None:
    """A process that a rank has started inherits the variables of the launcher, but not the line to it."""
    line = os.environ.get("PMI_FD", "")
    if line.isdecimal():
        try:
            os.fstat(int(line))
        except OSError:
            raise SetupError(
                "this process was started by a rank, and is no rank itself: talk in the rank, and hand over what is needed; or "
                "start it without the variables PMI_*, and it is a world of its own"
            ) from None


def _gone() -> list[int]:
    """The ranks whose processes have ended, as far as the launcher on this machine tells (Linux, all ranks on it)."""
    variables = ("PMI_RANK", "PMI_SIZE", "MPI_LOCALNRANKS")
    if "OMPI_COMM_WORLD_RANK" in os.environ:
        variables = ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE")
    name, size, local_size = variables
    try:
        mates = _launched_together()
        if os.environ[size] != os.environ[local_size] or not mates:
            return []
        here = set()
        for mate in mates:
            said = (mate / "environ").read_bytes().split(b"\0")
            here |= {int(entry.partition(b"=")[2]) for entry in said if entry.startswith(name.encode() + b"=")}
        return sorted(set(range(int(os.environ[size]))) - here)
    except (OSError, KeyError, ValueError):
        return []


def start_mpi_together() -> None:
    """Start MPI on a rank that was started with all the others, and leave no file of it for which somebody must care."""
    mpi = start_mpi()
    _until(mpi.COMM_WORLD.Ibarrier().Test)
    forget_files_of_mpi()


def _launched_together() -> list[Path]:
    """The processes that the same launcher has started on this machine, this one among them, if it is one that we know."""
    launcher = Path(f"/proc/{os.getppid()}")
    if (launcher / "comm").read_text().strip() not in _LAUNCHERS:
        return []
    return [Path(f"/proc/{pid}") for children in launcher.glob("task/*/children") for pid in children.read_text().split()]


def forget_files_of_mpi() -> None:
    """Unlink what MPICH and its launcher would leave behind after a kill -9. All ranks have opened it by now."""
    atexit.unregister(_forget_memory_of_mpi)
    _forget_memory_of_mpi(of_mates=False)
    with contextlib.suppress(OSError, KeyError, ValueError):
        # its launcher, Hydra, wrote down the machine's topology in /tmp, and tells its ranks where
        proxy = Path(f"/proc/{os.getppid()}/comm").read_text().strip() == "hydra_pmi_proxy"
        if proxy and os.environ.get("MPIR_CVAR_PMI_VERSION", "1") == "1":
            name = _ask_launcher("cmd=get_my_kvsname\n")["kvsname"]
            file = _ask_launcher(f"cmd=get kvsname={name} key=PMI_hwloc_xmlfile\n")["value"]
            if Path(file).name.startswith("hydra_hwloc_xmlfile_"):
                Path(file).unlink(missing_ok=True)


def _forget_memory_of_mpi(*, of_mates: bool = True) -> None:
    """Unlink the shared memory of MPICH. One rank of a machine makes it; the others see it when all are there."""
    with contextlib.suppress(OSError):
        for process in (Path("/proc/self"), *(_launched_together() if of_mates else ())):
            with contextlib.suppress(OSError):  # it has just ended
                maps = (process / "maps").read_text().splitlines()
                for file in {line.split()[5] for line in maps if "/dev/shm/mpich_shm_" in line}:
                    Path(file).unlink(missing_ok=True)


def _ask_launcher(question: str) -> dict[str, str]:
    """A question in PMI-1, the language between MPICH and Hydra, as MPI itself asks it while it starts."""
    descriptor = int(os.environ["PMI_FD"])
    os.write(descriptor, question.encode())
    answer = b""
    while not answer.endswith(b"\n") and select.select([descriptor], [], [], 1.0)[0]:
        answer += os.read(descriptor, 4096)
    return dict(word.split("=", 1) for word in answer.decode().split() if "=" in word)
