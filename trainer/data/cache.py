"""A training's data on disk: logged examples and corpus as Parquet, with the offsets they were read from. Reads no topic.

    <folder>/examples.parquet    partition, offset, and the fields of the example record
    <folder>/corpus.parquet      the fields of the candidate record
    <folder>/manifest.json       surface, [first, next) offsets of the examples, next ones of the candidates, SHA-256 of each file,
                                 and the bundle whose answers the examples are, where they are one's only

The `candidates` topic is compacted: what was a bundle's corpus is soon in no topic any more.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.codec import schema_json, writer_version
from schemas.errors import RoostError
from schemas.records.base import Message
from schemas.records.candidates import Candidate
from schemas.records.feedback import Example
from trainer.data.tables import Rows
from trainer.data.windows import CorpusAt, LoggedExample, Window

FORMAT = 1
EXAMPLES = "examples.parquet"
CORPUS = "corpus.parquet"
MANIFEST = "manifest.json"

_PRIMITIVES: Mapping[str, pa.DataType] = {
    "string": pa.string(),
    "bytes": pa.binary(),
    "boolean": pa.bool_(),
    "int": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "enum": pa.string(),
}
# of a cache that is being written; others may keep hidden folders beside the caches
_STAGED = ".part"
_PLACE = (pa.field("partition", pa.int32()), pa.field("offset", pa.int64()))


class CacheUnusable(RoostError):
    """The folder is no cache, is damaged, holds another surface's data or other offsets than asked for, or takes none."""


def require_writable(cache: Path, surface: str) -> None:
    """Raise `CacheUnusable` where no training of a surface could be kept: told before a training, not after it.

    Args:
        cache: folder of all surfaces' trainings; it is made where it is not there.
    """
    folder = cache / surface
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return
    except OSError as error:
        raise CacheUnusable(
            f"no training's data can be kept in {folder} ({error.strerror}); name another folder with --cache or ROOST_TRAIN_CACHE"
        ) from error


def write_cache(folder: Path, surface: str, window: Window, corpus: CorpusAt) -> None:
    """Write a training's data whole or not at all; a folder that is there already is replaced.

    Raises:
        OSError: the disk is full, or failed; it names the folder.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=_STAGED, dir=folder.parent))
    try:
        logged = ({"partition": one.partition, "offset": one.offset, **_row(one.example)} for one in window.logged)
        _write(staging / EXAMPLES, logged)
        _write(staging / CORPUS, map(_row, corpus.candidates))
        manifest = {
            "format": FORMAT,
            "surface": surface,
            "examples": window.manifest_offsets(),
            "skipped": window.skipped,
            "served_by": window.served_by,
            "topic_id": window.topic_id,
            "candidates": corpus.manifest_offsets(),
            "corpus_at_ms": corpus.at_ms,
            "files": {name: _digest(staging / name) for name in (EXAMPLES, CORPUS)},
        }
        (staging / MANIFEST).write_text(json.dumps(manifest, sort_keys=True, indent=2) + "\n", "utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        staging.rename(folder)
    except OSError as error:
        # that of a write names no file, or one that is gone by then
        raise OSError(error.errno, os.strerror(error.errno or 0), str(folder)) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def read_cache(folder: Path, surface: str) -> tuple[Window, CorpusAt]:
    """Return what was written, verified byte by byte, as `Rows` of its tables; raises `CacheUnusable`."""
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        if manifest["format"] != FORMAT or manifest["surface"] != surface:
            raise CacheUnusable(f"{folder} is of format {manifest['format']!r:.20} and surface {manifest['surface']!r:.80}")
        for name, digest in manifest["files"].items():
            if _digest(folder / name) != digest:
                raise CacheUnusable(f"{folder / name} differs from its SHA-256 in the manifest; read the topics instead")
        logged = Rows(_read(folder / EXAMPLES), _logged)
        places = {int(p): (first, end) for p, (first, end) in manifest["examples"].items()}
        # caches of before do not say whose answers they are, nor of which topic the offsets
        window = Window(logged, places, manifest["skipped"], served_by=manifest.get("served_by"), topic_id=manifest.get("topic_id"))
        candidates = Rows(_read(folder / CORPUS), Candidate.from_avro)
        offsets = {int(partition): following for partition, following in manifest["candidates"].items()}
        return window, CorpusAt(candidates, offsets, manifest["corpus_at_ms"])
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise CacheUnusable(f"{folder} is no cache of a training ({type(error).__name__}: {error!s:.200})") from error


def prune(folder: Path, *, keep: int, since_s: float) -> None:
    """Remove all but the newest caches in a folder of them, those from before `since_s`, and half-written ones of before it.

    Args:
        since_s: Unix seconds; what an erased author wrote leaves the disk with the caches that hold it.

    Raises:
        OSError: one cannot be removed, as on a read-only disk; it names that, the first of several. All others are removed.
    """
    caches = sorted((_written_s(path), path) for path in folder.glob("*") if (path / MANIFEST).is_file())
    due = [path for at, (written_s, path) in enumerate(caches) if at < len(caches) - keep or written_s < since_s]
    # a process that is killed leaves its staging folder
    due += [path for path in folder.glob(f".*{_STAGED}") if _written_s(path) < since_s]
    _remove_all(due)


def _written_s(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        # another process was quicker: one more of those that are due is no harm
        return 0.0


def remove_erased(folder: Path, erased_ms: Mapping[str, int], *, on_removed: Callable[[str], None] = lambda _: None) -> None:
    """Remove the caches in a folder that hold, or may hold, what a user was shown before being deleted.

    Whole: without one of its examples a cache no longer rebuilds its bundle. One that cannot be read rebuilds none either.

    Args:
        erased_ms: by deleted user, Unix ms of the delete.
        on_removed: called with the name of each once it is gone.

    Raises:
        OSError: one cannot be removed, as on a read-only disk; it names that, the first of several. All others are removed.
    """
    caches = sorted(path for path in folder.glob("*") if (path / MANIFEST).is_file())
    _remove_all((path for path in caches if _may_hold(path / EXAMPLES, erased_ms)), on_removed)


def _remove_all(paths: Iterable[Path], on_removed: Callable[[str], None] = lambda _: None) -> None:
    faults = []
    for path in paths:
        try:
            _remove(path)
        except OSError as error:
            # one that stays keeps no other that is due
            faults.append(error)
        else:
            on_removed(path.name)
    if faults:
        raise faults[0]


def _remove(path: Path) -> None:
    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        # another process was quicker
        return
    except OSError as error:
        # it names a file somewhere in it
        raise OSError(error.errno, error.strerror, str(path)) from error


def _may_hold(examples: Path, erased_ms: Mapping[str, int]) -> bool:
    try:
        shown = pq.read_table(examples, columns=["user_id", "event_time_ms"]).to_pydict()
    except (OSError, pa.ArrowException):
        return True
    return any(at_ms <= erased_ms.get(user, -1) for user, at_ms in zip(shown["user_id"], shown["event_time_ms"], strict=True))


def _row(message: Message) -> dict[str, Any]:
    # the Avro writer names a union's branch beside the value; Arrow wants the value
    return {name: value[1] if isinstance(value, tuple) else value for name, value in message.to_avro().items()}


def _logged(row: dict[str, Any]) -> LoggedExample:
    return LoggedExample(row.pop("partition"), row.pop("offset"), Example.from_avro(row))


def _write(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    pq.write_table(pa.Table.from_pylist(list(rows), _schema(path)), path, compression="zstd")


def _read(path: Path) -> pa.Table:
    table, expected = pq.read_table(path, memory_map=True), _schema(path)
    if not table.schema.equals(expected):
        raise CacheUnusable(f"{path} has other columns than this release writes; use the release that wrote it")
    return table


def _schema(path: Path) -> pa.Schema:
    return pa.schema([*_PLACE, *_fields(Example)] if path.name == EXAMPLES else _fields(Candidate))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fields(message: type[Message]) -> list[pa.Field]:
    """Return a record's columns, from the schema it is written to topics with: a new field needs no word here."""
    schema = schema_json(message.SUBJECT, writer_version(message.SUBJECT))
    named: dict[str, pa.DataType] = {}
    return [pa.field(field["name"], _arrow_type(field["type"], named)) for field in schema["fields"]]


def _arrow_type(avro: Any, named: dict[str, pa.DataType]) -> pa.DataType:
    if isinstance(avro, list):
        (only,) = [branch for branch in avro if branch != "null"]
        return _arrow_type(only, named)
    if isinstance(avro, str):
        return _PRIMITIVES[avro] if avro in _PRIMITIVES else named[avro.rsplit(".", 1)[-1]]
    if avro["type"] == "array":
        return pa.list_(_arrow_type(avro["items"], named))
    if avro["type"] == "map":
        return pa.map_(pa.string(), _arrow_type(avro["values"], named))
    if avro["type"] == "record":
        found = pa.struct([pa.field(field["name"], _arrow_type(field["type"], named)) for field in avro["fields"]])
    else:
        found = _arrow_type(avro["type"], named)
    if "name" in avro:
        named[avro["name"]] = found
    return found
