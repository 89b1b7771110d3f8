"""Records about what was shown and what came of it: impressions, engagements, examples, and an answer's tokens."""

from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import ClassVar

from schemas.errors import InvalidRecord
from schemas.ids import (
    MAX_ID_BYTES,
    MAX_REQUEST_ID_BYTES,
    Version,
    check_candidate_id,
    check_name,
    check_text,
    check_user_id,
    is_bundle_id,
)
from schemas.records.base import Message, check_event_time, enumerated, nested, optional, sequence_of, strings
from schemas.records.candidates import CandidateFeatures, Counters
from schemas.records.users import QueryFeatures, UserEntry


class EngagementKind(StrEnum):
    """What a user did with a candidate; the un- kinds undo."""

    UNKNOWN = "unknown"
    FAVORITE = "favorite"
    UNFAVORITE = "unfavorite"
    RETWEET = "retweet"
    UNRETWEET = "unretweet"
    REPLY = "reply"
    CLICK = "click"
    FOLLOW = "follow"
    UNFOLLOW = "unfollow"
    SHOW_LESS = "show_less"
    BLOCK = "block"


# by text: a user's entries and a candidate's engagements name the same kinds
UNDOES: dict[str, str] = {
    EngagementKind.UNFAVORITE: EngagementKind.FAVORITE,
    EngagementKind.UNRETWEET: EngagementKind.RETWEET,
    EngagementKind.UNFOLLOW: EngagementKind.FOLLOW,
}
EXPLICIT_NEGATIVES: frozenset[str] = frozenset({EngagementKind.SHOW_LESS, EngagementKind.BLOCK})
POSITIVES: frozenset[str] = frozenset(EngagementKind) - EXPLICIT_NEGATIVES - UNDOES.keys() - {EngagementKind.UNKNOWN}
_COUNTERS = frozenset(field.name for field in fields(Counters))


def counter_step(kind: EngagementKind) -> tuple[str, int] | None:
    """Return the counter of `Counters` that an engagement moves, and by how much; None where it moves none."""
    counter = str(UNDOES.get(kind, kind))
    return (counter, -1 if kind in UNDOES else 1) if counter in _COUNTERS else None


class Label(StrEnum):
    """What the user's reaction amounts to. Explicit negatives are never positives nor implicit negatives."""

    UNKNOWN = "unknown"
    POSITIVE = "positive"
    IMPLICIT_NEGATIVE = "implicit_negative"
    EXPLICIT_NEGATIVE = "explicit_negative"


class Provenance(StrEnum):
    """Where an example's features come from: the answer's tokens, or the labeler's own view."""

    UNKNOWN = "unknown"
    SERVED = "served"
    RECONSTRUCTED = "reconstructed"


@dataclass(frozen=True, slots=True)
class Impression(Message):
    """A candidate shown to a user; (request_id, candidate_id) is the key of the label join."""

    SUBJECT: ClassVar[str] = "impression"

    request_id: str
    candidate_id: str
    user_id: str
    surface: str
    position: int
    event_time_ms: int
    bundle: str | None = None
    query_token: str | None = None
    token: str | None = None
    source_time_ms: int | None = None

    def check(self, *, append_time_ms: int) -> None:
        """See `Message.check`."""
        check_candidate_id(self.candidate_id)
        check_user_id(self.user_id)
        check_event_time(self.event_time_ms, append_time_ms)
        check_name("request id", self.request_id, MAX_REQUEST_ID_BYTES)
        check_name("surface", self.surface, MAX_ID_BYTES)
        if self.bundle is not None and not is_bundle_id(self.bundle):
            raise InvalidRecord(f"bundle {self.bundle[:32]!r} is not 16 hex digits; copy the one the answer gave, or leave it out")


@dataclass(frozen=True, slots=True)
class Engagement(Message):
    """What a user did with a candidate."""

    SUBJECT: ClassVar[str] = "engagement"

    event_id: str
    user_id: str
    candidate_id: str
    kind: EngagementKind = enumerated(EngagementKind)
    event_time_ms: int = 0
    request_id: str | None = None
    source_time_ms: int | None = None

    def check(self, *, append_time_ms: int) -> None:
        """See `Message.check`."""
        check_candidate_id(self.candidate_id)
        check_user_id(self.user_id)
        check_event_time(self.event_time_ms, append_time_ms)
        check_name("event id", self.event_id, MAX_REQUEST_ID_BYTES)
        check_text("request id", self.request_id or "", MAX_REQUEST_ID_BYTES)


@dataclass(frozen=True, slots=True)
class Example(Message):
    """A joined impression and its label. The highest revision of an example id counts."""

    SUBJECT: ClassVar[str] = "example"

    example_id: str
    revision: int
    surface: str
    request_id: str
    user_id: str
    candidate_id: str
    position: int
    event_time_ms: int
    candidate: CandidateFeatures = nested(CandidateFeatures)
    label: Label = enumerated(Label)
    kinds: tuple[str, ...] = strings()
    provenance: Provenance = field(default=Provenance.UNKNOWN, metadata={"read": Provenance, "write": str})
    bundle: str | None = None
    query: QueryFeatures = nested(QueryFeatures, default=QueryFeatures())
    impression_partition: int = -1
    impression_offset: int = -1
    source_time_ms: int | None = None


@dataclass(frozen=True, slots=True)
class LabelJoin(Message):
    """The labeler's state of one (request, candidate): what is known until the example is out, then the example.

    Attributes:
        surface, event_time_ms, impression_offset: the impression's; empty and -1 before it came.
        impression: its frame, until the example is emitted. Frames are copied as they are: no join is encoded field by field.
        candidate: the candidate as of reading the impression, where its token could not be read.
        entries: the join's engagements, in order of arrival; they may come before the impression.
        example: the frame of the example last emitted.
    """

    SUBJECT: ClassVar[str] = "label-join"

    surface: str = ""
    event_time_ms: int = -1
    impression_offset: int = -1
    impression: bytes | None = None
    candidate: CandidateFeatures | None = optional(CandidateFeatures)
    entries: tuple[UserEntry, ...] = sequence_of(UserEntry)
    example: bytes | None = None


@dataclass(frozen=True, slots=True)
class CandidateToken(Message):
    """What an answer says of one candidate, for the impression to carry back."""

    SUBJECT: ClassVar[str] = "candidate-token"

    bundle: str
    event_time_ms: int
    sequence: int
    features: CandidateFeatures = nested(CandidateFeatures)

    @property
    def version(self) -> Version:
        """The candidate's version when it was served."""
        return Version(self.event_time_ms, self.sequence)


@dataclass(frozen=True, slots=True)
class QueryToken(Message):
    """What an answer says of its query, for every impression of the answer to carry back."""

    SUBJECT: ClassVar[str] = "query-token"

    bundle: str
    features: QueryFeatures = nested(QueryFeatures)


def example_id(request_id: str, candidate_id: str) -> str:
    """Return the join key as one string: request id, slash, candidate id."""
    return f"{request_id}/{candidate_id}"
