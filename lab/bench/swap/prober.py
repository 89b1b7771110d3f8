"""Freshness while rollouts go on: tweets published on a schedule and looked for, by turns on each replica. Judges nothing."""

import time
from dataclasses import dataclass
from multiprocessing.connection import Connection

from lab.bench.freshness.http import Retrieval
from lab.bench.swap.plan import Plan
from schemas.codec import encode
from schemas.records.candidates import Tweet
from schemas.topics import TWEETS
from schemas.wire.client import make_producer

# one of its own to each probe in flight: a filter on it finds the tweet whatever its score
LANGUAGES = 128
_POLL_S = 0.002
# what was found before must not fill the answer: no tweet is looked for so long after its window
_BEYOND_S = 30.0


@dataclass(frozen=True, slots=True)
class Probed:
    """One tweet: scheduled send, Unix seconds, and the milliseconds to the first answer with it; None when it was lost."""

    due_s: float
    latency_ms: float | None


def probe(connection: Connection, plan: Plan, bootstrap: str, node_urls: tuple[str, ...], surface: str) -> None:
    """Run the prober's process: wait for a start (Unix seconds), probe until any message, report once none is out."""
    connection.send("prepared")
    start_s: float = connection.recv()
    producer = make_producer(bootstrap, linger_ms=0)
    nodes = [Retrieval(url, surface) for url in node_urls]
    out: dict[str, tuple[int, float]] = {}
    probed: list[Probed] = []
    number = 0
    while out or not connection.poll():
        now_s = time.time()
        due_s = start_s + number / plan.probes_per_s
        if due_s <= now_s and not connection.poll():
            name, language = f"t:probe-{number}", f"x-probe-{number % LANGUAGES:03d}"
            at_ms = int(now_s * 1000)
            tweet = Tweet(name, at_ms, 0, "a:probe", at_ms, language=language, text="probe")
            producer.produce(TWEETS, encode(tweet), name.encode())
            out[name] = (number, due_s)
            number += 1
        producer.poll(0)
        for at, node in enumerate(nodes):
            mine = {name: entry for name, entry in out.items() if entry[0] % len(nodes) == at}
            if mine:
                found = _found(node, mine, plan.give_up_s)
                answered_s = time.time()
                for name in found:
                    probed.append(Probed(mine[name][1], (answered_s - mine[name][1]) * 1000))
                    del out[name]
        for name, (_, was_due_s) in list(out.items()):
            if now_s - was_due_s > plan.give_up_s:
                probed.append(Probed(was_due_s, None))
                del out[name]
        time.sleep(_POLL_S)
    producer.flush(10)
    for node in nodes:
        node.close()
    connection.send(probed)


def _found(node: Retrieval, wanted: dict[str, tuple[int, float]], give_up_s: float) -> set[str]:
    languages = sorted({f"x-probe-{number % LANGUAGES:03d}" for number, _ in wanted.values()})
    ids = node.ids({"k": 4 * LANGUAGES, "languages": languages, "max_age_s": give_up_s + _BEYOND_S})
    return set(ids or ()) & wanted.keys()
