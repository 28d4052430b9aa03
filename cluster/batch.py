"""``ifog run``: a script on ranks, each line of output with its rank, and the one error that explains the rest at the end."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ..errors import SetupError
from .plan import Plan

_TAG = re.compile(r"^\[(?:\d+,)?(\d+)\](?:<\w+>:?)? ?")
_COLOURS = (36, 33, 32, 35, 34, 31, 96, 93)


def run(words: Sequence[str], plan: Plan, *, tagged: bool = True) -> int:
    """Run ``SCRIPT …`` or ``-m MODULE …`` on the ranks; the exit code is that of the rank that failed."""
    if not words or words == ["-m"]:
        raise SetupError("say which script, `ifog run -np 4 script.py`, or which module, `ifog run -np 4 -m package`")
    if words[0] != "-m" and not Path(words[0]).is_file():
        raise SetupError(f"there is no script {words[0]!r} in {Path.cwd()}")
    plan.check()
    mpi = plan.found_mpi
    arguments = [argument for argument in plan.mpi_arguments() if tagged or argument not in ("-prepend-rank", "--tag-output")]
    command = [
        *(str(mpi.launcher), "-n", str(plan.n), *arguments),
        *(sys.executable, "-m", "ifog.engine.script", *words),
    ]
    environment = mpi.environment() | plan.variables()
    if not tagged:
        return subprocess.run(command, env=environment, check=False).returncode
    faults: list[tuple[int, str]] = []
    tracebacks: dict[int, bool] = {}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                tag = _TAG.match(line)
                if tag is None:
                    _put(line)
                    continue
                rank, text = int(tag[1]), line[tag.end() :]
                _put(f"{_colour(rank)}[{rank}]{_colour(None)} {text}")
                if text.startswith("Traceback (most recent call last)"):
                    tracebacks[rank] = True
                elif tracebacks.get(rank) and not text[:1].isspace():  # its last line, which names the error
                    tracebacks[rank] = False
                    faults.append((rank, text.strip()))
        except KeyboardInterrupt:
            pass  # the launcher, in the same terminal, has heard it too
        code = process.wait()
    if code:
        _explain(faults, code)
    return code if code >= 0 else 128 - code


def _explain(faults: Sequence[tuple[int, str]], code: int) -> None:
    own = [fault for fault in faults if "PeerFailed" not in fault[1].partition(":")[0]]
    if own:
        rank, said = own[0]
        sys.stderr.write(f"\nifog run: rank {rank} failed first: {said} (exit code {code})\n")
    else:
        sys.stderr.write(f"\nifog run: the ranks ended with exit code {code}\n")


def _put(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _colour(rank: int | None) -> str:
    if not sys.stdout.isatty():
        return ""
    return "\x1b[0m" if rank is None else f"\x1b[{_COLOURS[rank % len(_COLOURS)]}m"
