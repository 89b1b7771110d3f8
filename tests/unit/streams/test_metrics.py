"""The write path's metrics: what is counted, what a scrape shows, and the port."""

import time
import urllib.request
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from roost.broker.config import free_port
from schemas.errors import UndecodableRecord
from schemas.records.control import BundleStage, CommandKind, Outcome, Rollout, Stage
from schemas.records.feedback import Label, Provenance
from schemas.wire.inbound import InboundRecord
from streams.metrics import (
    CannotServeMetrics,
    ControllerMetrics,
    DiskCollector,
    EmbedderMetrics,
    LabelerMetrics,
    RunnerMetrics,
    metrics_served,
)
from streams.settings import StreamsSettings


def _record(topic: str) -> InboundRecord:
    return InboundRecord(topic, 0, 1, 2, b"key", b"value", ())


@pytest.fixture
def registry() -> CollectorRegistry:
    """Return an empty registry."""
    return CollectorRegistry()


def test_a_batch_is_counted_by_topic_and_timed_once(registry: CollectorRegistry) -> None:
    """The rate of events is read from here."""
    metrics = RunnerMetrics(registry)
    metrics.folded("embedder", [_record("tweets"), _record("tweets"), _record("engagements")], took_s=0.02)
    metrics.folded("embedder", [], took_s=9.0)
    assert registry.get_sample_value("roost_records_consumed_total", {"topic": "tweets"}) == 2
    assert registry.get_sample_value("roost_records_consumed_total", {"topic": "engagements"}) == 1
    assert registry.get_sample_value("roost_batch_seconds_count", {"role": "embedder"}) == 1
    assert registry.get_sample_value("roost_batch_seconds_sum", {"role": "embedder"}) == pytest.approx(0.02)


def test_all_bundles_share_one_series(registry: CollectorRegistry) -> None:
    """A series for each bundle there ever was would grow with every rollout."""
    metrics = RunnerMetrics(registry)
    metrics.produced({"embeddings.3f9a0c11d2e4b567": 3, "embeddings.aaaaaaaaaaaaaaaa": 4, "candidates": 5})
    assert registry.get_sample_value("roost_records_produced_total", {"topic": "embeddings"}) == 7
    assert registry.get_sample_value("roost_records_produced_total", {"topic": "candidates"}) == 5


def test_a_dead_letter_is_counted_under_its_topic_and_error(registry: CollectorRegistry) -> None:
    """A producer that breaks is found by the two."""
    RunnerMetrics(registry).dead_lettered(_record("tweets"), UndecodableRecord("no"))
    assert registry.get_sample_value("roost_dead_letters_total", {"topic": "tweets", "error": "UndecodableRecord"}) == 1


def test_lag_is_of_the_partitions_owned_now(registry: CollectorRegistry) -> None:
    """A partition that was given up must not stay behind as a lag that never shrinks."""
    metrics = RunnerMetrics(registry)
    metrics.behind({("tweets", 0): 5, ("tweets", 1): 7}, {("tweets", 0): 9, ("tweets", 1): 7})
    assert registry.get_sample_value("roost_consumer_lag_records", {"topic": "tweets", "partition": "0"}) == 4
    assert registry.get_sample_value("roost_consumer_lag_records", {"topic": "tweets", "partition": "1"}) == 0
    metrics.behind({("tweets", 1): 9}, {("tweets", 1): 8, ("tweets", 2): 3})
    assert registry.get_sample_value("roost_consumer_lag_records", {"topic": "tweets", "partition": "0"}) is None
    # the end was looked up before the position went on
    assert registry.get_sample_value("roost_consumer_lag_records", {"topic": "tweets", "partition": "1"}) == 0
    assert registry.get_sample_value("roost_consumer_lag_records", {"topic": "tweets", "partition": "2"}) is None


def test_the_time_of_the_last_turn_is_now(registry: CollectorRegistry) -> None:
    """The alert on a role that stands still compares it with the clock."""
    metrics = RunnerMetrics(registry)
    assert registry.get_sample_value("roost_turn_timestamp_seconds") == 0
    metrics.went_round()
    at_s = registry.get_sample_value("roost_turn_timestamp_seconds")
    assert at_s == pytest.approx(time.time(), abs=5)


def test_examples_and_corrections_are_counted_by_label(registry: CollectorRegistry) -> None:
    """The share of positives, and of features that had to be reconstructed, is what the trainer lives on."""
    metrics = LabelerMetrics(registry)
    metrics.emitted({(Label.POSITIVE, Provenance.SERVED): 2, (Label.IMPLICIT_NEGATIVE, Provenance.RECONSTRUCTED): 3})
    metrics.corrected({Label.POSITIVE: 1})
    metrics.left_out({"crowded_out": 2})
    metrics.left_out({"crowded_out": 1})
    assert registry.get_sample_value("roost_labeler_left_out_total", {"why": "crowded_out"}) == 3
    found = {"label": "positive", "provenance": "served"}
    assert registry.get_sample_value("roost_examples_total", found) == 2
    assert registry.get_sample_value("roost_example_corrections_total", {"label": "positive"}) == 1


def test_watermark_lag_grows_while_nobody_folds(registry: CollectorRegistry) -> None:
    """A labeler that is stuck looked punctual for ever if its last word counted."""
    metrics = LabelerMetrics(registry)
    place = {"surface": "home", "partition": "3"}
    metrics.reached(3, {"home": round(time.time() * 1000) - 60_000})
    metrics.reached(2, {"home": round(time.time() * 1000)})
    first = registry.get_sample_value("roost_watermark_lag_seconds", place)
    assert first == pytest.approx(60, abs=5)
    time.sleep(0.01)
    later = registry.get_sample_value("roost_watermark_lag_seconds", place)
    assert first is not None
    assert later is not None
    assert later > first
    metrics.dropped()
    assert registry.get_sample_value("roost_watermark_lag_seconds", place) is None


def test_rollouts_are_shown_by_surface_and_commands_by_their_outcome(registry: CollectorRegistry) -> None:
    """Names of surfaces come from whoever sends a command: only those that exist may become series."""
    metrics = ControllerMetrics(registry)
    metrics.answered("home", CommandKind.START, Outcome.ACCEPTED)
    metrics.answered(None, CommandKind.START, Outcome.REFUSED)
    entry = BundleStage("a" * 16, Stage.LIVE, 0)
    metrics.stand({"home": Rollout("home", 7, bundles=(entry,))})
    assert registry.get_sample_value("roost_rollout_revision", {"surface": "home"}) == 7
    assert registry.get_sample_value("roost_rollout_bundles", {"surface": "home", "stage": "live"}) == 1
    counted = {"surface": "home", "kind": "start", "outcome": "accepted"}
    assert registry.get_sample_value("roost_rollout_commands_total", counted) == 1
    refused = {"surface": "unknown", "kind": "start", "outcome": "refused"}
    assert registry.get_sample_value("roost_rollout_commands_total", refused) == 1


def test_the_disk_is_looked_up_at_every_scrape_and_a_missing_folder_is_no_error(
    registry: CollectorRegistry, tmp_path: Path
) -> None:
    """Before the first bundle there is no registry: a scrape must not fail for that."""
    folder = tmp_path / "registry"
    registry.register(DiskCollector(folder, of="registry"))
    assert registry.get_sample_value("roost_disk_free_bytes", {"of": "registry"}) is None
    folder.mkdir()
    free = registry.get_sample_value("roost_disk_free_bytes", {"of": "registry"})
    size = registry.get_sample_value("roost_disk_size_bytes", {"of": "registry"})
    assert free is not None
    assert size is not None
    assert 0 < free < size


def test_the_port_serves_what_was_counted_and_is_free_again_afterwards() -> None:
    """A role that is restarted takes the same port at once."""
    settings = StreamsSettings(metrics_port=free_port())
    for _ in range(2):
        with metrics_served(settings) as registry:
            EmbedderMetrics(registry).live({"home": 5})
            with urllib.request.urlopen(f"http://127.0.0.1:{settings.metrics_port}/metrics", timeout=5) as answer:
                text = answer.read().decode()
        samples = {s.name: s.value for family in text_string_to_metric_families(text) for s in family.samples}
        assert samples["roost_candidates_live"] == 5
        assert samples["process_resident_memory_bytes"] > 0


def test_a_taken_port_is_named_with_what_to_do() -> None:
    """Two roles of one machine with one variable for both is the first thing that goes wrong."""
    settings = StreamsSettings(metrics_port=free_port())
    with (
        metrics_served(settings),
        pytest.raises(CannotServeMetrics, match="give each role a ROOST_METRICS_PORT of its own"),
        metrics_served(settings),
    ):
        pass


def test_nothing_listens_unless_asked() -> None:
    """No port is opened on a machine whose owner did not say so."""
    with metrics_served(StreamsSettings()) as registry:
        assert not list(registry.collect())
