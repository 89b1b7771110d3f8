"""The label join on hand-worked timelines: windows, watermarks, corrections, features as of serve time."""

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from schemas.codec import decode, encode
from schemas.records.base import Message
from schemas.records.candidates import Candidate, CandidateAttributes, CandidateFeatures, Counters
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
from schemas.records.users import QueryFeatures, UserEntry, UserEvent, UserEventKind, UserState
from schemas.surfaces import Surface
from schemas.tokens import context_token, write_token
from schemas.topics import ENGAGEMENTS, EXAMPLES, IMPRESSIONS, USER_EVENTS
from schemas.voided import erased_ms_of
from schemas.wire.inbound import InboundRecord
from streams.labeler.processor import LabelProcessor
from streams.metrics import LabelerMetrics
from streams.processor import Clock, Work
from streams.runner.changelog import ChangelogStore

# the window is 10 s, so the lateness is 1 s; corrections end 40 s after the impression
HOME = Surface("home", "tweets", "t:", "tweet-v1", 32, "engagements", "write-time", 10, 3600)
T0 = 1_700_000_000_000
BUNDLE = "0123456789abcdef"
SERVED = CandidateFeatures("a:served", "de", "eu", ("science",), 7, Counters(favorite=3))
ATTRIBUTES = CandidateAttributes("a:ada", T0 - 1000, "en", "", ("chess",), "text", 5)


@dataclass
class FakeSight:
    """What the labeler sees, as dicts."""

    candidates: dict[str, Candidate] = field(default_factory=dict)
    users: dict[str, UserState] = field(default_factory=dict)

    def candidate(self, candidate_id: str) -> Candidate | None:
        """See `Sight`."""
        return self.candidates.get(candidate_id)

    def user_state(self, user_id: str) -> UserState | None:
        """See `Sight`."""
        return self.users.get(user_id)

    def erased_ms(self, user_id: str) -> int:
        """See `Sight`."""
        return self.users.get(user_id, UserState(user_id)).erased_ms


class Timeline:
    """One partition's labeler, fed by hand. Times are seconds after T0."""

    def __init__(self) -> None:
        self.sight = FakeSight({"t:1": Candidate("t:1", T0, 0, T0, attributes=ATTRIBUTES, counters=Counters(favorite=2, click=-1))})
        self.store = ChangelogStore()
        self.registry = CollectorRegistry()
        self.metrics = LabelerMetrics(self.registry)
        self.ends = {IMPRESSIONS: 1_000_000, ENGAGEMENTS: 1_000_000}
        self.labeler = self.start()
        self.offsets = {IMPRESSIONS: 0, ENGAGEMENTS: 0}
        self.work = Work()

    def start(self) -> LabelProcessor:
        """Return a labeler on the state there is: what a restart does."""
        return LabelProcessor(2, self.store, ends=self.ends, surfaces={"home": HOME}, sight=self.sight, metrics=self.metrics)

    def left_out(self, why: str) -> float | None:
        """Return what the metric says was left out, so far."""
        return self.registry.get_sample_value("roost_labeler_left_out_total", {"why": why})

    def restart(self) -> None:
        """Come back with nothing but the state."""
        self.labeler = self.start()

    def feed(self, *messages: Message | bytes | None, at: float = 0.0, quiet: float | None = None) -> list[Example]:
        """Process one batch appended `at`, and return the examples it gave; `quiet` is how long both topics have been silent."""
        batch = [self.record(message, at) for message in messages]
        quiet_ms = {} if quiet is None else dict.fromkeys((IMPRESSIONS, ENGAGEMENTS), int(quiet * 1000))
        return self.process(batch, at, quiet_ms)

    def process(self, batch: list[InboundRecord], at: float, quiet_ms: dict[str, int]) -> list[Example]:
        """Process records as they are."""
        self.work = self.labeler.process(batch, Clock(T0 + int(at * 1000), quiet_ms))
        return [decode(Example, out.value) for out in self.work.outputs if out.topic == EXAMPLES and out.value is not None]

    def record(self, message: Message | bytes | None, at: float) -> InboundRecord:
        """Return the next record of the message's topic."""
        topic = ENGAGEMENTS if isinstance(message, Engagement) else IMPRESSIONS
        offset = self.offsets[topic]
        self.offsets[topic] += 1
        key = message.candidate_id.encode() if isinstance(message, Impression | Engagement) else b"t:1"
        value = encode(message) if isinstance(message, Message) else message
        return InboundRecord(topic, 2, offset, T0 + int(at * 1000), key, value)

    def voided(self) -> list[tuple[str, int]]:
        """Return the users whose examples the last batch voided, and up to when."""
        nulls = [self.record(None, 0)._replace(key=out.key, headers=out.headers) for out in self.work.outputs if out.value is None]
        return [((null.key or b"").decode(), erased_ms_of(null)) for null in nulls]

    def user_events(self) -> list[UserEvent]:
        """Return the user events of the last batch."""
        return [decode(UserEvent, out.value) for out in self.work.outputs if out.topic == USER_EVENTS and out.value is not None]


@pytest.fixture
def timeline() -> Timeline:
    """Return a labeler that has seen nothing."""
    return Timeline()


def shown(at: float = 0.0, *, request: str = "r", **changes: Any) -> Impression:
    """Return an impression of t:1."""
    return replace(Impression(request, "t:1", "u:1", "home", 4, T0 + int(at * 1000), BUNDLE), **changes)


def did(kind: EngagementKind, at: float, *, event: str = "", request: str | None = "r") -> Engagement:
    """Return an engagement with t:1."""
    return Engagement(event or f"{kind}-{at}", "u:1", "t:1", kind, T0 + int(at * 1000), request)


def passed(timeline: Timeline, at: float) -> list[Example]:
    """Move both topics' event time to `at` by an unrelated impression and an engagement without a request."""
    return timeline.feed(shown(at, request=f"other-{at}"), did(EngagementKind.CLICK, at, request=None), at=at)


FAVORITE, CLICK, REPLY = EngagementKind.FAVORITE, EngagementKind.CLICK, EngagementKind.REPLY


def test_an_example_comes_out_when_the_watermark_passes_its_window_and_not_before(timeline: Timeline) -> None:
    """Too early a label is a wrong negative; window 10 s and lateness 1 s make 11 s the moment."""
    assert timeline.feed(shown(0), did(FAVORITE, 3)) == []
    assert passed(timeline, 10.999) == []
    (example,) = passed(timeline, 11)
    assert (example.example_id, example.revision, example.label, example.kinds) == ("r/t:1", 0, Label.POSITIVE, ("favorite",))
    assert (example.position, example.bundle, example.user_id, example.surface) == (4, BUNDLE, "u:1", "home")
    assert (example.impression_partition, example.impression_offset) == (2, 0)


def test_no_engagement_within_the_window_is_an_implicit_negative(timeline: Timeline) -> None:
    """That is the signal the fine-tune learns from."""
    timeline.feed(shown(0))
    (example,) = passed(timeline, 11)
    assert (example.label, example.kinds) == (Label.IMPLICIT_NEGATIVE, ())


def test_the_slower_topic_holds_the_watermark_back(timeline: Timeline) -> None:
    """Engagements that lag an hour behind must still count: windows close by what was read of both topics."""
    timeline.feed(shown(0))
    assert timeline.feed(shown(3600, request="later"), at=3600) == []
    (example,) = timeline.feed(did(FAVORITE, 2), did(CLICK, 3599, request=None), at=3600)
    assert (example.request_id, example.label) == ("r", Label.POSITIVE)


def test_lag_is_never_idleness(timeline: Timeline) -> None:
    """A topic with records to read is not silent, whatever the wall clock says."""
    timeline.feed(shown(0))
    assert timeline.process([], 10_000, {IMPRESSIONS: 10_000_000}) == []


def test_a_silent_topic_counts_as_wall_clock_after_a_second_and_the_lateness(timeline: Timeline) -> None:
    """Else the last examples of an evening would come the next morning."""
    timeline.feed(shown(0))
    assert timeline.feed(at=20, quiet=0.999) == []
    assert timeline.feed(at=10.9, quiet=5) == []
    assert [example.request_id for example in timeline.feed(at=11, quiet=1)] == ["r"]


def test_a_fast_clock_closes_no_windows(timeline: Timeline) -> None:
    """Event time counts at most as append time: one device four minutes ahead must not cut everybody's labels."""
    timeline.feed(shown(0))
    assert timeline.feed(shown(200, request="fast"), did(CLICK, 200, request=None), at=1) == []


def test_an_engagement_read_before_its_impression_counts(timeline: Timeline) -> None:
    """Two topics are read in no common order."""
    timeline.feed(did(FAVORITE, 1))
    timeline.feed(shown(0), at=2)
    (example,) = passed(timeline, 11)
    assert example.label is Label.POSITIVE


def test_a_join_that_began_with_its_engagement_takes_corrections_as_long_as_any(timeline: Timeline) -> None:
    """What was scheduled for an engagement alone must not end the join that its impression made of it."""
    timeline.feed(did(FAVORITE, 1))
    timeline.feed(shown(0), at=2)
    for at in (11, 12, 13):
        passed(timeline, at)
    (correction,) = timeline.feed(did(EngagementKind.UNFAVORITE, 14), at=14)
    assert (correction.revision, correction.label) == (1, Label.IMPLICIT_NEGATIVE)


def test_an_engagement_whose_impression_never_comes_is_forgotten_after_the_window(timeline: Timeline) -> None:
    """State must not grow by what other surfaces do."""
    timeline.feed(did(FAVORITE, 1))
    passed(timeline, 12)
    passed(timeline, 12.001)
    assert [key for key, _ in timeline.store.scan("join/r/")] == []


def test_an_engagement_after_emission_emits_a_correction_with_the_same_features(timeline: Timeline) -> None:
    """The trainer keeps the highest revision of an example id."""
    timeline.feed(shown(0))
    (first,) = passed(timeline, 11)
    (second,) = timeline.feed(did(FAVORITE, 12), at=13)
    assert (second.revision, second.label, second.kinds) == (1, Label.POSITIVE, ("favorite",))
    assert replace(second, revision=0, label=first.label, kinds=first.kinds) == first


def test_an_engagement_that_changes_nothing_emits_nothing(timeline: Timeline) -> None:
    """A second click on what was clicked is no news to the trainer."""
    timeline.feed(shown(0), did(CLICK, 1))
    passed(timeline, 11)
    assert timeline.feed(did(CLICK, 12), at=12) == []


def test_an_undo_puts_the_label_back_before_and_after_emission(timeline: Timeline) -> None:
    """A favorite taken back is no favorite."""
    timeline.feed(shown(0), did(FAVORITE, 1), did(EngagementKind.UNFAVORITE, 2))
    (example,) = passed(timeline, 11)
    assert example.label is Label.IMPLICIT_NEGATIVE
    (again,) = timeline.feed(did(FAVORITE, 12), at=12)
    (back,) = timeline.feed(did(EngagementKind.UNFAVORITE, 13), at=13)
    assert [(e.revision, e.label) for e in (again, back)] == [(1, Label.POSITIVE), (2, Label.IMPLICIT_NEGATIVE)]


def test_an_undo_read_before_what_it_undoes_still_undoes_it(timeline: Timeline) -> None:
    """Event time decides, not the order of arrival."""
    timeline.feed(shown(0), did(EngagementKind.UNFAVORITE, 2), did(FAVORITE, 1))
    (example,) = passed(timeline, 11)
    assert example.label is Label.IMPLICIT_NEGATIVE


def test_an_undo_takes_back_only_its_own_kind(timeline: Timeline) -> None:
    """Who unfavorites what they also answered still answered it."""
    timeline.feed(shown(0), did(FAVORITE, 1), did(REPLY, 2), did(EngagementKind.UNFAVORITE, 3))
    (example,) = passed(timeline, 11)
    assert (example.label, example.kinds) == (Label.POSITIVE, ("reply",))


@pytest.mark.parametrize("kind", [EngagementKind.SHOW_LESS, EngagementKind.BLOCK])
def test_a_rejection_is_an_explicit_negative_whatever_else_was_done(timeline: Timeline, kind: EngagementKind) -> None:
    """It is never a positive and never an implicit negative."""
    timeline.feed(shown(0), did(kind, 1), did(CLICK, 2))
    (example,) = passed(timeline, 11)
    assert (example.label, example.kinds) == (Label.EXPLICIT_NEGATIVE, (str(kind),))


def test_duplicate_events_change_nothing(timeline: Timeline) -> None:
    """Producers send again after a timeout."""
    timeline.feed(shown(0), did(FAVORITE, 1, event="e"), shown(0), did(FAVORITE, 1, event="e"))
    examples = passed(timeline, 11)
    assert [(example.revision, example.label) for example in examples] == [(0, Label.POSITIVE)]
    held = list(timeline.store.scan("join/r/"))
    assert timeline.feed(did(FAVORITE, 1, event="e"), shown(0), at=12) == []
    assert list(timeline.store.scan("join/r/")) == held


def test_a_redelivered_batch_does_nothing_at_all(timeline: Timeline) -> None:
    """After a crash everything since the last commit comes again; the state remembers what it folded."""
    batch = [timeline.record(shown(0), 0), timeline.record(did(FAVORITE, 1), 1)]
    timeline.process(batch, 1, {})
    passed(timeline, 11)
    passed(timeline, 60)
    timeline.restart()
    assert timeline.process(batch, 61, {}) == []
    assert timeline.work.outputs == ()


def test_an_engagement_that_is_repeated_under_new_ids_makes_no_join_that_grows_for_ever(timeline: Timeline) -> None:
    """A client in a loop: each repeat cost as much as all before it, and a join over the largest message stops its partition."""
    timeline.feed(shown(0), *(did(CLICK, 3, event=f"{n}") for n in range(150)), did(FAVORITE, 4))
    timeline.feed(*(did(FAVORITE, 5, event=f"again-{n}") for n in range(50)))
    (frame,) = (value for key, value in timeline.store.scan("join/"))
    assert len(decode(LabelJoin, frame).entries) == 101
    assert timeline.left_out("crowded_out") == 100
    (example,) = passed(timeline, 11)
    assert (example.label, example.kinds) == (Label.POSITIVE, ("click", "favorite"))
    (corrected,) = timeline.feed(did(EngagementKind.SHOW_LESS, 12), at=12)
    assert corrected.label is Label.EXPLICIT_NEGATIVE, "however often it was clicked"


def test_tokens_that_nobody_can_read_are_not_kept_with_the_join(timeline: Timeline) -> None:
    """An impression may fill the largest message; a join that holds it whole, and its engagements, would be over it."""
    timeline.feed(shown(0, token="x" * 1_000_000, query_token="y" * 20_000))
    (frame,) = (value for key, value in timeline.store.scan("join/"))
    assert len(frame) < 1_000
    (example,) = passed(timeline, 11)
    assert example.provenance is Provenance.RECONSTRUCTED


def test_a_topic_created_anew_is_joined_from_its_first_record_on(timeline: Timeline) -> None:
    """Its offsets begin at 0 again: taken for folded already, no impression would become an example, and nothing would say so."""
    for number in range(5):
        timeline.feed(shown(0, request=f"old-{number}"))
    timeline.offsets[IMPRESSIONS], timeline.ends[IMPRESSIONS] = 0, 2
    timeline.restart()
    timeline.feed(shown(20))
    assert [example.request_id for example in passed(timeline, 40) if example.request_id == "r"] == ["r"]


def test_corrections_end_three_windows_after_the_first(timeline: Timeline) -> None:
    """State is bounded in time: 40 s after the impression, and 1 s of lateness, the join is gone."""
    timeline.feed(shown(0))
    passed(timeline, 11)
    passed(timeline, 40.9)
    assert len(timeline.feed(did(FAVORITE, 39), at=40.9)) == 1
    passed(timeline, 41)
    passed(timeline, 41.001)
    assert [key for key, _ in timeline.store.scan("join/r/")] == []
    assert timeline.feed(did(REPLY, 39), at=41.1) == []


def test_whether_an_engagement_counts_is_decided_by_its_event_time_alone(timeline: Timeline) -> None:
    """Else a replay, which reads far ahead, would label otherwise than the live stream."""
    timeline.feed(shown(0), did(FAVORITE, 40.001), at=50)
    (example,) = [e for e in passed(timeline, 50) if e.request_id == "r"]
    assert example.label is Label.IMPLICIT_NEGATIVE


def test_tokens_give_the_features_as_of_serve_time(timeline: Timeline) -> None:
    """The trainer must see what the towers saw."""
    query = QueryFeatures(("de",), "eu", history_authors=("a:x",))
    impression = shown(
        0,
        token=write_token(CandidateToken(BUNDLE, T0, 0, SERVED)),
        query_token=write_token(QueryToken(BUNDLE, query), max_bytes=4096),
    )
    timeline.feed(impression)
    (event,) = timeline.user_events()
    assert (event.author_id, event.language, event.topics) == ("a:served", "de", ("science",))
    (example,) = passed(timeline, 11)
    assert (example.candidate, example.query, example.provenance) == (SERVED, query, Provenance.SERVED)


@pytest.mark.parametrize("token", [None, "", "not base64!", "AAAA", "é", "x" * 5000])
def test_an_unreadable_token_means_reconstruction(timeline: Timeline, token: str | None) -> None:
    """Tokens come from outside; none may break the join, nor be believed."""
    timeline.feed(shown(0, token=token, query_token=token))
    timeline.sight.candidates["t:1"] = Candidate("t:1", T0, 0, T0, attributes=ATTRIBUTES, counters=Counters(favorite=99))
    (example,) = passed(timeline, 11)
    assert example.provenance is Provenance.RECONSTRUCTED
    assert example.candidate == ATTRIBUTES.features(Counters(favorite=2)), "counters as of reading the impression, clipped"


def test_reconstructed_history_holds_nothing_of_after_the_impression(timeline: Timeline) -> None:
    """A history that holds the label makes a model that knows the future."""
    entries = tuple(
        UserEntry(f"e{at}", UserEventKind.FAVORITE, f"t:{at}", T0 + at, author, "en", ())
        for at, author in ((-5, "a:before"), (0, "a:same"), (5, "a:after"))
    )
    timeline.sight.users["u:1"] = UserState("u:1", languages=("fr",), entries=entries)
    timeline.feed(shown(0))
    (example,) = passed(timeline, 11)
    assert (example.query.languages, example.query.history_authors) == (("fr",), ("a:before",))


def test_one_readable_token_is_used_and_the_rest_reconstructed(timeline: Timeline) -> None:
    """Half of the truth beats none, but it is not `served`."""
    timeline.feed(shown(0, token=write_token(CandidateToken(BUNDLE, T0, 0, SERVED))))
    (example,) = passed(timeline, 11)
    assert (example.candidate, example.provenance) == (SERVED, Provenance.RECONSTRUCTED)


def test_the_context_of_an_unanswered_request_is_added_to_what_is_reconstructed(timeline: Timeline) -> None:
    """The first bundle of a surface asked from a tweet has no other logs: its user from the state, the tweet from the sender."""
    timeline.sight.users["u:1"] = UserState("u:1", languages=("de",))
    timeline.feed(shown(query_token=context_token({"author_id": "a:clicked"})), did(EngagementKind.CLICK, 1))
    (example,) = timeline.feed(at=30, quiet=30)
    assert example.query == QueryFeatures(languages=("de",), context={"author_id": "a:clicked"})
    assert example.provenance is Provenance.RECONSTRUCTED
    served = write_token(CandidateToken(BUNDLE, 1, 0, SERVED))
    timeline.feed(shown(30, request="r2", token=served, query_token=context_token({"author_id": "a:clicked"})), at=30)
    (example,) = timeline.feed(at=60, quiet=30)
    assert example.provenance is Provenance.RECONSTRUCTED, "nobody's towers read this query"


def test_a_candidate_first_seen_after_its_impression_has_no_counters(timeline: Timeline) -> None:
    """Its counters at emission would hold the label itself."""
    timeline.sight.candidates.clear()
    timeline.feed(shown(0))
    timeline.sight.candidates["t:1"] = Candidate("t:1", T0, 0, T0, attributes=ATTRIBUTES, counters=Counters(favorite=9))
    (example,) = passed(timeline, 11)
    assert example.candidate == ATTRIBUTES.features(Counters())


def test_without_any_features_there_is_no_example(timeline: Timeline) -> None:
    """An example without features would teach the towers the padding id."""
    timeline.sight.candidates.clear()
    timeline.feed(shown(0))
    assert passed(timeline, 11) == []
    assert timeline.left_out("candidate_unknown") == 1
    assert [key for key, _ in timeline.store.scan("join/r/")] == []


def test_impressions_and_engagements_are_re_keyed_with_what_is_known_of_the_candidate(timeline: Timeline) -> None:
    """User state folds nothing but these; one without a request id is re-keyed and joined to nothing."""
    timeline.feed(shown(0), did(FAVORITE, 1, event="e1", request=None))
    impression, favorite = timeline.user_events()
    assert (impression.entry_id, impression.kind, impression.surface) == ("r/t:1", UserEventKind.IMPRESSION, "home")
    assert (favorite.entry_id, favorite.kind, favorite.author_id) == ("e1", UserEventKind.FAVORITE, "a:ada")
    assert {out.key for out in timeline.work.outputs} == {b"u:1"}
    (example,) = passed(timeline, 11)
    assert example.label is Label.IMPLICIT_NEGATIVE


def test_bad_records_are_dead_lettered_and_the_rest_of_the_batch_goes_on(timeline: Timeline) -> None:
    """One producer's bug must not stop everybody's labels."""
    bad: list[Message | bytes | None] = [
        b"garbage",
        b"",
        None,
        shown(0, request_id=""),
        shown(0, surface="nowhere"),
        shown(301),
        replace(did(FAVORITE, 0), event_id=""),
    ]
    timeline.feed(*bad, shown(0), did(FAVORITE, 1), at=0)
    assert [error.__class__.__name__ for _, error in timeline.work.dead] == [
        "UndecodableRecord",
        "UndecodableRecord",
        "UndecodableRecord",
        *["InvalidRecord"] * 4,
    ]
    assert "nowhere" in str(timeline.work.dead[4][1])
    assert "home" in str(timeline.work.dead[4][1])
    (example,) = passed(timeline, 11)
    assert example.label is Label.POSITIVE


def test_a_restart_goes_on_where_it_was(timeline: Timeline) -> None:
    """Open windows, early engagements, emitted examples and the watermark all come back from the state."""
    timeline.feed(shown(0), did(FAVORITE, 1, request="early"))
    timeline.restart()
    timeline.feed(shown(0, request="early"), at=2)
    timeline.restart()
    examples = passed(timeline, 11)
    assert {e.request_id: e.label for e in examples} == {"r": Label.IMPLICIT_NEGATIVE, "early": Label.POSITIVE}
    timeline.restart()
    (correction,) = timeline.feed(did(CLICK, 12), at=12)
    assert (correction.request_id, correction.revision) == ("r", 1)
    timeline.restart()
    passed(timeline, 52)
    passed(timeline, 53)
    assert len(list(timeline.store.scan("join/r/"))) == 0


def test_an_example_whose_state_a_crash_lost_is_joined_once_more_with_what_came_meanwhile(timeline: Timeline) -> None:
    """Both records say revision 0, and no correction ever tells them apart: readers take the last."""
    timeline.feed(shown(0))
    kept, offsets = dict(timeline.store.scan()), dict(timeline.offsets)
    (lost,) = passed(timeline, 11)
    timeline.store, timeline.offsets = ChangelogStore(kept), offsets
    timeline.restart()
    late = timeline.record(shown(11, request="other-11"), 11), timeline.record(did(CLICK, 11, request=None), 11)
    (again,) = timeline.process([*late, timeline.record(did(FAVORITE, 12), 12)], 12, {})
    assert (lost.revision, lost.label) == (0, Label.IMPLICIT_NEGATIVE)
    assert (again.revision, again.label) == (0, Label.POSITIVE)


def test_a_surface_taken_out_of_the_configuration_takes_its_joins_along(timeline: Timeline) -> None:
    """A state from before must not stop the labeler from starting."""
    timeline.feed(shown(0))
    other = replace(HOME, name="other")
    labeler = LabelProcessor(
        2, timeline.store, ends=timeline.ends, surfaces={"other": other}, sight=timeline.sight, metrics=timeline.metrics
    )
    assert list(timeline.store.scan("join/")) == []
    labeler.process([], Clock(T0))
    assert timeline.left_out("surface_gone") == 1


def test_no_example_comes_of_what_a_user_was_shown_before_being_deleted(timeline: Timeline) -> None:
    """A window that is open at the delete would write the user's name anew, for a month."""
    timeline.feed(shown(), at=0)
    timeline.feed(replace(shown(request="later"), event_time_ms=T0 + 2_000), at=2)
    timeline.sight.users["u:1"] = UserState("u:1", erased_ms=T0 + 1_000)
    assert [example.request_id for example in passed(timeline, 60)] == ["later"], "who came back counts again"
    assert timeline.left_out("user_erased") == 1
    assert not [key for key, _ in timeline.store.scan("join/r/")]


def test_no_correction_comes_of_an_example_whose_user_was_deleted(timeline: Timeline) -> None:
    """It would be a new record of the user, with all that the first one held."""
    timeline.feed(shown(), at=0)
    assert passed(timeline, 12)
    timeline.sight.users["u:1"] = UserState("u:1", erased_ms=T0 + 12_000)
    assert timeline.feed(did(EngagementKind.FAVORITE, 5), at=13) == []
    assert not [key for key, _ in timeline.store.scan("join/r/")]
    assert timeline.voided() == [("u:1", T0 + 12_000)]


def test_an_example_that_was_written_while_its_user_was_deleted_is_voided_behind_it(timeline: Timeline) -> None:
    """The delete's own null stands before it then: a trainer that begins between the two would learn from a user who is gone."""
    timeline.feed(shown(), at=0)
    timeline.feed(replace(shown(request="later"), event_time_ms=T0 + 2_000), at=2)
    assert [example.request_id for example in passed(timeline, 13)] == ["r", "later"]
    timeline.sight.users["u:1"] = UserState("u:1", erased_ms=T0 + 1_000)
    assert timeline.feed(at=22.9) == []
    assert timeline.voided() == []
    assert timeline.feed(at=23) == []
    assert timeline.voided() == [("u:1", T0 + 1_000)]
    assert [key for key, _ in timeline.store.scan("join/") if "/r/" in key or "later" in key] == ["join/later/t:1"]


def test_an_example_whose_users_delete_was_seen_late_is_voided_at_the_end_of_its_join(timeline: Timeline) -> None:
    """What was written lately is known in memory alone, and user states may be seen late while a broker is away."""
    timeline.feed(shown(), at=0)
    assert len(passed(timeline, 12)) == 1
    timeline.restart()
    timeline.sight.users["u:1"] = UserState("u:1", erased_ms=T0 + 1_000)
    passed(timeline, 39)
    assert timeline.voided() == []
    passed(timeline, 42)
    timeline.feed(at=42)
    assert timeline.voided() == [("u:1", T0 + 1_000)]


def test_a_window_of_before_the_delete_is_voided_for_what_a_crash_may_have_left_of_it(timeline: Timeline) -> None:
    """Its example may be in the log although the state does not say so: outputs are acknowledged before it is written."""
    timeline.feed(shown(), at=0)
    timeline.sight.users["u:1"] = UserState("u:1", erased_ms=T0 + 1_000)
    assert passed(timeline, 11) == []
    assert timeline.voided() == [("u:1", T0 + 1_000)]
