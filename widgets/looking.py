"""Widgets that look at something again and again, from a thread of their own, but only while somebody watches."""

from __future__ import annotations

import threading
import time
from typing import Any

from .live import LiveWidget

_PRESUMED = 60.0  # seconds for which somebody is thought to watch, if no page has said anything: a cell may keep it from that


class Looking(LiveWidget):
    """A widget that looks around while a page is open, and takes its turn whenever a page has said something."""

    def __init__(self, *, presentation: bool = False) -> None:
        self._begin_looking()
        super().__init__(presentation=presentation)
        self._made = True

    def _begin_looking(self) -> None:
        """First of all in a subclass: also what is not made to the end is closed."""
        if not hasattr(self, "_wake"):
            self._wake, self._going = threading.Event(), threading.Lock()
            self._made = self._closed = self._heard = False
            self._thread: threading.Thread | None = None
            self._presumed = time.monotonic() + _PRESUMED

    def _turn(self) -> None:
        """Do what pages have asked for."""

    def _look_around(self) -> float:
        """Look, tell the pages what is new, and say after how many seconds to look again."""
        raise NotImplementedError

    def _leave(self) -> None:
        """The end: nobody looks any more."""

    def close(self) -> None:
        """Look no longer, and take the views away."""
        with self._going:
            unseen = self._made and not self._closed and self._thread is None
            self._closed = True
        self._wake.set()
        super().close()
        if unseen:  # else the thread does it last
            self._leave()

    def _ipython_display_(self) -> None:
        super()._ipython_display_()
        self._go_on()

    def _received(self, widget: Any, content: Any, buffers: Any) -> None:
        self._heard = True
        super()._received(widget, content, buffers)
        self._go_on()

    def _go_on(self) -> None:
        with self._going:
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._work, name=f"ifog {self._label}", daemon=True)
                self._thread.start()
        self._wake.set()

    def _work(self) -> None:
        while not self._closed:
            self._wake.clear()
            self._turn()
            watched = self._watched and (self._heard or time.monotonic() < self._presumed)
            self._wake.wait(self._look_around() if watched else None)
        self._leave()
