"""MovieLens as a live stream: its files read to the letter, its real order kept, its likes told apart."""

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from lab.replay import Liked, lacking, liked, replay
from lab.replay import movielens as ml
from lab.replay.records import Event
from schemas.codec import decode, encode
from schemas.errors import InvalidInput
from schemas.records.candidates import Candidate, Tweet
from schemas.records.feedback import Engagement, Example, Impression, Label
from schemas.records.users import User, UserState
from schemas.surfaces import load_surfaces
from schemas.topics import ENGAGEMENTS, EXAMPLES, IMPRESSIONS
from schemas.wire.inbound import InboundRecord
from streams.labeler.processor import LabelProcessor
from streams.processor import Clock
from streams.runner.changelog import ChangelogStore
from tests.fake_tail import FakeTail
from tests.samples import FEATURES

ITEMS = "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
MADE_ITEMS = (
    ITEMS
    + "1\tToy Story\t1995\tAnimation Children's Comedy\n2\tMisérables, Les\t1995\tDrama Musical\n3\tunkonwn\tunkonwn\tunknown\n"
)
MADE_PEOPLE = (
    "user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token\n7\t24\tM\tstudent\t85711\n8\t7\tF\tother\t0\n"
)
MADE_RATINGS = (
    "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    "7\t2\t5\t200\n8\t1\t3\t100\n7\t1\t4\t200\n8\t2\t1\t500\n7\t3\t2\t400\n"
)
NOW_S = 1_700_000_000.0


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Three films, two people, five ratings, out of order as in the real file."""
    (tmp_path / "ml-100k.item").write_text(MADE_ITEMS, "utf-8")
    (tmp_path / "ml-100k.user").write_text(MADE_PEOPLE, "utf-8")
    (tmp_path / "ml-100k.inter").write_text(MADE_RATINGS, "utf-8")
    return tmp_path


@dataclass
class FilmsOnly:
    """What a labeler sees where no user has a state yet."""

    films: dict[str, Candidate]

    def candidate(self, candidate_id: str) -> Candidate | None:
        """See `streams.labeler.features.Sight`."""
        return self.films.get(candidate_id)

    def user_state(self, user_id: str) -> UserState | None:
        """See `streams.labeler.features.Sight`."""
        return None

    def erased_ms(self, user_id: str) -> int:
        """See `streams.labeler.features.Sight`."""
        return -1


class Log:
    """A producer that keeps what it is sent; an event may come no earlier than its time on `now_s`."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.flushed = 0
        self.now_s = NOW_S
        self.sent_at_s: list[float] = []

    def send(self, event: Event, /) -> None:
        """Keep an event."""
        self.events.append(event)
        self.sent_at_s.append(self.now_s)

    def poll(self) -> None:
        """Nothing is ever under way."""

    def flush(self) -> None:
        """Note that everything sent is in the log."""
        self.flushed = len(self.events)

    def clock(self) -> float:
        """Return the time, Unix seconds."""
        return self.now_s

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.now_s += seconds


def test_files_are_read_as_their_headers_say(files: Path) -> None:
    """Titles carry accents, a year may be unknown, and `unknown` is no genre."""
    data = ml.load(files)
    assert data.movies[2].text == "Misérables, Les (1995)"
    assert data.movies[1].genres == ("Animation", "Children's", "Comedy")
    assert (data.movies[3].text, data.movies[3].genres) == ("unkonwn", ())
    assert [(rating.person_id, rating.movie_id) for rating in data.ratings] == [(8, 1), (7, 2), (7, 1), (7, 3), (8, 2)]


def test_the_original_latin_1_and_windows_line_ends_are_read_too(files: Path) -> None:
    """GroupLens' own release is Latin-1; an editor may have put CRLF and a BOM."""
    (files / "ml-100k.item").write_bytes(MADE_ITEMS.replace("\n", "\r\n").encode("latin-1"))
    (files / "ml-100k.user").write_bytes(MADE_PEOPLE.encode("utf-8-sig"))
    data = ml.load(files)
    assert data.movies[2].title == "Misérables, Les"
    assert data.movies[1].genres[-1] == "Comedy"
    assert data.people[7].occupation == "student"


def test_columns_are_found_by_name_not_by_place(files: Path) -> None:
    """A later release may add or move a column."""
    (files / "ml-100k.inter").write_text("rating:float\tuser_id:token\ttimestamp:float\titem_id:token\n5\t7\t100.0\t2\n")
    assert ml.load(files).ratings == (ml.Rating(7, 2, 5.0, 100),)


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("ml-100k.inter", "user_id:token\titem_id:token\n1\t2\n", r"lacks \['rating', 'timestamp'\]"),
        ("ml-100k.inter", MADE_RATINGS + "7\t1\tmany\t9\n", "line 7 is"),
        ("ml-100k.inter", MADE_RATINGS + "7\t1\n", "line 7 is"),
        ("ml-100k.inter", MADE_RATINGS + "7\t99\t4\t9\n", "rates film 99 by person 7"),
        ("ml-100k.user", "", "lacks"),
        ("ml-100k.item", None, "cannot be read"),
    ],
)
def test_broken_files_are_named_with_what_to_do(files: Path, name: str, text: str | None, complaint: str) -> None:
    """A half-installed package must not become a half replay."""
    if text is None:
        (files / name).unlink()
    else:
        (files / name).write_text(text)
    with pytest.raises(ml.DatasetUnusable, match=complaint) as failure:
        ml.load(files)
    assert ml.INSTALL in str(failure.value)


def test_a_missing_package_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not a dependency: the first replay on a machine meets this sentence."""
    monkeypatch.setattr(ml, "PACKAGE", "a_package_nobody_has")
    with pytest.raises(ml.DatasetUnusable, match="pip install --no-deps recbole"):
        ml.load()


def test_ratings_play_in_their_real_order_as_impressions_and_likes(files: Path) -> None:
    """4 stars and more are engagements, fewer only impressions; the original times stay beside the mapped ones."""
    log = Log()
    summary = replay("movielens-100k", log, speed=100.0, files=files, now_s=log.clock, sleep=log.sleep)
    shown = [event for event in log.events if isinstance(event, Impression)]
    assert [(event.user_id, event.candidate_id) for event in shown] == [
        ("ml-8", "t:ml-1"),
        ("ml-7", "t:ml-2"),
        ("ml-7", "t:ml-1"),
        ("ml-7", "t:ml-3"),
        ("ml-8", "t:ml-2"),
    ]
    liked = [event for event in log.events if isinstance(event, Engagement)]
    assert [(event.candidate_id, event.request_id) for event in liked] == [("t:ml-2", "ml-7-200"), ("t:ml-1", "ml-7-200")]
    assert [event.source_time_ms for event in shown] == [100_000, 200_000, 200_000, 400_000, 500_000]
    # 400 s of data in 4 s
    assert shown[0].event_time_ms == NOW_S * 1000
    assert shown[-1].event_time_ms == (NOW_S + 4) * 1000
    assert [(event.request_id, event.position) for event in shown[1:3]] == [("ml-7-200", 0), ("ml-7-200", 1)]
    assert summary == {
        "candidates": 3,
        "users": 2,
        "impressions": 5,
        "engagements": 2,
        "acknowledged": 12,
        "seconds": pytest.approx(4.0, abs=0.01),
        "late_s": pytest.approx(0.0, abs=1e-6),
    }
    assert log.flushed == 12


def test_nothing_is_sent_before_its_time(files: Path) -> None:
    """A record from the future would move watermarks past what is still to come."""
    log = Log()
    replay("movielens-100k", log, speed=50.0, files=files, now_s=log.clock, sleep=log.sleep)
    for event, sent_at_s in zip(log.events, log.sent_at_s, strict=True):
        assert event.event_time_ms <= sent_at_s * 1000 + 1e-3


def test_films_and_people_come_before_their_first_rating(files: Path) -> None:
    """An engagement with an unknown candidate makes only a stub."""
    log = Log()
    replay("movielens-100k", log, files=files, now_s=log.clock, sleep=log.sleep)
    seen: set[str] = set()
    for event in log.events:
        if isinstance(event, Tweet):
            assert event.candidate_id not in seen
            assert event.created_ms == event.event_time_ms
            assert (event.language, event.text != "") == ("und", True)
            seen.add(event.candidate_id)
        elif isinstance(event, User):
            seen.add(event.user_id)
        else:
            assert {event.candidate_id, event.user_id} <= seen
    students = [event for event in log.events if isinstance(event, User)]
    assert {event.user_id: event.interests for event in students} == {
        "ml-7": ("gender:m", "age:18", "occupation:student"),
        "ml-8": ("gender:f", "age:1", "occupation:other"),
    }


def test_without_a_pause_no_event_lies_in_the_future_and_nobody_waits(files: Path) -> None:
    """Speed 0 is for filling an index: event times keep the order and end now."""
    log = Log()
    replay("movielens-100k", log, speed=0, files=files, now_s=log.clock, sleep=lambda _: pytest.fail("waited"))
    times = [event.event_time_ms for event in log.events if isinstance(event, Impression)]
    assert times == sorted(set(times))
    assert times[-1] < NOW_S * 1000


def test_unknown_data_sets_and_speeds_are_refused(files: Path) -> None:
    """The command line passes on what people type."""
    with pytest.raises(InvalidInput, match="movielens-100k"):
        replay("movielens-1m", Log())
    for speed in (-1.0, float("nan"), float("inf")):
        with pytest.raises(InvalidInput, match="speed"):
            replay("movielens-100k", Log(), speed=speed, files=files)


def test_what_somebody_liked_is_told_with_titles(files: Path) -> None:
    """Answers for a real user can only be judged beside what the user liked."""
    data = ml.load(files)
    assert [(movie.title, rating.stars) for movie, rating in data.liked(7)] == [("Misérables, Les", 5.0), ("Toy Story", 4.0)]
    assert data.liked(8) == []
    assert data.liked(999) == []


def test_the_real_files_play_whole() -> None:
    """The counts GroupLens gives: 100,000 ratings, 943 people, 1,682 films; every record within the contracts."""
    log = Log()
    summary = replay("movielens-100k", log, speed=1e9, now_s=log.clock, sleep=log.sleep)
    assert (summary["candidates"], summary["users"], summary["impressions"]) == (1_682, 943, 100_000)
    assert summary["engagements"] == 34_174 + 21_201
    source = [event.source_time_ms or 0 for event in log.events if isinstance(event, Impression)]
    assert all(a <= b for a, b in pairwise(source))
    by_user: dict[str, int] = {}
    for event in log.events:
        if isinstance(event, Impression):
            assert event.event_time_ms > by_user.get(event.user_id, -1), "a user's own order must survive any speed"
            by_user[event.user_id] = event.event_time_ms
    for event in log.events[::50]:
        event.check(append_time_ms=round(log.now_s * 1000))
        assert decode(type(event), encode(event)) == event


def test_a_replay_without_pauses_is_labelled_as_soon_as_it_is_over(files: Path) -> None:
    """Its event times lie in the last moments: with a timeline's label window, nobody could train on them for half an hour."""
    log = Log()
    replay("movielens-100k", log, files=files, now_s=log.clock)
    joined = [event for event in log.events if isinstance(event, Impression | Engagement)]
    films = {
        e.candidate_id: Candidate(e.candidate_id, 0, 0, 0, attributes=e.attributes()) for e in log.events if isinstance(e, Tweet)
    }
    labeler = LabelProcessor(
        0, ChangelogStore(), ends={IMPRESSIONS: 0, ENGAGEMENTS: 0}, surfaces=load_surfaces(), sight=FilmsOnly(films)
    )
    now_ms = round(NOW_S * 1000)
    offsets = Counter[str]()
    records = []
    for event in joined:
        topic = IMPRESSIONS if isinstance(event, Impression) else ENGAGEMENTS
        records.append(InboundRecord(topic, 0, offsets[topic], now_ms, event.candidate_id.encode(), encode(event)))
        offsets[topic] += 1
    assert not labeler.process(records, Clock(now_ms, {})).dead
    later = labeler.process([], Clock(now_ms + 2_000, dict.fromkeys((IMPRESSIONS, ENGAGEMENTS), 2_000)))
    examples = [decode(Example, output.value) for output in later.outputs if output.value is not None]
    assert {(e.user_id, e.candidate_id): e.label for e in examples} == {
        ("ml-7", "t:ml-1"): Label.POSITIVE,
        ("ml-7", "t:ml-2"): Label.POSITIVE,
        ("ml-7", "t:ml-3"): Label.IMPLICIT_NEGATIVE,
        ("ml-8", "t:ml-1"): Label.IMPLICIT_NEGATIVE,
        ("ml-8", "t:ml-2"): Label.IMPLICIT_NEGATIVE,
    }


def test_what_a_user_liked_reads_as_it_was_replayed(files: Path) -> None:
    """Whoever judges an answer compares it with this."""
    assert liked("ml-7", files=files) == [Liked("t:ml-2", "Misérables, Les (1995)", 5.0), Liked("t:ml-1", "Toy Story (1995)", 4.0)]
    assert liked("ml-8", files=files) == []
    assert liked("u:1", files=files) == []


def _example(request_id: str, film: int, *, revision: int = 0) -> InboundRecord:
    name = f"{request_id}/{film}"
    value = encode(
        Example(
            example_id=name,
            request_id=request_id,
            revision=revision,
            surface="movies",
            user_id="ml-7",
            candidate_id=f"t:ml-{film}",
            position=0,
            event_time_ms=1,
            candidate=FEATURES,
            label=Label.POSITIVE,
        )
    )
    return InboundRecord(EXAMPLES, 0, film, 1, b"ml-7", value, ())


def test_a_replay_waits_for_one_example_of_each_rating_and_counts_nothing_else() -> None:
    """A correction, a redelivery or live traffic beside it must not let a training begin on a part."""
    others = [_example("ml-7-200", 1, revision=1), _example("ml-7-200", 1), _example("live", 9)]
    null = InboundRecord(EXAMPLES, 0, 5, 1, b"ml-7", None, ())
    told: list[tuple[int, int]] = []
    clock = Log()

    def now_s() -> float:
        clock.sleep(1)
        return clock.now_s

    batches = [[_example("ml-7-200", 1)], [*others, null], [_example("ml-7-200", 2)]]
    reader = FakeTail(batches)
    assert lacking(reader, 2, timeout_s=60, on_progress=lambda *done: told.append(done), now_s=now_s) == 0
    assert told == [(1, 2), (1, 2), (2, 2)]
    assert lacking(FakeTail(batches), 3, timeout_s=10, now_s=now_s) == 1, "the time is up, and it says of how many"
