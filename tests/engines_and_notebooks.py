"""Clusters as their users have them: the command, a real kernel as the notebook, and a look at what is left behind."""

import contextlib
import os
import queue
import re
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from jupyter_client.manager import KernelManager

ANSI = re.compile(r"\x1b\[[\d;]*m")


@dataclass
class Shown:
    """What a cell of a notebook has shown."""

    error: str | None = None
    """The name of the error."""
    message: str = ""
    traceback: str = ""
    text: str = ""
    """All output, as plain text; of what was replaced, the last."""
    value: str = ""
    displays: dict = field(default_factory=dict)
    seconds: float = 0.0


class Notebook:
    """A kernel, and the cells that are sent to it."""

    def __init__(self, folder):
        self.manager = KernelManager(kernel_name="python3")
        self.manager.start_kernel(cwd=str(folder))
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)

    @property
    def pid(self):
        return self.manager.provisioner.process.pid

    def send(self, code):
        return self.client.execute(code), time.monotonic()

    def outcome(self, sent, timeout=60):
        """What a cell has shown when it is over."""
        message, began = sent
        shown, streams = Shown(), []
        deadline = time.monotonic() + timeout
        while True:
            try:
                said = self.client.get_iopub_msg(timeout=max(0.01, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no end after {timeout} s: {shown}, {streams}") from None
            if said["parent_header"].get("msg_id") != message:
                continue
            kind, content = said["msg_type"], said["content"]
            if kind == "stream":
                streams.append(content["text"])
            elif kind in ("display_data", "update_display_data"):
                key = content.get("transient", {}).get("display_id") or len(shown.displays)
                shown.displays[key] = content["data"]
            elif kind == "execute_result":
                shown.value = content["data"]["text/plain"]
            elif kind == "error":
                shown.error, shown.message = content["ename"], content["evalue"]
                shown.traceback = ANSI.sub("", "\n".join(content["traceback"]))
            elif kind == "status" and content["execution_state"] == "idle":
                break
        shown.seconds = time.monotonic() - began
        shown.text = "\n".join([*streams, *(data.get("text/plain", "") for data in shown.displays.values())])
        return shown

    def run(self, code, timeout=60):
        return self.outcome(self.send(code), timeout)

    def good(self, code, timeout=60):
        shown = self.run(code, timeout)
        assert shown.error is None, shown
        return shown

    def interrupt(self):
        self.manager.interrupt_kernel()

    def kill(self):
        """As if the machine had taken it: nothing of it can clean up."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, 9)
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)

    close = kill


def command(*words, timeout=120, **variables):
    """``ifog WORDS``."""
    return subprocess.run(
        [sys.executable, "-m", "ifog.cluster.command", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=os.environ | variables,
    )


def processes(folder):
    """All processes that live with this IPython folder, other than kernels and this one."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            ours = process.environ().get("IPYTHONDIR") == str(folder) and process.pid != os.getpid()
            if ours and process.status() != psutil.STATUS_ZOMBIE:
                words = process.cmdline()
                if not any("ipykernel_launcher" in word for word in words):
                    found.append((process.pid, " ".join(words)))
    return found


def orphans():
    """Files of ours, or of our MPI, that no living process uses. Others may work on this machine too."""
    found = {file for pattern in ("ifog-*", "mpich_shm_*") for file in Path("/dev/shm").glob(pattern)}
    found |= set(Path(os.environ.get("TMPDIR", "/tmp")).glob("ifog-*/requests"))
    mapped = ""
    for maps in Path("/proc").glob("[0-9]*/maps"):
        with contextlib.suppress(OSError):
            mapped += maps.read_text()
    return {file for file in found if str(file) not in mapped and not _answers(file)}


def _answers(file):
    with socket.socket(socket.AF_UNIX) as line, contextlib.suppress(OSError):
        line.connect(str(file))
        return True
    return False


def until(true, timeout=60.0):
    deadline = time.monotonic() + timeout
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)
