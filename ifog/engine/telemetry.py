"""What an engine says while it computes: small records, for whoever listens.

::

    telemetry.publish("loss", (k, 0.25))       # one more
    telemetry.show("iterate", x[:3].tolist())  # the newest counts: one that nobody has taken yet is replaced

A record costs its caller less than a microsecond, and never makes it wait: it is put on a list, and a thread sends what has
gathered some thirty times a second. The list is bounded. If a record does not fit, the oldest goes, and how many went is told.
"""

from __future__ import annotations

import pickle
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

KIND = "ifog_records"
TOPIC = b"ifog"
KEPT = 20_000
_PAUSE = 0.03  # seconds
_AT_ONCE = 2_000  # records in one message


class Sender:
    """The records of this engine, and the thread that sends them."""

    def __init__(self, session: Any, socket: Any, rank: int | None, kept: int = KEPT) -> None:
        self._session, self._socket, self._rank = session, socket, rank
        self._records: deque[tuple[str, Any]] = deque(maxlen=kept)
        self._newest: dict[str, Any] = {}
        self._published = self._sent = 0
        self._some = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ifog-telemetry", daemon=True)
        self._thread.start()

    def publish(self, topic: str, record: Any) -> None:
        """One more record."""
        self._records.append((topic, record))
        self._published += 1
        if not self._some.is_set():
            self._some.set()

    def show(self, topic: str, record: Any) -> None:
        """The newest record of a topic."""
        self._newest[topic] = record
        if not self._some.is_set():
            self._some.set()

    def flush(self) -> None:
        """Send what there is."""
        records: list[tuple[str, Any]] = []
        while self._records and len(records) < _AT_ONCE:
            records.append(self._records.popleft())
        newest, self._newest = self._newest, {}
        self._sent += len(records)
        # what was neither sent nor is still here, the list has dropped
        dropped = max(0, self._published - self._sent - len(self._records))
        self._sent += dropped
        if not records and not newest and not dropped:
            return
        try:
            packed = pickle.dumps((records, newest))
        except Exception:  # noqa: BLE001 (one that cannot be pickled must not silence the rest)
            packed = pickle.dumps(([r for r in records if _pickles(r)], {t: r for t, r in newest.items() if _pickles(r)}))
        content = {"rank": self._rank, "dropped": dropped}
        self._session.send(self._socket, KIND, content, ident=TOPIC, buffers=[packed])

    def _run(self) -> None:
        pause = threading.Event()
        while True:
            self._some.wait()
            self._some.clear()
            self.flush()
            if self._records:
                self._some.set()
            pause.wait(_PAUSE)


_sender: Sender | None = None


def begin(ip: InteractiveShell) -> None:
    """Send from now on."""
    global _sender
    kernel = ip.kernel  # type: ignore[attr-defined]
    _sender = Sender(kernel.session, kernel.iopub_socket, getattr(kernel, "engine_id", None))


def publish(topic: str, record: Any) -> None:
    """Send one more record of a topic. Where nobody can listen, as in a script, nothing happens."""
    if _sender is not None:
        _sender.publish(topic, record)


def show(topic: str, record: Any) -> None:
    """Send the newest record of a topic; one that has not left yet is replaced."""
    if _sender is not None:
        _sender.show(topic, record)


def _pickles(record: Any) -> bool:
    try:
        pickle.dumps(record)
    except Exception:  # noqa: BLE001
        return False
    return True
