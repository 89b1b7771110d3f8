"""What the doctor calls wrong, on facts worked by hand."""

import pytest

from roost.doctor.checks import (
    ahead_ms,
    check_clock,
    check_disk,
    check_embedders,
    check_lag,
    check_node,
    check_roles,
    check_topics_found,
)
from roost.doctor.finding import Verdict
from schemas.wire.admin import Setting, TopicFault

GIB = 1 << 30
A, B = ("tweets", 0), ("tweets", 1)


def test_a_disk_is_wrong_before_it_is_full() -> None:
    """The broker stops at a write it cannot make: there must be time to make room."""
    assert check_disk("bundles", "/data", free_bytes=2 * GIB, total_bytes=9 * GIB).verdict is Verdict.OK
    found = check_disk("bundles", "/data", free_bytes=GIB // 2, total_bytes=9 * GIB)
    assert found.verdict is Verdict.WRONG
    assert "0.5 GiB free of 9" in found.sentence


@pytest.mark.parametrize(
    ("append_ms", "ahead"),
    [(1_000, 0), (1_050, 0), (1_100, 0), (900, 100), (1_500, -400)],
)
def test_only_what_lies_outside_the_round_trip_is_a_difference_of_clocks(append_ms: int, ahead: int) -> None:
    """Our clock went from 1,000 to 1,100 while the record was under way."""
    assert ahead_ms(append_ms, 1_000, 1_100) == ahead


def test_a_clock_minutes_off_is_wrong_and_seconds_off_a_note() -> None:
    """Five minutes ahead of the broker, every event is a dead letter."""
    assert check_clock(0).verdict is Verdict.OK
    assert check_clock(-5_000).verdict is Verdict.NOTE
    assert check_clock(120_000).verdict is Verdict.WRONG
    assert "120.0 s ahead" in check_clock(120_000).sentence


def test_lag_is_wrong_only_when_nobody_takes_the_records() -> None:
    """A busy role always has some; one that is down has some and stays where it is."""
    ends = {A: 10, B: 4}
    assert check_lag("embed", {A: 10, B: 4}, {A: 10, B: 4}, ends, apart_s=3).verdict is Verdict.OK
    assert check_lag("embed", {A: 5, B: 4}, {A: 7, B: 4}, ends, apart_s=3).verdict is Verdict.OK
    stuck = check_lag("embed", {A: 5, B: 4}, {A: 5, B: 4}, ends, apart_s=3)
    assert (stuck.verdict, stuck.sentence) == (Verdict.WRONG, "5 records wait in tweets/0, none was taken in 3 s")
    never = check_lag("embed", {A: None, B: None}, {A: None, B: None}, ends, apart_s=3)
    assert (never.verdict, "14 records wait" in never.sentence) == (Verdict.WRONG, True)
    assert check_lag("embed", {A: None}, {A: None}, {A: 0}, apart_s=3).verdict is Verdict.NOTE


def test_a_partition_that_stands_still_is_wrong_whatever_the_others_do() -> None:
    """One that waits for a schema, or whose record cannot be taken, hides behind ten thousand that are."""
    found = check_lag("embed", {A: 0, B: 5}, {A: 0, B: 6}, {A: 10_000, B: 7}, apart_s=3)
    assert found.verdict is Verdict.WRONG
    assert found.sentence == "10,000 records wait in tweets/0, none was taken in 3 s; others are taken"
    never = check_lag("embed", {A: None, B: 5}, {A: None, B: 6}, {A: 1, B: 7}, apart_s=3)
    assert (never.verdict, "1 records wait in tweets/0" in never.sentence) == (Verdict.WRONG, True)


def test_each_fault_of_a_topic_comes_with_the_command_that_mends_it() -> None:
    """An operator copies it; a partition count cannot be mended without losing the records, and that must be said."""
    assert [finding.verdict for finding in check_topics_found(22, [], "k:1")] == [Verdict.OK]
    faults = [
        TopicFault("tweets", "does not exist", missing=True),
        TopicFault("users", "has another cleanup", setting=Setting("cleanup.policy", "delete", "compact,delete")),
        TopicFault("examples", "has 3 partitions"),
    ]
    create, alter, recreate = check_topics_found(22, faults, "k:1")
    assert create.fix == "roost topics create --bootstrap k:1"
    assert alter.fix == "roost topics alter --bootstrap k:1"
    assert "its records are lost" in recreate.fix


def test_a_role_that_is_down_names_its_log() -> None:
    """The launcher revives it for ever: the reason stands in the log alone."""
    assert check_roles({"embed": 7}, {"embed": 0}).verdict is Verdict.OK
    found = check_roles({"embed": 7, "label": 0}, {})
    assert (found.verdict, "label" in found.sentence, "logs/label.log" in found.fix) == (Verdict.WRONG, True, True)


def test_a_role_that_ends_after_every_start_is_named_although_it_runs() -> None:
    """Between two ends nothing else shows it: no lag, and every role is there."""
    found = check_roles({"embed": 7, "label": 8}, {"embed": 5, "label": 0})
    assert (found.verdict, found.fix) == (Verdict.NOTE, "read in logs/embed.log why")
    assert found.sentence.endswith("started again since `roost up`: embed 5 times")


def test_a_node_that_waits_for_its_first_bundle_is_not_ill() -> None:
    """A fresh deployment is not ready, and nothing is wrong with it; an alarm is."""
    assert check_node("u", ready=True, reasons=(), alarms=(), index_alarms=()).verdict is Verdict.OK
    assert check_node("u", ready=False, reasons=("no bundle is live",), alarms=(), index_alarms=()).verdict is Verdict.NOTE
    assert check_node("u", ready=False, reasons=(), alarms=("a bad embedding at 3",), index_alarms=()).verdict is Verdict.WRONG
    assert check_node("u", ready=None, reasons=(), alarms=(), index_alarms=()).verdict is Verdict.WRONG


def test_an_alarm_of_the_index_is_wrong_though_the_node_is_ready() -> None:
    """It answers all the same, with less than it should find: who asks the doctor was told that nothing is wrong."""
    found = check_node("u", ready=True, reasons=(), alarms=(), index_alarms=("bundle 3f9a: recall is below .95",))
    assert (found.verdict, found.fix.startswith("roost index audit")) == (Verdict.WRONG, True)
    assert "recall is below .95" in found.sentence


def test_what_an_embedder_says_is_wrong_is_wrong() -> None:
    """Its heartbeat alone knows that candidates get no vector: the node is ready, its topics are fine, and nothing lags."""
    (finding,) = check_embedders(["embedder 0: 3f9a: candidates go without a vector"])
    assert finding.verdict is Verdict.WRONG
    assert "without a vector" in finding.sentence
    assert check_embedders([])[0].verdict is Verdict.OK
