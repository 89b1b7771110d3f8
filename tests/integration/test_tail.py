"""The tail reader against a real broker."""

import threading
import time

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
