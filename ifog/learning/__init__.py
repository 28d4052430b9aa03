"""Training deep networks: a model's parameters as one vector, which any method of `ifog.algorithms` carries on."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
