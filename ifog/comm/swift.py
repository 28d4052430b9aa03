"""The short way of a short message: one call of the kernel instead of a program, with the same words on the board.

A program is a few dozen lines of Python, which for a hundred numbers takes longer than everything else. So an averaging of few
numbers is first tried in C: publish, look for what the others publish, add up, mark. What is not there after some looks is
waited for by the program, which goes on from there: nobody else can tell the difference.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple, Protocol

import torch

from . import arithmetic
from .board import SLOTS
from .collectives import Plan
from .operation import Call, Publication
from .packing import Packed, Place
from .world import INLINE, Program, World

with contextlib.suppress(ImportError):  # nobody calls it if it is not there
    from . import _kernel

NOTHING = torch.empty(0)
"""What is exchanged where only the others' coming matters."""
_SHORTCUT = struct.Struct("<10q2d")
_FROM = struct.Struct("<2qd")
_KIND = struct.Struct("<3q")
_NOT_THERE, _DONE, _NOT_FREE, _FAILED = range(4)
_MOST = 15  # others
_WIDTHS = {torch.float32: 4, torch.float64: 8}
_REMEMBERED = 256  # kinds of tensors for each way


class Shortcut:
    """A plan in addresses: where the words and the numbers of all who take part lie."""

    __slots__ = ("lent", "packed", "readers")

    def __init__(self, world: World, plan: Plan, own_at: int, divisor: int) -> None:
        board, me = world.board, world.rank
        self.readers = [*plan.dests, me]
        words = board.address
        marks = [board.mark(me, 0, rank) for rank in (*plan.sources, *plan.ignored, me)]
        self.packed = _SHORTCUT.pack(
            *(words, words + 8 * board.slot(me, 0), 8 * board.slot_words, SLOTS),
            *(world.pool.base, INLINE, 8 * world.size, len(plan.sources), len(marks), own_at, plan.self_weight, divisor),
        )
        for rank, weight in zip(plan.sources, plan.weights, strict=True):
            self.packed += _FROM.pack(words + 8 * board.slot(rank, 0), world.base[rank], weight)
        self.packed += struct.pack(f"<{len(marks)}q", *(words + 8 * mark for mark in marks))
        self.lent = _words(world, self.readers)


def _words(world: World, readers: Sequence[int]) -> bytes:
    """Where readers say that they have read what lies in slot 0."""
    board = world.board
    return struct.pack(f"<{len(readers)}q", *(board.address + 8 * board.mark(rank, 0, world.rank) for rank in readers))


class Long(Protocol):
    """The program of a call."""

    def __call__(self, world: World, lending: Publication, packed: Packed, *, own: Place | None) -> Program[Any]:
        """From the beginning, or from where this rank has published what lies at ``own``."""


class Known(NamedTuple):
    """A call that has been made before on this way: it need not be looked at again."""

    shortcut: Shortcut
    kind: bytes
    call: Call
    program: Long


class Way:
    """The short way for what some ranks do again and again: a plan, and the calls that have been made by it."""

    __slots__ = ("_divisor", "_own_at", "_plan", "_shortcut", "known")

    def __init__(self, plan: Plan, own_at: int = 0, divisor: int = 1) -> None:
        self._plan, self._own_at, self._divisor = plan, own_at, divisor
        self._shortcut: Shortcut | None = None
        self.known: dict[Hashable, Known] = {}

    def remember(self, world: World, packed: Packed, call: Call, program: Long) -> None:
        """Let later calls of this kind take the short way, if they can."""
        if not arithmetic.COMPILED or world.machine_count > 1 or len(self._plan.sources) > _MOST:
            return
        if packed.form is torch.Tensor and packed.nbytes <= INLINE and packed.dtype in _WIDTHS:
            if self._shortcut is None:
                self._shortcut = Shortcut(world, self._plan, self._own_at, self._divisor)
            if len(self.known) >= _REMEMBERED:
                self.known.clear()
            kind = _KIND.pack(call.number, packed.nbytes, _WIDTHS[packed.dtype])
            self.known[packed.dtype, packed.shape] = Known(self._shortcut, kind, call, program)


def all_ranks(world: World, what: str) -> Way:
    """The way of all ranks to their "sum" or "mean"; or of a "barrier", with nothing to add up."""
    way = world.ways.get(what)
    if way is None:
        others = tuple(rank for rank in range(world.size) if rank != world.rank)
        plan = Plan(1.0, others, (1.0,) * len(others), others)
        way = world.ways[what] = Way(plan, world.rank, world.size if what == "mean" else 1)
    return way


def exchange(world: World, known: Known, x: torch.Tensor) -> Any:
    """What the program gives for a contiguous tensor on the CPU, at once if the others are there."""
    shortcut, kind, call, program = known
    world.call = call.text
    world.sequence += 1
    key = world.epoch << 32 | world.sequence
    slot = key & SLOTS - 1
    before, readers, lent = world.readers[slot]
    try:
        world.busy = True
        world.forget_refusal()
        y = torch.empty_like(x)
        state = _NOT_FREE
        if lent is None:
            lent = _words(world, readers)
        if before == key - SLOTS or world.sequence <= SLOTS:
            if world.said[slot] is not call.text:
                Publication(world, call, key).say()
            state = _kernel.exchange(shortcut.packed, kind, lent, key, x.data_ptr(), y.data_ptr())
            if state != _NOT_FREE:
                world.readers[slot] = key, shortcut.readers, shortcut.lent
            if state == _FAILED:
                raise world.failure()
    except BaseException as error:
        world.fail(error)
        raise
    finally:
        world.busy = False
    if state == _DONE:
        return y
    own = None if state == _NOT_FREE else Place(world.pool.base + slot * INLINE, world.pool.bytes, slot * INLINE)
    return world.run(program(world, Publication(world, call, key), Packed(x), own=own))
