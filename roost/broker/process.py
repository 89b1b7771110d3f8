"""One Kafka process: started, awaited, stopped, killed, started again. Knows nothing of topics or records."""

import fcntl
import re
import shutil
import socket
import subprocess
import time
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from roost.broker.config import HOST, free_port, port_of, server_properties
from roost.broker.install import KafkaInstall
from roost.broker.yielding import yield_background
from roost.child import spawn
from roost.whole_file import write_whole
from schemas.errors import BrokerUnavailable

__all__ = ["Broker"]

_LOG_TAIL_LINES = 30
_PORT_TAKEN = re.compile(r"BindException|Address already in use|Socket server failed to bind")


class Broker:
    """One broker-and-controller process on 127.0.0.1 with its data in one folder; a context manager.

    Stopped or killed, it can be started again: same data, same port. The process dies with the one that started it
    (Linux), so that a killed launcher or test run leaves nothing behind. Not safe to share between threads.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        install: KafkaInstall,
        port: int | None = None,
        heap_mb: int = 512,
        lasting: bool = False,
        jvm_flags: tuple[str, ...] = (),
        patience_s: float = 0.0,
    ) -> None:
        """Describe a broker; starts nothing.

        Args:
            data_dir: folder for the log segments, `broker.log` and `server.properties`; made on start.
            install: the jars and the Java.
            port: client port; None takes the one `data_dir` was last served on, or a free one.
            heap_mb: largest Java heap, MiB.
            lasting: whether it will run for more than some minutes: Java then compiles for the long run what runs often.
            jvm_flags: more flags for the Java machine.
            patience_s: how long a broker that still runs on `data_dir` may take to end.
        """
        self._data_dir = data_dir.resolve()
        self._install = install
        self._fixed_port = port
        self._port: int | None = port
        self._heap_mb = heap_mb
        self._lasting = lasting
        self._jvm_flags = jvm_flags
        self._patience_s = patience_s
        self._log_start_byte = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        """host:port for clients; known once started, and the same after a restart."""
        if self._port is None:
            raise BrokerUnavailable("the broker has no port yet; start it first")
        return f"{HOST}:{self._port}"

    @property
    def pid(self) -> int:
        """Process id of the Java machine."""
        if self._process is None:
            raise BrokerUnavailable("the broker is not running; start it first")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process is there; says nothing of whether it answers."""
        return self._process is not None and self._process.poll() is None

    @property
    def log_path(self) -> Path:
        """What the broker wrote about itself."""
        return self._data_dir / "broker.log"

    def start(self, *, timeout_s: float = 60.0) -> None:
        """Start the process and return once it serves an admin request; a running broker is left as it is.

        Raises:
            BrokerUnavailable: no jars, no java, the process died, or it did not answer within `timeout_s`.
        """
        if self.running:
            return
        self._data_dir.mkdir(parents=True, exist_ok=True)
        remembered = self._fixed_port or port_of(self._properties_path)
        deadline_s = time.monotonic() + timeout_s
        for attempt in range(3):
            self._port = remembered or free_port()
            try:
                self._start_on(self._port, deadline_s)
            except BrokerUnavailable as failure:
                # Another process can take a free port between our look and the broker's bind: then look again.
                if self._fixed_port or attempt == 2 or not _PORT_TAKEN.search(str(failure)):
                    raise
                remembered = None
            else:
                return

    def stop(self, *, timeout_s: float = 30.0) -> None:
        """Stop cleanly (SIGTERM; segments flushed) and wait; after `timeout_s` kill. Nothing to do if not running."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def kill(self) -> None:
        """Kill at once, as a power cut would (SIGKILL); what was acknowledged must be there after `start`."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def log_tail(self, lines: int = _LOG_TAIL_LINES) -> str:
        """Return the last lines that the process of the latest start has logged, or an empty string."""
        try:
            with self.log_path.open("rb") as log:
                log.seek(self._log_start_byte)
                text = log.read().decode(errors="replace")
        except FileNotFoundError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop."""
        self.stop()

    @property
    def _properties_path(self) -> Path:
        return self._data_dir / "server.properties"

    def _start_on(self, port: int, deadline_s: float) -> None:
        with (self._data_dir / "in-use.lock").open("ab") as lock, self.log_path.open("ab") as log:
            self._take(lock)
            controller_port = free_port(but_not=port)
            properties = server_properties(self._data_dir / "segments", port=port, controller_port=controller_port)
            # cut off by a full disk it names no port, and the next start takes one that no role knows
            write_whole(self._properties_path, properties)
            self._format()
            self._log_start_byte = log.tell()
            self._process = spawn(
                [*self._install.command("kafka.Kafka", *self._server_flags()), str(self._properties_path)],
                log=log,
                cwd=self._data_dir,
                inherited=[lock],
            )
        try:
            self._await_answer(deadline_s)
        except BaseException:
            self.kill()
            raise
        yield_background(self.pid)

    def _take(self, lock: BinaryIO) -> None:
        # Kafka reads its metadata before it takes a lock of its own, and two brokers on one folder corrupt it. The broker
        # inherits this one, so that it is held for just as long as a broker lives, whatever becomes of its launcher.
        deadline_s = time.monotonic() + self._patience_s
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline_s:
                    raise BrokerUnavailable(f"a broker is running on {self._data_dir}; stop it or choose another folder") from None
                time.sleep(0.1)
            else:
                return

    def _format(self) -> None:
        if (self._data_dir / "segments" / "meta.properties").is_file():
            return
        cluster_id = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        command = self._install.command("kafka.tools.StorageTool", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
        done = subprocess.run(
            # one argument: an id may begin with a dash
            [*command, "format", f"--cluster-id={cluster_id}", "--config", str(self._properties_path)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        if done.returncode != 0:
            said = "\n".join(done.stdout.decode(errors="replace").splitlines()[-_LOG_TAIL_LINES:])
            raise BrokerUnavailable(f"Kafka could not format {self._data_dir}; it said:\n{said}")

    def _server_flags(self) -> tuple[str, ...]:
        return (
            f"-Xms{min(256, self._heap_mb)}m",
            f"-Xmx{self._heap_mb}m",
            "-XX:+UseSerialGC",
            # The second compiler takes half a core for a quarter of a minute, and 2 s more to start; from then on a broker at
            # 900 events/s takes .43 cores instead of .61.
            *(() if self._lasting else ("-XX:TieredStopAtLevel=1",)),
            "-XX:+ExitOnOutOfMemoryError",
            "-Djava.awt.headless=true",
            "-Dorg.slf4j.simpleLogger.showDateTime=true",
            "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSZ",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            *self._jvm_flags,
        )

    def _await_answer(self, deadline_s: float) -> None:
        while not _answers(self.bootstrap):
            if not self.running:
                raise BrokerUnavailable(f"Kafka on {self.bootstrap} died while starting; {self._said()}")
            if time.monotonic() > deadline_s:
                raise BrokerUnavailable(f"Kafka on {self.bootstrap} did not answer in time; {self._said()}")
            time.sleep(0.05)

    def _said(self) -> str:
        # on a full disk the log has no room for the reason
        free_mib = shutil.disk_usage(self._data_dir).free / 2**20
        return f"{free_mib:,.0f} MiB are free in {self._data_dir}, and its log {self.log_path} ends:\n{self.log_tail()}"


def _answers(bootstrap: str) -> bool:
    """Whether a broker is registered and unfenced: an open port alone comes seconds before that."""
    host, _, port = bootstrap.rpartition(":")
    try:
        # Cheap, and keeps librdkafka from backing off on a port that is not open yet.
        socket.create_connection((host, int(port)), timeout=1.0).close()
    except OSError:
        return False
    try:
        metadata = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0}).list_topics(timeout=2.0)
    except KafkaException:
        return False
    return bool(metadata.brokers) and metadata.controller_id >= 0
