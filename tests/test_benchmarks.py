import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_the_quick_benchmark_measures_every_family_and_saves_what_it_found(tmp_path):
    command = [sys.executable, "-W", "error", "-m", "benchmarks.topology", "--quick", "--output", str(tmp_path)]
    run = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=240)
    assert run.returncode == 0, run.stderr
    assert len((tmp_path / "topology.csv").read_text().splitlines()) == 1 + 12 * 2
    assert (tmp_path / "topology.svg").read_text().count("<polyline") >= 12
