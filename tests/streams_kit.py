"""What tests of the write path share: topics, rollout records and reading topics back. Holds no test."""

import time
from collections.abc import Callable, Iterable

from confluent_kafka import TopicPartition

from schemas.codec import decode, decode_embedding, encode
from schemas.records.candidates import Candidate, Embedding
from schemas.records.control import BundleStage, NodeStatus, Rollout, Stage
from schemas.surfaces import load_surfaces
from schemas.topics import (
    CANDIDATES,
    ENGAGEMENTS,
    NODE_STATUS,
    ROLLOUTS,
    TWEETS,
    embeddings_topic,
    embeddings_topic_name,
    standard_topics,
)
from schemas.wire.admin import create_topics, wait_for_broker
from schemas.wire.client import make_consumer
from schemas.wire.committed import committed_offsets
from schemas.wire.inbound import InboundRecord
from schemas.wire.tail import TailReader
from streams.outbox import Outbox

PARTITIONS = 4


def prepare(bootstrap: str, *bundles: str, surface: str = "home-timeline") -> None:
    """Create every standard topic, and the embeddings topics of `bundles`."""
    topics = [*standard_topics(), *(embeddings_topic(bundle, load_surfaces()[surface]) for bundle in bundles)]
    create_topics(wait_for_broker(bootstrap, timeout_s=30), topics)


def set_rollout(bootstrap: str, revision: int, stages: dict[str, Stage], *, surface: str = "home-timeline") -> None:
    """Write one revision of a surface's rollout, as the controller does."""
    rollout = Rollout(surface, revision, bundles=tuple(BundleStage(bundle, stage) for bundle, stage in stages.items()))
    outbox = Outbox(bootstrap)
    outbox.produce(ROLLOUTS, encode(rollout), surface.encode())
    outbox.flush_all(timeout_s=30)
    assert outbox.take_failures() == []


def read_all(bootstrap: str, topic: str, partitions: int = PARTITIONS) -> list[InboundRecord]:
    """Return every record of a topic, each partition's in order."""
    with TailReader(bootstrap, topic, range(partitions), once=True) as reader:
        return reader.read_to_end()


def newest_candidates(records: Iterable[InboundRecord]) -> dict[str, Candidate]:
    """Return the last value of each key of `candidates`; a null removes it."""
    state: dict[str, Candidate] = {}
    for record in records:
        key = (record.key or b"").decode()
        if record.value is None:
            state.pop(key, None)
        else:
            state[key] = decode(Candidate, record.value)
    return state


def candidates(bootstrap: str) -> dict[str, Candidate]:
    """Return the state that a restart would restore."""
    return newest_candidates(read_all(bootstrap, CANDIDATES))


def embeddings(bootstrap: str, bundle: str, dim: int = 64) -> dict[str, Embedding]:
    """Return the newest record of each id of a bundle's topic, deletes included."""
    newest: dict[str, Embedding] = {}
    for record in read_all(bootstrap, embeddings_topic_name(bundle)):
        if record.value is None:
            newest.pop((record.key or b"").decode(), None)
            continue
        embedding = decode_embedding(dim, record.value)
        known = newest.get(embedding.candidate_id)
        if known is None or embedding.version >= known.version:
            newest[embedding.candidate_id] = embedding
    return newest


def last_status(bootstrap: str, instance: str) -> NodeStatus | None:
    """Return an instance's newest heartbeat."""
    statuses = [decode(NodeStatus, r.value) for r in read_all(bootstrap, NODE_STATUS, 1) if r.value is not None]
    return next((status for status in reversed(statuses) if status.instance == instance), None)


def wait_until(condition: Callable[[], bool], *, timeout_s: float = 30.0, what: str = "the condition") -> None:
    """Wait until a condition holds; fails with its name after `timeout_s`."""
    begun = time.monotonic()
    while not condition():
        waited_s = time.monotonic() - begun
        assert waited_s < timeout_s, f"{what} did not come true within {timeout_s:.0f} s"
        # a tenth late at most, and what takes long is not asked all the time
        time.sleep(min(0.1, max(0.02, waited_s / 10)))


def all_committed(bootstrap: str) -> bool:
    """Tell whether the embedder has committed all of its input."""
    consumer = make_consumer(bootstrap, "embedder")
    try:
        committed = committed_offsets(consumer, [(topic, p) for topic in (TWEETS, ENGAGEMENTS) for p in range(4)])
        ends = {place: consumer.get_watermark_offsets(TopicPartition(*place), timeout=10)[1] for place in committed}
        return ends == {place: offset or 0 for place, offset in committed.items()}
    finally:
        consumer.close()
