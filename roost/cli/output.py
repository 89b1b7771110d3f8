"""What every command shares: one JSON object or readable text on stdout, logs on stderr, exit codes. Knows no command."""

import errno
import json
import logging
import signal
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from datetime import UTC, datetime
from types import FrameType
from typing import Any, NoReturn

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from schemas.errors import CompareAndSetLost, Refused, RoostError

# in a file or a pipe there is no edge to fold a table at; 80 columns would break ids in two
_WIDTH_ELSEWHERE = 160

out = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH_ELSEWHERE)
err = Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else _WIDTH_ELSEWHERE)

_TALKATIVE = ("httpx", "faust", "mode", "aiokafka", "onnx_ir", "onnxscript", "torch")

EXIT_FAILURE = 1
EXIT_REFUSED = 3
EXIT_LOST = 4


# whether this process still has to print the one object of `--json`
_owed: ContextVar[bool] = ContextVar("owed", default=False)


def owe_object(owed: bool) -> None:  # noqa: FBT001 - the fact itself
    """Say whether this process has yet to print the one object of `--json`: that of a failure too, where `emit` is not reached."""
    _owed.set(owed)


def fail(sentence: str, code: int) -> int:
    """Print the object of a failure where one is owed, and return its exit code."""
    if _owed.get():
        emit({"error": sentence, "exit_code": code}, as_json=True, show=lambda: None)
    return code


def emit(data: Mapping[str, Any], *, as_json: bool, show: Callable[[], None]) -> None:
    """Print `data` as the one JSON object of `--json`, or call `show` for people."""
    if as_json:
        owe_object(False)
        sys.stdout.write(json.dumps(data, ensure_ascii=False, allow_nan=False) + "\n")
        sys.stdout.flush()
    else:
        show()


def table(columns: Sequence[str], rows: Iterable[Iterable[object]], *, title: str | None = None, to: Console = out) -> None:
    """Print rows as a table; columns whose name ends in ` #` are numbers, set to the right."""
    if title is not None:
        to.print(drawn_title(title))
    to.print(drawn_table(columns, rows))


def drawn_title(title: str) -> Text:
    """Return the line above a table: never folded, however narrow the table is."""
    return Text(title, style="italic", no_wrap=True, overflow="ignore")


def drawn_table(columns: Sequence[str], rows: Iterable[Iterable[object]]) -> Table:
    """Return what `table` prints below its title."""
    drawn = Table(header_style="bold", box=None, pad_edge=False)
    for column in columns:
        right = column.endswith(" #")
        drawn.add_column(column.removesuffix(" #"), justify="right" if right else "left", overflow="fold")
    for row in rows:
        # escaped: an id or a text from outside may look like markup
        drawn.add_row(*(escape(str(cell)) for cell in row))
    return drawn


def tell(sentence: str) -> None:
    """Print a sentence, or a line, of the answer on stdout, as it is and unbroken."""
    out.print(sentence, markup=False, soft_wrap=True)


def say(sentence: str) -> None:
    """Print a sentence of progress on stderr."""
    err.print(sentence, markup=False, soft_wrap=True)


def to_the_minute(at_ms: int) -> str:
    """Return Unix milliseconds as people read them, in UTC."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")


def exit_code(error: RoostError) -> int:
    """Return the exit code of an error: 3 refused by a gate or limit, 4 compare-and-set lost, else 1."""
    if isinstance(error, Refused):
        return EXIT_REFUSED
    return EXIT_LOST if isinstance(error, CompareAndSetLost) else EXIT_FAILURE


# what a person can mend; any other error of the system is a fault of ours, and its trace is wanted
_MENDED_BY: Mapping[int, str] = {
    errno.ENOSPC: "make room there",
    errno.EDQUOT: "make room there, or ask for a larger quota",
    errno.EACCES: "name another, or run as a user who may",
    errno.EPERM: "name another, or run as a user who may",
    errno.EROFS: "name another",
    errno.ENOENT: "look at its name",
    errno.ENOTDIR: "name a folder",
    errno.EISDIR: "name a file",
    errno.EEXIST: "name another",
    errno.ENAMETOOLONG: "name another",
    errno.EMFILE: "raise the limit of open files (`ulimit -n`)",
}


def file_fault(error: OSError) -> str | None:
    """Return what is wrong with a file or a disk and what to do, or None where it is not something that a person mends."""
    mend = _MENDED_BY.get(error.errno or 0)
    if mend is None:
        return None
    return f"{error.filename}: {error.strerror}; {mend}" if error.filename else f"{error.strerror}; {mend}"


def set_up_logging(*, level: int = logging.INFO) -> None:
    """Send logs to stderr, with time, level and module."""
    logging.basicConfig(level=level, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True)
    # what they say of every step of theirs would drown what our roles say
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))


class Unwound(BaseException):
    """SIGINT or SIGTERM came: unwind, so that every context manager stops what it started."""

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.exit_code = 128 + signum


def unwind_on_signals() -> None:
    """Turn SIGINT and SIGTERM into `Unwound` in the main thread."""

    def unwind(signum: int, _frame: FrameType | None) -> NoReturn:
        raise Unwound(signum)

    signal.signal(signal.SIGINT, unwind)
    signal.signal(signal.SIGTERM, unwind)
