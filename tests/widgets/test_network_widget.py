"""The network's Python side: what is sent, how seldom, what comes back, and the picture that stays."""

import base64
import re
import threading
import time
from xml.etree import ElementTree

import networkx as nx
import numpy as np
import pytest

import ifog
from ifog import topology as t
from ifog.errors import ArgumentError, TopologyError
from ifog.experiment import Run
from ifog.widgets import Network, drawing, layouts, messages, picture, theme
from ifog.widgets.live import Sender

SHOWN = [
    t.ring(1),
    t.ring(8),
    t.star(5),
    t.grid(12),
    t.exponential(8),
    t.push(t.star(4)),
    t.one_peer_exponential(8),
    t.ceca(6),
    t.random_matching(8),
    t.Topology(np.eye(3), connected=False),
]


def sent(network):
    """What a page that opens now is told."""
    return [messages.unpack(content, buffers) for content, buffers in network._everything()]


def say(network, message):
    """Have a page say something."""
    content, buffers = messages.pack(message)
    network._received(network, content, buffers)


def edit(network, what, a=-1, b=-1, x=0.5, y=0.5):
    say(network, messages.Edit(network._version, what, a, b, x, y))


def matrix(graph, k):
    """W again, from the lines of a round that a page gets."""
    begin, end = ([0, *graph.ends])[k], graph.ends[k]
    W = np.diag(graph.own.reshape(-1, graph.n)[k]).astype(float)
    for (a, b), (there, back) in zip(graph.lit.reshape(-1, 2)[begin:end], graph.weights.reshape(-1, 2)[begin:end], strict=True):
        W[b, a], W[a, b] = np.nan_to_num([there, back])
    return W


@pytest.mark.parametrize("schedule", SHOWN, ids=lambda schedule: schedule.label)
def test_a_page_gets_every_weight_of_every_round(schedule):
    (graph,) = sent(Network(schedule))
    assert graph.n == schedule.n
    assert graph.positions.reshape(-1, 2).shape == (schedule.n, 2)
    assert len(graph.ends) == (schedule.period or 64)
    for k in range(len(graph.ends)):
        each = schedule[k]
        W = each.W if isinstance(each, t.Topology) else each.pattern.toarray()
        np.testing.assert_allclose(matrix(graph, k), W, atol=1e-6)


@pytest.mark.parametrize("kind", ["natural", *layouts.LAYOUTS])
@pytest.mark.parametrize("schedule", SHOWN, ids=lambda schedule: schedule.label)
def test_layouts_keep_nodes_apart_and_in_sight(kind, schedule):
    places = Network(schedule, layout=kind)._places
    assert (places >= -1e-9).all()
    assert (places <= 1 + 1e-9).all()
    if schedule.n > 1:
        distances = np.linalg.norm(places[:, None] - places, axis=2)
        assert distances[~np.eye(schedule.n, dtype=bool)].min() > 0.02


def test_springs_put_neighbours_side_by_side():
    torus = t.grid(49)
    places = layouts.arrange(torus, torus.pattern, "spring")
    distances = np.linalg.norm(places[:, None] - places, axis=2)
    joined = torus.pattern.toarray()
    assert distances[joined].max() < np.median(distances[~joined])


def test_values_are_floats_of_four_bytes_each():
    network = Network(t.ring(8), values=range(8))
    _, (content, buffers) = network._everything()
    shown = {"low": 0.0, "high": 7.0, "log": False, "what": "", "choices": [], "names": [], "round": -1, "count": -1}
    assert content == {"type": "values", **shown}
    assert np.frombuffer(buffers[0], np.float32).tolist() == list(range(8))


def test_colours_reach_over_all_that_was_shown_unless_told_otherwise():
    network = Network(t.ring(3), values=[0, 1, 2])
    network.show([5, np.nan, np.inf])
    assert network._colouring.limits == (0.0, 5.0)
    network.show([0, 0, 0], low=-1, high=1)
    assert network._colouring.limits == (-1.0, 1.0)


def test_a_round_that_the_page_does_not_have_travels_with_its_values():
    schedule = t.random_matching(8)
    network = Network(schedule)
    network.show(np.zeros(8), round=1000)
    values = sent(network)[-1]
    assert values.round == 1000
    expected = {tuple(sorted(edge)) for edge in schedule[1000].edges.tolist()}
    assert set(map(tuple, values.lit.reshape(-1, 2).tolist())) == expected
    network.show(np.zeros(8), round=3)
    assert len(sent(network)[-1].lit) == 0


# ---- states, machines, spectrum ------------------------------------------------------------------------------------------


def test_states_keep_their_colours():
    network = Network(t.ring(3), values=["busy", "idle", "busy"])
    network.show(["failed", "idle", "busy"])
    values = sent(network)[-1]
    assert values.names == ["busy", "idle", "failed"]
    assert values.values.tolist() == [2, 1, 0]
    picture = network.snapshot()
    assert [picture.count(f'r="9.0" fill="{colour}"') for colour in theme.CATEGORIES[:3]] == [1, 1, 1]
    network.show([1, 2, 3])
    assert sent(network)[-1].names == []


@pytest.mark.parametrize(
    "given", [3, [0, 0, 1, 1, 2, 2], ["a", "b", "c", "a", "b", "c"], np.array([7, 7, 7, 7, 9, 8])], ids=str
)
def test_nodes_of_a_machine_lie_together(given):
    network = Network(t.ring(6), machines=given)
    (graph,) = sent(network)
    assert (graph.layout, graph.layouts[-1]) == ("by machine", "by machine")
    assert len(graph.machines) == 3
    assert (network._places >= 0).all()
    assert (network._places <= 1).all()
    distances = np.linalg.norm(network._places[:, None] - network._places, axis=2)
    together = graph.machine[:, None] == graph.machine
    assert distances[together].max() < 0.4 < distances[~together].max()
    for name in graph.machines:
        assert f">{name}</text>" in network.snapshot()


def test_drawn_nodes_belong_to_the_nearest_machine():
    network = Network(t.ring(4), machines=["left", "left", "right", "right"])
    edit(network, "add_node", x=float(network._places[2, 0]), y=float(network._places[2, 1]))
    edit(network, "remove_node", 0)
    (graph,) = sent(network)
    assert [graph.machines[k] for k in graph.machine] == ["left", "right", "right", "right"]
    network.topology = t.ring(9)
    assert sent(network)[0].machines == []


@pytest.mark.parametrize("schedule", SHOWN, ids=lambda schedule: schedule.label)
def test_the_disc_has_all_eigenvalues_of_a_period(schedule):
    (graph,) = sent(Network(schedule))
    found = graph.eigenvalues.reshape(-1, 2) @ [1, 1j]
    if isinstance(schedule[0], t.Topology) and schedule.period:
        product = np.linalg.multi_dot(
            [np.eye(schedule.n), *(schedule[k].W for k in reversed(range(schedule.period))), np.eye(schedule.n)]
        )
        for power in (1, 2, 3):  # traces of powers: eigenvalues come in no order, and multiple ones are ill conditioned
            assert (found**power).sum() == pytest.approx(np.trace(np.linalg.matrix_power(product, power)), abs=1e-4)
    else:
        assert (graph.spectrum, len(found)) == ("", 0)


def test_what_rows_and_columns_sum_to_is_seen():
    rows, columns = drawing.sums(t.push(t.star(4)))
    W = t.push(t.star(4)).W
    np.testing.assert_allclose(rows, W.sum(1))
    np.testing.assert_allclose(columns, W.sum(0))
    less, one, more = theme.deviations(np.array([0.5, 1 + 1e-9, 1.7]))
    assert [less[:3].tolist(), more[:3].tolist()] == [theme.channels(theme.LESS), theme.channels(theme.MORE)]
    assert one[3] < 80 < less[3]
    assert drawing.sums(t.ring(1000))[0] == pytest.approx(np.ones(128))


# ---- following a run -------------------------------------------------------------------------------------------------------


def wait_until(true, seconds=20):
    deadline = time.perf_counter() + seconds
    while not true():
        assert time.perf_counter() < deadline
        time.sleep(0.01)


def test_a_run_colours_its_nodes_until_its_end():
    run = ifog.run("gradient_tracking", "least_squares", n=9, topology="ring", steps=200, lr=0.02)
    network = Network(run)
    graph, values = sent(network)
    assert graph.title == "ring(9)"
    assert (values.what, values.log, values.round, values.count) == ("disagreement", True, 0, 200)
    assert values.choices == ["value", "disagreement", "error", "loss"]
    expected = {
        "value": run.x.norm(dim=1),
        "disagreement": (run.x - run.x.mean(0)).norm(dim=1).log10(),
        "error": (run.x - run.problem.optimum).norm(dim=1).log10(),
        "loss": run.problem.loss(run.x, range(9)),
    }
    for what, numbers in expected.items():
        say(network, messages.Colour(what))
        np.testing.assert_allclose(sent(network)[-1].values, numbers, rtol=1e-5)
    network.follow(run, "loss")
    assert sent(network)[-1].what == "loss"
    say(network, messages.Colour("weather"))
    assert sent(network)[-1].what == "loss"


def test_an_edge_drawn_is_an_edge_of_the_run_that_is_followed():
    run = ifog.run("dgd", "quadratic", n=6, topology="ring", steps=10**9, lr=0.05, wait=False)
    network = Network(run)
    try:
        say(network, messages.Moved(network._version, 2, 0.1, 0.2))
        edit(network, "add_edge", 0, 3)
        wait_until(lambda: sent(network)[0].version == 2)
        assert network.topology.messages == 14
        assert run.topology is network.topology
        assert network._places[2].tolist() == [0.1, 0.2]
        wait_until(lambda: run.marks)
        edit(network, "add_node", x=0.5, y=0.5)  # which no run can do
        wait_until(lambda: "6" in sent(network)[0].note)
        assert network.topology.n == 6
        run.topology = "complete"
        wait_until(lambda: network.topology.messages == 30)
    finally:
        run.stop()
        run.wait()
    wait_until(lambda: network._colouring.round == run.iteration)
    edit(network, "remove_edge", 0, 3)  # now it is over, and only the drawing changes
    assert (network.topology.messages, run.topology.messages) == (28, 30)


def test_a_page_does_not_wait_while_engines_are_asked_what_their_nodes_hold():
    asked, answered = threading.Event(), threading.Event()

    class Elsewhere(Run):
        def watch(self, on=True):
            asked.set()
            assert answered.wait(20)

    run = Elsewhere("far", None)
    run._topology, run.status = t.ring(4), "running"
    network = Network(run)
    assert asked.wait(20)
    say(network, messages.Arrange("grid"))
    assert sent(network)[0].layout == "grid"
    assert not answered.is_set()
    answered.set()
    network.close()


def test_only_runs_that_fit_are_followed():
    run = ifog.run("dgd", "quadratic", n=4, topology="ring", steps=1, lr=0.05)
    with pytest.raises(ArgumentError, match="has 4 nodes, and 5 are drawn"):
        Network(t.ring(5)).follow(run)
    with pytest.raises(ArgumentError, match="colour='weather': of dgd on ring\\(4\\) it can be 'value', 'disagreement'"):
        Network(run).follow(run, "weather")
    with pytest.raises(ArgumentError, match="is no run"):
        Network(t.ring(4)).follow(t.ring(4))
    with pytest.raises(ArgumentError, match="has no topology yet"):
        Network(Run("later", 10))


# ---- how seldom --------------------------------------------------------------------------------------------------------


def test_a_flood_becomes_a_trickle_that_ends_with_the_newest():
    arrived, quiet = [], threading.Event()
    sender = Sender(lambda message: arrived.append((time.perf_counter(), message)), per_second=30, when_quiet=quiet.set)
    for k in range(20_000):
        sender.offer(k)
    deadline = time.perf_counter() + 10
    while (not arrived or arrived[-1][1] != 19_999) and time.perf_counter() < deadline:
        time.sleep(0.01)
    assert arrived[-1][1] == 19_999
    times = np.array([when for when, _ in arrived])
    assert np.diff(times).min(initial=1) > 1 / 31
    assert quiet.wait(10)
    assert sender._thread is None


def test_kinds_do_not_push_each_other_out():
    arrived = []
    sender = Sender(arrived.append, per_second=1000, when_quiet=lambda: None)
    sender.offer("text")
    sender.offer(1)
    while len(arrived) < 2:
        time.sleep(0.001)
    assert set(arrived) == {"text", 1}


def test_nothing_is_sent_when_the_last_view_is_closed(monkeypatch):
    network, arrived = Network(t.ring(4)), []
    monkeypatch.setattr(network, "send", lambda *message: arrived.append(message))
    network._send_now(messages.Places("grid", np.zeros(8)))
    say(network, messages.Watched(0, False))
    network._send_now(messages.Places("grid", np.zeros(8)))
    assert len(arrived) == 1
    say(network, messages.Watched(1, False))
    network._send_now(messages.Places("grid", np.zeros(8)))
    assert len(arrived) == 2


def test_the_saved_picture_is_renewed_but_not_under_somebodys_hand():
    class Handle:
        pictures = 0

        def update(self, bundle, *, metadata, raw):
            assert raw
            self.pictures += "image/png" in bundle

    network, handle = Network(t.ring(4)), Handle()
    network._handles.append(handle)
    say(network, messages.Watched(1, True))
    network._renew_pictures()
    assert handle.pictures == 0
    say(network, messages.Watched(1, False))
    assert handle.pictures == 1
    say(network, messages.Watched(1, False))
    assert handle.pictures == 1


# ---- drawn with the mouse ----------------------------------------------------------------------------------------------


def test_unchanged_it_gives_back_what_it_was_given():
    given = t.lazy(t.ring(6))
    assert Network(given).topology is given


def test_an_edge_drawn_is_an_edge_with_metropolis_weights():
    network = Network(t.ring(6))
    edit(network, "add_edge", 0, 3)
    expected = t.metropolis(nx.Graph([*nx.cycle_graph(6).edges, (0, 3)]))
    np.testing.assert_allclose(network.topology.W, expected.W)
    edit(network, "add_edge", 3, 0)  # it is there
    assert network.topology.messages == 14
    edit(network, "remove_edge", 3, 0)
    np.testing.assert_allclose(network.topology.W, t.metropolis(nx.cycle_graph(6)).W)


def test_nodes_come_with_their_place_and_go_with_their_edges():
    network = Network(t.ring(5), values=[0, 1, 2, 3, 4])
    edit(network, "add_node", x=0.25, y=0.75)
    assert network.topology.n == 6
    assert not network.topology.connected
    assert network._places[5].tolist() == [0.25, 0.75]
    assert np.isnan(network._colouring.values[5])
    edit(network, "add_edge", 5, 0)
    assert network.topology.connected
    edit(network, "remove_node", 2)
    assert network.topology.n == 5
    assert network._colouring.values.tolist()[:4] == [0, 1, 3, 4]
    assert sorted(map(tuple, network.topology.edges.tolist())) == sorted(
        [(0, 1), (1, 0), (2, 3), (3, 2), (3, 0), (0, 3), (4, 0), (0, 4)]
    )


def test_an_edge_of_a_directed_topology_has_one_direction():
    network = Network(t.directed_ring(5))
    edit(network, "add_edge", 0, 2)
    assert network.topology.directed
    assert network.topology.out_neighbors(0).tolist() == [1, 2]
    assert network.topology.in_neighbors(0).tolist() == [4]
    assert network.topology.column_stochastic


def test_what_is_dragged_stays_there():
    network = Network(t.ring(4))
    say(network, messages.Moved(network._version, 2, 0.1, 0.2))
    assert network._places[2].tolist() == [0.1, 0.2]
    edit(network, "add_edge", 0, 2)
    assert network._places[2].tolist() == [0.1, 0.2]
    say(network, messages.Arrange("grid"))
    assert network._places[0].tolist() == [0, 0]


@pytest.mark.parametrize(
    "message",
    [
        {},
        None,
        {"type": "values"},
        {"type": "edit", "version": 1, "what": "add_edge"},
        {"type": "edit", "version": 1, "what": "add_edge", "a": "0", "b": 2, "x": 0, "y": 0},
        {"type": "edit", "version": 1, "what": "add_edge", "a": 0, "b": 99, "x": 0, "y": 0},
        {"type": "edit", "version": 1, "what": "add_edge", "a": 1, "b": 1, "x": 0, "y": 0},
        {"type": "edit", "version": 1, "what": "explode", "a": 0, "b": 2, "x": 0, "y": 0},
        {"type": "edit", "version": 0, "what": "add_edge", "a": 0, "b": 2, "x": 0, "y": 0},
        {"type": "moved", "version": 1, "node": 99, "x": 0, "y": 0},
        {"type": "arrange", "layout": "upside down"},
    ],
    ids=str,
)
def test_nonsense_from_a_page_changes_nothing(message):
    given = t.ring(4)
    network = Network(given)
    network._received(network, message, [])
    assert network.topology is given


def test_a_schedule_and_a_single_node_cannot_be_taken_apart():
    for given in (t.one_peer_exponential(8), t.ring(1)):
        network = Network(given)
        edit(network, "remove_node", 0)
        assert network.topology is given


def test_another_topology_can_be_shown():
    network = Network(t.ring(4), values=range(4))
    network.topology = t.complete(4)
    assert [type(message) for message in sent(network)] == [messages.Graph, messages.Values]
    network.topology = t.complete(7)
    assert [type(message) for message in sent(network)] == [messages.Graph]


# ---- large ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [100_000, 30_000])
def test_too_many_nodes_are_drawn_as_blocks_and_it_says_so(n):
    network = Network(t.ring(n), values=np.arange(n))
    blocks, values = sent(network)
    assert isinstance(blocks, messages.Blocks)
    assert f"{n:,} nodes" in blocks.note
    assert len(blocks.shades) == blocks.cells**2
    assert len(values.values) <= blocks.columns**2
    assert values.values.mean() == pytest.approx((n - 1) / 2, rel=1e-3)
    ElementTree.fromstring(network.snapshot())


def test_too_many_edges_are_blocks_as_well():
    assert isinstance(sent(Network(t.complete(700)))[0], messages.Blocks)


def test_squares_are_means_of_neighbours():
    values = np.arange(2.0 * 256**2)
    assert drawing.squares(values)[:3].tolist() == [0.5, 2.5, 4.5]


# ---- the picture that stays ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", SHOWN, ids=lambda schedule: schedule.label)
def test_a_snapshot_is_a_picture_with_a_disc_for_each_node(schedule):
    picture = Network(schedule, values=np.arange(schedule.n)).snapshot()
    root = ElementTree.fromstring(picture)
    svg = "{http://www.w3.org/2000/svg}"
    assert root.get("aria-label") == schedule.label
    assert len(root.findall(f"{svg}circle")) == schedule.n
    assert not re.search(r"\b(nan|inf|None)\b", re.sub(r"base64,[^\"]*", "", picture))


def test_what_is_no_number_has_a_colour_of_its_own():
    picture = Network(t.ring(3), values=[0, np.nan, np.inf]).snapshot()
    assert picture.count("#b0b4bb") == 2


def test_a_saved_notebook_holds_the_picture_and_the_text():
    network = Network(t.ring(8))
    data, metadata = network._repr_mimebundle_()
    assert data["text/plain"] == "<network ring(8): ρ = 0.8047, degree 2, symmetric, doubly stochastic>"
    assert base64.b64decode(data["image/png"]) == network.snapshot("png")
    assert metadata["image/png"]["width"] == 660
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == network.model_id
    network.close()
    assert network._bundle()[0].keys() == {"text/plain", "image/png"}  # no view any more, but still a picture


def test_a_picture_goes_to_a_file_of_any_form(tmp_path):
    network = Network(t.ring(8), values=range(8))
    for form, begin in (("svg", b"<svg "), ("png", b"\x89PNG\r\n"), ("html", b"<!doctype html>")):
        network.save(tmp_path / f"ring.{form}")
        written = (tmp_path / f"ring.{form}").read_bytes()
        assert written.startswith(begin)
        made = network.snapshot(form)
        assert written == (made if form == "png" else made.encode())
    with pytest.raises(ArgumentError, match=r"a name that ends in one of \.svg, \.png, \.html"):
        network.save(tmp_path / "ring.jpg")
    with pytest.raises(ArgumentError, match="form='pdf': one of 'svg', 'png', 'html'"):
        network.snapshot("pdf")


def test_a_png_has_its_letters_with_it_and_twice_the_pixels():
    def image(text):
        return picture.png(picture.svg(40, 20, "", f'<text x="2" y="15">{text}</text>'))

    empty = image("")
    assert int.from_bytes(empty[16:20]) == picture.ZOOM * picture.width(empty) == 80
    for letter in "aρ−²→∞≤x̄‖é":  # a letter that is missing leaves nothing behind
        assert len(image(letter)) > len(empty), letter


# ---- bad input -----------------------------------------------------------------------------------------------------------


def test_what_cannot_be_shown_is_refused_with_a_reason():
    with pytest.raises(TopologyError, match="topology=7"):
        Network(7)
    with pytest.raises(ArgumentError, match=r"shape \(3,\): one number for each of the 8 nodes of ring\(8\)"):
        Network(t.ring(8), values=[1, 2, 3])
    network = Network(t.ring(8))
    with pytest.raises(ArgumentError, match="one number, or the name of a state, for each of the 8 nodes"):
        network.show(["a"] * 7)
    with pytest.raises(ArgumentError, match="there are 9 states, and colours for 8"):
        Network(t.ring(9), values=list("abcdefghi"))
    with pytest.raises(ArgumentError, match="one number for each"):
        network.show(3)
    for wrong in (-1, 1.5, True):
        with pytest.raises(ArgumentError, match="counted from 0"):
            network.show(np.zeros(8), round=wrong)
    with pytest.raises(ArgumentError, match="layout='upside down': one of 'natural', 'circle'"):
        Network(t.ring(8), layout="upside down")
    with pytest.raises(ArgumentError, match="layout='by machine': one of 'natural'"):
        Network(t.ring(8), layout="by machine")  # nobody has said which node is where
    for wrong in (0, 9, True, [0, 1], "one"):
        with pytest.raises(
            ArgumentError, match=r"machines=.*: how many machines share the 8 nodes, from 1 to 8, or a list with"
        ):
            Network(t.ring(8), machines=wrong)
