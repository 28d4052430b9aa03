"""The exercises, a file for each chapter."""

from . import chapter_0 as chapter_0
from . import chapter_3 as chapter_3
from . import chapter_4 as chapter_4
from . import chapter_7 as chapter_7
from . import chapter_8 as chapter_8
