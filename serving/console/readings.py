"""What the console knows of a deployment at one moment, as frozen values. Reads and draws nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from schemas.bundle import Manifest
from schemas.groups import Committed
from schemas.records.control import CONTROLLER, EMBEDDER, NODE, SILENCE_MS, NodeStatus, Rollout, RolloutCommand
from schemas.surfaces import Surfaces
from schemas.topics import ACCOUNTS, ARTICLES, ENGAGEMENTS, IMPRESSIONS, ROLLOUT_COMMANDS, TWEETS, USER_EVENTS, USERS, dlq
from serving.api import Answer, ExplainRequest, Explanation, RetrieveRequest, SurfaceStats
from serving.console.histogram import Histogram
from serving.health import NodeHealth

INPUTS = (TWEETS, ACCOUNTS, ARTICLES, USERS, IMPRESSIONS, ENGAGEMENTS)
DEAD_LETTERS = tuple(dlq(topic) for topic in (*INPUTS, USER_EVENTS, ROLLOUT_COMMANDS))
# metrics of a node
QUERY_SECONDS = "roost_retrieve_seconds"
NEW_SECONDS = "roost_new_to_retrievable_seconds"
FOUND_SECONDS = "roost_publish_to_found_seconds"


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The newest report of an instance, and when the broker got it."""

    status: NodeStatus
    heard_ms: int


@dataclass(frozen=True, slots=True)
class BrokerReading:
    """What the topics say.

    Attributes:
        trouble: why nothing newer is known, as a sentence; None when all is read.
        states: the rollout of each surface that has one.
        history: by surface, its newest records with refusals, oldest first.
        heartbeats: by instance, silent ones too.
        ends: by topic and partition, the offset of the next record; topics that do not exist are absent.
        committed: by role, what its group has committed of each partition that it reads.
        ahead_ms: how far this machine's clock is ahead of the broker's, as far as heartbeats tell.
    """

    trouble: str | None = None
    states: Mapping[str, Rollout] = field(default_factory=dict)
    history: Mapping[str, Sequence[Rollout]] = field(default_factory=dict)
    heartbeats: Mapping[str, Heartbeat] = field(default_factory=dict)
    ends: Mapping[str, Mapping[int, int]] = field(default_factory=dict)
    committed: Mapping[str, Committed] = field(default_factory=dict)
    ahead_ms: int = 0


@dataclass(frozen=True, slots=True)
class NodeReading:
    """What one node says over HTTP.

    Attributes:
        trouble: why it did not answer, as a sentence.
        stats: by surface.
        histograms: by metric and surface, since the node started.
    """

    instance: str
    url: str
    trouble: str | None = None
    health: NodeHealth | None = None
    stats: Mapping[str, SurfaceStats] = field(default_factory=dict)
    histograms: Mapping[str, Mapping[str, Histogram]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Delays:
    """Of sampled records of one surface's live embeddings, milliseconds since the broker appended their newest source record.

    Attributes:
        published: until the broker appended it, since the producer made it: by the producer's clock.
        decoded: until the embedder had read, decoded and folded it, and gave it to the tower.
        logged: until the embedding was appended.
    """

    published: tuple[int, ...] = ()
    decoded: tuple[int, ...] = ()
    logged: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class SampledDelays:
    """Delays of new candidates, and of candidates whose counters changed: those wait for the embedder's checkpoint."""

    new: Delays = Delays()
    refreshed: Delays = Delays()


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """How many entries are kept, or at least are: of a flood only the newest are counted."""

    count: int
    at_least: bool = False


@dataclass(frozen=True, slots=True)
class Moment:
    """One reading of everything.

    Attributes:
        delays: of what the live bundle's topic gained since the last reading, by surface.
        users: some whose state changed lately, the latest first.
        dead_letters: entries that are kept; None while unknown.
        told_ms: when the broker last told of heartbeats; None where it does now.
    """

    at_ms: int
    broker: BrokerReading
    nodes: tuple[NodeReading, ...] = ()
    delays: Mapping[str, SampledDelays] = field(default_factory=dict)
    users: tuple[str, ...] = ()
    dead_letters: DeadLetters | None = None
    told_ms: int | None = None

    @property
    def judged_ms(self) -> int:
        """As of when, by the broker's clock, an instance is silent or not: nobody is for want of a broker that takes heartbeats."""
        return (self.at_ms if self.told_ms is None else self.told_ms) - self.broker.ahead_ms

    def live_nodes(self) -> list[Heartbeat]:
        """Return the heartbeats of nodes that are not silent."""
        return self._heard(NODE)

    def live_embedders(self) -> list[Heartbeat]:
        """Return the heartbeats of embedders that are not silent, the newest last."""
        return self._heard(EMBEDDER)

    def live_controllers(self) -> list[Heartbeat]:
        """Return the heartbeats of controllers that are not silent, the newest last."""
        return self._heard(CONTROLLER)

    def _heard(self, prefix: str) -> list[Heartbeat]:
        found = [
            beat
            for name, beat in self.broker.heartbeats.items()
            if name.startswith(prefix) and self.judged_ms - beat.heard_ms < SILENCE_MS
        ]
        return sorted(found, key=lambda beat: beat.heard_ms)


class HasMoments(Protocol):
    """Gives the readings of the last minutes, oldest first; empty before the first."""

    def moments(self) -> Sequence[Moment]:
        """Return them."""
        ...

    def hurry(self) -> None:
        """Take the next reading now: something was changed a moment ago."""
        ...


class Catalog(Protocol):
    """The registry of bundles."""

    def bundles(self, surface: str) -> list[str]:
        """Return the ids of a surface's bundles, oldest first."""
        ...

    def manifest(self, surface: str, bundle: str) -> Manifest | None:
        """Return a bundle's manifest; None when it cannot be read."""
        ...


class CommandSender(Protocol):
    """Hands a command to the controller and waits for its answer."""

    def send(self, command: RolloutCommand) -> Rollout:
        """Return the record that accepted it.

        Raises:
            RoostError: Refused, CompareAndSetLost, ControllerUnavailable, DeliveryFailed, InvalidRecord or BrokerUnavailable.
        """
        ...


class Asker(Protocol):
    """Asks a node for candidates."""

    def ask(self, node_url: str, surface: str, request: RetrieveRequest) -> Answer:
        """Return the answer; raises `serving.client.ClientError`."""
        ...

    def explain(self, node_url: str, surface: str, request: ExplainRequest) -> Explanation:
        """Return why a candidate is, or is not, in an answer; raises `serving.client.ClientError`."""
        ...


class ResultsFolder(Protocol):
    """The experiments' results."""

    def read(self) -> Mapping[str, object]:
        """Return parsed JSON by file name, in the order of names; what cannot be read is left out."""
        ...


class WrittenTable(NamedTuple):
    """A table of texts, a figure's range in brackets behind it."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


class PaperTables(Protocol):
    """How the paper's tables and figures are written down, beside what the paper prints."""

    def tables(self, name: str, result: Mapping[str, object]) -> Mapping[str, WrittenTable]:
        """Return what is written in place of lists of a result, by their keys; nothing of a result that lacks a column."""
        ...


@dataclass(frozen=True, slots=True)
class ConsoleParts:
    """Everything the pages are made from.

    Attributes:
        actor: who the history says gave the commands.
    """

    surfaces: Surfaces
    watch: HasMoments
    catalog: Catalog
    asker: Asker
    sender: CommandSender
    results: ResultsFolder
    paper: PaperTables
    actor: str
