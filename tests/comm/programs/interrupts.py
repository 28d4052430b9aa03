"""SIGINT at random moments, from before the first call on: ``mpiexec -n 8 python interrupts.py FOLDER SECONDS one|all``.

A signal may come anywhere inside ifog. Whoever is hit, or hears of it, recovers, and all go on from the last step that all have
made. In the end every step must have been right, on all ranks.
"""

import faulthandler
import gc
import json
import os
import random
import signal
import sys
import threading
import time
from pathlib import Path

import torch

import ifog
from ifog.comm import world

folder, seconds, who = sys.argv[1:]
until = None
inside = False
counts = {"interrupts": 0, "failures": 0, "steps": 0}


def interrupt(*_):
    if inside:
        counts["interrupts"] += 1
        raise KeyboardInterrupt


def within(function, *arguments):
    """Call something of ifog, in which an interrupt may come; whether it came to its end."""
    global inside
    try:
        inside = True
        result = function(*arguments)
        inside = False
    except KeyboardInterrupt:
        inside = False
        return None
    except ifog.CommError:
        inside = False
        counts["failures"] += 1
        return None
    return (result,)


def shoot(pids):
    chance = random.Random(os.getpid())
    while time.monotonic() < until:
        time.sleep(chance.uniform(0.0, 0.15))
        for pid in pids:
            os.kill(pid, signal.SIGINT)


def step(k, window):
    """One step of each kind, and whether it was right."""
    rank, size = ifog.rank(), ifog.size()
    mean = (size - 1) / 2
    large = torch.full((50_000,), rank + k, dtype=torch.float64)
    handle = ifog.allreduce_nonblocking(large)
    window.put(large)
    small = ifog.neighbor_allreduce(torch.tensor([float(rank)], dtype=torch.float64)).item()
    ifog.send(k, (rank + 1) % size)
    right = [ifog.recv((rank - 1) % size) == k, bool((handle.wait() == mean + k).all()), 0 <= small < size]
    right.append(ifog.broadcast(large, root=k % size)[0].item() == k % size + k)
    right.append(ifog.allgather_object((rank, k)) == [(r, k) for r in range(size)])
    arrived = window.update(0.0, dict.fromkeys(window.in_neighbors, 1.0))
    right.append(bool((arrived == sum(j + k for j in window.in_neighbors)).all()))
    return right


def main():
    global until
    faulthandler.dump_traceback_later(float(seconds) + 60, exit=True)
    signal.signal(signal.SIGINT, interrupt)
    until = time.monotonic() + float(seconds)
    mine = [os.getpid()]
    threading.Thread(target=shoot, args=(mine if who == "all" else [],), daemon=True).start()
    while not within(ifog.init):
        pass
    rank = ifog.rank()
    window = ifog.Window(torch.zeros(50_000, dtype=torch.float64))
    world.current().wire.mpi.COMM_WORLD.Barrier()  # an interrupt of one is not to hit others in a call that nobody repeats
    before = world.current().pool.held
    if who == "one" and rank == 1:
        threading.Thread(target=shoot, args=(mine,), daemon=True).start()
    k, wrong = 0, []
    while True:
        if world.current().board.failed_epoch >= world.current().epoch:
            if not within(ifog.recover):
                continue
            agreed = within(ifog.allgather_object, k)
            if not agreed:
                continue
            k = min(agreed[0])
        right = within(step, k, window)
        if not right:
            continue
        if not all(right[0]):
            wrong.append((k, right[0]))
        k += 1
        counts["steps"] = k
        late = within(ifog.allreduce, torch.tensor(float(time.monotonic() > until + 0.5)), "min")
        if late and late[0].item():
            break
    gc.collect()  # an error that is kept by what it tells of, and keeps its frames
    held = world.current().pool.held - before
    Path(folder, f"{rank}.json").write_text(json.dumps(counts | {"wrong": wrong, "held": held}))
    ifog.barrier()


main()
