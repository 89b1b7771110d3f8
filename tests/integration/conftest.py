"""A real broker and a real schema registry for the tests in this folder. Holds no test."""

import gc
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from roost.broker import Broker, KafkaInstall, kafka_for
from roost.settings import LauncherSettings
from tests.apicurio import Apicurio, fetch


@dataclass(frozen=True)
class RunningKafka:
    """A broker that answers: the one named by KAFKA_BOOTSTRAP_SERVERS, or one started for this test run."""

    bootstrap: str


@pytest.fixture(scope="session")
def launcher_settings() -> LauncherSettings:
    """Return the settings of this machine."""
    return LauncherSettings()


@pytest.fixture(scope="session")
def kafka_install(launcher_settings: LauncherSettings) -> KafkaInstall:
    """Return the jars that `make setup` fetched."""
    return KafkaInstall(launcher_settings.kafka_jars_dir, launcher_settings.java)


@pytest.fixture(scope="session")
def broker(launcher_settings: LauncherSettings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningKafka]:
    """Yield one broker for the whole run, which no test may stop; tests keep apart by their own topic names."""
    with kafka_for(launcher_settings, data_dir=tmp_path_factory.mktemp("kafka")) as bootstrap:
        yield RunningKafka(bootstrap)
        # Clients that tests have dropped but that sit in reference cycles would complain on stderr when the broker goes.
        gc.collect()


@pytest.fixture
def start_broker(kafka_install: KafkaInstall, tmp_path: Path) -> Iterator[Callable[[str], Broker]]:
    """Return a function that starts a broker of the test's own under a name; all are stopped at the end."""
    with ExitStack() as stack:

        def start(name: str) -> Broker:
            own = Broker(tmp_path / name, install=kafka_install)
            stack.callback(own.stop)
            own.start()
            return own

        yield start


@pytest.fixture
def fresh_broker(start_broker: Callable[[str], Broker]) -> Broker:
    """Return a broker of the test's own, empty, to stop, kill and restart as it likes."""
    return start_broker("kafka")


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Apicurio]:
    """Yield one schema registry for the whole run; tests keep apart by their own subjects and leave it running."""
    fetch()
    apicurio = Apicurio(tmp_path_factory.mktemp("apicurio"))
    yield apicurio
    apicurio.stop()
