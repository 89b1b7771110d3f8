"""From a consumed record to a typed, checked event. Folds nothing."""

from schemas.codec import decode
from schemas.errors import InvalidRecord
from schemas.ids import check_candidate_id
from schemas.records.candidates import Tweet
from schemas.records.feedback import Engagement
from schemas.wire.inbound import InboundRecord
from schemas.wire.partition import partition_of

_TWEET_PREFIX = "t:"


def read_tweet(record: InboundRecord, *, partitions: int) -> tuple[str, Tweet | None]:
    """Return the candidate id and the tweet; None for a foreign producer's null.

    Raises:
        InvalidInput: the value, the key, or the partition it was sent to breaks the contracts.
    """
    candidate_id = _key(record)
    if record.value is None:
        check_candidate_id(candidate_id)
        tweet = None
    else:
        tweet = decode(Tweet, record.value)
        tweet.check(append_time_ms=record.timestamp_ms)
        _same(tweet.candidate_id, candidate_id)
    if not candidate_id.startswith(_TWEET_PREFIX):
        raise InvalidRecord(f"{candidate_id} is no tweet (t:); send it to the topic of its kind")
    check_partition(record, partitions=partitions)
    return candidate_id, tweet


def read_engagement(record: InboundRecord) -> Engagement:
    """Return the engagement; raises `InvalidInput` when the value or the key breaks the contracts."""
    candidate_id = _key(record)
    if record.value is None:
        raise InvalidRecord(f"an engagement with {candidate_id} has no value; undo it with an un- kind")
    engagement = decode(Engagement, record.value)
    engagement.check(append_time_ms=record.timestamp_ms)
    _same(engagement.candidate_id, candidate_id)
    return engagement


def check_partition(record: InboundRecord, *, partitions: int) -> None:
    """Raise `InvalidRecord` for a key in another partition than the rule gives: its engagements would never meet it."""
    right = partition_of(record.key or b"", partitions)
    if record.partition != right:
        raise InvalidRecord(
            f"key {record.key!r} is in partition {record.partition}, not {right}; send with the murmur2 partitioner "
            "(confluent-kafka: partitioner=murmur2_random)"
        )


def _key(record: InboundRecord) -> str:
    if record.key is None:
        raise InvalidRecord("the record has no key; send the candidate id as key")
    try:
        return record.key.decode()
    except UnicodeDecodeError as error:
        raise InvalidRecord(f"key {record.key[:64]!r} is not UTF-8; send the candidate id as key") from error


def _same(candidate_id: str, key: str) -> None:
    if candidate_id != key:
        raise InvalidRecord(f"the record of {candidate_id} has the key {key[:64]!r}; send the candidate id as key")
