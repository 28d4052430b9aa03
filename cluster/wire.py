"""A line to the controller of a cluster, beside ipyparallel's client: questions to engines, and what they say by themselves.

It has a thread of its own. So an engine can be asked while it computes, and its records arrive while a cell of the notebook
waits: neither needs the notebook's main thread.
"""

from __future__ import annotations

import json
import os
import pickle
import queue
import sys
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from pathlib import Path
from typing import Any

import zmq
from jupyter_client.session import Session

from ..engine.requests import KIND as REQUEST
from ..engine.telemetry import KIND as RECORDS
from ..engine.telemetry import TOPIC
from ..errors import CommError

Listener = Callable[[int, list[tuple[str, Any]], Mapping[str, Any], int], None]
"""Called with a rank, its new records, the newest of the topics that only show their newest, and how many were dropped."""


class Wire:
    """The line. Of the methods, all may be called from any thread."""

    def __init__(self, client_file: Path | str) -> None:
        info = json.loads(Path(client_file).read_text())
        self._session = Session(
            key=info["key"].encode(),
            signature_scheme=info["signature_scheme"],
            packer=info["pack"],
            unpacker=info["unpack"],
            session=uuid.uuid4().hex,
        )
        self._context = zmq.Context()
        keys = zmq.curve_keypair() if info.get("curve_serverkey") else None

        def connect(kind: int, port: int, topic: bytes | None = None) -> zmq.Socket[bytes]:
            socket = self._context.socket(kind)
            socket.linger = 0
            if keys is not None:
                socket.curve_serverkey = info["curve_serverkey"].encode()
                socket.curve_publickey, socket.curve_secretkey = keys
            if topic is None:
                socket.identity = uuid.uuid4().hex.encode()
            else:
                socket.subscribe(topic)
            socket.connect(f"{_reachable(info)}:{port}")
            return socket

        self._hub = connect(zmq.DEALER, info["registration"])
        self._control = connect(zmq.DEALER, info["control"])
        self._records = connect(zmq.SUB, info["iopub"], TOPIC)
        self.engines: dict[int, str] = {}
        """The engines that are there, by id, as of the last time somebody asked."""
        self._listeners: list[Listener] = []
        self._unreadable = False  # records have come that cannot be read here
        self._waiting: dict[str, Future[Any]] = {}
        self._outgoing: queue.SimpleQueue[tuple[Any, ...]] = queue.SimpleQueue()
        self._wake, self._woken = os.pipe()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="ifog-wire", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Hang up."""
        if not self._closed:
            self._closed = True
            os.write(self._woken, b"!")
            self._thread.join(2.0)

    # ------------------------------------------------------------------------------------------------- questions
    def look(self, timeout: float = 5.0) -> dict[int, str]:
        """Which engines the controller knows."""
        reply = self._ask(self._hub, None, "connection_request", {}).result(timeout)
        self.engines = {int(engine): key for engine, key in reply["content"]["engines"].items()}
        return self.engines

    def forget(self, engines: Iterable[int]) -> None:
        """Tell the controller that engines are gone: whoever waits for them hears it now, and not after many heartbeats."""
        for engine in engines:
            self._ask(self._hub, None, "unregistration_request", {"id": engine}).cancel()

    def request(self, engine: int, function: str, *arguments: Any, **options: Any) -> Future[Any]:
        """Have an engine call ``module:function`` now, also while a cell runs there."""
        if engine not in self.engines:
            self.look()
        if engine not in self.engines:
            raise CommError(f"there is no engine {engine}: there are {sorted(self.engines)}")
        packed = pickle.dumps((arguments, options))
        target = self.engines[engine].encode()
        answer: Future[Any] = Future()

        def done(reply: Future[Any]) -> None:
            if reply.cancelled():
                answer.cancel()
                return
            message = reply.result()
            try:
                value = pickle.loads(message["buffers"][0])
            except Exception as error:  # noqa: BLE001 (it is made of something that is not here)
                answer.set_exception(CommError(f"what engine {engine} has answered cannot be read here: {error}"))
                return
            if message["content"]["status"] == "ok":
                answer.set_result(value)
            else:
                answer.set_exception(value)

        self._ask(self._control, target, REQUEST, {"function": function}, [packed]).add_done_callback(done)
        return answer

    def ask(
        self, engines: Iterable[int], function: str, *arguments: Any, timeout: float = 2.0, **options: Any
    ) -> dict[int, Any]:
        """Ask several engines at once. An engine that does not answer in time is left out."""
        answers = {engine: self.request(engine, function, *arguments, **options) for engine in engines}
        found = {}
        for engine, answer in answers.items():
            try:
                found[engine] = answer.result(timeout)
            except (FutureTimeout, TimeoutError):
                timeout = 0.05  # they were all asked at the same time
        return found

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Hear what engines publish; what it gives back ends that. The listener is called in the thread of this line."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    # ---------------------------------------------------------------------------------------------------- thread
    def _ask(
        self, socket: zmq.Socket[bytes], target: bytes | None, kind: str, content: dict[str, Any], buffers: Any = None
    ) -> Future[Any]:
        if self._closed:
            raise CommError("this line to the engines has been closed: connect again, ifog.connect()")
        reply: Future[Any] = Future()
        message = self._session.msg(kind, content=content)
        self._waiting[message["header"]["msg_id"]] = reply
        self._outgoing.put((socket, message, target, buffers))
        os.write(self._woken, b"!")
        return reply

    def _run(self) -> None:
        poller = zmq.Poller()
        for socket in (self._hub, self._control, self._records, self._wake):
            poller.register(socket, zmq.POLLIN)
        while True:
            ready = dict(poller.poll())
            if self._wake in ready:
                os.read(self._wake, 4096)
                if self._closed:
                    break
                while not self._outgoing.empty():
                    outgoing, message, target, buffers = self._outgoing.get()
                    self._session.send(outgoing, message, ident=target, buffers=buffers)
            for socket in (self._hub, self._control):
                if socket in ready:
                    self._answered(socket.recv_multipart())
            if self._records in ready:
                self._heard(self._records.recv_multipart())
        self._context.destroy(linger=0)
        for descriptor in (self._wake, self._woken):
            os.close(descriptor)
        for reply in self._waiting.values():
            reply.cancel()

    def _read(self, parts: list[bytes]) -> dict[str, Any] | None:
        try:
            _, rest = self._session.feed_identities(parts)
            message: dict[str, Any] = self._session.deserialize(rest)
        except ValueError:  # not signed with our key, or heard twice
            return None
        return message

    def _answered(self, parts: list[bytes]) -> None:
        message = self._read(parts)
        reply = None if message is None else self._waiting.pop(message["parent_header"].get("msg_id", ""), None)
        if reply is not None and reply.set_running_or_notify_cancel():
            reply.set_result(message)

    def _heard(self, parts: list[bytes]) -> None:
        message = self._read(parts)
        if message is None or message["header"]["msg_type"] != RECORDS or not self._listeners:
            return
        content = message["content"]
        try:
            records, newest = pickle.loads(message["buffers"][0])
        except Exception as error:  # noqa: BLE001 (one is made of something that is not here: a class of a cell)
            if not self._unreadable:  # said once, and not thirty times a second
                self._unreadable = True
                sys.stderr.write(f"ifog: what rank {content['rank']} publishes cannot be read here: {error}\n")
            return
        for listener in list(self._listeners):
            try:
                listener(content["rank"], records, newest, content["dropped"])
            except Exception:  # noqa: BLE001 (one listener's mistake must not silence the line)
                self._listeners.remove(listener)
                sys.excepthook(*sys.exc_info())


def _reachable(info: Mapping[str, Any]) -> str:
    """The controller's address, from here."""
    from jupyter_client.localinterfaces import is_local_ip

    protocol, address = info["interface"].split("://")
    if address in ("0.0.0.0", "*"):
        address = "127.0.0.1" if is_local_ip(info["location"]) else info["location"]
    return f"{protocol}://{address}"
