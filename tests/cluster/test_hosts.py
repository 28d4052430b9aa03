"""Engines on two hosts: two network namespaces, each with an address and an ssh server of its own, and keys made for it."""

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from two_machines import ADDRESSES, CABLE, everyone_in, ip, kill_everyone_in, on, two_machines

from ifog.cluster import hosts
from ifog.cluster.hosts import check_hosts, is_here, our_address, ranks_on, read_hosts
from ifog.cluster.plan import Plan
from ifog.cluster.queues import QUEUES, job_script
from ifog.cluster.slurm import SlurmEngines
from ifog.errors import SetupError

ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).parent / "programs" / "two_hosts.py"
DEADLINE = 30.0  # seconds until everybody has heard that a host is cut off; it takes some ten of them


# ------------------------------------------------------------------------------------------------- without any engines
def test_hosts_are_read_from_words_and_from_files(tmp_path):
    file = tmp_path / "hosts"
    file.write_text("# a room\na slots=4\n\nb:2  # the old one\nc\n")
    assert read_hosts("a:4, b:2,c") == read_hosts(file=file) == (("a", 4), ("b", 2), ("c", 1))
    for wrong in ("a:four", ":4", "-oProxyCommand=x"):
        with pytest.raises(SetupError, match="as in a:4"):
            read_hosts(wrong)


def test_each_host_is_filled_before_the_next():
    assert ranks_on((("a", 2), ("b", 4)), 5) == {"a": [0, 1], "b": [2, 3, 4]}


def test_hosts_that_are_this_machine_need_no_network():
    plan = Plan(2, hosts=(("localhost", 1), ("127.0.0.1", 1)))
    assert is_here("localhost")
    assert is_here("127.0.1.1")  # on Debian this is one's own name
    assert plan.local
    assert not any("--ip" in word or "curve" in word for word in plan.controller_arguments())
    check_hosts(["localhost"])


def test_the_controller_of_other_hosts_is_under_lock():
    said = Plan(2, hosts=(("a.invalid", 1), ("localhost", 1))).controller_arguments()
    assert "--IPController.enable_curve=True" in said
    assert "--ip=*" in said  # nobody knows the way to the host: only ssh may
    assert our_address([]) is None


@pytest.fixture
def fake_ssh(tmp_path, monkeypatch):
    def answers(script):
        file = tmp_path / "ssh"
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)
        monkeypatch.setenv("HYDRA_LAUNCHER_EXEC", str(file))
        monkeypatch.delenv("HYDRA_LAUNCHER", raising=False)

    return answers


def test_all_hosts_that_cannot_be_reached_are_named_at_once(fake_ssh):
    fake_ssh('echo "Permission denied (publickey)." >&2; exit 255')
    with pytest.raises(SetupError) as caught:
        check_hosts(["a.invalid", "b.invalid"])
    for host in ("a.invalid", "b.invalid"):
        assert f"{host} cannot be reached (Permission denied (publickey).): `ssh {host} true`" in str(caught.value)


def test_a_host_without_this_python_is_refused(fake_ssh):
    fake_ssh("exit 1")
    with pytest.raises(SetupError, match=rf"on a\.invalid there is no {sys.executable}"):
        check_hosts(["a.invalid"])


@pytest.mark.parametrize("name", QUEUES)
def test_the_script_of_a_job(name):
    launch = ["/opt/mpi/bin/mpiexec", "-wdir", "/home/a b{c}"]
    template = job_script(QUEUES[name], launch, "/home/a b{c}", "#X --time=1\n  #X --mem={all}")
    script = template.format(n=4, output_file="/log", program_and_args="python -m ifog.engine").splitlines()
    assert script[0] == "#!/bin/sh"
    assert script[-2:] == [
        "cd '/home/a b{c}'",
        "exec /opt/mpi/bin/mpiexec -wdir '/home/a b{c}' -n 4 python -m ifog.engine",
    ]
    head = script[1:-2]
    assert head[-2:] == ["#X --time=1", "#X --mem={all}"]
    assert all(line.startswith("#") for line in head)
    assert any("4" in line for line in head)
    assert any(line.endswith("/log") for line in head)
    assert any(words in " ".join(head) for words in ("--export=ALL", "-V", "-env all"))  # how the engines find the controller


@pytest.mark.parametrize(
    ("squeue", "end"),
    [
        ("echo 'RUNNING (None)'", ""),
        ("echo 'PENDING (Resources)'", ""),
        ("echo 'COMPLETING (None)'", ""),
        ("echo 'COMPLETING (TimeLimit)'", "has reached its time limit"),
        ("echo 'CANCELLED (None)'", "was cancelled"),
        ("echo 'FAILED (NonZeroExitCode)'", "has ended: FAILED (NonZeroExitCode)"),
        ("echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1", "has ended"),
        ("echo 'Unable to contact slurm controller' >&2; exit 1", ""),
    ],
)
def test_what_has_become_of_a_job(tmp_path, monkeypatch, squeue, end):
    command = tmp_path / "squeue"
    command.write_text(f"#!/bin/sh\n{squeue}\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    engines = SlurmEngines(work_dir=str(tmp_path), profile_dir=str(tmp_path))
    engines.job_id = "7"
    said = engines.poll()
    assert said == end or (end and said.startswith(end))


def test_a_host_is_silent_when_none_of_its_engines_answers(monkeypatch):
    class Line:
        def ask(self, ranks, function, timeout):
            return dict.fromkeys((0, 3))  # of a the second is busy, of b nobody is there

    monkeypatch.setattr(hosts, "_PAUSE", 0.02)
    assert asyncio.run(hosts.silent_host(Line(), {"a": [0, 1], "b": [2], "c": [3]}, patience=0.1)) == "b"


@pytest.mark.slow
def test_an_engine_ends_when_its_manager_has_been_silent_for_long():
    program = (
        "import time; from ifog.engine import app; app._ALONE = 3\n"
        "for _ in range(5): app.stay(); time.sleep(1)\n"
        "print('is here', flush=True); time.sleep(60)"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50)
    assert (ended.returncode, ended.stdout) == (1, "is here\n")


# ------------------------------------------------------------------------------------------------------ two real hosts
@pytest.fixture(scope="module")
def ssh(tmp_path_factory):
    """Two hosts that ssh takes one to, the environment in which it does, and a folder."""
    sshd = shutil.which("sshd") or shutil.which("/usr/sbin/sshd")
    if sshd is None or shutil.which("ssh-keygen") is None:
        pytest.skip("there is no sshd here: on Debian, apt install openssh-server")
    folder = tmp_path_factory.mktemp("ssh")
    for name in ("user", "host"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    (folder / "authorized").write_text((folder / "user.pub").read_text())
    host_key = " ".join((folder / "host.pub").read_text().split()[:2])
    (folder / "known").write_text("".join(f"{address} {host_key}\n" for address in ADDRESSES))
    (folder / "sshd").write_text(
        f"HostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized\nPermitRootLogin prohibit-password\nStrictModes no\n"
        "UsePAM no\nPidFile none\n"
    )
    wrapper = folder / "wrapper"
    wrapper.write_text(
        f"#!/bin/sh\nexec ssh -F none -i {folder}/user -o UserKnownHostsFile={folder}/known -o IdentitiesOnly=yes "
        f'-o StrictHostKeyChecking=yes "$@"\n'
    )
    wrapper.chmod(0o755)
    environment = {
        **os.environ,
        "HYDRA_LAUNCHER_EXEC": str(wrapper),
        "IPYTHONDIR": str(folder / "ipython"),
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "default",
    }
    # its own /run, for the folder that sshd wants there
    serve = f"mount -t tmpfs none /run && mkdir /run/sshd && exec {sshd} -D -e -f {folder}/sshd"
    with two_machines() as machines, contextlib.ExitStack() as after:
        for host in machines:
            with (folder / f"{host}.log").open("w") as log:
                server = subprocess.Popen(on(host, "sh", "-c", serve), stdout=log, stderr=log)
            after.callback(server.wait)
            after.callback(server.kill)
        deadline = time.monotonic() + 10
        while subprocess.run(on(machines[0], wrapper, ADDRESSES[1], "true"), capture_output=True).returncode:
            if time.monotonic() > deadline:
                pytest.skip(f"sshd does not serve here: {(folder / f'{machines[1]}.log').read_text()[-500:]}")
            time.sleep(0.2)
        yield machines, environment, folder
        kill_everyone_in(machines)


def ifog(ssh, *words):
    machines, environment, folder = ssh
    command = on(machines[0], sys.executable, "-m", "ifog.cluster.command", *words)
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def seen(ssh):
    """What a program saw that used engines on both hosts, from the start to the end; and when the cable was cut."""
    machines, environment, folder = ssh
    started = ifog(ssh, "start", "--hosts", ",".join(f"{address}:2" for address in ADDRESSES), "--env", "SEED=7")
    assert started.returncode == 0, started.stderr + started.stdout
    with (folder / "program.log").open("w") as log:
        program = subprocess.Popen(on(machines[0], sys.executable, PROGRAM, folder), env=environment, stdout=log, stderr=log)
    cut = None
    deadline = time.monotonic() + 180
    while program.poll() is None and time.monotonic() < deadline:
        if cut is None and (folder / "cut").exists():
            ip("-n", machines[1], "link", "set", CABLE, "down")
            cut = time.time()
        if (folder / "mend").exists() and not (folder / "mended").exists():
            ip("-n", machines[1], "link", "set", CABLE, "up")
            (folder / "mended").touch()
        time.sleep(0.05)
    program.kill()
    program.wait()
    assert program.returncode == 0, (folder / "program.log").read_text()
    said = json.loads((folder / "said.json").read_text())
    deadline = time.monotonic() + DEADLINE
    while (left := engines_in(machines)) and time.monotonic() < deadline:
        time.sleep(0.2)
    return {**said, "cut": cut, "left": left}


def engines_in(machines):
    """The processes there that are no ssh servers."""
    found = []
    for pid in everyone_in(machines):
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
            if "sshd" not in words:
                found.append(words)
    return found


@pytest.mark.slow
def test_engines_are_on_both_hosts_in_the_order_of_ranks(ssh, seen):
    first, second = ssh[0]
    assert [[place["rank"], place["host"]] for place in seen["places"]] == [[0, first], [1, first], [2, second], [3, second]]
    assert [rank for rank, _ in seen["status"]] == [0, 1, 2, 3]


@pytest.mark.slow
def test_they_talk_across_the_hosts(ssh, seen):
    first, second = ssh[0]
    for place in seen["places"]:
        assert place["heard"] == [[first, first, second, second], 1.5]


@pytest.mark.slow
def test_variables_and_the_folder_go_along(ssh, seen):
    for place in seen["places"]:
        assert (place["seed"], place["folder"]) == ("7", str(ssh[2]))


@pytest.mark.slow
def test_the_controller_listens_where_the_hosts_are_and_under_lock(seen):
    assert seen["interface"] == f"tcp://{ADDRESSES[0]}"
    assert {mechanism for place in seen["places"] for mechanism in place["mechanisms"]} == {2}  # zmq.CURVE
    assert not seen["without the lock"]


@pytest.mark.slow
def test_no_key_is_on_a_command_line_or_in_a_log(seen):
    assert seen["lines that hold a key"] == []
    assert seen["logs that hold a key"] == []


@pytest.mark.slow
def test_a_host_that_is_cut_off_during_a_cell_is_named_soon(seen):
    assert "Engine" in seen["error"]
    assert f"host {ADDRESSES[1]} (ranks 2, 3) cannot be reached any more" in seen["trouble"]
    assert seen["told"] - seen["cut"] < DEADLINE


@pytest.mark.slow
def test_one_restarts_when_it_is_back_and_not_before(seen):
    said = seen["restart while it is cut off"]
    assert ADDRESSES[1] in said
    assert f"`ssh {ADDRESSES[1]} true`" in said
    assert seen["places after"] == seen["places"]


@pytest.mark.slow
def test_nothing_is_left_on_either_host(seen):
    assert seen["left"] == []


@pytest.mark.slow
def test_a_host_that_cannot_be_reached_is_refused_before_anything_starts(ssh):
    began = time.monotonic()
    said = ifog(ssh, "start", "--hosts", f"{ADDRESSES[0]}:1,10.0.0.3:1", "--cluster-id", "other")
    assert said.returncode == 1
    assert "10.0.0.3 cannot be reached" in said.stderr
    assert "`ssh 10.0.0.3 true`" in said.stderr
    assert time.monotonic() - began < DEADLINE
