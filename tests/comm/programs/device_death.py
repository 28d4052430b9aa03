"""A rank dies while others read what it lends on its device: ``mpiexec -n 4 python device_death.py``, IFOG_TEST_DEVICE set."""

import faulthandler
import os
import signal
import sys
from pathlib import Path

import torch

import ifog

sys.path.insert(0, str(Path(__file__).parents[1] / "spmd"))
import pretended

faulthandler.dump_traceback_later(60, exit=True)
pretended.begin()
x = torch.ones(100_000, device=pretended.device())
for k in range(50):
    x = ifog.neighbor_allreduce(x)
    if k == 20 and ifog.rank() == 1:
        os.kill(os.getpid(), signal.SIGKILL)
print("nobody has noticed")
