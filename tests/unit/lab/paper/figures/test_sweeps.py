"""Figures 5 and 6 on a small world: what each step varies, what is asked, and where an elbow is."""

import json
from collections.abc import Iterator

import numpy as np
import pytest

from lab.observed.log import WorldLog
from lab.paper.evaluate import split
from lab.paper.figures.fig5 import fig5, related
from lab.paper.figures.fig6 import elbow, fig6
from lab.paper.figures.sweep import SweepSettings
from lab.world import WorldSettings, simulate
from schemas.errors import InvalidInput
from trainer.data.columns import Examples
from trainer.learning.towers import TowerConfig

SETTINGS = SweepSettings(
    world=WorldSettings(users=200, authors=60, tweets_per_day=200, languages=5, willing_mean=1.0),
    days=3.5,
    towers=TowerConfig(dim=32, embedding_dim=8, hidden=(32,)),
    epochs=1,
)


@pytest.fixture(scope="module")
def log() -> WorldLog:
    """A small, lively world."""
    return simulate(SETTINGS.world, SETTINGS.days, test_users=1)


def test_a_related_query_is_the_last_tweet_engaged_with_before_the_visit(log: WorldLog) -> None:
    """Figure 5's query and candidate are both tweets: nothing of the user, and nothing from after the question."""
    cut = split(log, SETTINGS.spec)
    data = related(log, cut, SETTINGS.spec)
    assert 0 < len(data.train) <= len(cut.train)
    asked = np.unique(data.train.query)[:40]
    starts = np.cumsum([0, *(field.slots for field in SETTINGS.spec.query)])
    context = [at for at, field in enumerate(SETTINGS.spec.query) if field.source.startswith("context.")]
    of_user = data.train.queries.ids[asked][:, : starts[context[0]]]
    assert not of_user.any()
    done, shown = log.engagements, log.impressions
    for query in asked:
        begin_ms = data.train.event_time_ms[data.train.query == query].min()
        user = data.train.queries.users[query]
        before = (shown.user[done.impression] == user) & (np.rint(done.time_s * 1000) < begin_ms)
        languages = log.tweets.language[shown.tweet[done.impression[before]]]
        assert data.train.queries.languages[query, 0] in languages
        assert (data.train.queries.languages[query, 1:] == -1).all()


def test_who_has_engaged_with_nothing_asks_for_nothing(log: WorldLog) -> None:
    """Mismatch is measured over queries: half of them were one and the same, of a tweet that nobody had engaged with."""
    cut = split(log, SETTINGS.spec)
    data = related(log, cut, SETTINGS.spec)
    for asked, shown in ((data.train, cut.train), (data.test, cut.test)):
        assert len(shown.queries) > len(asked.queries), "some of this world had engaged with nothing"
        assert np.array_equal(np.unique(asked.query), np.arange(len(asked.queries)))
        assert set(_shown(asked)) <= set(_shown(shown)), "what is left has kept its user"


def _shown(examples: Examples) -> Iterator[tuple[int, int, int]]:
    return zip(examples.users.tolist(), examples.items.tolist(), examples.event_time_ms.tolist(), strict=True)


def test_figure_5_has_a_row_a_ratio_and_the_triplet_loss_at_the_last() -> None:
    """The contract of `roost paper fig5 --json`."""
    told: list[tuple[int, float]] = []
    figure = fig5([1], SETTINGS, ratios=(1, 8), on_progress=lambda *what: told.append(what))
    assert [(row["loss"], row["negatives"]) for row in figure["rows"]] == [
        ("cross_entropy", 1),
        ("cross_entropy", 8),
        ("triplet", 8),
    ]
    pointwise, triplet = figure["rows"][1]["per_user_auc"], figure["rows"][2]["per_user_auc"]
    assert figure["triplet_gain_pct"] == pytest.approx(100 * (triplet / pointwise - 1))
    assert told == [(1, 1), (1, 8), (1, 8)]
    assert set(figure["rows"][0]["ci"].values()) == {None}, "from x to x is no interval"
    json.dumps(figure, allow_nan=False)


def test_figure_6_has_a_row_a_t() -> None:
    """The contract of `roost paper fig6 --json`; a weight changes what is learned."""
    figure = fig6([1, 2], SETTINGS, ts=(0.1, 10.0))
    assert [row["t"] for row in figure["rows"]] == [0.1, 10.0]
    assert figure["rows"][0]["auc"] != figure["rows"][1]["auc"]
    assert figure["rows"][0]["auc"] == pytest.approx(np.mean([rows[0]["auc"] for rows in figure["per_seed"]]))
    json.dumps(figure, allow_nan=False)


def test_the_elbow_is_where_most_of_the_rise_is_made() -> None:
    """From .20 to .60, 80% of the rise is .52: the third of four. Without a rise there is no elbow; a gap is skipped."""
    rows = [{"t": t, "popularity_correlation": r} for t, r in ((1.0, 0.20), (10.0, 0.50), (100.0, 0.53), (1_000.0, 0.60))]
    assert elbow(rows) == 100.0
    assert elbow([{"t": 0.1, "popularity_correlation": None}, *rows]) == 100.0
    assert elbow(rows[::-1]) is None


def test_an_elbow_of_nothing_measured_is_refused_with_a_reason() -> None:
    """A world too small for a correlation ended in an index out of range, after all its trainings."""
    for rows in ([], [{"t": 1.0, "popularity_correlation": None}]):
        with pytest.raises(InvalidInput, match="no t has a popularity correlation"):
            elbow(rows)
