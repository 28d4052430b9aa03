# The public names of ifog, in one place: type checkers read them here, and `__init__.py` loads each when it is first used.
from . import errors as errors
from . import topology as topology
from .errors import IfogError as IfogError
from .topology import Schedule as Schedule
from .topology import Topology as Topology

__version__: str
