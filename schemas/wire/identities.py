"""Which topics have some names, by Kafka's ids: one that was created anew has another. Reads none of them, and never waits."""

import contextlib
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from functools import partial
from typing import Any

from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

Asking = Callable[[], Mapping[str, Future[Any]]]


class TopicIds:
    """The ids as a broker last told them. One thread looks; `now` may be read on any."""

    def __init__(self, ask: Asking) -> None:
        """Ask nothing yet.

        Args:
            ask: begins to ask for the topics; returns at once.
        """
        self.now: Mapping[str, str] = {}
        self._ask = ask
        self._asked: Mapping[str, Future[Any]] = {}

    def look(self) -> None:
        """Take the answers that came since the last look, and ask again once all have."""
        if not all(asked.done() for asked in self._asked.values()):
            return
        told = dict(self.now)
        for topic, asked in self._asked.items():
            # away, or just now deleted: what was told last stands
            with contextlib.suppress(KafkaException):
                told[topic] = str(asked.result().topic_id)
        self.now = told
        self._asked = self._ask()


def asking(admin: AdminClient, topics: Collection[str]) -> Asking:
    """Return what asks a broker, for `TopicIds`."""
    return partial(admin.describe_topics, TopicCollection(list(topics)), request_timeout=10)
