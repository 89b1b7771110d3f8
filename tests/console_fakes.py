"""A deployment as the console reads it, made up: readings, bundles, answers, a controller that obeys the rules. Holds no test."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from schemas.bundle import Gate, Manifest
from schemas.errors import CompareAndSetLost, Refused, RoostError
from schemas.features.catalog import TWEET
from schemas.groups import Committed
from schemas.manifest import CanaryVectors
from schemas.records.control import (
    BundleStage,
    CanaryReport,
    NodeStatus,
    Outcome,
    Progress,
    Rollout,
    RolloutCommand,
    SourcePosition,
    Stage,
)
from schemas.rollout import answer, fold, nothing_yet
from schemas.surfaces import Surface
from serving.api import (
    AgeCount,
    Answer,
    ExplainRequest,
    Explanation,
    Freshness,
    Holding,
    RetrievedCandidate,
    RetrieveRequest,
    SurfaceStats,
    Why,
)
from serving.console.histogram import Histogram
from serving.console.readings import (
    FOUND_SECONDS,
    NEW_SECONDS,
    QUERY_SECONDS,
    BrokerReading,
    ConsoleParts,
    DeadLetters,
    Delays,
    Heartbeat,
    Moment,
    NodeReading,
    SampledDelays,
    WrittenTable,
)
from serving.health import AuditHealth, BundleHealth, GroupKind, GroupRecall, NodeHealth, SurfaceHealth
from serving.index import IndexStats

HOME = Surface("home", "tweets", "t:", TWEET.name, 64, "engagements", "write-time", 1800, 172_800)
LIVE, NEXT, SPARE = "1" * 16, "2" * 16, "3" * 16
NOW_MS = 1_800_000_000_000
URL = "http://127.0.0.1:1"
BOUNDS = (0.01, 0.1, 1.0, float("inf"))


def stage(bundle: str, state: Stage, **changes: Any) -> BundleStage:
    """Return a bundle in a stage since a minute ago."""
    return replace(BundleStage(bundle, state, since_ms=NOW_MS - 60_000), **changes)


def rollout(*bundles: BundleStage, revision: int = 5, **changes: Any) -> Rollout:
    """Return a state of the surface."""
    return replace(Rollout(HOME.name, revision, time_ms=NOW_MS - 60_000, bundles=bundles), **changes)


def embedder(
    *, bundles: Sequence[str] = (LIVE,), next_offset: int = 90, end: int = 50, backfilled: bool = True, at_ms: int = NOW_MS
) -> Heartbeat:
    """Return an embedder's report on one partition of each bundle."""
    source = {"tweets": SourcePosition(next_offset, at_ms), "engagements": SourcePosition(7, at_ms)}
    progress = tuple(
        Progress(HOME.name, bundle, 0, source=source, embeddings_end=end, live_count=40, backfill_done=backfilled)
        for bundle in bundles
    )
    return Heartbeat(NodeStatus("embedder:0", at_ms, True, progress=progress), at_ms)


def node(
    *,
    name: str = "n1",
    coverage: Mapping[str, float] | None = None,
    recall: float | None = 0.99,
    applied: int = 48,
    at_ms: int = NOW_MS,
    errors: tuple[str, ...] = (),
) -> Heartbeat:
    """Return a node's report."""
    covered = coverage or {LIVE: 1.0}
    found = {} if recall is None else dict.fromkeys(covered, recall)
    progress = tuple(Progress(HOME.name, bundle, 0, applied=applied, live_count=40) for bundle in covered)
    status = NodeStatus(
        f"node:{name}", at_ms, True, url=URL, progress=progress, coverage=dict(covered), recall=found, errors=errors
    )
    return Heartbeat(status, at_ms)


def controller(*canaries: CanaryReport, at_ms: int = NOW_MS) -> Heartbeat:
    """Return a controller's report."""
    return Heartbeat(NodeStatus("controller:0", at_ms, True, canaries=canaries), at_ms)


def index_stats(live: int = 40) -> IndexStats:
    """Return an index with rows in every tier."""
    return IndexStats(live, 5, 30, 1, 20, 2, 3, 60, 4, 123_456, True, 0.1, None)


def reading(
    *,
    name: str = "n1",
    bundles: Sequence[tuple[str, str]] = ((LIVE, "live"),),
    reasons: tuple[str, ...] = (),
    queries: float = 100,
    audit: AuditHealth | None = None,
) -> NodeReading:
    """Return what a node says over HTTP."""
    of_bundles = tuple(
        BundleHealth(bundle, at, None, None, (), {0: 48}, 1.0, None, 3, index_stats(), audit=audit) for bundle, at in bundles
    )
    surface = SurfaceHealth(HOME.name, 5, LIVE, LIVE, None, of_bundles)
    health = NodeHealth(name, not reasons, reasons, (surface,), users=9, masked=0, flips=0, broker_age_s=0.1)
    ages = [AgeCount(0.0, 3_600.0, 30), AgeCount(3_600.0, None, 10)]
    stats = {HOME.name: SurfaceStats(HOME.name, LIVE, NOW_MS, 40, {"ja": 20, "ar": 15, "": 5}, ages)}
    counts = (queries / 2, queries * 0.9, queries, queries)
    histograms = {metric: {HOME.name: Histogram(BOUNDS, counts)} for metric in (QUERY_SECONDS, FOUND_SECONDS, NEW_SECONDS)}
    return NodeReading(f"node:{name}", URL, None, health, stats, histograms)


def audited(*groups: tuple[GroupKind, str, float, float, float], queries: int = 60) -> AuditHealth:
    """Return an audit that found (kind, group, recall, lower, upper)."""
    return AuditHealth(queries, 10, 1, 0, tuple(GroupRecall(kind, name, queries, *bounds) for kind, name, *bounds in groups))


COMMITTED = {
    "embed": {("tweets", 0): 90, ("engagements", 0): 7},
    "label": {("engagements", 0): 7},
    "control": {("rollout-commands", 0): 1},
}


def moment(
    state: Rollout | None = None,
    *,
    at_ms: int = NOW_MS,
    beats: Sequence[Heartbeat] | None = None,
    nodes: Sequence[NodeReading] | None = None,
    tweets_end: int = 100,
    committed: Mapping[str, Committed] | None = None,
    **changes: Any,
) -> Moment:
    """Return a moment of a deployment with one live bundle, one node and one embedder, unless told otherwise."""
    state = rollout(stage(LIVE, Stage.LIVE)) if state is None else state
    beats = (embedder(), node(), controller()) if beats is None else beats
    broker = BrokerReading(
        None,
        {HOME.name: state},
        {HOME.name: (state,)},
        {beat.status.instance: beat for beat in beats},
        {"tweets": {0: tweets_end}, "engagements": {0: 7}},
        COMMITTED if committed is None else committed,
    )
    delays = {HOME.name: SampledDelays(Delays((1, 2), (9, 11), (10, 14)), Delays((0,), (400,), (410,)))}
    made = Moment(
        at_ms, broker, (reading(),) if nodes is None else tuple(nodes), delays, users=("u:1", "u:🦉"), dead_letters=DeadLetters(2)
    )
    return replace(made, **changes)


def manifest(*, passed: bool = True, parent: str | None = None, **metrics: float) -> Manifest:
    """Return a manifest with two gates."""
    gates = (Gate("auc", 0.71, 0.45, True, "fine"), Gate("language_mismatch", 0.4, 0.6, passed, "so so"))
    canary = CanaryVectors([], [], [], [])
    return Manifest(
        HOME.name, 64, "cosine", TWEET, {}, canary, NOW_MS - 3_600_000, "pretrain", "1.0", parent, metrics=metrics, gates=gates
    )


@dataclass
class FakeCatalog:
    """A registry of made-up manifests; None is a bundle that cannot be read."""

    manifests: dict[str, Manifest | None] = field(
        default_factory=lambda: {LIVE: manifest(auc=0.7), NEXT: manifest(auc=0.8, parent=LIVE)}
    )

    def bundles(self, surface: str) -> list[str]:
        """See `Catalog`."""
        return list(self.manifests)

    def manifest(self, surface: str, bundle: str) -> Manifest | None:
        """See `Catalog`."""
        return self.manifests.get(bundle)


@dataclass
class FakeWatch:
    """Readings that a test sets."""

    kept: list[Moment] = field(default_factory=list)

    def moments(self) -> Sequence[Moment]:
        """See `HasMoments`."""
        return tuple(self.kept)

    def hurry(self) -> None:
        """See `HasMoments`; a test sets the next reading itself."""


@dataclass
class FakeController:
    """Answers commands by the rules of `schemas.rollout`, without a log."""

    state: Rollout = field(default_factory=lambda: nothing_yet(HOME.name))
    error: RoostError | None = None
    commands: list[RolloutCommand] = field(default_factory=list)

    def send(self, command: RolloutCommand) -> Rollout:
        """See `CommandSender`."""
        self.commands.append(command)
        if self.error is not None:
            raise self.error
        record = answer(self.state, command, now_ms=NOW_MS)
        if record.outcome is not Outcome.ACCEPTED:
            raise (CompareAndSetLost if record.outcome is Outcome.LOST else Refused)(record.reason)
        self.state = fold(self.state, record)
        return record


@dataclass
class FakeAsker:
    """Answers with made-up candidates, by bundle."""

    answers: dict[str, list[tuple[str, str, str]]] = field(default_factory=dict)
    error: RoostError | None = None
    requests: list[RetrieveRequest] = field(default_factory=list)
    explanations: dict[str, Explanation] = field(default_factory=dict)

    def explain(self, node_url: str, surface: str, request: ExplainRequest) -> Explanation:
        """See `Asker`."""
        self.requests.append(request)
        return self.explanations[request.pin or LIVE]

    def ask(self, node_url: str, surface: str, request: RetrieveRequest) -> Answer:
        """See `Asker`."""
        self.requests.append(request)
        if self.error is not None:
            raise self.error
        bundle = request.pin or LIVE
        return answer_of(bundle, self.answers.get(bundle, []))


def explanation_of(bundle: str, candidate_id: str, why: Why, **changes: Any) -> Explanation:
    """Return an explanation of a candidate that the live bundle holds since a minute."""
    holdings = [Holding(LIVE, (NOW_MS - 60_000, 0), NOW_MS - 60_000), Holding(NEXT, None, None)]
    known: dict[str, Any] = {"text": "雪", "language": "ja", "author_id": "a:1"} if bundle == LIVE else {}
    explained = Explanation(
        NOW_MS,
        HOME.name,
        5,
        bundle,
        "pinned",
        candidate_id,
        why,
        f"{why}, it says",
        3,
        None,
        None,
        None,
        0.4,
        [],
        None,
        holdings,
        {},
    )
    return replace(explained, **known | changes)


def answer_of(bundle: str, hits: Sequence[tuple[str, str, str]]) -> Answer:
    """Return an answer of (candidate id, language, text) in the order of ranks."""
    candidates = [
        RetrievedCandidate(candidate_id, 0.9 - rank / 100, rank, "token", language, "a:1", NOW_MS, 65.0, text)
        for rank, (candidate_id, language, text) in enumerate(hits, 1)
    ]
    return Answer("r1", HOME.name, bundle, 5, None, False, candidates, Freshness(NOW_MS, 3, {"0": 9}), 1.25)


@dataclass
class FakeResults:
    """Results that a test sets."""

    files: Mapping[str, object] = field(default_factory=dict)

    def read(self) -> Mapping[str, object]:
        """See `ResultsFolder`."""
        return self.files


class NoPaper:
    """Writes no experiment down: every result is shown as it is."""

    def tables(self, name: str, result: Mapping[str, object]) -> dict[str, WrittenTable]:
        """See `PaperTables`."""
        return {}


@dataclass
class FakeConsole:
    """Everything a console is made from, and the handles to turn."""

    watch: FakeWatch = field(default_factory=FakeWatch)
    catalog: FakeCatalog = field(default_factory=FakeCatalog)
    asker: FakeAsker = field(default_factory=FakeAsker)
    controller: FakeController = field(default_factory=FakeController)
    results: FakeResults = field(default_factory=FakeResults)

    def parts(self) -> ConsoleParts:
        """Return the parts."""
        return ConsoleParts(
            {HOME.name: HOME}, self.watch, self.catalog, self.asker, self.controller, self.results, NoPaper(), "console:me"
        )
