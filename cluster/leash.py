"""Have the system end a process when its parent ends, however that is: then nothing outlives a manager that was killed.

``python -S leash.py COMMAND …`` becomes that command, on the leash. Linux alone can do that. Elsewhere what a killed manager
leaves is ended by the next one of the same name.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """From now on, this process ends with its parent."""
    parent = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it has ended before we asked
            os._exit(1)


if __name__ == "__main__":
    end_with_parent()
    os.execvp(sys.argv[1], sys.argv[1:])
