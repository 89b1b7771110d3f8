"""A Faust application as the runner needs it: its settings, and a consumer that differs in what no setting offers.

The only module that imports faust.

- Its own account of what may be committed counts the record behind an empty offset as empty: it came to stand still there, and
  could commit a record that was not folded yet. `HandedOut` says it instead.
- It would read what transactions wrote that were given up, unless it is in one itself; no other reader of ours does.
- Without a broker its thread never ends, and the interpreter's end would wait for it.
"""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import faust
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, Transport
from faust.types import TP
from mode.threads import WorkerThread

from schemas.positions import Place
from streams.runner.group import GroupSettings
from streams.runner.handed_out import HandedOut

_METADATA_MS = 15_000
# of each partition; a larger record still comes, alone (KIP-74)
_FETCH_BYTES = 64 * 1024


def build_app(settings: GroupSettings, folder: Path) -> faust.App:
    """Return an application that is not started; `folder` is for what Faust writes."""
    app = faust.App(
        settings.group,
        broker=[f"kafka://{server.strip()}" for server in settings.bootstrap.split(",")],
        datadir=folder,
        store="memory://",
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        consumer_auto_offset_reset="earliest",
        consumer_group_instance_id=settings.instance,
        # Faust hands out all that it fetched before it asks for more: with the default of 1 MiB a partition, one topic's backlog
        # kept the others standing still for a minute and more, and the watchdog took that for a wedge
        consumer_max_fetch_size=_FETCH_BYTES,
        # a topic that was deleted and created anew belongs to nobody until the next look: five minutes, unless told otherwise
        consumer_metadata_max_age_ms=_METADATA_MS,
        broker_session_timeout=settings.session_timeout_s,
        broker_heartbeat_interval=settings.session_timeout_s / 4,
        broker_request_timeout=max(40.0, settings.session_timeout_s * 2),
        broker_commit_interval=settings.commit_interval_s,
        stream_wait_empty=False,
        stream_recovery_delay=0.0,
        # nothing leaves through Faust's producer; should that change, its partitions must be ours: murmur2 is its default
    )
    app.transport = _Transport(app.conf.broker_consumer, app)
    return app


class CommittingConsumer(Consumer):
    """Commits what its agents have acknowledged, which they do in each partition's order. Lives in the application's event loop."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """See `faust.transport.consumer.Consumer`."""
        self._handed_out = HandedOut()
        super().__init__(*args, **kwargs)

    def read_to_end(self, tp: TP) -> int | None:
        """Return where a partition ends, once all that lies before is acknowledged; None until then."""
        state, settled = self._state(tp), self._handed_out.settled(tp)
        if state is None or state.highwater is None or settled is None or settled < state.highwater:
            return None
        return settled

    def hold(self, held: set[Place], let_go: set[Place]) -> None:
        """Fetch nothing more of some partitions, and of others again; what was fetched is handed out."""
        # Faust keeps the tuples that it is given; with those of another class it fetched nothing more
        for place in let_go:
            self.on_buffer_drop(TP(*place))
        # of those that waited before, too: Faust takes a buffer that was full for itself as well for empty by now
        for place in held:
            self.on_buffer_full(TP(*place))

    def ack(self, message: Any) -> bool:
        """See the base class."""
        self._handed_out.fold(message.tp, message.offset)
        return super().ack(message)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """See the base class; a batch under way is acknowledged meanwhile."""
        await super().on_partitions_revoked(revoked)
        self._handed_out.forget()

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """See the base class."""
        self._handed_out.forget()
        await super().on_partitions_assigned(assigned, generation_id)

    def _new_consumer_thread(self) -> AIOKafkaConsumerThread:
        return _ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:  # noqa: ASYNC109  as in the base class
        states = {tp: self._state(tp) for tp in self.assignment()}
        self._handed_out.ask({tp: state.position for tp, state in states.items() if state is not None and state.has_valid_position})
        records = await super()._getmany(active_partitions, timeout)
        # else they are fetched again
        if self.flow_active:
            for tp, found in records.items():
                self._handed_out.hand_out(tp, found[-1].offset)
        return records

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        return (tp for tp in self.assignment() if topics is None or tp in topics or tp.topic in topics)

    def _new_offset(self, tp: TP) -> int | None:
        self._acked[tp].clear()
        self._acked_index[tp].clear()
        return self._handed_out.committable(tp)

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        pass

    def _state(self, tp: TP) -> Any:
        # Faust has no public word for this; its own event-path check reads the same fields
        assignment = self._thread._ensure_consumer()._subscription.subscription.assignment  # noqa: SLF001
        return assignment.state_value(tp) if assignment is not None else None


class _Transport(Transport):
    Consumer = CommittingConsumer


class _DaemonWorker(WorkerThread):
    def __init__(self, service: Any, **kwargs: Any) -> None:
        super().__init__(service, **kwargs)
        self.daemon = True

    def run(self) -> None:
        # cancelled when it gives up a consumer that does not stop; there is nobody left to tell
        with suppress(asyncio.CancelledError):
            super().run()


class _ConsumerThread(AIOKafkaConsumerThread):
    Worker = _DaemonWorker

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._isolation_level = "read_committed"  # noqa: SLF001  looked at when it starts
        return consumer
