"""What the nodes minimise together: f(x) = (1/n) Σ_i f_i(x), with what is known of it.

>>> from ifog import problems
>>> p = problems.least_squares(16)
>>> p
least_squares(16): d = 10, 30 samples per node, L = 2.714, μ = 0.744, b² = 10.65
>>> nodes = range(p.n)
>>> x = p.start(nodes)  # one row for each node
>>> for k in range(100):
...     x = x - 0.3 * p.gradient(x, nodes).mean(0)  # gradient descent of one who knows them all
>>> bool((x - p.optimum).abs().max() < 1e-9)
True
"""

# ruff: noqa: I001  (in the order of teaching, which is also the order of `all()`)

from . import partition as partition
from .contract import Batch as Batch
from .contract import Problem as Problem
from .averaging import averaging as averaging
from .quadratic import quadratic as quadratic
from .least_squares import least_squares as least_squares
from .logistic import logistic as logistic
from .lasso import lasso as lasso
from .digits import digits as digits
from .own import from_function as from_function
from .own import from_gradient as from_gradient
from .register import all as all  # noqa: A004
from .register import make as make
from .register import problem as problem
