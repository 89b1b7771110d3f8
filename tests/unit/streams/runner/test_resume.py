"""What a group asks of its topics before it goes on."""

import pytest
from confluent_kafka.admin import AdminClient

from schemas.errors import BrokerUnavailable, TopicMismatch
from streams.runner import resume
from streams.runner.resume import awaited_ids

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
