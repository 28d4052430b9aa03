"""Clusters to try things on: shared ones, and ones after which nothing may be left."""

import os
import time

import pytest
from engines_and_notebooks import Notebook, orphans, processes, until

from ifog.cluster import Cluster
from ifog.cluster.home import Home

collect_ignore_glob = ["*conftest.py"]  # for doctests each would be a module of one name


@pytest.fixture(scope="session")
def ipython(tmp_path_factory):
    """An IPython folder of our own."""
    folder = tmp_path_factory.mktemp("ipython")
    before = os.environ.get("IPYTHONDIR")
    os.environ["IPYTHONDIR"] = str(folder)
    yield folder
    for home in (Home(), Home(cluster_id="other")):
        if home.held:
            Cluster.of(home).stop()
    if before is None:
        del os.environ["IPYTHONDIR"]
    else:
        os.environ["IPYTHONDIR"] = before
    deadline = time.monotonic() + 30
    while left := processes(folder):
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


@pytest.fixture
def clean(ipython):
    """Whatever happens in a test, afterwards nothing is left: no process, and no file that the next start meets."""
    before = orphans()
    yield ipython
    for home in (Home(), Home(cluster_id="other")):
        if home.held:
            Cluster.of(home).stop()
        assert home.read() is None
        assert not home.client_file.exists()
    until(lambda: not processes(ipython))
    assert not orphans() - before


@pytest.fixture(scope="session")
def _lasting(ipython):
    """A cluster and a notebook that many tests share."""
    kept = {}
    yield kept
    if "notebook" in kept:
        kept["notebook"].close()


@pytest.fixture
def engines(ipython):
    """A cluster of 4 engines, running."""
    cluster = Cluster(4)
    if not cluster.home.held:
        cluster.start()
    elif cluster.trouble():
        cluster.restart()
    yield cluster
    cluster.close()


@pytest.fixture
def four(engines, _lasting, tmp_path_factory):
    """A cluster of 4 engines, running, and a notebook that is connected to it."""
    if "notebook" not in _lasting:
        _lasting["notebook"] = Notebook(tmp_path_factory.mktemp("notebook"))
        _lasting["notebook"].good("%load_ext ifog")
    _lasting["notebook"].good("%px import ifog, torch, os, time")
    return engines, _lasting["notebook"]
