"""What the nodes minimise together, and who gets which samples."""

from . import partition as partition
