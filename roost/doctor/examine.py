"""Gathers the facts and has them judged: broker, topics, bundles, disks, clocks, lags, roles. The thin shell of the checks.

It reads, with one exception: a null under a key of its own goes to a dead-letter topic, whose readers pass nulls over. Only a write
shows that the broker takes records, and only its append time shows the broker's clock.
"""

import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
from confluent_kafka import KafkaException, Message, TopicPartition

from roost.doctor.bundles import check_bundles
from roost.doctor.checks import (
    ahead_ms,
    check_clock,
    check_disk,
    check_embedders,
    check_lag,
    check_node,
    check_roles,
    check_topics_found,
)
from roost.doctor.finding import Finding, note, ok, wrong
from roost.doctor.packages import check_packages
from roost.doctor.schemas import check_schema_registry
from roost.embedder_errors import read_embedder_errors
from roost.topics_in_use import rollouts_at, topics_in_use
from schemas.errors import RoostError
from schemas.groups import READERS, Reader, waiting
from schemas.positions import Place
from schemas.progress import OnProgress, untold
from schemas.registry.kind import BundleRegistry
from schemas.surfaces import load_surfaces
from schemas.topics import ROLLOUT_COMMANDS, dlq, standard_topics
from schemas.wire.admin import TopicFault, topic_faults, wait_for_broker
from schemas.wire.client import make_consumer, make_producer
from schemas.wire.committed import committed_offsets

if TYPE_CHECKING:
    from schemas.records.control import Rollout

Bar = Callable[[], AbstractContextManager[OnProgress]]

_BROKER_S = 3.0
_APART_S = 3.0
_PROBE_KEY = b"roost-doctor"


@dataclass(frozen=True, slots=True)
class Patient:
    """What to examine.

    Attributes:
        bootstrap: the broker, or None when none is named and none runs here.
        node_url: a serving node, or None.
        registry: of the bundles.
        surfaces: the surfaces file, or None for the shipped one.
        data_dir: where a broker started here keeps its records, or None.
        roles: process id by role of the launcher on this machine; empty without one.
        restarts: how often the launcher started each role again.
        partitions: of every topic keyed by candidate or by user.
        schema_registry_url: of the registry that the roles are told to ask, or None.
        snapshots: where nodes of this machine keep their indexes, or None.
    """

    bootstrap: str | None
    node_url: str | None
    registry: BundleRegistry
    surfaces: Path | None
    data_dir: Path | None
    roles: Mapping[str, int]
    partitions: int
    schema_registry_url: str | None = None
    restarts: Mapping[str, int] = field(default_factory=dict)
    snapshots: Path | None = None


def examine(patient: Patient, *, bar: Bar = lambda: nullcontext(untold)) -> Iterator[Finding]:
    """Yield findings as they are made, the ground first: what stands on something wrong is not looked at.

    Args:
        bar: open while something is looked at that takes long, and never while a finding is yielded.
    """
    yield from check_packages(_requirements(), _installed)
    surfaces = None
    try:
        surfaces = load_surfaces(patient.surfaces)
        yield ok("surfaces", ", ".join(surfaces))
    # not there, not TOML, or a key that is wrong
    except (OSError, ValueError) as error:
        yield wrong("surfaces", f"{patient.surfaces}: {error}", "mend the file, or name another with ROOST_SURFACES")
    places = {"bundles": patient.registry.folder, "broker's records": patient.data_dir, "snapshots": patient.snapshots}
    for what, place in places.items():
        if place is not None:
            yield _disk(what, place)
    yield (
        check_roles(patient.roles, patient.restarts)
        if patient.roles
        else note("roles", "no launcher runs here", "roost up, or containers")
    )
    states: dict[str, Rollout] | None = None
    faults: Sequence[TopicFault] = ()
    if patient.bootstrap is None:
        yield wrong("broker", "none is named and none runs here", "roost up, or set KAFKA_BOOTSTRAP_SERVERS")
    else:
        try:
            admin = wait_for_broker(patient.bootstrap, timeout_s=_BROKER_S)
            yield ok("broker", f"{patient.bootstrap} answers")
            if surfaces is not None:
                states = rollouts_at(admin, patient.bootstrap)
                wanted = topics_in_use(states, surfaces, patient.partitions)
                faults = topic_faults(admin, wanted)
                yield from check_topics_found(len(wanted), faults, patient.bootstrap)
            probed, our_ahead_ms = _probe(patient.bootstrap)
            yield from probed
            if any(fault.setting is None for fault in faults):
                yield note("lags", "not looked at while topics are missing, or have another number of partitions")
            else:
                yield from _lags(patient, bar)
            yield from check_embedders(read_embedder_errors(patient.bootstrap, ahead_ms=our_ahead_ms))
        except (RoostError, KafkaException) as error:
            reason = error.args[0].str() if isinstance(error, KafkaException) else error
            yield wrong("broker", str(reason), "start it, or name another with KAFKA_BOOTSTRAP_SERVERS")
    with bar() as progress:
        of_bundles = check_bundles(patient.registry, states, on_progress=progress)
    yield from of_bundles
    if patient.schema_registry_url is not None:
        with bar() as progress:
            of_schemas = check_schema_registry(patient.schema_registry_url, on_progress=progress)
        yield from of_schemas
    if patient.node_url is not None:
        yield _node(patient.node_url)


def _requirements() -> list[str] | None:
    try:
        return requires("roost")
    except PackageNotFoundError:
        return None


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _disk(what: str, place: Path) -> Finding:
    there = next((folder for folder in (place, *place.parents) if folder.exists()), Path("/"))
    usage = shutil.disk_usage(there)
    return check_disk(what, str(place), free_bytes=usage.free, total_bytes=usage.total)


def _probe(bootstrap: str) -> tuple[list[Finding], int]:
    """Return what is found by writing a record, and how far our clock is ahead of the broker's."""
    reports: list[tuple[str | None, int]] = []

    def note_report(error: object, message: Message) -> None:
        reports.append((None if error is None else str(error), message.timestamp()[1]))

    producer = make_producer(bootstrap, message_timeout_ms=5_000)
    began_ms = time.time_ns() // 1_000_000
    producer.produce(dlq(ROLLOUT_COMMANDS), None, _PROBE_KEY, on_delivery=note_report)
    producer.flush(6.0)
    ended_ms = time.time_ns() // 1_000_000
    error, append_ms = reports[0] if reports else ("no acknowledgement within 6 s", 0)
    if error is not None:
        return [wrong("writing", f"the broker took no record: {error}", "read the end of the broker's log; is its disk full?")], 0
    ours_ms = ahead_ms(append_ms, began_ms, ended_ms)
    return [ok("writing", f"the first record was acknowledged in {ended_ms - began_ms} ms"), check_clock(ours_ms)], ours_ms


def _lags(patient: Patient, bar: Bar) -> Iterator[Finding]:
    partitions = {topic.name: topic.partitions for topic in standard_topics(patient.partitions)}
    for number, reader in enumerate(READERS):
        places = [(topic, partition) for topic in reader.topics for partition in range(partitions[topic])]
        with bar() as progress:
            progress(f"lag of {reader.role}", number, len(READERS))
            finding = _lag(patient.bootstrap or "", reader, places)
        yield finding


def _lag(bootstrap: str, reader: Reader, places: Sequence[Place]) -> Finding:
    # asks for offsets without joining the group: it never subscribes
    consumer = make_consumer(bootstrap, reader.group)
    try:
        ends = {place: consumer.get_watermark_offsets(TopicPartition(*place), _BROKER_S)[1] for place in places}
        before = committed_offsets(consumer, places, timeout_s=_BROKER_S)
        if waiting(before, ends):
            time.sleep(_APART_S)
        return check_lag(reader.role, before, committed_offsets(consumer, places, timeout_s=_BROKER_S), ends, apart_s=_APART_S)
    finally:
        consumer.close()


def _node(url: str) -> Finding:
    try:
        answer = httpx.get(f"{url}/readyz", timeout=_BROKER_S)
    except (httpx.HTTPError, httpx.InvalidURL):
        return check_node(url, None, (), (), ())
    try:
        health = answer.json()
        bundles = [bundle for surface in health["surfaces"] for bundle in surface["bundles"]]
        alarms = [f"bundle {bundle['bundle']}: {alarm}" for bundle in bundles for alarm in bundle["alarms"]]
        # a node of an older release says nothing of its indexes
        doubts = [f"bundle {bundle['bundle']}: {doubt}" for bundle in bundles for doubt in bundle.get("index_alarms", {}).values()]
        return check_node(url, health["ready"], health["reasons"], alarms, doubts)
    # a node that failed on the question, or something that is none
    except (ValueError, KeyError, TypeError, AttributeError):
        said = f"{url} answers {answer.status_code}, and not what a node says of itself"
        return wrong("node", said, "see its log; or name the node with --node or ROOST_NODE_URL")
