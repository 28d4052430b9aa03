"""Starts, watches and stops the engines that a notebook runs on.

``ifog start -np 8`` in a terminal, then ``%load_ext ifog`` in a notebook; the same from Python with `Cluster` and `connect`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
