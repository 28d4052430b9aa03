"""The course's own tools: exercises that are checked, and the figures with which its chapters open.

In a notebook of `tutorials/`::

    from ifog.course import check

    check("3.1", ring_rho)  # a function of yours
    check("0.2")  # a function that a %%px cell has defined on the engines
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
