"""What a role does before its first record, without a broker; with one: tests/integration/test_embedder.py."""

import threading
from collections.abc import Callable

import pytest
from confluent_kafka.admin import AdminClient

from schemas.errors import BrokerUnavailable, TopicMismatch
from streams.runner import start
from streams.runner.start import ready_broker
from streams.settings import EmbedderSettings

# asked by nobody: what would ask it is replaced
ADMIN = AdminClient({})


def _never() -> bool:
    return False


def _at_once() -> bool:
    return True


class Creating:
    """In place of `create_topics`: what is raised in turn, and then nothing."""

    def __init__(self, *first: Exception) -> None:
        self.asked = 0
        self._first = list(first)

    def __call__(self, *_: object, **__: object) -> None:
        """See `schemas.wire.admin.create_topics`."""
        self.asked += 1
        if self._first:
            raise self._first.pop(0)


def test_a_broker_that_goes_away_while_topics_are_checked_is_waited_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """It answered, was restarted within a second, and the embedder that had just been started ended of it."""
    creating = Creating(BrokerUnavailable("gone"), BrokerUnavailable("gone"))
    monkeypatch.setattr(start, "wait_for_broker", lambda *_, **__: ADMIN)
    monkeypatch.setattr(start, "create_topics", creating)
    assert ready_broker(EmbedderSettings(broker_wait_s=30), threading.Event().is_set) is ADMIN
    assert creating.asked == 3


@pytest.mark.parametrize(
    ("wait_s", "should_stop", "why"),
    [
        (1e-9, _never, BrokerUnavailable("gone")),
        (30.0, _at_once, BrokerUnavailable("gone")),
        (30.0, _never, TopicMismatch("other")),
    ],
)
def test_what_waiting_does_not_mend_is_told_at_once(
    wait_s: float, should_stop: Callable[[], bool], why: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A role that is stopped, whose time is up, or whose topics are others."""
    creating = Creating(why)
    monkeypatch.setattr(start, "wait_for_broker", lambda *_, **__: ADMIN)
    monkeypatch.setattr(start, "create_topics", creating)
    with pytest.raises(type(why)):
        ready_broker(EmbedderSettings(broker_wait_s=wait_s), should_stop)
    assert creating.asked == 1
