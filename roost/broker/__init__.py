"""A real Kafka for one machine: yours if you name it, else a single node started here. Knows nothing of topics."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from roost.broker.install import KafkaInstall
from roost.broker.process import Broker
from roost.settings import LauncherSettings

__all__ = ["Broker", "KafkaInstall", "kafka_for"]


@contextlib.contextmanager
def kafka_for(settings: LauncherSettings, *, data_dir: Path) -> Iterator[str]:
    """Yield the bootstrap servers to use: yours if settings name them, or a broker on this machine for the while.

    Raises:
        BrokerUnavailable: no broker is named and none could be started.
    """
    if settings.kafka_bootstrap_servers is not None:
        yield settings.kafka_bootstrap_servers
        return
    install = KafkaInstall(settings.kafka_jars_dir, settings.java)
    with Broker(data_dir, install=install) as broker:
        yield broker.bootstrap
