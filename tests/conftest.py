"""What tests of every kind share."""

from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from schemas.remote import RemoteRegistry


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[RemoteRegistry]:
    """Yield an empty registry in a bucket in this process's memory, its cache in a folder of the test's own."""
    memory = fsspec.filesystem("memory")
    memory.mkdir("/bucket")
    yield RemoteRegistry("memory://bucket/bundles", cache=tmp_path / "cache")
    for place in memory.ls("/", detail=False):
        memory.rm(place, recursive=True)
