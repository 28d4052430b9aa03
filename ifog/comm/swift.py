"""The short way of a short message: one call of the kernel instead of a program, with the same words on the board.

A program is a few dozen lines of Python, which for a hundred numbers takes longer than everything else. So an averaging of few
numbers is first tried in C: publish, look for what the neighbours publish, add up, mark. What is not there after some looks is
waited for by the program, which goes on from there: nobody else can tell the difference.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Sequence
from typing import NamedTuple

import torch

from . import arithmetic
from .board import SLOTS
from .collectives import Plan, mixing, take
from .graphs import Round
from .operation import Call, Publication
from .packing import Packed, Place
from .world import INLINE, World

with contextlib.suppress(ImportError):  # nobody calls it if it is not there
    from . import _kernel

_SHORTCUT = struct.Struct("<9qd")
_FROM = struct.Struct("<2qd")
_NOT_THERE, _DONE, _NOT_FREE = range(3)
_TRIES = 400  # looks, each of which gives the processor away
_MOST = 15  # neighbours
_WIDTHS = {torch.float32: 4, torch.float64: 8}
_REMEMBERED = 256  # kinds of tensors for each round


class Shortcut:
    """A plan in addresses: where the words and the numbers of all who take part lie."""

    __slots__ = ("lent", "packed", "readers")

    def __init__(self, world: World, plan: Plan) -> None:
        board, me = world.board, world.rank
        self.readers = [*plan.dests, me]
        words = board.address
        marks = [board.mark(me, 0, rank) for rank in (*plan.sources, *plan.ignored, me)]
        self.packed = _SHORTCUT.pack(
            *(words, words + 8 * board.slot(me, 0), 8 * board.slot_words, SLOTS),
            *(world.pool.base, INLINE, 8 * world.size, len(plan.sources), len(marks), plan.self_weight),
        )
        for rank, weight in zip(plan.sources, plan.weights, strict=True):
            self.packed += _FROM.pack(words + 8 * board.slot(rank, 0), world.base[rank], weight)
        self.packed += struct.pack(f"<{len(marks)}q", *(words + 8 * mark for mark in marks))
        self.lent = _words(world, self.readers)


def _words(world: World, readers: Sequence[int]) -> bytes:
    """Where readers say that they have read what lies in slot 0."""
    board = world.board
    return struct.pack(f"<{len(readers)}q", *(board.address + 8 * board.mark(rank, 0, world.rank) for rank in readers))


class Known(NamedTuple):
    """A call that has been made before in this round of the topology: it need not be looked at again."""

    shortcut: Shortcut
    call: Call
    plan: Plan
    nbytes: int
    width: int


def remember(world: World, turn: Round, call: Call, packed: Packed) -> None:
    """Let later calls of this kind take the short way, if they can."""
    if turn.shortcut is None:
        there = arithmetic.COMPILED and world.machine_count == 1 and len(turn.plan.sources) <= _MOST
        turn.shortcut = Shortcut(world, turn.plan) if there else False
    if turn.shortcut and packed.form is torch.Tensor and packed.nbytes <= INLINE and packed.dtype in _WIDTHS:
        if len(turn.known) >= _REMEMBERED:
            turn.known.clear()
        turn.known[packed.dtype, packed.shape] = Known(turn.shortcut, call, turn.plan, packed.nbytes, _WIDTHS[packed.dtype])


def mix(world: World, known: Known, x: torch.Tensor) -> torch.Tensor:
    """`collectives.mix` of a contiguous tensor on the CPU, at once if the neighbours are there."""
    call = known.call
    world.call = call.text
    lending = Publication(world, call)
    key, slot = lending.key, lending.slot
    before, readers, lent = world.readers[slot]
    try:
        world.busy = True
        world.forget_refusal()
        y = torch.empty_like(x)
        state = _NOT_FREE
        if lent is None:
            lent = _words(world, readers)
        if before == key - SLOTS or world.sequence <= SLOTS:
            lending.say()
            shortcut = known.shortcut
            state = _kernel.exchange(
                *(shortcut.packed, lent, key, call.number, x.data_ptr(), y.data_ptr(), known.nbytes, known.width, _TRIES)
            )
            if state != _NOT_FREE:
                world.readers[slot] = key, shortcut.readers, shortcut.lent
            if world.board.words[0] >= world.epoch:
                raise world.failure()
    except BaseException as error:
        world.fail(error)
        raise
    finally:
        world.busy = False
    if state == _DONE:
        return y
    packed = Packed(x)
    if state == _NOT_FREE:
        program = mixing(world, lending, None, packed, known.plan)
    else:
        program = take(
            world, lending, packed, known.plan, Place(world.pool.base + slot * INLINE, world.pool.bytes, slot * INLINE)
        )
    result: torch.Tensor = world.run(program)
    return result
