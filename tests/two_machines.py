"""Two machines out of one: network namespaces with a cable between them. Each has its own addresses, and its own host name."""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator

import pytest

ADDRESSES = "10.0.0.1", "10.0.0.2"  # nobody else sees them: both ends of the cable lie in namespaces of their own
CABLE = "ifog"
"""The name of its interface at either end."""


def ip(*words: str) -> str:
    said = subprocess.run(["ip", *words], capture_output=True, text=True)
    if said.returncode:
        raise OSError(said.stderr.strip() or f"ip {' '.join(words)}: exit code {said.returncode}")
    return said.stdout


def everyone_in(hosts):
    return [int(pid) for host in hosts for pid in ip("netns", "pids", host).split()]


def kill_everyone_in(hosts):
    for pid in everyone_in(hosts):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def on(host, *command):
    """The command that runs another one on a host, under a host name of its own."""
    return ["ip", "netns", "exec", host, "unshare", "--uts", "sh", "-c", f'hostname {host}; exec "$@"', "sh", *command]


@contextlib.contextmanager
def two_machines() -> Iterator[list[str]]:
    """The names of two network namespaces that reach each other; a test that cannot have them is skipped."""
    for program in ("ip", "unshare"):
        if not shutil.which(program):
            pytest.skip(f"there is no `{program}` here: on Debian, apt install iproute2 util-linux")
    names = [f"ifog-{os.getpid()}-{name}" for name in ("first", "second")]
    made = []
    try:
        try:
            for name in names:
                ip("netns", "add", name)
                made.append(name)
            ip("-n", names[0], "link", "add", CABLE, "type", "veth", "peer", "name", CABLE, "netns", names[1])
            for name, address in zip(names, ADDRESSES, strict=True):
                ip("-n", name, "address", "add", f"{address}/30", "dev", CABLE)
                ip("-n", name, "link", "set", "lo", "up")
                ip("-n", name, "link", "set", CABLE, "up")
            subprocess.run(["unshare", "--uts", "true"], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"network namespaces cannot be made here: {error}")
        yield names
    finally:
        for name in made:
            kill_everyone_in([name])
            ip("netns", "delete", name)  # and with it its end of the cable, which takes the other end along
