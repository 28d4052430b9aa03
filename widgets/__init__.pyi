# The public names of ifog.widgets: type checkers read them here, and `__init__.py` loads each when it is first used.
from .bench import LabBench as LabBench
from .cluster import Cluster as Cluster
from .convergence import Convergence as Convergence
from .data import Data as Data
from .network import Network as Network
from .playground import Playground as Playground
from .race import Race as Race
from .timeline import Timeline as Timeline
