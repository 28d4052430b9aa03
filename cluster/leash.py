"""``python -S leash.py COMMAND …`` becomes that command, which the system then ends when its parent ends, however that is.

Linux alone can do that. Elsewhere what a killed manager leaves is ended by the next one of the same name.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1

if __name__ == "__main__":
    parent = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it has ended before we asked
            sys.exit(1)
    os.execvp(sys.argv[1], sys.argv[1:])
