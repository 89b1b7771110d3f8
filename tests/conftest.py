"""What tests of every kind share."""

import logging
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from schemas.registry.remote import RemoteRegistry


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[RemoteRegistry]:
    """Yield an empty registry in a bucket in this process's memory, its cache in a folder of the test's own."""
    memory = fsspec.filesystem("memory")
    memory.mkdir("/bucket")
    yield RemoteRegistry("memory://bucket/bundles", cache=tmp_path / "cache")
    for place in memory.ls("/", detail=False):
        memory.rm(place, recursive=True)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have each look for a broker take a tenth of a second, not two: for tests of one that never answers."""
    monkeypatch.setattr("schemas.wire.admin._ATTEMPT_S", 0.1)


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """Undo what a command that a test runs in this process sets up: lines of every later test, on a stderr closed by then."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    yield
    root.setLevel(level)
    for handler in root.handlers[:]:
        if type(handler) is logging.StreamHandler and handler not in handlers:
            root.removeHandler(handler)
