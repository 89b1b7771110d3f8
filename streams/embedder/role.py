"""Runs the embedder: wires settings, broker, bundles and runner together. Holds no rules of its own."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial as bound

from schemas.errors import BrokerUnavailable
from schemas.positions import SOURCE_TOPICS
from schemas.surfaces import load_surfaces
from schemas.topics import CANDIDATES, ENGAGEMENTS, ROLLOUTS
from schemas.wire.registry import registry_schemas
from schemas.wire.tail import TailReader
from schemas.wire.tracing import Tracing, start_tracing
from streams.embedder.pace import Pace
from streams.embedder.processor import EmbedderProcessor
from streams.embedder.replay import last_report, seen_before, written_whole
from streams.embedder.targets import Targets, registry_loader
from streams.metrics import EmbedderMetrics, RunnerMetrics, metrics_served
from streams.outbox import Outbox
from streams.runner.batch import BatchRunner, RunnerSettings
from streams.runner.start import ready_broker
from streams.runner.waiting import WaitingRecords
from streams.settings import EmbedderSettings

log = logging.getLogger(__name__)

# a node that goes back to a bundle which answered nobody waits for as much, and a rollback may take a second
_GATHER_MS = 100


def run_embedder(settings: EmbedderSettings, stop: threading.Event, *, crash_point: Callable[[str], None] = lambda _: None) -> None:
    """Run the embedder in this thread until `stop` is set: a last checkpoint is made, then the group is left.

    Args:
        crash_point: see `BatchRunner`.

    Raises:
        BrokerUnavailable: no broker answered within `settings.broker_wait_s`.
        TopicMismatch: a topic is missing or differs from the contracts.
        DeliveryFailed: the broker did not acknowledge a record; nothing was committed since, and a restart replays it.
        TracingNotInstalled: spans are asked for, and the extra is missing.
    """
    with metrics_served(settings) as registry:
        runner_metrics, metrics = RunnerMetrics(registry), EmbedderMetrics(registry)
        try:
            ready_broker(settings, stop.is_set)
        except BrokerUnavailable:
            if stop.is_set():
                return
            raise
        tracing = start_tracing("roost-embedder", instance=settings.instance) if settings.tracing else None
        try:
            _embed(settings, stop, crash_point, runner_metrics=runner_metrics, metrics=metrics, tracing=tracing)
        finally:
            if tracing is not None:
                tracing.close()
    log.info("embedder %s stopped", settings.instance)


def _embed(
    settings: EmbedderSettings,
    stop: threading.Event,
    crash_point: Callable[[str], None],
    *,
    runner_metrics: RunnerMetrics,
    metrics: EmbedderMetrics,
    tracing: Tracing | None,
) -> None:
    surfaces = load_surfaces(settings.surfaces)
    # short: a retired bundle's topic is gone for good, and a flush waits this long to believe it
    outbox = Outbox(settings.bootstrap, topic_metadata_propagation_max_ms=3_000)
    report = last_report(settings.bootstrap, settings.instance)
    with TailReader(settings.bootstrap, ROLLOUTS, [0]) as rollouts, registry_schemas(settings.schema_registry_url) as schemas:
        targets = Targets(rollouts, registry_loader(settings, surfaces, outbox.topic_exists), surfaces)
        ending = threading.Event()
        # aside: ten minutes of engagements, which no tweet should wait for. None can be left out, so it waits for the registry
        rereader = ThreadPoolExecutor(1, thread_name_prefix="reread-engagements")
        reread = bound(
            seen_before,
            settings.bootstrap,
            lookup=schemas and bound(schemas.insist, should_stop=ending.is_set),
            should_stop=ending.is_set,
        )
        try:
            targets.start(stop.is_set)
            processor = EmbedderProcessor(
                targets=targets,
                surfaces=surfaces,
                partitions=settings.partitions,
                instance=settings.instance,
                seen_before=lambda partition, next_offset: rereader.submit(reread, partition, next_offset),
                ends=outbox.ends,
                topic_exists=outbox.topic_exists,
                source_ids=lambda: runner.topic_ids,
                backfilled=written_whole(report, targets.configured_at),
                backfill_slice=settings.backfill_slice,
                pace=Pace(settings.backfill_share, unsent=outbox.__len__),
                gather_ms=_GATHER_MS,
                lookup=schemas,
                metrics=metrics,
            )
            runner = BatchRunner(
                RunnerSettings(
                    bootstrap=settings.bootstrap,
                    group=settings.group,
                    topics=SOURCE_TOPICS,
                    changelog=CANDIDATES,
                    role="embedder",
                    instance=settings.instance,
                    batch_records=settings.batch_records,
                    checkpoint_interval_s=settings.checkpoint_interval_s,
                    checkpoint_inputs=settings.checkpoint_inputs,
                    session_timeout_s=settings.session_timeout_s,
                    patient=(ENGAGEMENTS,),
                ),
                processor,
                outbox,
                waiting=WaitingRecords(schemas.answered) if schemas else None,
                metrics=runner_metrics,
                tracing=tracing,
                crash_point=crash_point,
            )
            log.info("embedder %s folds %s", settings.instance, ", ".join(SOURCE_TOPICS))
            runner.run(stop)
        finally:
            ending.set()
            rereader.shutdown(cancel_futures=True)
            targets.close()
