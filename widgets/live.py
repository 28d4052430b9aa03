"""What all widgets have in common: a bundle of JavaScript, messages that never pile up, and a picture that stays."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, overload

import anywidget
import traitlets

from ifog.errors import ArgumentError

from . import messages, picture

STATIC = Path(__file__).parent / "static"
FORMS = ("svg", "png", "html")
_QUIET = 2.0  # seconds without news after which the sending thread ends, and the saved picture is renewed


class Sender:
    """Sends the newest of each kind of message, at most so many a second, from a thread of its own.

    What was not sent yet when a newer message of its kind comes is forgotten, so a slow page costs neither time nor memory.
    """

    def __init__(self, send: Callable[[Any], None], *, per_second: float, when_quiet: Callable[[], None]) -> None:
        self._send, self._pause, self._when_quiet = send, 1 / per_second, when_quiet
        self._waiting: dict[str, Any] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def offer(self, message: Any) -> None:
        """Have it sent soon, unless a newer one comes first."""
        with self._changed:
            kind = type(message).__name__
            self._waiting.pop(kind, None)  # to the end: the order between kinds is that of their last change
            self._waiting[kind] = message
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="ifog widget", daemon=True)
                self._thread.start()
            self._changed.notify()

    def _work(self) -> None:
        while True:
            with self._changed:
                if not self._waiting and not self._changed.wait_for(lambda: bool(self._waiting), _QUIET):
                    self._thread = None
                    break
                kind = next(iter(self._waiting))
                message = self._waiting.pop(kind)
            begun = time.perf_counter()
            self._send(message)
            time.sleep(max(0.0, begun + self._pause - time.perf_counter()))
        self._when_quiet()


class LiveWidget(anywidget.AnyWidget):
    """A widget whose page speaks by messages of `ifog.widgets.messages`, and that leaves a picture behind."""

    _start = traitlets.Any(None).tag(
        sync=True,
        # asked for when a page opens or comes back, never sent otherwise: so a late page sees what all others see
        to_json=lambda _, widget: [{"content": content, "buffers": buffers} for content, buffers in widget._everything()],
    )
    presentation = traitlets.Bool(False).tag(sync=True)

    _label = "a widget"
    _per_second = 30.0
    _parts: Mapping[str, LiveWidget] = MappingProxyType({})

    def __init__(self, *, presentation: bool = False, within: LiveWidget | None = None, part: str = "") -> None:
        self._within, self._part = within, part  # the widget whose page shows this one, and what it is called there
        self._lock = threading.RLock()
        self._pages: dict[str, messages.Watched] = {}  # what each has said last
        self._watched = True  # until a page says otherwise: it may not be able to while a cell runs
        self._handles: list[Any] = []
        self._held = self._stale = False
        self._sender = Sender(self._send_now, per_second=self._per_second, when_quiet=self._renew_pictures)
        self._parts = {each._part: each for each in self._make_parts()}
        super().__init__(presentation=presentation)
        self.on_msg(self._received)

    @overload
    def snapshot(self, form: Literal["svg", "html"] = "svg") -> str: ...
    @overload
    def snapshot(self, form: Literal["png"]) -> bytes: ...
    def snapshot(self, form: str = "svg") -> str | bytes:
        """What it shows now, as a picture: ``"svg"``, ``"png"``, or ``"html"``, a page that needs nothing from anywhere."""
        if form not in FORMS:
            raise ArgumentError(f"form={form!r}: one of {', '.join(map(repr, FORMS))}")
        drawing = self._picture()
        if form == "svg":
            return drawing
        if form == "png":
            return picture.png(drawing)
        told = self._by_itself()
        if told is None:
            return picture.page(self._label, drawing)
        return picture.living_page(
            self._label, drawing, esm=str(self._esm), css=str(self._css), start=told, presentation=bool(self.presentation)
        )

    def save(self, path: str | Path) -> None:
        """Write a `snapshot` to a file, whose ending says its form: .svg, .png or .html."""
        path = Path(path)
        form: Any = path.suffix.lower().removeprefix(".")
        if form not in FORMS:
            raise ArgumentError(f"path={str(path)!r}: a name that ends in one of {', '.join(f'.{each}' for each in FORMS)}")
        made: str | bytes = self.snapshot(form)
        path.write_bytes(made if isinstance(made, bytes) else made.encode())

    # ---- what each widget says itself ------------------------------------------------------------------------------------

    def _picture(self) -> str:
        """What it shows now, as an SVG (`picture.svg`)."""
        raise NotImplementedError

    def _make_parts(self) -> Iterable[LiveWidget]:
        """Widgets that its page shows too: made ``within`` this one."""
        return ()

    def _alone(self) -> list[Any] | None:
        """What a page without Python is told; None where it would be of no use, and a picture is better."""
        return None

    def _state(self) -> list[Any]:
        """The messages that make a new page show what the others show."""
        raise NotImplementedError

    def _catch_up(self) -> None:
        """A page has come back, after a time without any: tell it what it has missed."""
        raise NotImplementedError

    def _take(self, message: Any) -> None:
        """Something came from a page."""
        raise NotImplementedError

    # ---- messages ------------------------------------------------------------------------------------------------------

    def _by_itself(self) -> list[tuple[dict[str, Any], list[bytes]]] | None:
        """The messages for a page without Python, those of its parts too."""
        with self._lock:
            alone = self._alone()
        if alone is None:
            return None
        told = [messages.pack(message) for message in alone]
        for name, part in self._parts.items():
            told += [(content | {"part": name}, more) for content, more in part._by_itself() or ()]
        return told

    def close(self) -> None:
        """Take the views away."""
        for part in self._parts.values():
            part.close()
        super().close()

    def open(self) -> None:
        """Begin to talk to pages; a part of another widget does so through that one."""
        if self._within is None:
            super().open()

    def _everything(self) -> list[tuple[dict[str, Any], list[bytes]]]:
        with self._lock:
            own = [messages.pack(message) for message in self._state()]
        of_parts = [
            (content | {"part": name}, more) for name, part in self._parts.items() for content, more in part._everything()
        ]
        return own + of_parts

    def _send_now(self, message: Any) -> None:
        if not self._watched:
            return
        content, buffers = messages.pack(message)
        if self._within is not None:
            self._within.send(content | {"part": self._part}, buffers)
        elif self.comm is not None:
            self.send(content, buffers)

    def _received(self, _widget: Any, content: Any, buffers: Any) -> None:
        part = self._parts.get(content.get("part", "")) if isinstance(content, dict) else None
        if part is not None:
            part._received(part, content, buffers)
            return
        try:
            message = messages.unpack(content, buffers)
        except messages.BadMessage:
            return  # from a page of another version: it must not end what runs here
        with self._lock:
            if isinstance(message, messages.Watched):
                missed = not self._watched
                self._pages[str(message.page)] = message
                self._watched = any(said.views > 0 for said in self._pages.values())
                self._held = any(said.held for said in self._pages.values())
                if missed and self._watched:
                    self._catch_up()
                if self._stale and not self._held:
                    self._renew_pictures()
            else:
                self._take(message)
        if isinstance(message, messages.Watched):
            for each in self._parts.values():
                each._received(each, content, buffers)

    # ---- the picture that stays ----------------------------------------------------------------------------------------

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        return self._bundle()

    def _bundle(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The view, and the picture for wherever there is none: a PNG, which viewers of notebooks and printers all take."""
        # a widget that was closed has no view any more, and its picture is still one
        data, metadata = ({}, {}) if self.comm is None else super()._repr_mimebundle_() or ({}, {})
        image = self.snapshot("png")
        data |= {"text/plain": repr(self), "image/png": base64.b64encode(image).decode()}
        return data, metadata | {"image/png": {"width": picture.width(image), "alt": self._label}}

    def _ipython_display_(self) -> None:
        from IPython.display import display

        data, metadata = self._bundle()
        handle = display(data, metadata=metadata, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        if handle is not None:
            self._handles.append(handle)

    def _renew_pictures(self) -> None:
        """Put what is shown now into the saved notebook; not under somebody's hand, because JupyterLab then makes new views."""
        if self._within is not None:
            self._within._renew_pictures()
            return
        self._stale = self._held
        if self._held or not self._handles:
            return
        data, metadata = self._bundle()
        for handle in self._handles:
            handle.update(data, metadata=metadata, raw=True)
