"""What a widget and its page say to each other: every message, written down once.

A message is a small JSON object, ``{"type": "values", …}``, and its arrays follow as binary buffers in the order in which they
stand here. The page's side, ``front/src/messages.ts``, is written from this file by ``python -m ifog.widgets.messages``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, TypedDict, get_args, get_origin, get_type_hints, is_typeddict

import numpy as np
from numpy.typing import NDArray

Floats = Annotated[NDArray[np.float32], "Float32Array"]
Doubles = Annotated[NDArray[np.float64], "Float64Array"]
Whole = Annotated[NDArray[np.uint32], "Uint32Array"]

NO_FLOATS: NDArray[np.float32] = np.zeros(0, np.float32)
NO_WHOLE: NDArray[np.uint32] = np.zeros(0, np.uint32)


# ---- the network, to the page ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Graph:
    """All that is drawn of a topology. A line joins two nodes a < b; its weights are W[b, a] and W[a, b], or NaN."""

    version: int  # counts the changes, so that an edit of what is no longer drawn can be told
    n: int
    title: str
    facts: list[str]
    note: str  # what is not as one may expect
    editable: bool
    directed: bool
    weighted: bool
    layouts: list[str]
    layout: str
    positions: Floats  # x, y of each node in the unit square, y downwards
    lines: Whole  # a, b of every line of any round
    ends: Whole  # where each round's part of `lit` ends, in lines
    lit: Whole  # a, b of the lines of round 0, of round 1 …
    weights: Floats  # W[b, a], W[a, b] of each of them
    own: Floats  # the diagonal of W of round 0, of round 1 …
    machines: list[str]  # names; none if nobody has said which node is where
    machine: Whole  # the machine of each node
    spectrum: str  # what the eigenvalues are of
    eigenvalues: Floats  # real and imaginary part of each; none if they would take long


@dataclass(frozen=True)
class Blocks:
    """A topology with too many nodes to draw each: squares that stand for some nodes, and W in blocks."""

    n: int
    title: str
    facts: list[str]
    note: str
    cells: int  # W is shown as cells × cells
    columns: int  # the values are shown row by row, so many in each
    shades: Floats


@dataclass(frozen=True)
class Values:
    """The values of the nodes (or of the squares), and the round they belong to."""

    low: float
    high: float
    log: bool  # whether they are powers of ten
    what: str  # what they are; empty if nobody has said
    choices: list[str]  # what else could be shown
    names: list[str]  # of states, if the values are their numbers
    round: int  # −1: none; of a schedule that repeats, within its period
    count: int  # the round as it is counted
    values: Floats
    lit: Whole  # the lines of that round if `Graph` did not have it; else empty, like the next two
    weights: Floats
    own: Floats


@dataclass(frozen=True)
class Places:
    """Where the nodes go."""

    layout: str
    positions: Floats


# ---- curves, to the page ---------------------------------------------------------------------------------------------------


class Mark(TypedDict):
    """What was changed while a run went on."""

    at: int  # the iteration
    what: str


class Rate(TypedDict):
    """What theory says from an iteration on: what is left after each; 1 if it says nothing."""

    at: int
    rate: float


class RunState(TypedDict):
    """How a run is."""

    name: str
    status: str
    note: str  # why it failed, or what else to know
    marks: list[Mark]
    theory: list[Rate]
    shrinking: list[str]  # the columns of which that is said
    group: str  # what runs are called that differ in their seed only; empty for one that stands alone
    ghost: bool  # from before: drawn faintly


class Part(TypedDict):
    """Some rows of a run: in `Rows.rows`, one column after the other."""

    run: int
    first: int  # how many of its rows were sent before: what the page has from there on is replaced
    count: int
    columns: list[str]


@dataclass(frozen=True)
class Curves:
    """What is to be drawn at first; the page may choose other columns."""

    y: str  # empty: whatever is known
    x: str
    log: bool
    band: bool  # runs that differ in their seed only as their mean, with a band from the least to the largest


@dataclass(frozen=True)
class Rows:
    """The state of all runs, and the rows that are new."""

    runs: list[RunState]
    parts: list[Part]
    rows: Doubles


# ---- the engines of a cluster, to the page ---------------------------------------------------------------------------------


class Tile(TypedDict):
    """An engine."""

    rank: int
    host: str
    pid: int
    gpu: str  # empty: none
    threads: int
    memory: float  # bytes
    gpu_memory: float
    state: str  # idle, busy, waiting, frozen, no answer; gone, starting, off
    cell: str  # the first line of what runs
    seconds: float  # for how long
    operation: str
    waits_for: int  # −1: nobody
    exchanges: int  # so many it has made since the last failure
    told: list[int]  # to whom it has given its last tensor
    error: str  # the last one
    error_ago: float  # seconds


@dataclass(frozen=True)
class Tiles:
    """How a cluster is, and each of its engines."""

    name: str
    n: int
    phase: str  # off, starting, running, restarting, broken, stopping
    facts: str
    said: str  # who waits for whom, or how many are there
    trouble: str  # why it does not run
    note: str  # what became of the last button
    tiles: list[Tile]


@dataclass(frozen=True)
class Words:
    """What a rank has said last, in whole."""

    rank: int
    code: str
    output: str
    error: str
    log: str  # of one that is gone


# ---- a playground, to the page --------------------------------------------------------------------------------------------


class Knob(TypedDict):
    """A control, and what its positions are called."""

    name: str
    texts: list[str]
    choice: bool  # whether it is chosen from a list; else it is a slider


@dataclass(frozen=True)
class Knobs:
    """The controls; one of them may run by itself, or −1."""

    title: str
    knobs: list[Knob]
    play: int


@dataclass(frozen=True)
class Picture:
    """What was drawn, for which positions of the controls, and the turn that asked for it."""

    svg: str
    at: list[int]
    turn: int


# ---- the lab bench, to the page --------------------------------------------------------------------------------------------


class Dial(TypedDict):
    """A parameter that can be turned."""

    name: str
    value: float
    low: float
    high: float
    log: bool
    whole: bool
    about: str


class Option(TypedDict):
    """One of those to choose from."""

    name: str
    unfit: str  # why it cannot be chosen, or nothing


@dataclass(frozen=True)
class Choices:
    """What there is to choose from."""

    problems: list[str]
    methods: list[str]
    topologies: list[Option]
    places: list[str]


@dataclass(frozen=True)
class Bench:
    """What is set, and how what runs is."""

    problem: str
    method: str
    topology: str
    n: int
    fixed: bool  # n is the problem's
    heterogeneity: float  # −1: the problem has none
    place: str
    pace: float  # 0: as fast as it can
    dials: list[Dial]
    about: str
    status: str  # empty: nothing has run yet
    iteration: int
    speed: float  # iterations a second
    pending: list[str]  # was asked for, and is not in force yet
    later: list[str]  # was set for the next start
    said: str
    trouble: bool


# ---- a timeline, to the page ------------------------------------------------------------------------------------------------


class Row(TypedDict):
    """A rank in a timeline. The shares of its time are −1 where they are not known."""

    name: str
    note: str
    lanes: int
    compute: float
    wait: float
    copy: float


class What(TypedDict):
    """What a segment is: many have it in common."""

    row: int
    lane: int
    kind: int
    name: str
    call: str
    bytes: float
    peer: int  # −1: nobody
    error: str


@dataclass(frozen=True)
class Trace:
    """All that is drawn of a trace, in microseconds since its beginning."""

    title: str
    note: str
    end: float
    live: bool  # more may come
    kinds: list[str]
    rows: list[Row]
    whats: list[What]
    begin: Doubles  # of each segment, in this order
    length: Floats
    what: Whole  # its place in `whats`
    lent: Doubles  # of each message: when it began,
    found: Doubles  # when it had come,
    ends: Whole  # from which row and to which,
    sizes: Floats  # and its bytes


@dataclass(frozen=True)
class File:
    """A file to be saved."""

    name: str
    text: str


# ---- who has which samples, to the page -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bars:
    """How many samples of each class each node has, and how they were dealt."""

    title: str
    classes: list[str]
    n: int  # nodes, of which the first may be all that are drawn
    shown: int
    rules: list[str]  # from which one may choose; none where nobody would answer
    rule: str  # Dirichlet, at random, by label, as given
    alpha: float  # −1: infinite
    shards: int
    seed: int
    equal: bool
    heterogeneity: float
    sizes: str  # of the parts, in words
    note: str  # why it could not be dealt as wanted
    turn: int  # the number of the `Deal` that asked for it
    counts: Whole  # node by node, and at last of all together


@dataclass(frozen=True)
class Deals:
    """For a page that nobody answers: what Dirichlet shares give for each α of the slider."""

    alphas: Doubles
    heterogeneities: Doubles
    counts: Whole  # as in `Bars`, one α after the other


# ---- a race, to the page ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Race:
    """What the race of the runs whose curves are shown is about."""

    by: str  # what is counted
    target: float
    value: str  # what must come to the target
    measures: list[str]  # what could be counted


# ---- from the page -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Edit:
    """An edge or a node added or removed; for an edge from a to b, for a node its number a or its place x, y."""

    version: int
    what: str  # add_edge, remove_edge, add_node, remove_node
    a: int
    b: int
    x: float
    y: float


@dataclass(frozen=True)
class Moved:
    """A node was dragged."""

    version: int
    node: int
    x: float
    y: float


@dataclass(frozen=True)
class Arrange:
    """Another layout is wanted."""

    layout: str


@dataclass(frozen=True)
class Do:
    """Something is to be done with the engines: start, stop, restart; interrupt a rank, open or freeze it (−1: all, none)."""

    what: str
    rank: int


@dataclass(frozen=True)
class Turned:
    """Controls were turned: the positions of all, and a number that the picture for them has too."""

    at: list[int]
    turn: int


@dataclass(frozen=True)
class Deal:
    """The samples shall be dealt otherwise."""

    rule: str
    alpha: float
    shards: int
    n: int
    seed: int
    equal: bool
    turn: int


@dataclass(frozen=True)
class Colour:
    """The nodes shall be coloured by something else."""

    what: str


@dataclass(frozen=True)
class Fetch:
    """The trace is wanted as a file."""


@dataclass(frozen=True)
class Watched:
    """Whether somebody looks at the widget, and has the pointer or the keyboard on it."""

    views: int
    held: bool
    page: str = ""  # which one: the same notebook may be open in several


@dataclass(frozen=True)
class Press:
    """A button of the bench, or of a race, was pressed."""

    what: str  # start, pause, step, stop, reset


@dataclass(frozen=True)
class Choose:
    """Something was set."""

    what: str
    value: str


TO_THE_PAGE = (
    Graph,
    Blocks,
    Values,
    Places,
    Curves,
    Rows,
    Tiles,
    Words,
    Knobs,
    Picture,
    Choices,
    Bench,
    Race,
    Trace,
    File,
    Bars,
    Deals,
)
FROM_THE_PAGE = (Edit, Moved, Arrange, Colour, Do, Turned, Press, Choose, Fetch, Deal, Watched)

_NUMPY = {"Float32Array": np.float32, "Float64Array": np.float64, "Uint32Array": np.uint32}
_BY_TYPE = {cls.__name__.lower(): cls for cls in (*TO_THE_PAGE, *FROM_THE_PAGE)}


class BadMessage(ValueError):
    """What came from a page is none of the messages above."""


def pack(message: Any) -> tuple[dict[str, Any], list[bytes]]:
    """A message as what travels: an object, and buffers."""
    content: dict[str, Any] = {"type": type(message).__name__.lower()}
    buffers = []
    for name, kind in _hints(type(message)).items():
        value = getattr(message, name)
        array = _array(kind)
        if array is None:
            content[name] = value
        else:
            buffers.append(np.ascontiguousarray(value, dtype=_NUMPY[array]).tobytes())
    return content, buffers


def unpack(content: Mapping[str, Any], buffers: Sequence[Any] = ()) -> Any:
    """The message that has arrived."""
    cls = _BY_TYPE.get(str(content.get("type"))) if isinstance(content, Mapping) else None
    if cls is None:
        raise BadMessage(f"{content!r:.80}: its type is none of {', '.join(_BY_TYPE)}")
    given = iter(buffers)
    values: dict[str, Any] = {}
    for name, kind in _hints(cls).items():
        array = _array(kind)
        try:
            values[name] = content[name] if array is None else np.frombuffer(next(given), _NUMPY[array])
        except (KeyError, StopIteration):
            raise BadMessage(f"{content!r:.80}: {name} is missing") from None
        if kind in (int, float) and (isinstance(values[name], bool) or not isinstance(values[name], int | float)):
            raise BadMessage(f"{content!r:.80}: {name} must be a number")
    return cls(**values)


# ---- the page's side ---------------------------------------------------------------------------------------------------

_PLAIN = {int: "number", float: "number", str: "string", bool: "boolean"}


def typescript() -> str:
    """The same messages for the page."""
    parts = ["// Written by `python -m ifog.widgets.messages`: change widgets/messages.py instead.\n"]
    rows = {}
    for cls in _rows():
        entries = "".join(f"  {name}: {_ts(kind)};\n" for name, kind in get_type_hints(cls).items())
        rows[cls.__name__] = f"export interface {cls.__name__} {{\n{entries}}}\n"
    parts += rows.values()
    for cls in (*TO_THE_PAGE, *FROM_THE_PAGE):
        entries = "".join(f"  {name}: {_ts(kind)};\n" for name, kind in _hints(cls).items())
        parts.append(
            f'/** {cls.__doc__} */\nexport interface {cls.__name__} {{\n  type: "{cls.__name__.lower()}";\n{entries}}}\n'
        )
    for name, classes in (("ToThePage", TO_THE_PAGE), ("FromThePage", FROM_THE_PAGE)):
        parts.append(f"export type {name} = {' | '.join(cls.__name__ for cls in classes)};\n")
    arrays = ""
    for cls in TO_THE_PAGE:
        kinds = {name: _array(kind) for name, kind in _hints(cls).items() if _array(kind)}
        arrays += f"  {cls.__name__.lower()}: {{ {', '.join(f'{name}: {kind}' for name, kind in kinds.items())} }},\n"
    parts.append(
        f"/** The arrays of each message, in the order of its buffers. */\nexport const ARRAYS = {{\n{arrays}}} as const;\n"
    )
    return "\n".join(parts)


def _hints(cls: type) -> dict[str, Any]:
    hints = get_type_hints(cls, include_extras=True)
    return {field.name: hints[field.name] for field in fields(cls)}


def _array(kind: Any) -> str | None:
    """The name of the page's array type, if it is one."""
    return str(kind.__metadata__[0]) if get_origin(kind) is Annotated else None


def _rows() -> list[type]:
    """The small objects inside messages, the innermost first."""

    def inside(cls: type) -> list[type]:
        kinds = [get_args(kind)[0] for kind in get_type_hints(cls).values() if get_origin(kind) is list]
        return [found for kind in kinds if is_typeddict(kind) for found in (*inside(kind), kind)]

    return list(dict.fromkeys(kind for cls in TO_THE_PAGE for kind in inside(cls)))


def _ts(kind: Any) -> str:
    if get_origin(kind) is list:
        return f"{_ts(get_args(kind)[0])}[]"
    return _array(kind) or _PLAIN.get(kind) or str(kind.__name__)


if __name__ == "__main__":
    (Path(__file__).parent / "front" / "src" / "messages.ts").write_text(typescript())
