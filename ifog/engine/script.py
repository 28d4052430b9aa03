"""``python -m ifog.engine.script SCRIPT.py …`` or ``… -m MODULE …``: a script on a rank, which is bound before it begins.

What it prints goes out in whole lines: a launcher puts together what all ranks say.
"""

from __future__ import annotations

import io
import runpy
import sys
from pathlib import Path
from types import TracebackType

from .binding import bind


def main(words: list[str]) -> int:
    """Run it as Python would, and give its exit code."""
    bind()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True, write_through=False)
    try:
        if words[0] == "-m":
            sys.argv, sys.path[0] = words[1:], str(Path.cwd())
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv, sys.path[0] = words, str(Path(words[0]).resolve().parent)
            runpy.run_path(words[0], run_name="__main__")
    except SystemExit:
        raise
    except BaseException as error:  # noqa: BLE001 (shown as Python shows it, without what stands above the script here)
        error.__traceback__ = _of_the_script(error.__traceback__)
        sys.excepthook(type(error), error, error.__traceback__)
        return 130 if isinstance(error, KeyboardInterrupt) else 1
    return 0


def _of_the_script(traceback: TracebackType | None) -> TracebackType | None:
    ours = __file__, runpy.__file__, "<frozen runpy>"
    while traceback is not None and traceback.tb_frame.f_code.co_filename in ours:
        traceback = traceback.tb_next
    return traceback


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
