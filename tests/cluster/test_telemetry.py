"""Engines say what they do while they compute, and hear what they are asked."""

import threading
import time

import pytest
from engines_and_notebooks import until
from ipyparallel.error import CompositeError

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
def test_how_many_exchanges_a_rank_has_made_and_whom_it_has_told_is_seen(four):
    cluster, _ = four
    code = "import ifog, torch\nifog.set_topology(ifog.topology.ring(4))\nx = torch.ones(2)\n"
    cluster.view.execute(code + "for _ in range(7): ifog.neighbor_allreduce(x)", block=True)
    before = cluster.status(5.0)["engines"]
    assert [engine["told"] for engine in before] == [[1, 3], [0, 2], [1, 3], [0, 2]]
    cluster.view.execute("for _ in range(100): ifog.neighbor_allreduce(x)", block=True)
    after = cluster.status(5.0)["engines"]
    assert [b["exchanges"] - a["exchanges"] for a, b in zip(before, after, strict=True)] == [100] * 4
    cluster.view.execute("ifog.set_topology(ifog.topology.exponential(4))\nifog.broadcast(x, 1)", block=True)
    assert [engine["told"] for engine in cluster.status(5.0)["engines"]][1] == [0, 2, 3]


@pytest.mark.slow
def test_a_frozen_rank_stands_still_whatever_it_does_and_all_go_on_afterwards(four):
    cluster, _ = four

    def freeze(seconds):
        return cluster.wire.request(2, "ifog.engine.status:freeze", seconds)

    def states():
        return [engine["state"] for engine in cluster.status(0.3)["engines"]]

    rounds = "import ifog, time\nfor _ in range({}):\n    ifog.barrier()\n    time.sleep(0.02)"
    busy = cluster.view.execute(rounds.format(60), block=False)
    until(lambda: all(engine["state"] != "idle" for engine in cluster.status()["engines"]))
    thawed = freeze(3)
    until(lambda: states() == ["waiting", "waiting", "no answer", "waiting"])
    assert not thawed.done()
    busy.get()
    assert thawed.done()

    thawed = freeze(4)  # between two cells: nobody takes it for one that has ended the cell
    cluster.view.execute("ifog.barrier()", block=True)
    assert thawed.result(1) is None

    busy = cluster.view.execute(rounds.format(10_000), block=False)
    until(lambda: all(engine["state"] != "idle" for engine in cluster.status()["engines"]))
    thawed = freeze(2)
    until(lambda: states()[2] == "no answer")
    cluster.interrupt(timeout=0.2)
    with pytest.raises(CompositeError):
        busy.get()
    assert thawed.result(1) is None
    cluster.view.execute("ifog.barrier()", block=True)


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
