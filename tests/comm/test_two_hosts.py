"""Ranks on two hosts: two network namespaces with a cable between them, and a world of two ranks in each.

In the other tests several machines are pretended (IFOG_NODES_PER_MACHINE). Here they are found, and what the ranks say to
those of the other host goes through the network.
"""

import json
import os
import shlex
import subprocess
import time
from pathlib import Path

import pytest
from two_machines import ADDRESSES, everyone_in, kill_everyone_in, on, two_machines

from ifog.comm.mpi import find

pytestmark = pytest.mark.slow
PROGRAM = Path(__file__).parent / "programs" / "two_hosts.py"
DEADLINE = 5.0
# MPICH has two ways through a network. Both would find a shorter one: all that lies on the same machine can share memory.
NETWORKS = {
    "libfabric": {"MPIR_CVAR_CH4_NETMOD": "ofi", "FI_PROVIDER": "tcp"},
    "UCX": {"MPIR_CVAR_CH4_NETMOD": "ucx", "UCX_TLS": "tcp,self"},
}


@pytest.fixture(scope="module")
def hosts():
    with two_machines() as names:
        yield names


@pytest.fixture(scope="module", params=NETWORKS)
def world(request, hosts, tmp_path_factory):
    """What the four ranks of a world across both hosts saw, and what became of them."""
    mpi = find("MPICH")
    folder = tmp_path_factory.mktemp("hosts")
    # mpiexec runs it as it would run ssh: some options, the address, a command
    remote = folder / "remote"
    skip = f'while [ "$1" != {ADDRESSES[1]} ]; do shift; done; shift'
    remote.write_text(f'#!/bin/sh\n{skip}\nexec {shlex.join(on(hosts[1], "sh", "-c"))} "$*"\n')
    remote.chmod(0o755)
    launch = [str(mpi.launcher), "-launcher", "ssh", "-launcher-exec", str(remote), "-localhost", ADDRESSES[0]]
    launch += ["-hosts", ",".join(f"{address}:2" for address in ADDRESSES), *mpi.command(4, str(PROGRAM), str(folder))[1:]]
    environment = {name: value for name, value in os.environ.items() if name != "IFOG_NODES_PER_MACHINE"}
    environment |= mpi.environment() | NETWORKS[request.param]
    with (folder / "output").open("w") as output:
        process = subprocess.Popen(on(hosts[0], *launch), env=environment, stdout=output, stderr=output)
        try:
            code = process.wait(120)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            ended = time.monotonic()
            while (left := everyone_in(hosts)) and time.monotonic() < ended + DEADLINE:
                time.sleep(0.05)
            kill_everyone_in(hosts)
            process.kill()
            process.wait()
    text = (folder / "output").read_text()
    files = [folder / f"{rank}.json" for rank in range(4)]
    assert all(file.exists() for file in files), f"exit code {code}\n{text[-8000:]}"
    return {
        "ranks": [json.loads(file.read_text()) for file in files],
        "failed": [float((folder / f"failed.{rank}").read_text()) for rank in (1, 2)],
        "killed": float((folder / "killed").read_text()),
        "code": code,
        "ended": ended,
        "left": left,
        "text": text,
    }


def test_the_two_hosts_are_found_to_be_two_machines(world):
    assert [row["machine"] for row in world["ranks"]] == [[0, 2, 0, 2], [0, 2, 1, 2], [1, 2, 0, 2], [1, 2, 1, 2]]


@pytest.mark.parametrize("what", ["mixing", "hierarchy", "window"])
def test_what_the_hosts_tell_each_other_is_right(world, what):
    for row in world["ranks"]:
        assert len(row[what]) > 1
        assert {name: error for name, error in row[what].items() if not error < 1e-14 * 4} == {}


def test_what_is_sent_to_the_other_host_goes_through_the_network_and_nothing_else_does(world):
    for row in world["ranks"]:
        came = row["traffic"]
        assert came["error"] < 1e-6
        for counted in came["counted"]:
            assert 1.0 < counted / came["sent"] < 1.1  # the tensors once, and what TCP and IP add


@pytest.mark.parametrize("case", [0, 1], ids=["on the first host", "on the second host"])
def test_a_rank_that_fails_releases_those_of_both_hosts_and_all_recover(world, case):
    culprit = case + 1
    for rank, row in enumerate(world["ranks"]):
        kind, message, when = row["failures"][case]["told"]
        if rank == culprit:
            assert (kind, message) == ("ValueError", "no data on this rank")
        else:
            assert (kind, message) == ("PeerFailed", f"rank {culprit} failed: ValueError: no data on this rank")
        assert when - world["failed"][case] < DEADLINE
        assert row["failures"][case]["error after it"] < 1e-14


def test_a_rank_that_is_killed_ends_the_job_on_both_hosts(world):
    assert world["code"] not in (0, None), world["text"][-8000:]
    assert world["ended"] - world["killed"] < DEADLINE
    assert world["left"] == []
    assert "BAD TERMINATION OF ONE OF YOUR APPLICATION PROCESSES" in world["text"]
    if "\nifog: " in world["text"]:  # named by its mate, if that one is quicker than the launcher's kill
        assert "\nifog: rank 3 (process " in world["text"]
