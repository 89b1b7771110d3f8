"""Which topics have some names, as a broker tells it in its own time."""

from collections.abc import Mapping
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

from confluent_kafka import KafkaError, KafkaException

from schemas.wire.identities import TopicIds


class Broker:
    """Answers when the test says so."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Future[Any]]] = []

    def ask(self) -> Mapping[str, Future[Any]]:
        """See `TopicIds`."""
        self.asked.append({"tweets": Future(), "articles": Future()})
        return self.asked[-1]

    def answer(self, **ids: str | None) -> None:
        """Answer the last question; of one without an id the broker knows nothing."""
        for topic, told in ids.items():
            if told is None:
                self.asked[-1][topic].set_exception(KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)))
            else:
                self.asked[-1][topic].set_result(SimpleNamespace(topic_id=told))


def test_the_ids_are_those_that_the_broker_told_last() -> None:
    """Who looks has other work: it must wait for nobody, and a topic that is away for a moment is still the same."""
    broker = Broker()
    sources = TopicIds(broker.ask)
    sources.look()
    sources.look()
    assert (sources.now, len(broker.asked)) == ({}, 1)
    broker.answer(tweets="a", articles="b")
    sources.look()
    assert (sources.now, len(broker.asked)) == ({"tweets": "a", "articles": "b"}, 2)
    broker.answer(tweets=None, articles="b")
    sources.look()
    assert sources.now == {"tweets": "a", "articles": "b"}
    broker.answer(tweets="new", articles="b")
    sources.look()
    assert sources.now == {"tweets": "new", "articles": "b"}
