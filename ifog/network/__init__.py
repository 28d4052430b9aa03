"""How nodes exchange tensors: simulated in one process, or on the ranks of an MPI world."""

from .network import Network as Network
