"""What in this folder is no test."""

collect_ignore = ["programs"]  # for mpiexec to run: whoever imports one, in search of doctests, becomes a rank
