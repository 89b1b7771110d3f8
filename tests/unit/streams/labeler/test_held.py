"""Windows that wait for the states of their own events: while those lag, when they are there, when they stay away, restarted."""

import json
from dataclasses import dataclass, field

import pytest

from schemas.codec import decode, encode
from schemas.records.candidates import Candidate, CandidateAttributes
from schemas.records.feedback import Engagement, EngagementKind, Example, Impression, Label, QueryToken
from schemas.records.users import QueryFeatures, UserEntry, UserEventKind, UserState
from schemas.surfaces import Surface
from schemas.tokens import write_token
from schemas.topics import ENGAGEMENTS, EXAMPLES, IMPRESSIONS
from schemas.wire.inbound import InboundRecord
from streams.labeler.held import OUT_OF_ORDER_MS, needed_ms
from streams.labeler.processor import LabelProcessor
from streams.processor import Clock
from streams.runner.changelog import ChangelogStore

# the window is 10 s, so the lateness is 1 s
HOME = Surface("home", "tweets", "t:", "tweet-v1", 32, "engagements", "write-time", 10, 3600)
T0 = 1_700_000_000_000
WAIT_MS = 30_000
# behind T0: shown at 20, and what may have been appended out of order
NEEDED = 20 + OUT_OF_ORDER_MS
SHOWN = Candidate("t:1", T0, 0, T0, attributes=CandidateAttributes("a:ada", T0))
BEFORE = UserEntry("e", UserEventKind.FAVORITE, "t:0", T0 - 500, "a:bob", "en", ("chess",))
SERVED = write_token(QueryToken("0123456789abcdef", QueryFeatures(("de",))), max_bytes=4096)
CONTEXT = write_token(QueryToken("", QueryFeatures(context={"topic": "chess"})), max_bytes=4096)


@dataclass
class FakeReach:
    """States that reflect what was appended up to `seen_ms`."""

    seen_ms: int = -1
    given_up: bool = False
    newest_ms: int = -1
    wanted_ms: int = -1
    missed_ms: list[int] = field(default_factory=list)

    def read(self, append_ms: int) -> None:
        """See `Reach`."""
        self.newest_ms = max(self.newest_ms, append_ms)

    def want(self, needed_ms: int) -> None:
        """See `Reach`."""
        self.wanted_ms = max(self.wanted_ms, needed_ms)

    def covers(self, needed_ms: int) -> bool:
        """See `Reach`."""
        return needed_ms <= self.seen_ms

    def give_up(self, needed_ms: int) -> None:
        """See `Reach`."""
        self.given_up = True
        self.missed_ms.append(needed_ms)


class Line:
    """One partition's labeler, whose user states come when the test says. Times are milliseconds after T0."""

    def __init__(self) -> None:
        self.reach = FakeReach()
        self.users: dict[str, UserState] = {}
        self.store = ChangelogStore()
        self.offsets = {IMPRESSIONS: 0, ENGAGEMENTS: 0}
        self.restart()

    def candidate(self, candidate_id: str) -> Candidate | None:
        """See `Sight`."""
        return SHOWN if candidate_id == SHOWN.candidate_id else None

    def user_state(self, user_id: str) -> UserState | None:
        """See `Sight`."""
        return self.users.get(user_id)

    def erased_ms(self, user_id: str) -> int:
        """See `Sight`."""
        return self.users.get(user_id, UserState(user_id)).erased_ms

    def restart(self) -> None:
        """Come back with nothing but the state."""
        self.labeler = LabelProcessor(
            0,
            self.store,
            ends=dict.fromkeys((IMPRESSIONS, ENGAGEMENTS), 1_000),
            surfaces={"home": HOME},
            sight=self,
            reach=self.reach,
            states_wait_ms=WAIT_MS,
        )

    def states_come(self, up_to: int) -> None:
        """Let the states of what was appended up to a time be seen, the user's entry of before the impression among them."""
        self.users = {"u:1": UserState("u:1", entries=(BEFORE,))}
        self.reach.seen_ms = T0 + up_to

    def feed(self, *messages: Impression | Engagement, at: int) -> list[Example]:
        """Process records appended at a time; both topics count as silent, so that this is event time too."""
        batch = []
        for message in messages:
            topic = IMPRESSIONS if isinstance(message, Impression) else ENGAGEMENTS
            batch.append(InboundRecord(topic, 0, self.offsets[topic], T0 + at, b"t:1", encode(message)))
            self.offsets[topic] += 1
        work = self.labeler.process(batch, Clock(T0 + at, dict.fromkeys((IMPRESSIONS, ENGAGEMENTS), 5_000)))
        return [decode(Example, out.value) for out in work.outputs if out.topic == EXAMPLES and out.value is not None]


@pytest.fixture
def line() -> Line:
    """Return a labeler that has seen nothing."""
    return Line()


def shown(request: str = "r", *, at: int = 0, query_token: str | None = None) -> Impression:
    """Return an impression of t:1."""
    return Impression(request, "t:1", "u:1", "home", 0, T0 + at, query_token=query_token)


def test_a_window_waits_for_the_states_of_before_its_impression(line: Line) -> None:
    """Its history comes round by another role: without it training knows less of a user than a node does."""
    assert line.feed(shown(), at=20) == []
    assert line.feed(at=11_000) == [], "due, and the states are not there"
    line.states_come(NEEDED - 1)
    assert line.feed(at=11_250) == [], "an event of before may have been late by the lateness"
    line.states_come(NEEDED)
    (example,) = line.feed(at=11_500)
    assert example.query.history_authors == ("a:bob",)


def test_where_the_states_are_there_no_window_waits(line: Line) -> None:
    """A healthy role costs nothing: the states are asked for before the window is due."""
    line.feed(shown(), at=20)
    assert line.reach.wanted_ms == -1
    line.feed(at=9_000)
    assert line.reach.wanted_ms == T0 + NEEDED
    line.states_come(NEEDED)
    (example,) = line.feed(at=11_000)
    assert example.query.history_authors == ("a:bob",)


def test_what_an_answer_told_waits_for_nobody(line: Line) -> None:
    """Its query token holds the features as of serve time; a token of a context alone does not."""
    assert line.feed(shown("told", query_token=SERVED), shown("context", query_token=CONTEXT), at=20) == []
    (example,) = line.feed(at=11_000)
    assert example.request_id == "told"
    line.states_come(NEEDED)
    (example,) = line.feed(at=11_250)
    assert (example.request_id, dict(example.query.context)) == ("context", {"topic": "chess"})
    assert example.query.history_authors == ("a:bob",)


def test_states_that_stay_away_hold_no_label_for_ever(line: Line) -> None:
    """Thirty seconds after it was due a window closes with what there is, and others are not made to wait as long."""
    line.feed(shown(), at=20)
    line.feed(at=11_000)
    line.feed(shown("later", at=29_000), at=29_000)
    assert line.feed(at=40_999) == []
    first, later = line.feed(at=41_000)
    assert (first.request_id, first.query, first.label) == ("r", QueryFeatures(), Label.IMPLICIT_NEGATIVE)
    assert later.request_id == "later", "due in the meantime, it waits no longer either"
    line.feed(shown("last", at=42_000), at=42_000)
    assert [example.request_id for example in line.feed(at=53_000)] == ["last"]
    assert line.reach.missed_ms == [T0 + NEEDED, T0 + 30_000, T0 + 43_000]
    assert line.reach.wanted_ms == T0 + 43_000, "who is given up is still asked for"
    line.reach.given_up = False
    line.feed(shown("caught up", at=60_000), at=60_000)
    assert line.feed(at=71_000) == []


def test_a_clock_that_is_set_back_makes_no_window_wait_for_as_long(line: Line) -> None:
    """Whoever sets it back by a day would have no examples for a day, where user state stands still."""
    line.feed(shown(), at=86_400_020)
    line.feed(at=86_411_000)
    assert line.feed(at=11_000) == []
    assert line.feed(at=11_000 + WAIT_MS - 1) == []
    assert [example.request_id for example in line.feed(at=11_000 + WAIT_MS)] == ["r"]


def test_a_window_that_waits_goes_on_waiting_after_a_restart(line: Line) -> None:
    """It lies in the state as before: it is due at once, and needs states of all that was read when it was."""
    line.feed(shown(), at=20)
    line.feed(at=11_000)
    line.reach = FakeReach()
    line.restart()
    assert line.reach.newest_ms == T0 + 20
    assert line.feed(at=13_000) == []
    assert line.reach.wanted_ms == T0 + NEEDED
    line.states_come(NEEDED)
    (example,) = line.feed(at=13_250)
    assert example.query.history_authors == ("a:bob",)


def test_a_state_of_an_older_release_is_taken_up(line: Line) -> None:
    """It does not say when its newest record was appended; the event times that it says are no later."""
    line.feed(shown(), at=20)
    position = json.loads(line.store.get("@position") or b"")
    assert position.pop("appended_ms") == T0 + 20
    line.store.put("@position", json.dumps(position).encode())
    line.reach = FakeReach()
    line.restart()
    assert line.reach.newest_ms == T0
    line.states_come(NEEDED)
    assert len(line.feed(at=11_000)) == 1


def test_an_engagement_that_comes_while_its_window_waits_is_in_the_example(line: Line) -> None:
    """Else it would come as a correction a moment later: the label is that of the newest revision either way."""
    line.feed(shown(), at=20)
    line.feed(at=11_000)
    assert line.feed(Engagement("e1", "u:1", "t:1", EngagementKind.CLICK, T0 + 5_000, "r"), at=11_100) == []
    line.states_come(NEEDED)
    (example,) = line.feed(at=11_250)
    assert (example.label, example.revision) == (Label.POSITIVE, 0)


def test_a_replay_needs_what_was_appended_before_its_impression() -> None:
    """Its event times are of the past; what came before in its log is the history, and no lateness is waited for on top.

    A like and the impression after it go to different partitions: the impression was appended first, and its label knew of no like.
    """
    assert needed_ms(T0, T0 + 50, 180_000) == T0 + 180_000
    assert needed_ms(T0 - 3_600_000, T0, 180_000) == needed_ms(T0 - 3_600_000, T0, 100) == T0 + OUT_OF_ORDER_MS
    assert needed_ms(T0 + 300_000, T0, 180_000) == T0 + 180_000, "a clock ahead counts at most as the broker's"
