"""A live bundle that is set aside for a while: what was published and deleted meanwhile is in its topic once it is back."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.codec import decode_embedding, encode
from schemas.records.candidates import Tweet
from schemas.records.control import Stage
from schemas.topics import deletes_kept_ms
from schemas.towers import Towers
from schemas.wire.inbound import InboundRecord
from streams.embedder import targets as targets_module
from streams.processor import Work
from tests.bundles import published
from tests.unit.streams.embedder.test_ends import SURFACES, Embedder


@pytest.fixture
def embedder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Embedder]:
    """Yield an embedder with a live bundle, that looks at the log and tries again whenever it is asked."""
    monkeypatch.setattr(targets_module, "_LOOK_EVERY_S", 0.0)
    monkeypatch.setattr(targets_module, "_RETRY_AFTER_S", 0.0)
    made = Embedder(Towers(published(tmp_path)))
    made.enter(Stage.BUILDING)
    made.log.say(made.bundle, Stage.LIVE)
    made.processor.between()
    yield made
    made.targets.close()


def told(offset: int, candidate_id: str, *, deleted: bool = False, in_ms: int = 0) -> InboundRecord:
    """Return a record that publishes or deletes a tweet."""
    now_ms = time.time_ns() // 1_000_000 + in_ms
    tweet = Tweet(candidate_id, now_ms, offset, "a:1", now_ms, deleted)
    return InboundRecord("tweets", 0, offset, now_ms, candidate_id.encode(), encode(tweet))


def states(embedder: Embedder, work: Work) -> dict[str, bool]:
    """Return whether each candidate that the bundle's topic is told of is deleted."""
    embeddings = [decode_embedding(64, output.value or b"") for output in work.outputs if output.topic == embedder.topic]
    return {one.candidate_id: one.deleted for one in embeddings}


def test_what_was_deleted_while_a_live_bundle_was_set_aside_is_deleted_in_its_topic(embedder: Embedder) -> None:
    """Its registry was away when the embedder started: nodes that hold no other bundle went on answering with a takedown."""
    work = embedder.processor.process([told(0, "t:1"), told(1, "t:2")])
    assert states(embedder, work) == {"t:1": False, "t:2": False}
    embedder.topic_ends[0] = 2
    embedder.targets.fail(embedder.bundle, "its registry is away")
    work = embedder.processor.process([told(2, "t:1", deleted=True), told(3, "t:3")])
    assert states(embedder, work) == {}
    found: dict[str, bool] = {}
    deadline_s = time.monotonic() + 10
    while len(found) < 3:
        assert time.monotonic() < deadline_s, found
        found |= states(embedder, embedder.processor.between()[0])
    assert found == {"t:1": True, "t:2": False, "t:3": False}


def test_the_null_that_ends_a_delete_goes_to_a_bundle_that_is_set_aside_too(embedder: Embedder) -> None:
    """A topic that is only compacted keeps an erased account for ever otherwise: its marker is gone, and nobody writes it again."""
    embedder.processor.process([told(0, "t:1"), told(1, "t:1", deleted=True)])
    embedder.targets.fail(embedder.bundle, "its registry is away")
    embedder.processor.process([told(2, "t:2", in_ms=deletes_kept_ms(SURFACES.values()))])
    embedder.processor.begin_checkpoint()
    work, more = embedder.processor.checkpoint(100)
    assert not more
    assert [(output.key, output.value) for output in work.outputs if output.topic == embedder.topic] == [(b"t:1", None)]
