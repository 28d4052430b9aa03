"""Engines in a job of Slurm, and what becomes of it."""

from __future__ import annotations

import subprocess

from ipyparallel.cluster.launcher import SlurmEngineSetLauncher

_GO_ON = {"PENDING", "CONFIGURING", "RUNNING", "SUSPENDED", "STOPPED", "RESIZING", "SIGNALING", "REQUEUED", "COMPLETING"}
"""States that are no end. COMPLETING is the last before one, which then says what kind of end it was."""
_ENDS = {
    "TIMEOUT": "has reached its time limit: `--options '#SBATCH --time=2:00:00'` asks for two hours",
    "CANCELLED": "was cancelled",
    "OUT_OF_MEMORY": "ran out of memory: `--options '#SBATCH --mem=8G'` asks for more",
    "NODE_FAIL": "has lost a machine that it ran on",
    "PREEMPTED": "had to make room for another job",
}


class SlurmEngines(SlurmEngineSetLauncher):  # type: ignore[misc]
    """ipyparallel's launcher, which also knows what has become of its job."""

    said = ""
    """What Slurm said last of the job, such as ``PENDING (Resources)``."""

    def poll(self) -> str:
        """Look at the job. If it goes on, or nobody knows, nothing; else how it has ended."""
        look = ["squeue", "--noheader", "--states=all", f"--jobs={self.job_id}", "--format=%T (%r)"]
        try:
            asked = subprocess.run(look, capture_output=True, text=True, timeout=30, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return ""
        if asked.returncode == 0 and asked.stdout.strip():
            self.said = asked.stdout.strip()
            state = self.said.split()[0]
            if "(TimeLimit)" in self.said:  # also while Slurm still ends what is left of the job
                state = "TIMEOUT"
            return "" if state in _GO_ON else _ENDS.get(state, f"has ended: {self.said}")
        # Slurm forgets jobs some minutes after their end; a Slurm that does not answer has forgotten nothing
        return "has ended" if "Invalid job id" in asked.stderr else ""
