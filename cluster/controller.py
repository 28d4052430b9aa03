"""``python -m ifog.cluster.controller``: ipyparallel's controller, on a leash, and with it the process that it forks."""

import multiprocessing
import os

from .leash import end_with_parent

if __name__ == "__main__":
    end_with_parent()
    os.register_at_fork(after_in_child=end_with_parent)
    multiprocessing.set_start_method("fork")
    from ipyparallel.controller.app import main

    main()
