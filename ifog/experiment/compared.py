"""Several runs side by side: one tidy table, and one plot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ArgumentError, Diverged
from .crew import crew
from .drive import run as run_one
from .live import Run, runs

if TYPE_CHECKING:
    import pandas as pd

_VALUES = {
    "error": "error  √(mean of |x_i − x*|²)",
    "error_of_mean": "error of the mean  |x̄ − x*|",
    "disagreement": "disagreement  √(mean of |x_i − x̄|²)",
    "gradient_norm": "size of the mean gradient",
    "bytes": "bytes sent by all nodes",
    "messages": "messages sent by all nodes",
    "simulated": "seconds of the simulated clock",
}
_LINEAR = ("iteration", "seconds", "compute", "wait", "copy", "simulated", "bytes", "messages")
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999933")


class Comparison:
    """Runs that belong together: iterate over them, or take their `history`, `table` or `figure`."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self.runs = list(runs)

    def __iter__(self) -> Iterator[Run]:
        return iter(self.runs)

    def __len__(self) -> int:
        return len(self.runs)

    def __getitem__(self, i: int) -> Run:
        return self.runs[i]

    def wait(self) -> Comparison:
        """Wait until all have ended. Why one has failed is in the `table`."""
        for run in self.runs:
            run._over.wait()
        return self

    @property
    def history(self) -> pd.DataFrame:
        """All that was recorded, one below the other, with what each row belongs to."""
        import pandas as pd

        tables = [
            run.history.assign(run=run.name, **{key: run.about.get(key) for key in ("method", "topology", "seed")})
            for run in self.runs
        ]
        table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
        first = [name for name in ("run", "method", "topology", "seed") if name in table]
        return table[first + [name for name in table if name not in first]]

    @property
    def table(self) -> pd.DataFrame:
        """Where each run has ended, and what it took; a failed one with its reason."""
        import pandas as pd

        rows = []
        for run in self.runs:
            last = run.records.last
            rows.append(
                {"run": run.name, "status": run.status, "iterations": run.iteration}
                | {name: last.get(name, np.nan) for name in ("error", "disagreement", "loss", "messages", "bytes", "seconds")}
            )
        table = pd.DataFrame(rows)
        if any(run.error is not None for run in self.runs):
            table["reason"] = ["" if run.error is None else str(run.error) for run in self.runs]
        return table

    def mean(self, y: str = "error") -> pd.DataFrame:
        """Of ``y`` at each iteration, over the runs: mean, least and largest."""
        grouped = self.history.groupby("iteration")[y]
        return grouped.agg(["mean", "min", "max"]).reset_index()

    def figure(self, y: str = "error", x: str = "iteration") -> Any:
        """All curves in one plotly figure."""
        return figure(self.runs, y=y, x=x)

    def __repr__(self) -> str:
        return self.table.to_string(index=False, float_format=lambda value: f"{value:.3g}") if self.runs else "<no runs>"

    def _repr_html_(self) -> str:
        return f"<div>{self.table.to_html(index=False, float_format=lambda value: f'{value:.3g}')}</div>"


def compare(entries: Sequence[Run | str | tuple[Any, Any] | Mapping[str, Any]], **common: Any) -> Comparison:
    """Run several things on the same terms, one after the other.

    An entry is a method, a pair (method, topology), a dict of arguments of `run`, or a `Run` that there is already. What is
    common to all is given once::

        compare([("dgd", "ring"), ("extra", "ring"), ("extra", "exponential")], problem=problem, steps=500, lr=0.02)
    """
    if isinstance(entries, str | Mapping) or not isinstance(entries, Sequence):
        raise ArgumentError(f"compare({entries!r:.60}): give a list, such as [('dgd', 'ring'), ('extra', 'ring')]")
    tasks = [entry if isinstance(entry, Run) else {**common, **_arguments(entry)} for entry in entries]
    for task in tasks:
        if not isinstance(task, Run):
            for name in ("method", "problem", "topology", "steps"):
                if name not in task:
                    raise ArgumentError(
                        f"compare: {name} is missing for {task.get('method', 'an entry')}; give it for all, as {name}=…"
                    )
    done = [task if isinstance(task, Run) else _to_its_end({"wait": True, **task}) for task in tasks]
    return Comparison(_with_names(done))


def _to_its_end(task: dict[str, Any]) -> Run:
    """The run, also if it fails: the others shall be compared all the same.

    On ranks, only if it diverges: any other error may be that of one rank, and ends what they do together.
    """
    try:
        return run_one(**task)
    except Exception as error:
        failed = next((run for run in reversed(runs) if run.error is error), None)
        if failed is None or (crew().size > 1 and not isinstance(error, Diverged)):
            raise
        return failed


def repeat(method: Any, problem: Any, *, seeds: Sequence[int], **arguments: Any) -> Comparison:
    """The same run with several seeds."""
    if "seed" in arguments:
        raise ArgumentError("seed: repeat takes seeds=[…], one for each run")
    common = {"method": method, "problem": problem, "wait": True, **arguments}
    repeated = [_to_its_end({**common, "seed": seed}) for seed in seeds]
    for seed, run in zip(seeds, repeated, strict=True):
        run.name = f"{run.name}, seed {seed}"
    return Comparison(repeated)


def figure(runs: Sequence[Run], *, y: str, x: str) -> Any:
    """Curves of some runs, with a mark where something was changed."""
    import plotly.graph_objects as go

    drawn = go.Figure()
    for i, run in enumerate(runs):
        columns = run.records.columns()
        for axis, name in (("y", y), ("x", x)):
            if name not in columns:
                raise ArgumentError(f"{axis}={name!r}: {run.name} has recorded {', '.join(columns) or 'nothing'}")
        colour = _COLOURS[i % len(_COLOURS)]
        drawn.add_trace(go.Scatter(x=columns[x], y=columns[y], name=escape(run.name), line={"color": colour, "width": 2}))
        iterations = columns["iteration"]
        for k, what in run.marks if x in _LINEAR else ():  # plotly puts a label on a logarithmic axis where nobody finds it
            at = int(np.searchsorted(iterations, k))
            if at < len(iterations):
                drawn.add_vline(x=columns[x][at], line={"color": colour, "dash": "dot"}, annotation_text=escape(what))
    positive = all(value > 0 for run in runs for value in run.records.columns().get(y, []) if value == value and value != 0)
    drawn.update_layout(
        template="plotly_white",
        xaxis_title=_VALUES.get(x, x),
        yaxis_title=_VALUES.get(y, y),
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"},
        margin={"l": 70, "r": 20, "t": 30, "b": 50},
        height=420,
    )
    if positive:
        drawn.update_yaxes(type="log", exponentformat="power")
    if x not in _LINEAR:
        drawn.update_xaxes(type="log")
    return drawn


def _arguments(entry: Any) -> Mapping[str, Any]:
    if isinstance(entry, Mapping):
        return entry
    if isinstance(entry, tuple) and len(entry) == 2:
        return {"method": entry[0], "topology": entry[1]}
    if isinstance(entry, tuple | list):
        raise ArgumentError(f"compare: {entry!r:.60} is no entry; give a method, (method, topology), a dict or a run")
    return {"method": entry}


def _with_names(runs: Sequence[Run]) -> Sequence[Run]:
    """Runs of one name get what tells them apart: what they were given, and else a number."""
    by_name: dict[str, list[Run]] = {}
    for run in runs:
        by_name.setdefault(run.name, []).append(run)
    for alike in by_name.values():
        given = [{**run.about, **run.parameters, **run.world} for run in alike]
        names = dict.fromkeys(name for each in given for name in each)
        differing = [name for name in names if len({_said(each.get(name)) for each in given}) > 1]
        for run, each in zip(alike, given, strict=True):
            run.name = ", ".join([run.name, *(f"{name} {_said(each.get(name))}" for name in differing)])
    taken: Counter[str] = Counter()
    for run in runs:
        taken[run.name] += 1
        if taken[run.name] > 1:
            run.name = f"{run.name} ({taken[run.name]})"
    return runs


def _said(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else f"{value!s:.40}"
