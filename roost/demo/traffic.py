"""The simulated world, live: events published on time, queries asked and answered for, every answer checked. Tells no story."""

import heapq
import itertools
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np

from lab.history import AnswerChecker, Observed
from lab.history.recorded import observed
from lab.world.live import Answer as Served
from lab.world.live import LiveWorld, Visit
from schemas.errors import RoostError
from schemas.records.candidates import Tweet
from schemas.records.feedback import Engagement, Impression
from serving.client import Answer, Client
from streams.producer import Delivery, Producer

log = logging.getLogger(__name__)

_KEPT_FAULTS = 5


class Traffic:
    """Plays a world against a deployment. Counts may be read at any time from any thread."""

    def __init__(self, world: LiveWorld, producer: Producer, client: Client, checker: AnswerChecker, *, surface: str) -> None:
        """Prepare; plays nothing yet.

        Args:
            world: where events and reactions come from; visits left to us are answered by the node.
            producer: shared with nobody else's deliveries to count.
            client: of the node.
        """
        self._world = world
        self._producer = producer
        self._client = client
        self._checker = checker
        self._surface = surface
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self.acknowledged = 0
        self._tweets: dict[str, int] = {}
        self.queries = 0
        self.errors = 0
        self.mixed = 0
        self.answers_by_bundle: Counter[str] = Counter()
        self.faults: list[str] = []
        self.observed: list[Observed] = []

    def publish_slice(self, until_s: float) -> int:
        """Publish users and everything up to a world time as fast as the broker takes it; return the number of events."""
        count = 0
        for user in self._world.users():
            self._producer.send(user, on_delivery=self._delivered)
            count += 1
        for event in self._world.events(until_s):
            if not isinstance(event, Visit):
                self._send(event)
                count += 1
        self._producer.flush()
        return count

    def tweets_since(self, created_ms: int) -> set[str]:
        """Return the ids of published tweets that were created at or after a time and not deleted."""
        return {candidate_id for candidate_id, created in self._tweets.items() if created >= created_ms}

    def start(self, *, queries_per_s: float) -> None:
        """Play on, in time, from where the slice ended, and ask for random users besides."""
        names = {"demo-events": self._play, "demo-queries": lambda: self._ask(queries_per_s)}
        for name, target in names.items():
            thread = threading.Thread(target=self._guarded, args=(target,), name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """Stop playing; everything published is acknowledged on return."""
        self._stop.set()
        for thread in self._threads:
            thread.join(30.0)
        self._producer.flush()

    def ask(self, user_id: str, *, k: int) -> Answer | None:
        """Ask for a user, check the answer, count it; None when there was an error."""
        self.queries += 1
        asked_ms = _now_ms()
        try:
            answer = self._client.retrieve(self._surface, user_id=user_id, k=k)
        except RoostError as error:
            self.errors += 1
            self._note(f"{type(error).__name__}: {error}")
            return None
        answered_ms = _now_ms()
        self.answers_by_bundle[answer.bundle] += 1
        fault = self._checker.fault(answer)
        self.observed.append(
            observed(answer, node="node", asked_ms=asked_ms, answered_ms=answered_ms, user_id=user_id, fault=fault)
        )
        if fault:
            self.mixed += 1
            self._note(fault)
        return answer

    def _guarded(self, target: Callable[[], None]) -> None:
        try:
            target()
        except Exception as error:
            # the story goes on and reports it: a demo that dies in a thread would look like success
            log.exception("the demo's traffic stopped")
            self.errors += 1
            self._note(f"traffic stopped: {error}")

    def _play(self) -> None:
        reactions: list[tuple[int, int, Impression | Engagement]] = []
        order = itertools.count()
        for event in self._world.events():
            while reactions and reactions[0][0] <= event.event_time_ms:
                due_ms, _, reaction = heapq.heappop(reactions)
                if not self._wait_until(due_ms):
                    return
                self._send(reaction)
            if not self._wait_until(event.event_time_ms):
                return
            if isinstance(event, Visit):
                for reaction in self._served(event):
                    heapq.heappush(reactions, (reaction.event_time_ms, next(order), reaction))
            else:
                self._send(event)

    def _served(self, visit: Visit) -> Iterator[Impression | Engagement]:
        shown = self._world.world.settings.tweets_per_visit
        answer = self.ask(visit.user_id, k=shown)
        if answer is None:
            return
        served = Served(
            request_id=answer.request_id,
            user_id=visit.user_id,
            candidate_ids=[candidate.candidate_id for candidate in answer.candidates],
            surface=self._surface,
            bundle=answer.bundle,
            query_token=answer.query_token,
            tokens=[candidate.token for candidate in answer.candidates],
        )
        reaction = self._world.react(served, _now_ms())
        yield from reaction.impressions
        yield from reaction.engagements

    def _ask(self, queries_per_s: float) -> None:
        rng = np.random.default_rng(0)
        users = len(self._world.world.users)
        started_s = time.monotonic()
        for number in itertools.count():
            # open loop: a slow answer must not slow the asking
            pause_s = started_s + number / queries_per_s - time.monotonic()
            if self._stop.wait(max(pause_s, 0.0)):
                return
            self.ask(f"u:{rng.integers(users)}", k=200)

    def _wait_until(self, unix_ms: int) -> bool:
        return not self._stop.wait(max((unix_ms - _now_ms()) / 1000, 0.0))

    def _send(self, event: Tweet | Impression | Engagement) -> None:
        self._producer.send(event, on_delivery=self._delivered)
        if isinstance(event, Tweet):
            if event.deleted:
                self._tweets.pop(event.candidate_id, None)
            else:
                self._tweets[event.candidate_id] = event.created_ms

    def _delivered(self, delivery: object) -> None:
        if isinstance(delivery, Delivery):
            self.acknowledged += 1

    def _note(self, fault: str) -> None:
        if len(self.faults) < _KEPT_FAULTS:
            self.faults.append(fault)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
