"""A launcher's claim on its roles' names: written, kept alive by a heartbeat, and taken back at the end. Judges no other claim."""

import contextlib
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from schemas.claims import Claim
from schemas.codec import encode
from schemas.errors import BrokerUnavailable
from schemas.records.control import NodeStatus
from schemas.topics import NODE_STATUS
from schemas.wire.client import make_producer

log = logging.getLogger(__name__)

Delivered = Callable[[KafkaError | None, Message], None]

HEARTBEAT_S = 1.0
_ACKNOWLEDGED_S = 10.0
_TAKEN_BACK_S = 2.0


def _nobody_asks(_: KafkaError | None, __: Message) -> None:
    pass


def claim_of_this_process(names: frozenset[str]) -> Claim:
    """Return a claim on names that no other process makes, nor this one a second time."""
    return Claim(socket.gethostname(), os.getpid(), secrets.token_hex(4), names)


class HeldClaim:
    """A claim that stands while the context lasts and this process lives. Its heartbeat has a thread of its own."""

    def __init__(self, bootstrap: str, claim: Claim) -> None:
        """Write nothing yet."""
        self.claim = claim
        self._bootstrap = bootstrap
        # a heartbeat older than this is of no use to anybody
        self._producer: Producer = make_producer(bootstrap, message_timeout_ms=5_000)
        self._stopping = threading.Event()
        self._heart = threading.Thread(target=self._beat, name="claim", daemon=True)

    def __enter__(self) -> Self:
        """Write the claim; raises `BrokerUnavailable` when the broker does not acknowledge it within 5 s."""
        errors: list[KafkaError | None] = []

        def delivered(error: KafkaError | None, _: Message) -> None:
            errors.append(error)

        self._write(self.claim.claim_key, delivered)
        self._producer.flush(_ACKNOWLEDGED_S)
        if errors != [None]:
            raise BrokerUnavailable(f"the broker at {self._bootstrap} did not acknowledge a record of {NODE_STATUS}; try again")
        self._heart.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stopping.set()
        self._heart.join()
        # of a topic that is gone there is nothing to take out
        with contextlib.suppress(KafkaException):
            self.remove([self.claim])
        self._producer.flush(_TAKEN_BACK_S)

    def remove(self, claims: Iterable[Claim]) -> None:
        """Take claims out of the topic: the own one, or those of the dead. Waits for no acknowledgement."""
        for claim in claims:
            for key in (claim.heartbeat_key, claim.claim_key):
                self._producer.produce(NODE_STATUS, None, key.encode())

    def _beat(self) -> None:
        while True:
            try:
                # as soon as the claim stands: who comes a moment later need not wait to know that this process lives
                self._write(self.claim.heartbeat_key)
                self._producer.poll(0)
            # the topic is being created anew, or the broker takes none just now: the next one may be taken
            except (KafkaException, BufferError) as error:
                log.warning("a heartbeat of this launcher was not taken: %s", error)
            if self._stopping.wait(HEARTBEAT_S):
                return

    def _write(self, key: str, delivered: Delivered = _nobody_asks) -> None:
        status = NodeStatus(key, time.time_ns() // 1_000_000, ready=True)
        self._producer.produce(NODE_STATUS, encode(status), key.encode(), on_delivery=delivered)
