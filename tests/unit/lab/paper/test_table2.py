"""Table 2 on a small world: every arm against production, and the references that no model made."""

import json
from dataclasses import replace

import numpy as np
import pytest

from lab.paper.evaluate import Split, split
from lab.paper.experiment import ExperimentSettings, Trained
from lab.paper.table2 import declared_only, popular, rows_of, table
from lab.paper.truth import MISSING
from lab.world import WorldSettings, simulate
from schemas.features.catalog import CATALOG
from trainer.learning.towers import TorchEmbedder, TowerConfig, TwoTowers

SPEC = CATALOG["tweet-v1"]
SETTINGS = ExperimentSettings(towers=TowerConfig(dim=32, embedding_dim=8, hidden=(32,)), threads=1)


@pytest.fixture(scope="module")
def data() -> Split:
    """A split of a small world."""
    return split(simulate(WorldSettings(users=250, authors=60, tweets_per_day=200, languages=5), 3.5, test_users=80), SPEC)


@pytest.fixture(scope="module")
def model() -> TorchEmbedder:
    """Untrained towers."""
    return TorchEmbedder(TwoTowers(SPEC, SETTINGS.towers, seed=0))


def test_every_arm_is_put_against_production(data: Split, model: TorchEmbedder) -> None:
    """The contract of `roost paper table2 --json`; no arm beats the oracle under a ranker that knows p."""
    rows = rows_of(Trained(3, data, {"implicit": model}), SETTINGS)
    result = table([(3, rows), (4, rows)], SETTINGS)
    assert [row["model"] for row in result["rows"]] == ["implicit", "language_filter", "popular", "oracle"]
    assert result["seeds"] == [3, 4]
    assert (result["candidates"], result["slots"], result["ranker_noise"]) == (200, 10, 1.0)
    changes = {row["model"]: row["ab_favorite_pct"] for row in result["rows"]}
    assert max(changes, key=lambda name: changes[name]) == "oracle"
    interval = rows[0]["ci"]["ab_favorite_pct"]
    assert interval is not None
    assert interval[0] < rows[0]["ab_favorite_pct"] < interval[1]
    assert result["rows"][0]["ab_favorite_pct"] == pytest.approx(rows[0]["ab_favorite_pct"])
    json.dumps(result, allow_nan=False)


def test_a_hard_filter_mismatches_nobody(data: Split, model: TorchEmbedder) -> None:
    """That it still loses engagements is what makes a mismatch of 0 prove nothing (section 4.3.2)."""
    lists = declared_only(model, data)
    for row, declared in zip(lists, data.queries.languages, strict=True):
        assert set(data.corpus.languages[row[row != MISSING]]) <= set(declared)
    rows = {row["model"]: row for row in rows_of(Trained(3, data, {"implicit": model}), SETTINGS)}
    assert rows["language_filter"]["language_mismatch"] == 0
    assert rows["popular"]["language_mismatch"] == 0


def test_the_popular_come_first_and_a_short_language_leaves_slots_empty(data: Split) -> None:
    """Most engagements first; what is not in a declared language is not there, even if the list gets short."""
    lists = popular(data)
    counts = data.corpus.popularity[np.maximum(lists, 0)]
    there = lists != MISSING
    assert (np.diff(np.where(there, counts, -1), axis=1) <= 0).all()
    spoken = replace(data.queries, languages=np.full_like(data.queries.languages, -1))
    assert (popular(replace(data, queries=spoken)) == MISSING).all()
