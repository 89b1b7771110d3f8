"""From a record to what is folded: each candidate topic holds one kind, in the partition of its id."""

from collections.abc import Callable

import pytest

from schemas.codec import encode
from schemas.errors import InvalidInput
from schemas.records.candidates import Account, Article, CandidateAttributes, Publication, Tweet
from schemas.topics import PUBLICATIONS
from schemas.wire.inbound import InboundRecord
from schemas.wire.partition import partition_of
from streams.candidates.intake import read_publication

TOLD: dict[str, Publication] = {
    "tweets": Tweet("t:1", 5, 0, "a:7", 4, language="de", topics=("chess",), author_followers=3),
    "accounts": Account("a:7", 5, 0, 4, language="de", topics=("chess",), followers=3),
    "articles": Article("n:1", 5, 0, "a:7", 4, language="de", topics=("chess",), publisher_followers=3),
}


def record(topic: str, told: Publication | None, *, key: str = "") -> InboundRecord:
    """Return a record of what was published, or a null of a key."""
    name = key or (told.candidate_id if told else "")
    value = encode(told) if told else None
    return InboundRecord(topic, partition_of(name.encode(), 4), 0, 10, name.encode(), value)


@pytest.mark.parametrize("topic", PUBLICATIONS)
def test_what_is_published_of_any_kind_is_folded_as_the_same_attributes(topic: str) -> None:
    """Features, popularity and the towers know candidates only; an account is its own author."""
    candidate_id, told = read_publication(record(topic, TOLD[topic]), partitions=4)
    assert (candidate_id, told) == (TOLD[topic].candidate_id, TOLD[topic])
    assert told is not None
    assert told.attributes() == CandidateAttributes("a:7", 4, "de", topics=("chess",), author_followers=3)


@pytest.mark.parametrize("topic", PUBLICATIONS)
def test_a_foreign_null_deletes_on_the_topic_of_its_kind_alone(topic: str) -> None:
    """A null has no record to tell what it is of: its key does."""
    assert read_publication(record(topic, None, key=TOLD[topic].candidate_id), partitions=4) == (TOLD[topic].candidate_id, None)
    for other, told in TOLD.items():
        if other != topic:
            with pytest.raises(InvalidInput, match="to the topic of its kind"):
                read_publication(record(topic, None, key=told.candidate_id), partitions=4)


@pytest.mark.parametrize("topic", PUBLICATIONS)
@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda topic: record(topic, TOLD["articles" if topic == "tweets" else "tweets"]), "record belongs"),
        (lambda topic: InboundRecord(topic, 3, 0, 10, b"x", b"junk"), "without the 0x00"),
    ],
    ids=["another kind's record", "no record"],
)
def test_what_is_not_of_the_topic_is_dead_lettered(topic: str, wrong: Callable[[str], InboundRecord], says: str) -> None:
    """Folded as something else, it would be retrieved where nobody asked for it."""
    with pytest.raises(InvalidInput, match=says):
        read_publication(wrong(topic), partitions=4)


def test_what_was_created_in_the_future_is_refused_of_every_kind() -> None:
    """One future version could never be updated or deleted."""
    for told in TOLD.values():
        with pytest.raises(InvalidInput, match="clock"):
            told.check(append_time_ms=-(10**9))
