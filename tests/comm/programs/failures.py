"""Everything that can go wrong between ranks, one case after the other: ``mpiexec -n 4 python failures.py FOLDER [CASE...]``.

After each case all ranks recover, and check that the next calls are right. What each rank saw stands in FOLDER/RANK.jsonl.
"""

import atexit
import contextlib
import faulthandler
import json
import os
import signal
import sys
import threading
import time
import warnings
from pathlib import Path

import torch

import ifog
from ifog.comm import world

CASES = {}
folder, *chosen = sys.argv[1:]
rank, size = ifog.rank(), ifog.size()
meeting = world.current().wire.mpi.COMM_WORLD.Dup()
last = size - 1
x = torch.arange(5.0) + rank
LARGE = 300_000  # elements: more than fits in a slot, or in one message between machines
state, seen = {}, {}


def case(function):
    CASES[function.__name__] = function
    return function


def fails_now():
    """The moment of the failure, on the clock that all processes of the machine share."""
    if "ended" not in seen:
        seen["failed_at"] = time.monotonic()


def interrupt_after(seconds, failure=True):
    """Interrupt this rank in a while, if it still is in this case."""
    state["timer"] = threading.Timer(seconds, lambda: ((fails_now() if failure else None), os.kill(os.getpid(), signal.SIGINT)))
    state["timer"].start()


def interrupt(*_):
    if state.get("inside"):
        state["inside"] = False
        raise KeyboardInterrupt


signal.signal(signal.SIGINT, interrupt)


def meet(place, or_failure=False):
    """Wait for all ranks, past ifog: a rank that fails in a case would disturb those that are still leaving a call."""
    if place not in state:
        state[place] = meeting.Ibarrier()
    while not state[place].Test():
        if or_failure and failed():
            return
        time.sleep(0.001)


def failed():
    here = world.current()
    return here.board.words[0] >= here.epoch


def again():
    """Recover, however often that takes, and whatever interrupts it."""
    for _ in range(50):
        with contextlib.suppress(KeyboardInterrupt, ifog.CommError):
            ifog.recover()
            return
    raise RuntimeError("the ranks do not come together again")


def all_is_well():
    """Whether calls of all kinds are right."""
    mean = sum(range(size)) / size
    n = torch.full((LARGE,), float(rank))
    results = [
        (ifog.allreduce(x), torch.arange(5.0) + mean),
        (ifog.allreduce(n), torch.full((LARGE,), mean)),
        (ifog.broadcast(x, root=last), torch.arange(5.0) + last),
        (ifog.allgather(torch.tensor([rank])), torch.arange(size)),
    ]
    ifog.set_topology(ifog.topology.ring(size))
    neighbors = ifog.in_neighbors()
    mixed = ifog.neighbor_allreduce(n, self_weight=0.5, src_weights={j: 0.5 / len(neighbors) for j in neighbors})
    results.append((mixed, torch.full((LARGE,), 0.5 * rank + 0.5 * sum(neighbors) / len(neighbors))))
    ifog.send(rank, (rank + 1) % size)
    results.append((torch.tensor(ifog.recv((rank - 1) % size)), torch.tensor((rank - 1) % size)))
    return all(torch.allclose(result.double(), expected.double(), atol=1e-6) for result, expected in results)


def main():
    out = (Path(folder) / f"{rank}.jsonl").open("w")
    for name in chosen or CASES:
        function = CASES[name]
        faulthandler.dump_traceback_later(45, exit=True)
        state.clear()
        seen.clear()
        meet("at the beginning")
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            run(function)
        if "timer" in state:
            state["timer"].cancel()
            state["timer"].join()
        meet("at the end")
        seen["well"] = all_is_well()
        seen["warnings"] = [str(w.message) for w in warned if issubclass(w.category, ifog.errors.WaitWarning)]
        out.write(json.dumps({"case": name} | seen) + "\n")
        out.flush()
        faulthandler.cancel_dump_traceback_later()
    out.close()


def run(function):
    """Run a case, and recover if any rank has failed in it."""
    try:
        state["inside"] = True
        seen["began"] = time.monotonic()
        seen["result"] = function()
        state["inside"] = False
        seen["ended"] = time.monotonic()
        meet("at the end", or_failure=True)
    except (Exception, KeyboardInterrupt) as error:
        state["inside"] = False
        seen["ended"] = time.monotonic()
        seen.update({"error": type(error).__name__, "message": str(error)})
        again()
    else:
        if failed():
            again()
    seen["recovered"] = time.monotonic() - seen["ended"]


# ------------------------------------------------------------------------------------------------ 1, 2: one rank raises
@case
def raises_before():
    if rank == 1:
        fails_now()
        raise ValueError("no data on this rank")
    ifog.allreduce(x)


@case
def raises_amid():
    for k in range(10):
        if rank == last and k == 5:
            fails_now()
            raise ZeroDivisionError("step 5")
        ifog.neighbor_allreduce(x)
    ifog.barrier()


@case
def raises_with_a_strange_message():
    if rank == 1:
        fails_now()
        raise RuntimeError("\ud800 " + "long " * 2000 + "\nand of two lines")
    ifog.barrier()


@case
def two_raise():
    if rank in (1, last):
        fails_now()
        raise ValueError(f"rank {rank} cannot")
    ifog.barrier()


@case
def raises_before_a_large_transfer():
    if rank == 0:
        fails_now()
        raise ValueError("before a large transfer")
    ifog.allreduce(torch.ones(LARGE))


# ------------------------------------------------------------------------------------------------- 3: different calls
def differs(mine, theirs):
    fails_now()
    return theirs() if rank == 1 else mine()


@case
def another_operation():
    differs(lambda: ifog.allreduce(x), lambda: ifog.barrier())


@case
def another_name():
    differs(lambda: ifog.allreduce(x, name="loss"), lambda: ifog.allreduce(x, name="accuracy"))


@case
def another_shape():
    differs(lambda: ifog.neighbor_allreduce(x), lambda: ifog.neighbor_allreduce(torch.zeros(7)))


@case
def another_large_shape():
    differs(lambda: ifog.allreduce(torch.zeros(LARGE)), lambda: ifog.allreduce(torch.zeros(LARGE + 1)))


@case
def another_dtype():
    differs(lambda: ifog.allreduce(x), lambda: ifog.allreduce(x.double()))


@case
def another_op():
    differs(lambda: ifog.allreduce(x, "sum"), lambda: ifog.allreduce(x, "max"))


@case
def another_topology():
    differs(lambda: ifog.set_topology(ifog.topology.ring(size)), lambda: ifog.set_topology(ifog.topology.star(size)))


@case
def another_root():
    differs(lambda: ifog.broadcast(x, root=0), lambda: ifog.broadcast(x, root=2))
    ifog.barrier()


@case
def one_call_more():
    fails_now()
    if rank == 1:
        ifog.allreduce(x)
    ifog.barrier()
    ifog.allreduce(x, name="the second")


@case
def an_edge_that_one_end_names():
    fails_now()
    dests = {1: [0], 0: [1]}.get(rank, [])
    sources = {1: {0: 0.5}}.get(rank, {})  # rank 0 does not expect what rank 1 sends
    ifog.neighbor_allreduce(x, self_weight=0.5, src_weights=sources, dst_weights=dests)
    ifog.barrier()


@case
def another_pair_gossip():
    fails_now()
    if rank < 2:
        ifog.pair_gossip(torch.zeros(3 + rank), 1 - rank)
    ifog.barrier()


@case
def refused_on_one_rank():
    fails_now()
    if rank == 1:
        with contextlib.suppress(ifog.ArgumentError):
            ifog.allreduce("hello")
        time.sleep(3)
    ifog.allreduce(x)


@case
def refused_and_called_again_is_fine():
    if rank == 1:
        with contextlib.suppress(ifog.ArgumentError):
            ifog.allreduce("hello")
    ifog.allreduce(x)
    if rank == 1:
        time.sleep(0.3)
    ifog.allreduce(x)


# ---------------------------------------------------------------------------------- 4: a rank that is late, or never comes
@case
def late():
    if rank == last:
        time.sleep(1.3)
    return ifog.allreduce(x).tolist() == (torch.arange(5.0) + last / 2).tolist()


@case
def late_and_the_others_are_interrupted():
    if rank == last:
        time.sleep(1.5)
        fails_now()
    else:
        interrupt_after(0.7, failure=False)
    ifog.allreduce(x)


@case
def one_leaves():
    fails_now()
    if rank == last:
        ifog.shutdown()
    else:
        try:
            ifog.allreduce(x)
        except ifog.Deadlock as error:
            seen["message"] = str(error)
        seen["after"] = time.monotonic()
        ifog.shutdown()
    ifog.init()


@case
def send_to_a_rank_that_left():
    fails_now()
    if rank == last:
        ifog.shutdown()
    else:
        time.sleep(0.3)
        try:
            ifog.send(torch.zeros(5_000_000), last)
        except ifog.Deadlock as error:
            seen["message"] = str(error)
        seen["after"] = time.monotonic()
        ifog.shutdown()
    ifog.init()


@case
def all_receive():
    fails_now()
    ifog.recv((rank + 1) % size)


@case
def two_send_large_things_to_each_other():
    fails_now()
    if rank < 2:
        ifog.send(torch.zeros(5_000_000), 1 - rank)
    ifog.barrier()


@case
def wrong_source():
    fails_now()
    if rank == 0:
        ifog.recv(1)
    elif rank == 1:
        ifog.send("for rank 2", 2)
    ifog.barrier()


# --------------------------------------------------------------------------------------------------- 5: interrupts
@case
def one_is_interrupted():
    if rank == 1:
        interrupt_after(0.2)
        time.sleep(10)
    ifog.allreduce(x)


@case
def one_is_interrupted_while_it_waits():
    if rank == 1:
        interrupt_after(0.2)
    if rank == last:
        time.sleep(0.6)
    ifog.allreduce(x)


@case
def all_are_interrupted():
    interrupt_after(0.2)
    while True:
        ifog.neighbor_allreduce(x)


@case
def interrupted_with_handles_open():
    """An interrupt that comes while another call is helped along is raised where the user waits."""
    handles = [ifog.allreduce_nonblocking(torch.ones(LARGE)) for _ in range(3)]
    if rank == 1:
        interrupt_after(0.2)
    if rank == 0:
        time.sleep(1)
    ifog.barrier()
    return len(handles)


# ------------------------------------------------------------------------------------------------------- 7: stopped
@case
def stopped_and_continued():
    """SIGSTOP at some moment in a loop, for longer than a deadlock takes to be suspected."""
    pids = ifog.allgather_object(os.getpid())
    if rank == 0:
        threading.Timer(0.1, os.kill, (pids[last], signal.SIGSTOP)).start()
        threading.Timer(3.1, os.kill, (pids[last], signal.SIGCONT)).start()
    right = True
    until = time.monotonic() + 3.6
    while not ifog.allreduce(torch.tensor(float(time.monotonic() > until)), "max").item():
        right &= ifog.neighbor_allreduce(torch.tensor(float(rank))).item() >= 0
        ifog.barrier()
    return right


@case
def stopped_while_it_waits():
    """The stopped rank's row says for long that it waits for one that does not wait for anything: no circle."""
    pids = ifog.allgather_object(os.getpid())
    if rank == 0:
        time.sleep(0.3)  # rank 1 waits for rank 0, and is stopped
        os.kill(pids[1], signal.SIGSTOP)
        threading.Timer(3.5, os.kill, (pids[1], signal.SIGCONT)).start()
    if rank < 2:
        ifog.pair_gossip(x, 1 - rank)
        ifog.pair_gossip(x, 1 - rank)
    return ifog.allreduce(x).tolist() == (torch.arange(5.0) + last / 2).tolist()


@case
def long_computation():
    """A rank that computes for longer than any suspicion takes."""
    if rank == 1:
        until = time.monotonic() + 3.0
        while time.monotonic() < until:
            sum(range(10_000))
    return ifog.allreduce(x).tolist() == (torch.arange(5.0) + last / 2).tolist()


# ------------------------------------------------------------------------------------ 8: inside all kinds of operations
@case
def handle_never_waited_for():
    handle = ifog.allreduce_nonblocking(torch.ones(LARGE))
    if rank == 1:
        fails_now()
        raise ValueError("with a handle open")
    del handle
    ifog.barrier()


@case
def handle_waited_for_too_late():
    handles = [ifog.allreduce_nonblocking(torch.ones(LARGE), name=f"number {i}") for i in range(4)]
    handles.append(ifog.recv_nonblocking((rank + 1) % size))
    meet("with handles open")
    if rank == 1:
        fails_now()
        world.current().fail(ValueError("with handles open"))
    with contextlib.suppress(ifog.CommError):
        ifog.barrier()
    again()
    said = []
    for handle in handles:
        try:
            result = handle.wait()
            said.append("came to its end" if bool((result == 1).all()) else f"came to a wrong end: {result}")
        except ifog.PeerFailed as error:
            said.append(str(error))
    seen["handles"] = said


@case
def in_a_handle():
    handle = ifog.allreduce_nonblocking(torch.ones(LARGE) if rank != 1 else torch.ones(3))
    fails_now()
    handle.wait()


@case
def in_hierarchical():
    if rank == 1:
        fails_now()
        raise ValueError("in hierarchical")
    ifog.hierarchical_neighbor_allreduce(torch.ones(LARGE))


@case
def in_pair_gossip():
    if rank == 1:
        fails_now()
        raise ValueError("in pair_gossip")
    if rank == 0:
        ifog.pair_gossip(torch.ones(LARGE), 1)
    ifog.barrier()


@case
def in_send_and_recv():
    if rank == 1:
        fails_now()
        raise ValueError("in recv")
    if rank == 0:
        ifog.send(torch.ones(5_000_000), 1)
    elif rank == 2:
        ifog.recv(1)
    ifog.barrier()


@case
def in_backward():
    y = torch.ones(3, requires_grad=True)
    loss = ifog.neighbor_allreduce(y).sum()
    if rank == 1:
        fails_now()
        raise ValueError("in backward")
    loss.backward()


@case
def in_set_topology():
    if rank == 1:
        fails_now()
        raise ValueError("in set_topology")
    ifog.set_topology(ifog.topology.ring(size))


@case
def in_another_thread():
    """A second thread that calls ifog while the first is in a call is refused, and nothing is mixed up."""
    said = []

    def call():
        time.sleep(0.2)
        try:
            ifog.allreduce(x)
        except ifog.CommError as error:
            said.append(str(error))

    thread = threading.Thread(target=call)
    if rank == 0:
        thread.start()
    if rank == last:
        time.sleep(0.6)
    result = ifog.allreduce(x)
    if rank == 0:
        thread.join()
    seen["said"] = said
    return result.tolist() == (torch.arange(5.0) + last / 2).tolist()


@case
def in_a_child():
    """A forked process is no rank: its calls are refused, its end is nobody's business."""
    pid = os.fork()
    if pid == 0:
        code = 10
        try:
            code = 11 if ifog.rank() == rank else 12
            ifog.allreduce(x)
        except ifog.CommError as error:
            code += 20 * ("no rank itself" in str(error))
        try:
            ifog.empty(10)
        except ifog.CommError:
            code += 40
        ifog.shutdown()
        atexit._run_exitfuncs()  # as at a normal exit, which with torch takes seconds, and wakes what MPI left to be destroyed
        os._exit(code)
    seen["code"] = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return ifog.allreduce(x).tolist() == (torch.arange(5.0) + last / 2).tolist()


@case
def with_the_workers_of_a_dataloader():
    data = torch.utils.data.TensorDataset(torch.arange(8.0), ifog.share(torch.arange(8.0)))
    total = sum(a.sum() + b.sum() for a, b in torch.utils.data.DataLoader(data, batch_size=2, num_workers=2))
    return ifog.allreduce(total).item() == 56


if __name__ == "__main__":
    main()
