"""Days played under the production policy: biased as served logs are, and labelled as the truth says."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from lab.observed.log import KINDS, POSITIVE, UNFAVORITE, WorldLog
from lab.world import World, WorldSettings, simulate
from lab.world.policy import Shelf, Visits, propensities, serve
from lab.world.settings import DAY_S, LIVELY
from lab.world.simulation import Simulation
from schemas.surfaces import load_surfaces

SMALL = WorldSettings(seed=3, users=500, authors=120, tweets_per_day=500)
DAYS = 3


@pytest.fixture(scope="module")
def log() -> WorldLog:
    """Three days of a small world."""
    return simulate(SMALL, DAYS, test_users=100)


@pytest.fixture(scope="module")
def world() -> World:
    """The world the log is of."""
    made = World(SMALL)
    made.reach(DAYS * DAY_S)
    return made


def test_the_served_log_is_biased_against_the_corpus(log: WorldLog, world: World) -> None:
    """The paper's whole subject: served pairs are mostly readable, relevant and popular; pairs of the corpus are not."""
    shown = log.impressions
    served_p = world.probability(shown.user, shown.tweet, shown.time_s).mean()
    assert served_p > 5 * log.truth.p.mean()
    language = log.tweets.language
    served_declared = log.profiles.languages[shown.user, language[shown.tweet]].mean()
    corpus_declared = log.profiles.languages[:, language].mean()
    assert served_declared > 2 * corpus_declared
    # in a user's declared languages: popularity alone
    counts = np.bincount(shown.tweet, minlength=len(log.tweets))
    top = np.sort(counts)[::-1]
    assert top[: len(top) // 10].sum() > 0.2 * counts.sum()


def test_labels_follow_the_true_probability(log: WorldLog, world: World) -> None:
    """A metric on labels estimates the truth only if P(label = 1) is p, at every p."""
    shown = log.impressions
    p = world.probability(shown.user, shown.tweet, shown.time_s)
    edges = np.quantile(p, np.linspace(0, 1, 9))
    for low, high in pairwise(edges):
        part = (p >= low) & (p <= high)
        sigma = np.sqrt((p[part] * (1 - p[part])).sum()) / part.sum()
        assert (shown.label[part] == POSITIVE).mean() == pytest.approx(p[part].mean(), abs=4.5 * sigma + 1e-9)


def test_content_in_an_unread_language_gets_no_engagement_but_annoyance(log: WorldLog, world: World) -> None:
    """What makes a mismatch harmful: nobody likes it, some ask for less."""
    shown = log.impressions
    unread = ~world.users.spoken[shown.user, log.tweets.language[shown.tweet]]
    assert unread.sum() > 300
    assert (shown.label[unread] == POSITIVE).mean() < 0.003
    assert (shown.label[unread] == -1).mean() > 2 * (shown.label[~unread] == -1).mean() > 0


def test_nearly_all_engagements_come_within_the_label_window(log: WorldLog) -> None:
    """The labeler closes the window then; CONTRACTS asks for 95%."""
    window_s = load_surfaces()["home-timeline"].label_window_s
    # those whose window ends before the log does: later ones are cut off
    full = log.impressions.time_s[log.engagements.impression] < DAYS * DAY_S - window_s * 20
    delay_s = (log.engagements.time_s - log.impressions.time_s[log.engagements.impression])[full]
    assert (delay_s > 0).all()
    assert (delay_s <= window_s).mean() >= 0.95
    assert (delay_s > window_s).any(), "late engagements, which become corrections, must occur too"


def test_every_kind_occurs_and_an_undo_comes_after_what_it_undoes(log: WorldLog) -> None:
    """Counters and labels must be seen to go back."""
    done = log.engagements
    assert set(np.unique(done.kind)) == set(range(len(KINDS)))
    favorited = {row: time for row, kind, time in zip(done.impression, done.kind, done.time_s, strict=True) if kind == 0}
    undone = done.kind == UNFAVORITE
    for row, time in zip(done.impression[undone], done.time_s[undone], strict=True):
        assert favorited[row] < time
        assert log.impressions.label[row] == 0


def test_nobody_is_shown_a_tweet_twice_or_before_it_is_or_after_it_died(log: WorldLog) -> None:
    """A pair with two labels, or a tweet from the future, is no example."""
    shown = log.impressions
    pairs = shown.user * len(log.tweets) + shown.tweet
    assert len(np.unique(pairs)) == len(pairs)
    assert (shown.time_s >= log.tweets.created_s[shown.tweet]).all()
    # a visit takes a few seconds, in which a tweet may die
    assert (shown.time_s < log.tweets.dead_s[shown.tweet] + 60).all()
    assert (np.diff(shown.time_s) >= 0).all()
    assert shown.position.max() < SMALL.tweets_per_visit


def test_the_truth_at_the_end_covers_what_is_alive(log: WorldLog, world: World) -> None:
    """Retrieval is judged against every candidate live at test time, no more and no fewer."""
    truth = log.truth
    assert truth.time_s == DAYS * DAY_S
    assert (truth.tweet == log.tweets.alive(truth.time_s)).all()
    assert truth.p.shape == (100, len(truth.tweet))
    assert truth.p[5] == pytest.approx(world.probability(truth.user[5], truth.tweet, truth.time_s))
    assert (truth.p_favorite <= truth.p).all()
    assert (truth.p_retweet <= truth.p).all()
    assert truth.readable is not None
    assert truth.p[~truth.readable].max() < 0.01


def test_a_lively_world_is_one_for_demos() -> None:
    """Minutes of traffic must hold enough engagements to fine-tune on."""
    lively = replace(LIVELY, users=400, tweets_per_day=500)
    assert (simulate(lively, 1, test_users=5).impressions.label == POSITIVE).mean() == pytest.approx(1 / 6, abs=0.05)


def test_equal_seeds_give_equal_logs(log: WorldLog) -> None:
    """Baselines and challengers must see one world."""
    again = simulate(SMALL, DAYS, test_users=100)
    assert (again.impressions.tweet == log.impressions.tweet).all()
    assert (again.impressions.label == log.impressions.label).all()
    assert (again.engagements.time_s == log.engagements.time_s).all()
    other = simulate(replace(SMALL, seed=4), 1, test_users=10)
    assert len(other.impressions) != (log.impressions.time_s < DAY_S).sum()


def test_visits_left_to_others_are_not_served(world: World) -> None:
    """The closed loop serves its own users: production must leave them alone and still tell when they come."""
    elsewhere = np.arange(500) % 2 == 0
    simulation = Simulation(World(SMALL), elsewhere=elsewhere)
    steps = [simulation.step() for _ in range(6)]
    assert not elsewhere[np.concatenate([step.impressions.user for step in steps])].any()
    visitors = np.concatenate([step.visits.user for step in steps])
    assert len(visitors) > 0
    assert elsewhere[visitors].all()


def test_the_policy_reaches_only_what_a_heuristic_names(world: World) -> None:
    """The bias is structural: an unfollowed author in an undeclared language has propensity exactly 0."""
    rows = world.tweets.alive(2 * DAY_S)
    visits = Visits(np.arange(40), np.full(40, 2 * DAY_S))
    chance = propensities(world.users.profiles, world.tweets, Shelf(rows, np.zeros(len(rows))), visits)
    declared = world.users.profiles.languages[:40][:, world.tweets.language[rows]]
    followed = world.users.profiles.follows[:40][:, world.tweets.author[rows]]
    assert (chance[~declared & ~followed] == 0).all()
    assert (chance[declared] > 0).all()
    assert (chance.sum(1) <= 1 + 1e-5).all()


def test_an_empty_shelf_serves_nothing(world: World) -> None:
    """The first moments of a world have no tweets."""
    visits = Visits(np.arange(4), np.zeros(4))
    none = serve(
        world.users.profiles,
        world.tweets,
        Shelf(np.zeros(0, np.int64), np.zeros(0)),
        visits,
        k=5,
        rng=np.random.default_rng(0),
    )
    assert (none == -1).all()
