"""Tools of others that the pages call, where this machine lacks them: Kafka's own from its jars, and a stand-in for kcat."""

import getopt
import shlex
import shutil
import sys
from pathlib import Path

from confluent_kafka import Consumer, Producer, TopicPartition

from roost.broker import KafkaInstall
from tests.integration.shown import ROOT

_GROUPS = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"


def add_tools(folder: Path, kafka: KafkaInstall) -> None:
    """Write the programs into a folder that is to be on the PATH."""
    folder.mkdir()
    _add(folder / "kafka-consumer-groups.sh", *kafka.command(_GROUPS))
    if shutil.which("kcat") is None:
        _add(folder / "kcat", sys.executable, str(Path(__file__)))


def _add(path: Path, *words: str) -> None:
    path.write_text(f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(ROOT))} exec {shlex.join(words)} "$@"\n', "utf-8")
    path.chmod(0o755)


def kcat(words: list[str]) -> None:
    """Do what its manual says of the options that the pages show, by the same client library; others are refused."""
    options, files = getopt.getopt(words, "PCb:t:k:X:o:ef:")
    given = dict(options)
    client = {"bootstrap.servers": given["-b"], **dict([given["-X"].split("=")] if "-X" in given else [])}
    if "-P" in given:
        producer = Producer(client)
        for file in files:
            producer.produce(given["-t"], Path(file).read_bytes(), given["-k"])
        assert producer.flush(30) == 0
    else:
        assert "-e" in given
        _show_last(client, given["-t"], last=-int(given["-o"]), shape=given["-f"])


def _show_last(client: dict[str, str], topic: str, *, last: int, shape: str) -> None:
    """Print the last records of each partition, and end."""
    consumer = Consumer({**client, "group.id": "kcat", "enable.partition.eof": True})
    left = 0
    for partition in consumer.list_topics(topic, timeout=30).topics[topic].partitions:
        _, end = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=30)
        consumer.incremental_assign([TopicPartition(topic, partition, max(end - last, 0))])
        left += 1
    while left:
        message = consumer.poll(30)
        assert message is not None
        if message.error():
            left -= 1
            continue
        value = message.value() or b""
        told = {"T": message.timestamp()[1], "k": (message.key() or b"").decode(), "S": len(value)}
        place = {"p": message.partition(), "o": message.offset()}
        line = shape.replace("\\n", "\n")
        for letter, text in {**told, **place}.items():
            line = line.replace(f"%{letter}", str(text))
        sys.stdout.write(line)
    consumer.close()


if __name__ == "__main__":
    kcat(sys.argv[1:])
