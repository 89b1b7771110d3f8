"""Records about users: profiles, their events, their folded state, and what a query tower reads of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar

from schemas.errors import InvalidRecord
from schemas.ids import MAX_ID_BYTES, MAX_REQUEST_ID_BYTES, Version, check_candidate_id, check_name, check_text, check_user_id
from schemas.records.base import Message, Record, check_event_time, check_sequence, enumerated, sequence_of, strings
from schemas.records.candidates import MAX_SHORT_BYTES, MAX_TOPIC_BYTES, MAX_TOPICS

MAX_LANGUAGES = 4
MAX_INTERESTS = 16
MAX_FOLLOWS = 5_000
MAX_ENTRIES = 200
# an impression's entry id is request id, slash, candidate id
MAX_ENTRY_ID_BYTES = MAX_REQUEST_ID_BYTES + 1 + MAX_ID_BYTES
MAX_HISTORY = 16
MAX_QUERY_FOLLOWS = 16
MAX_CONTEXT = 8
MAX_CONTEXT_NAME_BYTES = 32
MAX_CONTEXT_BYTES = 64


class UserEventKind(StrEnum):
    """An impression, or what the user did."""

    UNKNOWN = "unknown"
    IMPRESSION = "impression"
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


@dataclass(frozen=True, slots=True)
class User(Message):
    """A user's declared profile, or the request to remove the user."""

    SUBJECT: ClassVar[str] = "user"

    user_id: str
    event_time_ms: int
    sequence: int
    deleted: bool = False
    languages: tuple[str, ...] = strings()
    region: str = ""
    follows: tuple[str, ...] = strings()
    interests: tuple[str, ...] = strings()
    source_time_ms: int | None = None

    @property
    def version(self) -> Version:
        """The version of the profile."""
        return Version(self.event_time_ms, self.sequence)

    def check(self, *, append_time_ms: int) -> None:
        """See `Message.check`."""
        check_user_id(self.user_id)
        check_event_time(self.event_time_ms, append_time_ms)
        check_sequence(self.sequence)
        # without bounds a folded state outgrows the largest message, and its processor never gets past this user
        check_text("region", self.region, MAX_TOPIC_BYTES)
        _check_texts("languages", self.languages, MAX_LANGUAGES, MAX_TOPIC_BYTES)
        _check_texts("interests", self.interests, MAX_INTERESTS, MAX_TOPIC_BYTES)
        _check_texts("follows", self.follows, MAX_FOLLOWS, MAX_SHORT_BYTES)


@dataclass(frozen=True, slots=True)
class UserEntry(Record):
    """One entry of a user's set: an impression or an engagement, with what was known of the candidate."""

    entry_id: str
    kind: UserEventKind = enumerated(UserEventKind)
    candidate_id: str = ""
    event_time_ms: int = 0
    author_id: str | None = None
    language: str | None = None
    topics: tuple[str, ...] = strings()


@dataclass(frozen=True, slots=True)
class UserEvent(Message):
    """An impression or engagement re-keyed by user; the labeler writes it."""

    SUBJECT: ClassVar[str] = "user-event"

    user_id: str
    entry_id: str
    kind: UserEventKind = enumerated(UserEventKind)
    candidate_id: str = ""
    event_time_ms: int = 0
    author_id: str | None = None
    language: str | None = None
    topics: tuple[str, ...] = strings()
    surface: str | None = None
    source_time_ms: int | None = None

    @classmethod
    def of(cls, user_id: str, entry: UserEntry, *, surface: str | None = None, source_time_ms: int | None = None) -> "UserEvent":
        """Return the event that puts an entry into a user's set."""
        return cls(
            user_id,
            entry.entry_id,
            entry.kind,
            entry.candidate_id,
            entry.event_time_ms,
            entry.author_id,
            entry.language,
            entry.topics,
            surface,
            source_time_ms,
        )

    def entry(self) -> UserEntry:
        """Return the entry this event puts into the user's set."""
        return UserEntry(
            self.entry_id, self.kind, self.candidate_id, self.event_time_ms, self.author_id, self.language, self.topics
        )

    def check(self, *, append_time_ms: int) -> None:
        """See `Message.check`."""
        check_user_id(self.user_id)
        check_name("entry id", self.entry_id, MAX_ENTRY_ID_BYTES)
        check_candidate_id(self.candidate_id)
        check_event_time(self.event_time_ms, append_time_ms)
        check_text("author id", self.author_id or "", MAX_SHORT_BYTES)
        check_text("language", self.language or "", MAX_TOPIC_BYTES)
        _check_texts("topics", self.topics, MAX_TOPICS, MAX_TOPIC_BYTES)


@dataclass(frozen=True, slots=True)
class UserState(Message):
    """A user's profile and the newest 200 entries by (event time, id), newest first."""

    SUBJECT: ClassVar[str] = "user-state"

    user_id: str
    profile_time_ms: int = -1
    profile_sequence: int = -1
    languages: tuple[str, ...] = strings()
    region: str = ""
    follows: tuple[str, ...] = strings()
    interests: tuple[str, ...] = strings()
    erased_ms: int = -1
    entries: tuple[UserEntry, ...] = sequence_of(UserEntry)


@dataclass(frozen=True, slots=True)
class QueryFeatures(Record):
    """Raw values a query tower reads, as of serve time. Sequences are newest first; `check` gives their bounds."""

    languages: tuple[str, ...] = strings()
    region: str = ""
    interests: tuple[str, ...] = strings()
    follows: tuple[str, ...] = strings()
    history_authors: tuple[str, ...] = strings()
    history_topics: tuple[str, ...] = strings()
    history_languages: tuple[str, ...] = strings()
    context: Mapping[str, str] = field(default_factory=dict)

    def check(self) -> None:
        """Raise `InvalidRecord` when a value is over its bound: the bounds keep every query token within 8,192 bytes.

        For features from a request; what `schemas.features.query` makes of checked records is within.
        """
        check_text("region", self.region, MAX_TOPIC_BYTES)
        _check_texts("languages", self.languages, MAX_LANGUAGES, MAX_TOPIC_BYTES)
        _check_texts("interests", self.interests, MAX_INTERESTS, MAX_TOPIC_BYTES)
        _check_texts("follows", self.follows, MAX_QUERY_FOLLOWS, MAX_SHORT_BYTES)
        _check_texts("history_authors", self.history_authors, MAX_HISTORY, MAX_SHORT_BYTES)
        _check_texts("history_topics", self.history_topics, MAX_HISTORY, MAX_TOPIC_BYTES)
        _check_texts("history_languages", self.history_languages, MAX_HISTORY, MAX_TOPIC_BYTES)
        _check_texts("context", tuple(self.context), MAX_CONTEXT, MAX_CONTEXT_NAME_BYTES)
        _check_texts("context", tuple(self.context.values()), MAX_CONTEXT, MAX_CONTEXT_BYTES)


def _check_texts(what: str, texts: tuple[str, ...], limit: int, max_bytes: int) -> None:
    if len(texts) > limit:
        raise InvalidRecord(f"{len(texts)} {what}; send at most {limit}")
    for text in texts:
        check_text(what, text, max_bytes)
