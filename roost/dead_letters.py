"""Dead-letter topics for people: read, and sent again where somebody asks for it. Decides nothing about what is sent."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial as bound

from confluent_kafka import KafkaError, Message

from schemas.codec import decode
from schemas.errors import DeliveryFailed
from schemas.progress import OnProgress, untold
from schemas.topics import dlq, standard_topics
from schemas.wire.admin import make_admin, partition_counts
from schemas.wire.dlq import DeadLetter, resent_headers
from schemas.wire.tail import TailReader
from streams.outbox import Outbox, raise_for

_CHUNK = 500
_ACKNOWLEDGED_S = 60.0


def dead_letter_topics() -> tuple[str, ...]:
    """Return the topics that have a dead-letter topic."""
    names = {topic.name for topic in standard_topics()}
    return tuple(sorted(name for name in names if dlq(name) in names))


def without_dead_letter_topic(bootstrap: str) -> tuple[str, ...]:
    """Return those of `dead_letter_topics` whose dead-letter topic a broker lacks; raises `BrokerUnavailable` without one."""
    there = partition_counts(make_admin(bootstrap))
    return tuple(topic for topic in dead_letter_topics() if dlq(topic) not in there)


def read_dead_letters(bootstrap: str, topic: str, *, on_progress: OnProgress = untold) -> Iterator[DeadLetter]:
    """Yield the entries of a topic's dead-letter topic, oldest first, the newest of each key once.

    Args:
        on_progress: as of `TailReader.to_end`.
    """
    with TailReader(bootstrap, dlq(topic), [0], once=True) as reader:
        newest = {record.key: record for record in reader.to_end(on_progress=on_progress)}
    for record in sorted(newest.values(), key=lambda record: record.offset):
        if record.value is not None:
            yield decode(DeadLetter, record.value)


def send_again(bootstrap: str, letters: Sequence[DeadLetter], *, on_progress: Callable[[int], None]) -> None:
    """Send the records of letters to their topics as their producers sent them, and remove the entries.

    The partition is that of the key by the one rule, whatever partition a record came from. An entry is removed once its record is
    acknowledged: a crash between the two sends a record twice, never loses one. One that fails again is a new entry, counted on.

    Args:
        on_progress: takes how many are done, now and then.

    Raises:
        DeliveryFailed: a record was not acknowledged; its entry is still there.
    """
    try:
        _send(bootstrap, letters, on_progress)
    except DeliveryFailed as error:
        raise DeliveryFailed(
            f"{error}; what was not acknowledged is still a dead letter: mend the broker, or the room on its disk, and replay again"
        ) from error


def _send(bootstrap: str, letters: Sequence[DeadLetter], on_progress: Callable[[int], None]) -> None:
    # a record may fit its topic only as its producer compressed it
    outbox = Outbox(bootstrap, linger_ms=5, compression_type="zstd")
    acknowledged: list[DeadLetter] = []

    def note(letter: DeadLetter, error: KafkaError | None, _: Message) -> None:
        if error is None:
            acknowledged.append(letter)

    for first in range(0, len(letters), _CHUNK):
        for letter in letters[first : first + _CHUNK]:
            outbox.produce(letter.topic, letter.value, letter.key, on_delivery=bound(note, letter), headers=resent_headers(letter))
        outbox.flush_all(timeout_s=_ACKNOWLEDGED_S)
        for letter in acknowledged:
            outbox.produce(dlq(letter.topic), None, letter.record_key)
        on_progress(first + len(acknowledged))
        acknowledged.clear()
        outbox.flush_all(timeout_s=_ACKNOWLEDGED_S)
        raise_for(outbox.take_failures())
