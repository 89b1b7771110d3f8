"""Follows one topic on its own thread, from its beginning or a given place, through broker losses. Knows no records, no epochs."""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from confluent_kafka.admin import AdminClient

from schemas.errors import BrokerUnavailable, OffsetOutOfRange, TopicMismatch
from schemas.wire.admin import topic_id, wait_for_broker
from schemas.wire.identities import TopicIds, asking
from schemas.wire.inbound import InboundRecord
from schemas.wire.tail import TailReader

log = logging.getLogger(__name__)

MAX_RECORDS = 500
_POLL_S = 0.1
_RETRY_S = 0.5
_BROKER_WAIT_S = 2.0
_LOOK_AT_ID_S = 1.0
_LOOK_S = 0.001
# the client's default of 10 s is what an index would lag after a broker came back
_RECONNECT_MS = 1_000

Handle = Callable[[Sequence[InboundRecord]], None]
Place = Callable[[str], Mapping[int, int]]


def _nothing() -> None:
    pass


def _at_the_beginning(_: str) -> Mapping[int, int]:
    return {}


@dataclass(frozen=True, slots=True)
class FollowerCallbacks:
    """What a follower tells its owner, on the follower's thread.

    Attributes:
        handle: takes each batch in log order; must be harmless when a batch comes again.
        caught_up: everything that was in the topic when the follower came to it has been handled. Told again should it fail.
        start_over: the topic is another one than before, or no longer holds the place that was read to, so deletes may have been
            missed; it is read anew from its beginning.
        place: where to begin in the topic of this id, as next offset by partition. Asked once, when the topic is first met, and
            again should it fail.
    """

    handle: Handle
    caught_up: Callable[[], None] = _nothing
    start_over: Callable[[], None] = _nothing
    place: Place = _at_the_beginning


class TopicFollower:
    """One topic, one thread. A fault in `handle` is kept, logged and retried from the same offset: no record is passed over."""

    def __init__(
        self,
        bootstrap: str,
        topic: str,
        callbacks: FollowerCallbacks,
        *,
        pause_s: Callable[[], float] = lambda: 0.0,
        gather_s: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """Follow nothing yet.

        Args:
            pause_s: waited after a full batch, so that a long replay leaves the interpreter to the queries.
            gather_s: shortest time from one batch to the next: a batch costs more than a record.
        """
        self.topic = topic
        self._bootstrap = bootstrap
        self._callbacks = callbacks
        self._pause_s = pause_s
        self._gather_s = gather_s
        self._stopping = threading.Event()
        # ends a rest
        self._awake = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"follow-{topic}", daemon=True)
        self.topic_id: str | None = None
        self._targets: dict[int, int] = {}
        self.position: dict[int, int] = {}
        self.caught_up = False
        self._told = False
        self.trouble: str | None = f"{topic} was not read yet"
        self._drained_s = time.monotonic()

    def start(self) -> None:
        """Begin to follow."""
        self._thread.start()

    def stop(self) -> None:
        """End after the batch in hand; returns when the thread has ended."""
        self._stopping.set()
        self._awake.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()

    def catch_up(self, timeout_s: float) -> bool:
        """Rest no longer, and return once all is handled that the broker has sent by now; False after `timeout_s`.

        On the follower's own thread, at once: what it holds is handled.
        """
        asked_s = time.monotonic()
        if not self._thread.is_alive() or self.is_current_thread:
            return True
        self._awake.set()
        while self._drained_s < asked_s:
            if self._stopping.is_set() or time.monotonic() - asked_s > timeout_s:
                return False
            time.sleep(_LOOK_S)
        return True

    @property
    def is_current_thread(self) -> bool:
        """Whether the follower's own thread asks."""
        return self._thread is threading.current_thread()

    @property
    def drained_age_s(self) -> float:
        """Seconds since everything the broker had sent was handled."""
        return time.monotonic() - self._drained_s

    @property
    def to_go(self) -> int:
        """Records left of those that were there when the follower came; 0 once caught up."""
        if self.caught_up:
            return 0
        return sum(max(0, end - self.position.get(p, 0)) for p, end in self._targets.items())

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._follow()
            except (BrokerUnavailable, TopicMismatch) as error:
                self._note(str(error))
            # whatever it was, the node's other topics are still good: say it, and try the same records again
            except Exception as error:
                log.exception("following %s failed; trying again from the same offsets", self.topic)
                self._note(f"{self.topic} cannot be applied ({type(error).__name__}: {error}); see the log")
            self._stopping.wait(_RETRY_S)

    def _note(self, trouble: str) -> None:
        if trouble != self.trouble and not self._stopping.is_set():
            log.warning("%s", trouble)
        self.trouble = trouble

    def _follow(self) -> None:
        admin = wait_for_broker(self._bootstrap, timeout_s=_BROKER_WAIT_S, should_stop=self._stopping.is_set)
        partitions = self._identify(admin)
        try:
            self._read(partitions, TopicIds(asking(admin, [self.topic])))
        except OffsetOutOfRange as error:
            self._note(str(error))
            self._start_over()

    def _read(self, partitions: Sequence[int], ids: TopicIds) -> None:
        look_s = 0.0
        with TailReader(
            self._bootstrap, self.topic, partitions, start=self.position, reconnect_backoff_max_ms=_RECONNECT_MS
        ) as reader:
            self._targets = reader.end_offsets()
            self._check_within(self._targets)
            self.trouble = None
            while not self._stopping.is_set():
                if time.monotonic() >= look_s:
                    ids.look()
                    look_s = time.monotonic() + _LOOK_AT_ID_S
                    if ids.now.get(self.topic, self.topic_id) != self.topic_id:
                        # the client would read on in it, in silence, where it is longer
                        return
                records = reader.poll(MAX_RECORDS, _POLL_S)
                came_s = time.monotonic()
                if records:
                    self._callbacks.handle(records)
                self.position = reader.next_offsets
                # never quite: what tells of a partition's end takes the place of a record
                full = len(records) > MAX_RECORDS // 2
                if not full:
                    self._drained_s = came_s
                if not self.caught_up and all(self.position[p] >= end for p, end in self._targets.items()):
                    self.caught_up = True
                if self.caught_up and not self._told:
                    self._callbacks.caught_up()
                    self._told = True
                rest_s = self._pause_s() if full else came_s + self._gather_s() - time.monotonic()
                if records and rest_s > 0:
                    self._awake.wait(rest_s)
                    self._awake.clear()

    def _identify(self, admin: AdminClient) -> list[int]:
        """Return the topic's partitions; start over when it is another topic of the same name."""
        found = admin.list_topics(timeout=10).topics.get(self.topic)
        if found is None or not found.partitions:
            raise BrokerUnavailable(f"topic {self.topic} does not exist yet; waiting for it")
        identity = topic_id(admin, self.topic)
        if self.topic_id is None:
            self.position = dict(self._callbacks.place(identity))
        elif self.topic_id != identity:
            self._start_over()
        self.topic_id = identity
        return sorted(found.partitions)

    def _check_within(self, ends: Mapping[int, int]) -> None:
        # the reader would say so too, but only after "caught up" had been concluded from the same offsets
        for partition, end in ends.items():
            if self.position.get(partition, 0) > end:
                raise OffsetOutOfRange(
                    f"{self.topic}[{partition}] ends at {end}, before the offset {self.position[partition]} that was read to; "
                    "reading it again from the beginning"
                )

    def _start_over(self) -> None:
        self.position = {}
        self.caught_up = self._told = False
        self._callbacks.start_over()
