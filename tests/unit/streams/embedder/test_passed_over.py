"""What a tower yields no vector for: it costs a bundle under way its rollout, and a bundle that answers that candidate alone."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry

from schemas.codec import decode, decode_embedding, encode
from schemas.errors import BundleCorrupt
from schemas.features.columns import Values
from schemas.records.candidates import Tweet
from schemas.records.control import NodeStatus, Stage
from schemas.topics import NODE_STATUS
from schemas.towers import Towers
from schemas.wire.inbound import InboundRecord
from streams.embedder import targets as targets_module
from streams.metrics import EmbedderMetrics
from streams.processor import Work
from tests.bundles import published
from tests.unit.streams.embedder.test_ends import HOME, Embedder

POISON = "a:poison"


class Poisoned(Towers):
    """Good towers, but for candidates of one author."""

    def embed_candidate_values(self, values: Values) -> NDArray[np.float32]:
        """See `Towers`."""
        if POISON in values("author_id"):
            raise BundleCorrupt(f"bundle {self.bundle_id}: a tower yields NaN or infinite values")
        return super().embed_candidate_values(values)


@pytest.fixture
def registry() -> CollectorRegistry:
    """Where the embedder counts."""
    return CollectorRegistry()


@pytest.fixture
def embedder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registry: CollectorRegistry) -> Iterator[Embedder]:
    """Yield an embedder of poisoned towers that looks at the log whenever it is asked."""
    monkeypatch.setattr(targets_module, "_LOOK_EVERY_S", 0.0)
    made = Embedder(Poisoned(published(tmp_path)), EmbedderMetrics(registry))
    yield made
    made.targets.close()


def tweets(authors: Sequence[str], *, first: int = 0) -> list[InboundRecord]:
    """Return records of one tweet by each author."""
    now_ms = time.time_ns() // 1_000_000
    told = [Tweet(f"t:{first + n}", now_ms, 0, author, now_ms) for n, author in enumerate(authors)]
    return [InboundRecord("tweets", 0, first + n, now_ms, one.candidate_id.encode(), encode(one)) for n, one in enumerate(told)]


def vectors(embedder: Embedder, work: Work) -> set[str]:
    """Return the candidates that got a vector."""
    values = [output.value or b"" for output in work.outputs if output.topic == embedder.topic]
    return {decode_embedding(64, value).candidate_id for value in values}


def status(embedder: Embedder) -> NodeStatus:
    """Return what a checkpoint's heartbeat says."""
    embedder.processor.begin_checkpoint()
    work, _ = embedder.processor.checkpoint(100)
    (beat,) = [decode(NodeStatus, output.value or b"") for output in work.outputs if output.topic == NODE_STATUS]
    return beat


def test_one_candidate_without_a_vector_leaves_all_others_theirs(embedder: Embedder, registry: CollectorRegistry) -> None:
    """One tweet set a live bundle aside, again at every try: nothing published on its surface was found any more."""
    embedder.enter(Stage.BUILDING)
    embedder.log.say(embedder.bundle, Stage.LIVE)
    embedder.processor.between()
    authors = [f"a:{n}" for n in range(700)]
    authors[3] = authors[600] = POISON
    work = embedder.processor.process(tweets(authors))
    assert vectors(embedder, work) == {f"t:{n}" for n in range(700)} - {"t:3", "t:600"}
    assert vectors(embedder, embedder.processor.process(tweets(["a:1"], first=700))) == {"t:700"}
    assert vectors(embedder, embedder.processor.process(tweets([POISON], first=701))) == set()
    assert embedder.targets.active(HOME)
    (error,) = status(embedder).errors
    assert error.startswith(f"{embedder.bundle}: candidates go without a vector, 3 so far, t:701 the last: ")
    assert "NaN or infinite" in error
    assert registry.get_sample_value("roost_candidates_passed_over_total", {"surface": HOME}) == 3


def test_what_was_passed_over_is_forgotten_with_its_bundle(embedder: Embedder) -> None:
    """An operator who rolled back must not read of it for ever."""
    embedder.enter(Stage.BUILDING)
    embedder.log.say(embedder.bundle, Stage.DRAINING)
    embedder.processor.between()
    embedder.processor.process(tweets([POISON]))
    assert len(status(embedder).errors) == 1
    embedder.enter(Stage.RETIRED)
    assert status(embedder).errors == ()


def test_a_bundle_that_is_building_is_set_aside_for_it(embedder: Embedder) -> None:
    """The controller aborts its rollout by that: passed over in silence, the fault would go live."""
    embedder.enter(Stage.BUILDING)
    assert vectors(embedder, embedder.processor.process(tweets(["a:1", POISON]))) == set()
    assert not embedder.targets.active(HOME)
    (error,) = status(embedder).errors
    assert error.startswith(f"{embedder.bundle}: ")
    assert "NaN or infinite" in error
