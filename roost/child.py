"""Child processes that never outlive us: a killed launcher or test run leaves nothing behind. Watches and restarts nothing."""

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

# The kernel ends a child that asked for it when the *thread* that made it ends: so one lasting thread makes them all.
_SPAWNER = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawner")


def spawn(
    arguments: Sequence[str],
    *,
    log: BinaryIO,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    inherited: Sequence[BinaryIO] = (),
) -> subprocess.Popen[bytes]:
    """Start a process with its output in `log` and no standard input; on Linux it dies with the process that made it.

    It has a process group of its own: Ctrl-C at the launcher must reach children in the launcher's order, not all at once. It stays
    in the launcher's session: Linux shares processors among sessions first, so that in sessions of their own a broker's log cleaner
    and a node's builder, which give way to everything in theirs, were worth as much as an embedder.
    `inherited` files stay open in it for as long as it lives, and with them the locks they hold.
    """
    return _SPAWNER.submit(
        subprocess.Popen,
        [*_dying_with_parent(), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        cwd=cwd,
        env=environment,
        pass_fds=[file.fileno() for file in inherited],
        process_group=0,
    ).result()


def _dying_with_parent() -> list[str]:
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM", "--"] if setpriv else []
