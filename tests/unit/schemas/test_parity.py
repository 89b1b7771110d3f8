"""How far a bundle is, what is still asked of it, the time left. The rule itself is tested where the controller goes by it."""

from dataclasses import replace

from schemas.parity import progress_of
from schemas.records.control import SILENCE_MS, BundleStage, NodeStatus, Progress, Rollout, SourcePosition, Stage

HOME, LIVE, NEW = "home-timeline", "a" * 16, "b" * 16
NOW_MS = 1_000_000


def state(stage: Stage = Stage.BUILDING) -> Rollout:
    """Return a rollout with a bundle that entered its stage 30 s ago."""
    return Rollout(HOME, 4, bundles=(BundleStage(LIVE, Stage.LIVE), BundleStage(NEW, stage, since_ms=NOW_MS - 30_000)))


def embedder(*, whole: int) -> NodeStatus:
    """Return an embedder's heartbeat: two partitions, the first `whole` of them written."""
    progress = (Progress(HOME, NEW, p, embeddings_end=100, backfill_done=p < whole) for p in range(2))
    return NodeStatus("embedder:0", NOW_MS, ready=True, progress=tuple(progress))


def node(name: str, applied: int, coverage: float | None, recall: float | None) -> NodeStatus:
    """Return a node's heartbeat."""
    progress = tuple(Progress(HOME, NEW, p, applied=applied, live_count=60 * (1 - p)) for p in range(2))
    of = [{} if value is None else {NEW: value} for value in (coverage, recall)]
    return NodeStatus(f"node:{name}", NOW_MS, ready=True, progress=progress, coverage=of[0], recall=of[1])


def test_each_node_says_what_its_gate_still_asks_and_the_slowest_gives_the_time() -> None:
    """Hand-worked: 75% in 30 s leaves 10 s; 60% leaves 20 s."""
    (found,) = progress_of(state(), [embedder(whole=1), node("n2", 70, 0.6, None), node("n1", 90, 0.75, 0.99)], NOW_MS)
    assert (found.bundle, found.backfilled, found.partitions) == (NEW, 1, 2)
    first, second = found.nodes
    assert (first.node, first.rows, first.behind, first.coverage, first.recall) == ("n1", 60, 20, 0.75, 0.99)
    assert first.missing == "coverage 99.99%, all of its topic"
    assert second.missing == "coverage 99.99%, recall 0.95, all of its topic"
    assert [first.eta_s, second.eta_s, found.eta_s] == [10.0, 20.0, 20.0]


def test_a_node_that_has_everything_is_asked_nothing() -> None:
    """An operator looks at this column alone."""
    (found,) = progress_of(state(), [embedder(whole=2), node("n1", 100, 1.0, 0.98)], NOW_MS)
    assert (found.nodes[0].missing, found.nodes[0].behind, found.eta_s) == ("", 0, None)


def test_a_bundle_whose_embedder_is_not_done_lacks_what_no_node_can_give() -> None:
    """Every node may have applied all there is while the corpus is half written, or its input is an hour behind."""

    def missing(*, whole: int, behind_ms: int, partitions: int | None = None) -> str:
        written = embedder(whole=whole).progress
        mine = tuple(replace(p, source={"tweets": SourcePosition(1, NOW_MS - behind_ms)}) for p in written)
        of_live = tuple(replace(p, bundle=LIVE, source={"tweets": SourcePosition(1, NOW_MS)}) for p in written)
        beat = replace(embedder(whole=2), progress=mine + of_live)
        (found,) = progress_of(state(), [beat, node("n1", 100, 1.0, 0.98)], NOW_MS, partitions=partitions)
        assert found.at_parity is (not found.missing)
        return found.missing

    assert missing(whole=2, behind_ms=1_000) == ""
    assert missing(whole=1, behind_ms=0) == "the corpus of every partition"
    assert missing(whole=2, behind_ms=1_001) == "its input within 1 s of the live bundle's"
    assert missing(whole=2, behind_ms=0, partitions=3) == "the corpus of every partition"


def test_a_node_that_refuses_the_bundle_says_why_and_one_that_fell_silent_is_not_counted() -> None:
    """The quorum is of live nodes."""
    refusing = replace(node("n1", 0, None, None), errors=("disk full", f"{NEW}: is corrupt"))
    silent = replace(node("n2", 100, 1.0, 1.0), time_ms=NOW_MS - SILENCE_MS)
    (found,) = progress_of(state(), [embedder(whole=2), refusing, silent], NOW_MS)
    assert [one.missing for one in found.nodes] == [f"{NEW}: is corrupt"]


def test_of_two_embedders_that_name_a_partition_the_later_counts() -> None:
    """After a rebalance the one that lost the partition still stands in the log, with what it knew."""
    former = replace(embedder(whole=1), instance="embedder:1", time_ms=NOW_MS - 1)
    (found,) = progress_of(state(), [embedder(whole=2), former], NOW_MS)
    assert found.backfilled == 2


def test_without_an_embedder_nothing_is_known_to_be_applied() -> None:
    """No news is not good news."""
    (found,) = progress_of(state(Stage.READY), [node("n1", 100, 1.0, 1.0)], NOW_MS)
    assert (found.partitions, found.nodes[0].behind, found.nodes[0].missing) == (0, None, "all of its topic")


def test_a_surface_without_a_bundle_under_way_has_no_progress() -> None:
    """Most of the time."""
    assert progress_of(state(Stage.RETIRED), [embedder(whole=2)], NOW_MS) == ()
