"""An embedder's producer beside a bundle that is rolled out again: its topic is deleted, and created anew under its name."""

import time
from pathlib import Path

from schemas.surfaces import load_surfaces
from schemas.topics import DEFAULT_PARTITIONS, embeddings_topic
from schemas.wire.admin import create_topics, delete_topics, wait_for_broker
from streams.embedder.targets import registry_loader
from streams.outbox import Outbox
from streams.settings import EmbedderSettings
from tests.bundles import publish_bundle
from tests.integration.conftest import RunningKafka


def test_records_for_a_bundle_that_is_rolled_out_again_are_taken_whatever_the_client_saw_in_between(
    broker: RunningKafka, tmp_path: Path
) -> None:
    """It looks for topics every five minutes. Where there was none just then it refused the records of the new one, on which an
    embedder ends.
    """
    surfaces = load_surfaces()
    surface = surfaces["home-timeline"]
    bundle = publish_bundle(tmp_path, surface=surface.name)
    topic, records = embeddings_topic(bundle, surface), [(b"t:%d" % n, b"x") for n in range(20)]
    admin = wait_for_broker(broker.bootstrap, timeout_s=30)
    outbox = Outbox(broker.bootstrap, topic_metadata_refresh_interval_ms=3_000, topic_metadata_propagation_max_ms=1_000)
    settings = EmbedderSettings(bootstrap=broker.bootstrap, registry=tmp_path, partitions=DEFAULT_PARTITIONS)
    load = registry_loader(settings, surfaces, outbox.topic_exists)
    create_topics(admin, [topic])
    load(surface.name, bundle)
    for _ in range(2):
        delete_topics(admin, [topic.name])
        gone_s = time.monotonic() + 3.5
        while time.monotonic() < gone_s:
            # what it still has to say keeps the client's memory of the topic
            outbox.produce_all(topic.name, records)
            time.sleep(0.01)
        outbox.take_failures()
        create_topics(admin, [topic])
        load(surface.name, bundle)
        outbox.produce_all(topic.name, records)
        outbox.flush_all(timeout_s=10)
        assert outbox.take_failures() == []
