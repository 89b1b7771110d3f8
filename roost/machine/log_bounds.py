"""Logs of processes that run for months, kept within a bound. Reads no line."""

import contextlib
import os
import shutil
from pathlib import Path

MOST_BYTES = 64 * 2**20
OLDER = ".1"


def keep_within(log: Path, most_bytes: int = MOST_BYTES) -> None:
    """Move what a log holds to `<log>.1`, in place of what was there, once it is over `most_bytes`; its writer appends on.

    The file stays the same one, for its writer has it open, to append. What is written in the moment between copy and emptying is
    lost. Where the disk has no room for the copy, the log stays as it is.
    """
    older = log.with_name(log.name + OLDER)
    with contextlib.suppress(OSError):
        if log.stat().st_size > most_bytes:
            shutil.copyfile(log, older)
            os.truncate(log, 0)
