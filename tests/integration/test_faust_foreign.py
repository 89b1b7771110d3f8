"""What other clients may write, and the roles on Faust must read as every other reader does: on a real broker."""

import asyncio
import time

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.producer import message_accumulator, producer
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy

from schemas.wire.client import make_producer
from tests.integration.conftest import RunningKafka
from tests.integration.test_faust_runner import Names, counting_job, group, running
from tests.integration.waiting import until


@pytest.fixture
def names(broker: RunningKafka) -> Names:
    """Return names of this test's own."""
    return Names(broker.bootstrap, f"foreign-{time.time_ns()}")


class NoText(str):
    """A name that its client encodes as it likes, as clients that take bytes do."""

    __slots__ = ()

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        """Return bytes that are not UTF-8."""
        return b"\xff\xfe"


@pytest.mark.parametrize("codec", [None, "lz4"])
def test_a_record_of_which_a_header_s_name_is_no_text_is_read(
    names: Names, codec: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Brokers take any bytes for a name: one such record ended labeler, user state or controller at every restart."""
    names.create()
    # the faster one takes no other text
    for module in (producer, message_accumulator):
        monkeypatch.setattr(module, "DefaultRecordBatchBuilder", _DefaultRecordBatchBuilderPy)

    async def send() -> None:
        client = AIOKafkaProducer(bootstrap_servers=names.bootstrap, compression_type=codec, linger_ms=200)
        await client.start()
        sent = [
            await client.send(names.inputs, b"1", b"a", headers=headers)
            for headers in ([("good", b"1")], [(NoText("bad"), b"2")], [])
        ]
        for future in sent:
            await future
        await client.stop()

    asyncio.run(send())
    with running(group(names), counting_job(names)) as run:
        until(lambda: names.counts() == {"a": 3} or run.error is not None, what="all counted")
    assert run.error is None
    assert names.committed() == 3


def test_what_its_producer_gave_up_is_not_read(names: Names) -> None:
    """The embedder does not count such an engagement: the labeler must not label by it."""
    names.create()
    plain = make_producer(names.bootstrap)

    def send(key: str) -> None:
        plain.produce(names.inputs, b"1", key.encode(), partition=0)
        assert plain.flush(20) == 0

    send("first")
    send("first")
    client = make_producer(names.bootstrap, transactional_id=names.group)
    client.init_transactions(10)
    for key, is_kept in (("kept", True), ("given up", False), ("kept", True), ("given up", False)):
        client.begin_transaction()
        client.produce(names.inputs, b"1", key.encode(), partition=0)
        # in the log, whatever becomes of it
        client.flush(10)
        if is_kept:
            client.commit_transaction(10)
        else:
            client.abort_transaction(10)
    with running(group(names), counting_job(names)) as run:
        # of the ten offsets four are markers and two were given up
        until(lambda: names.committed() == 10 or run.error is not None, what="all of it passed, with what no reader is handed")
        assert names.counts() == {"first": 2, "kept": 2}
        send("last")
        until(lambda: names.committed() == 11 or run.error is not None, what="what followed committed")
        assert names.counts() == {"first": 2, "kept": 2, "last": 1}
    assert run.error is None
