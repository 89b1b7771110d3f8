"""One filled and one bare record of every subject, fixed for ever: golden bytes are made of them. Holds no test."""

import struct

from schemas.records.base import Message
from schemas.records.candidates import (
    Account,
    Article,
    Candidate,
    CandidateAttributes,
    CandidateFeatures,
    Counters,
    Embedding,
    Tweet,
)
from schemas.records.control import (
    AnswerCounts,
    BundleStage,
    CanaryPoint,
    CanaryReport,
    CommandKind,
    NodeStatus,
    Outcome,
    Progress,
    Rollout,
    RolloutCommand,
    SourcePosition,
    Stage,
)
from schemas.records.feedback import (
    CandidateToken,
    Engagement,
    EngagementKind,
    Example,
    Impression,
    Label,
    LabelJoin,
    Provenance,
    QueryToken,
)
from schemas.records.users import QueryFeatures, User, UserEntry, UserEvent, UserEventKind, UserState
from schemas.wire.dlq import DeadLetter, Header

NOON_MS = 1_735_732_800_000
BUNDLE = "0123456789abcdef"
OLDER_BUNDLE = "fedcba9876543210"

ATTRIBUTES = CandidateAttributes(
    "a:ada", NOON_MS - 60_000, "de", "eu-west", ("science", "音楽"), "Grüße aus Zürich 🌍", 1_048_576, NOON_MS - 86_400_000
)
FEATURES = CandidateFeatures("a:ada", "de", "eu-west", ("science", "音楽"), 1_048_576, Counters(7, 3, 1, 250, 0, 2, 1))
QUERY_FEATURES = QueryFeatures(
    languages=("de", "en"),
    region="eu-west",
    interests=("science", "chess"),
    follows=("a:ada", "a:émile"),
    history_authors=("a:ada", "a:grace"),
    history_topics=("science", "音楽", "chess"),
    history_languages=("de", "ja"),
    context={"author_id": "a:ada", "topic": "science"},
)
_ENTRY = UserEntry("e-1", UserEventKind.FAVORITE, "t:1", NOON_MS, "a:ada", "de", ("science",))


def embedding(dim: int, *, deleted: bool = False) -> Embedding:
    """Return the sample embedding of a dimension: a vector of 1/1, 1/2, 1/3 …, or the delete of that candidate."""
    if deleted:
        return Embedding(bytes(4 * dim), "t:1", NOON_MS, 4, 0, NOON_MS + 5, NOON_MS + 9, deleted=True)
    vector = struct.pack(f"<{dim}f", *(1 / (i + 1) for i in range(dim)))
    return Embedding(
        vector, "t:1", NOON_MS, 3, NOON_MS - 60_000, NOON_MS + 5, NOON_MS + 9, text="Grüße aus Zürich 🌍", features=FEATURES
    )


_EXAMPLE = Example(
    "r-1/t:1",
    1,
    "home-timeline",
    "r-1",
    "u:1",
    "t:1",
    17,
    NOON_MS,
    FEATURES,
    Label.POSITIVE,
    ("favorite", "click"),
    Provenance.SERVED,
    BUNDLE,
    QUERY_FEATURES,
    impression_partition=3,
    impression_offset=99,
    source_time_ms=NOON_MS - 1,
)

FILLED: dict[str, Message] = {
    "tweet": Tweet(
        "t:1",
        NOON_MS,
        3,
        "a:ada",
        NOON_MS - 60_000,
        deleted=False,
        language="de",
        region="eu-west",
        topics=("science", "音楽"),
        text="Grüße aus Zürich 🌍",
        author_followers=1_048_576,
        source_time_ms=NOON_MS - 86_400_000,
    ),
    "account": Account(
        "a:ada",
        NOON_MS,
        3,
        NOON_MS - 60_000,
        deleted=False,
        language="de",
        region="eu-west",
        topics=("science", "音楽"),
        text="Ada aus Zürich 🌍",
        followers=1_048_576,
        source_time_ms=NOON_MS - 86_400_000,
    ),
    "article": Article(
        "n:1",
        NOON_MS,
        3,
        "a:ada",
        NOON_MS - 60_000,
        deleted=False,
        language="de",
        region="eu-west",
        topics=("science", "音楽"),
        text="Grüße aus Zürich 🌍",
        publisher_followers=1_048_576,
        source_time_ms=NOON_MS - 86_400_000,
    ),
    "user": User(
        "u:1",
        NOON_MS,
        2,
        deleted=False,
        languages=("de", "en"),
        region="eu-west",
        follows=("a:ada", "a:émile"),
        interests=("science",),
        source_time_ms=NOON_MS - 1,
    ),
    "impression": Impression(
        "r-1", "t:1", "u:1", "home-timeline", 17, NOON_MS, BUNDLE, query_token="AQ", token="AQE", source_time_ms=NOON_MS - 1
    ),
    "engagement": Engagement("e-1", "u:1", "t:1", EngagementKind.SHOW_LESS, NOON_MS, "r-1", NOON_MS - 1),
    "candidate": Candidate(
        "t:1",
        NOON_MS,
        3,
        NOON_MS + 5,
        deleted=False,
        attributes=ATTRIBUTES,
        counters=Counters(7, -3, 1, 250, 0, 2, 1),
        source={"tweets": 42, "engagements": 2**40},
    ),
    "user-event": UserEvent(
        "u:1",
        "e-1",
        UserEventKind.RETWEET,
        "t:1",
        NOON_MS,
        "a:ada",
        "de",
        ("science", "音楽"),
        surface="home-timeline",
        source_time_ms=NOON_MS - 1,
    ),
    "user-state": UserState("u:1", NOON_MS, 2, ("de", "en"), "eu-west", ("a:ada",), ("science",), NOON_MS - 5, (_ENTRY,)),
    "example": _EXAMPLE,
    "label-join": LabelJoin("home-timeline", NOON_MS, 99, b"\x00impression", FEATURES, (_ENTRY,), b"\x00example"),
    "embedding-d32": embedding(32),
    "embedding-d64": embedding(64),
    "embedding-d128": embedding(128),
    "candidate-token": CandidateToken(BUNDLE, NOON_MS, 3, FEATURES),
    "query-token": QueryToken(BUNDLE, QUERY_FEATURES),
    "rollout-command": RolloutCommand(
        "c-1",
        "home-timeline",
        CommandKind.CANARY,
        "ada",
        NOON_MS,
        BUNDLE,
        expected_revision=4,
        share_bp=500,
        automatic=True,
        reason="five percent first",
        ramp_bp=(1_000, 2_500),
        ramp_hold_s=600,
        refresh="every=30s",
    ),
    "rollout": Rollout(
        "home-timeline",
        5,
        "c-1",
        Outcome.ACCEPTED,
        "five percent first",
        "ada",
        NOON_MS,
        frozen=True,
        bundles=(
            BundleStage(OLDER_BUNDLE, Stage.LIVE, since_ms=NOON_MS - 9),
            BundleStage(BUNDLE, Stage.CANARY, 500, "c-1", automatic=True, paused=True, since_ms=NOON_MS),
        ),
        ramp_bp=(1_000, 2_500),
        ramp_hold_s=600,
        refresh="value=100/s",
    ),
    "node-status": NodeStatus(
        "node:a",
        NOON_MS,
        ready=True,
        url="http://127.0.0.1:8080",
        revisions={"home-timeline": 5},
        live={"home-timeline": OLDER_BUNDLE},
        progress=(Progress("home-timeline", BUNDLE, 3, {"tweets": SourcePosition(42, NOON_MS)}, 7, 6, 1000, backfill_done=True),),
        coverage={BUNDLE: 0.5},
        recall={BUNDLE: 0.75},
        canaries=(
            CanaryReport(
                "home-timeline",
                BUNDLE,
                OLDER_BUNDLE,
                NOON_MS - 9,
                "wait",
                "undecided",
                200,
                900,
                90,
                1_800,
                8_100,
                800,
                curve=(CanaryPoint(NOON_MS, 0.0012, -0.02, 0.0224),),
            ),
        ),
        errors=("partition 3 holds a vector of another dimension",),
        answers={BUNDLE: AnswerCounts(900, 2, 9, 1)},
        started_ms=NOON_MS - 60_000,
    ),
    "dead-letter": DeadLetter(
        "tweets",
        3,
        41,
        NOON_MS,
        b"t:1",
        b"\x00\xff",
        "UndecodableRecord",
        "2 bytes without a frame",
        "embedder",
        headers=(Header("trace", b"\xfe"), Header("empty", None)),
        schema_id=7,
        attempts=2,
    ),
}

BARE: dict[str, Message] = {
    "tweet": Tweet("t:1", NOON_MS, 4, "", 0, deleted=True),
    "account": Account("a:1", NOON_MS, 4, 0, deleted=True),
    "article": Article("n:1", NOON_MS, 4, "", 0, deleted=True),
    "user": User("u:1", NOON_MS, 0, deleted=True),
    "impression": Impression("r-1", "t:1", "u:1", "home-timeline", 0, NOON_MS),
    "engagement": Engagement("e-1", "u:1", "t:1", EngagementKind.UNKNOWN),
    "candidate": Candidate("t:1", -1, -1, NOON_MS, counters=Counters()),
    "user-event": UserEvent("u:1", "r-1/t:1", UserEventKind.IMPRESSION, "t:1", NOON_MS),
    "user-state": UserState("u:1"),
    "example": Example(
        "r-1/t:1",
        0,
        "home-timeline",
        "r-1",
        "u:1",
        "t:1",
        0,
        NOON_MS,
        CandidateFeatures("", "und", "", (), 0, Counters()),
        Label.UNKNOWN,
    ),
    "label-join": LabelJoin(),
    "embedding-d32": embedding(32, deleted=True),
    "embedding-d64": embedding(64, deleted=True),
    "embedding-d128": embedding(128, deleted=True),
    "candidate-token": CandidateToken(BUNDLE, 0, 0, CandidateFeatures("", "und", "", (), 0, Counters())),
    "query-token": QueryToken(BUNDLE, QueryFeatures()),
    "rollout-command": RolloutCommand("c-1", "home-timeline", CommandKind.FREEZE),
    "rollout": Rollout("home-timeline", 0),
    "node-status": NodeStatus("embedder:a", NOON_MS, ready=False),
    "dead-letter": DeadLetter("tweets", 0, 0, -1, None, None, "InvalidRecord", "", "embedder"),
}
