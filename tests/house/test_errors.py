"""One tree of errors."""

import inspect

from ifog import IfogError, errors


def test_every_error_and_warning_hangs_on_its_tree():
    classes = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if cls.__module__ == errors.__name__]
    assert all(issubclass(cls, errors.IfogError | errors.IfogWarning) for cls in classes)
    assert errors.IfogError is IfogError


def test_the_drawing_of_the_tree_is_complete():
    for name, cls in inspect.getmembers(errors, inspect.isclass):
        if cls.__module__ == errors.__name__:
            assert name in errors.__doc__


def test_a_topology_error_is_a_value_error():
    assert issubclass(errors.TopologyError, ValueError)
