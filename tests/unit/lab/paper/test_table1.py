"""The experiment's plumbing on a small world: what is measured, of whom, and that it can be told from noise."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lab.observed.parquet import to_parquet
from lab.paper.evaluate import Split, evaluate, evaluate_lists, retrieve, split
from lab.paper.experiment import ExperimentSettings
from lab.paper.models.recipes import PAPER
from lab.paper.table1 import table1
from lab.paper.truth import oracle_lists
from lab.world import WorldSettings, simulate
from schemas.errors import InvalidInput
from schemas.features.catalog import CATALOG
from schemas.manifest import Metric
from trainer.learning.towers import TorchEmbedder, TowerConfig, TwoTowers

SPEC = CATALOG["tweet-v1"]
WORLD = WorldSettings(users=250, authors=60, tweets_per_day=200, languages=5)
DAYS = 3.5
SETTINGS = ExperimentSettings(
    world=WORLD,
    days=DAYS,
    test_users=100,
    towers=TowerConfig(dim=32, embedding_dim=8, hidden=(32,)),
    recipes=tuple(replace(recipe, epochs=1) for recipe in PAPER),
    threads=1,
)


@pytest.fixture(scope="module")
def data() -> Split:
    """A split of a small world."""
    return split(simulate(WORLD, DAYS, test_users=100), SPEC)


def test_nothing_of_the_test_days_is_learned_from(data: Split) -> None:
    """A leak would show as a model that is too good; warm-up days, in which nobody has a history, are left out."""
    test_begin_ms = (DAYS - 1) * 86_400_000
    assert data.train.event_time_ms.max() < test_begin_ms <= data.test.event_time_ms.min()
    assert data.train.event_time_ms.min() >= 2 * 86_400_000
    assert len(data.train) > 500
    assert len(data.queries) == 100
    assert data.corpus.items.tolist() == data.log.truth.tweet.tolist()


def test_a_log_too_short_for_the_split_is_refused() -> None:
    """`--world` may be of one day."""
    with pytest.raises(InvalidInput, match="too short"):
        split(simulate(WORLD, 1, test_users=5), SPEC)


def test_random_negatives_are_as_old_as_what_is_served(data: Split) -> None:
    """Negatives with the counters of the last moment would teach that many engagements are a bad sign."""
    assert len(np.unique(data.train_corpus.items)) < len(data.train_corpus)


class Clairvoyant:
    """A candidate's vector is the unit vector of its column, a query's the truth of its user: their product is p."""

    metric: Metric = "inner_product"

    def __init__(self, p: NDArray[np.float64]) -> None:
        self._p = p.astype(np.float32)

    def embed_queries(self, ids: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return the rows of p, one for each of the truth's users."""
        return self._p[: len(ids)]

    def embed_candidates(self, ids: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return one unit vector for each of the truth's candidates."""
        return np.eye(self._p.shape[1], dtype=np.float32)[: len(ids)]


def test_a_model_that_knows_the_truth_retrieves_the_oracles_lists(data: Split) -> None:
    """The upper end of every scale, through the same code as any model."""
    p = data.log.truth.p
    lists = retrieve(Clairvoyant(p), data, 20)
    best = oracle_lists(data.log.truth, 20)
    assert np.take_along_axis(p, lists, axis=1) == pytest.approx(np.take_along_axis(p, best, axis=1), rel=1e-4)


def test_the_oracle_is_better_than_production_and_production_equals_itself(data: Split) -> None:
    """The A/B's scale: production is 0, the oracle its top; its intervals do not touch 0."""
    oracle = evaluate_lists(oracle_lists(data.log.truth, 200), data)
    production = evaluate_lists(data.production, data)
    assert production.ab_favorite_pct.value == 0
    assert oracle.ab_favorite_pct.low > 0
    assert oracle.engagement_at_10.value > production.engagement_at_10.value
    assert oracle.unreadable.value == 0
    assert np.isnan(oracle.auc)


def test_every_figure_of_a_model_is_measured(data: Split) -> None:
    """An untrained model is near chance on AUC: the metric itself adds nothing."""
    measured = evaluate(TorchEmbedder(TwoTowers(SPEC, SETTINGS.towers, seed=0)), data)
    assert all(np.isfinite(value) for value in measured.values().values())
    assert 0.35 < measured.per_user_auc < 0.65
    for name, (low, high) in measured.intervals().items():
        assert low <= measured.values()[name] <= high, name


def test_table_1_has_a_row_a_model_for_every_seed(tmp_path: Path) -> None:
    """The contract of `roost paper table1 --json`, on a world of somebody else's: seeds then differ in training alone."""
    to_parquet(simulate(WORLD, DAYS, test_users=100), tmp_path)
    told: list[tuple[object, ...]] = []
    table = table1([1, 2], SETTINGS, world=tmp_path, on_progress=lambda *what: told.append(what))
    models = ["implicit", "random", "random_in_batch", "fine_tuned", "roost"]
    assert table.keys() == {"seeds", "rows", "per_seed"}
    assert [row["model"] for row in table["rows"]] == models
    assert table["seeds"] == [1, 2]
    assert [[row["model"] for row in rows] for rows in table["per_seed"]] == [models, models]
    figures = {"auc", "per_user_auc", "language_mismatch", "popularity_correlation", "unreadable", "engagement_at_10"}
    figures |= {"engagement_at_200", "fresh_share", "fresh_engagement"}
    assert table["rows"][0].keys() == {"model", *figures, "ab_favorite_pct", "ab_retweet_pct", "ci"}
    for mean, one, other in zip(table["rows"], *table["per_seed"], strict=True):
        assert one["auc"] is not None
        assert other["auc"] is not None
        assert mean["auc"] == pytest.approx((one["auc"] + other["auc"]) / 2)
        assert mean["ci"]["auc"] == [min(one["auc"], other["auc"]), max(one["auc"], other["auc"])]
        low, high = one["ci"]["engagement_at_10"]
        assert one["engagement_at_10"] is not None
        assert low <= one["engagement_at_10"] <= high
    assert json.loads(json.dumps(table, allow_nan=False)) == table
    assert {what[1] for what in told} == {"world", *models[:-1]}


def test_a_world_that_does_not_say_what_is_read_has_no_unreadable_share(tmp_path: Path) -> None:
    """`readable` is optional in `--world`: NaN is no JSON, and 0 would look like a result."""
    log = simulate(WORLD, DAYS, test_users=20)
    to_parquet(replace(log, truth=replace(log.truth, readable=None)), tmp_path)
    table = table1([1], replace(SETTINGS, recipes=SETTINGS.recipes[1:2], joinings=()), world=tmp_path)
    assert table["rows"][0]["unreadable"] is None
    assert "unreadable" not in table["per_seed"][0][0]["ci"]
    assert set(table["rows"][0]["ci"].values()) == {None}, "one seed has no range over seeds"
    json.dumps(table, allow_nan=False)


def test_a_fine_tune_starts_from_its_parent() -> None:
    """Table 1's last row is the in-batch model, tuned: at a tenth of the rate, for one epoch (section 6.2)."""
    recipes = {recipe.name: recipe for recipe in PAPER}
    tuned = recipes["fine_tuned"]
    assert tuned.parent == "random_in_batch"
    assert tuned.learning_rate == pytest.approx(recipes[tuned.parent].learning_rate / 10)
    assert tuned.epochs == 1
    assert list(recipes).index(tuned.parent) < list(recipes).index(tuned.name)
