"""One key, one partition, whichever client writes it. The same keys go through the real broker in tests/integration."""

import faust
import pytest
from aiokafka.partitioner import DefaultPartitioner

from schemas.wire.client import producer_config
from schemas.wire.partition import PARTITIONER, murmur2, partition_of
from tests.contract.partition_keys import KEYS

# org.apache.kafka.common.utils.UtilsTest.testMurmur2
JAVA = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}


def test_there_are_a_thousand_different_keys() -> None:
    """The tests below are only as good as their keys."""
    assert len(set(KEYS)) == len(KEYS) == 1000


@pytest.mark.parametrize(("key", "expected"), JAVA.items())
def test_the_hash_is_javas(key: bytes, expected: int) -> None:
    """Producers in Java use Kafka's own partitioner: these are its unit test's numbers."""
    assert murmur2(key) == expected & 0xFFFFFFFF


@pytest.mark.parametrize("partitions", [1, 2, 3, 4, 7, 32, 100])
def test_aiokafka_and_faust_agree_with_the_rule(partitions: int) -> None:
    """Faust writes through aiokafka: state and outputs of its processors must lie where the batch runner looks."""
    everyone = list(range(partitions))
    expected = [partition_of(key, partitions) for key in KEYS]
    assert [DefaultPartitioner()(key, everyone, everyone) for key in KEYS] == expected
    producer = faust.App("partitioning", broker="kafka://127.0.0.1:1").transport.create_producer()
    assert isinstance(producer.partitioner, DefaultPartitioner)
    assert [producer.partitioner(key, everyone, everyone) for key in KEYS] == expected


def test_our_confluent_producers_name_the_partitioner() -> None:
    """Librdkafka's own default is CRC32."""
    assert producer_config("127.0.0.1:1")["partitioner"] == PARTITIONER == "murmur2_random"


def test_keys_spread_over_the_partitions() -> None:
    """A rule that put all on one partition would pass every comparison above."""
    counts = [sum(partition_of(key, 4) == partition for key in KEYS) for partition in range(4)]
    assert min(counts) > 180
