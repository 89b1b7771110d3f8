"""Finds a Chromium on this machine and says how it is started without a screen. Downloads nothing."""

import os
import shutil
import sys

_NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome")

# No sandbox: a container's root has none. The rest keeps it from asking the network for anything of its own.
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)


def find_chromium() -> str | None:
    """Return the program's path: ROOST_CHROMIUM's, else the first on the PATH; None when there is none."""
    named = os.environ.get("ROOST_CHROMIUM")
    return shutil.which(named) if named else next((path for name in _NAMES if (path := shutil.which(name))), None)


if __name__ == "__main__":
    found = find_chromium()
    if found is None:
        sys.exit(1)
    print(found)
