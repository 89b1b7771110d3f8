"""A snapshot's manifest: what its files hold and their SHA-256, itself under a digest. Pure; JSON in and out."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from schemas.ids import is_bundle_id
from serving.snapshots.snapshot import MAX_AGE_MS, SnapshotOf, SnapshotRefused

FORMAT = "roost-index-snapshot"
# 2: a payload is a part of an answer, in JSON. 3: when each delete was appended
FORMAT_VERSION = 3
MANIFEST_NAME = "manifest.json"
CLOCK_LEEWAY_MS = 5 * 60 * 1000


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file: numpy's name of its elements' type, its length, and the SHA-256 of its bytes in hexadecimal."""

    dtype: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a folder holds; see `Snapshot` for the fields they share. `files` is by column name."""

    of: SnapshotOf
    offsets: Mapping[int, int]
    newest_append_ms: int | None
    written_ms: int
    expired_before_ms: int
    rows: int
    files: Mapping[str, FileEntry]

    def to_json(self) -> bytes:
        """The manifest's bytes."""
        body = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            **asdict(self.of),
            "offsets": {str(partition): offset for partition, offset in sorted(self.offsets.items())},
            "newest_append_ms": self.newest_append_ms,
            "written_ms": self.written_ms,
            "expired_before_ms": self.expired_before_ms,
            "rows": self.rows,
            "files": {name: asdict(entry) for name, entry in sorted(self.files.items())},
        }
        return json.dumps({**body, "digest": _digest(body)}, indent=1, sort_keys=True).encode()


def read_manifest(raw: bytes) -> Manifest:
    """Return the manifest of these bytes.

    Raises:
        SnapshotRefused: they are damaged, or of a release with another format.
    """
    try:
        body = json.loads(raw)
        digest = body.pop("digest")
    # nested too deeply, it is the interpreter that gives up
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError) as error:
        raise SnapshotRefused(f"{MANIFEST_NAME} is no JSON with a digest") from error
    if digest != _digest(body):
        raise SnapshotRefused(f"{MANIFEST_NAME} differs from its own digest")
    if body.get("format") != FORMAT or body.get("format_version") != FORMAT_VERSION:
        raise SnapshotRefused(
            f"its format is {body.get('format')!r:.40}, version {body.get('format_version')!r:.10}; "
            f"this release reads {FORMAT}, version {FORMAT_VERSION}"
        )
    try:
        return _manifest(body)
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise SnapshotRefused(f"{MANIFEST_NAME} lacks a field or has one of another type ({error})") from error


def _manifest(body: Mapping[str, Any]) -> Manifest:
    newest = body["newest_append_ms"]
    # they become a path where a snapshot is fetched to
    if not is_bundle_id(body["bundle"]):
        raise ValueError(f"{body['bundle']!r:.40} is no bundle's id")
    for name in body["files"]:
        if not name.isidentifier():
            raise ValueError(f"{name!r:.40} is no column's name")
    return Manifest(
        of=SnapshotOf(str(body["bundle"]), str(body["topic_id"]), int(body["dim"]), str(body["metric"])),
        offsets={int(partition): int(offset) for partition, offset in body["offsets"].items()},
        newest_append_ms=None if newest is None else int(newest),
        written_ms=int(body["written_ms"]),
        expired_before_ms=int(body["expired_before_ms"]),
        rows=int(body["rows"]),
        files={str(name): FileEntry(str(e["dtype"]), int(e["bytes"]), str(e["sha256"])) for name, e in body["files"].items()},
    )


def check_fits(manifest: Manifest, wanted: SnapshotOf, *, now_ms: int) -> None:
    """Check that a whole snapshot is the one to start from.

    Raises:
        SnapshotRefused: it is of something else, or too old to know every delete.
    """
    of = manifest.of
    if of.bundle != wanted.bundle:
        raise SnapshotRefused(f"it is of bundle {of.bundle:.40}, not {wanted.bundle}")
    if of.dim != wanted.dim:
        raise SnapshotRefused(f"its vectors have {of.dim} dimensions, the bundle's {wanted.dim}")
    if of.metric != wanted.metric:
        raise SnapshotRefused(f"its metric is {of.metric!r:.40}, the bundle's is {wanted.metric}")
    if of.topic_id != wanted.topic_id:
        raise SnapshotRefused(f"its offsets are of topic {of.topic_id:.40}; the topic of that name is now {wanted.topic_id}")
    age_ms = now_ms - manifest.written_ms
    if age_ms > MAX_AGE_MS:
        raise SnapshotRefused(f"it is {age_ms / 3_600_000:.1f} h old: the log may no longer hold a delete that it lacks")
    if age_ms < -CLOCK_LEEWAY_MS:
        raise SnapshotRefused(f"it was written {-age_ms / 60_000:.0f} minutes from now: its age is not known")


def _digest(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
