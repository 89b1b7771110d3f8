"""From a consumed record to what the fold takes. Folds nothing."""

from operator import attrgetter

from schemas.codec import SchemaLookup
from schemas.errors import InvalidRecord
from schemas.ids import check_candidate_id
from schemas.plain import NotPlain
from schemas.records.candidates import Publication
from schemas.records.feedback import Engagement
from schemas.topics import PUBLICATIONS
from schemas.wire.inbound import InboundRecord
from schemas.wire.partition import partition_of
from streams.candidates.engaged import Engaged, cut
from streams.intake import read

_candidate_id = attrgetter("candidate_id")


def read_publication(
    record: InboundRecord, *, partitions: int, lookup: SchemaLookup | None = None
) -> tuple[str, Publication | None]:
    """Return the candidate id and what was published of it; None for a foreign producer's null.

    Args:
        lookup: as in `streams.intake.read`.

    Raises:
        InvalidInput: the value, the key, or the partition it was sent to breaks the contracts.
    """
    kind = PUBLICATIONS[record.topic]
    told = None if record.value is None else read(kind, record, _candidate_id, lookup=lookup)
    candidate_id = _id_of_null(record) if told is None else told.candidate_id
    if not candidate_id.startswith(kind.PREFIX):
        raise InvalidRecord(f"{candidate_id} is no {kind.SUBJECT} ({kind.PREFIX}); send it to the topic of its kind")
    right = partition_of(candidate_id.encode(), partitions)
    if record.partition != right:
        # its engagements, keyed alike by other producers, would never meet it
        raise InvalidRecord(
            f"{candidate_id} is in partition {record.partition}, not {right}; send with the murmur2 partitioner "
            "(confluent-kafka: partitioner=murmur2_random)"
        )
    return candidate_id, told


def read_engagement(record: InboundRecord, *, lookup: SchemaLookup | None = None) -> Engaged:
    """Return what was engaged with; raises `InvalidInput` when the value or the key breaks the contracts."""
    try:
        return cut(record)
    except NotPlain:
        engagement = read(Engagement, record, _candidate_id, lookup=lookup)
    return Engaged(engagement.event_id, engagement.candidate_id, engagement.kind)


def _id_of_null(record: InboundRecord) -> str:
    try:
        candidate_id = (record.key or b"").decode()
    except UnicodeDecodeError as error:
        raise InvalidRecord(f"key {record.key!r:.80} is not UTF-8; send the candidate id as key") from error
    check_candidate_id(candidate_id)
    return candidate_id
