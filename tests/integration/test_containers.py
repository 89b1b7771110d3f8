"""What the containers run, outside one: the compose file's commands and variables, on a broker of the test's own."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
from confluent_kafka.admin import AdminClient, ConfigResource  # type: ignore[attr-defined]
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from roost.broker import Broker
from roost.broker.config import free_port
from roost.child import spawn
from streams.outbox import Outbox
from streams.producer import Producer
from tests.apicurio import Apicurio
from tests.deployment_files import ROOT, RoleService, compose, metrics_port, role_services
from tests.integration.conftest import RunningKafka
from tests.monitoring_files import queries

SURFACES = """
[home-timeline]
candidate_topic = "tweets"
id_prefix = "t:"
feature_spec = "tweet-v1"
dim = 32
popularity = "engagements"
refresh = "write-time"
label_window_s = 1
recency_window_s = 3600
"""
# eight processes start at once on as few as two cores, one of them with torch
_START_S = 150.0
_MEASURED = ("embedder", "labeler", "controller", "node-1", "trainer", "console")
# what compose gives a role before it is killed
_GRACE_S = 60.0


@dataclass
class Container:
    """A role's process, told what compose tells it, but for addresses and paths of this machine."""

    process: subprocess.Popen[bytes]
    environment: Mapping[str, str]
    log: Path

    def end(self) -> None:
        """Leave nothing behind, whatever happened."""
        self.process.kill()
        self.process.wait()

    def families(self) -> list[Metric]:
        """Return what a scrape gives now; nothing before the port answers."""
        try:
            text = httpx.get(f"http://127.0.0.1:{metrics_port(self.environment)}/metrics", timeout=5.0).text
        except httpx.TransportError:
            return []
        return list(text_string_to_metric_families(text))

    def series(self) -> dict[str, float]:
        """Return the samples of a scrape, named as in a query."""
        samples = [sample for family in self.families() for sample in family.samples]
        return {"".join([s.name, *(f",{name}={value}" for name, value in sorted(s.labels.items()))]): s.value for s in samples}


def _start(role: RoleService, bootstrap: str, folder: Path, *, registry_url: str = "") -> Container:
    """Start a role with nothing of this process's environment, in a folder of its own that stands for the read-only root."""
    changed = {
        "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
        "ROOST_REGISTRY": str(folder / "registry"),
        "ROOST_SCHEMA_REGISTRY_URL": registry_url,
        "ROOST_SNAPSHOTS": str(folder / "snapshots"),
        "ROOST_HTTP_HOST": "127.0.0.1",
        "ROOST_HTTP_PORT": str(free_port()),
        "ROOST_CONSOLE_HOST": "127.0.0.1",
        "ROOST_CONSOLE_PORT": str(free_port()),
        "ROOST_METRICS_HOST": "127.0.0.1",
        "ROOST_METRICS_PORT": str(free_port()),
    }
    root, log = folder / "root" / role.name, folder / f"{role.name}.log"
    root.mkdir(parents=True)
    environment = {
        **role.environment,
        **{name: value for name, value in changed.items() if name in role.environment},
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "HOME": str(root),
        "TMPDIR": str(folder / "tmp"),
        "ROOST_SURFACES": str(folder / "surfaces.toml"),
    }
    with log.open("wb") as out:
        process = spawn([sys.executable, "-m", "roost", *role.arguments], log=out, cwd=root, environment=environment)
    return Container(process, environment, log)


def _until(condition: Callable[[], bool], containers: Mapping[str, Container], *, what: str) -> None:
    deadline_s = time.monotonic() + _START_S
    while not condition():
        dead = {name: c.log.read_text()[-2000:] for name, c in containers.items() if c.process.poll() is not None}
        assert not dead, dead
        assert time.monotonic() < deadline_s, f"not within {_START_S:g} s: {what}"
        time.sleep(0.2)


def test_every_role_starts_as_compose_starts_it_works_and_ends_cleanly_on_sigterm(
    start_broker: Callable[[str], Broker], registry: Apicurio, tmp_path: Path
) -> None:
    """No Docker host is at hand in a test: all but the container itself is real, down to where files may be written."""
    roles = role_services()
    (tmp_path / "registry").mkdir()
    (tmp_path / "tmp").mkdir()
    (tmp_path / "surfaces.toml").write_text(SURFACES)
    bootstrap = start_broker("kafka").bootstrap
    topics_init = _start(roles.pop("topics-init"), bootstrap, tmp_path)
    assert topics_init.process.wait(_START_S) == 0, topics_init.log.read_text()
    schemas_init = _start(roles.pop("schemas-init"), bootstrap, tmp_path, registry_url=registry.url)
    assert schemas_init.process.wait(_START_S) == 0, schemas_init.log.read_text()
    with ExitStack() as stack:
        running = {}
        for name, role in roles.items():
            running[name] = _start(role, bootstrap, tmp_path, registry_url=registry.url)
            stack.callback(running[name].end)
        embedder, labeler, controller = running["embedder"], running["labeler"], running["controller"]
        with Producer(bootstrap) as producer:
            producer.user("u:1", languages=["en"])
            producer.tweet("t:1", author_id="a:1", language="en", text="a text")
            producer.impression("t:1", user_id="u:1", surface="home-timeline", request_id="r-1", position=0)
            producer.engagement("t:1", user_id="u:1", kind="favorite", request_id="r-1")
        raw = Outbox(bootstrap)
        raw.produce("tweets", b"no frame", b"t:bad")
        raw.flush_all(timeout_s=30)

        # the write path: from its metrics, as Prometheus reads them
        lag = "roost_consumer_lag_records"
        places = [f"{lag},partition={p},topic={topic}" for p in range(4) for topic in ("tweets", "engagements")]
        _until(
            lambda: (
                embedder.series().get("roost_candidates_live,surface=home-timeline") == 1
                and all(embedder.series().get(place) == 0 for place in places)
            ),
            running,
            what="a live candidate, and all partitions read to their end",
        )
        series = embedder.series()
        assert series["roost_records_consumed_total,topic=tweets"] == 2
        assert series["roost_records_consumed_total,topic=engagements"] == 1
        assert series["roost_records_produced_total,topic=candidates"] >= 1
        assert series["roost_dead_letters_total,error=UndecodableRecord,topic=tweets"] == 1
        assert series["roost_checkpoint_seconds_count"] >= 1
        assert abs(series["roost_turn_timestamp_seconds"] - time.time()) < 30
        _until(
            lambda: labeler.series().get("roost_examples_total,label=positive,provenance=reconstructed") == 1,
            running,
            what="an example of the impression",
        )
        assert labeler.series()["roost_records_consumed_total,topic=user-events"] >= 1
        assert any(name.startswith("roost_watermark_lag_seconds") for name in labeler.series())
        _until(lambda: "roost_rollout_revision,surface=home-timeline" in controller.series(), running, what="the controller")
        assert controller.series()["roost_disk_free_bytes,of=registry"] > 0
        # nodes: alive at once, not ready while no bundle is live
        for name in ("node-1", "node-2"):
            node = running[name]
            url = f"http://127.0.0.1:{node.environment['ROOST_HTTP_PORT']}"
            _until(lambda node=node: bool(node.series()), running, what=name)  # type: ignore[misc]
            assert httpx.get(f"{url}/livez").status_code == 200
            assert httpx.get(f"{url}/readyz").json()["node"] == name
        _until(lambda: "home-timeline" in running["trainer"].log.read_text(), running, what="the trainer looks at its surface")

        # what alerts and dashboards ask for is there, in the processes themselves
        scraped = [family.name for name in _MEASURED for family in running[name].families()]
        known = {f"{name}{suffix}" for name in scraped for suffix in ("", "_total", "_bucket", "_count", "_sum")}
        asked = {name for query in queries() for name in query.series()}
        assert len(asked) > 30
        assert asked <= known
        console = f"http://127.0.0.1:{running['console'].environment['ROOST_CONSOLE_PORT']}"
        page = httpx.get(f"{console}/overview", timeout=20.0)
        assert (page.status_code, "node-1" in page.text) == (200, True)

        for container in running.values():
            container.process.terminate()
        codes = {name: container.process.wait(_GRACE_S) for name, container in running.items()}
    failed = {name: f"{code}: {running[name].log.read_text()[-3000:]}" for name, code in codes.items() if code != 0}
    assert failed == {}
    lines = {name: [json.loads(line) for line in container.log.read_text().splitlines()] for name, container in running.items()}
    assert all({"time", "level", "logger", "message"} <= line.keys() for each in lines.values() for line in each)
    assert all(lines.values()), "every role says at least that it starts"
    (dead,) = [line for line in lines["embedder"] if line["message"].startswith("dead-lettered")]
    assert (dead["topic"], type(dead["partition"]), type(dead["offset"])) == ("tweets", int, int)
    # a library that keeps a file at home, such as a device id to report, would be found here
    assert [path for path in (tmp_path / "root").rglob("*") if path.is_file()] == []
    assert list((tmp_path / "registry").iterdir()) == []
    assert [path for path in (tmp_path / "tmp").rglob("*") if path.is_file()] == []


def test_a_role_that_is_stopped_while_it_waits_for_a_broker_has_not_failed(tmp_path: Path) -> None:
    """`docker compose down` in the middle of a start: an exit code of 1 would have somebody look for a fault."""
    (tmp_path / "tmp").mkdir()
    (tmp_path / "surfaces.toml").write_text(SURFACES)
    labeler = _start(role_services()["labeler"], f"127.0.0.1:{free_port()}", tmp_path)
    try:
        # the health check's view: alive while it waits
        _until(lambda: "roost_turn_timestamp_seconds" in labeler.series(), {"labeler": labeler}, what="metrics while waiting")
        labeler.process.terminate()
        assert labeler.process.wait(_GRACE_S) == 0, labeler.log.read_text()
    finally:
        labeler.end()


def test_every_variable_of_the_broker_is_a_setting_that_kafka_knows(broker: RunningKafka) -> None:
    """Kafka passes over a misspelt one without a word."""
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    (future,) = admin.describe_configs([ConfigResource(ConfigResource.Type.BROKER, "1")]).values()
    known = set(future.result(30))
    environment = compose()["services"]["kafka"]["environment"]
    named = {name.removeprefix("KAFKA_").lower().replace("_", ".") for name in environment if name.startswith("KAFKA_")}
    assert len(named) > 10
    assert named <= known
