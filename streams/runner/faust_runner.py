"""Runs jobs in one Faust application: Faust owns the consumer group, rebalancing and commits; the work happens in plain threads.

Faust's known traps, and what is done about them here, in `streams.runner.faust_app` and in `streams.runner.faust_agent` (issue
numbers of faust-streaming/faust):

- An exception in an agent acknowledges its events and restarts the agent (#189, #315, #527): ours stops the process instead, and
  events are acknowledged only after all that came of them is durable.
- Blocking calls stall heartbeats: each job runs in a thread of its own.
- `app.Table` loses writes: a changelog record that could not be sent is logged, never raised, and its offset is committed (#333).
  State lives in `streams.runner.changelog` instead, and outputs leave through our own producer, flushed before the acknowledgement.
- exactly_once is broken (#323, #177, #517): at least once, and processors that repetition cannot hurt.
- After a broker loss the offsets may stop in silence (#523, #175, #594): a watchdog ends the process.
- Without a broker its consumer never stops, and blocks the event loop with it: a stop that takes too long is given up.
- What it commits, and what it reads of transactions: see `streams.runner.faust_app`.
- A partition that is paused loses what was fetched of it and not handed out yet: one that waits for the schema registry is reported
  as a full buffer instead, which fetches no more of it and hands out the rest.
- A header's name that is not UTF-8 ends its consumer: see `streams.runner.header_names`.
- Topics are never created by Faust: `schemas.topics` says how they must be.
"""

import asyncio
import logging
import tempfile
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path

from schemas.errors import BrokerUnavailable
from schemas.positions import Place
from schemas.wire.admin import make_admin
from streams.metrics import RunnerMetrics
from streams.outbox import Outbox
from streams.runner.anew import set_back
from streams.runner.faust_agent import JobAgent
from streams.runner.faust_app import build_app
from streams.runner.former import await_rebalance
from streams.runner.group import GroupSettings
from streams.runner.header_names import read_any_header_name
from streams.runner.partitions import Job, OwnedPartitions
from streams.runner.watchdog import Watchdog

log = logging.getLogger(__name__)

_STOP_POLL_S = 0.2


def run_jobs(
    settings: GroupSettings,
    jobs: Sequence[Job],
    stop: threading.Event,
    *,
    metrics: RunnerMetrics | None = None,
    on_wedged: Callable[[str], None] | None = None,
) -> None:
    """Run jobs until `stop` is set: then the batch under way is finished, flushed and committed. Blocks.

    Args:
        on_wedged: called with a sentence, from another thread, when the group stands still; by default the process ends at once.

    Raises:
        DeliveryFailed: a record was not acknowledged.
        BrokerUnavailable: the broker went away, and stopping was given up; whatever was not committed comes again.
        Exception: whatever a processor raised. Nothing of the batch is committed then.
    """
    topics = [topic for job in jobs for topic in job.topics]
    patience_s = 2 * settings.session_timeout_s
    set_back(settings.bootstrap, settings.group, topics, stop, patience_s=patience_s)
    await_rebalance(make_admin(settings.bootstrap), settings.group, settings.instance, topics, stop, patience_s=patience_s)
    with tempfile.TemporaryDirectory(prefix="roost-faust-") as folder:
        run = _FaustRun(settings, jobs, Path(folder), metrics=metrics or RunnerMetrics(), on_wedged=on_wedged)
        ended: Future[None] = Future()

        def work() -> None:
            try:
                ended.set_result(asyncio.run(run.until(stop)))
            except BaseException as error:  # noqa: BLE001  raised again by the caller's thread
                ended.set_exception(error)
            finally:
                run.stopping.set()

        threading.Thread(target=work, name=settings.group, daemon=True).start()
        while not stop.is_set() and not run.stopping.is_set():
            run.stopping.wait(_STOP_POLL_S)
        try:
            ended.result(settings.stop_timeout_s)
        except TimeoutError:
            run.given_up.set()
            # one of the run's own is as good an answer
            raise run.failure or BrokerUnavailable(
                f"{settings.group} did not leave its group within {settings.stop_timeout_s:g} s; is the broker up? "
                "What is not committed comes again"
            ) from None


read_any_header_name()


class _FaustRun:
    """One life of the application.

    Attributes:
        failure: what ended it, if anything did.
        stopping: set once it begins to stop.
        given_up: set once nobody waits for it any more: what is not acknowledged by then is not waited for either.
    """

    def __init__(
        self,
        settings: GroupSettings,
        jobs: Sequence[Job],
        folder: Path,
        *,
        metrics: RunnerMetrics,
        on_wedged: Callable[[str], None] | None,
    ) -> None:
        self.failure: BaseException | None = None
        self.stopping = threading.Event()
        self.given_up = threading.Event()
        self._settings = settings
        self._metrics = metrics
        self._topics = {topic for job in jobs for topic in job.topics}
        self._app = build_app(settings, folder)
        # one producer for all: linger gathers a batch's records into few requests
        self._outbox = Outbox(settings.bootstrap, linger_ms=5)
        self._agents = [JobAgent(job, self._app, self._owned_by(job), metrics=metrics, fail=self._fail) for job in jobs]
        self._watchdog = Watchdog(
            settings.bootstrap,
            settings.group,
            settings.instance,
            self._places,
            topics=self._topics,
            wedged_after_s=settings.wedged_after_s,
            on_wedged=on_wedged,
            metrics=metrics,
        )

    async def until(self, stop: threading.Event) -> None:
        await self._app.start()
        self._watchdog.start()
        ticking = [asyncio.create_task(do()) for agent in self._agents for do in (agent.tick_forever, agent.look_again_forever)]
        try:
            # a signal handler sets `stop`, outside any event loop
            while not stop.is_set() and self.failure is None and not self._app.crashed:
                self._metrics.went_round()
                await asyncio.sleep(_STOP_POLL_S)
        finally:
            self.stopping.set()
            await asyncio.to_thread(self._watchdog.stop)
            # no batch begins after this: the one under way is finished and acknowledged, so that stopping commits it
            for agent in self._agents:
                await agent.close()
            # not before: a tick that is cancelled while it works looks like one that failed
            for task in ticking:
                task.cancel()
            await self._app.stop()
        if failure := self.failure or self._app.crash_reason:
            raise failure

    def _owned_by(self, job: Job) -> OwnedPartitions:
        return OwnedPartitions(
            job,
            self._settings.bootstrap,
            self._outbox,
            flush_timeout_s=self._settings.flush_timeout_s,
            given_up=self.given_up.is_set,
            metrics=self._metrics,
        )

    def _fail(self, error: BaseException) -> None:
        if self.failure is None:
            log.critical("stopping before anything is committed: %s: %s", type(error).__name__, error)
            self.failure = error

    def _places(self) -> list[Place]:
        # a long log takes long to restore from, and nothing is committed meanwhile
        restoring = {topic for agent in self._agents if agent.restoring for topic in agent.topics}
        # nor while the schema registry does not answer; that is said elsewhere
        waiting = {place for agent in self._agents for place in agent.waiting}
        owned = [(tp.topic, tp.partition) for tp in self._app.consumer.assignment() if tp.topic in self._topics - restoring]
        return [place for place in owned if place not in waiting]
