"""What of a class is still held. Walks no objects: such a walk meets tuples that other threads are just building."""

from typing import TypeVar
from weakref import WeakSet

import pytest

T = TypeVar("T")


def living(kind: type[T], monkeypatch: pytest.MonkeyPatch) -> WeakSet[T]:
    """Return a set that holds what is made of a class from now on, for as long as somebody else holds it."""
    held: WeakSet[T] = WeakSet()
    made = kind.__init__

    def noted(self: T, *args: object, **options: object) -> None:
        made(self, *args, **options)
        held.add(self)

    monkeypatch.setattr(kind, "__init__", noted)
    return held
