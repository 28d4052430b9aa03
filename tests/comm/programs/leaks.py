"""Two hundred failures of all kinds, and what they leave behind: ``mpiexec -n 4 python leaks.py FOLDER``."""

import faulthandler
import gc
import json
import signal
import statistics
import sys
import time
from pathlib import Path

import torch

import ifog
from ifog.comm import world

folder = Path(sys.argv[1])
faulthandler.dump_traceback_later(150, exit=True)
rank, size = ifog.rank(), ifog.size()
LARGE = 200_000
meeting = world.current().wire.mpi.COMM_WORLD.Dup()


def meet():
    """Wait for all ranks, past ifog: a rank that fails next would disturb those that are still leaving a call."""
    request = meeting.Ibarrier()
    while not request.Test():
        time.sleep(0.0005)


def raises(k):
    if rank == k % size:
        raise ValueError(f"failure {k}")
    ifog.allreduce(torch.ones(LARGE))


def calls_something_else(k):
    ifog.allreduce(torch.ones(3 + (rank == k % size)))


def is_interrupted(k):
    if rank == k % size:
        signal.raise_signal(signal.SIGINT)
    ifog.neighbor_allreduce(torch.ones(LARGE))


def leaves_handles_open(k):
    handles = [ifog.allreduce_nonblocking(torch.ones(LARGE)), ifog.recv_nonblocking((rank + 1) % size)]
    if rank == k % size:
        raise KeyError("open")
    ifog.barrier()
    return handles


def leaves_messages_unread(k):
    ifog.send("short", (rank + 1) % size, tag=k)
    ifog.send_nonblocking(torch.ones(LARGE), (rank + 1) % size, tag=k)
    if rank == k % size:
        raise OSError("unread")
    ifog.barrier()


def in_backward(k):
    y = torch.ones(LARGE, requires_grad=True)
    loss = ifog.neighbor_allreduce(y).sum()
    if rank == k % size:
        raise RuntimeError("backward")
    loss.backward()


KINDS = [raises, calls_something_else, is_interrupted, leaves_handles_open, leaves_messages_unread, in_backward]


def measure():
    """What this rank has of everything that could leak, and how long a call takes."""
    gc.collect()
    here = world.current()
    resident = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon"))
    times = []
    x = torch.ones(1000)
    for _ in range(200):
        began = time.perf_counter()
        right = ifog.allreduce(x).sum().item() == 1000
        times.append(time.perf_counter() - began)
        assert right
    meet()
    return {
        "memory": int(resident.split()[1]) * 1024,
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
        "held": here.pool.held,
        "kept": here.pool.kept,
        "mapped": here.pool._top,
        "requests": sum(not r.Test() for wire in (here.wire, here.pairs) for r in (*wire.sends, *dict(wire.receives).values())),
        "communicators": sum(type(thing).__name__ == "Intracomm" for thing in gc.get_objects()),
        "threads": len(list(Path("/proc/self/task").iterdir())),
        "pending": len(here.pending),
        "shared files": [line for line in Path("/proc/self/maps").read_text().splitlines() if "/dev/shm/ifog" in line],
        "seconds": statistics.median(times),
    }


def main():
    counted = 0
    for k in range(200):
        try:
            KINDS[k % len(KINDS)](k)
        except (Exception, KeyboardInterrupt):
            counted += 1
            ifog.recover()
        else:
            # A rank that had no part in the failure may have come through. It hears of it.
            while world.current().board.failed_epoch < world.current().epoch:
                time.sleep(0.0001)
            ifog.recover()
        if k == 4 * len(KINDS) - 1:
            before = measure()
        elif k % len(KINDS) == 0:
            assert ifog.allreduce(torch.tensor(1.0), "sum").item() == size
            meet()
    after = measure()
    (folder / f"{rank}.json").write_text(json.dumps({"before": before, "after": after, "counted": counted}))
    ifog.barrier()


main()
