"""Records about users: profiles, their events, their folded state, and what a query tower reads of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar

from schemas.errors import InvalidRecord
from schemas.ids import Version, check_user_id
from schemas.records.base import Message, Record, check_event_time, enumerated, sequence_of, strings

MAX_LANGUAGES = 4
MAX_INTERESTS = 16
MAX_FOLLOWS = 5_000
MAX_ENTRIES = 200


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
        for name, values, limit in (
            ("languages", self.languages, MAX_LANGUAGES),
            ("interests", self.interests, MAX_INTERESTS),
            ("follows", self.follows, MAX_FOLLOWS),
        ):
            if len(values) > limit:
                raise InvalidRecord(f"user {self.user_id!r} has {len(values)} {name}; send at most {limit}")


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

    def entry(self) -> UserEntry:
        """Return the entry this event puts into the user's set."""
        return UserEntry(
            self.entry_id, self.kind, self.candidate_id, self.event_time_ms, self.author_id, self.language, self.topics
        )

    def check(self, *, append_time_ms: int) -> None:
        """See `Message.check`."""
        check_user_id(self.user_id)
        check_event_time(self.event_time_ms, append_time_ms)


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

    @property
    def profile_version(self) -> Version:
        """The version of the profile; (-1, -1) when none came."""
        return Version(self.profile_time_ms, self.profile_sequence)


@dataclass(frozen=True, slots=True)
class QueryFeatures(Record):
    """Raw values a query tower reads, as of serve time. Sequences are newest first and bounded by the feature spec."""

    languages: tuple[str, ...] = strings()
    region: str = ""
    interests: tuple[str, ...] = strings()
    follows: tuple[str, ...] = strings()
    history_authors: tuple[str, ...] = strings()
    history_topics: tuple[str, ...] = strings()
    history_languages: tuple[str, ...] = strings()
    context: Mapping[str, str] = field(default_factory=dict)
