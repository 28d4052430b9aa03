"""Experiments of papers, run again: each script prints what came out, and whether it has the paper's order and shape.

Run from the repository root::

    python -m benchmarks.reproduce              # all of them: about five minutes
    python -m benchmarks.reproduce.consensus    # one
    python -m benchmarks.reproduce --quick      # small ones, in seconds: not every claim can be seen there

Figures go to ``benchmarks/results``, as pages that need no network. A claim that fails makes the exit code 1.
"""
