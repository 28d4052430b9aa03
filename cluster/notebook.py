"""``%load_ext ifog``: cells for the engines, in a notebook.

``%%px`` becomes an awaited call, so that buttons and sliders answer while it runs, its output comes by rank, and an error is
shown once. Options that only ipyparallel's own ``%%px`` knows, such as ``--noblock``, are left to it.
"""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import IfogError, SetupError
from . import command
from .cells import Cell
from .cluster import Cluster, connect
from .home import PROFILE
from .shown import Answer, Results, as_html, as_text, plain, ranks_in_short

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

_NAME = "__ifog_px__"
_OURS = re.compile(r"(?:-t|--targets)[ =](\S+)|(?:-o|--out)[ =](\w+)|-b|--block|--stream")
_OF_ONE = ("restart", "stop", "interrupt", "logs")
"""The words that are about one cluster: if none is named, the one that cells go to."""
_QUIET = 0.4  # seconds until a cell that prints nothing shows that it runs
_FRAME = 0.1  # seconds between two pictures

_notebook: Notebook | None = None


class Notebook:
    """What is installed in a shell."""

    def __init__(self, ip: InteractiveShell) -> None:
        self.ip = ip
        self._cluster: Cluster | None = None
        ip.user_ns[_NAME] = self.px
        ip.user_ns_hidden[_NAME] = self.px
        ip.input_transformers_cleanup.append(awaited)
        ip.register_magic_function(self.magic, "line", "ifog")  # type: ignore[arg-type]

    def remove(self) -> None:
        """Undo it."""
        self.ip.input_transformers_cleanup.remove(awaited)
        self.ip.user_ns.pop(_NAME, None)
        self.ip.magics_manager.magics["line"].pop("ifog", None)
        if self._cluster is not None:
            self._cluster.close()

    def cluster(self) -> Cluster:
        """The engines that cells go to: those that run, or that have run here last."""
        if self._cluster is None or not self._cluster.said():
            before = self._cluster
            try:
                self.use(connect())
            except SetupError:
                if before is None:
                    raise
        assert self._cluster is not None
        return self._cluster

    def use(self, cluster: Cluster) -> None:
        """From now on, cells go to these engines."""
        if self._cluster is not None and self._cluster is not cluster:
            self._cluster.close()
        self._cluster = cluster
        if cluster.said().get("phase") == "running":
            cluster.client.activate()  # ipyparallel's own magics, for what is not ours

    async def px(self, code: str, targets: str | None = None, out: str | None = None) -> Results | None:
        """Run a cell on the engines."""
        cluster = self.cluster()
        ranks = _ranks(targets, len(cluster))
        cell = Cell(cluster, code, ranks, Screen(live=hasattr(self.ip, "kernel")))
        if out:
            self.ip.user_ns[out] = cell.result
        return await cell.run()

    def magic(self, line: str) -> None:
        """``%ifog start -np 4``, ``%ifog status``, ``%ifog restart``: what the command ``ifog`` does, from here."""
        words = shlex.split(line) or ["status"]
        if words[0] in ("lab", "run"):
            raise SetupError(f"`ifog {words[0]}` belongs in a terminal")
        if words[0] == "use":
            self.use(connect(words[1] if len(words) > 1 else None))
            print(self._cluster)  # noqa: T201
            return
        cluster_id, profile = command.named(words)
        if words[0] in _OF_ONE and cluster_id is None and profile is None and self._cluster is not None:
            home = self.cluster().home
            words += ["--cluster-id", home.cluster_id, "--profile", home.profile]
        command.main(words, embedded=True)
        if words[0] == "start":
            self.use(connect(cluster_id or "", profile or PROFILE))
        elif words[0] == "restart":
            self.use(self.cluster())


def current() -> Cluster:
    """The engines that cells go to; where no notebook has chosen any, those that run."""
    return connect() if _notebook is None else _notebook.cluster()


def display(data: Mapping[str, Any], **options: Any) -> Any:
    """Display data by MIME type."""
    from IPython import display as shown

    return shown.display(dict(data), raw=True, **options)  # type: ignore[no-untyped-call]


class Screen:
    """The output of a cell, in place, as long as it changes."""

    def __init__(self, *, live: bool) -> None:
        self._live = live  # a terminal cannot take back what it has shown
        self._began = self._drawn = time.monotonic()
        self._handle: Any = None
        self._last: tuple[str, str] | None = None
        self._separate: dict[int, int] = {}  # how many of a rank stand by themselves already

    def show(self, answers: Sequence[Answer], note: str) -> None:
        """Draw what there is."""
        now = time.monotonic()
        quiet = all(answer.empty for answer in answers)
        if note and not self._live:
            return
        if note and (now - self._drawn < _FRAME or (quiet and now - self._began < _QUIET)):
            return
        if not (quiet and self._handle is None and not note):
            drawn = as_text(answers, note), as_html(answers, note)
            if drawn != self._last:
                self._last, self._drawn = drawn, now
                data = {"text/plain": drawn[0], "text/html": drawn[1]}
                if self._handle is None:
                    self._handle = display(data, display_id=True)
                else:
                    self._handle.update(data, raw=True)
        self._show_the_rest(answers)

    def _show_the_rest(self, answers: Sequence[Answer]) -> None:
        """What cannot stand within HTML, such as a widget, each by itself."""
        for answer in answers:
            rest = [bundle for bundle in answer.outputs if not plain(bundle)]
            for bundle in rest[self._separate.get(answer.rank, 0) :]:
                label = [Answer(answer.rank, outputs=[{"text/html": ""}])]
                display({"text/plain": ranks_in_short([answer.rank]), "text/html": as_html(label)})
                display(bundle)
            self._separate[answer.rank] = len(rest)


def awaited(lines: list[str]) -> list[str]:
    """The text of a cell: if it is one for the engines, a call that is awaited."""
    first = re.match(r"%%px(?:[ \t]+(.*))?$", lines[0].rstrip()) if lines else None
    single = re.match(r"%px[ \t]+(.+)$", lines[0].rstrip()) if len(lines) == 1 else None
    if single:
        return [f"await {_NAME}({single[1]!r})\n"]
    if not first:
        return lines
    said = first[1] or ""
    if _OURS.sub("", said).strip():
        return lines  # ipyparallel's
    targets = next((match[1] for match in _OURS.finditer(said) if match[1]), None)
    out = next((match[2] for match in _OURS.finditer(said) if match[2]), None)
    return [f"await {_NAME}({''.join(lines[1:])!r}, {targets!r}, {out!r})\n"]


def _ranks(targets: str | None, n: int) -> list[int]:
    """``0``, ``1:3``, ``[0,2]``, ``0,2`` or ``all``."""
    everybody = list(range(n))
    if targets in (None, "all"):
        return everybody
    assert targets is not None
    try:
        if ":" in targets:
            return everybody[slice(*(int(part) if part else None for part in targets.split(":")))]
        found = [int(part) for part in targets.strip("[]()").split(",") if part.strip()]
        return [everybody[rank] for rank in found]
    except (ValueError, IndexError):
        raise SetupError(f"targets {targets!r}: ranks of 0 to {n - 1}, as in `-t 0`, `-t 1:3` or `-t [0,2]`") from None


def load_ipython_extension(ip: InteractiveShell) -> None:
    """``%load_ext ifog``: connect to the engines that run, and send them what ``%%px`` says."""
    global _notebook
    if _notebook is None:
        _notebook = Notebook(ip)
    try:
        cluster = _notebook.cluster()
    except IfogError as error:
        print(error)  # noqa: T201
    else:
        print(f"connected to {cluster.home.name!r}: {len(cluster)} engines; %%px sends them a cell")  # noqa: T201


def unload_ipython_extension(_ip: InteractiveShell) -> None:
    """``%unload_ext ifog``."""
    global _notebook
    if _notebook is not None:
        _notebook.remove()
        _notebook = None
