"""What in this folder is no test."""

collect_ignore = ["programs"]  # for mpiexec to run
