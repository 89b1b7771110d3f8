"""Reading dead-letter topics for people. Replays nothing by itself."""

from collections.abc import Iterator

from schemas.codec import decode
from schemas.topics import dlq, standard_topics
from schemas.wire.dlq import DeadLetter
from schemas.wire.tail import TailReader


def dead_letter_topics() -> tuple[str, ...]:
    """Return the topics that have a dead-letter topic."""
    names = {topic.name for topic in standard_topics()}
    return tuple(sorted(name for name in names if dlq(name) in names))


def read_dead_letters(bootstrap: str, topic: str) -> Iterator[DeadLetter]:
    """Yield the entries of a topic's dead-letter topic, oldest first, the newest of each key once."""
    with TailReader(bootstrap, dlq(topic), [0]) as reader:
        newest = {record.key: record for record in reader.read_to_end()}
    for record in sorted(newest.values(), key=lambda record: record.offset):
        if record.value is not None:
            yield decode(DeadLetter, record.value)
