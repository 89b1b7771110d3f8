"""A bundle that is retired and rolled out again while the embedder looks elsewhere: its new topic gets the whole corpus."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.codec import decode_embedding, encode
from schemas.records.candidates import Tweet
from schemas.records.control import Stage
from schemas.towers import Towers
from schemas.wire.inbound import InboundRecord
from streams.embedder import targets as targets_module
from streams.embedder.embed import Target
from streams.embedder.targets import Loaded, Targets
from tests.bundles import published
from tests.unit.streams.embedder.test_ends import HOME, SURFACES, Embedder, RolloutLog


@pytest.fixture
def towers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Towers:
    """Return the towers of a bundle; who follows the log looks at it whenever it is asked."""
    monkeypatch.setattr(targets_module, "_LOOK_EVERY_S", 0.0)
    return Towers(published(tmp_path))


@pytest.fixture
def embedder(towers: Towers) -> Iterator[Embedder]:
    """Yield an embedder."""
    made = Embedder(towers)
    yield made
    made.targets.close()


def test_a_bundle_retired_and_started_again_within_one_look_gets_its_corpus_anew(embedder: Embedder) -> None:
    """An embedder that restores a partition looks at no log for as long: the new topic would stay empty, and be called whole."""
    embedder.log.say(embedder.bundle, Stage.BUILDING, salt="first")
    while not embedder.targets.active():
        embedder.processor.between()
    now_ms = time.time_ns() // 1_000_000
    tweet = encode(Tweet("t:1", now_ms, 0, "a:1", now_ms))
    embedder.processor.process([InboundRecord("tweets", 0, 0, now_ms, b"t:1", tweet)])
    embedder.acknowledged[embedder.topic, 0] = 38_000
    embedder.processor.between()
    embedder.checkpoint()
    embedder.processor.durable()
    assert embedder.checkpoint().backfill_done

    embedder.log.say(embedder.bundle, Stage.RETIRED, salt="first")
    embedder.log.say(embedder.bundle, Stage.BUILDING, salt="second")
    embedder.processor.between()
    reported = embedder.checkpoint()
    assert (reported.backfill_done, reported.embeddings_end) == (False, 0)
    found: set[str] = set()
    deadline_s = time.monotonic() + 10
    while not found:
        assert time.monotonic() < deadline_s
        work, _ = embedder.processor.between()
        found |= {decode_embedding(64, made.value or b"").candidate_id for made in work.outputs if made.topic == embedder.topic}
    assert found == {"t:1"}


def test_what_was_loaded_for_an_earlier_rollout_is_not_taken_for_the_next(towers: Towers) -> None:
    """It knows the ends of a topic that is gone: with those, nodes are behind until the new one is as long."""
    rollouts, ends = RolloutLog(), {0: 38_000}
    asked, answer = threading.Event(), threading.Event()

    def load(*_: str) -> Loaded:
        loaded = Loaded(Target(SURFACES[HOME], towers), dict(ends))
        asked.set()
        assert answer.wait(10)
        return loaded

    targets = Targets(rollouts, load, SURFACES)
    targets.start()
    try:
        rollouts.say(towers.bundle_id, Stage.BUILDING, salt="first")
        targets.look()
        assert asked.wait(10)
        ends[0] = 0
        rollouts.say(towers.bundle_id, Stage.ABORTED, salt="first")
        targets.look()
        rollouts.say(towers.bundle_id, Stage.BUILDING, salt="second")
        targets.look()
        answer.set()
        ready: tuple[Loaded, ...] = ()
        deadline_s = time.monotonic() + 10
        while not ready:
            assert time.monotonic() < deadline_s
            ready = targets.look().ready
        assert [loaded.ends for loaded in ready] == [{0: 0}]
    finally:
        answer.set()
        targets.close()
