"""Engines say what they do while they compute, and hear what they are asked."""

import threading
import time

import pytest
from engines_and_notebooks import until

from ifog.engine.telemetry import Sender


class Session:
    """Takes messages down."""

    def __init__(self):
        self.messages = []

    def send(self, socket, kind, content, ident, buffers):
        import pickle

        self.messages.append((content, *pickle.loads(buffers[0])))

    @property
    def records(self):
        return [record for _, records, _ in self.messages for record in records]

    @property
    def dropped(self):
        return sum(content["dropped"] for content, *_ in self.messages)


def test_records_arrive_in_order_and_many_in_one_message():
    session = Session()
    sender = Sender(session, None, 3)
    for k in range(500):
        sender.publish("k", k)
    until(lambda: len(session.records) == 500)
    assert session.records == [("k", k) for k in range(500)]
    assert len(session.messages) < 100
    assert all(content["rank"] == 3 for content, *_ in session.messages)


def test_what_does_not_fit_drops_the_oldest_and_is_counted():
    session = Session()
    sender = Sender(session, None, 0, kept=100)
    total = 20_000
    for k in range(total):
        sender.publish("k", k)
    until(lambda: session.records and session.records[-1] == ("k", total - 1))
    assert session.dropped > 0
    assert len(session.records) + session.dropped == total
    numbers = [k for _, k in session.records]
    assert numbers == sorted(set(numbers))


def test_of_what_is_shown_the_newest_counts():
    session = Session()
    sender = Sender(session, None, 0)
    for k in range(10_000):
        sender.show("x", k)
    until(lambda: session.messages and session.messages[-1][2] == {"x": 9_999})
    assert len(session.messages) < 200


def test_a_record_that_cannot_be_pickled_silences_nobody():
    session = Session()
    sender = Sender(session, None, 0)
    sender.publish("bad", threading.Lock())
    sender.publish("good", 1)
    until(lambda: session.records == [("good", 1)])


@pytest.mark.slow
def test_records_come_while_a_cell_runs_and_are_all_accounted_for(four):
    cluster, _ = four
    heard, dropped, when = {rank: [] for rank in range(4)}, [0], []

    def listen(rank, records, newest, lost):
        heard[rank] += [record for topic, record in records if topic == "k"]
        dropped[0] += lost
        when.append(time.monotonic())

    silence = cluster.wire.listen(listen)

    work = """
import time
from ifog.engine import publish

for k in range(2000):
    publish("k", k)
time.sleep(1.5)
"""
    time.sleep(0.3)  # a subscription takes a moment to be known
    cluster.view.execute(work, block=True)
    ended = time.monotonic()
    until(lambda: sum(map(len, heard.values())) + dropped[0] >= 8000)
    assert when[0] < ended - 0.5
    assert all(numbers == list(range(2000)) for numbers in heard.values())
    silence()


@pytest.mark.slow
def test_an_engine_answers_while_it_computes(four):
    cluster, _ = four
    busy = cluster.view.execute("import time\nfor _ in range(200): time.sleep(.01)", block=False)
    until(lambda: all(engine["state"] == "busy" for engine in cluster.status()["engines"]))
    (said,) = {engine["cell"] for engine in cluster.status()["engines"]}
    assert said == "import time"
    with pytest.raises(ZeroDivisionError):
        cluster.wire.request(1, "operator:truediv", 1, 0).result(5)
    assert cluster.wire.request(1, "operator:add", 1, 2).result(5) == 3
    busy.get()


@pytest.mark.slow
def test_who_waits_for_whom_is_seen(four):
    cluster, _ = four
    code = "import ifog, time\nif ifog.rank() == 2: time.sleep(2)\nifog.barrier()"
    busy = cluster.view.execute(code, block=False)
    until(lambda: [e["state"] for e in cluster.status()["engines"]] == ["waiting", "waiting", "busy", "waiting"])
    engines = cluster.status()["engines"]
    assert {engine["waits_for"] for engine in engines if engine["rank"] != 2} == {2}
    assert all("barrier" in engine["operation"] for engine in engines if engine["rank"] != 2)
    busy.get()
