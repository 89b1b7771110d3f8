"""The topics against the contracts' table, written out once more by hand."""

from dataclasses import replace

from schemas.surfaces import load_surfaces
from schemas.topics import CHANGELOG_SEGMENT_BYTES, deletes_kept_ms, embeddings_topic, standard_topics

DAY = 86_400_000
# name: key, cleanup, retention in days (-1 for ever), compaction lag in days
TABLE: dict[str, tuple[str, str, int, int | None]] = {
    "tweets": ("candidate", "compact,delete", 7, 1),
    "accounts": ("candidate", "compact,delete", 7, 1),
    "articles": ("candidate", "compact,delete", 7, 1),
    "users": ("user", "compact", -1, 1),
    "impressions": ("candidate", "delete", 30, None),
    "engagements": ("candidate", "delete", 30, None),
    "candidates": ("candidate", "compact", -1, 1),
    "user-events": ("user", "delete", 7, None),
    "user-states": ("user", "compact", -1, 1),
    "examples": ("user", "delete", 30, None),
    "labeler-state": ("join", "compact", -1, 1),
    "rollout-commands": ("surface", "delete", -1, None),
    "rollouts": ("surface", "delete", -1, None),
    "node-status": ("node", "compact", -1, None),
}
OWNED = ("tweets", "accounts", "articles", "users", "impressions", "engagements", "user-events", "rollout-commands")
ONE_PARTITION = {"rollout-commands", "rollouts", "node-status"}


def test_every_topic_is_as_the_contracts_table_says() -> None:
    """A retention too short loses data, a missing compaction fills the disk, and neither shows for days."""
    topics = {topic.name: topic for topic in standard_topics(8)}
    assert topics.keys() == TABLE.keys() | {f"{name}.dlq" for name in OWNED}
    for name, (key, cleanup, days, lag_days) in TABLE.items():
        topic = topics[name]
        assert (topic.key, topic.config["cleanup.policy"]) == (key, cleanup), name
        assert topic.config["retention.ms"] == str(days * DAY if days > 0 else -1), name
        assert topic.config.get("max.compaction.lag.ms") == (None if lag_days is None else str(lag_days * DAY)), name
        assert topic.partitions == (1 if name in ONE_PARTITION else 8), name


def test_every_topic_takes_the_brokers_clock_and_keeps_tombstones_a_day() -> None:
    """Replayed data carries old event times; a snapshot younger than a day must not miss a delete."""
    bundle = "0123456789abcdef"
    for topic in (*standard_topics(), embeddings_topic(bundle, load_surfaces()["home-timeline"])):
        assert topic.config["message.timestamp.type"] == "LogAppendTime"
        compacted = "compact" in topic.config["cleanup.policy"]
        assert topic.config.get("delete.retention.ms") == (str(DAY) if compacted else None), topic.name


def test_a_delete_is_remembered_as_long_as_an_older_record_may_come() -> None:
    """Forgotten sooner, a redelivery brings the candidate back; an account's ends too, though accounts do not age."""
    home, accounts = load_surfaces()["home-timeline"], load_surfaces()["who-to-follow"]
    assert deletes_kept_ms([accounts]) == deletes_kept_ms([home, accounts]) == deletes_kept_ms([]) == 7 * DAY
    assert deletes_kept_ms([accounts, replace(home, recency_window_s=30 * 86_400)]) == 30 * DAY


def test_a_changelog_is_closed_and_cleaned_by_size() -> None:
    """Whoever restarts reads all of it: with the broker's gigabyte a segment, a day of changes."""
    segments = {topic.name: topic.config.get("segment.bytes") for topic in standard_topics()}
    changelogs = {name for name, size in segments.items() if size == str(CHANGELOG_SEGMENT_BYTES)}
    assert changelogs == {"candidates", "user-states", "labeler-state"}


def test_what_names_a_person_leaves_the_broker_within_a_day_of_its_time() -> None:
    """The broker drops whole closed segments, and cleans no open one: with its own week a segment, 30 days would be 37."""
    people = {"users", "user-states", "labeler-state", "impressions", "engagements", "user-events", "examples"}
    for topic in standard_topics():
        if topic.name in people or topic.name.endswith(".dlq"):
            closed_after = topic.config.get("max.compaction.lag.ms") or topic.config["segment.ms"]
            assert int(closed_after) <= DAY, topic.name


def test_embeddings_are_kept_for_the_recency_window_and_two_hours() -> None:
    """Accounts, which never expire, are compacted only."""
    home = load_surfaces()["home-timeline"]
    recent = embeddings_topic("0123456789abcdef", home, 8)
    assert (recent.name, recent.partitions, recent.key) == ("embeddings.0123456789abcdef", 8, "candidate")
    assert recent.config["cleanup.policy"] == "compact,delete"
    assert recent.config["retention.ms"] == str(172_800_000 + 7_200_000)
    assert int(recent.config["segment.ms"]) * 8 <= int(recent.config["retention.ms"]), "else it is kept for a broker's week longer"
    forever = embeddings_topic("0123456789abcdef", replace(home, recency_window_s=0))
    assert (forever.config["cleanup.policy"], forever.config["retention.ms"]) == ("compact", "-1")


def test_all_topics_of_one_key_have_one_partition_count() -> None:
    """Partition p of one holds the ids of partition p of all."""
    for key in ("candidate", "user"):
        assert {topic.partitions for topic in standard_topics(6) if topic.key == key} == {6}
