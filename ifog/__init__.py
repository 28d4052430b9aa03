"""ifog: decentralized learning taught, tried and shown in a notebook.

The public names stand in ``__init__.pyi``. Each is imported when it is first used, so that ``import ifog`` is instant and
brings neither torch nor MPI.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__version__ = "0.1.0"
