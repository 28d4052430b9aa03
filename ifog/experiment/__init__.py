"""Running methods: recorded, watched and steered while they run, kept in files, repeated and compared."""

from .asynchronous import Asynchronous as Asynchronous
from .compared import Comparison as Comparison
from .compared import compare as compare
from .compared import repeat as repeat
from .drive import run as run
from .history import History as History
from .live import Run as Run
from .live import runs as runs
from .loop import Loop as Loop
from .loop import loop as loop
from .lr_schedule import LrSchedule as LrSchedule
from .place import Mirror as Mirror
from .place import Place as Place
from .place import Report as Report
from .place import report as report
from .place import steer as steer
from .steering import Command as Command
