"""The README's picture of who has which samples, from the repository root: ``python docs/data.py``."""

from pathlib import Path

from ifog.learning import data, partition
from ifog.widgets import Data

if __name__ == "__main__":
    train, _ = data.digits()
    Data(partition(train, 8, alpha=0.1)).save(Path(__file__).with_name("data.png"))
