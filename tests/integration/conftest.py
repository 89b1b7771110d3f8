"""A real broker and a real schema registry for the tests in this folder. Holds no test."""

import gc
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from roost.broker import Broker, KafkaInstall, kafka_for
from roost.settings import LauncherSettings
from schemas.topics import standard_topics
from schemas.wire.admin import create_topics, wait_for_broker
from schemas.wire.client import make_producer
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
    """Return a function that starts a broker of the test's own under a name; all are ended at the end."""
    with ExitStack() as stack:

        def start(name: str) -> Broker:
            own = Broker(tmp_path / name, install=kafka_install)
            # nobody reads its data again
            stack.callback(own.kill)
            own.start()
            return own

        yield start


class BrokersAhead:
    """Brokers with topics and no record, each started while the test before it runs.

    A start takes two Java machines, and with the topics some seven seconds.
    """

    def __init__(self, install: KafkaInstall, folder: Path, *, wanted: int) -> None:
        self._install = install
        self._folder = folder
        self._left = wanted
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="brokers-ahead")
        self._next: Future[Broker] | None = None

    def take(self) -> Broker:
        """Return a broker that answers, and start another one if it will be asked for."""
        begun, self._next = self._next or self._pool.submit(self._start), None
        broker = begun.result()
        if self._left > 0:
            self._next = self._pool.submit(self._start)
        return broker

    def settle(self) -> None:
        """Wait until the start under way is over: no test has to expect one that did not ask for a broker."""
        if self._next is not None:
            wait([self._next])

    def _start(self) -> Broker:
        self._left -= 1
        broker = Broker(self._folder / str(self._left), install=self._install)
        broker.start()
        # asked for its first producer id, a broker says that it is loading, and a client asks again after half a second
        asking = make_producer(broker.bootstrap)
        create_topics(wait_for_broker(broker.bootstrap, timeout_s=30), standard_topics())
        asking.flush(0)
        return broker

    def close(self) -> None:
        """End the one that nobody took."""
        self._left = 0
        self.settle()
        if self._next is not None and self._next.exception() is None:
            self._next.result().kill()
        self._pool.shutdown()


@pytest.fixture(scope="session")
def brokers_ahead(
    request: pytest.FixtureRequest, kafka_install: KafkaInstall, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BrokersAhead]:
    """Yield as many brokers as this run has tests that ask for one; of several workers each starts one more, for nobody."""
    wanted = sum("fresh_broker" in getattr(item, "fixturenames", ()) for item in request.session.items)
    ahead = BrokersAhead(kafka_install, tmp_path_factory.mktemp("brokers"), wanted=wanted)
    yield ahead
    ahead.close()


@pytest.fixture
def fresh_broker(brokers_ahead: BrokersAhead) -> Iterator[Broker]:
    """Yield a broker of the test's own, with the standard topics and no record, to stop, kill and restart as it likes."""
    own = brokers_ahead.take()
    yield own
    own.kill()
    brokers_ahead.settle()


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Apicurio]:
    """Yield one schema registry for the whole run; tests keep apart by their own subjects and leave it running."""
    fetch()
    apicurio = Apicurio(tmp_path_factory.mktemp("apicurio"))
    yield apicurio
    apicurio.stop()
