"""Other machines: which they are, whether they can be reached, and whether they still answer.

Engines come there through ssh, which the MPI's launcher calls; what it needs to know (a user's name, a key, a port) stands in
``~/.ssh/config``, or in the program that ``HYDRA_LAUNCHER_EXEC`` names instead of ssh.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import SetupError

if TYPE_CHECKING:
    from .wire import Wire

Hosts = tuple[tuple[str, int], ...]
"""Names, each with the number of engines that it takes."""

_CONNECT = 3  # seconds for ssh to connect
_LOG_IN = 10.0  # seconds for it to do so and come back
_PAUSE = 2.0  # seconds between two questions to the engines
SILENCE = 6.0
"""Seconds after which a host none of whose engines answers is looked at."""


# --------------------------------------------------------------------------------------------------------- read
def read_hosts(text: str | None = None, file: Path | str | None = None) -> Hosts:
    """``a:4,b:4``, or the same in a file, a host a line, also as ``a slots=4``."""
    if text is not None and file is not None:
        raise SetupError("hosts and hostfile: give one of them")
    if file is not None:
        try:
            lines = Path(file).read_text().splitlines()
        except OSError as error:
            raise SetupError(f"hostfile={str(file)!r} cannot be read: {error.strerror}") from error
    else:
        lines = (text or "").split(",")
    found = []
    for line in lines:
        words = line.partition("#")[0].replace(" slots=", ":").replace(" slots =", ":").strip()
        if words:
            host, _, slots = words.partition(":")
            if (not slots.strip().isdecimal() and slots) or not host.strip() or host.startswith("-"):
                raise SetupError(f"hosts: {words!r} should be a name and a number of engines, as in a:4")
            found.append((host.strip(), int(slots or 1)))
    return tuple(found)


def ranks_on(hosts: Hosts, n: int) -> dict[str, list[int]]:
    """Which of n ranks are on which host: each is filled before the next one begins."""
    places: dict[str, list[int]] = {}
    names = (host for host, slots in hosts for _ in range(slots))
    for rank, host in zip(range(n), names, strict=False):
        places.setdefault(host, []).append(rank)
    return places


# ----------------------------------------------------------------------------------------------------- the way there
@functools.cache
def is_here(host: str) -> bool:
    """Whether a name means this machine: the way to oneself begins where it ends."""
    try:
        address = socket.gethostbyname(host)
        # Debian's /etc/hosts has 127.0.1.1 for its own name, and the way there begins at 127.0.0.1
        return address.startswith("127.") or address == _address_towards(host)
    except OSError:  # a name that only ssh knows
        return False


def our_address(hosts: Iterable[str]) -> str | None:
    """The one address of this machine under which other hosts reach it; None if that cannot be told."""
    found = set()
    for host in hosts:
        with contextlib.suppress(OSError):
            found.add(_address_towards(host))
    return found.pop() if len(found) == 1 else None


def _address_towards(host: str) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((host, 9))  # sends nothing: it only asks for the way
        return str(probe.getsockname()[0])


def check_hosts(hosts: Iterable[str]) -> None:
    """Refuse hosts that cannot be reached, all of them at once, and those where this Python is not."""
    others = [host for host in dict.fromkeys(hosts) if not is_here(host)]
    if not others:
        return
    with ThreadPoolExecutor(len(others)) as pool:
        complaints = [said for said in pool.map(complaint_of, others) if said]
    if complaints:
        raise SetupError("; ".join(complaints))


def complaint_of(host: str) -> str | None:
    """Why engines cannot be started on a host; None if they can."""
    if os.environ.get("HYDRA_LAUNCHER", "ssh") != "ssh":
        return None  # the user has another way there
    ssh = [os.environ.get("HYDRA_LAUNCHER_EXEC", "ssh"), "-o", "BatchMode=yes", "-o", f"ConnectTimeout={_CONNECT}", host]
    try:
        asked = subprocess.run(
            [*ssh, f"test -x {shlex.quote(sys.executable)}"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_LOG_IN,
            check=False,
        )
    except subprocess.TimeoutExpired:
        why = f"no answer in {_LOG_IN:g} s"
    except OSError as error:
        return f"{ssh[0]} cannot be run: {error.strerror}"
    else:
        if asked.returncode == 0:
            return None
        if asked.returncode == 1:
            return f"hosts: on {host} there is no {sys.executable}: the same environment must stand at the same place there"
        why = (asked.stderr.strip() or f"exit code {asked.returncode}").splitlines()[-1].strip()
    return f"hosts: {host} cannot be reached ({why}): `ssh {host} true` must end by itself, without asking for anything"


# -------------------------------------------------------------------------------------------------------- still there?
async def silent_host(wire: Wire, places: Mapping[str, Sequence[int]], patience: float = SILENCE) -> str:
    """Wait until none of the engines of a host has answered for so many seconds, and give its name.

    An engine answers while a cell runs. Only what keeps Python's lock for all that time on all engines of a host looks the
    same as a cable that was cut.
    """
    everyone = [rank for ranks in places.values() for rank in ranks]
    heard = dict.fromkeys(places, time.monotonic())
    while True:
        asked = time.monotonic()
        there = await asyncio.to_thread(wire.ask, everyone, "ifog.engine.app:stay", timeout=_PAUSE)
        for host, ranks in places.items():
            if any(rank in there for rank in ranks):
                heard[host] = time.monotonic()
            elif time.monotonic() - heard[host] > patience:
                return host
        await asyncio.sleep(max(0.0, asked + _PAUSE - time.monotonic()))
