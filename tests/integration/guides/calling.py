"""How the lines for who publishes and who asks are run."""

import json
import time

from schemas.codec import encode
from schemas.records.candidates import Tweet
from schemas.topics import TWEETS
from schemas.wire.partition import partition_of
from tests.integration.guides.site import Site
from tests.integration.guides.step import PRODUCERS, RUNBOOK, SERVING, Step, broker
from tests.integration.waiting import until
from tests.streams_kit import candidates, read_all


def _tweets_written(site: Site) -> None:
    now_ms = time.time_ns() // 1_000_000
    row = {"candidate_id": "t:file", "event_time_ms": now_ms, "sequence": 0, "author_id": "a:7", "created_ms": now_ms}
    (site.folder / "tweets.jsonl").write_text(json.dumps(row), "utf-8")


def _end_of_tweets(site: Site) -> str:
    """Return the place behind the last tweet, as the page writes it."""
    last = read_all(site.bootstrap, TWEETS)[-1]
    return f"{TWEETS}/{last.partition}/{last.offset + 1}"


def _node(site: Site) -> str:
    return site.node_url


ANSWERS = (
    Step(SERVING, "roost publish tweets tweets.jsonl --wait", before=_tweets_written),
    Step(
        SERVING,
        "roost query --user u:42 --min-offset tweets/3/1042",
        instead={"tweets/3/1042": _end_of_tweets},
        says=r"20 +t:",
    ),
    Step(
        SERVING,
        "schemathesis run docs/reference/openapi.json -u http://127.0.0.1:8470 -n 60 --phases fuzzing"
        " --exclude-checks positive_data_acceptance --seed 1",
        instead={"http://127.0.0.1:8470": _node},
        says="Tested: 8",
    ),
    Step(RUNBOOK, "roost explain --user ann --candidate t:1", says="t:1"),
)


def _tweet_framed(site: Site) -> None:
    now_ms = time.time_ns() // 1_000_000
    (site.folder / "tweet.bin").write_bytes(encode(Tweet("t:1", now_ms, 0, "a:7", now_ms, text="by kcat")))


def _folded(site: Site) -> None:
    def text() -> str:
        of = candidates(site.bootstrap)["t:1"].attributes
        return "" if of is None else of.text

    until(lambda: text() == "by kcat", what="the embedder has taken it from the partition of its key")


KCAT = (
    Step(
        PRODUCERS,
        "kcat -P -b 127.0.0.1:9092 -t tweets -k t:1 -X partitioner=murmur2_random tweet.bin",
        before=_tweet_framed,
        instead={"127.0.0.1:9092": broker},
        after=_folded,
    ),
    Step(
        PRODUCERS,
        r"kcat -C -b 127.0.0.1:9092 -t tweets -o -3 -e -f '%T %k %p/%o %S bytes\n'",
        instead={"127.0.0.1:9092": broker},
        says=rf"(?m)^\d{{13}} t:1 {partition_of(b't:1', 4)}/\d+ \d+ bytes$",
    ),
)
