"""How far the embedder says a bundle's topic reaches: of the topic there is now, whatever is acknowledged of an earlier one."""

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path

import pytest

from schemas.codec import decode, encode
from schemas.positions import read_mark, read_source_ids
from schemas.records.candidates import Tweet
from schemas.records.control import BundleStage, NodeStatus, Progress, Rollout, SourcePosition, Stage
from schemas.surfaces import Surfaces, load_surfaces
from schemas.topics import NODE_STATUS, ROLLOUTS, embeddings_topic_name
from schemas.towers import Towers
from schemas.wire.inbound import InboundRecord
from streams.candidates.dedupe import SeenEvents
from streams.embedder import targets as targets_module
from streams.embedder.embed import Target
from streams.embedder.processor import EmbedderProcessor
from streams.embedder.targets import Loaded, Targets
from streams.metrics import EmbedderMetrics
from streams.processor import Work
from streams.runner.changelog import ChangelogStore
from tests.bundles import published

HOME = "home-timeline"
SURFACES = load_surfaces()
INPUTS = ("tweets", "engagements")


def _nothing_before(*_: int) -> "Future[SeenEvents]":
    found: Future[SeenEvents] = Future()
    found.set_result(SeenEvents())
    return found


class RolloutLog:
    """The rollouts topic, said record by record."""

    def __init__(self) -> None:
        self.waiting: list[InboundRecord] = []
        self.revision = 0

    def say(self, bundle: str, stage: Stage, *, salt: str = "") -> None:
        """Append a revision with the bundle in a stage of the rollout of a salt."""
        self.revision += 1
        value = encode(Rollout(HOME, self.revision, bundles=(BundleStage(bundle, stage, salt=salt),)))
        self.waiting.append(InboundRecord(ROLLOUTS, 0, self.revision, 0, HOME.encode(), value))

    def poll(self, max_messages: int = 1_000, timeout_s: float = 0.1) -> list[InboundRecord]:
        """See `Log`."""
        records, self.waiting = self.waiting, []
        return records

    def at_end(self) -> bool:
        """See `Log`."""
        return not self.waiting


class Embedder:
    """One embedder of one partition; `acknowledged` is what its producer notes, `topic_ends` what the broker says at a load."""

    def __init__(
        self,
        towers: Towers,
        metrics: EmbedderMetrics | None = None,
        *,
        surfaces: Surfaces = SURFACES,
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        steady: Callable[[], int] = lambda: 0,
        source_ids: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        self.bundle = towers.bundle_id
        self.topic = embeddings_topic_name(self.bundle)
        self.log = RolloutLog()
        self.acknowledged: dict[tuple[str, int], int] = {}
        self.topic_ends = {0: 0}
        target = Target(surfaces[HOME], towers)
        self.targets = Targets(self.log, lambda *_: Loaded(target, dict(self.topic_ends)), surfaces)
        self.targets.start()
        self.processor = EmbedderProcessor(
            targets=self.targets,
            surfaces=surfaces,
            partitions=1,
            instance="0",
            seen_before=_nothing_before,
            ends=self.acknowledged,
            topic_exists=lambda _: True,
            source_ids=source_ids,
            metrics=metrics,
            clock=clock,
            steady=steady,
        )
        self.processor.assign(0, ChangelogStore({}), dict.fromkeys(INPUTS, 0), dict.fromkeys(INPUTS, 0))

    def enter(self, stage: Stage) -> None:
        """Put the bundle in a stage and let the embedder see it."""
        self.log.say(self.bundle, stage)
        wanted = stage is Stage.BUILDING
        deadline_s = time.monotonic() + 10
        while bool(self.targets.active()) is not wanted:
            assert time.monotonic() < deadline_s
            self.processor.between()

    def checkpoint(self) -> Progress:
        """Return what a checkpoint reports, before anything of it is acknowledged."""
        self.processor.begin_checkpoint()
        work, more = self.processor.checkpoint(100)
        while more:
            work, more = self.processor.checkpoint(100)
        return _reported(work)

    def reported_end(self) -> int:
        """Return the end that a checkpoint reports."""
        return self.checkpoint().embeddings_end


def _reported(work: Work) -> Progress:
    (status,) = [decode(NodeStatus, output.value or b"") for output in work.outputs if output.topic == NODE_STATUS]
    return status.progress[0]


@pytest.fixture
def embedder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Embedder]:
    """Yield an embedder that looks at the log whenever it is asked."""
    monkeypatch.setattr(targets_module, "_LOOK_EVERY_S", 0.0)
    made = Embedder(Towers(published(tmp_path)))
    yield made
    made.targets.close()


def test_a_bundle_started_again_is_not_as_long_as_it_was_before(embedder: Embedder) -> None:
    """Nodes are compared with this end: with the old one, a second rollout of a bundle waited for minutes, two minutes, three."""
    embedder.enter(Stage.BUILDING)
    embedder.acknowledged[embedder.topic, 0] = 38_000
    assert embedder.reported_end() == 38_000
    embedder.enter(Stage.RETIRED)
    # what was under way when it was retired
    embedder.acknowledged[embedder.topic, 0] = 38_195
    embedder.enter(Stage.BUILDING)
    assert embedder.reported_end() == 0
    embedder.acknowledged[embedder.topic, 0] = 7
    assert embedder.reported_end() == 7


def test_a_restarted_embedder_reports_at_least_what_the_topic_held_when_it_came(embedder: Embedder) -> None:
    """Its own acknowledgements are forgotten with the process; the topic is not."""
    embedder.topic_ends = {0: 500}
    embedder.enter(Stage.BUILDING)
    assert embedder.reported_end() == 500
    embedder.acknowledged[embedder.topic, 0] = 501
    assert embedder.reported_end() == 501


def test_input_is_reported_as_read_once_all_that_follows_from_it_is_acknowledged(embedder: Embedder) -> None:
    """Nodes conclude from it that they have a tweet: an end and a position that do not belong together make them lie."""
    embedder.enter(Stage.BUILDING)
    now_ms = time.time_ns() // 1_000_000
    tweet = Tweet("t:1", now_ms, 0, "a:1", now_ms)
    embedder.processor.process([InboundRecord("tweets", 0, 6, now_ms, b"t:1", encode(tweet))])
    assert embedder.checkpoint().source["tweets"].next_offset == 0
    embedder.processor.durable()
    work, _ = embedder.processor.between()
    assert _reported(work).source["tweets"] == SourcePosition(7, now_ms)
    later = InboundRecord("tweets", 0, 7, now_ms, b"t:1", encode(Tweet("t:1", now_ms, 1, "a:1", now_ms)))
    embedder.processor.process([later])
    assert embedder.checkpoint().source["tweets"].next_offset == 7


def test_a_mark_and_a_report_tell_of_which_topics_their_positions_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that knows only the name would take them for positions in the topic that was created anew under it."""
    monkeypatch.setattr(targets_module, "_LOOK_EVERY_S", 0.0)
    ids = {"tweets": "x", "engagements": "y"}
    embedder = Embedder(Towers(published(tmp_path)), source_ids=lambda: ids)
    embedder.enter(Stage.BUILDING)
    # the corpus, of nothing, is written whole
    embedder.processor.between()
    embedder.checkpoint()
    embedder.processor.durable()
    now_ms = time.time_ns() // 1_000_000
    work = embedder.processor.process(
        [InboundRecord("tweets", 0, 6, now_ms, b"t:1", encode(Tweet("t:1", now_ms, 0, "a:1", now_ms)))]
    )
    assert [(read_mark(one.headers), read_source_ids(one.headers)) for one in work.outputs] == [({"tweets": 7}, ids)]
    embedder.processor.begin_checkpoint()
    work, _ = embedder.processor.checkpoint(100)
    assert [read_source_ids(one.headers) for one in work.outputs if one.topic == NODE_STATUS] == [ids]
    ids = {"tweets": "anew", "engagements": "y"}
    embedder.processor.assign(1, ChangelogStore({}), dict.fromkeys(INPUTS, 0), dict.fromkeys(INPUTS, 0))
    embedder.processor.durable()
    work, _ = embedder.processor.between()
    told = [read_source_ids(one.headers) for one in work.outputs if one.topic == NODE_STATUS]
    assert told == [{"engagements": "y"}], "of positions in two topics it can say nothing"
    embedder.targets.close()
