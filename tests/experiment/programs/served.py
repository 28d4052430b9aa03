"""Ranks that run what they are sent: ``mpiexec -n 3 python served.py ADDRESS``. Rank 0 listens, and speaks for all."""

import contextlib
import pickle
import sys
import threading
from multiprocessing.connection import Listener

import ifog
from ifog.experiment import report, runs, steer

begin, tasks = threading.Event(), []


def serve(listener):
    with listener:
        while True:
            with listener.accept() as line:
                what, *values = pickle.loads(line.recv_bytes())
                answer = None
                try:
                    if what == "submit":
                        tasks.append(values[0])
                        begin.set()
                        answer = "ours"
                    elif what == "records":
                        answer = report(runs[-1] if runs else None, values[1])
                    else:
                        steer(runs[-1], values[1])
                except ifog.IfogError as error:
                    answer = error
                line.send_bytes(pickle.dumps(answer))


def main():
    ifog.init()
    if ifog.rank() == 0:
        threading.Thread(target=serve, args=[Listener(sys.argv[1], "AF_UNIX")], daemon=True).start()
        print("ready", flush=True)
        begin.wait()
    task = ifog.broadcast_object(tasks[0] if ifog.rank() == 0 else None)
    with contextlib.suppress(ifog.Diverged):
        ifog.run(**task)
    if ifog.rank() == 0:
        sys.stdin.read()  # until the other side has seen the end
    ifog.shutdown()


if __name__ == "__main__":
    main()
