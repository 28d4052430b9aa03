"""Every method of the field, each a short function that reads like its formula."""

from .descent import dgd as dgd
from .method import REQUIRED as REQUIRED
from .method import Gradient as Gradient
from .method import Memory as Memory
from .method import Method as Method
from .method import all as all
from .method import counts as counts
from .method import find as find
from .method import messages as messages
from .method import method as method
from .method import ones as ones
from .method import start as start
from .method import zeros as zeros
