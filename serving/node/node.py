"""The node put together: its followers, its keepers, its heartbeat. Starts and stops threads; the parts do the work."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, KafkaError, Message, Producer

from schemas.codec import decode, encode
from schemas.errors import BundleError, InvalidInput
from schemas.records.control import NODE, Rollout
from schemas.rollout import UNDER_WAY
from schemas.surfaces import Surface
from schemas.topics import NODE_STATUS, ROLLOUTS, USER_STATES, deletes_kept_ms
from schemas.wire.client import make_producer
from schemas.wire.inbound import InboundRecord
from serving.audit.auditor import Auditor
from serving.audit.builder import builder_alarms
from serving.filling.filled import FilledIndex, coverage
from serving.health import BundleHealth, NodeHealth, SurfaceHealth
from serving.index import IndexClosed
from serving.node.audit import ShadowAudit
from serving.node.bundle_tail import BundleTail, NodeParts
from serving.node.follower import FollowerCallbacks, TopicFollower
from serving.node.heartbeat import EmbedderReports, NameClaim, node_status
from serving.node.snapshotter import Snapshotter
from serving.node.surface_keeper import SurfaceKeeper
from serving.query.epochs import RoutingTable
from serving.query.retrieve import wall_clock_ms
from serving.query.tally import AnswerTally
from serving.query.tap import QueryTap
from serving.query.users import UserStore

log = logging.getLogger(__name__)

HEARTBEAT_S = 1.0
# of one core: with many candidates, comparing what two bundles hold takes a tenth of a second
COVERAGE_SHARE = 0.05
# of bundles that nothing waits for
COUNT_ALL_S = 10.0
MEASURED_FROM_COVERAGE = 0.95
# without a query for so long an index is filled as fast as it goes
ASKED_S = 1.0


class Node:
    """One serving node. `routings` and `users` are what queries read; everything else keeps those two right."""

    def __init__(
        self,
        node_id: str,
        surfaces: Mapping[str, Surface],
        parts: NodeParts,
        *,
        routings: RoutingTable,
        users: UserStore,
        url: str = "",
        snapshot_every_s: float = 60.0,
        tap: QueryTap | None = None,
        tally: AnswerTally | None = None,
        audit_cpu_share: float = 0.0,
    ) -> None:
        """Connect to nothing yet.

        Args:
            routings: holds a routing for each of `surfaces`.
            url: where this node answers, for the heartbeat.
            snapshot_every_s: how often the indexes are saved, where `parts` has a place for them.
            tap: where the queries of `routings` are overheard.
            tally: where their answers are counted.
            audit_cpu_share: of one core, for auditing them; 0 audits nothing.
        """
        self.node_id = node_id
        self.url = url
        # why this node must end; empty while it has its name for itself
        self.name_taken = ""
        self._started_ms = wall_clock_ms()
        self._claim = NameClaim(node_id, started_ms=self._started_ms)
        self._parts = parts
        self._routings = routings
        self._users = users
        self._tally = tally or AnswerTally()
        self._keepers = {name: SurfaceKeeper(surface, routings, self._make_tail) for name, surface in surfaces.items()}
        self._reports = EmbedderReports(skipped=parts.metrics.skipped.labels(NODE_STATUS).inc)
        self._rollouts = self._follow(
            ROLLOUTS, FollowerCallbacks(self._take_rollouts, self._reconcile, start_over=self._start_rollouts_over)
        )
        self._user_states = self._follow(
            USER_STATES, FollowerCallbacks(self._take_users, lambda: users.live_from(wall_clock_ms()), start_over=users.start_over)
        )
        self._statuses = self._follow(NODE_STATUS, FollowerCallbacks(self._take_statuses, start_over=self._start_statuses_over))
        self._coverage: dict[str, float] = {}
        self._count_again_s = self._count_all_s = 0.0
        self._audit = ShadowAudit(users)
        self._recall: dict[str, float] = {}
        self._producer: Producer | None = None
        self._stopping = threading.Event()
        self._leaving = ""
        self._auditor = Auditor(self._tails, tap or QueryTap(), cpu_share=audit_cpu_share, now_ms=wall_clock_ms)
        self._audits = audit_cpu_share > 0
        self._snapshotter = Snapshotter(self._save, every_s=snapshot_every_s)
        self._heart = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def _follow(self, topic: str, callbacks: FollowerCallbacks) -> TopicFollower:
        return TopicFollower(self._parts.bootstrap, topic, callbacks)

    def _make_tail(self, surface: Surface, bundle: str, changed: Callable[[], None]) -> BundleTail:
        return BundleTail(surface, bundle, self._parts, changed=changed, asked=lambda: self._tally.asked_within(ASKED_S))

    def start(self) -> None:
        """Begin to follow the topics and to report."""
        for follower in (self._rollouts, self._user_states, self._statuses):
            follower.start()
        self._heart.start()
        if self._parts.snapshots is not None:
            self._snapshotter.start()
        if self._audits:
            self._auditor.start()

    def leave(self, reason: str) -> None:
        """Stop counting as ready, so that load balancers and the quorum look elsewhere; queries are still answered."""
        self._leaving = reason

    def stop(self) -> None:
        """Stop all threads; returns when they have ended."""
        self.leave("the node is stopping")
        self._stopping.set()
        self._heart.join()
        self._auditor.stop()
        self._snapshotter.stop()
        for follower in (self._rollouts, self._user_states, self._statuses):
            follower.stop()
        for keeper in self._keepers.values():
            keeper.close()

    def _take_rollouts(self, records: Sequence[InboundRecord]) -> None:
        for record in records:
            try:
                rollout = decode(Rollout, record.value or b"")
            except InvalidInput as error:
                self._parts.metrics.skipped.labels(ROLLOUTS).inc()
                log.warning("rollouts/%d is no rollout record: %s", record.offset, error, extra=record.place)
                continue
            keeper = self._keepers.get(rollout.surface)
            if keeper is not None:
                keeper.fold(rollout)
        if self._rollouts.caught_up:
            self._reconcile()

    def _reconcile(self) -> None:
        for keeper in self._keepers.values():
            keeper.reconcile()

    def _start_rollouts_over(self) -> None:
        for keeper in self._keepers.values():
            keeper.start_over()

    def _take_users(self, records: Sequence[InboundRecord]) -> None:
        now_ms = wall_clock_ms()
        for record in records:
            try:
                self._users.put((record.key or b"").decode(), record.value, came_ms=now_ms)
            except UnicodeDecodeError:
                self._parts.metrics.skipped.labels(USER_STATES).inc()

    def _take_statuses(self, records: Sequence[InboundRecord]) -> None:
        self._reports.handle(records)
        if (holder := self._claim.holder(records, url=self.url)) is not None:
            self.name_taken = (
                f"another node reports as {self.node_id!r}, from {holder.url or 'no address'}, and did so before this one; "
                "give each its own (ROOST_NODE_ID)"
            )
        # whoever spoke: a tail that was loaded, or began anew, since the embedder last did has not been told
        for tail in self._tails():
            tail.told(self._reports.of(tail.bundle))

    def _start_statuses_over(self) -> None:
        self._reports.start_over()
        self._claim.start_over()

    def _beat(self) -> None:
        while not self._stopping.is_set():
            try:
                if self._parts.sources is not None:
                    self._parts.sources.look()
                self._sweep()
                self._report()
            # a heartbeat that fails is seen as silence by the quorum; the node goes on answering
            except Exception:
                log.exception("the heartbeat failed; trying again")
            self._stopping.wait(HEARTBEAT_S)
        if self._producer is not None:
            self._report()
            self._producer.flush(2.0)
            # its delivery callback refers back to this node: without this the client would outlive both
            self._producer = None

    def _save(self) -> None:
        store = self._parts.snapshots
        if store is None or not all(keeper.known for keeper in self._keepers.values()):
            return
        tails = self._tails()
        store.keep_only({tail.bundle for tail in tails})
        for tail in tails:
            tail.save()

    def _tails(self) -> list[BundleTail]:
        return [tail for keeper in self._keepers.values() for tail in keeper.tails.values()]

    def _answering(self) -> list[BundleTail]:
        # `kept` is read once: another thread may give it back meanwhile
        return [*self._tails(), *(kept for keeper in self._keepers.values() if (kept := keeper.kept) is not None)]

    def _sweep(self) -> None:
        for tail in self._answering():
            tail.sweep()
        if (now_ms := self._parts.contact.past_ms(wall_clock_ms())) is not None:
            self._parts.masks.prune(now_ms - deletes_kept_ms(keeper.surface for keeper in self._keepers.values()))
        began_s = time.monotonic()
        if began_s >= self._count_again_s:
            everything = began_s >= self._count_all_s
            self._coverage = {
                b: value for keeper in self._keepers.values() for b, value in self._covered(keeper, everything=everything).items()
            }
            ended_s = time.monotonic()
            self._count_again_s = ended_s + (ended_s - began_s) / COVERAGE_SHARE
            if everything:
                self._count_all_s = ended_s + COUNT_ALL_S
        self._recall = {bundle: value for keeper in self._keepers.values() for bundle, value in self._audited(keeper)}

    def _audited(self, keeper: SurfaceKeeper) -> Iterator[tuple[str, float]]:
        for entry in keeper.rollout.in_stage(*UNDER_WAY):
            tail = keeper.tails.get(entry.bundle)
            # looked at once: another thread may be closing it
            if tail is None or (filled := tail.filled) is None or (epoch := tail.epoch) is None:
                continue
            # of half a corpus nobody asks it, and its exact scans would be taken from the users
            if self._coverage.get(entry.bundle, 0.0) < MEASURED_FROM_COVERAGE:
                continue
            try:
                yield entry.bundle, self._audit.recall(epoch, filled)
            except IndexClosed:
                log.info("bundle %s left while its recall was measured", entry.bundle)
            # a tower that fails on a real user's features must not pass as unmeasured for long: the rollout waits, the log says why
            except BundleError as error:
                log.warning("the recall of bundle %s cannot be measured: %s", entry.bundle, error, extra={"bundle": entry.bundle})

    def _covered(self, keeper: SurfaceKeeper, *, everything: bool) -> dict[str, float]:
        # of what the log does not know nobody is asked to hold the same
        live = keeper.routing.live if keeper.kept is None else None
        filled = {bundle: tail.filled for bundle, tail in keeper.tails.items()}
        reference = None if live is None else filled.get(live.bundle)
        under_way = {entry.bundle for entry in keeper.rollout.in_stage(*UNDER_WAY)}
        return {
            bundle: self._coverage_of(bundle, index, reference)
            if everything or bundle in under_way or bundle not in self._coverage
            else self._coverage[bundle]
            for bundle, index in filled.items()
        }

    def _coverage_of(self, bundle: str, index: FilledIndex | None, reference: FilledIndex | None) -> float:
        if index is None:
            return 0.0
        if reference is not None:
            return 1.0 if index is reference else coverage(reference, index)
        expected = self._reports.live_count(bundle)
        if expected is None:
            return 0.0
        return 1.0 if expected == 0 else min(1.0, len(index) / expected)

    def _report(self) -> None:
        if self.name_taken:
            return
        if self._producer is None:
            # a heartbeat older than this is of no use to anybody
            self._producer = make_producer(self._parts.bootstrap, message_timeout_ms=5_000, reconnect_backoff_max_ms=1_000)
        self._tally.keep_only({tail.bundle for tail in self._answering()})
        status = node_status(
            self.health(), self._tally.counts(), time_ms=wall_clock_ms(), url=self.url, started_ms=self._started_ms
        )
        self._producer.produce(NODE_STATUS, encode(status), (NODE + self.node_id).encode(), on_delivery=self._delivered)
        if self._parts.contact.past_ms(wall_clock_ms()) is None and not self._stopping.is_set():
            # what left the recency window while the node was down is let in until the broker has told the time
            self._producer.flush(HEARTBEAT_S)
        else:
            self._producer.poll(0)

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is None:
            kind, append_ms = message.timestamp()
            self._parts.contact.seen(append_ms if kind == TIMESTAMP_LOG_APPEND_TIME else None)

    def health(self) -> NodeHealth:
        """See `serving.health.HasHealth`."""
        surfaces = tuple(self._surface_health(keeper) for keeper in self._keepers.values())
        reasons = self._reasons(surfaces)
        return NodeHealth(
            node=self.node_id,
            ready=not reasons,
            reasons=reasons,
            surfaces=surfaces,
            users=len(self._users),
            masked=len(self._parts.masks),
            flips=self._routings.flips,
            broker_age_s=self._parts.contact.age_s,
        )

    def _reasons(self, surfaces: Sequence[SurfaceHealth]) -> tuple[str, ...]:
        reasons = [self._leaving] if self._leaving else []
        if not self._rollouts.caught_up:
            reasons.append(self._rollouts.trouble or f"replaying {ROLLOUTS}, {self._rollouts.to_go} records to go")
        if not self._user_states.caught_up:
            reasons.append(self._user_states.trouble or f"replaying {USER_STATES}, {self._user_states.to_go} records to go")
        live = [surface for surface in surfaces if surface.wanted is not None or surface.live is not None]
        reasons.extend(surface.not_ready for surface in live if surface.not_ready is not None)
        if not live and self._rollouts.caught_up:
            reasons.extend(surface.not_ready for surface in surfaces if surface.not_ready is not None)
        if not self._claim.made:
            reasons.append(self._statuses.trouble or f"the first heartbeat of {self.node_id!r} is not in {NODE_STATUS} yet")
        return tuple(reasons)

    def _surface_health(self, keeper: SurfaceKeeper) -> SurfaceHealth:
        routing = keeper.routing
        stages = {entry.bundle: str(entry.state) for entry in keeper.rollout.bundles}
        kept = keeper.kept
        tails = keeper.tails if kept is None else {kept.bundle: kept, **keeper.tails}
        return SurfaceHealth(
            surface=keeper.surface.name,
            revision=routing.revision,
            live=None if routing.live is None else routing.live.bundle,
            wanted=keeper.rollout.live,
            not_ready=keeper.not_ready,
            bundles=tuple(self._bundle_health(tail, stages.get(bundle, "unknown")) for bundle, tail in tails.items()),
        )

    def _bundle_health(self, tail: BundleTail, stage: str) -> BundleHealth:
        filled = tail.filled
        stats = None if filled is None else filled.index.stats()
        audit = self._auditor.of(tail.bundle)
        return BundleHealth(
            bundle=tail.bundle,
            stage=stage,
            not_ready=tail.not_ready,
            refusal=tail.complaint,
            alarms=tail.alarms,
            applied=tail.applied,
            coverage=self._coverage.get(tail.bundle, 0.0),
            recall=self._recall.get(tail.bundle),
            lag_ms=tail.freshness().lag_ms,
            index=stats,
            snapshot=tail.snapshot_health,
            audit=None if audit is None else audit.health,
            as_of=tail.as_of(),
            index_alarms={**({} if stats is None else builder_alarms(stats)), **({} if audit is None else audit.alarms)},
        )
