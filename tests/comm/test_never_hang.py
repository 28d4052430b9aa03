"""Whatever goes wrong on one rank, the others are told within seconds, and no process waits for ever or leaves anything behind.

Real ranks under mpiexec run the programs in `programs/`: many cases in a world, because it takes seconds to start one. They
write down what they see, and here each claim about that is a test. The worlds that the chosen tests need are started at the
first of them, a few at a time: most of what they do is to wait.
"""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from ifog.comm.mpi import find, installed
from ifog.errors import SetupError

PROGRAMS = Path(__file__).parent / "programs"
DEADLINE = 5.0  # from a failure to the error on the others, or to the end of the job


@dataclass(frozen=True)
class World:
    """Some ranks that run a program."""

    program: str
    arguments: tuple[str, ...] = ()
    n: int = 4
    per_machine: int = 0
    mpi: str = "MPICH"
    environment: tuple[tuple[str, str], ...] = ()
    attack: str = ""
    """What is done to it from outside, once all ranks are ready."""

    def __str__(self):
        words = [self.program, *self.arguments, f"{self.n} ranks"]
        words += [f"{self.per_machine} a machine"] * bool(self.per_machine) + [self.mpi] * (self.mpi != "MPICH")
        return "-".join([*words, *(f"{name}={value}" for name, value in self.environment), *[self.attack] * bool(self.attack)])


@dataclass
class Outcome:
    """What became of them."""

    folder: Path
    code: int | None
    """None, if it had to be ended."""
    text: str
    ended: float
    left: list[str]
    """Files that are still there."""
    attacked: float = 0.0
    notes: dict[str, dict[int, float]] = field(default_factory=dict)

    def rows(self, case):
        """What each rank saw of a case."""
        found = []
        for file in sorted(self.folder.glob("*.jsonl"), key=lambda file: int(file.stem)):
            rows = {row["case"]: row for row in map(json.loads, file.read_text().splitlines())}
            assert case in rows, f"rank {file.stem} has not come through {case!r}:\n{self.text[-8000:]}"
            found.append(rows[case])
        assert found, self.text[-8000:]
        return found

    def said(self):
        """What each rank wrote down at the end."""
        assert self.code == 0, self.text[-8000:]
        return [json.loads(file.read_text()) for file in sorted(self.folder.glob("*.json"))]


def run(world, folder):
    """Run a world to its end."""
    environment = {**os.environ, "IFOG_WARN_AFTER": "0.5", "PYTHONFAULTHANDLER": "1", **dict(world.environment)}
    command = [sys.executable]
    if world.n > 1:
        mpi = find(world.mpi) if world.mpi == "MPICH" else other_mpi()
        command, environment = mpi.command(world.n), mpi.environment() | environment
    if world.per_machine:
        environment["IFOG_NODES_PER_MACHINE"] = str(world.per_machine)
    command += [str(PROGRAMS / f"{world.program}.py"), str(folder), *world.arguments]
    with (folder / "output").open("w") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output, start_new_session=True)
    attacked = attack(world, process, folder) if world.attack else 0.0
    try:
        code = process.wait(240)
    except subprocess.TimeoutExpired:
        code = None
        end(process)
    outcome = Outcome(folder, code, (folder / "output").read_text(), time.monotonic(), [], attacked)
    for file in folder.glob("*.[0-9]"):
        outcome.notes.setdefault(file.stem, {})[int(file.suffix[1:])] = float(file.read_text().split()[0])
    notes = [*folder.glob("ready.*"), *folder.glob("released.*")]
    names = {name for file in notes for name in file.read_text().splitlines()[1:]}
    outcome.left = sorted(name for name in names if Path(name).exists())
    return outcome


def end(process):
    """Kill it with all that it has started; ranks have sessions of their own."""
    try:
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for member in family:
        try:
            member.kill()
        except psutil.NoSuchProcess:
            continue


def attack(world, process, folder):
    """Do something to a world whose ranks are all ready, and say when."""
    deadline = time.monotonic() + 120
    while len(list(folder.glob("ready.*"))) < world.n and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    time.sleep(0.3)
    attacked = time.monotonic()
    if world.attack == "all killed":
        end(process)
    elif world.attack == "mpiexec killed":
        process.kill()
    elif world.attack == "interrupted":
        process.send_signal(signal.SIGINT)
    else:
        raise NotImplementedError(world.attack)
    return attacked


def other_mpi():
    """An MPI that is not the embedded one."""
    for mpi in installed():
        if not mpi.embedded:
            return mpi
    raise SetupError("no other MPI")


_pool = ThreadPoolExecutor(3)
_runs = {}


@pytest.fixture
def world(request, tmp_path_factory):
    """The outcome of a world. All that are needed start with the first."""
    for item in request.session.items:
        needed = item.callspec.params.get("world") if hasattr(item, "callspec") else None
        if isinstance(needed, World) and needed not in _runs:
            _runs[needed] = _pool.submit(run, needed, tmp_path_factory.mktemp(needed.program))
    try:
        return _runs[request.param].result()
    except SetupError as error:
        pytest.skip(str(error))


def worlds(*fast, slow=()):
    """The worlds that a test is about."""
    chosen = [*fast, *(pytest.param(each, marks=pytest.mark.slow) for each in slow)]
    return pytest.mark.parametrize("world", chosen, indirect=True, ids=str)


# =========================================================================================== failures, and going on after them
everywhere = worlds(
    World("failures"),
    World("failures", per_machine=2),
    slow=[
        World("failures", n=8),
        World("failures", n=8, per_machine=4),
        World("failures", environment=(("IFOG_SHARED", "file"),)),
        World("failures", mpi="Open MPI"),
        World("failures", mpi="Open MPI", per_machine=2),
    ],
)


def seconds(rows):
    """How long after the failure each rank was told."""
    failed = min(row["failed_at"] for row in rows if "failed_at" in row)
    return [row["ended"] - failed for row in rows]


def healed(rows):
    """After the case all ranks have recovered, and their calls are right."""
    return all(row["well"] for row in rows)


@everywhere
@pytest.mark.parametrize(
    ("case", "culprit", "words"),
    [
        ("raises_before", 1, "ValueError: no data on this rank"),
        ("raises_amid", -1, "ZeroDivisionError: step 5"),
        ("raises_before_a_large_transfer", 0, "ValueError: before a large transfer"),
        ("raises_with_a_strange_message", 1, "RuntimeError: ? long long"),
        ("handle_never_waited_for", 1, "ValueError: with a handle open"),
        ("in_hierarchical", 1, "ValueError: in hierarchical"),
        ("in_pair_gossip", 1, "ValueError: in pair_gossip"),
        ("in_send_and_recv", 1, "ValueError: in recv"),
        ("in_set_topology", 1, "ValueError: in set_topology"),
    ],
)
def test_a_rank_that_raises_releases_the_others_by_name(world, case, culprit, words):
    rows = world.rows(case)
    culprit %= len(rows)
    for rank, row in enumerate(rows):
        if rank == culprit:
            assert row["error"] == words.partition(":")[0]
        else:
            assert row["error"] == "PeerFailed", row
            assert row["message"].startswith(f"rank {culprit} failed: {words}")
            assert "To go on after catching this, call ifog.recover() on all ranks." in row["message"] or "strange" in case
    assert max(seconds(rows)) < DEADLINE
    assert healed(rows)


@everywhere
def test_a_rank_that_raises_in_a_backward_pass_releases_its_neighbours(world):
    rows = world.rows("in_backward")
    told = [row for rank, row in enumerate(rows) if rank != 1 and "error" in row]
    assert told
    assert all(row["message"].startswith("rank 1 failed: ValueError: in backward") for row in told)
    assert max(seconds(rows)) < DEADLINE
    assert healed(rows)


@everywhere
def test_of_two_failures_the_first_is_told(world):
    rows = world.rows("two_raise")
    for rank, row in enumerate(rows):
        assert row["error"] == ("ValueError" if rank in (1, len(rows) - 1) else "PeerFailed")
        assert "cannot" in row["message"]
    assert max(seconds(rows)) < DEADLINE
    assert healed(rows)


@everywhere
@pytest.mark.parametrize(
    ("case", "usual", "different"),
    [
        ("another_operation", "allreduce of float32 [5], mean", "rank 1: barrier"),
        ("another_name", "allreduce('loss') of float32 [5]", "rank 1: allreduce('accuracy') of float32 [5]"),
        ("another_shape", "neighbor_allreduce of float32 [5] on ring", "rank 1: neighbor_allreduce of float32 [7] on ring"),
        ("another_large_shape", "allreduce of float32 [300000]", "rank 1: allreduce of float32 [300001]"),
        ("another_dtype", "allreduce of float32 [5]", "rank 1: allreduce of float64 [5]"),
        ("another_op", "allreduce of float32 [5], sum", "rank 1: allreduce of float32 [5], max"),
        ("another_topology", "set_topology(ring(", "rank 1: set_topology(star("),
        ("one_call_more", "barrier", "rank 1: allreduce of float32 [5]"),
        ("another_pair_gossip", "pair_gossip", "rank 1: pair_gossip(None) of float32 [4]"),
        ("in_a_handle", "allreduce of float32 [300000]", "rank 1: allreduce of float32 [3]"),
    ],
)
def test_different_calls_are_told_to_all_who_wait(world, case, usual, different):
    rows = world.rows(case)
    told = [row for row in rows if "error" in row]
    assert len(told) >= min(3, len(rows)), rows  # on a ring, who is not next to the culprit may be done
    for row in told:
        assert row["error"] == "Mismatch", row
        assert usual in row["message"]
        assert different in row["message"]
    assert max(seconds(rows)) < DEADLINE
    assert healed(rows)


@everywhere
def test_different_roots_are_told_by_name(world):
    """Between machines nothing comes from a wrong root: the two wait for each other, and that is noticed."""
    rows = world.rows("another_root")
    for row in rows:
        assert row["error"] in ("Mismatch", "Deadlock"), row
        assert "broadcast of float32 [5] from rank 2" in row["message"]
    assert max(seconds(rows)) < DEADLINE
    assert healed(rows)


@everywhere
def test_an_edge_that_only_one_end_names_is_told_on_both(world):
    rows = world.rows("an_edge_that_one_end_names")
    for row in rows:
        assert row["error"] == "Mismatch"
        assert "rank 1 sends something to rank 0 (dst_weights), but rank 0 does not expect it" in row["message"]
    assert max(seconds(rows)) < DEADLINE
    assert healed(rows)


@everywhere
def test_a_call_that_is_refused_on_one_rank_is_told_to_those_who_wait_for_it(world):
    rows = world.rows("refused_on_one_rank")
    for rank, row in enumerate(rows):
        assert row["error"] == "PeerFailed"
        assert "ArgumentError: x is of type str" in row["message"]
        assert ("this rank" if rank == 1 else "rank 1 failed") in row["message"]
    assert max(seconds(rows)) < DEADLINE
    assert healed(rows)


@everywhere
def test_a_call_that_was_refused_can_be_made_again_in_time(world):
    rows = world.rows("refused_and_called_again_is_fine")
    assert not any("error" in row for row in rows), rows
    assert healed(rows)


# --------------------------------------------------------------------------------------------------- late, or never
@everywhere
def test_a_late_rank_is_waited_for_with_a_warning_that_names_it(world):
    rows = world.rows("late")
    late = len(rows) - 1
    for rank, row in enumerate(rows):
        assert row["result"] is True
        warned = [text for text in row["warnings"] if f"for rank {late} in allreduce of float32 [5], mean" in text]
        assert bool(warned) == (rank != late)
        assert all(f"rank {late} is not in any ifog call" in text for text in warned)
    assert healed(rows)


@everywhere
def test_who_waits_for_a_late_rank_can_be_interrupted(world):
    rows = world.rows("late_and_the_others_are_interrupted")
    assert "KeyboardInterrupt" in {row["error"] for row in rows}
    assert max(seconds(rows)[:-1]) < 0  # before the late one came
    assert healed(rows)


@everywhere
@pytest.mark.parametrize("case", ["one_leaves", "send_to_a_rank_that_left"])
def test_a_rank_that_has_left_is_a_deadlock_by_name(world, case):
    rows = world.rows(case)
    left = len(rows) - 1
    failed = min(row["failed_at"] for row in rows)
    for row in rows[:-1]:
        assert f"but rank {left} has ended or left with ifog.shutdown()" in row["message"]
        assert row["after"] - failed < DEADLINE
    assert healed(rows)


@everywhere
@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("all_receive", "rank 0 waits for rank 1 in recv from rank 1, rank 1 waits for rank 2 in recv from rank 2"),
        ("two_send_large_things_to_each_other", "rank 0 waits for rank 1 in send to rank 1, rank 1 waits for rank 0 in send"),
        ("wrong_source", "rank 0 waits for rank 1 in recv from rank 1, rank 1 waits for rank 0 in barrier"),
    ],
)
def test_a_circle_is_a_deadlock_that_says_who_waits_for_whom(world, case, words):
    rows = world.rows(case)
    for row in rows:
        assert row["error"] == "Deadlock", row
        assert words in row["message"]
    assert max(seconds(rows)) < DEADLINE
    assert healed(rows)


@everywhere
@pytest.mark.parametrize("case", ["stopped_and_continued", "stopped_while_it_waits", "long_computation"])
def test_a_rank_that_is_stopped_or_computes_for_long_is_no_deadlock(world, case):
    rows = world.rows(case)
    assert all(row.get("result") is True for row in rows), rows
    assert max(row["ended"] - row["began"] for row in rows) > 3
    assert healed(rows)


# ------------------------------------------------------------------------------------------------------- interrupts
@everywhere
@pytest.mark.parametrize("case", ["one_is_interrupted", "one_is_interrupted_while_it_waits", "interrupted_with_handles_open"])
def test_a_rank_that_is_interrupted_releases_the_others(world, case):
    rows = world.rows(case)
    assert rows[1]["error"] == "KeyboardInterrupt"
    for rank, row in enumerate(rows):
        if rank != 1:
            assert row["error"] == "PeerFailed"
            assert row["message"].startswith("rank 1 failed: KeyboardInterrupt: it was interrupted")
    assert max(seconds(rows)) < DEADLINE
    assert healed(rows)


@everywhere
def test_all_may_be_interrupted_at_once(world):
    rows = world.rows("all_are_interrupted")
    assert {row["error"] for row in rows} <= {"KeyboardInterrupt", "PeerFailed"}
    assert max(seconds(rows)) < DEADLINE
    assert healed(rows)


@worlds(
    slow=[
        World("interrupts", ("12", "all")),
        World("interrupts", ("12", "one"), n=8),
        World("interrupts", ("12", "all"), per_machine=2),
        World("interrupts", ("12", "all"), n=8, per_machine=4),
    ]
)
def test_interrupts_at_random_moments_lose_nothing(world):
    rows = world.said()
    assert sum(row["interrupts"] for row in rows) > 5
    for row in rows:
        assert row["steps"] > 0
        assert row["wrong"] == []
        assert row["held"] == 0


# ------------------------------------------------------------------------------------------- handles, threads, children
@everywhere
def test_a_handle_of_before_the_failure_says_that_it_must_be_begun_again(world):
    rows = world.rows("handle_waited_for_too_late")
    for row in rows:
        *sums, received = row["handles"]
        assert len(sums) == 4
        assert "ValueError: with handles open" in received  # nobody ever sent it
        for said in sums:  # what had come to its end when the rank failed stays right
            assert said == "came to its end" or "ValueError: with handles open" in said
    assert healed(rows)


@everywhere
def test_a_second_thread_is_refused_while_the_first_is_in_a_call(world):
    rows = world.rows("in_another_thread")
    assert "ifog is in a call already (allreduce of float32 [5], mean), in another thread" in rows[0]["said"][0]
    assert all(row["result"] for row in rows)
    assert healed(rows)


@everywhere
def test_a_forked_child_is_no_rank(world):
    rows = world.rows("in_a_child")
    for row in rows:
        assert row["code"] == 11 + 20 + 40  # it knows its rank, its call was refused, and it got no shared memory
        assert row["result"]
    assert healed(rows)


@everywhere
def test_the_workers_of_a_dataloader_disturb_nobody(world):
    rows = world.rows("with_the_workers_of_a_dataloader")
    assert all(row["result"] for row in rows)
    assert healed(rows)


@everywhere
def test_after_all_of_that_the_job_ends_well(world):
    assert world.code == 0, world.text[-8000:]
    assert not world.left


@worlds(slow=[World("leaks"), World("leaks", per_machine=2)])
def test_two_hundred_failures_leave_nothing_behind(world):
    for row in world.said():
        before, after = row["before"], row["after"]
        for what in ("descriptors", "threads", "communicators", "pending", "held", "shared files"):
            assert after[what] == before[what], what
        assert after["held"] == after["pending"] == after["communicators"] == after["requests"] == 0
        assert after["shared files"] == []
        assert after["memory"] < before["memory"] + 20e6  # of the 500 MB that were sent
        assert after["mapped"] < 4 * before["mapped"]
        assert after["seconds"] < 20 * before["seconds"] + 0.05  # not ever slower


# ================================================================================================================ exits
def exits(how, n=3, **more):
    return World("exits", (how,), n, **more)


def told(world):
    """How long after the failure each of the others knew."""
    failed = world.notes["failed"][1]
    return [
        released - max(failed, world.notes.get("waits", {}).get(rank, 0)) for rank, released in world.notes["released"].items()
    ]


@worlds(exits("uncaught"), slow=[exits("uncaught", per_machine=1), exits("mpi4py_first"), exits("uncaught", mpi="Open MPI")])
def test_an_error_that_nobody_catches_ends_the_job_and_says_whose_it_was(world):
    assert world.code not in (0, None)
    assert world.ended - world.notes["failed"][1] < DEADLINE
    assert len(told(world)) == 2
    assert max(told(world)) < DEADLINE
    assert world.text.count("\nValueError: this rank has no data") == 1
    assert world.text.count("PeerFailed: rank 1 failed: ValueError: this rank has no data") == 2
    assert not world.left


@worlds(exits("uncaught_while_others_compute"), slow=[exits("uncaught_in_a_large_transfer", per_machine=1)])
def test_it_ends_the_job_also_if_the_others_do_not_listen(world):
    assert world.code not in (0, None)
    assert world.ended - world.notes["failed"][1] < DEADLINE
    assert "\nValueError: this rank has no data" in world.text
    assert not world.left


@worlds(exits("import_error"), slow=[exits("never_calls"), exits("never_calls", mpi="Open MPI")])
def test_a_rank_that_ends_before_its_first_call_is_named_by_those_who_wait_for_it(world):
    assert world.code not in (0, None)
    assert max(told(world)) < DEADLINE
    assert "Deadlock: ifog.init() waits for rank 1, which has ended without ever calling ifog" in world.text
    assert not world.left


@worlds(slow=[exits("late_to_init"), exits("late_to_init", mpi="Open MPI")])
def test_a_rank_that_is_late_for_its_first_call_is_waited_for_with_a_warning(world):
    assert world.code == 0, world.text
    assert "WaitWarning: ifog.init() has been waiting" in world.text
    assert len(world.notes["ended"]) == 3


@worlds(slow=[exits("sys_exit")])
def test_a_rank_may_end_with_a_code_of_its_own(world):
    assert world.code == 3, world.text
    assert not world.left


@worlds(slow=[exits("sys_exit_while_others_wait"), exits("caught_but_not_recovered")])
def test_a_rank_that_has_ended_while_others_wait_is_named(world):
    assert world.code not in (0, None)
    assert "Deadlock: ranks 0 and 2 wait in " in world.text
    assert "but rank 1 has ended or left with ifog.shutdown()" in world.text
    assert not world.left


@worlds(
    exits("different_times"),
    slow=[
        exits("different_times", per_machine=1),
        exits("different_times", mpi="Open MPI"),
        exits("handle_never_waited_for"),
        exits("handle_never_waited_for", per_machine=1),
        exits("shutdown"),
        exits("shutdown", per_machine=1),
        exits("no_ifog"),
    ],
)
def test_a_job_that_ends_well_ends_with_code_zero_and_without_a_word(world):
    assert world.code == 0, world.text
    assert "Traceback" not in world.text
    assert not world.left


@worlds(exits("caught_by_all"), slow=[exits("caught_by_all", per_machine=1), exits("caught_by_all", mpi="Open MPI")])
def test_after_a_failure_that_all_have_caught_every_rank_may_end_in_its_own_time(world):
    assert world.code == 0, world.text
    assert len(world.notes["released"]) == len(world.notes["ended"]) == 3
    assert max(world.notes["ended"].values()) - min(world.notes["ended"].values()) > 3
    assert not world.left


@worlds(slow=[exits("child")])
def test_a_process_that_a_rank_has_started_is_told_that_it_is_no_rank(world):
    assert world.code == 0, world.text
    for file in world.folder.glob("ended.*"):
        assert "SetupError: this process was started by a rank" in file.read_text()


@worlds(exits("alone", n=1))
def test_without_mpiexec_there_is_a_world_of_one(world):
    assert world.code == 0, world.text
    assert world.text == ""
    assert not world.left


@worlds(exits("killed"), slow=[exits("killed", per_machine=1), exits("killed", mpi="Open MPI"), exits("segfault")])
def test_a_rank_that_is_killed_ends_the_job_which_names_process_and_signal(world):
    """The launcher names the process. The rank is named too, if one of the others is quicker than the launcher's kill."""
    assert world.code not in (0, None)
    assert world.ended - world.notes["failed"][1] < DEADLINE
    assert "signal 9" in world.text or "signal 11" in world.text
    if "\nifog: " in world.text:
        assert "\nifog: rank 1 (process " in world.text
    assert not world.left


@worlds(slow=[exits("ends_without_a_word"), exits("killed", mpi="Open MPI")])
def test_a_rank_that_is_gone_is_named_by_the_others_if_they_live_long_enough(world):
    assert world.code is not None
    assert max(told(world)) < DEADLINE
    assert "PeerFailed: rank 1 failed: its process" in world.text
    assert "It does not come back: start the ranks again." in world.text


@worlds(
    exits("waits", attack="all killed"),
    slow=[
        exits("waits", attack="all killed", environment=(("IFOG_SHARED", "file"),)),
        exits("waits", attack="mpiexec killed"),
    ],
)
def test_when_all_is_killed_nothing_is_left(world):
    for file in world.folder.glob("ready.*"):
        pid = int(file.read_text().split()[1])
        deadline = world.attacked + DEADLINE
        while psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie"
    assert not world.left


@worlds(slow=[exits("waits", attack="interrupted")])
def test_an_interrupt_of_the_launcher_ends_the_job(world):
    assert world.code not in (0, None)
    assert world.ended - world.attacked < DEADLINE
    assert "KeyboardInterrupt" in world.text
    assert not world.left
