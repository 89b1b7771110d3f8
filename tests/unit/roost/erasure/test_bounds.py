"""How long a topic keeps what, from its configuration."""

from dataclasses import replace

from roost.erasure.bounds import Keeping
from schemas.surfaces import load_surfaces
from schemas.topics import DAY_MS, HOUR_MS, deletes_kept_ms, embeddings_topic, standard_topics
from streams.userstate.markers import KEPT_MS

# what Kafka has where we set nothing
DEFAULTS = {"segment.ms": str(7 * DAY_MS), "max.compaction.lag.ms": str(2**63 - 1), "delete.retention.ms": str(DAY_MS)}
PROMISED_DAYS = 36


def keeping(name: str) -> Keeping:
    """Return what our own configuration of a topic comes to."""
    topics = (*standard_topics(), embeddings_topic("0" * 16, load_surfaces()["home-timeline"]))
    (topic,) = [topic for topic in topics if topic.name == name]
    return Keeping.of(DEFAULTS | topic.config)


def test_a_retained_record_goes_with_its_segment() -> None:
    """The broker drops closed segments only: the time until one is closed counts."""
    assert keeping("impressions").retained_ms == 31 * DAY_MS + HOUR_MS
    assert keeping("user-events").retained_ms == 8 * DAY_MS + HOUR_MS
    assert keeping("tweets").cleaned_ms == 8 * DAY_MS + HOUR_MS, "nobody writes to its silent partitions"
    assert keeping(f"embeddings.{'0' * 16}").retained_ms == (50 * HOUR_MS) + 50 * HOUR_MS // 8 + HOUR_MS


def test_a_replaced_value_goes_with_the_next_round_and_the_null_two_rounds_later() -> None:
    """Compaction removes the null of a key only after a first round and its own retention."""
    users = keeping("users")
    assert (users.retained_ms, users.cleaned_ms) == (None, 37 * HOUR_MS)
    assert users.null_ms == (37 + 24 + 37) * HOUR_MS


def test_without_a_limit_of_the_lag_nothing_is_promised() -> None:
    """A cluster whose topics were made by hand: the search must not promise what the broker does not."""
    bare = Keeping.of(DEFAULTS | {"cleanup.policy": "compact", "retention.ms": "-1"})
    assert (bare.retained_ms, bare.cleaned_ms, bare.null_ms) == (None, None, None)


def test_a_retention_of_the_largest_number_is_none() -> None:
    """Many write "for ever" so; when its end was to be printed, in the year 292 million, the search ended with a traceback."""
    unlimited = str(2**63 - 1)
    for limits in ({"retention.ms": unlimited}, {"retention.ms": str(DAY_MS), "segment.ms": unlimited}):
        assert Keeping.of(DEFAULTS | {"cleanup.policy": "delete"} | limits).retained_ms is None


def test_the_last_trace_of_a_user_is_gone_within_what_the_guide_promises() -> None:
    """The marker outlives everything else, and the guide names one number."""
    null_ms = keeping("user-states").null_ms
    assert null_ms is not None
    last_ms = KEPT_MS + null_ms
    assert last_ms <= PROMISED_DAYS * DAY_MS
    longest = replace(load_surfaces()["home-timeline"], recency_window_s=30 * 86_400)
    assert deletes_kept_ms([longest]) + null_ms <= last_ms, (
        "the delete of a candidate, with the longest window that the guide names"
    )
    for topic in standard_topics():
        kept = Keeping.of(DEFAULTS | topic.config)
        if "delete" in topic.config["cleanup.policy"] and topic.config["retention.ms"] != "-1":
            assert kept.retained_ms is not None
            assert kept.retained_ms <= last_ms, topic.name
