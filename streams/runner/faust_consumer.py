"""Faust's consumer, with what its settings do not offer: how far it may commit, what it reads, and how it ends.

- Its own account of what may be committed counts the record behind an empty offset as empty: it came to stand still there, and
  could commit a record that was not folded yet. `HandedOut` says it instead.
- It would read what transactions wrote that were given up, unless it is in one itself; no other reader of ours does.
- Without a broker its thread never ends, and the interpreter's end would wait for it.
"""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, Transport
from faust.types import TP
from mode.threads import WorkerThread

from streams.runner.handed_out import HandedOut


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
        return self._handed_out.committable(tp) or None

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        pass

    def _state(self, tp: TP) -> Any:
        # Faust has no public word for this; its own event-path check reads the same fields
        assignment = self._thread._ensure_consumer()._subscription.subscription.assignment  # noqa: SLF001
        return assignment.state_value(tp) if assignment is not None else None


class CommittingTransport(Transport):
    """Faust's transport with that consumer."""

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
