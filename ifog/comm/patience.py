"""A wait that has become long: it sleeps, looks who has failed or died, warns, and says when nobody will come.

No false alarm is the hard part. A rank may be stopped for seconds between looking for something and looking at the clock, and
the rows of other machines are a little old. So a rank only trusts what was true *before* it last looked in vain.
"""

from __future__ import annotations

import math
import os
import time
from typing import TYPE_CHECKING

from ..errors import Deadlock, SetupError, WaitWarning
from ..topology.arguments import warn
from .board import DIED, ENDED, GAVE_UP, IDLE, LAST_CALL, LOOKED, REFUSED, RUNNING, WAITING, WAITS_FOR, ranks_in_words

if TYPE_CHECKING:
    from .world import World

DEADLOCK_AFTER = 2.0
_TRAVELS_FOR = 10.0  # so long may a piece of a message be on its way, though nobody computes
_LOOK_EVERY = 0.05
_YIELDS_FOR = 0.0004  # so long a wait only gives the processor away; then it sleeps, each time a little longer
_LONGEST_NAP = 0.001


def seconds_until_warning() -> float:
    """How long a wait may take before it is worth a word: 10 seconds, unless ``IFOG_WARN_AFTER`` says otherwise."""
    said = os.environ.get("IFOG_WARN_AFTER", "10")
    try:
        found = float(said)
    except ValueError:
        found = math.nan
    if not found > 0:
        raise SetupError(f"IFOG_WARN_AFTER={said!r}: a number of seconds, above 0")
    return found


class Served(int):
    """A rank that a wait is for, and whose threads see to what is waited for: it need not do anything itself."""


class Patience:
    """One long wait, in which a rank may wait for several others in turn."""

    def __init__(self, world: World, call: bytes | None = None) -> None:
        self.world, self.board = world, world.board
        self._call = call
        self.began = self.now = self._changed = time.monotonic()
        self._next_look = 0.0
        self._warn_at = self.began + world.warn_after
        self._peer: int | None = None
        self._progress = world.progressed
        self._suspected: list[tuple[int, int]] = []

    def wait(self, peer: int, *, failing: bool = True) -> None:
        """Wait a moment for a rank; for ``~rank`` if its bytes are on their way, which may take long and be right."""
        world = self.world
        if failing and self.board.words[0] >= world.epoch:
            raise world.failure()
        # the caller has looked between these two, in vain
        before, self.now = self.now, time.monotonic()
        if peer != self._peer or world.progressed != self._progress:
            self._peer, self._progress, self._changed = peer, world.progressed, self.now
            if self._told:
                self._tell()
        waited = self.now - self.began
        if waited < _YIELDS_FOR:
            os.sched_yield()
            return
        if world.pending:
            world.step_pending()
        if waited > 0.02:
            if not self._told:
                self._tell()
            if self.now > self._next_look:
                self._next_look = self.now + _LOOK_EVERY
                self._look(peer, before, failing=failing)
        time.sleep(min(_LONGEST_NAP, waited / 20))

    def over(self) -> None:
        """The wait has ended."""
        self.world.waited += time.monotonic() - self.began
        if self._told:
            self.board.enter(RUNNING)

    # ---------------------------------------------------------------------------------------------------- on the board
    def _tell(self) -> None:
        """Write on the board for whom and in what this rank waits; since when comes first, as `_circle` reads it last."""
        self.board.say_call(self.call)
        self.board.enter(WAITING)
        self.board.words[self.board.mine + WAITS_FOR] = -1 if self._peer is None else self._peer

    @property
    def _told(self) -> bool:
        return self.board.state(self.world.rank) == WAITING

    @property
    def call(self) -> bytes:
        """What this rank waits in."""
        return self._call or self.world.call

    # ------------------------------------------------------------------------------------------------------- looking
    def _look(self, peer: int, before: float, *, failing: bool) -> None:
        world, board, words = self.world, self.board, self.board.words
        words[board.mine + LOOKED] = int(before * 1e9)
        travelling, served = peer < 0, isinstance(peer, Served)
        peer = ~peer if travelling else peer
        if world.is_local[peer] and board.state(peer) != DIED and not board.alive(peer):
            world.bury(peer)
        state = board.state(peer)
        if state == DIED:
            raise world.failure()
        waited = before - self._changed
        gave_up = not failing and state == IDLE and words[board.row(peer) + GAVE_UP]
        # its cell was this one if it ended after this one began; if it ended before, it may be about to begin this one
        if gave_up and (board.since(peer) > world.cell_began_at or waited > DEADLOCK_AFTER):
            raise world.gave_up(peer)
        if waited > DEADLOCK_AFTER:
            # It was refused this call, has caught the error, and called nothing since. If this rank made the same mistake, the
            # other may mend it later.
            refused = words[board.row(peer) + REFUSED]
            if failing and refused >> 32 == world.epoch and world.last_refused != refused < world.key():
                board.fail(world.epoch, board.refusal(peer), blame=peer)
                raise world.failure()
            # the threads of a rank serve others beyond its cell, and also while its script ends; until it has left
            patient = _TRAVELS_FOR if served else DEADLOCK_AFTER
            gone = state == ENDED or (state == IDLE and not served)
            if gone and min(waited, before - board.since(peer)) > patient:
                if failing and words[0] >= world.epoch:  # somebody else has found it out meanwhile, and ended its cell too
                    raise world.failure()
                raise Deadlock(self._nobody_comes(peer, state))
            if state == WAITING:
                self._suspect(self._circle(peer, before, travelling=travelling))
        if self.now > self._warn_at:
            self._warn_at = self.now + 3 * (self.now - self.began)
            self._warn(peer, state)

    def _warn(self, peer: int, state: int) -> None:
        doing = f"waiting in {self.board.call(peer)}" if state == WAITING else "not in any ifog call"
        if state in (IDLE, ENDED):
            doing = "at the end of its cell" if state == IDLE else "gone"
        me, call = self.world.rank, self.call.decode()
        warn(
            f"rank {me} has been waiting {self.now - self.began:.0f} s for rank {peer} in {call}; rank {peer} is {doing}",
            WaitWarning,
        )

    def _nobody_comes(self, peer: int, state: int) -> str:
        board, ranks, me = self.board, range(self.world.size), self.world.rank
        waiting = [rank for rank in ranks if rank == me or board.state(rank) == WAITING]
        here = self.world.key() - 1  # the call that is waited in; who has made it is not missed
        alike = [
            rank
            for rank in ranks
            if rank != me
            and board.state(rank) == state
            and not board.words[board.row(rank) + GAVE_UP]
            and board.words[board.row(rank) + LAST_CALL] < here
        ]
        gone = sorted({peer, *alike})
        verb = "waits" if len(waiting) == 1 else "wait"
        have = ("has" if len(gone) == 1 else "have") + (
            " already finished the cell" if state == IDLE else " ended or left with ifog.shutdown()"
        )
        return f"{ranks_in_words(waiting)} {verb} in {self.call.decode()}, but {ranks_in_words(gone)} {have}"

    def _circle(self, peer: int, before: float, *, travelling: bool) -> list[tuple[int, int]]:
        """The ranks that wait for each other in a circle, and each for whom, if that has been so for long."""
        board, words, me = self.board, self.board.words, self.world.rank
        circle = [(me, peer)] if peer != me else []
        began, looked = self._changed, before
        while peer != me:
            row = board.row(peer)
            following = words[row + WAITS_FOR]
            # Each must have looked again, long after the last one began to wait: one that has been stopped has not.
            began, looked = max(began, board.since(peer)), min(looked, words[row + LOOKED] / 1e9)
            if following < 0:
                travelling, following = True, ~following
            if board.state(peer) != WAITING or len(circle) > self.world.size:
                return []
            circle.append((peer, following))
            peer = following
        return circle if looked - began > (_TRAVELS_FOR if travelling else DEADLOCK_AFTER) else []

    def _suspect(self, circle: list[tuple[int, int]]) -> None:
        # twice the same: what is read while it is being written may show what never was
        if circle and circle == self._suspected:
            board, me = self.board, self.world.rank
            said = [
                f"rank {rank} waits for rank {other} in {self.call.decode() if rank == me else board.call(rank)}"
                for rank, other in sorted(circle)
            ]
            raise Deadlock(f"the ranks wait for each other in a circle: {', '.join(said)}")
        self._suspected = circle
