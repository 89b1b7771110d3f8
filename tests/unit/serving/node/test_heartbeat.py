"""What a node reports, and what it hears embedders report."""

from dataclasses import replace

from schemas.codec import encode
from schemas.records.control import AnswerCounts, NodeStatus, Progress
from schemas.wire.inbound import InboundRecord
from serving.health import BundleHealth, NodeHealth, SnapshotHealth, SurfaceHealth
from serving.index import ExactIndex
from serving.node.heartbeat import EmbedderReports, holder_of, node_status

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


def test_a_name_is_its_nodes_who_began_first() -> None:
    """A node hears itself, and those of other names; it must end for none of them."""

    def heard(name: str, started_ms: int) -> InboundRecord:
        return InboundRecord(
            "node-status", 0, 0, 1, name.encode(), encode(NodeStatus(name, 1, ready=True, url="u", started_ms=started_ms))
        )

    others = [heard("node:n1", 20), heard("node:n1", 21), heard("node:n11", 3), heard("embedder:n1", 3)]
    unread = [InboundRecord("node-status", 0, 0, 1, b"node:n1", value) for value in (None, b"garbled")]
    assert holder_of("n1", [*others, *unread], started_ms=20) is None
    holder = holder_of("n1", [*others, heard("node:n1", 19)], started_ms=20)
    assert (holder and holder.url) == "u"
    assert holder_of("n1", [heard("node:n1", 0)], started_ms=20) is not None, "a release that does not say when it began"
