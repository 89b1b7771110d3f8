"""Sends encoded events when they are due, whatever became of earlier ones, and notes its own lateness. Makes no events."""

import time
from bisect import bisect_right
from dataclasses import dataclass
from functools import partial as bound
from multiprocessing.connection import Connection

import numpy as np
from confluent_kafka import KafkaError, Message

from lab.bench.freshness.plan import Plan, probes
from lab.bench.freshness.traffic import Events, Traffic, make_world
from lab.observed.columns import Floats
from schemas.errors import DeliveryFailed
from schemas.topics import ENGAGEMENTS, TWEETS
from schemas.wire.client import make_producer

# events due within one of these go out together, as from many producers' requests; finer than what is measured
_TICK_S = 0.002
# Nobody waits for a single engagement, and their requests cost the broker more than their records: a client of their own gathers
# them, as the guide for producers advises from some hundred a second on.
_ENGAGEMENTS_LINGER_MS = 25
_FLUSH_S = 120.0


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of the open loop.

    Attributes:
        events: how many.
        late_ms: float64 [events], from due to handed to the client.
        acked_s, acked: float64 [samples] monotonic seconds, and how many events were acknowledged by then, preload included.
        probe_append_ms: the broker's append time of each probe, Unix milliseconds, by id.
    """

    events: int
    late_ms: Floats
    acked_s: Floats
    acked: Floats
    probe_append_ms: dict[str, int]


def send(connection: Connection, plan: Plan, bootstrap: str) -> None:
    """Run the sender's process: encode, and tell where the events' times begin, Unix milliseconds.

    Then send on the messages "preload", a start (monotonic seconds), and "burst".
    """
    traffic = Traffic(plan, make_world(plan.seed))
    preload, loop = traffic.preload(), traffic.open_loop()
    burst = traffic.burst()
    sender = _Sender(bootstrap, {probe.candidate_id.encode() for probe in probes(plan)})
    connection.send(traffic.start_ms)
    while True:
        match connection.recv():
            case "preload":
                sender.at_once(preload)
                connection.send(sender.acked)
            case "burst":
                sender.at_once(burst)
                connection.send(sender.acked)
            case float(start_s):
                connection.send(sender.on_schedule(loop, start_s))
            case "acknowledged":
                connection.send((np.array(sender.samples_s), np.array(sender.samples, np.float64)))


class _Sender:
    def __init__(self, bootstrap: str, watched: set[bytes]) -> None:
        self._client_of = {
            TWEETS: make_producer(bootstrap),
            ENGAGEMENTS: make_producer(bootstrap, linger_ms=_ENGAGEMENTS_LINGER_MS),
        }
        self._watched = watched
        self.acked = 0
        self.samples_s: list[float] = []
        self.samples: list[int] = []
        self._append_ms: dict[str, int] = {}
        self._failure = ""

    def at_once(self, events: Events) -> None:
        for at in range(len(events)):
            self._produce(events, at)
            if at % 1_000 == 0:
                self._sample()
        self._flush()

    def on_schedule(self, events: Events, start_s: float) -> Sent:
        due_s = events.due_s.tolist()
        spans: list[tuple[int, int, float]] = []
        done = 0
        while done < len(due_s):
            now_s = time.monotonic() - start_s
            upto = bisect_right(due_s, now_s, lo=done)
            for at in range(done, upto):
                self._produce(events, at)
            if upto > done:
                spans.append((done, upto, now_s))
            done = upto
            self._sample()
            if done < len(due_s):
                time.sleep(max(due_s[done] - (time.monotonic() - start_s), _TICK_S))
        self._flush()
        late_s = np.concatenate([now_s - events.due_s[first:upto] for first, upto, now_s in spans])
        acked_s, acked = np.array(self.samples_s), np.array(self.samples, np.float64)
        return Sent(len(events), late_s * 1000, acked_s, acked, self._append_ms)

    def _produce(self, events: Events, at: int) -> None:
        key = events.keys[at]
        client = self._client_of[events.topics[at]]
        report = bound(self._probe_acknowledged, key) if key in self._watched else self._acknowledged
        while True:
            try:
                client.produce(events.topics[at], events.values[at], key, on_delivery=report)
            except BufferError:
                # the broker takes less than was asked for: it shows as lateness
                client.poll(0.01)
            else:
                return

    def _acknowledged(self, error: KafkaError | None, _: Message) -> None:
        if error is not None:
            self._failure = error.str()
        self.acked += 1

    def _probe_acknowledged(self, key: bytes, error: KafkaError | None, message: Message) -> None:
        self._acknowledged(error, message)
        if error is None:
            # engagements come to the same ids; the create is the first
            self._append_ms.setdefault(key.decode(), message.timestamp()[1])

    def _sample(self) -> None:
        for client in self._client_of.values():
            client.poll(0)
        self.samples_s.append(time.monotonic())
        self.samples.append(self.acked)
        if self._failure:
            raise DeliveryFailed(f"the broker refused an event: {self._failure}")

    def _flush(self) -> None:
        deadline_s = time.monotonic() + _FLUSH_S
        while left := sum(client.flush(0.05) for client in self._client_of.values()):
            self._sample()
            if time.monotonic() > deadline_s:
                raise DeliveryFailed(f"{left} events are not acknowledged after {_FLUSH_S:g} s")
        self._sample()
