"""The world on every shipped surface: what a log of each must hold for its towers to have something to learn."""

from dataclasses import replace

import numpy as np
import pytest

from lab.world import Clock, World
from lab.world.settings import DAY_S, LIVELY
from lab.world.surfaces import SurfaceWorld
from schemas.features.catalog import CATALOG
from schemas.records.feedback import Engagement, Impression, QueryToken
from schemas.surfaces import Surface, load_surfaces
from schemas.tokens import read_token

SURFACES = load_surfaces()
NOW_MS = 1_700_000_000_000
SETTINGS = replace(LIVELY, users=120, authors=80, tweets_per_day=300, languages=4, topics=12)


def world_of(surface: Surface) -> SurfaceWorld:
    """Return a small world on a surface."""
    return SurfaceWorld(World(SETTINGS), surface, Clock(NOW_MS, DAY_S, 1_440.0))


@pytest.mark.parametrize("surface", SURFACES.values(), ids=SURFACES)
def test_a_log_is_of_what_was_published_in_order_of_time_and_says_what_was_asked_from(surface: Surface) -> None:
    """Impressions of something nobody published would come out as examples without features."""
    world = world_of(surface)
    published = {told.candidate_id: told for told in world.publications()}
    for told in published.values():
        told.check(append_time_ms=NOW_MS)
        assert told.candidate_id.startswith(surface.id_prefix)
    log = world.log(60)
    assert log == world_of(surface).log(60), "equal arguments tell the same"
    assert [event.event_time_ms for event in log] == sorted(event.event_time_ms for event in log)
    shown = {(event.request_id, event.candidate_id) for event in log if isinstance(event, Impression)}
    assert {(event.request_id, event.candidate_id) for event in log if isinstance(event, Engagement)} < shown
    assert {candidate_id for _, candidate_id in shown} <= published.keys()
    asks_context = any(field.source.startswith("context.") for field in CATALOG[surface.feature_spec].query)
    for event in log:
        if isinstance(event, Impression):
            token = read_token(QueryToken, event.query_token)
            assert (token is not None and set(token.features.context) == {"author_id", "language", "topic"}) == asks_context


def test_nobody_follows_whom_they_follow_already() -> None:
    """Who to follow is of others: an account followed is worth nothing there, however much its tweets are."""
    world = world_of(SURFACES["who-to-follow"])
    follows = World(SETTINGS).users.profiles.follows
    question = world.questions(1)[0]
    worth = world.worth(question)
    assert worth[follows[question.user]].max() < 1e-9
    assert worth[~follows[question.user]].max() > 0.01


def test_nobody_is_suggested_whom_they_follow_already() -> None:
    """They were a third to a half of what was shown: impressions that no user of such a surface ever has, all of them negatives."""
    world = World(replace(SETTINGS, authors=400))
    log = SurfaceWorld(world, SURFACES["who-to-follow"], Clock(NOW_MS, DAY_S, 1_440.0)).log(60)
    shown = [event for event in log if isinstance(event, Impression)]
    follows = world.users.profiles.follows
    assert not any(follows[int(event.user_id[2:]), int(event.candidate_id.partition(":")[2])] for event in shown)
    assert len(shown) == 60 * 8, "others take their places"


def test_what_shares_the_clicked_tweets_topic_is_worth_more_than_without_the_click() -> None:
    """Or the context would teach nothing, and a tower that ignored it would be as good."""
    world = world_of(SURFACES["notification-landing"])
    items = world.catalogue.items
    for question in world.questions(20):
        clicked = World(SETTINGS).tweets.topics[question.clicked, 0]
        shared = (items.topics == clicked).any(axis=1)
        asked, unasked = world.worth(question), world.worth(replace(question, clicked=-1))
        assert np.all(asked[shared] > unasked[shared])
        assert np.all(asked >= unasked)


def test_what_is_not_of_the_surface_is_worth_nothing() -> None:
    """An answer with another surface's candidates must not look good."""
    world = world_of(SURFACES["news-push"])
    question = world.questions(1)[0]
    assert world.worth(question, ["t:1", "n:1"])[0] == 0
    # of its prefix, but nothing that the world made
    assert world.worth(question, ["n:probe-1", "n:99999999"]).tolist() == [0, 0]
