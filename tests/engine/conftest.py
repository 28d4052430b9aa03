"""Engines that plain ipyparallel has started, shared by the tests of this folder."""

import pytest
from plain_engines import Engines


@pytest.fixture(scope="session")
def clusters(tmp_path_factory):
    """The clusters that are running. A test may leave one broken: the next one gets another."""
    running = {}

    def get(n, **environment):
        key = n, *environment.items()
        if key in running and not running[key].healthy():
            running.pop(key).stop()
        if key not in running:
            running[key] = Engines(n, tmp_path_factory.mktemp("engines"), **environment)
            running[key].good("%load_ext ifog.engine\nimport ifog", timeout=60)
        return running[key]

    yield get
    for engines in running.values():
        engines.stop()


@pytest.fixture
def four(clusters):
    """A cluster of 4 engines."""
    return clusters(4)


@pytest.fixture(
    params=[
        "4",
        pytest.param("8", marks=pytest.mark.slow),
        pytest.param("4 on two machines", marks=pytest.mark.slow),
    ]
)
def engines(request, clusters):
    """Clusters on which the same must hold."""
    n = int(request.param[0])
    return clusters(n, IFOG_NODES_PER_MACHINE="2") if "machines" in request.param else clusters(n)
