# The public names of ifog.course: type checkers read them here, and `__init__.py` loads each when it is first used.
from .checking import Verdict as Verdict
from .checking import check as check
from .exercise import exercises as exercises
from .figures import averaging as averaging
from .figures import ink as ink
from .figures import learning_the_bias as learning_the_bias
from .figures import parking as parking
from .predictions import predict as predict
