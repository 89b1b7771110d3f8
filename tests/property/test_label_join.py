"""Whatever the interleaving, the batching, the crashes and the repeats: each impression gets the one label its engagements make."""

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.codec import decode, encode
from schemas.records.candidates import Candidate, CandidateAttributes
from schemas.records.feedback import Engagement, EngagementKind, Example, Impression, Label
from schemas.records.users import UserEntry, UserEventKind, UserState
from schemas.surfaces import Surface
from schemas.topics import ENGAGEMENTS, EXAMPLES, IMPRESSIONS
from schemas.wire.inbound import InboundRecord
from streams.labeler.features import label_of
from streams.labeler.processor import LabelProcessor
from streams.processor import Clock
from streams.runner.changelog import ChangelogStore

HOME = Surface("home", "tweets", "t:", "tweet-v1", 32, "engagements", "write-time", 10, 3600)
T0 = 1_700_000_000_000
LATENESS_MS = 1000
SHOWN = Candidate("t:1", T0, 0, T0, attributes=CandidateAttributes("a:1", T0))
KINDS = [kind for kind in EngagementKind if kind is not EngagementKind.UNKNOWN]

_FAR = {IMPRESSIONS: 1_000_000, ENGAGEMENTS: 1_000_000}
requests = st.sampled_from(["r1", "r2", "r3"])
# (event time, how much later it is appended): out of order by less than the lateness
moments = st.tuples(st.integers(0, 30_000), st.integers(0, LATENESS_MS - 1))


class Sight:
    """One candidate, no users."""

    def candidate(self, candidate_id: str) -> Candidate | None:
        """See `Sight`."""
        return SHOWN

    def user_state(self, user_id: str) -> UserState | None:
        """See `Sight`."""
        return None

    def erased_ms(self, user_id: str) -> int:
        """See `Sight`."""
        return -1


@dataclass
class Run:
    """A labeler whose memory is lost at every crash, and the log of its examples."""

    store: ChangelogStore = field(default_factory=ChangelogStore)
    examples: dict[str, Example] = field(default_factory=dict)
    labeler: LabelProcessor = field(init=False)

    def __post_init__(self) -> None:
        self.crash()

    def crash(self) -> None:
        """Come back with the state alone."""
        self.labeler = LabelProcessor(0, self.store, ends=_FAR, surfaces={"home": HOME}, sight=Sight())

    def feed(self, batch: list[InboundRecord], quiet_ms: dict[str, int]) -> None:
        """Process a batch and keep each example's highest revision, of equals the later, as the trainer does."""
        for out in self.labeler.process(batch, Clock(T0 + 100_000, quiet_ms)).outputs:
            if out.topic == EXAMPLES and out.value is not None:
                example = decode(Example, out.value)
                known = self.examples.get(example.example_id)
                if known is None or example.revision >= known.revision:
                    self.examples[example.example_id] = example


@settings(deadline=None, max_examples=150)
@given(
    st.data(),
    st.dictionaries(requests, moments, min_size=1),
    st.lists(st.tuples(requests, st.sampled_from(KINDS), moments), max_size=12),
)
def test_every_impression_gets_the_label_its_engagements_make(
    data: st.DataObject,
    shown: dict[str, tuple[int, int]],
    done: list[tuple[str, EngagementKind, tuple[int, int]]],
) -> None:
    """The order in which two topics are read, and where a crash falls, must not be able to turn a label."""
    impressions = [(at + late, Impression(name, "t:1", "u:1", "home", 0, T0 + at)) for name, (at, late) in shown.items()]
    engagements = [
        (at + late, Engagement(f"e{n}", "u:1", "t:1", kind, T0 + at, name)) for n, (name, kind, (at, late)) in enumerate(done)
    ]
    logs: dict[str, list[InboundRecord]] = {}
    for topic, sent in ((IMPRESSIONS, impressions), (ENGAGEMENTS, engagements)):
        # a producer's retry is the same record again
        doubled = [item for item in sent for _ in range(data.draw(st.integers(1, 2)))]
        ordered = sorted(doubled, key=lambda item: item[0])
        logs[topic] = [InboundRecord(topic, 0, n, T0 + 100_000, b"t:1", encode(message)) for n, (_, message) in enumerate(ordered)]
    run, read = Run(), dict.fromkeys(logs, 0)
    while any(read[topic] < len(logs[topic]) for topic in logs):
        batch = []
        for topic, log in logs.items():
            # after a crash some of what was folded comes again
            begin = data.draw(st.integers(max(0, read[topic] - 2), read[topic]))
            end = data.draw(st.integers(min(read[topic] + 1, len(log)), len(log)))
            batch += log[begin:end]
            read[topic] = max(read[topic], end)
        run.feed(batch, {})
        if data.draw(st.booleans()):
            run.crash()
    run.feed([], dict.fromkeys(logs, 10**9))
    assert run.examples.keys() == {f"{name}/t:1" for name in shown}
    for name, (at, _) in shown.items():
        entries = [
            UserEntry(f"e{n}", UserEventKind(kind), "t:1", T0 + when)
            for n, (request, kind, (when, _)) in enumerate(done)
            if request == name and when <= at + 40_000
        ]
        example = run.examples[f"{name}/t:1"]
        # one that came more than a window before its impression may have been forgotten: a clock that far off proves nothing
        if all(entry.event_time_ms >= T0 + at - 5_000 for entry in entries):
            assert (example.label, example.kinds) == label_of(entries)
        else:
            assert example.label in set(Label) - {Label.UNKNOWN}
