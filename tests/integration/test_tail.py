"""The tail reader against a real broker."""

import threading
import time

import pytest

from schemas.topics import Topic
from schemas.wire.admin import create_topics, wait_for_broker
from schemas.wire.tail import TailReader
from streams.outbox import Outbox
from tests.integration.conftest import RunningKafka


def test_the_end_of_a_topic_that_is_written_all_the_time_is_reached(broker: RunningKafka) -> None:
    """A node catches up on live embeddings and a role on live heartbeats: neither log ever falls silent."""
    topic = f"busy-{time.time_ns()}"
    create_topics(wait_for_broker(broker.bootstrap, timeout_s=30), [Topic(topic, "record", 1)])
    outbox, stop = Outbox(broker.bootstrap), threading.Event()

    def write() -> None:
        while not stop.wait(0.05):
            outbox.produce(topic, b"x", b"k")

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    try:
        time.sleep(1)
        started_s = time.monotonic()
        with TailReader(broker.bootstrap, topic, [0]) as reader:
            assert len(reader.read_to_end()) >= 10
        assert time.monotonic() - started_s < 5
    finally:
        stop.set()
        writer.join()
        outbox.flush_all(timeout_s=10)


@pytest.mark.parametrize("silent", [False, True])
def test_a_reader_knows_when_it_has_read_what_there_was_as_it_was_made(
    broker: RunningKafka, monkeypatch: pytest.MonkeyPatch, *, silent: bool
) -> None:
    """A canary is judged by nothing less. A broker that does not tell the ends then tells them with what is fetched."""
    topic = f"whole-{time.time_ns()}"
    create_topics(wait_for_broker(broker.bootstrap, timeout_s=30), [Topic(topic, "record", 2)])
    outbox = Outbox(broker.bootstrap)
    for n in range(5):
        outbox.produce(topic, b"%d" % n, b"k", partition=1)
    outbox.flush_all(timeout_s=10)
    if silent:
        monkeypatch.setattr(TailReader, "_bounds", lambda *_: {})
    with TailReader(broker.bootstrap, topic, [0, 1]) as reader:
        whole_at_once = reader.whole
        outbox.produce(topic, b"later", b"k", partition=0)
        outbox.flush_all(timeout_s=10)
        read, deadline_s = 0, time.monotonic() + 20
        while not reader.whole:
            assert time.monotonic() < deadline_s
            read += sum(record.partition == 1 for record in reader.poll(1, 0.5))
        assert (whole_at_once, read) == (False, 5)
