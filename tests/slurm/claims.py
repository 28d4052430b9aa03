"""What must be true under Slurm, one claim after the other. `run.sh` calls it, with a Slurm that is there for nothing else."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from ifog.cluster import Cluster, connect
from ifog.errors import SetupError

HERE = Path(os.environ.get("IFOG_SLURM", "."))  # the folder that `run.sh` has made


def jobs():
    """The jobs in the queue, with their states."""
    return subprocess.check_output(["squeue", "--noheader", "--format=%i %T"], text=True).split("\n")[:-1]


def until(what, seconds, why):
    began = time.monotonic()
    while not what():
        if time.monotonic() - began > seconds:
            sys.exit(f"FAILED after {seconds} s: {why}; the queue has {jobs()}")
        time.sleep(0.2)
    return time.monotonic() - began


def claim(said, true, *more):
    print(f"{'ok    ' if true else 'FAILED'} {said}", *more, flush=True)  # noqa: T201
    if not true:
        sys.exit(1)


def ifog(*words):
    began = time.monotonic()
    said = subprocess.run([sys.executable, "-m", "ifog.cluster.command", *words], cwd=HERE, capture_output=True, text=True)
    return said.returncode, said.stdout + said.stderr, time.monotonic() - began


def place():
    import os
    from pathlib import Path

    import torch

    import ifog

    mean = ifog.allreduce(torch.tensor([float(ifog.rank())]))
    return ifog.rank(), ifog.size(), float(mean), str(Path.cwd()), os.environ.get("SEED"), "SLURM_JOB_ID" in os.environ


def compute():
    import time

    while True:
        time.sleep(0)


def broken(cluster):
    return cluster.said().get("phase") == "broken"


def claim_refused(said, expected, option):
    try:
        Cluster(4, launcher="slurm", directory=HERE, timeout=8, options=f"#SBATCH {option}").start()
    except SetupError as error:
        claim(said, expected in str(error), error)
    else:
        claim(said, False, "it has started")


def main():
    code, said, seconds = ifog("start", "-np", "4", "--launcher", "slurm", "--env", "SEED=7")
    claim("four engines start in a job", code == 0, f"{seconds:.1f} s\n{said}")
    cluster = connect()
    seen = cluster.view.apply_sync(place)
    claim(
        "each has its rank, all talk, and folder and variables came along",
        seen == [(i, 4, 1.5, str(HERE), "7", True) for i in range(4)],
        seen,
    )
    claim("one job runs", [job.split()[1] for job in jobs()] == ["RUNNING"], jobs())
    code, said, _ = ifog("logs")
    claim("`ifog logs` has their log", code == 0, said[-300:])

    code, said, seconds = ifog("restart")
    claim("they restart", code == 0 and cluster.view.apply_sync(place) == seen, f"{seconds:.1f} s {said}")

    cluster.view.apply_async(compute)
    time.sleep(1)
    code, said, seconds = ifog("stop")
    claim("`ifog stop` ends them while they compute", code == 0, f"{seconds:.1f} s {said}")
    claim("and leaves no job", True, f"after {until(lambda: not jobs(), 20, 'a job is left'):.1f} s")

    cluster = Cluster(4, launcher="slurm", directory=HERE).start()
    subprocess.check_call(["scancel", jobs()[0].split()[0]])
    seconds = until(lambda: broken(cluster), 30, "that the job was cancelled goes unnoticed")
    claim("a cancelled job is noticed", "was cancelled" in cluster.trouble(), f"after {seconds:.1f} s: {cluster.trouble()}")
    cluster.restart()
    claim("and restarted", [answer[0] for answer in cluster.view.apply_sync(place)] == [0, 1, 2, 3])

    os.kill(cluster.said()["processes"][0][0], signal.SIGKILL)
    until(lambda: not cluster.home.held, 10, "the manager lives")
    cluster.close()
    cluster = Cluster(4, launcher="slurm", directory=HERE).start()
    until(lambda: len(jobs()) == 1, 20, "the job of a killed manager is left")
    claim("what a killed manager has left, the next one ends", True, jobs())
    cluster.stop()
    until(lambda: not jobs(), 20, "a job is left")

    claim_refused("a job that is refused is told, and why", "sbatch has refused the job: sbatch: error:", "--partition=none")
    claim_refused("one that has to wait too long says for what", "PENDING (BeginTime)", "--begin=now+1hour")
    until(lambda: not jobs(), 20, "a job is left")

    cluster = Cluster(4, launcher="slurm", directory=HERE, options="#SBATCH --time=1").start()
    seconds = until(lambda: broken(cluster), 200, "the time limit goes unnoticed")
    claim(
        "a time limit that is reached is told", "time limit" in cluster.trouble(), f"after {seconds:.1f} s: {cluster.trouble()}"
    )
    cluster.stop()


if __name__ == "__main__":
    main()
