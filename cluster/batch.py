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
    heard = Heard()
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        assert process.stdout is not None
        while True:
            try:
                for line in process.stdout:
                    heard.take(line)
                break
            except KeyboardInterrupt:
                pass  # the launcher, in the same terminal, has heard it too; until it ends, the ranks may say more
        code = process.wait()
    if code:
        sys.stderr.write(f"\nifog run: {heard.explain(code)}\n")
    return code if code >= 0 else 128 - code


class Heard:
    """What the ranks say: shown, each line with its rank, and the errors among it remembered."""

    def __init__(self) -> None:
        self._faults: dict[int, str] = {}  # of each rank its last, in the order in which they came
        self._within: dict[int, bool] = {}  # by rank, whether a traceback has begun

    def take(self, line: str) -> None:
        """One more line."""
        tag = _TAG.match(line)
        if tag is None:
            _put(line)
            return
        rank, text = int(tag[1]), line[tag.end() :]
        _put(f"{_colour(rank)}[{rank}]{_colour(None)} {text}")
        if text.startswith("Traceback (most recent call last)"):
            self._within[rank] = True
        elif self._within.get(rank) and not text[:1].isspace():  # its last line, which names the error
            self._within[rank] = False
            self._faults.pop(rank, None)  # a cause of this one, or handled: the rank went on
            self._faults[rank] = text.strip()

    def explain(self, code: int) -> str:
        """The error that explains the rest."""
        own = [fault for fault in self._faults.items() if "PeerFailed" not in fault[1].partition(":")[0]]
        if own:
            rank, said = own[0]
            return f"rank {rank} failed first: {said} (exit code {code})"
        return f"the ranks ended with exit code {code}"


def _put(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _colour(rank: int | None) -> str:
    if not sys.stdout.isatty():
        return ""
    return "\x1b[0m" if rank is None else f"\x1b[{_COLOURS[rank % len(_COLOURS)]}m"
