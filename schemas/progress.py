"""How far long work is, as it tells whoever asked. Draws nothing."""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TypeVar

T = TypeVar("T")

OnProgress = Callable[[str, int, int], None]
"""Takes what is gone through, such as a topic, how much of it is done, and of how much: 0 where nobody knows."""


def untold(_what: str, _done: int, _there: int) -> None:
    """Tell nobody."""


def told(what: str, things: Collection[T], on_progress: OnProgress) -> Iterator[T]:
    """Yield each thing, and tell before each, and after the last, how many are behind."""
    for done, thing in enumerate(things):
        on_progress(what, done, len(things))
        yield thing
    if things:
        on_progress(what, len(things), len(things))


def told_by_bytes(what: str, files: Mapping[str, bytes], on_progress: OnProgress) -> Iterator[tuple[str, bytes]]:
    """Yield each file's name and content, and tell before each, and after the last, how many bytes are behind."""
    done, there = 0, sum(map(len, files.values()))
    for name, content in files.items():
        on_progress(what, done, there)
        yield name, content
        done += len(content)
    on_progress(what, done, there)
