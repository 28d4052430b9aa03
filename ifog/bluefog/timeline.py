"""Activities of one's own in the timeline. They are spans of `ifog.comm.timeline`, which is on between its start and stop."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ..comm import api, timeline
from .session import check, log

_open: dict[str, list[contextlib.ExitStack]] = {}


def timeline_start_activity(tensor_name: str, activity_name: str) -> bool:
    """An activity of a tensor begins; False if no timeline is on: ``ifog.start_timeline("trace.json")`` begins one.

    So does ``BLUEFOG_TIMELINE=prefix`` in the environment; each rank then leaves ``prefix.rank0.json`` when it ends.
    """
    check()
    if api._here().timeline is None:
        log.error("timeline_start_activity: no timeline is on; ifog.start_timeline('trace.json') begins one")
        return False
    span = contextlib.ExitStack()
    span.enter_context(timeline.span(f"{tensor_name}: {activity_name}"))
    _open.setdefault(tensor_name, []).append(span)
    return True


def timeline_end_activity(tensor_name: str) -> bool:
    """The last activity of a tensor that has begun ends; False if there is none."""
    check()
    if not _open.get(tensor_name):
        return False
    _open[tensor_name].pop().close()
    return True


@contextlib.contextmanager
def timeline_context(tensor_name: str, activity_name: str) -> Iterator[None]:
    """An activity for as long as the ``with`` block takes."""
    check()
    with timeline.span(f"{tensor_name}: {activity_name}"):
        yield
