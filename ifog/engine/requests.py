"""Questions to an engine that it answers at once, also while a cell runs: by calling a function in the kernel's control thread.

What may be called is any function of any module, by name, as with ``apply``: who can ask holds the key of the cluster.
"""

from __future__ import annotations

import importlib
import pickle
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

KIND = "ifog_request"


def serve(ip: InteractiveShell) -> None:
    """Answer from now on."""
    kernel = ip.kernel  # type: ignore[attr-defined]

    def answer(stream: Any, ident: Any, parent: dict[str, Any]) -> None:
        status, value = "ok", None
        try:
            arguments, options = pickle.loads(parent["buffers"][0])
            value = pickle.dumps(_find(parent["content"]["function"])(*arguments, **options))
        except Exception as error:  # noqa: BLE001 (whatever it is, it belongs to the one who asked)
            status, value = "error", _pickled(error)
        kernel.session.send(stream, "ifog_reply", {"status": status}, parent=parent, ident=ident, buffers=[value])

    kernel.control_handlers[KIND] = answer


def _find(name: str) -> Any:
    module, _, function = name.partition(":")
    found = importlib.import_module(module)
    for part in function.split("."):
        found = getattr(found, part)
    return found


def _pickled(error: Exception) -> bytes:
    try:
        return pickle.dumps(error)
    except Exception:  # noqa: BLE001 (an error may hold anything)
        return pickle.dumps(RuntimeError(f"{type(error).__name__}: {error}"))
