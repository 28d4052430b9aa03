"""The tour: what it computes is right, and its page needs nothing but itself."""

import math
import re
import subprocess
import sys
from itertools import islice

import numpy as np
import pytest
from loads import Loads
from rich.console import Console

from ifog import topology as t
from ifog.errors import TopologyError, TopologyWarning
from ifog.topology import cost
from ifog.widgets import tour


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """The page of a tour among 12 nodes."""
    place = tmp_path_factory.mktemp("tour") / "page.html"
    tour.main(["--n", "12", "--output", str(place)])
    return place.read_text(encoding="utf-8")


def test_the_page_loads_nothing(shown):
    page = Loads(shown)
    assert all(address.startswith(("data:", "#")) for address in page.addresses), page.addresses
    assert "@import" not in page.styles
    assert "url(" not in page.styles
    assert {"convergence", "spectrum", "cost"} <= set(page.identifiers)
    assert shown.count("plotly.js v") == 1


def test_the_page_shows_every_family_that_allows_the_size(shown):
    drawings = set(re.findall(r'role="img" aria-label="(\w+)\(', shown))
    allowed = set()
    for name, family in t.families().items():
        try:
            family(12)
        except TopologyError:
            continue
        except TopologyWarning:  # allowed, but perhaps not what was meant
            pass
        allowed.add(name)
    assert drawings == allowed
    assert {"hypercube", "one_peer_hypercube"} & drawings == set()


@pytest.mark.parametrize("n", [2, 3, 5, 31])
def test_every_size_has_its_tour(n, tmp_path, capsys):
    tour.main(["--n", str(n), "--output", str(tmp_path / "page.html")])
    assert f"among {n} nodes" in capsys.readouterr().out


def test_a_refused_size_is_named_with_its_reason():
    made, refusals = tour.members(12)
    assert len(made) + len(refusals) == len(t.families())
    assert any("hypercube(n=12): n must be a power of two" in refusal for refusal in refusals)


@pytest.mark.parametrize("n", [2, 3, 16, 100])
def test_ceca_is_measured_to_need_the_rounds_that_its_theory_says(n):
    assert tour.rounds_until(t.ceca(n), tour.noise(n)) == math.ceil(math.log2(n))


@pytest.mark.parametrize("family", [t.one_peer_exponential, t.one_peer_hypercube])
@pytest.mark.parametrize("d", [1, 4, 7])
def test_one_peer_graphs_are_measured_to_be_exact_after_log2_n_rounds(family, d):
    row = tour.measure(family(2**d))
    assert row.measured == row.exact == d


def test_a_run_stays_below_its_worst_case_and_approaches_its_rate():
    for schedule in (t.ring(12), t.exponential(16), t.grid(12)):
        left = np.array(list(islice(tour.errors(schedule, tour.noise(schedule.n)), 60)))
        assert (left <= schedule.rho ** np.arange(60) * (1 + 1e-9) + 1e-14).all()
    ring = list(islice(tour.errors(t.ring(12), tour.noise(12)), 200))
    assert ring[-1] / ring[-2] == pytest.approx(t.ring(12).rho, rel=1e-6)


def test_a_slow_topology_is_given_up(monkeypatch):
    monkeypatch.setattr(tour, "PATIENCE", 10)
    row = tour.measure(t.ring(64))
    assert row.measured is None
    console = Console(width=100)
    with console.capture() as said:
        console.print(tour.table([row], 64))
    assert ">0.01k" in said.get()


def test_the_race_ends_as_it_does_in_the_literature():
    """4900 nodes to one millionth: CECA is exact, OD-EquiDyn beats the exponential graph, which beats its one-peer form."""
    finish = {name: tour.race(name, rounds=90).finish for name in tour.RACE}
    assert finish["CECA"] == 13
    assert finish["ring"] is finish["grid"] is None
    assert 30 < finish["OD-EquiDyn"] < 45 < finish["static exponential"] < 70 < finish["one-peer exponential"] < 85


@pytest.mark.parametrize("n", [2, 8, 100])
def test_the_cost_chart_agrees_with_the_cost_of_real_topologies(n):
    seconds = tour.exchange_seconds(n, 1e6)
    assert seconds["static exponential"] == pytest.approx(cost.round_time(t.exponential(n), 1e6))
    assert seconds["one-peer gossip"] == pytest.approx(cost.round_time(t.ceca(n), 1e6))


def test_the_table_fits_in_80_columns():
    console = Console(width=80)
    with console.capture() as said:
        console.print(tour.table([tour.measure(schedule) for schedule in tour.members(64)[0]], 64))
    lines = said.get().splitlines()
    assert max(map(len, lines)) <= 80
    assert "…" not in said.get()
    for name in t.families():
        assert sum(line.split()[:1] == [name] for line in lines) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--n", "1"], "between 2 and 1000"), (["--output", "no/such/folder/tour.html"], "there is no folder")],
)
def test_bad_arguments_are_named(arguments, message, capsys):
    with pytest.raises(SystemExit) as end:
        tour.main(arguments)
    assert end.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_the_tour_writes_its_page(tmp_path):
    run = subprocess.run(
        [sys.executable, "-W", "error", "-m", "ifog.widgets.tour"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "tour.html").stat().st_size > 1_000_000
    assert "tour.html" in run.stdout
    assert "make lab" in run.stdout
    assert max(map(len, run.stdout.splitlines())) <= 100
