"""How processes end: ``mpiexec -n 3 python exits.py FOLDER HOW``. Rank 1 does something, and the others find out."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

folder, how = Path(sys.argv[1]), sys.argv[2]
launched = int(os.environ.get("PMI_RANK") or os.environ.get("OMPI_COMM_WORLD_RANK") or 0)


def note(what, more=""):
    """Write down when something happened, on the clock that all processes share."""
    unfinished = folder / f"{what}-{launched}"  # an interrupt may come while it is written
    unfinished.write_text(f"{time.monotonic()} {more}")
    unfinished.replace(folder / f"{what}.{launched}")


def shared_memory():
    """The files in memory that this process has opened."""
    maps = Path("/proc/self/maps").read_text().splitlines()
    return {line.split(maxsplit=5)[5].removesuffix(" (deleted)") for line in maps if " /dev/shm/" in line}


def files_of_mpi():
    """What MPI, its launcher and ifog have made in folders that all can see. The system knows the names when they are gone."""
    from ifog.comm import beginning

    found = shared_memory()
    if "PMI_FD" in os.environ:
        name = beginning._ask_launcher("cmd=get_my_kvsname\n")["kvsname"]
        found.add(beginning._ask_launcher(f"cmd=get kvsname={name} key=PMI_hwloc_xmlfile\n")["value"])
    return "\n".join(found)


if how == "import_error" and launched == 1:
    note("failed")
    raise ImportError("a module that this rank does not have")
elif how == "never_calls" and launched == 1:
    note("failed")
    sys.exit(0)
elif how == "mpi4py_first":
    from mpi4py import MPI

    MPI.COMM_WORLD.Barrier()
elif how == "no_ifog":
    note("ended")
    sys.exit(0)

import torch

import ifog

if how == "late_to_init" and launched == 1:
    time.sleep(2.5)

if how in ("import_error", "never_calls"):
    init = ifog.init  # what it needs is imported
    note("waits")
    try:
        init()
    finally:
        note("released", "\n".join(["", *shared_memory()]))

rank = ifog.rank()
assert ifog.allreduce(torch.ones(3)).tolist() == [1, 1, 1]
note("ready", f"{os.getpid()}\n{files_of_mpi()}")


def wait_for_the_others():
    try:
        while True:
            ifog.allreduce(torch.ones(3))
    except BaseException:
        note("released")
        raise


if how in ("uncaught", "mpi4py_first"):
    if rank == 1:
        time.sleep(0.3)
        note("failed")
        raise ValueError("this rank has no data")
    wait_for_the_others()

elif how == "uncaught_while_others_compute":
    if rank == 1:
        note("failed")
        raise ValueError("this rank has no data")
    time.sleep(60)

elif how == "uncaught_in_a_large_transfer":
    if rank == 1:
        note("failed")
        raise ValueError("this rank has no data")
    ifog.send(torch.ones(3_000_000), 1)

elif how == "sys_exit":
    if rank == 1:
        sys.exit(3)

elif how == "sys_exit_while_others_wait":
    if rank == 1:
        note("failed")
        sys.exit(3)
    wait_for_the_others()

elif how == "different_times":
    time.sleep(1.5 * rank)
    note("ended")

elif how == "handle_never_waited_for":
    handle = ifog.allreduce_nonblocking(torch.ones(200_000))
    if rank != 1:
        assert handle.wait().sum() == 200_000

elif how in ("killed", "segfault", "ends_without_a_word"):
    if rank == 1:
        time.sleep(0.3)
        note("failed")
        if how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        elif how == "segfault":
            os.kill(os.getpid(), signal.SIGSEGV)
        os._exit(0)
    wait_for_the_others()

elif how == "waits":  # until it is ended from outside
    if rank == 1:
        time.sleep(60)
    wait_for_the_others()

elif how == "caught_but_not_recovered":
    try:
        if rank == 1:
            raise ValueError("caught")
        ifog.barrier()
    except (ValueError, ifog.PeerFailed):
        note("released")

elif how == "caught_by_all":
    try:
        ifog.allreduce(torch.ones(3 if rank else 4))
        ifog.barrier()
    except ifog.Mismatch:
        note("released")
    if rank == 1:
        time.sleep(3.5)
    note("ended")

elif how == "child":
    run = subprocess.run([sys.executable, "-c", "import ifog; ifog.size()"], capture_output=True, text=True)
    note("ended", run.stderr)

elif how == "shutdown":
    ifog.shutdown()
    ifog.init()
    assert ifog.allreduce(torch.ones(3)).tolist() == [1, 1, 1]
    ifog.shutdown()

elif how in ("import_error", "never_calls", "late_to_init", "alone"):
    note("ended")

else:
    raise NotImplementedError(how)
