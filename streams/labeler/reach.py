"""Follows how far the user states seen reflect the labelers' inputs, and says when to wait for them no longer. Holds no window."""

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Self

from confluent_kafka import KafkaException

from schemas.errors import BrokerUnavailable
from schemas.groups import LABEL
from schemas.positions import Place
from schemas.topics import ENGAGEMENTS, IMPRESSIONS, USER_EVENTS, USER_STATES, USERS
from schemas.wire.admin import make_admin
from schemas.wire.client import make_consumer
from schemas.wire.committed import committed_offsets
from schemas.wire.ends import log_ends
from streams.labeler.barriers import Barriers, Ends
from streams.labeler.watermark import NEVER_MS

log = logging.getLogger(__name__)

_STEP_S = 0.1
_IDLE_S = 5.0
_TRY_AGAIN_S = 1.0
_END_S = 2.0
_LABELER_INPUTS = (IMPRESSIONS, ENGAGEMENTS)
_USER_INPUTS = (USERS, USER_EVENTS)


class BrokerLogs:
    """`Logs` of a broker; one thread's."""

    def __init__(self, bootstrap: str, partitions: int) -> None:
        """Connect in the background."""
        self._admin = make_admin(bootstrap)
        # asks for offsets without joining the group: it never subscribes
        self._consumer = make_consumer(bootstrap, LABEL.group)
        self._partitions = partitions

    def inputs_at(self, time_ms: int | None) -> Ends:
        """See `Logs`."""
        places = self._places(*_LABELER_INPUTS)
        if time_ms is None:
            return log_ends(self._admin, places)
        found = log_ends(self._admin, places, since_ms=time_ms + 1)
        # asked later: what was appended meanwhile is taken in as well
        return found | log_ends(self._admin, [place for place, offset in found.items() if offset < 0])

    def ends_of_user_inputs(self) -> Ends:
        """See `Logs`."""
        return log_ends(self._admin, self._places(*_USER_INPUTS))

    def ends_of_user_states(self) -> Ends:
        """See `Logs`."""
        return log_ends(self._admin, self._places(USER_STATES))

    def committed(self) -> Mapping[Place, int | None]:
        """See `Logs`."""
        return committed_offsets(self._consumer, self._places(*_LABELER_INPUTS, *_USER_INPUTS))

    def close(self) -> None:
        """Close the client."""
        self._consumer.close()

    def _places(self, *topics: str) -> list[Place]:
        return [(topic, partition) for topic in topics for partition in range(self._partitions)]


class UserStatesReach:
    """A `Reach` whose barriers a daemon thread drives. All else is for the labeler's thread."""

    def __init__(
        self,
        barriers: Barriers,
        *,
        longest_s: float,
        on_given_up: Callable[[], None] = lambda: None,
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        """Wait for nothing yet.

        Args:
            longest_s: as said in the warning when windows close without.
            on_given_up: called when they begin to, once until the states have caught up.
            on_end: called by the thread when it ends.
        """
        self.given_up = False
        self._barriers = barriers
        self._longest_s = longest_s
        self._on_given_up = on_given_up
        self._on_end = on_end
        self._missed_ms = NEVER_MS
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="user-states-reach", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._wake.set()
        # without a broker it may wait for an answer: nobody waits for that
        self._thread.join(_END_S)

    def see(self, next_offsets: Mapping[int, int]) -> None:
        """Take note of how far `user-states` was read, by partition.

        Raises:
            Exception: whatever ended the thread; without it every window would wait for the longest.
        """
        if self._failure is not None:
            raise self._failure
        self._barriers.see(next_offsets)
        if self.given_up and self.covers(self._missed_ms):
            self.given_up = False
            log.info("user states have caught up: label windows wait for them again")

    def read(self, append_ms: int) -> None:
        """See `streams.labeler.held.Reach`."""
        self._barriers.read(append_ms)

    def want(self, needed_ms: int) -> None:
        """See `streams.labeler.held.Reach`."""
        if self._barriers.want(needed_ms):
            self._wake.set()

    def covers(self, needed_ms: int) -> bool:
        """See `streams.labeler.held.Reach`."""
        return needed_ms <= self._barriers.seen_ms

    def give_up(self, needed_ms: int) -> None:
        """See `streams.labeler.held.Reach`."""
        self._missed_ms = max(self._missed_ms, needed_ms)
        if not self.given_up:
            self.given_up = True
            self._on_given_up()
            log.warning(
                "user states have been behind for %g s: until they have caught up label windows close without waiting, and what is "
                "reconstructed of a user may be older than what a node knew; is user state, a part of `roost label`, at work?",
                self._longest_s,
            )

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._wake.clear()
                try:
                    pause_s = _STEP_S if self._barriers.step() else _IDLE_S
                except (KafkaException, BrokerUnavailable) as error:
                    log.warning("cannot see how far user states are: %s", error)
                    pause_s = _TRY_AGAIN_S
                if pause_s < _IDLE_S:
                    self._stop.wait(pause_s)
                else:
                    self._wake.wait(pause_s)
        except Exception as error:  # noqa: BLE001  raised again by the labeler's thread
            self._failure = error
        finally:
            self._on_end()
