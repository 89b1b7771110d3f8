"""The measured recall of a shadow index: sound, damaged, empty, with users and without."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from schemas.codec import encode
from schemas.parity import MIN_RECALL
from schemas.records.users import UserState
from serving.filling.embeddings import decode_batch
from serving.filling.filled import FilledIndex
from serving.filling.masks import Masks
from serving.index import GraphConfig, IndexClosed, IndexConfig, LiveIndex
from serving.node.audit import ShadowAudit
from serving.query.epochs import Epoch
from serving.query.users import UserStore
from tests.filled_epochs import DIM, FilledEpoch, live, tweeted

COUNT = 3_000


class GraphEpoch(FilledEpoch):
    """Real towers, and an index whose searches walk a graph."""

    def __init__(self, registry: Path) -> None:
        super().__init__(registry, seed=1)
        config = IndexConfig(
            fresh_rows=256, compressed=None, graph=GraphConfig(build_from_rows=500), background=False, exact_us_per_row=10.0
        )
        self.index = LiveIndex(DIM, config)
        self.filled = FilledIndex(self.index, Masks(), id_prefix="t:")
        self.epoch = Epoch(self.bundle, self.towers, self.index, self)
        vectors = np.random.default_rng(3).normal(size=(COUNT, DIM))
        records = [live(tweeted(f"t:{n}"), vector.tolist()) for n, vector in enumerate(vectors)]
        self.filled.apply(decode_batch(self.bundle, DIM, records))
        self.index.maintain()

    def damage_graph(self) -> None:
        """Let the graph's labels name other rows: what a wrong file, or a slot renumbered badly, does in silence."""
        view = self.index.view
        assert view.graph is not None
        shuffled = np.random.default_rng(4).permutation(view.graph.slots)
        # nothing but a fault does this, so the index has no door for it
        self.index._state.view = dataclasses.replace(view, graph=dataclasses.replace(view.graph, slots=shuffled))


@pytest.fixture
def shadow(tmp_path: Path) -> Iterator[GraphEpoch]:
    """Yield a filled epoch that walks a graph."""
    epoch = GraphEpoch(tmp_path)
    yield epoch
    epoch.filled.close()


@pytest.fixture(params=["nobody", "users"])
def users(request: pytest.FixtureRequest) -> UserStore:
    """Return a node that knows nobody, or some users."""
    store = UserStore()
    if request.param == "users":
        for n in range(30):
            store.put(f"u:{n}", encode(UserState(f"u:{n}", profile_time_ms=1, languages=("ja",), interests=(f"topic-{n}",))))
        store.put("u:unseen", encode(UserState("u:unseen")))
        store.put("u:garbled", b"?")
    return store


def test_a_sound_graph_passes_and_a_damaged_one_does_not(shadow: GraphEpoch, users: UserStore) -> None:
    """A damaged graph answers quickly, with true scores, and with the wrong candidates: only an exact scan beside it tells."""
    audit = ShadowAudit(users, seed=1)
    assert audit.recall(shadow.epoch, shadow.filled) > 0.97
    shadow.damage_graph()
    assert audit.recall(shadow.epoch, shadow.filled) < MIN_RECALL


def test_an_empty_index_misses_nothing(tmp_path: Path, users: UserStore) -> None:
    """The very first bundle may come before the first tweet; its rollout must not hang."""
    empty = FilledEpoch(tmp_path, seed=1)
    assert ShadowAudit(users).recall(empty.epoch, empty.filled) == 1.0


def test_candidates_with_equal_scores_are_each_as_good(tmp_path: Path, users: UserStore) -> None:
    """A thousand copies of one text tie: which of them comes first is nobody's fault."""
    copies = FilledEpoch(tmp_path, seed=1)
    copies.fill(*(tweeted(f"t:{n}") for n in range(400)))
    assert ShadowAudit(users).recall(copies.epoch, copies.filled) == 1.0


def test_an_epoch_dropped_meanwhile_says_so(shadow: GraphEpoch) -> None:
    """An abort in the middle of a measurement must not end the heartbeat."""
    shadow.index.close()
    with pytest.raises(IndexClosed):
        ShadowAudit(UserStore()).recall(shadow.epoch, shadow.filled)
