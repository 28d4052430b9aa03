"""Scripts in the way of BlueFog's public ones, with only their import lines changed, on real ranks."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ifog.comm import mpi

SCRIPTS = Path(__file__).parent / "scripts"
sys.path.append(str(SCRIPTS))
from in_turn import SCRIPTS as NAMES  # noqa: E402

# how many ranks, and how many of them on a (pretended) machine
WORLDS = [
    pytest.param(1, None, id="1 rank"),
    pytest.param(2, None, id="2 ranks"),
    pytest.param(4, None, id="4 ranks"),
    pytest.param(4, 2, id="4 ranks on 2 machines"),
    pytest.param(3, 1, id="3 ranks on 3 machines", marks=pytest.mark.slow),
    pytest.param(8, None, id="8 ranks", marks=pytest.mark.slow),
    pytest.param(8, 4, id="8 ranks on 2 machines", marks=pytest.mark.slow),
]


@pytest.fixture(scope="module")
def said():
    """What the scripts said on so many ranks: {script: [how it went on each rank]}, and everything that was printed."""
    known = {}

    def ask(ranks, per_machine):
        if (ranks, per_machine) not in known:
            launcher = mpi.find()
            environment = launcher.environment()
            if per_machine:
                environment["BLUEFOG_NODES_PER_MACHINE"] = str(per_machine)
            command = launcher.command(ranks, str(SCRIPTS / "in_turn.py"))
            run = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment, check=False)
            found = {}
            for name, words in re.findall(r"<<(\w+): (.*?)>>", run.stdout, re.DOTALL):
                found.setdefault(name, []).append(words)
            known[ranks, per_machine] = found, run.stdout + run.stderr
        return known[ranks, per_machine]

    return ask


@pytest.mark.parametrize("script", NAMES)
@pytest.mark.parametrize(("ranks", "per_machine"), WORLDS)
def test_a_script_does_what_the_matrices_say(said, ranks, per_machine, script):
    found, printed = said(ranks, per_machine)
    if script not in found:
        assert any(words.startswith("failed") for each in found.values() for words in each), printed[-5000:]
        pytest.skip("a script before it failed")
    assert [words.split()[0] for words in found[script]] == ["passed"] * ranks, "\n".join(found[script]) + printed[-2000:]


def test_a_script_also_runs_by_itself(tmp_path):
    environment = {**os.environ, "PYTHONWARNINGS": "error", "BLUEFOG_TIMELINE": str(tmp_path / "trace")}
    command = [sys.executable, SCRIPTS / "one_peer.py"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
    names = [event["name"] for event in json.loads((tmp_path / "trace.rank0.json").read_text())["traceEvents"]]
    assert any("neighbor_allreduce('neighbor.allreduce.one.peer')" in name for name in names)
