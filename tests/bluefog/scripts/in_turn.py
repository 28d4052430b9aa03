"""All the scripts one after the other, in the same processes, as they would run in a notebook. Says of each how it went."""

import importlib
import sys
import time
import traceback
import warnings

SCRIPTS = (
    "average_consensus",
    "life_and_topology",
    "one_peer",
    "least_squares",
    "push_sum",
    "windows",
    "collectives",
    "refusals",
    "hierarchical",
    "training",
)


def main():
    warnings.simplefilter("error")
    for name in sys.argv[1:] or SCRIPTS:
        began = time.monotonic()
        try:
            importlib.import_module(name).main()
        except BaseException:
            print(f"<<{name}: failed\n{traceback.format_exc()}>>", flush=True)  # noqa: T201
            raise
        print(f"<<{name}: passed {time.monotonic() - began:.1f} s>>", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
