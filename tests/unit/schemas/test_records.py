"""The rules records must keep beyond what Avro can say, and the sizes that follow from them."""

import dataclasses
from dataclasses import replace
from typing import Any, get_args, get_type_hints

import pytest

from schemas.codec import decode, encode, schema_json, subjects, versions
from schemas.errors import InvalidRecord
from schemas.ids import LAST_SEQUENCE, Version, check_candidate_id, check_key, check_user_id, is_bundle_id, is_surface_name
from schemas.records.base import Message, Record
from schemas.records.candidates import Candidate, Counters, Tweet, embedding_subject
from schemas.records.control import RolloutCommand
from schemas.records.feedback import Engagement, Impression
from schemas.records.users import QueryFeatures, User, UserEvent, UserState
from tests.samples import BARE, FILLED, NOON_MS, QUERY_FEATURES

TWEET, USER, IMPRESSION, ENGAGEMENT = (FILLED[name] for name in ("tweet", "user", "impression", "engagement"))
USER_EVENT, COMMAND = FILLED["user-event"], FILLED["rollout-command"]
CHECKED = [TWEET, USER, IMPRESSION, ENGAGEMENT, USER_EVENT, COMMAND]


@pytest.mark.parametrize(
    "message",
    [*FILLED.values(), *BARE.values()],
    ids=lambda message: message.SUBJECT if hasattr(message, "SUBJECT") else "embedding",
)
def test_a_good_record_passes(message: Message) -> None:
    """A rule that good records break would fill the dead-letter topics."""
    message.check(append_time_ms=NOON_MS)


@pytest.mark.parametrize("message", CHECKED, ids=lambda message: message.SUBJECT)
def test_an_event_more_than_five_minutes_in_the_future_is_invalid(message: Message) -> None:
    """Its version would win for ever: the candidate could never be updated or deleted again."""
    own_time_ms = message.event_time_ms if hasattr(message, "event_time_ms") else message.time_ms  # type: ignore[attr-defined]
    message.check(append_time_ms=own_time_ms - 300_000)
    with pytest.raises(InvalidRecord, match="producer's clock"):
        message.check(append_time_ms=own_time_ms - 300_001)


BROKEN: list[tuple[Message, dict[str, Any]]] = [
    *((TWEET, {"candidate_id": bad}) for bad in ("", "t:", "1", "T:1", "x:1", "t:" + "é" * 32, "t:" + "x" * 63, "t:\ud800")),
    (TWEET, {"sequence": -1}),
    (TWEET, {"event_time_ms": -1}),
    (TWEET, {"created_ms": -1}),
    (TWEET, {"created_ms": NOON_MS + 300_001}),
    (TWEET, {"author_id": "x" * 65}),
    (TWEET, {"language": "x" * 25}),
    (TWEET, {"region": "é" * 13}),
    (TWEET, {"topics": ("t",) * 7}),
    (TWEET, {"topics": ("x" * 25,)}),
    (TWEET, {"text": "x" * 4097}),
    (TWEET, {"author_followers": -1}),
    *((USER, {"user_id": bad}) for bad in ("", "x" * 65, "\udfff")),
    (USER, {"sequence": -1}),
    (USER, {"languages": ("de",) * 5}),
    (USER, {"languages": ("x" * 25,)}),
    (USER, {"region": "x" * 25}),
    (USER, {"interests": ("x",) * 17}),
    (USER, {"interests": ("x" * 25,)}),
    (USER, {"follows": ("a:1",) * 5001}),
    (USER, {"follows": ("x" * 65,)}),
    (IMPRESSION, {"candidate_id": "1"}),
    (IMPRESSION, {"user_id": ""}),
    (IMPRESSION, {"request_id": ""}),
    (IMPRESSION, {"request_id": "x" * 129}),
    (IMPRESSION, {"surface": ""}),
    (IMPRESSION, {"surface": "x" * 65}),
    (IMPRESSION, {"bundle": "../../etc/passwd"}),
    (ENGAGEMENT, {"candidate_id": "1"}),
    (ENGAGEMENT, {"user_id": ""}),
    (ENGAGEMENT, {"event_id": ""}),
    (ENGAGEMENT, {"event_id": "x" * 129}),
    (ENGAGEMENT, {"request_id": "x" * 129}),
    (USER_EVENT, {"user_id": ""}),
    (USER_EVENT, {"entry_id": ""}),
    (USER_EVENT, {"candidate_id": ""}),
    (USER_EVENT, {"topics": ("x",) * 7}),
    (USER_EVENT, {"author_id": "x" * 65}),
    (USER_EVENT, {"language": "x" * 25}),
    (COMMAND, {"command_id": ""}),
    (COMMAND, {"command_id": "x" * 65}),
    (COMMAND, {"surface": ""}),
    (COMMAND, {"bundle": "0123456789ABCDEF"}),
    (COMMAND, {"bundle": "0123456789abcdef\n"}),
    (COMMAND, {"reason": "x" * 1025}),
]


@pytest.mark.parametrize(
    ("message", "changes"), BROKEN, ids=[f"{m.SUBJECT}-{next(iter(c))}-{i}" for i, (m, c) in enumerate(BROKEN)]
)
def test_a_record_that_breaks_a_rule_is_refused_in_a_sentence(message: Message, changes: dict[str, Any]) -> None:
    """What passes here reaches keys, tokens and state, where nobody looks again."""
    with pytest.raises(InvalidRecord) as caught:
        replace(message, **changes).check(append_time_ms=NOON_MS)  # type: ignore[type-var]
    assert 20 < len(str(caught.value)) < 300
    str(caught.value).encode()


def test_a_delete_needs_no_attributes() -> None:
    """A producer that removes a tweet may not know its author any more."""
    Tweet("t:1", NOON_MS, 4, "", 0, deleted=True).check(append_time_ms=NOON_MS)


def test_a_record_under_another_key_is_refused() -> None:
    """It sits in a partition where its candidate's owner never looks: two embedders would fold one id."""
    check_key("t:é".encode(), "t:é")
    for key in (None, b"", b"t:1", "t:é".encode("latin-1")):
        with pytest.raises(InvalidRecord, match="key"):
            check_key(key, "t:é")


def test_ids_at_their_bounds_pass() -> None:
    """64 bytes means 64 bytes, not 64 letters."""
    for candidate_id in ("t:1", "a:x", "n:é", "t:" + "x" * 62, "t:" + "é" * 31):
        check_candidate_id(candidate_id)
    check_user_id("é" * 32)


def test_only_sixteen_lower_case_hex_digits_are_a_bundle_id() -> None:
    """Bundle ids become folder and topic names."""
    assert is_bundle_id("0123456789abcdef")
    for text in (
        "",
        "0123456789abcde",
        "0123456789abcdef0",
        "0123456789abcdeF",
        "0123456789abcdef\n",
        "../0123456789abc",
        "０" * 16,
    ):
        assert not is_bundle_id(text)


def test_only_plain_letters_are_a_surface_name() -> None:
    """Surface names become folder names."""
    assert is_surface_name("home-timeline_2")
    for text in ("", ".", "..", "a/b", "a\n", "é", "x" * 65):
        assert not is_surface_name(text)


def test_versions_are_ordered_by_event_time_then_sequence() -> None:
    """The highest wins: with the fields the other way round, a producer's counter would beat time."""
    assert Version(1, 9) < Version(2, 0) < Version(2, 1)
    assert Version.of_foreign_null(5, 3) == Version(5, LAST_SEQUENCE) > Version(5, 7)
    assert Version.of_foreign_null(3, 5) == Version(5, LAST_SEQUENCE)


def test_counters_are_stored_signed_and_read_clipped() -> None:
    """An undo may overtake its engagement; a tower must not see a negative count."""
    assert Counters(-1, 2, -3, 4, -5, 6, -7).clipped() == Counters(0, 2, 0, 4, 0, 6, 0)
    candidate = FILLED["candidate"]
    assert isinstance(candidate, Candidate)
    features = candidate.features()
    assert features is not None
    assert features.counters.retweet == 0
    assert candidate.counters.retweet == -3


def test_a_stub_and_a_delete_have_no_features() -> None:
    """Neither may be embedded or enter a corpus."""
    stub = BARE["candidate"]
    assert isinstance(stub, Candidate)
    assert stub.is_stub
    assert stub.features() is None
    deleted = replace(stub, deleted=True, event_time_ms=1, sequence=0)
    assert not deleted.is_stub
    assert deleted.features() is None


@pytest.mark.parametrize("dim", [0, 1, 31, 65, 256, -32])
def test_a_dimension_without_a_schema_is_refused(dim: int) -> None:
    """The vector is an Avro fixed: there is no schema for other sizes."""
    with pytest.raises(InvalidRecord, match="32, 64 or 128"):
        embedding_subject(dim)


def test_query_features_over_their_bounds_are_refused() -> None:
    """A request's features travel in the query token of every impression of its answer."""
    QUERY_FEATURES.check()
    too_large: list[dict[str, Any]] = [
        {"languages": ("de",) * 5},
        {"languages": ("x" * 25,)},
        {"region": "x" * 25},
        {"interests": ("x",) * 17},
        {"follows": ("a:1",) * 17},
        {"history_authors": ("x" * 65,)},
        {"history_topics": ("x",) * 17},
        {"history_languages": ("x",) * 17},
        {"context": {str(i): "" for i in range(9)}},
        {"context": {"x" * 33: ""}},
        {"context": {"topic": "x" * 65}},
        {"context": {"topic": "\ud800"}},
    ]
    for changes in too_large:
        with pytest.raises(InvalidRecord):
            replace(QUERY_FEATURES, **changes).check()


def _symbols(schema: Any) -> dict[str, list[str]]:
    """Return the enums inside a schema, by name."""
    if isinstance(schema, list):
        return {name: symbols for item in schema for name, symbols in _symbols(item).items()}
    if not isinstance(schema, dict):
        return {}
    own = {schema["name"]: schema["symbols"]} if schema.get("type") == "enum" else {}
    if own:
        assert schema["default"] == "unknown"
        assert schema["symbols"][0] == "unknown"
    return {**own, **{name: symbols for value in schema.values() for name, symbols in _symbols(value).items()}}


def _enum_types(record: type[Record]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for hint in get_type_hints(record).values():
        for part in (hint, *get_args(hint)):
            if isinstance(part, type) and issubclass(part, Record):
                found |= _enum_types(part)
            elif hasattr(part, "__members__"):
                found[part.__name__] = [member.value for member in part]
    return found


@pytest.mark.parametrize("subject", subjects())
def test_schema_and_class_name_the_same_fields_and_enum_symbols(subject: str) -> None:
    """A symbol or field on one side only is an error at the first record that uses it, in production."""
    schema = schema_json(subject, versions(subject)[-1])
    record_type = type(FILLED[subject])
    assert {field["name"] for field in schema["fields"]} == {field.name for field in dataclasses.fields(record_type)}  # type: ignore[arg-type]
    assert _symbols(schema) == _enum_types(record_type)


def test_a_record_never_shares_what_can_change() -> None:
    """A default mapping shared by all records would leak one candidate's offsets into another."""
    assert Candidate("t:1", 0, 0, 0).source is not Candidate("t:2", 0, 0, 0).source
    assert QueryFeatures().context is not QueryFeatures().context
    first, second = (decode(Candidate, encode(FILLED["candidate"])) for _ in range(2))
    assert first == second
    assert first.source is not second.source


def test_decoded_enums_are_members_not_text() -> None:
    """`kind is EngagementKind.BLOCK` must hold after a trip over the topic."""
    engagement = decode(Engagement, encode(ENGAGEMENT))
    assert engagement.kind is type(engagement.kind).SHOW_LESS


def test_an_event_puts_the_entry_it_was_made_of_into_the_users_set() -> None:
    """The labeler writes what user state folds, and a takedown writes it anew: a part lost between them is lost for good."""
    state, event = FILLED["user-state"], FILLED["user-event"]
    assert isinstance(state, UserState)
    assert isinstance(event, UserEvent)
    (entry,) = state.entries
    assert UserEvent.of("u:1", entry).entry() == entry
    assert UserEvent.of(event.user_id, event.entry(), surface=event.surface, source_time_ms=event.source_time_ms) == event


def test_the_largest_state_that_checked_records_make_fits_a_message() -> None:
    """Otherwise one user's state could never be written, and its processor would never get past that user."""
    largest = User(
        "u" * 64, NOON_MS, 0, languages=("l" * 24,) * 4, region="r" * 24, follows=("f" * 64,) * 5000, interests=("i" * 24,) * 16
    )
    largest.check(append_time_ms=NOON_MS)
    event = UserEvent("u" * 64, "e" * 193, USER_EVENT.kind, "t:" + "c" * 62, NOON_MS, "a" * 64, "l" * 24, ("t" * 24,) * 6)  # type: ignore[attr-defined]
    event.check(append_time_ms=NOON_MS)
    profile_bytes, entry_bytes = len(encode(largest)), len(encode(event))
    assert profile_bytes + 200 * entry_bytes < 1_000_000


def test_impressions_and_commands_are_checked_types() -> None:
    """The parametrised tests above are only as good as their samples' types."""
    assert [type(message) for message in CHECKED] == [Tweet, User, Impression, Engagement, UserEvent, RolloutCommand]
