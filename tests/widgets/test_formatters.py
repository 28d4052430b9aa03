"""What IPython is told of widgets."""

from types import SimpleNamespace

import pytest
from IPython.core.formatters import DisplayFormatter

from ifog import topology as t
from ifog.experiment import Comparison, Run
from ifog.widgets import convergence, formatters, network


@pytest.fixture
def shell():
    return SimpleNamespace(display_formatter=DisplayFormatter())


@pytest.mark.parametrize("shown", [t.ring(4), t.one_peer_exponential(4), t.ceca(5)], ids=lambda schedule: schedule.label)
def test_topologies_and_schedules_are_shown_by_their_widget(shell, shown, monkeypatch):
    displayed = []
    monkeypatch.setattr(network.Network, "_ipython_display_", lambda widget: displayed.append(widget.topology))
    assert shell.display_formatter.format(shown)[0]["text/plain"]
    assert displayed == []
    formatters.register(shell)
    assert shell.display_formatter.format(shown) == ({}, {})
    assert displayed == [shown]


def test_a_run_is_shown_by_its_curve(shell, monkeypatch):
    displayed = []
    monkeypatch.setattr(convergence.Convergence, "_ipython_display_", lambda widget: displayed.append(widget.runs))
    formatters.register(shell)
    run = Run("mine", None)
    run.status = "done"
    for shown in (run, Comparison([run])):
        assert shell.display_formatter.format(shown) == ({}, {})
    assert displayed == [[run], [run]]


def test_outside_a_notebook_nothing_is_registered(monkeypatch):
    monkeypatch.setattr(formatters, "register", pytest.fail)
    formatters.register_if_in_a_notebook()
