"""A refresh policy in an embedder: what waits for its turn waits by a clock that nobody sets, and comes in pieces."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from schemas.codec import decode_embedding, encode
from schemas.records.candidates import Tweet
from schemas.records.control import Stage
from schemas.records.feedback import Engagement, EngagementKind
from schemas.towers import Towers
from schemas.wire.inbound import InboundRecord
from streams.embedder import targets as targets_module
from tests.bundles import published
from tests.unit.streams.embedder.test_ends import HOME, SURFACES, Embedder

HOUR_MS = 3_600_000


class Clocks:
    """The wall clock, which an operator sets, and one that only goes on."""

    def __init__(self) -> None:
        self.wall_ms = time.time_ns() // 1_000_000
        self.steady_ms = 0

    def go_on(self, by_ms: int) -> None:
        """Let time pass."""
        self.wall_ms += by_ms
        self.steady_ms += by_ms


@pytest.fixture
def clocks() -> Clocks:
    """Return clocks that agree so far."""
    return Clocks()


@pytest.fixture
def embedder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clocks: Clocks) -> Iterator[Embedder]:
    """Yield an embedder with a bundle whose vectors are refreshed every 30 s."""
    monkeypatch.setattr(targets_module, "_LOOK_EVERY_S", 0.0)
    surfaces = {**SURFACES, HOME: replace(SURFACES[HOME], refresh="every=30s")}
    made = Embedder(Towers(published(tmp_path)), surfaces=surfaces, clock=lambda: clocks.wall_ms, steady=lambda: clocks.steady_ms)
    made.enter(Stage.BUILDING)
    yield made
    made.targets.close()


@pytest.mark.parametrize("set_by_ms", [-HOUR_MS, HOUR_MS], ids=["back", "forward"])
def test_a_clock_that_is_set_delays_and_hastens_no_refresh(embedder: Embedder, clocks: Clocks, set_by_ms: int) -> None:
    """Set back by an hour, nothing that was engaged with was embedded again for an hour; forward, everything at one moment."""
    now_ms = clocks.wall_ms
    tweet = Tweet("t:1", now_ms, 0, "a:1", now_ms)
    embedder.processor.process([InboundRecord("tweets", 0, 0, now_ms, b"t:1", encode(tweet))])
    clocks.go_on(1_000)
    clocks.wall_ms += set_by_ms
    click = Engagement("e", "u", "t:1", EngagementKind.CLICK, now_ms)
    embedder.processor.process([InboundRecord("engagements", 0, 0, now_ms, b"t:1", encode(click))])
    assert _embedded(embedder) == []
    clocks.go_on(28_000)
    assert _embedded(embedder) == []
    clocks.go_on(1_000)
    assert _embedded(embedder) == ["t:1"]


def test_what_was_held_back_is_embedded_a_few_at_a_time(embedder: Embedder, clocks: Clocks) -> None:
    """1,200 candidates at one checkpoint of each second were what every tweet of a tenth of that second waited for."""
    now_ms = clocks.wall_ms
    names = [f"t:{number}" for number in range(150)]
    tweets = [
        InboundRecord("tweets", 0, at, now_ms, i.encode(), encode(Tweet(i, now_ms, 0, "a:1", now_ms))) for at, i in enumerate(names)
    ]
    embedder.processor.process(tweets)
    clicks = [Engagement(f"e{i}", "u", i, EngagementKind.CLICK, now_ms) for i in names]
    clocks.go_on(1_000)
    embedder.processor.process(
        [InboundRecord("engagements", 0, at, now_ms, one.candidate_id.encode(), encode(one)) for at, one in enumerate(clicks)]
    )
    assert _embedded(embedder) == []
    clocks.go_on(30_000)
    pieces = [sum(output.topic == embedder.topic for output in embedder.processor.between()[0].outputs) for _ in range(4)]
    assert pieces == [64, 64, 22, 0]


def _embedded(embedder: Embedder) -> list[str]:
    embedder.processor.begin_checkpoint()
    works, more = [], True
    while more:
        work, more = embedder.processor.checkpoint(100)
        works.append(work)
    # a policy is asked between two batches
    works.append(embedder.processor.between()[0])
    return [
        decode_embedding(64, output.value or b"").candidate_id
        for work in works
        for output in work.outputs
        if output.topic == embedder.topic
    ]
