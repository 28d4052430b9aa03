"""The value of a cell's last line, as an object: it goes beside its text, so that a notebook has it as a list by rank."""

from __future__ import annotations

import base64
import contextlib
import io
import pickle
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer
    from IPython.core.interactiveshell import InteractiveShell

MIME = "application/x-ifog-value"
_MOST = 2**20  # bytes; what is larger stays in the engine, and its text is sent


def send(ip: InteractiveShell) -> None:
    """Send values from now on."""
    hook: Any = ip.displayhook
    formatted = hook.compute_format_data

    def with_value(result: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        data, metadata = formatted(result)
        with contextlib.suppress(Exception):  # not everything can be pickled
            room = _Room()
            _Pickler(room).dump(result)
            data[MIME] = base64.b64encode(room.getvalue()).decode()
        return data, metadata

    hook.compute_format_data = with_value


class _Room(io.BytesIO):
    """A file that ends the pickling of what does not fit, as soon as that is known."""

    def write(self, data: ReadableBuffer) -> int:
        if self.tell() + memoryview(data).nbytes > _MOST:
            raise OverflowError
        return super().write(data)


class _Pickler(pickle.Pickler):
    def reducer_override(self, value: Any) -> Any:
        # the bytes of an array or a tensor would all be copied before the first of them is written
        size = getattr(value, "nbytes", 0)
        if isinstance(size, int) and size > _MOST:
            raise OverflowError
        return NotImplemented
