"""Answers that live on the engines: called there on all ranks, within a time limit, with a record of what each has sent."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import pickle
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..errors import Deadlock, Mismatch
from .exercise import Attempt, Exercise, Odd, Wrong

if TYPE_CHECKING:
    from ..cluster.cluster import Cluster
    from ..cluster.shown import Fault


_TOGETHER = (
    "allreduce",
    "allgather",
    "broadcast",
    "allgather_object",
    "broadcast_object",
    "reduce_scatter",
    "hierarchical_neighbor_allreduce",
)


class Made(NamedTuple):
    """A call that a rank has made."""

    name: str
    bytes: int
    """How much it gave to the others, or to each of them."""
    messages: int
    """To how many others they went."""


class Outcome(NamedTuple):
    """What the answer has given on one rank, and what it has said to the others meanwhile."""

    value: Any
    calls: list[Made]

    def count(self, *names: str) -> int:
        """How many calls of these names."""
        return sum(call.name in names for call in self.calls)

    @property
    def together(self) -> int:
        """How many calls that ask all ranks at once."""
        return self.count(*_TOGETHER)

    @property
    def in_words(self) -> str:
        """What was called: ``2 neighbor_allreduce and 1 allreduce``."""
        counts = {call.name: self.count(call.name) for call in self.calls}
        return " and ".join(f"{count} {name}" for name, count in counts.items()) or "nothing at all"


class Engines(Attempt):
    """An answer on trial that is a function on the engines."""

    def __init__(self, exercise: Exercise, seed: int, seconds: float) -> None:
        from ..cluster.notebook import current

        self.cluster: Cluster = current()
        self.n = len(self.cluster)
        self.seconds = seconds
        super().__init__(exercise, None, seed)

    def run(self, *args: Sequence[Any]) -> list[Outcome]:
        """Call it on all ranks at once; each of the arguments is a list with one for each rank."""
        by_rank = [tuple(arg[rank] for arg in args) for rank in range(self.n)]
        packed = base64.b64encode(pickle.dumps((self.exercise.name, by_rank))).decode()
        code = f"__import__('importlib').import_module('ifog.course.engines').perform({packed!r})"
        from ..cluster.cells import Cell, RanksFailed

        cell = Cell(self.cluster, code, range(self.n), _Silent())
        late = False

        async def in_time() -> Any:
            nonlocal late
            task = asyncio.ensure_future(cell.run())
            done, _ = await asyncio.wait({task}, timeout=self.seconds)
            if not done:
                late = True
                task.cancel()  # which interrupts the engines
            return await task

        try:
            results = _in_a_loop_of_its_own(in_time())
        except KeyboardInterrupt:
            if not late:
                raise  # somebody has pressed stop
            left = cell.running
            raise Wrong(
                f"it has not ended on the engines after {self.seconds:g} s, and was interrupted",
                "`%ifog restart` starts the engines anew: they could not be interrupted"
                if left
                else "is there a loop that never ends?",
            ) from None
        except RanksFailed as failed:
            raise _why(self.exercise, failed.errors) from None
        return [Outcome(value, [Made(*call) for call in calls]) for value, calls in results]


def _in_a_loop_of_its_own(work: Any) -> Any:
    """In a thread: that of the notebook has a loop already."""
    found: list[Any] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            found.append(asyncio.run(work))
        except BaseException as error:  # noqa: BLE001  (it is raised again below)
            failed.append(error)

    thread = threading.Thread(target=run, name="ifog check", daemon=True)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return found[0]


def _why(exercise: Exercise, faults: dict[int, Fault]) -> Wrong:
    """What went wrong on the engines, in one sentence: the cause, not those whom it has released."""
    from ..cluster.shown import causes, ranks_in_short

    groups, _ = causes(faults)
    ranks, fault = groups[0]
    if fault.kind == NotThere.__name__:
        return Wrong(
            f"there is no function `{exercise.name}` on {ranks_in_short(ranks)}",
            f"define `{exercise.signature}` in a cell that begins with `%%px`, run it, and check again",
        )
    hint = ""
    if fault.kind == Deadlock.__name__:
        hint = (
            "all ranks must make the same calls: some wait in a call that another one never makes. "
            "Is the call inside an `if`, or is there a `return` before it?"
        )
    elif fault.kind == Mismatch.__name__:
        hint = "all ranks must make the same calls in the same order, on numbers of the same kind"
    return Wrong(f"`{exercise.name}` failed on {ranks_in_short(ranks)}: {fault.line}", hint)


class _Silent:
    """Nothing that the answer prints is shown."""

    def show(self, answers: Any, note: str) -> None:
        """Nothing."""


# -------------------------------------------------------------------------------------------------------- on the engines
class NotThere(NameError):
    """The function has not been defined here."""


def perform(packed: str) -> tuple[Any, list[tuple[str, int, int]]]:
    """Call the answer that has been defined in this engine, and note what it says to others."""
    from IPython.core.getipython import get_ipython

    from ..comm import api

    name, by_rank = pickle.loads(base64.b64decode(packed))
    shell: Any = get_ipython()
    answer = shell.user_ns.get(name)
    if not callable(answer):
        raise NotThere(name)
    with audit() as calls:
        value = answer(*by_rank[api.rank()])
    return _plain(value), [(call.name, call.bytes, call.messages) for call in calls]


def _plain(value: Any) -> Any:
    """Something that can be read where it is checked."""
    if hasattr(value, "detach"):
        return value.detach().cpu().numpy()
    if isinstance(value, tuple | list):
        parts = [_plain(part) for part in value]
        return Odd(type(value).__name__, repr(value)[:60]) if any(isinstance(part, Odd) for part in parts) else parts
    if value is None or value is ... or isinstance(value, bool | int | float | str | np.ndarray | np.generic):
        return value
    return Odd(type(value).__name__, repr(value)[:60])


@contextlib.contextmanager
def audit() -> Iterator[list[Made]]:
    """List the calls that this rank makes in the ``with`` block. It costs the others nothing."""
    from ..comm import api
    from ..comm.timeline import Listener

    class Listening(Listener):
        def run(self, call: Any, program: Any, verb: str = "") -> Any:
            if not verb:
                note(call)
            return super().run(call, program)

        def under_way(self, call: Any, program: Any) -> Any:
            note(call)
            return super().under_way(call, program)

        def lent(self, key: int, readers: Sequence[int]) -> None:  # noqa: ARG002
            if made:
                made[-1] = made[-1]._replace(messages=made[-1].messages + len(readers))

    def note(call: Any) -> None:
        name = call.text.decode().partition(" of ")[0].partition("(")[0]
        made.append(Made(name, call.nbytes, 0))

    made: list[Made] = []
    world = api._here()
    before, world.timeline = world.timeline, Listening(world)
    try:
        yield made
    finally:
        world.timeline = before
