"""How nodes exchange tensors: simulated in one process, or on the ranks of an MPI world."""

from .clock import Clock as Clock
from .clock import exponential as exponential
from .clock import straggling as straggling
from .effects import Effect as Effect
from .effects import cut as cut
from .effects import lose as lose
from .effects import noise as noise
from .mailbox import Node as Node
from .network import Network as Network
