"""Whether bytes mention an id: every form in which our records hold one."""

import pytest

from roost.erasure.mention import Mention
from schemas.codec import encode
from schemas.records.base import Message
from schemas.records.candidates import CandidateFeatures, Counters, Tweet
from schemas.records.feedback import CandidateToken, Engagement, EngagementKind, Impression, LabelJoin, QueryToken
from schemas.records.users import QueryFeatures, User, UserEntry, UserEventKind, UserState
from schemas.tokens import MAX_QUERY_TOKEN_BYTES, write_token
from schemas.wire.dlq import DeadLetter

BUNDLE = "0123456789abcdef"


def features(author_id: str) -> CandidateFeatures:
    """Return features that name an author."""
    return CandidateFeatures(author_id, "de", "", ("chess",), 5, Counters())


def token_of(author_id: str) -> str:
    """Return a candidate token that names an author."""
    return write_token(CandidateToken(BUNDLE, 1, 0, features(author_id)))


def query_token_of(author_id: str, behind: int) -> str:
    """Return a query token that names an author, behind so many others: at every alignment of base64."""
    query = QueryFeatures(follows=("a" * behind, author_id))
    return write_token(QueryToken(BUNDLE, query), max_bytes=MAX_QUERY_TOKEN_BYTES)


def impression(user_id: str = "u:9", *, token: str | None = None, query_token: str | None = None) -> Impression:
    """Return an impression of t:1."""
    return Impression("r", "t:1", user_id, "home", 0, 5, token=token, query_token=query_token)


RECORDS = [
    User("{}", 1, 0),
    User("u:9", 1, 0, follows=("a:1", "{}")),
    UserState("u:9", entries=(UserEntry("e", UserEventKind.CLICK, "t:1", 5, author_id="{}"),)),
    Tweet("t:1", 5, 0, "{}", 5),
    Tweet("t:1", 5, 0, "a:1", 5, text="thanks, {}!"),
    Engagement("e", "{}", "t:1", EngagementKind.CLICK, 5),
    Engagement("{}-e1".replace("-", "/"), "u:9", "t:1", EngagementKind.CLICK, 5),
]


def filled(message: Message, name: str) -> bytes:
    """Return a record of the table with the id put in."""

    def fill(value: object) -> object:
        if isinstance(value, str):
            return value.replace("{}", name)
        if isinstance(value, dict):
            return {key: fill(item) for key, item in value.items()}
        return [fill(item) for item in value] if isinstance(value, list) else value

    data = fill(message.to_avro())
    assert isinstance(data, dict)
    return encode(type(message).from_avro(data))


@pytest.mark.parametrize("message", RECORDS)
def test_a_record_mentions_the_id_and_not_one_that_only_begins_or_ends_with_it(message: Message) -> None:
    """`u:4` must not be kept in the list of what is left because of `u:42`."""
    mention = Mention("u:4")
    assert mention.in_record(filled(message, "u:4"))
    for other in ("u:42", "xu:4", "u:4-b", "u:5"):
        assert not mention.in_record(filled(message, other)), other


@pytest.mark.parametrize("behind", range(1, 7))
def test_an_id_inside_a_token_is_found_at_every_alignment(behind: int) -> None:
    """A token is base64 of Avro: no search of the record's bytes would see it."""
    mention = Mention("a:erased")
    assert mention.in_record(encode(impression(token=token_of("a:erased"))))
    assert mention.in_record(encode(impression(query_token=query_token_of("a:erased", behind))))
    assert not mention.in_record(encode(impression(token=token_of("a:erased2"), query_token=query_token_of("a:other", behind))))


def test_records_inside_records_are_searched() -> None:
    """A join holds an impression's frame, a dead letter whatever bytes came."""
    mention = Mention("u:4")
    shown = encode(impression("u:4"))
    assert mention.in_record(encode(LabelJoin("home", 5, 0, impression=shown)))
    assert not mention.in_record(encode(LabelJoin("home", 5, 0, impression=encode(impression("u:42")))))
    assert Mention("a:7").in_record(encode(LabelJoin("home", 5, 0, impression=encode(impression(token=token_of("a:7"))))))
    for raw in (shown, b'{"user": "u:4"}', shown[5:], b"\x00\xff\x06u:4\x31"):
        letter = DeadLetter("impressions", 0, 0, 5, b"t:1", raw, "InvalidRecord", "bad", "labeler")
        assert mention.in_record(encode(letter)), raw
    assert not mention.in_record(encode(DeadLetter("impressions", 0, 0, 5, b"t:1", b'{"user": "u:42"}', "X", "bad", "labeler")))


@pytest.mark.parametrize("text", ["ありがとうu:4さん", "感谢u:4的分享", "u:4님 감사합니다", "ขอบคุณu:4ครับ", "𠮷u:4𠮷"])
def test_an_id_is_found_in_a_text_without_spaces(text: str) -> None:
    """To Unicode these are letters, as those of an id: what a Japanese, Chinese, Korean or Thai text says of it was not found."""
    assert Mention("u:4").in_text(text)
    assert not Mention("u:42").in_text(text)
    assert not Mention("u:4").in_text(text.replace("u:4", "u:42"))


def test_keys_and_ids_that_are_no_ascii_are_found() -> None:
    """Keys are the bare id; ids are any UTF-8."""
    assert Mention("u:4").in_record(b"u:4")
    assert not Mention("u:4").in_record(b"u:42")
    assert not Mention("u:4").in_record(None)
    assert Mention("日本").in_record(encode(User("日本", 1, 0)))
    assert not Mention("日").in_record(encode(User("日本", 1, 0)))
    assert not Mention("jos").in_record(encode(User("josé", 1, 0)))
    assert not Mention("ä").in_text("bär")


@pytest.mark.parametrize("kind", ["t", "a", "n"])
def test_a_user_is_not_the_candidate_of_the_same_number(kind: str) -> None:
    """Of `ml-42` the search showed the film `t:ml-42`, in every history that has it, as left for ever."""
    mention = Mention("ml-42")
    assert not mention.in_record(encode(Tweet(f"{kind}:ml-42", 5, 0, "a:1", 5, text=f"as {kind}:ml-42 says")))
    assert not mention.in_record(f"{kind}:ml-42".encode())
    assert mention.in_record(encode(Engagement("e", "ml-42", f"{kind}:ml-42", EngagementKind.CLICK, 5)))
    for text in ("to ml-42", "data:ml-42", f"u:ml-42/{kind}:1"):
        assert mention.in_text(text)
        assert mention.in_bytes(text.encode())
    assert Mention(f"{kind}:ml-42").in_text(f"seen {kind}:ml-42")
