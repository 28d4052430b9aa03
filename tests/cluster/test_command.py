"""The command `ifog`, as it is typed: what it starts, what it says, and that nothing of it is left."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from engines_and_notebooks import command, processes, until

import ifog
from ifog.cluster import Cluster, connect
from ifog.cluster.batch import Heard
from ifog.cluster.home import Home
from ifog.errors import SetupError

slow = pytest.mark.slow


@slow
def test_start_status_stop(clean):
    started = command("start", "-np", 4)
    assert started.returncode == 0, started.stderr
    assert "4 engines" in started.stdout
    assert "%load_ext ifog" in started.stdout
    (said,) = json.loads(command("status", "--json").stdout)
    assert [engine["rank"] for engine in said["engines"]] == [0, 1, 2, 3]
    assert {engine["state"] for engine in said["engines"]} == {"idle"}
    cores = len(os.sched_getaffinity(0))
    assert {engine["threads"] for engine in said["engines"]} == {max(1, cores // 4)}
    assert "4 engines, running" in command("status").stdout
    again = command("start", "-np", 2)
    assert again.returncode == 1
    assert "running already, with 4 engines" in again.stderr
    assert "ifog stop" in again.stderr
    assert "stopped 'ifog'" in command("stop").stdout
    assert "is not running" in command("stop").stdout
    assert json.loads(command("status", "--json").stdout) == []


@slow
def test_clusters_side_by_side(clean):
    with Cluster(1) as one, Cluster(2, cluster_id="other") as other:
        assert connect().home == one.home  # the one without a name
        assert len(connect("other")) == 2
        assert other.view.apply_sync(os.getpid) != one.view.apply_sync(os.getpid)
        assert [c["name"] for c in json.loads(command("status", "--json").stdout)] == ["other", "ifog"]
        command("stop", "--cluster-id", "other")
        assert not other.said()
        assert one.said()["phase"] == "running"
    assert not one.said()


@slow
def test_other_notebooks_find_it_by_ipyparallels_names(clean):
    import ipyparallel

    assert command("start", "-np", 2, "--profile", "bluefog", "--cluster-id", "").returncode == 0
    try:
        with ipyparallel.Client(profile="bluefog") as client:
            assert client.ids == [0, 1]
            assert client[:].apply_sync(ifog.rank) == [0, 1]
    finally:
        command("stop", "--profile", "bluefog")


@slow
def test_what_the_engines_are_given(clean, tmp_path):
    variables = {"COLOUR": "blue", "SECRET": "hidden"}
    cluster = Cluster(2, threads=3, gpus=[1, 0], env=variables, directory=tmp_path)
    with cluster:
        for name, values in {
            "COLOUR": ["blue", "blue"],
            "OMP_NUM_THREADS": ["3", "3"],
            "CUDA_VISIBLE_DEVICES": ["1,0", "0,1"],
        }.items():
            assert cluster.view.apply_sync(os.getenv, name) == values
        assert cluster.view.apply_sync(os.getcwd) == [str(tmp_path)] * 2
        assert [engine["gpu"] for engine in cluster.status()["engines"]] == ["1", "0"]
        # what is secret stands in no file and on no command line
        written = [file.read_text(errors="replace") for file in cluster.home.folder.rglob("*") if file.is_file()]
        lines = [" ".join(words) for _, words in processes(clean)]
        key = json.loads(cluster.home.client_file.read_text())["key"]
        assert not any("hidden" in text for text in written + lines)
        assert not any(key in line for line in lines)
        private = [file for file in cluster.home.folder.rglob("*") if file.is_file() and key in file.read_text()]
        assert len(private) == 2
        assert all(file.stat().st_mode & 0o077 == 0 for file in private)


@slow
def test_stop_during_a_cell(clean):
    cluster = Cluster(4).start()
    for code in ("while True: pass", "import time; time.sleep(100)"):
        cluster.view.execute(code, block=False)
    until(lambda: all(engine["state"] == "busy" for engine in cluster.status()["engines"]))
    began = time.monotonic()
    cluster.stop()
    assert time.monotonic() - began < 20
    until(lambda: not processes(clean))


@slow
def test_start_many_times_in_a_row(clean):
    for k in range(5):
        cluster = Cluster(2).start()
        assert cluster.view.apply_sync(eval, "__import__('mpi4py.MPI').MPI.COMM_WORLD.size") == [2, 2]
        if k == 3:  # for ifog's own answer the engines import torch, which takes seconds: one start before the last is enough
            assert cluster.view.apply_sync(ifog.size) == [2, 2]
        with pytest.raises(SetupError, match="running already"):
            Cluster(2).start()
        cluster.stop()


@slow
def test_two_starts_at_once_make_one_cluster(clean):
    ends = []

    def start():
        ends.append(command("start", "-np", 1))

    threads = [threading.Thread(target=start) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(end.returncode for end in ends) == [0, 1, 1], ends
    assert connect().said()["phase"] == "running"


@slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_manager_that_is_ended_leaves_nothing(clean, number):
    cluster = Cluster(2).start()
    os.kill(cluster.said()["processes"][0][0], number)
    until(lambda: not processes(clean))
    assert command("status").stdout.startswith("no cluster is running")
    if number == signal.SIGKILL:  # nobody could tidy up: the next start does
        with Cluster(2) as again:
            assert again.said()["phase"] == "running"
            assert Path(again.said()["socket"]).exists()
    command("stop", "--force")


@slow
def test_with_it_ends_with_its_process(clean, tmp_path):
    script = tmp_path / "owner.py"
    script.write_text(
        "import time\nfrom ifog.cluster import Cluster\nwith Cluster(2):\n    print('there', flush=True)\n    time.sleep(100)\n"
    )
    owner = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert owner.stdout.readline() == "there\n"
    owner.kill()
    owner.communicate()
    until(lambda: not processes(clean))
    assert Home().read() is None


@slow
def test_foreground_ends_with_ctrl_c(clean):
    started = subprocess.Popen(
        [sys.executable, "-m", "ifog.cluster.command", "start", "-np", "2", "--foreground"], stdout=subprocess.PIPE, text=True
    )
    until(lambda: Home().held and (Home().read() or {}).get("phase") == "running", 30)
    time.sleep(0.5)
    started.send_signal(signal.SIGINT)
    started.communicate(timeout=60)
    assert not Home().held


@slow
def test_a_start_that_is_interrupted_leaves_nothing(clean):
    started = subprocess.Popen([sys.executable, "-m", "ifog.cluster.command", "start", "-np", "4"], stdout=subprocess.PIPE)
    until(lambda: len(processes(clean)) > 3)
    started.send_signal(signal.SIGINT)
    started.communicate(timeout=60)
    assert started.returncode == 130
    until(lambda: not processes(clean))


@slow
def test_engines_that_cannot_start_say_why(clean):
    with pytest.raises(SetupError, match=r"the engines ended while they started: .*encodings"):
        Cluster(2, env={"PYTHONHOME": "/nowhere"}).start()


@slow
def test_the_line_to_the_engines_refuses_others(clean):
    """Who has not the key can open the ports, and gets no answer."""
    from ifog.cluster.wire import Wire

    with Cluster(1) as cluster:
        info = json.loads(cluster.home.client_file.read_text())
        assert info["interface"] == "tcp://127.0.0.1"
        forged = clean / "forged.json"
        forged.write_text(json.dumps(info | {"key": "0" * 64}))
        stranger = Wire(forged)
        with pytest.raises(TimeoutError):
            stranger.look(1.0)
        stranger.close()
        assert cluster.wire.look()
        assert cluster.wire.ask([0], "ifog.engine.status:status")[0]["state"] == "idle"
        for file in (cluster.home.client_file, cluster.home.engine_file, cluster.home.state):
            assert file.stat().st_mode & 0o077 == 0
        assert cluster.home.state.parent.stat().st_mode & 0o077 == 0
        if os.getuid() == 0:  # another user of the machine
            reading = f"open({str(cluster.home.client_file)!r}).read()"
            tried = subprocess.run(
                [sys.executable, "-c", f"import os; os.setgid(65534); os.setuid(65534); {reading}"],
                capture_output=True,
                text=True,
            )
            assert "PermissionError" in tried.stderr


@slow
def test_eight_engines_an_error_a_death_and_a_restart(clean):
    from ipyparallel.error import CompositeError

    with Cluster(8) as cluster:
        view = cluster.view
        with pytest.raises(CompositeError, match="ZeroDivisionError"):
            view.execute("import ifog\nif ifog.rank() == 5: 1 / 0\nifog.barrier()", block=True)
        assert view.apply_sync(ifog.size) == [8] * 8
        busy = view.execute("ifog.barrier() if ifog.rank() != 5 else __import__('time').sleep(60)", block=False)
        until(lambda: [engine["state"] for engine in cluster.status()["engines"]].count("waiting") == 7)
        os.kill(cluster.said()["engines"][5]["pid"], signal.SIGKILL)
        until(lambda: busy.done() and cluster.trouble() is not None)
        assert "rank 5" in cluster.trouble()
        cluster.restart()
        assert cluster.view.apply_sync(ifog.rank) == list(range(8))


@slow
def test_logs_are_kept_by_rank(clean):
    with Cluster(2) as cluster:
        cluster.view.execute("import os; os.write(2, b'said by %d\\n' % int(os.environ['PMI_RANK']))", block=True)
        until(lambda: "said by 1" in command("logs").stdout)
        assert "said by 1" in command("logs", "--rank", 1).stdout
        assert "said by 0" not in command("logs", "--rank", 1).stdout


@slow
@pytest.mark.parametrize("ended", ["JupyterLab", "ifog lab"])
def test_lab_brings_engines_and_takes_them_along(clean, tmp_path, ended):
    words = [sys.executable, "-m", "ifog.cluster.command", "lab", "-np", "2", "--no-browser", "--folder", str(tmp_path)]
    lab = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        line = next(line for line in lab.stdout if "/lab?token=" in line)
        assert "http://" in line
        assert connect().said()["phase"] == "running"
        assert not list(Home().folder.glob("security/cluster-*.json"))  # which JupyterLab's list of clusters would follow
        inside = [process for process in psutil.Process(lab.pid).children() if "jupyterlab" in " ".join(process.cmdline())]
        assert len(inside) == 1
        (inside[0] if ended == "JupyterLab" else lab).terminate()
        lab.communicate(timeout=60)
        assert not Home().held
        assert not psutil.pid_exists(inside[0].pid)
    finally:
        for process in [] if lab.poll() is not None else psutil.Process(lab.pid).children(recursive=True):
            process.kill()  # who would keep our pipe open
        lab.kill()
        lab.communicate()


# ------------------------------------------------------------------------------------------------------------- ifog run
SCRIPT = """
import sys, ifog
print("hello from", ifog.rank(), *sys.argv[1:])
if "--fail" in sys.argv and ifog.rank() == 1:
    raise ValueError("my fault")
if "--exit" in sys.argv:
    ifog.barrier(); ifog.shutdown(); sys.exit(3)
ifog.barrier()
"""


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    return path


@slow
def test_run_tags_output_by_rank_and_passes_arguments_on(script):
    ran = command("run", "-np", 3, script, "-n", "7", "--gpus")
    assert ran.returncode == 0, ran.stderr
    assert sorted(ran.stdout.splitlines()) == [f"[{rank}] hello from {rank} -n 7 --gpus" for rank in range(3)]


@slow
def test_run_names_the_rank_that_failed_first(script):
    ran = command("run", "-np", 3, script, "--fail")
    assert ran.returncode == 1
    assert ran.stderr.strip().endswith("rank 1 failed first: ValueError: my fault (exit code 1)")
    assert "[1]   File " in ran.stdout
    assert "runpy" not in ran.stdout


def test_of_a_rank_the_last_error_counts(capsys):
    heard = Heard()
    for line in (
        *("[2] Traceback (most recent call last):", "[2] ValueError: handled"),
        *("[1] Traceback (most recent call last):", '[1]   File "a.py"', "[1] KeyError: 'cause'", "[1] "),
        *("[1] During handling of the above exception, another exception occurred:", "[1] "),
        *("[1] Traceback (most recent call last):", "[1] RuntimeError: the end"),
        *("[0] Traceback (most recent call last):", "[0] ifog.errors.PeerFailed: rank 1 has failed"),
        *("[2] Traceback (most recent call last):", "[2] OSError: later"),
    ):
        heard.take(f"{line}\n")
    assert heard.explain(1) == "rank 1 failed first: RuntimeError: the end (exit code 1)"


@slow
def test_run_is_told_to_the_end_after_ctrl_c(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import time\ntry:\n    print('there')\n    time.sleep(100)\nexcept KeyboardInterrupt:\n"
        "    print('x' * 200_000)\n    print('the end')\n"
    )
    words = [sys.executable, "-m", "ifog.cluster.command", "run", "-np", "2", str(script)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True) as ran:
        try:
            assert {ran.stdout.readline() for _ in range(2)} == {"[0] there\n", "[1] there\n"}
            os.killpg(ran.pid, signal.SIGINT)
            said, _ = ran.communicate(timeout=30)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(ran.pid, signal.SIGKILL)
    assert {"[0] the end", "[1] the end"} <= set(said.splitlines())


@slow
def test_run_gives_the_exit_code(script):
    assert command("run", "-np", 2, script, "--exit").returncode == 3


@slow
def test_run_of_a_module(tmp_path):
    ran = command("run", "-np", 2, "-m", "json.tool", "--help")
    assert ran.returncode == 0
    assert "[0] usage:" in ran.stdout


# --------------------------------------------------------------------------------------------------------- and the rest
def test_doctor_finds_this_machine_ready():
    examined = command("doctor", "--json")
    findings = json.loads(examined.stdout)
    assert not [finding for finding in findings if finding["verdict"] == "bad"]
    assert examined.returncode == 0
    assert any("ranks that find each other" in finding["what"] for finding in findings)
    assert all(finding["remedy"] for finding in findings if finding["verdict"] == "bad")


@slow
def test_bench_prints_a_table():
    ran = command("bench", "-np", 2)
    assert ran.returncode == 0, ran.stderr
    assert "static exponential" in ran.stdout
    assert "µs" in ran.stdout


def test_every_command_explains_itself_with_examples():
    said = command("-h").stdout
    assert "ifog start -np 8" in said
    for word in ("start", "stop", "restart", "status", "interrupt", "logs", "run", "lab", "demo", "doctor", "bench"):
        assert word in said
        assert command(word, "-h").returncode == 0
    assert "examples:" in command("start", "-h").stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["start", "-np", "0"], "n=0: a number of engines, at least 1"),
        (["start", "-np", "2", "--bind", "foot"], "bind='foot': one of none, core, socket, numa"),
        (["start", "-np", "2", "--threads", "0"], "threads=0: a number of threads"),
        (["start", "-np", "2", "--gpus", "0,,1"], "gpus='0,,1': 'auto', 'none', or a list"),
        (["start", "-np", "2", "--profile", "a/b"], "profile='a/b': a name without a slash"),
        (["start", "-np", "9", "--hosts", "a:4,b:4"], "n=9, and the hosts together take 8"),
        (["start", "--hosts", "a:four"], "hosts: 'a:four' should be a name and a number"),
        (["start", "-np", "2", "--hostfile", "/nowhere"], "cannot be read"),
        (["start", "-np", "2", "--launcher", "mgi"], "launcher='mgi': 'mpi' or a batch system"),
        (["start", "-np", "2", "--launcher", "lsf"], "there is no command bsub"),
        (["start", "-np", "2", "--env", "SEED"], "env: 'SEED' should be a name and a value, as in SEED=3"),
        (["start", "-np", "2", "--mpi", "LAM"], "MPI 'LAM': 'MPICH' or 'Open MPI'"),
        (["run", "-np", "2"], "say which script"),
        (["run", "-np", "2", "nowhere.py"], "there is no script 'nowhere.py'"),
        (["restart"], "no cluster is running on this machine: `ifog start -np 4`"),
        (["logs", "--cluster-id", "nobody"], "there is no log of 'nobody'"),
    ],
)
def test_what_cannot_be_is_refused_with_its_name(words, said, tmp_path):
    refused = command(*words, IPYTHONDIR=str(tmp_path))
    assert refused.returncode == 1
    assert said in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    refused = command("start", "-np", 1, IPYTHONDIR=str(tmp_path / "file"))
    assert refused.returncode == 1
    assert "cannot write in" in refused.stderr
    assert "IPYTHONDIR" in refused.stderr


def test_half_a_state_file_is_no_obstacle(tmp_path, monkeypatch):
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    home = Home()
    home.make()
    home.state.write_text('{"phase": "runn')
    assert home.read() == {}
    assert not home.held
    assert command("status").stdout.startswith("no cluster is running")
    assert command("stop").returncode == 0


def test_the_lock_says_who_lives(tmp_path, monkeypatch):
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    home = Home()
    home.make()
    assert not home.held
    with home.hold():
        assert home.held
        assert home.hold() is None
    assert not home.held


def test_a_process_with_an_old_number_is_spared(tmp_path):
    from ifog.cluster.leftovers import end_processes

    with subprocess.Popen(["sleep", "600"]) as process:
        created = psutil.Process(process.pid).create_time()
        end_processes({process.pid: created - 5})
        assert process.poll() is None
        end_processes({process.pid: created})
        assert not psutil.pid_exists(process.pid)


# ------------------------------------------------------------------------------------------------- where there is no room
@pytest.fixture
def elsewhere():
    """Runs shell lines where other things are mounted than elsewhere."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0 or not shutil.which("unshare"):
        pytest.skip("only root can mount, and it needs `unshare`")

    def run(lines, **variables):
        return subprocess.run(
            ["unshare", "-m", "sh", "-ec", lines], capture_output=True, text=True, timeout=120, env=os.environ | variables
        )

    return run


IFOG = f"{sys.executable} -m ifog.cluster.command"


@slow
def test_hardly_any_shared_memory_is_named(clean, elsewhere):
    tried = elsewhere(f"mount -t tmpfs -o size=1m tmpfs /dev/shm; {IFOG} start -np 4")
    assert tried.returncode == 1
    assert "the engines ended while they started" in tried.stderr
    assert re.search(r"/dev/shm has only \d MB free", tried.stderr)
    assert "--shm-size" in tried.stderr


@slow
def test_a_folder_on_a_read_only_disk_is_named(clean, elsewhere, tmp_path):
    tried = elsewhere(f"mount -t tmpfs -o ro tmpfs {tmp_path}; IPYTHONDIR={tmp_path}/ipython {IFOG} start -np 2")
    assert tried.returncode == 1
    assert "Read-only file system" in tried.stderr
    assert "IPYTHONDIR" in tried.stderr


@slow
def test_a_disk_that_fills_up_later_stops_nothing(clean, elsewhere, tmp_path):
    lines = f"""
        mount -t tmpfs -o size=256k tmpfs {tmp_path}
        export IPYTHONDIR={tmp_path}/ipython
        {IFOG} start -np 2 > /dev/null
        dd if=/dev/zero of={tmp_path}/filler bs=1k count=1000 2> /dev/null || true
        {IFOG} restart
        {IFOG} status
        {IFOG} stop
    """
    tried = elsewhere(lines)
    assert tried.returncode == 0, tried
    assert "2 new engines" in tried.stdout
    assert "2 engines, running" in tried.stdout
    assert "stopped 'ifog'" in tried.stdout
