"""The three ways to ρ are chosen by the size; tests may choose another."""

import pytest

from ifog.topology import spectrum


@pytest.fixture
def sparse_road(monkeypatch):
    """Sparse solvers from 60 nodes on, so that dense ones can check them."""
    monkeypatch.setattr(spectrum, "DENSE", 60)
