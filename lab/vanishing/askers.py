"""The same questions to both systems, on a schedule. What came is kept: as samples, and for the checker. Commands nothing."""

import itertools
import threading
import time
from collections.abc import Callable

from lab.bench.freshness.http import profile
from lab.history import AnswerChecker, Observed
from lab.history.recorded import observed
from lab.vanishing.plan import Plan
from lab.vanishing.sampled import Lag, Sample, sample_of
from lab.vanishing.tweets import PROBE_LANGUAGE, Reader, Tweets
from lab.vanishing.usual import UsualWay
from schemas.errors import RoostError
from schemas.positions import Positions
from serving.client import Answer, Client, InlineUser
from serving.index import Filter
from streams.producer import Producer

_LOOK_S = 0.01
_PROBE_EVERY_S = 1.0
_PROBE_LOST_S = 30.0


class Replicas:
    """Roost as a caller sees it: by turns each replica, and the other one where there is no answer, as a balancer does."""

    def __init__(self, urls: tuple[str, ...], surface: str) -> None:
        self._clients = [Client(url, timeout_s=2.0) for url in urls]
        self._urls = urls
        self._surface = surface
        self._turn = itertools.count()
        self.failed_over = 0

    def ask(self, reader: Reader, k: int, *, languages: list[str] | None = None) -> tuple[Answer, str]:
        """Return an answer and who gave it; raises `ClientError` when no replica has one."""
        first = next(self._turn)
        for attempt in range(len(self._clients)):
            at = (first + attempt) % len(self._clients)
            try:
                user = InlineUser(**profile(reader.user))
                answer = self._clients[at].retrieve(self._surface, user_id=reader.user.user_id, user=user, k=k, languages=languages)
            except RoostError:
                if attempt == len(self._clients) - 1:
                    raise
                self.failed_over += 1
            else:
                return answer, self._urls[at]
        raise AssertionError("there is at least one replica")

    def each(self, reader: Reader, k: int) -> list[Answer]:
        """Return an answer of every replica; raises `ClientError` where one has none."""
        user = InlineUser(**profile(reader.user))
        return [client.retrieve(self._surface, user_id=reader.user.user_id, user=user, k=k) for client in self._clients]

    def reflect(self, written: Positions) -> bool:
        """Tell whether every replica has what was written; raises `ClientError` where one has not."""
        for client in self._clients:
            client.retrieve(self._surface, k=1, min_offset=written, max_wait_s=0.0)
        return True

    def close(self) -> None:
        """Close the connections."""
        for client in self._clients:
            client.close()


class Askers:
    """Threads that ask and probe until stopped. What they found is read after that."""

    def __init__(
        self, plan: Plan, tweets: Tweets, *, replicas: Replicas, usual: UsualWay, checker: AnswerChecker, producer: Producer
    ) -> None:
        self._plan = plan
        self._tweets = tweets
        self._replicas = replicas
        self._usual = usual
        self._checker = checker
        self._producer = producer
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self.start_s = time.monotonic()
        self.roost: list[Sample] = []
        self.usual: list[Sample] = []
        self.roost_lag: list[Lag] = []
        self.usual_lag: list[Lag] = []
        self.observed: list[Observed] = []
        self.faults: list[str] = []

    def start(self) -> None:
        """Begin; time 0 is now."""
        self.start_s = time.monotonic()
        for name, step, per_s in (
            ("publish", self._publish, self._plan.tweets_per_s),
            ("ask-roost", self._ask_roost, self._plan.queries_per_s),
            ("ask-usual", self._ask_usual, self._plan.queries_per_s),
            ("probe-roost", self._probe_roost, 1 / _PROBE_EVERY_S),
            ("probe-usual", self._probe_usual, 1 / _PROBE_EVERY_S),
        ):
            thread = threading.Thread(target=self._in_turn, args=(step, per_s), name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """Stop asking."""
        self._stop.set()
        for thread in self._threads:
            thread.join(30.0)

    @property
    def now_s(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.start_s

    def _in_turn(self, step: Callable[[int], None], per_s: float) -> None:
        for number in itertools.count():
            # open loop: a slow answer must not slow the asking
            if self._stop.wait(max(0.0, self.start_s + number / per_s - time.monotonic())):
                return
            try:
                step(number)
            # said in the report: a run whose asker died would look like one without errors
            except Exception as error:  # noqa: BLE001
                self.faults.append(f"{threading.current_thread().name}: {type(error).__name__}: {error}")

    def _publish(self, _: int) -> None:
        self._producer.tweet(self._tweets.next(_now_ms()))

    def _ask_roost(self, number: int) -> None:
        reader, at_s, asked_ms = self._reader(number), self.now_s, _now_ms()
        try:
            answer, node = self._replicas.ask(reader, self._plan.k)
        except RoostError:
            self.roost.append(Sample(at_s, None, None))
            return
        answered_ms = _now_ms()
        fault = self._checker.fault(answer)
        self.observed.append(
            observed(answer, node=node, asked_ms=asked_ms, answered_ms=answered_ms, user_id=reader.user.user_id, fault=fault)
        )
        shown = [found for found in answer.candidates if not found.language.startswith(PROBE_LANGUAGE)]
        self.roost.append(
            sample_of(
                at_s,
                [found.age_s for found in shown],
                [found.language for found in shown],
                reader.user.languages,
                fresh_s=self._plan.fresh_s,
                mixed=fault is not None,
            )
        )

    def _ask_usual(self, number: int) -> None:
        reader, at_s, now_ms = self._reader(number), self.now_s, _now_ms()
        answer = self._usual.ask(reader.features, self._plan.k)
        shown = [
            (created_ms, language)
            for created_ms, language in zip(answer.hits.created_ms.tolist(), answer.hits.languages, strict=True)
            if not language.startswith(PROBE_LANGUAGE)
        ]
        self.usual.append(
            sample_of(
                at_s,
                [(now_ms - created_ms) / 1000 for created_ms, _ in shown],
                [language for _, language in shown],
                reader.user.languages,
                fresh_s=self._plan.fresh_s,
                mixed=answer.mixed,
            )
        )

    def _probe_roost(self, number: int) -> None:
        def found(language: str) -> bool:
            return bool(self._replicas.ask(self._anybody, 1, languages=[language])[0].candidates)

        self._probe(2 * number, found, self.roost_lag)

    def _probe_usual(self, number: int) -> None:
        def found(language: str) -> bool:
            return len(self._usual.ask(self._anybody.features, 1, Filter(languages=frozenset((language,)))).hits) > 0

        self._probe(2 * number + 1, found, self.usual_lag)

    def _probe(self, number: int, found: Callable[[str], bool], lags: list[Lag]) -> None:
        """Publish a tweet and look until it is found by its language: what a monitor of lag sees."""
        tweet = self._tweets.probe(_now_ms(), number)
        at_s, began_s = self.now_s, time.perf_counter()
        self._producer.tweet(tweet)
        while time.perf_counter() - began_s < _PROBE_LOST_S:
            if _true(found, tweet.language):
                lags.append(Lag(at_s, (time.perf_counter() - began_s) * 1000))
                return
            if self._stop.wait(_LOOK_S):
                return
        lags.append(Lag(at_s, None))

    @property
    def _anybody(self) -> Reader:
        return self._tweets.readers[0]

    def _reader(self, number: int) -> Reader:
        return self._tweets.readers[number * 7 % len(self._tweets.readers)]


def _true(found: Callable[[str], bool], language: str) -> bool:
    try:
        return found(language)
    except RoostError:
        return False


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
