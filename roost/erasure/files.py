"""A search of folders for an id: snapshots column by column, Parquet row by row, and any other file as bytes. Changes nothing."""

import os
from collections.abc import Iterator
from contextlib import suppress
from itertools import compress, pairwise
from pathlib import Path

import numpy as np

from roost.erasure.mention import Mention
from roost.erasure.trace import Trace
from schemas.errors import RoostError
from serving.query.payload import read_payload
from serving.snapshots.keeping import RENEW_MS
from serving.snapshots.manifest import MANIFEST_NAME, read_manifest
from serving.snapshots.snapshot import SnapshotRefused

# columns of strings, each with a column of where they end
_PAYLOADS = "payloads"
_OF_ROWS = ("ids", "authors", _PAYLOADS)
_DELETED = "deleted_ids"
_SENTENCE = "replaced as the node writes newer ones; of a node that runs no more, remove the folder"
_OF_TRAININGS = (
    "the schedule removes a deleted user's when it next looks for examples, an author's by its age (ROOST_TRAIN_CACHES_KEPT_DAYS); "
    "where none runs any more, remove the training's folder"
)
_CUT_OFF = "of a training that was cut off: goes on with it, or remove its folder"


def search_snapshots(folder: Path, mention: Mention, *, kept: int, deletes_kept_ms: int) -> Iterator[Trace]:
    """Yield the snapshots below a folder that mention the id, once for their rows and once for their deletes.

    Args:
        kept: how many snapshots of a bundle a node keeps (`ROOST_SNAPSHOTS_KEPT`).
        deletes_kept_ms: how long a node remembers a delete, and writes it to every snapshot.
    """
    for one in sorted({path.parent for path in _below(folder)}):
        try:
            written_ms = read_manifest((one / MANIFEST_NAME).read_bytes()).written_ms
            found = [column for column in _OF_ROWS if any(_mentions(one, column, mention))]
            times_ms = np.fromfile(one / "deleted_ms", "<i8").tolist()
            deleted_ms = [*compress(times_ms, _mentions(one, _DELETED, mention))]
        # a node writes the manifest last, and removes what it replaces
        except FileNotFoundError:
            yield from _in_parts(one, mention, kept)
            continue
        except (SnapshotRefused, OSError, ValueError):
            yield from _damaged(one, mention)
            continue
        if found:
            yield Trace(
                place=str(one),
                why="snapshot",
                count=len(found),
                at=", ".join(found),
                until_ms=written_ms + kept * RENEW_MS,
                sentence=_SENTENCE,
            )
        if deleted_ms:
            yield Trace(
                place=str(one),
                why="delete",
                count=len(deleted_ms),
                at=_DELETED,
                until_ms=max(deleted_ms) + deletes_kept_ms + kept * RENEW_MS,
                sentence=f"the delete itself, which the node remembers as long as an older record may come; then {_SENTENCE}",
            )


def search_files(folder: Path, mention: Mention, *, trainings_kept_ms: int | None = None) -> Iterator[Trace]:
    """Yield the files below a folder that mention the id.

    Args:
        trainings_kept_ms: how long the schedule keeps the trainings below the folder at the most; None where it keeps none there.

    Raises:
        RoostError: there is Parquet, and pyarrow is not installed.
    """
    for path in (path for path in _below(folder) if path.is_file() and not path.is_symlink()):
        # the state of a training under way is replaced by the next
        with suppress(FileNotFoundError):
            if path.suffix == ".parquet":
                yield from _search_table(path, mention, trainings_kept_ms)
            elif _file_mentions(path, mention):
                yield Trace(str(path), "file", 1, path.name, None, "nothing ends it: remove the file, or what it says of the id")


def _below(folder: Path) -> list[Path]:
    """Return all that is below a folder and no folder, sorted. One that is removed meanwhile is passed over, unlike by `rglob`."""
    return sorted(Path(parent, name) for parent, _, names in os.walk(folder) for name in names)


def _search_table(path: Path, mention: Mention, kept_ms: int | None) -> Iterator[Trace]:
    """Yield a training's table that mentions the id; as bytes it is compressed."""
    try:
        count = sum(map(mention.in_value, _rows(path)))
    except FileNotFoundError:
        raise
    # pyarrow's errors are such too: what it holds is not known
    except (OSError, ValueError):
        yield Trace(str(path), "damaged", 1, path.name, None, "cannot be read, and may hold anything: remove it")
    else:
        if count:
            until_ms = None if kept_ms is None else int(path.stat().st_mtime * 1000) + kept_ms
            yield Trace(str(path), "training", count, path.name, until_ms, _CUT_OFF if until_ms is None else _OF_TRAININGS)


def _rows(path: Path) -> Iterator[dict[str, object]]:
    try:
        from pyarrow import parquet  # noqa: PLC0415 - only the trainer extra brings it
    except ModuleNotFoundError as error:
        raise RoostError(f"{path} can only be searched with pyarrow: `pip install pyarrow`") from error
    with parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=1_024):
            yield from batch.to_pylist()


def _in_parts(folder: Path, mention: Mention, kept: int) -> Iterator[Trace]:
    """Yield a snapshot that is not all there: being written or removed, or left so by a node that was killed at it."""
    with suppress(FileNotFoundError):
        found = [column for column in (*_OF_ROWS, _DELETED) if _part_mentions(folder, column, mention)]
        # gone by now, it was being removed
        until_ms = int(folder.stat().st_mtime * 1000) + kept * RENEW_MS
        if found:
            yield Trace(str(folder), "snapshot", len(found), ", ".join(found), until_ms, _SENTENCE)


def _part_mentions(folder: Path, name: str, mention: Mention) -> bool:
    """Tell whether a column mentions the id: as bytes where it does not say, or not to its end, where its strings end."""
    try:
        return any(_mentions(folder, name, mention))
    except (FileNotFoundError, ValueError):
        path = folder / name
        return path.is_file() and mention.name.encode() in path.read_bytes()


def _damaged(folder: Path, mention: Mention) -> Iterator[Trace]:
    """Yield the files that hold the id's bytes: where strings begin and end is not known."""
    name = mention.name.encode()
    for path in (path for path in _below(folder) if path.parent == folder):
        with suppress(FileNotFoundError):
            if name in path.read_bytes():
                yield Trace(str(path), "damaged", 1, path.name, None, "of a snapshot that cannot be read: remove its folder")


def _mentions(folder: Path, name: str, mention: Mention) -> Iterator[bool]:
    """Return of each value of a column whether it mentions the id; raises `ValueError` where it is cut off."""
    data = (folder / name).read_bytes()
    ends = np.frombuffer((folder / f"{name}_ends").read_bytes(), "<i8").tolist()
    if [0, *ends][-1] != len(data):
        raise ValueError(f"{name} ends elsewhere than its last string")
    values = (data[begin:end] for begin, end in pairwise([0, *ends]))
    if name == _PAYLOADS:
        return (mention.in_value(read_payload(value)) for value in values)
    return (mention.in_text(value.decode()) for value in values)


def _file_mentions(path: Path, mention: Mention) -> bool:
    # read, not mapped: the launcher empties a log in place, and to touch a page that is gone ends the process
    return mention.in_bytes(path.read_bytes())
