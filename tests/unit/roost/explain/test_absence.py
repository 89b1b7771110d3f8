"""The first missing step on a candidate's way, and the epoch that answered a user at a moment."""

from dataclasses import replace

import pytest

from roost.explain.absence import Absence, absence
from roost.explain.epoch_at import bundle_at, rollout_at
from roost.explain.timeline import Step, Timeline, embedded_step, folded_step, source_step
from schemas.codec import encode
from schemas.features.hashing import canary_bucket
from schemas.records.candidates import Candidate, CandidateAttributes, Tweet, embedding_subject
from schemas.records.control import BundleStage, Rollout, Stage
from schemas.surfaces import load_surfaces
from schemas.topics import ROLLOUTS
from schemas.wire.inbound import InboundRecord
from tests.posts import Post, deletion, embedding

HOME = load_surfaces()["home-timeline"]
BUNDLE, OTHER = "a" * 16, "b" * 16
NOW_MS = 1_700_000_000_000
PUBLISHED = Step(NOW_MS - 500, "published", "tweets", 2, 7, None, (NOW_MS - 500, 0), NOW_MS - 500)
FOLDED = Step(NOW_MS - 400, "folded", "candidates", 2, 3, None, (NOW_MS - 500, 0), NOW_MS - 500)
EMBEDDED = Step(NOW_MS - 300, "embedded", f"embeddings.{BUNDLE}", 2, 9, BUNDLE, (NOW_MS - 500, 0), NOW_MS - 500)
WHOLE = (PUBLISHED, FOLDED, EMBEDDED)


def why(*steps: Step, applied: int | None = 10, held: bool = True, now_ms: int = NOW_MS, gone: bool = False) -> Absence:
    """Return the absence of t:1."""
    positions = None if applied is None else {"2": applied}
    timeline = Timeline(steps, frozenset({BUNDLE} if gone else ()))
    return absence(timeline, "t:1", HOME, BUNDLE, now_ms=now_ms, applied=positions, held=held)


@pytest.mark.parametrize(
    ("steps", "cause"),
    [
        ((), "never_published"),
        ((PUBLISHED,), "not_folded"),
        ((replace(FOLDED, what="stub", created_ms=None),), "only_engagements"),
        ((PUBLISHED, replace(FOLDED, what="deleted")), "deleted"),
        ((PUBLISHED, FOLDED), "not_embedded"),
        ((PUBLISHED, FOLDED, replace(EMBEDDED, bundle=OTHER)), "not_embedded"),
        ((*WHOLE, replace(EMBEDDED, what="embedding deleted", offset=10)), "deleted"),
        (WHOLE, "in_index"),
    ],
)
def test_the_first_missing_step_is_named(steps: tuple[Step, ...], cause: str) -> None:
    """Each has another owner: the producer, the embedder, the node."""
    assert why(*steps, applied=11).cause == cause


def test_what_the_node_has_not_applied_is_told_from_what_it_applied_and_does_not_hold() -> None:
    """The one passes by itself, the other is a fault."""
    assert why(*WHOLE, applied=9).cause == "not_applied"
    assert why(*WHOLE, applied=10, held=False).cause == "not_in_force"
    assert why(*WHOLE, applied=None).cause == "in_index"


def test_what_left_the_recency_window_is_expired_with_how_long_ago() -> None:
    """A candidate that was there yesterday is the most common question."""
    late = why(*WHOLE, now_ms=NOW_MS - 500 + int(HOME.recency_window_s * 1000) + 9_000)
    assert late.cause == "expired"
    assert "9 s ago" in late.sentence


def test_compaction_that_left_only_the_embedding_is_no_absence() -> None:
    """Tweets are kept for a week; what is in the index may have nothing else left."""
    assert why(EMBEDDED).cause == "in_index"


def test_a_moment_of_the_past_sees_only_what_was_there() -> None:
    """The user asks about the answer of ten minutes ago."""
    assert why(*Timeline(WHOLE).until(NOW_MS - 350).steps, applied=None).cause == "not_embedded"


@pytest.mark.parametrize(
    ("steps", "cause"),
    [
        ((), "never_published"),
        ((PUBLISHED,), "no_longer_known"),
        ((PUBLISHED, FOLDED), "no_longer_known"),
        ((PUBLISHED, replace(FOLDED, what="deleted")), "deleted"),
    ],
)
def test_what_a_retired_bundle_held_is_not_known_any_more(steps: tuple[Step, ...], cause: str) -> None:
    """Its topic went with it: the moment that was told as in_index before would be told as not embedded, which it never was."""
    assert why(*steps, applied=None, gone=True).cause == cause


def record(topic: str, value: bytes | None) -> InboundRecord:
    """Return a record about t:1."""
    return InboundRecord(topic, 2, 5, NOW_MS, b"t:1", value)


def test_records_are_read_as_steps() -> None:
    """What each topic says, in the words of one timeline."""
    post = Post("t:1", created_ms=NOW_MS)
    tweet = Tweet("t:1", NOW_MS, 0, "a:1", NOW_MS)
    assert source_step(record("tweets", encode(tweet))) == Step(NOW_MS, "published", "tweets", 2, 5, None, (NOW_MS, 0), NOW_MS)
    assert source_step(record("tweets", encode(replace(tweet, deleted=True)))).what == "deleted"
    assert source_step(record("tweets", None)).what == "deleted"
    candidate = Candidate("t:1", NOW_MS, 0, NOW_MS, attributes=CandidateAttributes("a:1", NOW_MS))
    assert folded_step(record("candidates", encode(candidate))).what == "folded"
    assert folded_step(record("candidates", encode(replace(candidate, attributes=None)))).what == "stub"
    assert folded_step(record("candidates", encode(replace(candidate, deleted=True)))).what == "deleted"
    assert folded_step(record("candidates", None)).what == "forgotten"
    live = encode(embedding(post, [1.0] * 64, append_time_ms=NOW_MS), subject=embedding_subject(64))
    gone = encode(deletion("t:1", post.current_version, dim=64, append_time_ms=NOW_MS), subject=embedding_subject(64))
    assert embedded_step(record("e", live), BUNDLE, 64).what == "embedded"
    assert embedded_step(record("e", gone), BUNDLE, 64).what == "embedding deleted"
    assert embedded_step(record("e", None), BUNDLE, 64).what == "forgotten"


def test_the_epoch_of_a_moment_is_the_one_in_force_then_for_that_user() -> None:
    """During a canary two users are answered by two bundles at one moment."""
    live = BundleStage(BUNDLE, Stage.LIVE)
    states = [
        Rollout(HOME.name, 1, bundles=(live,)),
        Rollout(HOME.name, 2, bundles=(live, BundleStage(OTHER, Stage.CANARY, 5_000, "salt"))),
    ]
    lines = [encode(states[0]), b"garbled", encode(Rollout("news-push", 1)), encode(states[1])]
    log = [InboundRecord(ROLLOUTS, 0, n, 1_000 * (n + 1), b"", value) for n, value in enumerate(lines)]
    assert rollout_at(log, HOME.name, 999) is None
    assert rollout_at(log, HOME.name, 3_999) == states[0]
    then = rollout_at(log, HOME.name, 5_000)
    assert then == states[1]
    users = [f"u:{n}" for n in range(40)]
    assert {bundle_at(then, user) for user in users} == {BUNDLE, OTHER}
    for user in users:
        assert bundle_at(then, user) == (OTHER if canary_bucket("salt", user) < 5_000 else BUNDLE)
    assert bundle_at(then, None) == BUNDLE
