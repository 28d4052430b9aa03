"""The line to a controller: what comes over it that cannot be read here, without any engines."""

import pickle

import pytest
import zmq
from engines_and_notebooks import until
from jupyter_client.session import Session

from ifog.cluster.wire import Wire
from ifog.engine.telemetry import KIND, TOPIC
from ifog.errors import CommError

GOOD = pickle.dumps(([("k", 1)], {}))
UNREADABLE = b"c__main__\nP\n."  # a pickle of a class that is only in the engines


class Controller:
    """The other end of a line."""

    def __init__(self, context, folder):
        info = {"key": "secret", "signature_scheme": "hmac-sha256", "pack": "json", "unpack": "json", "location": "127.0.0.1"}
        self.session = Session(key=b"secret", packer="json", unpacker="json")
        self.sockets = {}
        for name, kind in {"registration": zmq.ROUTER, "control": zmq.ROUTER, "iopub": zmq.PUB}.items():
            self.sockets[name] = context.socket(kind)
            info[name] = self.sockets[name].bind_to_random_port("tcp://127.0.0.1")
        self.file = folder / "client.json"
        self.file.write_text(self.session.pack(info | {"interface": "tcp://127.0.0.1"}).decode())

    def publish(self, records):
        self.session.send(self.sockets["iopub"], KIND, {"rank": 0, "dropped": 0}, ident=TOPIC, buffers=[records])

    def answer(self, value):
        """Answer the next request."""
        control = self.sockets["control"]
        (who, _), message = self.session.recv(control, mode=0)
        self.session.send(control, "ifog_reply", {"status": "ok"}, parent=message, ident=[who], buffers=[value])


@pytest.fixture
def controller(tmp_path):
    with zmq.Context() as context:
        made = Controller(context, tmp_path)
        yield made
        context.destroy(linger=0)


@pytest.fixture
def line(controller):
    made = Wire(controller.file)
    yield made
    made.close()


def test_records_that_cannot_be_read_here_are_told_once_and_silence_nobody(controller, line, capsys):
    heard = []

    def arrives(*messages):
        silence = line.listen(lambda rank, records, newest, dropped: heard.extend(records))
        before = len(heard)
        until(lambda: [controller.publish(message) for message in messages] and len(heard) > before, 10)
        silence()

    arrives(GOOD)  # a subscription takes a moment to be known
    controller.publish(UNREADABLE)  # while nobody listens
    arrives(UNREADABLE, UNREADABLE, GOOD)
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith("ifog: what rank 0 publishes cannot be read here: Can't get attribute 'P'")
    assert set(heard) == {("k", 1)}


def test_an_answer_that_cannot_be_read_here_is_an_error_at_once(controller, line):
    line.engines = {0: "engine"}
    answer = line.request(0, "module:function")
    controller.answer(UNREADABLE)
    with pytest.raises(CommError, match=r"engine 0 .*cannot be read here.*'P'"):
        answer.result(10)
