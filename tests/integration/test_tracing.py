"""A trace on a real broker: from the producer's record through embedder and node, as a collector gets it."""

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from itertools import pairwise
from pathlib import Path

import pytest

from roost.broker import Broker
from schemas.topics import TWEETS, dlq, embeddings_topic_name
from schemas.wire.tracing import context_of
from streams.outbox import Outbox
from streams.producer import Producer
from streams.settings import EmbedderSettings
from tests.embedder_thread import running_embedder
from tests.otlp_receiver import Receiver, otlp_receiver
from tests.served_node import node_on_a_thread, until
from tests.streams_kit import read_all
from tests.write_path import WritePath

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "tracing.md"
KEPT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """Yield a collector that OpenTelemetry's own variables name."""
    with otlp_receiver() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        yield receiver


def embedding(path: WritePath, *, tracing: bool) -> AbstractContextManager[None]:
    """Run an embedder for the while."""
    settings = EmbedderSettings(
        bootstrap=path.bootstrap, registry=path.registry, surfaces=path.surfaces_file, checkpoint_interval_s=0.2, tracing=tracing
    )
    return running_embedder(settings)


def send_as_the_guide_says(bootstrap: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the code of the guide."""
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", bootstrap)
    (code,) = re.findall(r"^```python\n(.*?)^```", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    exec(compile(code, str(GUIDE), "exec"), {"__name__": "guide"})  # noqa: S102  our own page


def test_one_tweet_gives_one_trace_from_its_producer_to_the_query_that_finds_it(
    fresh_broker: Broker, tmp_path: Path, collector: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks why a tweet was late must see in one picture who had it when."""
    path = WritePath(fresh_broker.bootstrap, tmp_path)
    bundle = path.bundle(1)
    path.go_live(bundle)
    with embedding(path, tracing=True), node_on_a_thread(path, tracing=True) as node:
        until(node.ready, within_s=60)
        with Producer(path.bootstrap) as producer:
            producer.tweet("t:untraced", author_id="a:1")
        until(lambda: node.finds("t:untraced"))
        send_as_the_guide_says(path.bootstrap, monkeypatch)
        until(lambda: node.finds("t:traced"))
        raw = Outbox(path.bootstrap)
        raw.produce(TWEETS, b"no tweet", b"t:bad", headers=[("traceparent", KEPT.encode())])
        raw.flush_all(timeout_s=10)
        retrieve = f"/v1/surfaces/{path.surface.name}/retrieve"
        for parent in (KEPT, KEPT[:-1] + "0", "nonsense"):
            assert node.http.post(retrieve, json={"k": 1}, headers={"traceparent": parent}).status_code == 200
        until(lambda: read_all(path.bootstrap, dlq(TWEETS), 1))

    sent = collector.one("send tweets")
    (processed,) = [span for span in collector.named("process tweets") if span.trace == sent.trace]
    inserted = collector.one("insert")
    assert [span.service for span in (sent, processed, inserted)] == ["timeline-writer", "roost-embedder", "roost-node"]
    assert {span.trace for span in (sent, processed, inserted)} == {sent.trace}
    assert (sent.parent, processed.parent, inserted.parent) == ("", sent.span, processed.span)
    assert sent.begin_ns <= processed.begin_ns <= processed.end_ns <= inserted.end_ns
    assert inserted.attributes["roost.retrievable"] is True
    assert inserted.attributes["roost.bundle"] == bundle

    stages = [span for span in collector.spans if span.parent == processed.span and span is not inserted]
    assert [stage.name for stage in stages] == ["decode", "embed", "produce"]
    assert stages[0].begin_ns == processed.begin_ns
    assert all(earlier.end_ns == later.begin_ns for earlier, later in pairwise(stages))
    (batch,) = [span for span in collector.named("embedder batch") if sent.span in span.links]
    assert processed.links == (batch.span,)
    assert batch.trace != sent.trace

    (refused,) = [span for span in collector.named("process tweets") if span.failed]
    asked = collector.one(f"POST {retrieve}")
    assert refused.trace == asked.trace == KEPT[3:35]
    assert refused.parent == asked.parent == KEPT[36:52]
    assert asked.attributes["http.response.status_code"] == 200
    assert len(collector.named("process tweets")) == 2, "what nobody traces makes no span"


def test_without_the_setting_no_header_goes_on_and_no_span_is_made(
    fresh_broker: Broker, tmp_path: Path, collector: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A producer's trace must cost a deployment nothing that did not ask for it."""
    path = WritePath(fresh_broker.bootstrap, tmp_path)
    bundle = path.bundle(1)
    path.go_live(bundle)
    with embedding(path, tracing=False), node_on_a_thread(path) as node:
        until(node.ready, within_s=60)
        send_as_the_guide_says(path.bootstrap, monkeypatch)
        until(lambda: node.finds("t:traced"))
    assert {span.service for span in collector.spans} == {"timeline-writer"}
    (tweet,) = read_all(path.bootstrap, TWEETS)
    assert context_of(tweet.headers) is not None
    (embedded,) = read_all(path.bootstrap, embeddings_topic_name(bundle))
    assert context_of(embedded.headers) is None
