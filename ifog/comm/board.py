"""The board: what every rank is doing, in memory that all ranks of a machine see.

A rank that waits looks here for whom it waits, whether somebody has failed, and what the others called instead. So a wait can
always end with a sentence that says who did what. The parts::

    head      the epoch that has failed
    rows      per rank: process, epoch, state, what it waits for and since when, whose failure it knows of, in words
    slots     per rank: its last publications (which call, what it gives to its readers, where that lies)
    marks     per rank: which publications of the others it has read

Between machines the rows are copied to and fro (`wire`), the slots and marks are not. A row is written by its own rank alone,
and a rank that has died by whoever finds out.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import struct
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from .shared import Key, Segment

SLOTS = 32
# the words (int64) of the head
_FAILED_EPOCH, _DEATH_TOLD = range(2)
# the words of a row
PID, EPOCH, STATE, SINCE, WAITS_FOR, LOOKED, RECOVER, FAILED, FAILED_AT, BLAMED, REFUSED, GAVE_UP, CRASHED = range(13)
LAST_CALL, AGREED = 13, 14  # the keys of the last call of a cell that has ended, and of the last that all have agreed on
_TIMES = (SINCE, LOOKED, FAILED_AT)
_ROW = 512  # words
_CALL_TEXT, _FAIL_TEXT, _ROW_BYTES = 128, 640, 8 * _ROW
# the words of a slot
KEY, SIGNATURE, OFFSET, NBYTES, ROWS, FACTORS = range(6)
_SLOT_TEXT, _SLOT_TEXT_BYTES = 64, 448
# states
RUNNING, WAITING, IDLE, ENDED, DIED = range(5)

# x86 shows the writes of one processor to the others in their order. ARM does not, unless it is told to.
IN_ORDER = platform.machine() in ("x86_64", "AMD64", "i686")
_barrier = threading.Lock()


def fence() -> None:
    """What was written before is seen before what is written after, and read likewise. Only needed if not `IN_ORDER`."""
    with _barrier:  # to let a lock go publishes what was written before; to take it again orders what follows
        pass
    with _barrier:
        pass


class Board:
    """The words of the board, and the few sentences on it."""

    def __init__(self, segment: Segment, n: int, rank: int) -> None:
        self.segment, self.n, self.rank = segment, n, rank
        segment.reserve(0, _layout(n)[-1])
        self.raw = memoryview(segment.memory)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(segment.memory))
        self.words = self.raw.cast("q")
        self.reals = self.raw.cast("d")
        _, self.slot_words, self._slots, self._marks, _ = _layout(n)
        self.mine = self.row(rank)

    @classmethod
    def create(cls, n: int, rank: int) -> Board:
        """An empty board for n ranks."""
        return cls(Segment.create(_layout(n)[-1]), n, rank)

    @classmethod
    def attach(cls, key: Key, n: int, rank: int) -> Board:
        """The board that another rank of this machine made."""
        return cls(Segment.attach(key, keep_file=True), n, rank)  # `locks` locks it

    def row(self, rank: int) -> int:
        """The first word of a rank's row."""
        return 8 + rank * _ROW

    def slot(self, rank: int, slot: int) -> int:
        """The first word of one of a rank's slots."""
        return self._slots + (rank * SLOTS + slot) * self.slot_words

    def mark(self, reader: int, slot: int, owner: int) -> int:
        """The word in which a reader says which publication in an owner's slot it has read."""
        return self._marks + (reader * SLOTS + slot) * self.n + owner

    # ------------------------------------------------------------------------------------------------- sentences
    def say(self, word: int, offset: int, text: bytes, limit: int) -> None:
        """Write a sentence."""
        text = text[: limit - 8]
        at = 8 * word + offset
        self.raw[at + 8 : at + 8 + len(text)] = text
        self.words[at // 8] = len(text)

    def read(self, word: int, offset: int) -> str:
        """Read a sentence."""
        at = 8 * word + offset
        return bytes(self.raw[at + 8 : at + 8 + self.words[at // 8]]).decode(errors="replace")

    def say_call(self, text: bytes) -> None:
        """What this rank is waiting in."""
        self.say(self.mine, _CALL_TEXT, text, 512)

    def call(self, rank: int) -> str:
        """What a rank said that it is waiting in."""
        return self.read(self.row(rank), _CALL_TEXT)

    def say_slot(self, at: int, text: bytes) -> None:
        """What a publication belongs to."""
        self.say(at, _SLOT_TEXT, text, _SLOT_TEXT_BYTES)

    def slot_text(self, rank: int, slot: int) -> str:
        """What a rank's publication belongs to."""
        return self.read(self.slot(rank, slot), _SLOT_TEXT)

    # -------------------------------------------------------------------------------------------------- failures
    @property
    def failed_epoch(self) -> int:
        """The last epoch that has failed. Where every nanosecond counts, it is read as ``words[0]``."""
        return self.words[_FAILED_EPOCH]

    def raise_flag(self, epoch: int) -> None:
        """Say that an epoch has failed, which no later one makes undone."""
        if self.words[_FAILED_EPOCH] < epoch:
            self.words[_FAILED_EPOCH] = epoch

    def fail(self, epoch: int, text: str, blame: int | None = None) -> None:
        """Raise the flag: this rank has failed in that epoch, and why; or ``blame`` has, and this rank has noticed."""
        words, row = self.words, self.mine
        if words[row + FAILED] != epoch:
            self._say_failure(text)
            words[row + BLAMED] = self.rank if blame is None else blame
            words[row + FAILED_AT] = time.monotonic_ns()
            words[row + FAILED] = epoch
        self.raise_flag(epoch)

    def failures(self, epoch: int) -> dict[int, str]:
        """Who failed in that epoch, and how; the first one first."""
        words = self.words
        rows = [row for row in map(self.row, range(self.n)) if words[row + FAILED] == epoch]
        found: dict[int, str] = {}
        for row in sorted(rows, key=lambda row: words[row + FAILED_AT]):
            found.setdefault(words[row + BLAMED], self.read(row, _FAIL_TEXT))
        return found

    def failed_at(self, epoch: int) -> float:
        """When the first rank failed in that epoch, on the clock of `time.monotonic`."""
        words = self.words
        rows = [row for row in map(self.row, range(self.n)) if words[row + FAILED] == epoch]
        return min((words[row + FAILED_AT] for row in rows), default=0) / 1e9

    def refuse(self, key: int, text: str) -> None:
        """A call was refused on this rank before anything was sent: whoever waits for that call of ours can say so."""
        self._say_failure(text)
        self.words[self.mine + REFUSED] = key

    def give_up(self, text: str) -> None:
        """Say that this rank's cell has ended in an error: whoever waits for it to begin a new epoch knows why it does not."""
        self.say(self.mine, _CALL_TEXT, text.encode(errors="replace"), 512)  # it is in no call any more
        self.words[self.mine + GAVE_UP] = 1

    def last_error(self, rank: int) -> str:
        """The error in which a rank's last cell has ended."""
        return self.call(rank)

    def refusal(self, rank: int) -> str:
        """The words with which a rank last refused a call, or gave up."""
        return self.read(self.row(rank), _FAIL_TEXT)

    def _say_failure(self, text: str) -> None:
        self.say(self.mine, _FAIL_TEXT, text.encode(errors="replace"), _ROW_BYTES - _FAIL_TEXT)

    # ---------------------------------------------------------------------------------------------------- states
    def enter(self, state: int) -> None:
        """The state of this rank, from now on."""
        words, row = self.words, self.mine
        words[row + SINCE] = time.monotonic_ns()
        words[row + STATE] = state

    def state(self, rank: int) -> int:
        """A rank's state."""
        return self.words[self.row(rank) + STATE]

    def since(self, rank: int) -> float:
        """When a rank entered its state, on the clock of `time.monotonic`."""
        return self.words[self.row(rank) + SINCE] / 1e9

    def alive(self, rank: int) -> bool:
        """Whether a rank's process still runs. Only for the ranks of this machine."""
        pid = self.words[self.row(rank) + PID]
        stat = _stat(pid)
        if stat:
            return stat[0] not in "ZX"
        if Path("/proc/self").is_dir():
            return False
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
        return True

    def bury(self, rank: int, epoch: int) -> str | None:
        """A rank of this machine has died: say so. What there is to print, if nobody has said why before."""
        row = self.row(rank)
        pid = self.words[row + PID]
        cause = cause_of_death(pid)
        self.words[row + STATE] = DIED
        known = self.failed_epoch >= epoch
        self.fail(epoch, f"its process {pid} {cause}", blame=rank)
        if known or self.words[_DEATH_TOLD]:
            return None
        self.words[_DEATH_TOLD] = pid
        return f"rank {rank} (process {pid}) {cause}"

    def copy_row(self, rank: int) -> bytes:
        """A row, to be sent to another machine; ages instead of times, because clocks differ."""
        row = 8 * self.row(rank)
        data = bytearray(self.raw[row : row + _ROW_BYTES])
        now = time.monotonic_ns()
        for word in _TIMES:
            struct.pack_into("q", data, 8 * word, now - struct.unpack_from("q", data, 8 * word)[0])
        return bytes(data)

    def raw_row(self, rank: int) -> memoryview:
        """A row as it stands."""
        at = 8 * self.row(rank)
        return self.raw[at : at + _ROW_BYTES]

    def paste_row(self, rank: int, data: bytes) -> None:
        """A row that came from another machine."""
        now = time.monotonic_ns()
        row = bytearray(data)
        for word in _TIMES:
            struct.pack_into("q", row, 8 * word, now - struct.unpack_from("q", row, 8 * word)[0])
        at = 8 * self.row(rank)
        self.raw[at : at + _ROW_BYTES] = row
        self.raise_flag(self.words[self.row(rank) + FAILED])  # after the words that say why

    def close(self) -> None:
        """Let go of the memory."""
        self.words.release()
        self.reals.release()
        self.raw.release()
        self.segment.close()


def _stat(pid: int) -> list[str]:
    """What the system says of a process, from its state on; empty if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2].decode().split()
    except (FileNotFoundError, ProcessLookupError):  # the second, if it ends while it is being read
        return []


def cause_of_death(pid: int) -> str:
    """How a process died, as long as nobody else has asked for it."""
    stat = _stat(pid)
    if not stat or stat[0] != "Z":
        return "has died"
    code = os.waitstatus_to_exitcode(int(stat[-1]))
    if code >= 0:
        return "has ended without a word" + (f", with exit code {code}" if code else "")
    name = signal.Signals(-code).name if -code in set(signal.Signals) else "unknown"
    return f"was killed by signal {-code} ({name})" + (", perhaps because memory ran out" if -code == signal.SIGKILL else "")


def describe(error: BaseException) -> str:
    """An error as the others shall read it: its kind and its message."""
    if isinstance(error, KeyboardInterrupt):
        return "KeyboardInterrupt: it was interrupted"
    try:
        message = str(error)
    except Exception:  # noqa: BLE001 (the error itself is what matters)
        message = ""
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def ranks_in_words(ranks: Sequence[int]) -> str:
    """``rank 3``, or ``ranks 0, 1 and 3``."""
    if len(ranks) == 1:
        return f"rank {ranks[0]}"
    return "ranks " + ", ".join(map(str, ranks[:-1])) + f" and {ranks[-1]}"


def _layout(n: int) -> tuple[int, int, int, int, int]:
    """Where the parts begin, in words, and the size of all in bytes."""
    rows = 8
    slot_words = 64 + 2 * n + (-2 * n) % 8  # a head, a sentence, and the weights of a dynamic call
    slots = rows + n * _ROW
    marks = slots + n * SLOTS * slot_words
    end = marks + n * SLOTS * n
    return rows, slot_words, slots, marks, max(8 * end, 2**16)
