"""The controller as a process: commands through Faust, heartbeats and its own log by tails. Holds no rule of a rollout."""

import threading
from collections.abc import Callable, Sequence
from functools import partial

from schemas.codec import SchemaLookup
from schemas.errors import InvalidInput
from schemas.surfaces import load_surfaces
from schemas.topics import ROLLOUT_COMMANDS
from schemas.wire.inbound import InboundRecord
from schemas.wire.registry import registry_schemas
from streams.canary.evidence import CanaryEvidence, examples_since
from streams.canary.judge import CanaryRules
from streams.controller.admission import Admission
from streams.controller.controller import Controller
from streams.controller.heartbeat import ControllerHeartbeat
from streams.controller.journal import ClusterTopics, Heartbeats, TopicJournal, read_command, read_commands
from streams.labeler.processor import joins_end_ms
from streams.metrics import ControllerMetrics, DiskCollector, RunnerMetrics, metrics_served
from streams.outbox import Outbox
from streams.processor import Clock, Work
from streams.runner.faust_runner import run_jobs
from streams.runner.group import group_settings
from streams.runner.partitions import Job
from streams.runner.start import ready_broker
from streams.settings import ControllerSettings


class ControllerProcessor:
    """The one partition of `rollout-commands`. Its state is the log it writes; it needs no store."""

    def __init__(
        self,
        controller: Controller,
        journal: TopicJournal,
        heartbeats: Heartbeats,
        heartbeat: ControllerHeartbeat,
        *,
        lookup: SchemaLookup | None = None,
    ) -> None:
        self._controller = controller
        self._heartbeat = heartbeat
        self._lookup = lookup
        self._journal = journal
        self._heartbeats = heartbeats

    def process(self, batch: Sequence[InboundRecord], clock: Clock) -> Work:
        """See `PartitionProcessor.process`: answers each command on the log at once, then takes the steps that are due."""
        self._journal.refresh()
        self._heartbeats.refresh()
        heard = self._heartbeats.all()
        dead: list[tuple[InboundRecord, InvalidInput]] = []
        for record in batch:
            try:
                command = read_command(record, lookup=self._lookup)
            except InvalidInput as error:
                dead.append((record, error))
            else:
                self._controller.answer(command, heard, clock.now_ms)
        self._controller.step(heard, clock.now_ms)
        return Work(self._heartbeat.due(clock.now_ms), tuple(dead))


def run_controller(
    settings: ControllerSettings, stop: threading.Event, *, crash_point: Callable[[str], None] = lambda _: None
) -> None:
    """Control rollouts until `stop` is set. Waits for a broker first.

    Args:
        crash_point: see `TopicJournal`.

    Raises:
        BrokerUnavailable: none answered in time.
        TopicMismatch: a topic differs from the contracts.
        DeliveryFailed: a record was not acknowledged; a restart goes on.
    """
    with metrics_served(settings) as registry:
        registry.register(DiskCollector(settings.registry.folder, of="registry"))
        _control(settings, stop, crash_point, runner_metrics=RunnerMetrics(registry), metrics=ControllerMetrics(registry))


def _control(
    settings: ControllerSettings,
    stop: threading.Event,
    crash_point: Callable[[str], None],
    *,
    runner_metrics: RunnerMetrics,
    metrics: ControllerMetrics,
) -> None:
    admin = ready_broker(settings, stop.is_set)
    surfaces = load_surfaces(settings.surfaces)
    journal = TopicJournal(settings.bootstrap, Outbox(settings.bootstrap), crash_point=crash_point)
    heartbeats = Heartbeats(settings.bootstrap)
    evidence = CanaryEvidence(
        examples_since(settings.bootstrap, admin, partitions=settings.partitions),
        corrected_ms=joins_end_ms(surfaces),
        rules=CanaryRules(
            alpha=settings.canary_alpha,
            expected_effect=settings.canary_effect,
            mismatch_rise=settings.canary_mismatch_rise,
            min_users=settings.canary_min_users,
        ),
    )
    heartbeat = ControllerHeartbeat(settings.instance, evidence.reports)
    group = group_settings(settings, settings.group, wedged_after_s=settings.wedged_after_s)
    try:
        with registry_schemas(settings.schema_registry_url) as schemas:

            def open_partition(*_: object) -> ControllerProcessor:
                asked = read_commands(settings.bootstrap, lookup=schemas and partial(schemas.insist, should_stop=stop.is_set))
                # what another controller answered since we began; and the first command may be a promotion, which heartbeats decide
                journal.catch_up()
                heartbeats.catch_up()
                controller = Controller(
                    journal,
                    ClusterTopics(admin, partitions=settings.partitions, replication=settings.replication),
                    surfaces=surfaces,
                    admit=Admission(settings.registry),
                    evidence=evidence,
                    partitions=settings.partitions,
                    silence_ms=round(settings.node_silence_s * 1000),
                    let_go_ms=round(settings.let_go_s * 1000),
                    let_go_at_most_ms=round(settings.let_go_at_most_s * 1000),
                    asked=asked,
                    metrics=metrics,
                )
                return ControllerProcessor(controller, journal, heartbeats, heartbeat, lookup=schemas)

            job = Job(
                "controller",
                (ROLLOUT_COMMANDS,),
                None,
                open_partition,
                batch_within_s=settings.batch_within_s,
                tick_s=settings.tick_s,
                answered=schemas.answered if schemas else None,
            )
            run_jobs(group, [job], stop, metrics=runner_metrics)
    finally:
        evidence.close()
        journal.close()
        heartbeats.close()
