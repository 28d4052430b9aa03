"""What a terminal and a notebook show."""

import re
from xml.etree import ElementTree

import networkx as nx
import numpy as np
import pytest
from topology_claims import CLAIMS, label, quiet, undirected_edges

from ifog import topology as t
from ifog.topology import draw

SHOWN = [(name, n) for name, claim in CLAIMS.items() for n in (1, 2, 7, 16, 64, 300) if claim.allowed(n)]
SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize(("name", "n"), SHOWN)
def test_every_family_shows_itself(name, n):
    schedule = quiet(t.make, name, n)
    line = repr(schedule)
    assert line.startswith(f"{name}({n}")
    assert "\n" not in line
    assert len(line) < 140
    picture = schedule._repr_svg_()
    root = ElementTree.fromstring(picture)
    assert root.tag == SVG + "svg"
    assert root.get("aria-label") == schedule.label
    page = ElementTree.fromstring(schedule._repr_html_())
    assert schedule.label in "".join(page.itertext())
    for text in (line, picture, schedule._repr_html_()):
        assert not re.search(r"\b(nan|NaN|inf|None)\b", text.split("base64")[0])


@pytest.mark.parametrize(
    ("schedule", "said"),
    [
        (t.ring(8), ["ring(8)", "ρ = 0.8047", "degree 2", "symmetric", "doubly stochastic"]),
        (t.exponential(8), ["ρ = 0.5", "degree 3", "directed", "doubly stochastic"]),
        (t.uniform(t.star(4)), ["uniform(star(4))", "row stochastic"]),
        (t.push(t.star(4)), ["push(star(4))", "column stochastic"]),
        (t.one_peer_exponential(8), ["period 3", "degree 1", "exact in 3 rounds"]),
        (t.od_equidyn(8, eta=0.25), ["od_equidyn(8, eta=0.25", "never repeats"]),
        (t.chain(500), ["1 − ρ = 1.32e-05"]),
        (t.Topology(np.eye(2), connected=False), ["not connected"]),
        (t.complete(16), ["ρ = 0,"]),
        (t.ring(3), ["ρ = 0,"]),
    ],
    ids=label,
)
def test_a_line_says_what_matters(schedule, said):
    line = repr(schedule)
    assert all(fact in line for fact in said), line


@pytest.mark.parametrize("name", ["ring", "chain", "exponential", "ceca", "base_graph", "random_matching", "od_equidyn"])
def test_a_million_nodes_are_a_short_line(name):
    schedule = quiet(t.make, name, 10**6 if name in ("ring", "chain", "ceca") else 10**5)
    line = repr(schedule)
    assert "\n" not in line
    assert len(line) < 120


def drawn(schedule, kind):
    return list(ElementTree.fromstring(schedule._repr_svg_()).iter(SVG + kind))


@pytest.mark.parametrize(
    "topology", [t.ring(8), t.star(9), t.grid(12), t.binary_tree(15), t.torus(16), t.complete(6)], ids=label
)
def test_every_node_and_every_edge_is_drawn_once(topology):
    assert len(drawn(topology, "circle")) == topology.n
    assert len(drawn(topology, "path")) == len(undirected_edges(topology))
    assert not drawn(topology, "polygon")


def test_arrows_have_heads():
    assert len(drawn(t.directed_ring(8), "polygon")) == len(drawn(t.directed_ring(8), "path")) == 8


def test_a_schedule_shows_its_first_rounds_side_by_side():
    texts = ["".join(node.itertext()) for node in drawn(t.one_peer_exponential(64), "text")]
    assert [text for text in texts if text.startswith("round")] == ["round 0", "round 1", "round 2", "round 3"]
    assert "…" in texts
    assert len(drawn(t.one_peer_exponential(8), "circle")) == 24


def test_a_large_graph_is_a_small_picture_of_its_matrix():
    picture = t.ring(10**5)._repr_svg_()
    assert "data:image/png;base64," in picture
    assert len(picture) < 20_000


@pytest.mark.parametrize(
    "graph",
    [
        nx.star_graph(6),
        nx.path_graph(5),
        nx.balanced_tree(3, 2),
        nx.grid_2d_graph(3, 4),
        nx.barbell_graph(3, 2),
        nx.empty_graph(1),
    ],
)
def test_nodes_are_drawn_apart_and_inside_the_picture(graph):
    points = draw.layout(t.metropolis(graph))
    assert points.shape == (len(graph), 2)
    assert points.min() >= -1e-12
    assert points.max() <= 1 + 1e-12
    apart = np.linalg.norm(points[:, None] - points[None], axis=2) + np.eye(len(points))
    assert apart.min() > 0.05


def test_positions_and_grids_are_drawn_where_they_are():
    field = t.geometric(30, seed=1)
    drawn_at = draw.layout(field)
    assert np.corrcoef(drawn_at[:, 0], field.positions[:, 0])[0, 1] == pytest.approx(1)
    grid = draw.layout(t.grid(12))
    assert np.ptp(grid[:4, 1]) == pytest.approx(0)  # the first row of four lies on one line


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", 'a"b', "a&b"])
def test_names_are_shown_as_text_not_as_markup(name):
    topology = t.Topology([[0.5, 0.5], [0.5, 0.5]], name=name)
    for text in (topology._repr_svg_(), topology._repr_html_()):
        ElementTree.fromstring(text)
        assert "<script" not in text
    assert ElementTree.fromstring(topology._repr_svg_()).get("aria-label") == name
    assert name in "".join(ElementTree.fromstring(topology._repr_html_()).itertext())


@pytest.mark.parametrize("n", [3, 200])
def test_a_round_without_messages_can_be_drawn(n):
    idle = t.Topology(np.eye(n), connected=False)
    assert not drawn(idle, "path")
    ElementTree.fromstring(idle._repr_html_())


def test_a_graph_without_weights_shows_itself():
    plain = t.Graph(t.ring(5).pattern, name="plain", connected=True)
    assert repr(plain).startswith("plain")
    assert "degree 2" in repr(plain)
    assert len(drawn(plain, "circle")) == 5
    assert "plain" in plain._repr_html_()


def test_a_large_graph_without_edges_can_be_drawn():
    ElementTree.fromstring(
        t.Graph(t.Topology(np.eye(300), connected=False).pattern, name="empty", connected=False)._repr_svg_()
    )
