"""Ends a process whose consumer group stands still with records to read, goes on without it, or reads a topic that is another now.

Restarts nothing itself.

faust#523, #175, #594: after a broker loss the offsets stop without an error, and a client may never find back into its group, which
raises nothing either. A topic that was deleted and created anew may be nobody's for ever: its offsets go with it, and Faust assigns
nothing. It asks the broker itself, over its own connections.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from schemas.errors import BrokerUnavailable, TopicMismatch
from schemas.positions import Place
from schemas.wire.admin import group_description, make_admin, topic_id
from schemas.wire.client import make_consumer
from schemas.wire.committed import committed_offsets
from schemas.wire.ends import beyond_end
from schemas.wire.tail import TailReader
from streams.metrics import RunnerMetrics

log = logging.getLogger(__name__)

_TIMEOUT_S = 5.0


class Progress:
    """Decides what is stuck: a partition with lag whose committed offset has not moved for too long. Pure: time is passed in."""

    def __init__(self, wedged_after_s: float) -> None:
        self._wedged_after_s = wedged_after_s
        self._moved_at: dict[Place, tuple[int, float]] = {}

    def stuck(self, committed: Mapping[Place, int], ends: Mapping[Place, int], now_s: float) -> list[Place]:
        """Return the partitions that are stuck at `now_s`, given next offsets committed and high-water marks.

        One that was not asked about at the last look begins anew.
        """
        self._moved_at = {place: moved for place, moved in self._moved_at.items() if place in committed}
        found = []
        for place, offset in committed.items():
            at, since_s = self._moved_at.get(place, (-1, now_s))
            if offset != at or offset >= ends.get(place, 0):
                self._moved_at[place] = (offset, now_s)
            elif now_s - since_s >= self._wedged_after_s:
                found.append(place)
        return found


class Watchdog:
    """A daemon thread that calls `on_wedged` once a partition is stuck, the process is no member, or a topic is another."""

    def __init__(
        self,
        bootstrap: str,
        group: str,
        instance: str,
        places: Callable[[], list[Place]],
        *,
        topics: Collection[str] = (),
        wedged_after_s: float,
        on_wedged: Callable[[str], None] | None = None,
        metrics: RunnerMetrics | None = None,
    ) -> None:
        """Watch the partitions `places` names at each look: those this process owns as the group's member `instance`.

        Args:
            topics: the process's inputs, which must stay what they are at the first look.
        """
        self._bootstrap = bootstrap
        self._group = group
        self._instance = instance
        self._places = places
        self._topics = topics
        self._topic_ids: dict[str, str] = {}
        self._wedged_after_s = wedged_after_s
        self._interval_s = wedged_after_s / 6
        self._progress = Progress(wedged_after_s)
        self._on_wedged = on_wedged or _exit
        self._metrics = metrics or RunnerMetrics()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> None:
        """Begin watching."""
        self._thread.start()

    def stop(self) -> None:
        """End watching."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        # asks for offsets without joining the group: it never subscribes
        consumer = make_consumer(self._bootstrap, self._group)
        admin = make_admin(self._bootstrap)
        member_s = time.monotonic()
        try:
            while True:
                try:
                    reason = self._other_topic(admin) or self._stuck_place(consumer)
                    if self._is_member(admin):
                        member_s = time.monotonic()
                except (KafkaException, BrokerUnavailable) as error:
                    log.warning("the watchdog cannot reach the broker: %s", error)
                    # while it is away nobody can be a member
                    reason, member_s = None, time.monotonic()
                # a watchdog that ends guards nothing, and nobody would notice
                except Exception:
                    log.exception("the watchdog could not look")
                    reason = None
                if reason is None and time.monotonic() - member_s >= self._wedged_after_s:
                    reason = f"it has had no member {self._instance} for {self._wedged_after_s:g} s"
                if reason is not None:
                    self._on_wedged(f"{self._group} is wedged: {reason}; ending to be restarted")
                if self._stop.wait(self._interval_s):
                    return
        finally:
            consumer.close()

    def _other_topic(self, admin: AdminClient) -> str | None:
        for topic in self._topics:
            # one that is away at the moment may come back as another
            with suppress(TopicMismatch):
                found = topic_id(admin, topic, timeout_s=_TIMEOUT_S)
                if self._topic_ids.setdefault(topic, found) != found:
                    return f"{topic} was deleted and created anew"
        return None

    def _stuck_place(self, consumer: Consumer) -> str | None:
        places = self._places()
        # nothing committed yet counts as 0: the first batch may be the one that is stuck
        committed = {place: offset or 0 for place, offset in committed_offsets(consumer, places, timeout_s=_TIMEOUT_S).items()}
        ends = {place: consumer.get_watermark_offsets(TopicPartition(*place), _TIMEOUT_S)[1] for place in places}
        self._metrics.behind(committed, ends)
        for topic, partition in beyond_end(committed, ends):
            # Faust takes all that comes below for read, and says nothing
            return f"{topic}/{partition} was read beyond its end"
        for topic, partition in self._progress.stuck(committed, ends, time.monotonic()):
            if self._has_record(topic, partition, committed[topic, partition]):
                return f"{topic}/{partition} stands at {committed[topic, partition]} of {ends[topic, partition]} without a commit"
        return None

    def _is_member(self, admin: AdminClient) -> bool:
        members = group_description(admin, self._group, timeout_s=_TIMEOUT_S).members
        return any(member.group_instance_id == self._instance for member in members)

    def _has_record(self, topic: str, partition: int, offset: int) -> bool:
        # offsets may belong to transaction markers: only a record that can be read proves that one is waiting
        try:
            with TailReader(
                self._bootstrap, topic, [partition], start={partition: offset}, read_committed=True, once=True
            ) as reader:
                deadline = time.monotonic() + _TIMEOUT_S
                while not reader.at_end() and time.monotonic() < deadline:
                    if reader.poll(1, 0.5):
                        return True
        except BrokerUnavailable as error:
            log.warning("the watchdog cannot look at %s: %s", topic, error)
        return False


def _exit(reason: str) -> None:
    log.critical(reason)
    # the event loop may be what is stuck: no clean-up can be trusted, and nothing uncommitted is lost
    os._exit(1)
