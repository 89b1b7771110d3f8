"""What a group asks of its topics before it goes on."""

from typing import cast

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from schemas.errors import BrokerUnavailable, TopicMismatch
from schemas.positions import Place
from streams.runner import resume
from streams.runner.resume import awaited_ids, commit_unless_revoked, committed_of, to_commit

# asked by nobody: what would ask it is replaced
ADMIN = AdminClient({})


class Answers:
    """In place of `topic_id`: what is raised in turn, and then the topic's id."""

    def __init__(self, *first: Exception) -> None:
        self.asked: list[str] = []
        self._first = list(first)

    def __call__(self, _admin: AdminClient, topic: str, *, timeout_s: float) -> str:
        """See `schemas.wire.admin.topic_id`."""
        self.asked.append(topic)
        if self._first:
            raise self._first.pop(0)
        return f"id of {topic}"


def test_a_broker_that_goes_away_while_it_is_asked_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """It came back within seconds, as after every restart of one; the embedder had ended."""
    answers = Answers(BrokerUnavailable("gone"), BrokerUnavailable("gone"))
    monkeypatch.setattr(resume, "topic_id", answers)
    assert awaited_ids(ADMIN, ["a", "b"], timeout_s=30) == {"a": "id of a", "b": "id of b"}
    assert answers.asked == ["a", "a", "a", "b"]


@pytest.mark.parametrize(("timeout_s", "why"), [(0.0, BrokerUnavailable("gone")), (30.0, TopicMismatch("none"))])
def test_a_broker_that_stays_away_and_a_topic_that_is_not_there_are_told(
    monkeypatch: pytest.MonkeyPatch, timeout_s: float, why: Exception
) -> None:
    """Waiting for ever, or for a topic that nobody creates, would be silence."""
    answers = Answers(why)
    monkeypatch.setattr(resume, "topic_id", answers)
    with pytest.raises(type(why)):
        awaited_ids(ADMIN, ["a"], timeout_s=timeout_s)
    assert answers.asked == ["a"]


class Committed:
    """In place of `committed_places`: what a group has committed."""

    def __init__(self, *places: TopicPartition) -> None:
        self._places = places

    def __call__(self, _consumer: Consumer, _places: list[Place], *, timeout_s: float) -> tuple[TopicPartition, ...]:
        """See `schemas.wire.committed.committed_places`."""
        return self._places


NOW = {"a": "a2", "b": "b1"}


@pytest.mark.parametrize(
    ("committed", "gone"),
    [
        # as this release commits
        ([*to_commit({("a", 0): 7, ("b", 0): 8}, NOW)], set()),
        ([*to_commit({("a", 0): 7, ("b", 0): 8}, {"a": "a1", "b": "b1"})], {("a", 0)}),
        # forgotten with its topic: what lies beside it tells; and of an idle topic what was told of itself last
        ([TopicPartition("a", 0, -1001, ""), *to_commit({("b", 0): 8}, {"a": "a1", "b": "b1"})], {("a", 0)}),
        ([TopicPartition("a", 0, -1001, ""), *to_commit({("b", 0): 8}, NOW)], set()),
        ([*to_commit({("a", 0): 7}, NOW), *to_commit({("b", 0): 8}, {"a": "a1", "b": "b1"})], set()),
        ([*to_commit({("b", 0): 8}, {"a": "a1", "b": "b1"}), *to_commit({("a", 0): 7}, NOW)], set()),
        # of another partition nothing is said
        ([TopicPartition("a", 0, -1001, ""), *to_commit({("b", 1): 8}, {"a": "a1", "b": "b1"})], set()),
        # a first start, and what earlier releases told
        ([TopicPartition("a", 0, -1001, ""), TopicPartition("b", 0, -1001)], set()),
        ([TopicPartition("a", 0, 7, "a1"), TopicPartition("b", 0, 8, "")], {("a", 0)}),
        ([TopicPartition("a", 0, 7, "a2"), TopicPartition("b", 0, 8, "b1")], set()),
    ],
)
def test_what_was_committed_of_a_topic_that_is_gone_is_known_by_the_ids_told_with_it(
    monkeypatch: pytest.MonkeyPatch, committed: list[TopicPartition], gone: set[Place]
) -> None:
    """Taken for the new topic's, records below the old one's end were passed over, deletes too."""
    monkeypatch.setattr(resume, "committed_places", Committed(*committed))
    starts, found = committed_of(cast("Consumer", None), [], NOW, timeout_s=1)
    assert found == gone
    assert starts == {(p.topic, p.partition): None if p.offset < 0 else p.offset for p in committed}


class Refusing:
    """In place of a consumer: one whose commits are refused."""

    def __init__(self, code: int) -> None:
        self._code = code

    def commit(self, *, offsets: list[TopicPartition], asynchronous: bool) -> None:
        """See `confluent_kafka.Consumer.commit`."""
        raise KafkaException(KafkaError(self._code))


def test_an_assignment_that_is_over_before_its_offsets_are_committed_ends_nobody() -> None:
    """Two embedders of a new group that start together are dealt partitions twice; another process of the name still ends one."""
    for code in (KafkaError.REBALANCE_IN_PROGRESS, KafkaError.ILLEGAL_GENERATION, KafkaError.UNKNOWN_MEMBER_ID):
        commit_unless_revoked(cast("Consumer", Refusing(code)), {("a", 0): 0}, NOW)
    with pytest.raises(KafkaException):
        commit_unless_revoked(cast("Consumer", Refusing(KafkaError.FENCED_INSTANCE_ID)), {("a", 0): 0}, NOW)
