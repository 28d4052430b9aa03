"""Measurements: how long things take, beside what others take for the same."""
