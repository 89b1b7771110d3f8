"""Writing a small file whole or not at all, whatever becomes of the disk or the process meanwhile."""

from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Replace a file's text, in UTF-8; raises `OSError` with its path, as on a full disk, and the file is then as it was."""
    temporary = path.with_name(f".{path.name}")
    try:
        temporary.write_text(text, "utf-8")
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        # that of a write names no file
        raise OSError(error.errno, error.strerror, str(path)) from error
