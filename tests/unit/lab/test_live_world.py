"""The world as records: in order, on the clock, fast enough, and answering back."""

import time
from itertools import islice, pairwise

import numpy as np
import pytest

from lab.world import Answer, Clock, LiveWorld, Visit, World, WorldSettings, simulate
from lab.world.settings import DAY_S, HOUR_S
from schemas.codec import decode, encode
from schemas.records.base import Message
from schemas.records.candidates import Tweet
from schemas.records.feedback import Engagement, EngagementKind, Impression

SMALL = WorldSettings(seed=5, users=300, authors=80, tweets_per_day=400)
NOW_MS = 1_700_000_000_000


def _live(speed: float = 360.0, **kwargs: object) -> LiveWorld:
    return LiveWorld(World(SMALL), Clock(NOW_MS, DAY_S, speed), **kwargs)  # type: ignore[arg-type]


def test_events_come_in_order_of_time_and_a_tweet_before_its_impressions() -> None:
    """Consumers reckon watermarks from this order; an engagement before its tweet would only make stubs."""
    created: set[str] = set()
    shown: set[tuple[str | None, str]] = set()
    events = list(_live().events(until_s=DAY_S))
    assert all(a.event_time_ms <= b.event_time_ms for a, b in pairwise(events))
    for event in events:
        if isinstance(event, Tweet):
            created.add(event.candidate_id)
        elif isinstance(event, Impression):
            assert event.candidate_id in created
            shown.add((event.request_id, event.candidate_id))
        elif isinstance(event, Engagement):
            assert (event.request_id, event.candidate_id) in shown
    assert len(created) > 300
    assert len(shown) > 3_000


def test_the_stream_is_the_simulated_log() -> None:
    """What an experiment learns offline holds for the demo: one engine, two forms."""
    log = simulate(SMALL, 1)
    streamed = [event for event in _live().events(until_s=DAY_S) if isinstance(event, Impression)]
    assert [event.candidate_id for event in streamed] == [f"t:{row}" for row in log.impressions.tweet]
    assert [event.user_id for event in streamed] == [f"u:{row}" for row in log.impressions.user]


def test_events_go_on_where_they_stopped() -> None:
    """A first slice is published at once, the rest live: no event may be lost or told twice at the seam."""
    live, whole = _live(), list(_live().events(until_s=12 * HOUR_S))
    pieces = [*live.events(until_s=5 * HOUR_S), *live.events(until_s=12 * HOUR_S)]
    assert pieces == whole


def test_the_clock_compresses_delays_like_time() -> None:
    """At speed 360 the label window of 30 minutes is 5 s, and 95% of engagements must still fall into it."""
    first_slice = list(_live(speed=360).events(until_s=DAY_S))
    shown = {(e.request_id, e.candidate_id): e.event_time_ms for e in first_slice if isinstance(e, Impression)}
    delays = np.array(
        [e.event_time_ms - shown[e.request_id or "", e.candidate_id] for e in first_slice if isinstance(e, Engagement)]
    )
    assert (delays >= 0).all()
    assert (delays <= 5_000).mean() >= 0.95
    assert first_slice[-1].event_time_ms <= NOW_MS
    assert first_slice[0].event_time_ms >= NOW_MS - 86_400_000 / 360
    clock = Clock(NOW_MS, DAY_S, 360.0)
    assert clock.to_unix_ms(clock.to_world_s(NOW_MS + 12_345)) == NOW_MS + 12_345


def test_every_record_passes_the_contracts() -> None:
    """A generator that makes dead letters would test only the dead-letter topic."""
    live = _live()
    for event in (*live.users(), *live.events(until_s=DAY_S)):
        assert isinstance(event, Message)
        event.check(append_time_ms=NOW_MS)
        assert decode(type(event), encode(event)) == event


def test_deletes_name_tweets_that_were_created() -> None:
    """Deletes must reach every tier, so the world makes some."""
    records = [event for event in _live().events(until_s=3 * DAY_S) if isinstance(event, Tweet)]
    creates = {record.candidate_id: record for record in records if not record.deleted}
    deletes = [record for record in records if record.deleted]
    assert deletes
    for record in deletes:
        assert record.version > creates[record.candidate_id].version


def test_at_least_5000_events_a_second_come_from_one_core() -> None:
    """The load generator must never be what a throughput figure measures."""
    live = LiveWorld(World(WorldSettings()), Clock(NOW_MS, DAY_S, 360.0))
    events = live.events()
    list(islice(events, 500))
    start = time.process_time()
    count = sum(1 for _ in islice(events, 15_000))
    assert count / (time.process_time() - start) >= 5_000


def test_answers_are_reacted_to_with_their_tokens() -> None:
    """The closed loop: what was served comes back as impressions that carry what `retrieve` gave."""
    live = _live()
    list(live.events(until_s=DAY_S))
    best = [f"t:{row}" for row in live.world.oracle(np.array([3]), DAY_S, 10)[0]]
    answer = Answer("r-1", "u:3", best, "home-timeline", "0123456789abcdef", "query-token", [f"token-{n}" for n in range(10)])
    reaction = live.react(answer, NOW_MS)
    assert [i.candidate_id for i in reaction.impressions] == best[:8]
    assert [i.token for i in reaction.impressions] == [f"token-{n}" for n in range(8)]
    assert {(i.bundle, i.query_token, i.request_id, i.surface) for i in reaction.impressions} == {
        ("0123456789abcdef", "query-token", "r-1", "home-timeline")
    }
    assert len(live.react(answer, NOW_MS, shown=10).impressions) == 10
    p = live.world.probability(3, live.world.oracle(np.array([3]), DAY_S, 8)[0], DAY_S)
    assert reaction.expected == pytest.approx(p.mean(), rel=1e-3)
    assert reaction.unreadable == 0


def test_better_answers_get_more_engagement() -> None:
    """An A/B test on the world can tell a good model from a bad one, by its events alone."""
    live = _live()
    list(live.events(until_s=DAY_S))
    alive = live.world.tweets.alive(DAY_S)
    rng = np.random.default_rng(0)
    good = bad = 0
    for user in range(150):
        best = [f"t:{row}" for row in live.world.oracle(np.array([user]), DAY_S, 8)[0]]
        chance = [f"t:{row}" for row in rng.choice(alive, 8, replace=False)]
        for ids, name in ((best, "best"), (chance, "chance")):
            reaction = live.react(Answer(f"{name}-{user}", f"u:{user}", ids, "home-timeline"), NOW_MS)
            liked = sum(e.kind is EngagementKind.FAVORITE for e in reaction.engagements)
            good, bad = (good + liked, bad) if name == "best" else (good, bad + liked)
    assert good > 5 * max(bad, 1)


def test_strange_answers_are_shown_and_never_liked() -> None:
    """Brand-new demo tweets, films, hostile ids: the loop goes on."""
    live = _live()
    list(live.events(until_s=HOUR_S))
    ids = ["t:demo", "t:ml-1", "t:", "t:٣", "t:00", "t:-1", "t:999999999", "t:" + "9" * 40]
    reaction = live.react(Answer("r", "u:1", ids, "home-timeline"), NOW_MS)
    assert [i.candidate_id for i in reaction.impressions] == ids
    assert reaction.engagements == []
    assert reaction.expected == 0
    assert live.react(Answer("r", "u:1", [], "home-timeline"), NOW_MS).impressions == []
    with pytest.raises(ValueError, match="not of this world"):
        live.react(Answer("r", "u:300", ids, "home-timeline"), NOW_MS)


def test_visits_wait_for_an_answer() -> None:
    """In the closed loop the world says who comes; the product says what they see."""
    elsewhere = np.arange(300) < 100
    live = _live(elsewhere=elsewhere)
    events = list(live.events(until_s=6 * HOUR_S))
    visitors = {event.user_id for event in events if isinstance(event, Visit)}
    served = {event.user_id for event in events if isinstance(event, Impression)}
    assert visitors
    assert all(int(user_id[2:]) < 100 for user_id in visitors)
    assert all(int(user_id[2:]) >= 100 for user_id in served)
