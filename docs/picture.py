"""The second picture in the README: the top of the tour's page, taken by a headless Chromium.

From the repository root, with ``chromium`` (or Chrome) and the font Inter installed (on Debian the
packages chromium, fonts-inter and fonts-dejavu-core; other fonts move the lower edge)::

    python -m ifog.widgets.tour && python docs/picture.py tour.html docs/tour.png
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

WIDTH, HEIGHT = 1180, 1378  # down to the end of the first row of drawings
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --hide-scrollbars --virtual-time-budget=5000"
)  # the virtual time lets the figures finish


def take(page: Path, picture: Path, height: int = HEIGHT) -> None:
    """Write the PNG."""
    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if browser is None:
        sys.exit(f"found none of {', '.join(BROWSERS)}: install one, such as chromium")
    if not page.is_file():
        sys.exit(f"{page}: there is no such page; make it with: python -m ifog.widgets.tour --output {page}")
    with tempfile.TemporaryDirectory() as profile:
        options = [f"--user-data-dir={profile}", f"--window-size={WIDTH},{height}", f"--screenshot={picture.resolve()}"]
        subprocess.run([browser, *QUIET.split(), *options, page.resolve().as_uri()], check=True, timeout=120)


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    take(Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:]))
