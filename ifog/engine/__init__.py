"""Inside an engine: a cell that fails, is interrupted or never began releases the other ranks, and no reply is ever lost.

The engines of ``ifog start`` have all of it from their beginning. In those that plain ipyparallel has started ::

    %%px
    %load_ext ifog.engine

makes the kernel of each tell `ifog.comm.cell` when user code begins and ends, however it arrives (a cell, silent or not, with
``await`` or without; ``apply`` and what is built on it), guards it against stray interrupts, and calls `ifog.init`. `install`
does the same as a function, and `uninstall` undoes it.

What a program says while it computes, `publish` and `show` send to whoever listens.
"""

import lazy_loader

# `binding` must run before numpy is imported, which everything else here brings
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
