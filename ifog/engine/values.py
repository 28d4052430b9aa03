"""The value of a cell's last line, as an object: it goes beside its text, so that a notebook has it as a list by rank."""

from __future__ import annotations

import base64
import pickle
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

MIME = "application/x-ifog-value"
_MOST = 2**20  # bytes; what is larger stays in the engine, and its text is sent


def send(ip: InteractiveShell) -> None:
    """Send values from now on."""
    hook: Any = ip.displayhook
    formatted = hook.compute_format_data

    def with_value(result: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        data, metadata = formatted(result)
        try:
            pickled = pickle.dumps(result)
        except Exception:  # noqa: BLE001 (not everything can be pickled)
            pickled = b""
        if 0 < len(pickled) <= _MOST:
            data[MIME] = base64.b64encode(pickled).decode()
        return data, metadata

    hook.compute_format_data = with_value
