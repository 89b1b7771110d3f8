"""Records about candidates: what producers say of them, what the embedder folds, and their vectors."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from schemas.errors import InvalidRecord
from schemas.ids import Version, check_candidate_id, check_text
from schemas.records.base import Message, Record, check_event_time, check_sequence, nested, optional, strings

MAX_TOPICS = 6
MAX_TOPIC_BYTES = 24
MAX_SHORT_BYTES = 64
MAX_TEXT_BYTES = 4096
UNDETERMINED = "und"
# of the embedding schemas: the vector is an Avro fixed
DIMENSIONS = (32, 64, 128)


@dataclass(frozen=True, slots=True)
class Counters(Record):
    """Net engagement counts. Stored signed, since an undo may come first; readers use `clipped`."""

    favorite: int = 0
    retweet: int = 0
    reply: int = 0
    click: int = 0
    follow: int = 0
    show_less: int = 0
    block: int = 0

    def clipped(self) -> "Counters":
        """Return the counts with negative ones read as 0."""
        if min(self.favorite, self.retweet, self.reply, self.click, self.follow, self.show_less, self.block) >= 0:
            return self
        return Counters(
            max(self.favorite, 0),
            max(self.retweet, 0),
            max(self.reply, 0),
            max(self.click, 0),
            max(self.follow, 0),
            max(self.show_less, 0),
            max(self.block, 0),
        )


@dataclass(frozen=True, slots=True)
class CandidateFeatures(Record):
    """Raw values a candidate tower reads: never hashed, clipped counters, no wall-clock age."""

    author_id: str
    language: str
    region: str
    topics: tuple[str, ...] = field(metadata={"read": tuple, "write": list})
    author_followers: int
    counters: Counters = nested(Counters)


@dataclass(frozen=True, slots=True)
class CandidateAttributes(Record):
    """The attributes of a candidate's winning version."""

    author_id: str
    created_ms: int
    language: str = UNDETERMINED
    region: str = ""
    topics: tuple[str, ...] = strings()
    text: str = ""
    author_followers: int = 0
    source_time_ms: int | None = None

    def features(self, counters: Counters) -> CandidateFeatures:
        """Return the snapshot a tower reads, from these attributes and the candidate's (signed) counters."""
        return CandidateFeatures(self.author_id, self.language, self.region, self.topics, self.author_followers, counters.clipped())


class Publication(Message):
    """Create, update or delete of a candidate, as its producer publishes it. One subclass a candidate topic.

    Attributes:
        PREFIX: of its ids.
        AUTHOR, FOLLOWERS: its fields that say who the author is, and how many follow them.
    """

    __slots__ = ()
    PREFIX: ClassVar[str]
    AUTHOR: ClassVar[str]
    FOLLOWERS: ClassVar[str]

    candidate_id: str
    event_time_ms: int
    sequence: int
    created_ms: int
    deleted: bool
    language: str
    region: str
    topics: tuple[str, ...]
    text: str
    source_time_ms: int | None

    @property
    def version(self) -> Version:
        """The version this record carries."""
        return Version(self.event_time_ms, self.sequence)

    def attributes(self) -> CandidateAttributes:
        """Return the attributes, without id and version."""
        return CandidateAttributes(
            getattr(self, self.AUTHOR),
            self.created_ms,
            self.language,
            self.region,
            self.topics,
            self.text,
            getattr(self, self.FOLLOWERS),
            self.source_time_ms,
        )

    def check(self, *, append_time_ms: int) -> None:
        """See `Message.check`. Bounds keep every candidate token within 512 bytes."""
        check_candidate_id(self.candidate_id)
        check_event_time(self.event_time_ms, append_time_ms)
        check_event_time(self.created_ms, append_time_ms)
        check_sequence(self.sequence)
        if self.deleted:
            return
        for name, text, limit in (
            ("author_id", getattr(self, self.AUTHOR), MAX_SHORT_BYTES),
            ("language", self.language, MAX_TOPIC_BYTES),
            ("region", self.region, MAX_TOPIC_BYTES),
            ("text", self.text, MAX_TEXT_BYTES),
        ):
            check_text(name, text, limit)
        for topic in self.topics:
            check_text("topic", topic, MAX_TOPIC_BYTES)
        if len(self.topics) > MAX_TOPICS:
            raise InvalidRecord(f"{self.candidate_id} has {len(self.topics)} topics; send at most {MAX_TOPICS}")
        if getattr(self, self.FOLLOWERS) < 0:
            raise InvalidRecord(f"the followers of {self.candidate_id} are a negative number")


@dataclass(frozen=True, slots=True)
class Tweet(Publication):
    """Create, update or delete of a tweet."""

    SUBJECT: ClassVar[str] = "tweet"
    PREFIX: ClassVar[str] = "t:"
    AUTHOR: ClassVar[str] = "author_id"
    FOLLOWERS: ClassVar[str] = "author_followers"

    candidate_id: str
    event_time_ms: int
    sequence: int
    author_id: str
    created_ms: int
    deleted: bool = False
    language: str = UNDETERMINED
    region: str = ""
    topics: tuple[str, ...] = strings()
    text: str = ""
    author_followers: int = 0
    source_time_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Account(Publication):
    """Create, update or delete of an account, which is its own author: so it is found among the authors a user follows."""

    SUBJECT: ClassVar[str] = "account"
    PREFIX: ClassVar[str] = "a:"
    AUTHOR: ClassVar[str] = "candidate_id"
    FOLLOWERS: ClassVar[str] = "followers"

    candidate_id: str
    event_time_ms: int
    sequence: int
    created_ms: int
    deleted: bool = False
    language: str = UNDETERMINED
    region: str = ""
    topics: tuple[str, ...] = strings()
    text: str = ""
    followers: int = 0
    source_time_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Article(Publication):
    """Create, update or delete of a news article; its author is who publishes it."""

    SUBJECT: ClassVar[str] = "article"
    PREFIX: ClassVar[str] = "n:"
    AUTHOR: ClassVar[str] = "publisher_id"
    FOLLOWERS: ClassVar[str] = "publisher_followers"

    candidate_id: str
    event_time_ms: int
    sequence: int
    publisher_id: str
    created_ms: int
    deleted: bool = False
    language: str = UNDETERMINED
    region: str = ""
    topics: tuple[str, ...] = strings()
    text: str = ""
    publisher_followers: int = 0
    source_time_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Candidate(Message):
    """The folded state of one candidate; only the embedder writes it."""

    SUBJECT: ClassVar[str] = "candidate"

    candidate_id: str
    event_time_ms: int
    sequence: int
    append_time_ms: int
    deleted: bool = False
    attributes: CandidateAttributes | None = optional(CandidateAttributes)
    counters: Counters = nested(Counters, default=Counters())
    source: Mapping[str, int] = field(default_factory=dict)

    @property
    def version(self) -> Version:
        """The winning version; (-1, -1) for a stub."""
        return Version(self.event_time_ms, self.sequence)

    @property
    def is_stub(self) -> bool:
        """Engagements came before the create: not embedded, not live, in no corpus."""
        return self.attributes is None and not self.deleted

    def features(self) -> CandidateFeatures | None:
        """Return the snapshot a tower reads; None for a stub or a delete."""
        return None if self.deleted or self.attributes is None else self.attributes.features(self.counters)


@dataclass(frozen=True, slots=True)
class Embedding(Message):
    """One candidate embedded by one bundle. The subject depends on the dimension: see `embedding_subject`."""

    vector: bytes
    candidate_id: str
    event_time_ms: int
    sequence: int
    created_ms: int
    append_time_ms: int
    embedded_ms: int
    deleted: bool = False
    text: str = ""
    features: CandidateFeatures | None = optional(CandidateFeatures)

    @property
    def version(self) -> Version:
        """The version the vector or the delete belongs to."""
        return Version(self.event_time_ms, self.sequence)


def embedding_subject(dim: int) -> str:
    """Return the Avro subject of embeddings of `dim` float32 values; raises `InvalidRecord` for a dimension without one."""
    if dim not in DIMENSIONS:
        raise InvalidRecord(f"no embedding schema has dimension {dim}; use 32, 64 or 128")
    return f"embedding-d{dim}"
