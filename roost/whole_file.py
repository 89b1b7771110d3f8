"""Writing a small file whole or not at all, whatever becomes of the disk or the process meanwhile."""

from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Replace a file's text; raises `OSError`, as on a full disk, and the file is then as it was."""
    temporary = path.with_name(f".{path.name}")
    temporary.write_text(text)
    temporary.replace(path)
