"""Records of the control plane: commands, rollout revisions, heartbeats. Holds no transition rules."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar

from schemas.errors import InvalidRecord
from schemas.ids import MAX_ID_BYTES, check_name, check_text, is_bundle_id
from schemas.records.base import Message, Record, check_event_time, enumerated, mapping_of, numbers, sequence_of, strings

MAX_REASON_BYTES = 1024


class CommandKind(StrEnum):
    """What is asked of the controller."""

    UNKNOWN = "unknown"
    START = "start"
    CANARY = "canary"
    PROMOTE = "promote"
    PAUSE = "pause"
    RESUME = "resume"
    ABORT = "abort"
    ROLLBACK = "rollback"
    RETIRE = "retire"
    FREEZE = "freeze"
    UNFREEZE = "unfreeze"
    CONFIGURE = "configure"


class Stage(StrEnum):
    """registered ► building ► ready ► canary ► live ► draining ► retired; rejected and aborted are ends too."""

    UNKNOWN = "unknown"
    REGISTERED = "registered"
    BUILDING = "building"
    READY = "ready"
    CANARY = "canary"
    LIVE = "live"
    DRAINING = "draining"
    RETIRED = "retired"
    REJECTED = "rejected"
    ABORTED = "aborted"


ENDED = frozenset({Stage.RETIRED, Stage.REJECTED, Stage.ABORTED})


class Outcome(StrEnum):
    """What became of a command."""

    UNKNOWN = "unknown"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class RolloutCommand(Message):
    """What an operator, or the loop, asks of the controller.

    Attributes:
        ramp_bp, ramp_hold_s: of a canary, the shares after `share_bp`, and how long it keeps each at least.
        refresh: of configure, the refresh policy that the surface is to have, or `FILES_REFRESH`.
    """

    SUBJECT: ClassVar[str] = "rollout-command"

    command_id: str
    surface: str
    kind: CommandKind = enumerated(CommandKind)
    actor: str = ""
    time_ms: int = 0
    bundle: str | None = None
    expected_revision: int | None = None
    share_bp: int | None = None
    automatic: bool = False
    reason: str = ""
    ramp_bp: tuple[int, ...] = numbers()
    ramp_hold_s: int = 0
    refresh: str | None = None

    def check(self, *, append_time_ms: int) -> None:
        """See `Message.check`."""
        # 64 bytes at most: the id becomes the canary's salt, the key of a BLAKE2b
        check_name("command id", self.command_id, MAX_ID_BYTES)
        check_name("surface", self.surface, MAX_ID_BYTES)
        check_event_time(self.time_ms, append_time_ms)
        check_text("actor", self.actor, MAX_ID_BYTES)
        check_text("reason", self.reason, MAX_REASON_BYTES)
        check_text("refresh", self.refresh or "", MAX_ID_BYTES)
        if self.bundle is not None and not is_bundle_id(self.bundle):
            raise InvalidRecord(f"bundle {self.bundle[:32]!r} is not 16 hex digits; see `roost models list`")


@dataclass(frozen=True, slots=True)
class BundleStage(Record):
    """One bundle of a surface and the stage it is in."""

    bundle: str
    state: Stage = enumerated(Stage)
    share_bp: int = 0
    salt: str = ""
    automatic: bool = False
    paused: bool = False
    since_ms: int = 0


@dataclass(frozen=True, slots=True)
class Rollout(Message):
    """One revision of a surface's rollout state, or the refusal of a command (its revision is then the current one).

    Attributes:
        ramp_bp, ramp_hold_s: the shares that the canary still goes on to, and how long it keeps each at least.
        refresh: the surface's refresh policy; None as its surfaces file says.
    """

    SUBJECT: ClassVar[str] = "rollout"

    surface: str
    revision: int
    command_id: str = ""
    outcome: Outcome = field(default=Outcome.ACCEPTED, metadata={"read": Outcome, "write": str})
    reason: str = ""
    actor: str = ""
    time_ms: int = 0
    frozen: bool = False
    bundles: tuple[BundleStage, ...] = sequence_of(BundleStage)
    ramp_bp: tuple[int, ...] = numbers()
    ramp_hold_s: int = 0
    refresh: str | None = None

    def in_stage(self, *stages: Stage) -> tuple[BundleStage, ...]:
        """Return the bundles in any of `stages`, oldest first."""
        return tuple(entry for entry in self.bundles if entry.state in stages)

    @property
    def live(self) -> str | None:
        """The id of the live bundle, or None before the first."""
        live = self.in_stage(Stage.LIVE)
        return live[0].bundle if live else None


@dataclass(frozen=True, slots=True)
class SourcePosition(Record):
    """How far an input partition was read."""

    next_offset: int
    append_time_ms: int


@dataclass(frozen=True, slots=True)
class Progress(Record):
    """Progress of one (bundle, partition): an embedder reports embeddings_end and backfill_done, a node applied.

    Attributes:
        source: how far each input topic is read. Of an embedder: all that follows from it is acknowledged, below embeddings_end;
            of a node: its index reflects it.
    """

    surface: str
    bundle: str
    partition: int
    source: Mapping[str, SourcePosition] = mapping_of(SourcePosition)
    embeddings_end: int = 0
    applied: int = 0
    live_count: int = 0
    backfill_done: bool = False


@dataclass(frozen=True, slots=True)
class CanaryPoint(Record):
    """What a canary showed at a moment.

    Attributes:
        at_ms: the append time reached in the examples, Unix milliseconds.
        effect: the canary's engagement rate minus the live bundle's.
        low, high: its bounds: over all moments together the truth leaves them with the test's alpha.
    """

    at_ms: int
    effect: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class CanaryReport(Record):
    """Both arms of a surface's canary, as the controller compares them.

    Attributes:
        live: the bundle that everybody else is answered from.
        since_ms: when the comparison began; another share is another comparison.
        verdict: what the test says so far, with `sentence` for people.
        users, shown, engaged: in the canary; `live_…` of everybody else. Shown and engaged are impressions.
        curve: from the beginning to now, thinned; empty while nothing can be said.
    """

    surface: str
    bundle: str
    live: str
    since_ms: int
    verdict: str = ""
    sentence: str = ""
    users: int = 0
    shown: int = 0
    engaged: int = 0
    live_users: int = 0
    live_shown: int = 0
    live_engaged: int = 0
    curve: tuple[CanaryPoint, ...] = sequence_of(CanaryPoint)


SLOW_ANSWER_MS = 100
"""An answer that took longer counts as slow."""


@dataclass(frozen=True, slots=True)
class AnswerCounts(Record):
    """A node's answers by one bundle since its process began; `answered` includes the empty and the slow ones."""

    answered: int = 0
    empty: int = 0
    slow: int = 0
    failed: int = 0


EMBEDDER, CONTROLLER, NODE = "embedder:", "controller:", "node:"
"""What an instance's name begins with, by its role."""
SILENCE_MS = 10_000
"""Who has not been heard of for this long is not live (CONTRACTS, 'Epochs and rollouts')."""


@dataclass(frozen=True, slots=True)
class NodeStatus(Message):
    """A heartbeat of `embedder:<instance>`, `controller:<instance>` or `node:<id>`; only nodes count in the quorum.

    Attributes:
        coverage: by bundle, the share of the live epoch's settled ids that the node holds.
        recall: by bundle that answers nobody yet, the share of the exact best that the node's search found on a sample of its
            users' queries; absent until it was measured.
        canaries: of a controller, every canary there is.
        answers: of a node, what it answered by each bundle to whoever did not ask for that bundle.
        started_ms: of a node, when its process began: two processes under one name are told apart by it, not ordered.
    """

    SUBJECT: ClassVar[str] = "node-status"

    instance: str
    time_ms: int
    ready: bool
    url: str = ""
    revisions: Mapping[str, int] = field(default_factory=dict)
    live: Mapping[str, str] = field(default_factory=dict)
    progress: tuple[Progress, ...] = sequence_of(Progress)
    coverage: Mapping[str, float] = field(default_factory=dict)
    recall: Mapping[str, float] = field(default_factory=dict)
    canaries: tuple[CanaryReport, ...] = sequence_of(CanaryReport)
    errors: tuple[str, ...] = strings()
    answers: Mapping[str, AnswerCounts] = mapping_of(AnswerCounts)
    started_ms: int = 0
