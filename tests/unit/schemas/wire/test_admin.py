"""What a broker that answers too late looks like to who asked; what one answers in time: tests/integration/test_wire.py."""

from collections.abc import Callable, Iterable
from typing import cast

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from schemas.errors import BrokerUnavailable
from schemas.topics import Topic
from schemas.wire.admin import Setting as TopicSetting
from schemas.wire.admin import TopicFault, alter_topics, create_topics, delete_topics, group_description, topic_configs, topic_id

FAULT = TopicFault("t", "a sentence", setting=TopicSetting("retention.ms", "1", "2"))


class Late:
    """Ends by the request's limit, with a reason; a limit of the future's own would have ended it a moment earlier, without one."""

    def result(self, timeout_s: float | None = None) -> object:
        """Raise."""
        if timeout_s is not None:
            raise TimeoutError
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))


class Named(str):
    """A topic, or a group, by its name or as a resource with one."""

    __slots__ = ()

    @property
    def name(self) -> str:
        """Return it."""
        return str(self)


class Silent:
    """A broker that stands still."""

    def __getattr__(self, _: str) -> Callable[..., dict[Named, Late]]:
        def asked(_: Iterable[object], **limits: float) -> dict[Named, Late]:
            assert limits["request_timeout"] == 5.0
            return {Named("t"): Late()}

        return asked


@pytest.mark.parametrize(
    "ask",
    [
        lambda admin: create_topics(admin, [Topic("t", "record", 1)], timeout_s=5.0),
        lambda admin: alter_topics(admin, [FAULT], timeout_s=5.0),
        lambda admin: topic_configs(admin, ["t"], timeout_s=5.0),
        lambda admin: topic_id(admin, "t", timeout_s=5.0),
        lambda admin: group_description(admin, "t", timeout_s=5.0),
        lambda admin: delete_topics(admin, ["t"], timeout_s=5.0),
    ],
    ids=["create", "alter", "configs", "id", "group", "delete"],
)
def test_a_broker_that_stands_still_is_told_as_one_that_is_away(ask: Callable[[AdminClient], object]) -> None:
    """Commands ended with a traceback, and a node said `TimeoutError: ; see the log`: which broker, and why, nobody was told."""
    with pytest.raises(BrokerUnavailable, match="Timed out"):
        ask(cast("AdminClient", Silent()))
