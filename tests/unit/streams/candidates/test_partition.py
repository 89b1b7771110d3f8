"""What one partition remembers and for how long: duplicates, expiry, live ids, one write a checkpoint."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise

import pytest

from schemas.codec import decode
from schemas.errors import RoostError
from schemas.records.candidates import Candidate, Counters, Tweet
from schemas.records.feedback import EngagementKind
from schemas.surfaces import Surface, load_surfaces
from schemas.topics import DAY_MS, ENGAGEMENTS, HOUR_MS, TWEETS
from schemas.wire.inbound import InboundRecord
from streams.candidates import partition as partition_module
from streams.candidates.dedupe import MINUTE_MS, SeenEvents
from streams.candidates.engaged import Engaged
from streams.candidates.live import LiveIds
from streams.candidates.partition import CandidatePartition
from streams.runner.changelog import ChangelogStore

_NOW_MS = 1_700_000_000_000
_FAR = {TWEETS: 1_000_000, ENGAGEMENTS: 1_000_000}
_HOME: Surface = load_surfaces()["home-timeline"]


class _Partition:
    """A partition with its store, fed by hand."""

    def __init__(self, store: ChangelogStore | None = None, *, ends: Mapping[str, int] = _FAR) -> None:
        self.store = store or ChangelogStore()
        self.state = CandidatePartition(
            self.store, positions={TWEETS: 0, ENGAGEMENTS: 0}, ends=ends, surfaces=load_surfaces(), now_ms=_NOW_MS
        )

    def tweet(self, candidate_id: str, *, at_ms: int = _NOW_MS, deleted: bool = False) -> None:
        record = self._record(TWEETS, at_ms)
        self.state.fold_publication(record, candidate_id, Tweet(candidate_id, at_ms, 0, "a:1", at_ms, deleted))
        self.state.read(record)
        self.state.write_urgent(at_ms)

    def engage(
        self, candidate_id: str, event_id: str, *, at_ms: int = _NOW_MS, kind: EngagementKind = EngagementKind.CLICK
    ) -> None:
        record = self._record(ENGAGEMENTS, at_ms)
        self.state.fold_engagement(record, Engaged(event_id, candidate_id, kind))
        self.state.read(record)

    def checkpoint(self) -> list[str]:
        self.state.seal_dirty()
        while self.state.write_sealed(10):
            pass
        return self.state.expire()

    def pass_time(self, to_ms: int) -> None:
        self.state.read(self._record(ENGAGEMENTS, to_ms))

    def _record(self, topic: str, at_ms: int) -> InboundRecord:
        return InboundRecord(topic, 0, self.state.positions[topic], at_ms, None, None)


def test_a_hot_candidate_is_written_once_a_checkpoint() -> None:
    """A thousand likes a second must not be a thousand vectors a second."""
    partition = _Partition()
    partition.tweet("t:1")
    partition.store.take_changes()
    for n in range(1_000):
        partition.engage("t:1", f"e{n}")
    assert partition.store.take_changes() == []
    partition.checkpoint()
    ((key, value),) = partition.store.take_changes()
    candidate = decode(Candidate, value or b"")
    assert (key, candidate.counters.click, dict(candidate.source)) == ("t:1", 1_000, {TWEETS: 1, ENGAGEMENTS: 1_000})


def test_what_is_kept_decoded_is_let_go_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """50,000 candidates freed at once, in each of four partitions, held up everything for a tenth of a second."""
    monkeypatch.setattr(partition_module, "_MAX_DECODED", 100)
    partition = _Partition()
    for n in range(101):
        partition.tweet(f"t:{n}")
    partition.engage("t:7", "e1")
    partition.checkpoint()
    left = [len(partition.state._let_go)]
    for n in range(101, 140):
        partition.tweet(f"t:{n}")
        left.append(len(partition.state._let_go))
    assert max(before - after for before, after in pairwise(left)) <= 4
    assert left[0] > 90
    assert left[-1] == 0
    known = partition.state.get("t:7")
    assert known is not None
    assert known.counters.click == 1


def test_engagements_that_are_not_folded_yet_are_seen_by_whoever_looks() -> None:
    """They are sums until the candidate is written: an update in between must not lose them, nor a look count them twice."""
    partition = _Partition()
    partition.engage("t:1", "e1")
    partition.engage("t:1", "e2", at_ms=_NOW_MS + 7)
    for _ in range(2):
        stub = partition.state.get("t:1")
        assert stub is not None
        assert (stub.is_stub, stub.counters.click, stub.append_time_ms) == (True, 2, _NOW_MS + 7)
    partition.tweet("t:1")
    partition.engage("t:1", "e3")
    written = decode(Candidate, partition.store.get("t:1") or b"")
    assert (written.is_stub, written.counters.click) == (False, 2)
    partition.checkpoint()
    assert decode(Candidate, partition.store.get("t:1") or b"").counters.click == 3


def test_an_engagement_that_moves_no_counter_changes_nothing() -> None:
    """Kinds of a later release are read as unknown."""
    partition = _Partition()
    partition.engage("t:1", "e1", kind=EngagementKind.UNKNOWN)
    assert partition.state.seal_dirty() == 0
    assert partition.state.get("t:1") is None


def test_what_was_folded_before_a_restart_is_not_counted_again() -> None:
    """What comes again after a crash is in the counters of the candidates that were written, and not in the others'."""
    before = _Partition()
    before.engage("t:1", "e1")
    before.checkpoint()
    before.engage("t:2", "e2")
    after = _Partition(before.store)
    after.engage("t:1", "e1")
    after.engage("t:2", "e2")
    after.engage("t:1", "e3")
    after.checkpoint()
    counts = [decode(Candidate, after.store.get(name) or b"").counters.click for name in ("t:1", "t:2")]
    assert counts == [2, 1]


def test_what_becomes_dirty_during_a_checkpoint_is_written_with_the_next() -> None:
    """Live traffic goes on between the steps of a checkpoint; nothing of it may slip between two."""
    partition = _Partition()
    partition.engage("t:1", "e1")
    partition.state.seal_dirty()
    partition.engage("t:2", "e2")
    partition.engage("t:1", "e3")
    written = partition.state.write_sealed(10)
    assert [(c.candidate_id, c.counters.click) for c in written] == [("t:1", 2)]
    assert partition.state.write_sealed(10) == []
    partition.state.seal_dirty()
    assert [c.candidate_id for c in partition.state.write_sealed(10)] == ["t:2"]


def test_an_event_id_repeats_for_ten_minutes_and_not_for_ever() -> None:
    """A retry comes within minutes; remembering ids for ever would fill the memory."""
    seen = SeenEvents()
    assert not seen.repeats("e", 0)
    assert seen.repeats("e", 10 * MINUTE_MS)
    assert seen.repeats("e", 20 * MINUTE_MS)
    assert not seen.repeats("e", 31 * MINUTE_MS)
    assert len(seen) == 1


def test_a_brokers_clock_that_steps_back_forgets_no_event() -> None:
    """A new partition leader may be a little behind."""
    seen = SeenEvents()
    assert not seen.repeats("e", 20 * MINUTE_MS)
    assert seen.repeats("e", 19 * MINUTE_MS)


def test_a_candidate_expires_a_day_after_its_window() -> None:
    """The corpus is what can still be retrieved, and a day for late feedback."""
    partition = _Partition()
    partition.tweet("t:1")
    partition.pass_time(_NOW_MS + 72 * HOUR_MS - 1)
    assert partition.checkpoint() == []
    assert partition.store.get("t:1")
    partition.pass_time(_NOW_MS + 72 * HOUR_MS)
    assert partition.checkpoint() == []
    assert partition.store.get("t:1") is None
    assert partition.store.take_changes()[-1] == ("t:1", None)


def test_what_has_no_window_never_expires() -> None:
    """Films and accounts do not age."""
    partition = _Partition()
    partition.tweet("t:ml-1")
    partition.pass_time(_NOW_MS + 10_000 * DAY_MS)
    partition.checkpoint()
    assert partition.store.get("t:ml-1")


def test_a_stub_expires_a_day_after_its_last_engagement() -> None:
    """Engagements with ids that never come are somebody's mistake, or an attack on the memory."""
    partition = _Partition()
    partition.engage("t:ghost", "e1")
    partition.engage("t:ghost", "e2", at_ms=_NOW_MS + HOUR_MS)
    partition.checkpoint()
    partition.pass_time(_NOW_MS + DAY_MS)
    partition.checkpoint()
    assert partition.store.get("t:ghost")
    partition.pass_time(_NOW_MS + DAY_MS + HOUR_MS)
    partition.checkpoint()
    assert partition.store.get("t:ghost") is None


def test_a_delete_marker_outlives_the_input_and_fades_in_two_steps() -> None:
    """While the create is in its topic a replay could bring it back; and its nulls must be durable before it is forgotten."""
    partition = _Partition()
    partition.tweet("t:1")
    partition.tweet("t:1", at_ms=_NOW_MS + 1, deleted=True)
    partition.pass_time(_NOW_MS + 7 * DAY_MS)
    assert partition.checkpoint() == []
    partition.pass_time(_NOW_MS + 7 * DAY_MS + 1)
    assert partition.checkpoint() == ["t:1"]
    assert partition.store.get("t:1")
    assert partition.checkpoint() == []
    assert partition.store.get("t:1") is None


def test_expiry_survives_a_restart() -> None:
    """What is due is known from the state alone."""
    first = _Partition()
    first.tweet("t:1")
    first.engage("t:ghost", "e")
    first.checkpoint()
    second = _Partition(ChangelogStore(dict(first.store.scan())))
    second.pass_time(_NOW_MS + 80 * HOUR_MS)
    second.checkpoint()
    assert list(second.store.scan()) == []


def test_live_ids_leave_with_the_window_or_a_delete() -> None:
    """The controller compares a node's coverage with this count."""
    partition = _Partition()
    for n in range(3):
        partition.tweet(f"t:{n}")
    partition.engage("t:stub", "e")
    partition.checkpoint()
    live = partition.state.live["home-timeline"]
    assert live.count(_NOW_MS) == 3
    partition.tweet("t:0", at_ms=_NOW_MS + 1, deleted=True)
    assert set(live.ids(_NOW_MS)) == {"t:1", "t:2"}
    assert live.count(_NOW_MS + 48 * HOUR_MS) == 0


def test_an_id_created_anew_stays_live_past_its_first_window() -> None:
    """A delete and a later create with the same id are one id with a new window."""
    live = LiveIds(replace(_HOME, recency_window_s=10))
    live.add("t:1", 0)
    live.discard("t:1")
    live.add("t:1", 5_000)
    assert live.count(10_000) == 1
    assert live.count(15_000) == 0


def test_counts_of_a_restored_candidate_go_on() -> None:
    """The state is the counters, not the events."""
    first = _Partition()
    first.tweet("t:1")
    first.engage("t:1", "e1")
    first.checkpoint()
    second = _Partition(ChangelogStore(dict(first.store.scan())))
    second.state.positions.update({TWEETS: 1, ENGAGEMENTS: 1})
    second.engage("t:1", "e2")
    second.checkpoint()
    assert decode(Candidate, second.store.get("t:1") or b"").counters == Counters(click=2)


def test_surfaces_of_one_prefix_and_window_keep_their_live_ids_once() -> None:
    """Three surfaces retrieve tweets: a million ids in memory three times would buy nothing."""
    live = _Partition().state.live
    assert live["home-timeline"] is live["notification-landing"] is live["related-tweets"]
    assert len({id(ids) for ids in live.values()}) == len(live) - 2


def test_a_topic_created_anew_is_believed_from_its_first_record_on() -> None:
    """Its offsets begin at 0 again: held against how far the old one was read, every delete would be taken for folded long ago."""
    partition = _Partition()
    for candidate_id in ("t:1", "t:2", "t:3"):
        partition.tweet(candidate_id)
    partition.engage("t:1", "e1")
    partition.checkpoint()
    partition.store.take_changes()
    restarted = _Partition(partition.store, ends={TWEETS: 1, ENGAGEMENTS: 1})
    sources = [decode(Candidate, value or b"").source for _, value in partition.store.take_changes()]
    assert sources == [{ENGAGEMENTS: 1}, {ENGAGEMENTS: 0}, {ENGAGEMENTS: 0}]
    restarted.tweet("t:1", at_ms=_NOW_MS + 1, deleted=True)
    assert (deleted := restarted.state.get("t:1")) is not None
    assert deleted.deleted
    restarted.engage("t:1", "e1")
    assert restarted.state.get("t:1") == deleted, "engagements are the log that they were"


def test_a_log_that_is_as_long_as_what_was_read_of_it_is_the_same() -> None:
    """Redelivery after a crash: whatever the state covers already counts once."""
    partition = _Partition()
    partition.tweet("t:1")
    partition.engage("t:1", "e1")
    partition.checkpoint()
    restarted = _Partition(partition.store, ends={TWEETS: 1, ENGAGEMENTS: 1})
    restarted.engage("t:1", "e1")
    restarted.checkpoint()
    assert (known := restarted.state.get("t:1")) is not None
    assert known.counters.click == 1


def test_a_state_that_cannot_be_read_is_named() -> None:
    """Somebody else's record on the changelog: the role cannot start any more, and "7 bytes" would tell nobody which to remove."""
    with pytest.raises(
        RoostError, match=r"the state of 't:1' in candidates cannot be read: 7 bytes .*; .* write a null under this key"
    ):
        _Partition(ChangelogStore({"t:1": b"garbage"}))
