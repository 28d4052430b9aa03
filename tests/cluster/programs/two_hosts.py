"""On the first of two hosts, with engines on both: look at them, and compute until the second host is cut off and back."""

import json
import subprocess
import sys
import time
from pathlib import Path

import ipyparallel
import zmq
from zmq.utils.monitor import recv_monitor_message

from ifog.cluster import connect
from ifog.errors import SetupError


def place():
    import os
    import socket
    from pathlib import Path

    import torch
    from IPython import get_ipython

    import ifog

    kernel = get_ipython().kernel
    streams = [*kernel.shell_streams, kernel.control_stream]
    return {
        "rank": ifog.rank(),
        "host": socket.gethostname(),
        "folder": str(Path.cwd()),
        "seed": os.environ.get("SEED"),
        "mechanisms": [stream.socket.mechanism for stream in streams],
        "heard": [ifog.allgather_object(socket.gethostname()), float(ifog.allreduce(torch.tensor([float(ifog.rank())])))],
    }


def wait_for_all(folder):
    """A cell in which every rank waits for the others again and again."""
    from pathlib import Path

    import torch

    import ifog

    for k in range(10**9):
        ifog.allreduce(torch.tensor([float(k)]))
        if ifog.rank() == 0:
            Path(folder, "computing").touch()


def lets_in_without_the_lock(info):
    """Whether the controller shakes hands with one who knows nothing of CURVE."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as line, line.get_monitor_socket() as monitor:
        line.linger = 0
        line.connect(f"{info['interface']}:{info['registration']}")
        while monitor.poll(2000):
            event = recv_monitor_message(monitor)["event"]
            if event in (zmq.EVENT_HANDSHAKE_SUCCEEDED, zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL, zmq.EVENT_DISCONNECTED):
                break
        line.disable_monitor()
    return event == zmq.EVENT_HANDSHAKE_SUCCEEDED


def main(folder):
    said = {}
    cluster = connect()
    info = json.loads(cluster.home.client_file.read_text())
    keys = [info[name] for name in ("key", "curve_serverkey") if info[name]]  # CURVE comes in the place of signatures
    said["interface"] = info["interface"]
    said["places"] = cluster.view.apply_sync(place)
    said["status"] = [[engine["rank"], engine["state"]] for engine in cluster.status()["engines"]]
    said["lines that hold a key"] = [
        line
        for line in subprocess.check_output(["ps", "-eo", "args", "-ww"], text=True).splitlines()
        if any(k in line for k in keys)
    ]
    said["logs that hold a key"] = [
        str(log) for log in cluster.home.log.parent.iterdir() if any(key in log.read_text(errors="replace") for key in keys)
    ]
    said["without the lock"] = lets_in_without_the_lock(info)

    result = cluster.view.apply_async(wait_for_all, folder)
    while not (Path(folder) / "computing").exists():
        time.sleep(0.05)
    (Path(folder) / "cut").touch()
    try:
        result.get(timeout=60)
    except (
        ipyparallel.error.CompositeError,
        ipyparallel.error.RemoteError,
        ipyparallel.error.KernelError,
        TimeoutError,
    ) as error:
        said["error"] = f"{type(error).__name__}: {error}"
    said["told"] = time.time()
    while cluster.said()["phase"] == "running":
        time.sleep(0.05)
    said["trouble"] = cluster.trouble()
    try:
        cluster.restart()
    except SetupError as error:
        said["restart while it is cut off"] = str(error)
    (Path(folder) / "mend").touch()
    while not (Path(folder) / "mended").exists():
        time.sleep(0.05)
    cluster.restart()
    said["places after"] = cluster.view.apply_sync(place)
    (Path(folder) / "said.json").write_text(json.dumps(said))
    cluster.stop()


if __name__ == "__main__":
    main(sys.argv[1])
