"""The same tests on every rank, in the same order: ``mpiexec -n 8 python -m pytest tests/comm/spmd``.

After each phase of a test the ranks agree on how it went. If one fails, all do, rank 0 prints whose failure it was, and the
next test starts in a new epoch. A run of pytest that mpiexec has not started leaves these tests to ``test_spmd.py`` beside
this folder, unless they are asked for by name; then it is a world of one rank.
"""

import os
from pathlib import Path

import pytest

HERE = Path(__file__).parent
STARTED = any(name in os.environ for name in ("PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK"))


def here(config):
    """Whether the tests of this folder run in this process."""
    named = (Path(config.invocation_params.dir, argument.partition("::")[0]) for argument in config.args)
    return STARTED or any(path.resolve().is_relative_to(HERE) for path in named)


def pytest_ignore_collect(config):
    return None if here(config) else True


@pytest.hookimpl(trylast=True)
def pytest_configure(config):
    if STARTED:
        import pretended

        import ifog

        pretended.begin()
        if ifog.rank() > 0:
            config.pluginmanager.unregister(name="terminalreporter")


def pytest_report_header(config):
    if here(config):
        import ifog

        machines = "one machine" if ifog.machine_size() == 1 else f"{ifog.machine_size()} machines"
        return f"ranks: {ifog.size()} on {machines}"
    return None


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item, call):
    from agreement import agreed, failing

    report = yield
    error = call.excinfo.value if report.failed else None
    if error is not None:
        failing(error)
    problem = agreed(error, report.longreprtext if report.failed else None, f"{report.when} of {item.nodeid}")
    if problem:
        report.outcome, report.longrepr = "failed", problem
    return report


@pytest.fixture(autouse=True)
def _from_the_beginning():
    """Every test starts with the topologies that a session starts with, in their first round."""
    import ifog

    ifog.set_topology(ifog.topology.exponential(ifog.size()))
    ifog.set_machine_topology(ifog.topology.exponential(ifog.machine_size()))
