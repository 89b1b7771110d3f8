"""What a node reports, and what it hears embedders report."""

from dataclasses import replace

from schemas.codec import encode
from schemas.positions import write_source_ids
from schemas.records.control import AnswerCounts, NodeStatus, Progress
from schemas.wire.inbound import InboundRecord
from serving.health import BundleHealth, NodeHealth, SnapshotHealth, SurfaceHealth
from serving.index import ExactIndex
from serving.node.heartbeat import EmbedderReports, NameClaim, node_status

BUNDLE = "a" * 16


def health(*, refusal: str | None = None) -> NodeHealth:
    """Return a node with one bundle."""
    bundle = BundleHealth(
        BUNDLE,
        "live",
        refusal,
        refusal,
        ("alarm",),
        {1: 7, 0: 5},
        0.5,
        0.75,
        3,
        ExactIndex(32).stats(),
    )
    bundle = replace(
        bundle,
        as_of={"tweets": {0: 3}},
        snapshot=SnapshotHealth(trouble="the disk is full"),
        index_alarms={"recall_short": "recall is low"},
    )
    surface = SurfaceHealth("home", 4, BUNDLE, BUNDLE, None, (bundle,))
    return NodeHealth("n1", True, (), (surface,), users=0, masked=0, flips=0, broker_age_s=None)


def report(name: str, time_ms: int, *counts: tuple[int, int]) -> InboundRecord:
    """Return an instance's heartbeat with the live counts of some partitions."""
    progress = tuple(Progress("home", BUNDLE, partition, live_count=count) for partition, count in counts)
    value = encode(NodeStatus(name, time_ms, ready=True, progress=progress))
    return InboundRecord("node-status", 0, 0, time_ms, name.encode(), value)


def test_a_heartbeat_has_a_line_for_each_partition_and_counts_rows_once() -> None:
    """The controller sums over partitions."""
    status = node_status(health(), {BUNDLE: AnswerCounts(9, 1)}, time_ms=9, url="http://x")
    assert status.instance == "node:n1"
    assert [(p.partition, p.applied) for p in status.progress] == [(0, 5), (1, 7)]
    assert [{topic: place.next_offset for topic, place in p.source.items()} for p in status.progress] == [{"tweets": 3}, {}]
    assert (status.revisions, status.live, status.coverage) == ({"home": 4}, {"home": BUNDLE}, {BUNDLE: 0.5})
    assert status.recall == {BUNDLE: 0.75}
    assert status.answers == {BUNDLE: AnswerCounts(9, 1)}
    assert status.errors == ("alarm", f"bundle {BUNDLE}: recall is low", "the disk is full")


def test_a_doubt_about_an_index_does_not_look_like_a_refused_bundle() -> None:
    """The controller would reject a good bundle for a builder that lags."""
    errors = node_status(health(), {BUNDLE: AnswerCounts(9, 1)}, time_ms=9, url="").errors
    assert not any(error.startswith(f"{BUNDLE}: ") for error in errors)


def test_a_refused_bundle_is_named_at_the_front_of_its_error() -> None:
    """The controller rejects a bundle that every node refuses by exactly this form."""
    assert node_status(health(refusal="is corrupt"), {}, time_ms=9, url="").errors[0] == f"{BUNDLE}: is corrupt"


def test_the_newest_report_of_each_partition_counts_and_nodes_do_not() -> None:
    """After a rebalance two embedders may name one partition; the older report is history."""
    skipped: list[int] = []
    reports = EmbedderReports(skipped=lambda: skipped.append(1))
    assert reports.live_count(BUNDLE) is None
    reports.handle([report("embedder:1", 10, (0, 5), (1, 5)), report("embedder:2", 20, (1, 8)), report("node:n", 30, (0, 99))])
    assert reports.live_count(BUNDLE) == 13
    reports.handle([InboundRecord("node-status", 0, 3, 40, b"embedder:2", None)])
    assert reports.live_count(BUNDLE) == 10
    reports.handle([InboundRecord("node-status", 0, 4, 50, b"embedder:1", b"garbled")])
    assert (reports.live_count(BUNDLE), skipped) == (10, [1])


def test_a_report_is_as_new_as_the_broker_has_it() -> None:
    """An embedder whose clock was minutes ahead, and that ended, was believed before the one in its place."""
    reports = EmbedderReports(skipped=lambda: None)
    ahead = report("embedder:1", 900, (0, 5))._replace(timestamp_ms=10)
    reports.handle([ahead, report("embedder:2", 20, (0, 8))._replace(timestamp_ms=20)])
    assert reports.live_count(BUNDLE) == 8


def test_a_report_tells_of_which_topics_its_positions_are() -> None:
    """Of another topic of the name they would say that the index reflects what it does not."""
    reports = EmbedderReports(skipped=lambda: None)
    told = report("embedder:1", 10, (0, 5))._replace(headers=write_source_ids({"tweets": "x"}))
    reports.handle([told, report("embedder:2", 20, (1, 8))])
    assert {partition: one.source_ids for partition, one in reports.of(BUNDLE).items()} == {0: {"tweets": "x"}, 1: {}}


def heard(offset: int, name: str, started_ms: int, url: str = "u") -> InboundRecord:
    """Return a node's heartbeat at a place in the log."""
    value = encode(NodeStatus(name, 1, ready=True, url=url, started_ms=started_ms))
    return InboundRecord("node-status", 0, offset, 1, name.encode(), value)


def test_a_name_is_the_nodes_that_reported_first_whatever_the_clocks_say() -> None:
    """By their clocks, a node restarted on a machine whose clock is behind ended the one that had served for days."""
    for first_ms, second_ms in ((20, 9_000), (9_000, 20), (20, 20)):
        log = [heard(0, "node:n1", first_ms, "a"), heard(1, "node:n1", second_ms, "b"), heard(2, "node:n1", first_ms, "a")]
        log.append(heard(3, "node:n1", second_ms, "b"))
        assert NameClaim("n1", started_ms=first_ms).holder(log, url="a") is None
        holder = NameClaim("n1", started_ms=second_ms).holder(log, url="b")
        assert (holder and holder.url) == "a"


def test_a_name_whose_node_has_ended_is_free_though_it_is_in_the_log() -> None:
    """A node hears itself, its predecessors and those of other names, some twice; it must end for none of them."""
    ended = [heard(0, "node:n1", 30), heard(1, "node:n1", 0)]
    others = [heard(2, "node:n11", 3), heard(3, "embedder:n1", 3)]
    unread = [InboundRecord("node-status", 0, 4, 1, b"node:n1", value) for value in (None, b"garbled")]
    log = [*ended, *others, *unread, heard(5, "node:n1", 20)]
    claim = NameClaim("n1", started_ms=20)
    assert claim.holder(log[:-1], url="u") is None
    assert not claim.made, "those before it, and others, made none for it"
    assert claim.holder(log, url="u") is None
    assert claim.holder(log, url="u") is None, "the topic is read again from its beginning"
    assert claim.holder([heard(6, "node:n1", 40)], url="u") is None, "who comes later has to end itself"
    assert claim.holder([heard(7, "node:n1", 0)], url="u") is not None, "a release that does not say when it began"


def test_a_name_is_decided_by_the_log_that_is_there() -> None:
    """By offsets of a topic that is gone, whoever came to the one in its place was never heard after this node."""
    claim = NameClaim("n1", started_ms=20)
    assert claim.holder([heard(0, "node:n1", 10, "old"), heard(900, "node:n1", 20, "b")], url="b") is None
    claim.start_over()
    assert claim.made, "a node that answers goes on while the topic is made anew"
    log = [heard(0, "node:n1", 30, "a"), heard(1, "node:n1", 20, "b"), heard(2, "node:n1", 30, "a")]
    holder = claim.holder(log, url="b")
    assert (holder and holder.url) == "a"
    claim.start_over()
    assert claim.holder([heard(0, "node:n1", 20, "b"), heard(1, "node:n1", 10, "old")], url="b") is None, (
        "who comes later ends itself"
    )


def test_reports_of_a_topic_that_is_gone_count_no_more() -> None:
    """An embedder that ended was in it for ever; those that live report within a second."""
    reports = EmbedderReports(skipped=lambda: None)
    reports.handle([report("embedder:1", 10, (0, 5)), report("embedder:2", 20, (1, 8))])
    reports.start_over()
    assert reports.live_count(BUNDLE) is None
    reports.handle([report("embedder:2", 30, (1, 9))])
    assert reports.live_count(BUNDLE) == 9
