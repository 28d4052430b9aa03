"""What a person sees: pages, pictures and live views of what ifog runs.

In a notebook, once this is imported, topologies and runs are shown by their widgets. The public names stand in
``__init__.pyi`` and are imported when they are first used.
"""

import lazy_loader

from . import formatters as formatters

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

formatters.register_if_in_a_notebook()
