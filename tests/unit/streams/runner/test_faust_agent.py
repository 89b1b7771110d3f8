"""A job's agent through a rebalance, on an application of the test's own: what Faust hands out when, it decides."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka import TopicPartition

from schemas.wire.inbound import InboundRecord
from streams.metrics import RunnerMetrics
from streams.processor import Clock, Work
from streams.runner import faust_agent
from streams.runner.faust_agent import JobAgent
from streams.runner.partitions import Job, OwnedPartitions

TOPIC = "in"


class Owned:
    """The partitions of a process: which are open, and the offsets that were folded."""

    restoring = False

    def __init__(self) -> None:
        self.open: set[int] = set()
        self.folded: list[int] = []

    def run(self, batches: Mapping[int, Sequence[InboundRecord]], clocks: Mapping[int, Clock]) -> None:
        """See `OwnedPartitions`."""
        self.open |= batches.keys()
        self.folded += [record.offset for batch in batches.values() for record in batch]

    def drop(self) -> None:
        """See `OwnedPartitions`."""
        self.open.clear()


class Application:
    """What an agent uses of a Faust application with one partition of one topic."""

    def __init__(self) -> None:
        self.rebalancing = False
        self.consumer_generation_id = 1
        self.consume: Callable[[Any], Any] = print
        self.revoked: Callable[[], Any] = print
        self.assigned: Callable[[], Any] = print
        self.on_partitions_revoked = SimpleNamespace(connect=self._connect_revoked)
        self.on_partitions_assigned = SimpleNamespace(connect=self._connect_assigned)
        self.read_to: int | None = None
        self.consumer = SimpleNamespace(
            assignment=lambda: {TopicPartition(TOPIC, 0)}, read_to_end=lambda _: self.read_to, hold=lambda *_: None
        )

    def topic(self, *_: str, **__: object) -> None:
        """See `faust.App`."""

    def agent(self, _: object, *, name: str) -> Callable[[Callable[[Any], Any]], None]:
        """See `faust.App`."""

        def take(consume: Callable[[Any], Any]) -> None:
            self.consume = consume

        return take

    def _connect_revoked(self, revoked: Callable[[], Any], *, weak: bool) -> None:
        self.revoked = revoked

    def _connect_assigned(self, assigned: Callable[[], Any], *, weak: bool) -> None:
        self.assigned = assigned


class Stream:
    """A stream that hands out batches of events and notes the offsets that are acknowledged."""

    def __init__(self, *batches: list[Any]) -> None:
        self._batches = batches
        self.acknowledged: list[int] = []

    async def noack_take(self, _: int, *, within: float) -> AsyncIterator[list[Any]]:
        """See `faust.Stream`."""
        for batch in self._batches:
            yield batch

    async def ack(self, event: Any) -> None:
        """See `faust.Stream`."""
        self.acknowledged.append(event.message.offset)


def event(offset: int, generation: int) -> Any:
    """Return an event of the partition that was fetched in a generation."""
    message = SimpleNamespace(
        topic=TOPIC, partition=0, offset=offset, timestamp=0.0, key=b"k", value=b"v", headers=None, generation_id=generation
    )
    return SimpleNamespace(message=message)


@pytest.mark.parametrize("next_generation", [2, 1], ids=["the next", "of a group that counts anew"])
def test_what_was_gathered_before_a_rebalance_opens_no_partition_that_was_given_up(next_generation: int) -> None:
    """Faust hands it out while the group still meets; its owner of then would write a state over that of the next one."""
    owned, app = Owned(), Application()
    failed: list[BaseException] = []

    async def through_a_rebalance() -> None:
        job = Job("job", (TOPIC,), None, lambda *_: cast("Any", Work()))
        agent = JobAgent(job, app, cast("OwnedPartitions", owned), metrics=RunnerMetrics(), fail=failed.append)
        await app.consume(Stream([event(0, 1)]))
        assert (owned.open, owned.folded) == ({0}, [0])
        app.rebalancing = True
        await app.revoked()
        late = Stream([event(1, 1)])
        await app.consume(late)
        assert (owned.open, owned.folded, late.acknowledged) == (set(), [0], [])
        app.consumer_generation_id = next_generation
        await app.assigned()
        # Faust fetches again before it calls the rebalance done
        again = Stream([event(1, next_generation)])
        await app.consume(again)
        assert (owned.open, owned.folded, again.acknowledged) == ({0}, [0, 1], [1])
        await agent.close()

    asyncio.run(through_a_rebalance())
    assert failed == []


def test_a_partition_is_quiet_and_folded_to_its_end_from_when_all_of_it_is_acknowledged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind its last record a transaction's marker may stand, which nobody is handed: who waits for the end waited for ever."""
    app = Application()
    seconds = iter(range(1_000_000))
    monkeypatch.setattr(faust_agent, "time", SimpleNamespace(monotonic=lambda: next(seconds), time_ns=lambda: 0))
    told: dict[tuple[str, int], int] = {}
    seen: list[tuple[int | None, dict[tuple[str, int], int]]] = []

    async def ticks() -> None:
        over, loop = asyncio.Event(), asyncio.get_running_loop()

        def take_a_turn(_: object, clocks: Mapping[int, Clock]) -> None:
            seen.append((clocks[0].quiet_ms.get(TOPIC), dict(told)))
            app.read_to = 8 if len(seen) in (2, 3, 5) else None
            if len(seen) == 7:
                loop.call_soon_threadsafe(over.set)

        job = Job("job", (TOPIC,), None, lambda *_: cast("Any", Work()), tick_s=0.001, folded=told.update)
        owned = cast("OwnedPartitions", SimpleNamespace(run=take_a_turn))
        agent = JobAgent(job, app, owned, metrics=RunnerMetrics(), fail=lambda _: None)
        ticking = asyncio.create_task(agent.tick_forever())
        await over.wait()
        ticking.cancel()
        await agent.close()

    asyncio.run(ticks())
    assert [told for _, told in seen[:4]] == [{}, {}, {(TOPIC, 0): 8}, {(TOPIC, 0): 8}]
    assert [quiet_ms for quiet_ms, _ in seen[:7]] == [None, None, 0, 1000, None, 0, None]
