"""The retrieve API's requests and answers, shared by server and client. Holds no behaviour but the limits it names."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter

from schemas.ids import MAX_ID_BYTES
from schemas.positions import SOURCE_TOPICS, Positions
from schemas.records.users import MAX_INTERESTS, MAX_LANGUAGES

DEFAULT_K = 200
MAX_K = 1_000
MAX_BATCH = 64
MAX_EXCLUDED = 10_000
MAX_BODY_BYTES = 1 << 20
MAX_CONTEXT_ENTRIES = 16
MAX_INLINE_FOLLOWS = 64
MAX_WAIT_S = 10.0
# what JSON readers of every language keep exact
MAX_OFFSET = 1 << 53


def _fits_an_id(text: str) -> str:
    if len(text.encode("utf-8", "surrogatepass")) > MAX_ID_BYTES:
        raise ValueError(f"is longer than {MAX_ID_BYTES} bytes of UTF-8")
    return text


# JSON Schema counts characters only: whoever goes by it alone may still be over
_BOUNDED = Field(json_schema_extra={"maxLength": MAX_ID_BYTES, "description": f"At most {MAX_ID_BYTES} bytes of UTF-8."})
ShortText = Annotated[str, AfterValidator(_fits_an_id), _BOUNDED]
Id = Annotated[str, StringConstraints(min_length=1), AfterValidator(_fits_an_id), _BOUNDED]
BundleId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]
SourceTopic = Annotated[str, StringConstraints(pattern=f"^({'|'.join(SOURCE_TOPICS)})$")]
MinOffset = dict[SourceTopic, dict[Annotated[int, Field(ge=0, le=1_000_000)], Annotated[int, Field(ge=0, le=MAX_OFFSET)]]]


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class InlineUser(_Body):
    """What the caller knows of a user that Roost may not: the declared profile."""

    languages: Annotated[tuple[ShortText, ...], Field(max_length=MAX_LANGUAGES)] = ()
    region: ShortText = ""
    interests: Annotated[tuple[ShortText, ...], Field(max_length=MAX_INTERESTS)] = ()
    follows: Annotated[tuple[ShortText, ...], Field(max_length=MAX_INLINE_FOLLOWS)] = ()


class RetrieveRequest(_Body):
    """One retrieval. Everything has a default: an empty body asks for the best candidates for somebody unknown.

    Attributes:
        user_id: whose state to answer from.
        user: the declared profile of a user without state; not used where `user_id` names a user the node knows.
        context: the moment's raw values, such as `author_id`, `language` and `topic` of the tweet just clicked.
        k: candidates wanted; fewer come when fewer match.
        exclude: candidate ids never to return.
        languages: only candidates of these languages.
        max_age_s: only candidates created at most so many seconds ago.
        authors: only candidates of these authors.
        exclude_authors: never candidates of these authors: blocked, muted.
        max_per_author: of each author at most so many, the best.
        pin: answer from this bundle instead of the live one.
        min_revision: refuse (409) when the node acts by an older revision of the rollout.
        min_offset: next offset by input topic and partition that the index must reflect: what a producer says it has `written`,
            or an earlier answer's `as_of`. A node that is behind waits, then refuses (409).
        max_wait_s: how long at most it waits for that.
        exact: score every candidate instead of searching: what an ordinary answer's recall is measured against. It costs the node
            a pass over all vectors, so ask it of a sample, not of all traffic.
    """

    user_id: Id | None = None
    user: InlineUser | None = None
    context: Annotated[dict[ShortText, ShortText], Field(max_length=MAX_CONTEXT_ENTRIES)] = {}
    k: Annotated[int, Field(ge=1, le=MAX_K)] = DEFAULT_K
    exclude: Annotated[tuple[ShortText, ...], Field(max_length=MAX_EXCLUDED)] = ()
    languages: Annotated[tuple[ShortText, ...], Field(max_length=64)] | None = None
    max_age_s: Annotated[float, Field(gt=0, le=1e9)] | None = None
    authors: Annotated[tuple[ShortText, ...], Field(max_length=MAX_EXCLUDED)] | None = None
    exclude_authors: Annotated[tuple[ShortText, ...], Field(max_length=MAX_EXCLUDED)] = ()
    max_per_author: Annotated[int, Field(ge=1, le=MAX_K)] | None = None
    pin: BundleId | None = None
    min_revision: Annotated[int, Field(ge=0)] | None = None
    min_offset: MinOffset = {}
    max_wait_s: Annotated[float, Field(ge=0, le=MAX_WAIT_S)] = 1.0
    exact: bool = False


class BatchRequest(_Body):
    """Several retrievals on one surface, answered side by side.

    Attributes:
        requests: the questions.
    """

    requests: Annotated[tuple[RetrieveRequest, ...], Field(min_length=1, max_length=MAX_BATCH)]


# not frozen: an answer holds hundreds, and a frozen one takes nine times as long to make
@dataclass(slots=True)
class RetrievedCandidate:
    """One candidate of an answer.

    Attributes:
        score: cosine of the query's and the candidate's vector.
        rank: from 1, best first.
        token: goes into the impression unchanged: bundle, version and features as of now.
        created_ms: Unix milliseconds.
    """

    candidate_id: str
    score: float
    rank: int
    token: str
    language: str
    author_id: str
    created_ms: int
    age_s: float
    text: str


@dataclass(frozen=True, slots=True)
class Freshness:
    """How current the answering index is.

    Attributes:
        as_of_ms: broker append time of the newest source record whose vector is in the index; None when it is empty.
        lag_ms: since when the node may not have seen the newest embeddings.
        applied: next offset of the bundle's embeddings topic, by partition.
    """

    as_of_ms: int | None
    lag_ms: int
    applied: dict[str, int]


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one retrieval, wholly from the bundle it names.

    Attributes:
        revision: the rollout revision the node acted by.
        query_token: goes into every impression of this answer unchanged; None when the query does not fit one.
        cold: the user was never seen; answered from context and inline profile only.
        as_of: next offset by input topic and partition: what was published before is in the index that answered. Tweets are in it;
            engagements are counted, and their candidates embedded again as the surface's refresh policy says.
    """

    request_id: str
    surface: str
    bundle: str
    revision: int
    query_token: str | None
    cold: bool
    candidates: list[RetrievedCandidate]
    freshness: Freshness
    took_ms: float
    as_of: Positions = field(default_factory=dict)


class ExplainRequest(RetrieveRequest):
    """A retrieval, and the candidate that is asked about."""

    candidate_id: Id


Why = Literal["retrieved", "ranked_lower", "ann_miss", "filtered", "excluded", "masked", "expired", "not_held"]
"""retrieved: it is in the answer. ranked_lower: k others score higher. ann_miss: an exact scan has it among the best k, the search
has not. filtered, excluded: the request's own doing. masked: deleted. expired: past the surface's recency window. not_held: the
index never had it, or has it no more: the topics tell why.
"""


@dataclass(frozen=True, slots=True)
class Holding:
    """What one whole epoch on this node holds of a candidate; `version` is (event time ms, sequence), None when it is not held."""

    bundle: str
    version: tuple[int, int] | None
    created_ms: int | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a candidate is, or is not, in the answer to a retrieval, at this moment on this node.

    Attributes:
        bundle: the epoch that answers this user.
        arm: why that epoch: it is live, the user is in its canary, or the request pins it.
        sentence: the reason for people.
        rank: in the ordinary answer, from 1; None when it is not there.
        exact_rank: among all candidates that match, by an exact scan; None when it does not match.
        score: cosine with the user's query; None when it is not held.
        last_score: of the answer's last candidate: what it would take; None for an empty answer.
        hidden_by: conditions of the request that the candidate does not meet.
        deleted_at: version up to which the node knows it deleted.
        holdings: every whole epoch here.
        applied: next offset of the bundle's embeddings topic, by partition.
        text, language, author_id: of the candidate; None when the bundle does not hold it.
    """

    node_time_ms: int
    surface: str
    revision: int
    bundle: str
    arm: Literal["live", "canary", "pinned"]
    candidate_id: str
    why: Why
    sentence: str
    k: int
    rank: int | None
    exact_rank: int | None
    score: float | None
    last_score: float | None
    hidden_by: list[str]
    deleted_at: tuple[int, int] | None
    holdings: list[Holding]
    applied: dict[str, int]
    text: str | None = None
    language: str | None = None
    author_id: str | None = None


@dataclass(frozen=True, slots=True)
class AgeCount:
    """How many candidates were created between two ages; `to_s` is None for the oldest."""

    from_s: float
    to_s: float | None
    count: int


@dataclass(frozen=True, slots=True)
class SurfaceStats:
    """What the live bundle's index of a surface holds, counted at one moment.

    Attributes:
        as_of_ms: when it was counted; the node counts at most every two seconds.
        languages: candidates by language, most first.
        ages: youngest first.
    """

    surface: str
    bundle: str
    as_of_ms: int
    live: int
    languages: dict[str, int]
    ages: list[AgeCount]


@dataclass(frozen=True, slots=True)
class Problem:
    """What every refusal carries: a stable code and a sentence that says what to do."""

    error: str
    message: str


@dataclass(frozen=True, slots=True)
class BatchAnswer:
    """The answers to a batch, in the order asked; a question that was refused has its problem instead."""

    answers: list[Answer | Problem]


ANSWER_JSON: TypeAdapter[Answer] = TypeAdapter(Answer)
FRESHNESS_JSON: TypeAdapter[Freshness] = TypeAdapter(Freshness)
BATCH_ANSWER_JSON: TypeAdapter[BatchAnswer] = TypeAdapter(BatchAnswer)
EXPLANATION_JSON: TypeAdapter[Explanation] = TypeAdapter(Explanation)
STATS_JSON: TypeAdapter[SurfaceStats] = TypeAdapter(SurfaceStats)
PROBLEM_JSON: TypeAdapter[Problem] = TypeAdapter(Problem)
