"""What `%ifog` and `%%px` mean in a notebook, where there are no engines."""

from types import SimpleNamespace

import pytest

from ifog.cluster import command, notebook
from ifog.cluster.home import Home
from ifog.cluster.shown import Answer


class Engines:
    """A cluster of which only its place is known."""

    def __init__(self, home):
        self.home = home
        self.closed = False

    def said(self):
        return {"phase": "starting"}

    def close(self):
        self.closed = True


@pytest.fixture
def asked(monkeypatch):
    """What the command was asked, and each cluster that was connected to."""
    asked, connected = [], []

    def connect(cluster_id=None, profile=None):
        connected.append(Engines(Home(profile or "ifog", cluster_id or "")))
        return connected[-1]

    monkeypatch.setattr(notebook, "connect", connect)
    monkeypatch.setattr(command, "main", lambda words, embedded: asked.append(words))
    return asked, connected


@pytest.fixture
def book():
    shell = SimpleNamespace(user_ns={}, user_ns_hidden={}, input_transformers_cleanup=[])
    shell.register_magic_function = lambda *_: None
    return notebook.Notebook(shell)


@pytest.mark.parametrize("word", ["restart", "stop", "interrupt"])
def test_what_names_no_cluster_is_about_the_one_that_cells_go_to(book, asked, word):
    words, connected = asked
    book.magic("use b")
    book.magic(word)
    assert words == [[word, "--cluster-id", "b", "--profile", "ifog"]]
    assert [book.cluster()] == connected
    book.magic(f"{word} --cluster-id c")
    assert words[1] == [word, "--cluster-id", "c"]
    assert [book.cluster()] == connected


def test_cells_go_to_the_engines_that_were_started_last(book, asked):
    _, connected = asked
    book.magic("use b")
    book.magic("start -np 2")
    book.magic("start -np 2 --cluster-id c --profile course")
    assert [engines.home for engines in connected] == [Home("ifog", "b"), Home(), Home("course", "c")]
    assert [engines.closed for engines in connected] == [True, True, False]
    assert book.cluster() is connected[-1]


def test_what_stands_by_itself_is_shown_once_for_every_rank_in_whatever_order_it_comes(monkeypatch):
    shown = []
    monkeypatch.setattr(notebook, "display", lambda data, **options: shown.append(data))
    screen = notebook.Screen(live=True)
    figures = {0: [{"figure": "A0"}], 1: []}
    for rank, name in ((1, "B0"), (0, "A1"), (1, "B1")):
        screen.show([Answer(rank, outputs=outputs) for rank, outputs in figures.items()], "")
        figures[rank].append({"figure": name})
    screen.show([Answer(rank, outputs=outputs) for rank, outputs in figures.items()], "")
    assert [data["figure"] for data in shown if "figure" in data] == ["A0", "B0", "A1", "B1"]
    assert [data["text/plain"] for data in shown if "text/plain" in data] == ["rank 0", "rank 1", "rank 0", "rank 1"]
