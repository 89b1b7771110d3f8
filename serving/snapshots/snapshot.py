"""What a snapshot is: an index's contents, and what they are true of. Frozen values; touches no disk.

SnapshotRefused is a sentence that says what is wrong with the files; SnapshotsUnavailable, that a shared place cannot be reached.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from schemas.errors import RoostError
from schemas.manifest import INDEXED_METRIC
from schemas.topics import DAY_MS
from serving.index import IndexContents

MAX_AGE_MS = DAY_MS
"""`delete.retention.ms` of every compacted topic: an older snapshot may have missed a delete that the log no longer holds."""


class SnapshotRefused(RoostError):
    """The files are damaged, or whole but of another bundle, topic, dimension, metric or release."""


class SnapshotsUnavailable(RoostError):
    """The place that nodes share did not answer: nobody knows what snapshots it holds."""


@dataclass(frozen=True, slots=True)
class SnapshotOf:
    """What the contents are true of.

    Attributes:
        bundle: whose towers made the vectors.
        topic_id: Kafka's id of the topic that the offsets count in; another topic of the same name has another.
        dim: dimension of the vectors.
        metric: how they are compared.
    """

    bundle: str
    topic_id: str
    dim: int
    metric: str = INDEXED_METRIC


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One index at one moment.

    Attributes:
        offsets: next offset by partition; everything before is in `contents`, and perhaps a little more, which does no harm.
        newest_append_ms: broker append time of the newest source record in it; None when it is empty.
        written_ms: Unix milliseconds; of one written while the broker was away, when it was last known to answer.
        deleted_ms: when each delete in `contents` was appended, by id.
    """

    of: SnapshotOf
    offsets: Mapping[int, int]
    newest_append_ms: int | None
    written_ms: int
    contents: IndexContents
    deleted_ms: Mapping[str, int]
