"""Which bundle answers here: the rollout says what should, the indices what can."""

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import cast

import pytest

from schemas.positions import Positions
from schemas.records.control import BundleStage, Rollout, Stage
from schemas.surfaces import Surface
from serving.node.bundle_tail import BundleTail
from serving.node.surface_keeper import SurfaceKeeper
from serving.query.epochs import Epoch, Routing, RoutingTable
from tests.filled_epochs import HOME
from tests.integration.waiting import until

A, B, C = "a" * 16, "b" * 16, "c" * 16


class FakeTail:
    """A bundle tail that is filled, refused or stopped when the test says so."""

    def __init__(self, surface: Surface, bundle: str, changed: Callable[[], None]) -> None:
        self.bundle = bundle
        self.epoch: Epoch | None = None
        self.refusal: str | None = None
        self.is_live = self.answers = False
        self.running = self.held = self.forgotten = False
        # what answered each time that this one was asked to catch up
        self.caught_up_behind: list[str | None] = []
        self.caught_up_to: list[Positions] = []
        self.answering: Callable[[], str | None] = lambda: None
        self.may_end = threading.Event()
        self.may_end.set()
        self._changed = changed

    @property
    def not_ready(self) -> str | None:
        """As `BundleTail.not_ready`."""
        return self.refusal or (None if self.epoch else "is being filled")

    def start(self) -> None:
        """As `BundleTail.start`."""
        self.running = True

    def stop(self) -> None:
        """As `BundleTail.stop`: may ask the keeper while it ends, and take its time."""
        self._changed()
        assert self.may_end.wait(30)
        self.running = False

    def as_of(self) -> Positions:
        """As `BundleTail.as_of`."""
        return {"tweets": {0: ord(self.bundle[0])}}

    def catch_up(self, positions: Positions, timeout_s: float) -> bool:
        """As `BundleTail.catch_up`."""
        assert timeout_s <= 1
        self.caught_up_behind.append(self.answering())
        self.caught_up_to.append(positions)
        return False

    def hold(self) -> None:
        """As `BundleTail.hold`."""
        self.held = True

    def forget(self) -> None:
        """As `BundleTail.forget`."""
        self.forgotten = True

    def fill(self) -> None:
        """Become whole."""
        self.epoch = Epoch(self.bundle, cast("BundleTail", None), cast("BundleTail", None), cast("BundleTail", None))  # type: ignore[arg-type]
        self._changed()

    def refuse(self, sentence: str) -> None:
        """Turn out not to be loadable."""
        self.refusal = sentence
        self._changed()


class Kept:
    """A keeper with fake tails."""

    def __init__(self) -> None:
        self.table = RoutingTable({HOME.name: Routing(HOME)})
        self.made: list[FakeTail] = []
        self.keeper = SurfaceKeeper(HOME, self.table, self._make)
        self._revision = 0

    def _make(self, surface: Surface, bundle: str, changed: Callable[[], None]) -> BundleTail:
        tail = FakeTail(surface, bundle, changed)
        tail.answering = lambda: self.live
        self.made.append(tail)
        return cast("BundleTail", tail)

    def begin_another_log(self) -> None:
        """Come upon a topic of rollouts that was created anew, and read it to its end, where nothing is."""
        self._revision = 0
        self.keeper.start_over()
        self.keeper.reconcile()

    def tail(self, bundle: str) -> FakeTail:
        """Return the newest tail of a bundle."""
        return next(tail for tail in reversed(self.made) if tail.bundle == bundle)

    def roll(self, **stages: Stage) -> None:
        """Append the next revision: bundles a, b, c in the given stages."""
        entries = [BundleStage(name * 16, stage, salt=f"salt-{name}") for name, stage in stages.items()]
        self.roll_entries(*entries)

    def roll_entries(self, *entries: BundleStage) -> None:
        """Append the next revision."""
        self._revision += 1
        self.keeper.fold(Rollout(HOME.name, self._revision, bundles=entries))
        self.keeper.reconcile()

    @property
    def routing(self) -> Routing:
        """The routing in force."""
        return self.keeper.routing

    @property
    def live(self) -> str | None:
        """The bundle that answers."""
        return None if self.routing.live is None else self.routing.live.bundle


@pytest.fixture
def kept() -> Kept:
    """Return a keeper whose bundle A is live and filled."""
    kept = Kept()
    kept.roll(a=Stage.LIVE)
    kept.tail(A).fill()
    assert (kept.live, kept.routing.revision) == (A, 1)
    return kept


def test_nothing_answers_before_the_rollouts_are_read_and_the_live_index_is_whole() -> None:
    """A node that answers from half an index answers wrongly, and looks healthy."""
    kept = Kept()
    assert "still being read" in str(kept.keeper.not_ready)
    kept.roll(a=Stage.LIVE)
    assert kept.live is None
    assert "still being filled" in kept.routing.waiting_for
    assert kept.routing.revision == 0, "the revision is not in force yet"
    kept.tail(A).fill()
    assert kept.live == A


def test_a_flip_to_a_whole_index_is_immediate_and_the_other_goes_on_filling(kept: Kept, caplog: pytest.LogCaptureFixture) -> None:
    """Rollback lands on a fresh index only because the draining bundle is still followed; the log names the epoch."""
    kept.roll(a=Stage.LIVE, b=Stage.BUILDING)
    kept.tail(B).fill()
    assert kept.live == A
    with caplog.at_level(logging.INFO):
        kept.roll(a=Stage.DRAINING, b=Stage.LIVE)
    assert (kept.live, kept.routing.revision) == (B, 3)
    assert [vars(record)["epoch"] for record in caplog.records if "flips" in record.getMessage()] == [f"{B}@3"]
    assert kept.tail(A).running
    assert (kept.tail(A).is_live, kept.tail(B).is_live) == (False, True)
    kept.roll(a=Stage.LIVE, b=Stage.DRAINING)
    assert kept.live == A


def test_before_a_flip_the_bundle_catches_up() -> None:
    """What was just found is found in this bundle too, though nobody was answered from it; late, it is flipped to all the same."""
    kept = Kept()
    kept.roll(a=Stage.LIVE, b=Stage.READY)
    kept.tail(A).fill()
    kept.tail(B).fill()
    assert kept.tail(A).caught_up_behind == [], "who answered nobody need not wait"
    kept.roll(a=Stage.DRAINING, b=Stage.LIVE)
    assert (kept.live, kept.tail(B).caught_up_behind) == (B, [A])
    kept.roll(a=Stage.LIVE, b=Stage.DRAINING)
    assert (kept.live, kept.tail(A).caught_up_behind) == (A, [B])
    assert kept.tail(A).caught_up_to == [kept.tail(B).as_of()], "as far as the one that answered"


def test_a_bundle_that_answers_somebody_is_followed_to_the_millisecond_and_the_others_in_batches(kept: Kept) -> None:
    """A draining or building bundle takes a third of the interpreter that way, which the live one's queries and inserts want."""
    assert kept.tail(A).answers
    kept.roll(a=Stage.LIVE, b=Stage.BUILDING)
    kept.tail(B).fill()
    assert (kept.tail(A).answers, kept.tail(B).answers) == (True, False)
    kept.roll(a=Stage.LIVE, b=Stage.CANARY)
    assert (kept.tail(A).answers, kept.tail(B).answers) == (True, True)
    kept.roll(a=Stage.DRAINING, b=Stage.LIVE)
    assert (kept.tail(A).answers, kept.tail(B).answers) == (False, True)


def test_the_old_bundle_answers_until_the_new_index_is_whole(kept: Kept) -> None:
    """A node behind answers with its own bundle at its own revision; it never answers half."""
    kept.roll(a=Stage.DRAINING, b=Stage.LIVE)
    assert (kept.live, kept.routing.revision) == (A, 1)
    assert kept.keeper.not_ready == "is being filled"
    kept.tail(B).fill()
    assert (kept.live, kept.routing.revision) == (B, 2)


def test_a_refused_live_bundle_leaves_the_draining_one_answering(kept: Kept) -> None:
    """A corrupt bundle on one node must not take that node's answers away."""
    kept.roll(a=Stage.DRAINING, b=Stage.LIVE)
    kept.tail(B).refuse("bundle b is corrupt")
    assert kept.live == A
    assert kept.keeper.not_ready == "bundle b is corrupt"
    restarted = Kept()
    restarted.roll(a=Stage.DRAINING, b=Stage.LIVE)
    restarted.tail(A).fill()
    assert restarted.live != A, "after a restart the node waits for the live one"
    restarted.tail(B).refuse("bundle b is corrupt")
    assert restarted.live == A
    assert restarted.routing.revision == 0


def test_two_promotions_in_one_breath_fall_back_on_the_previous_bundle(kept: Kept) -> None:
    """The one that answered is retired by the second promotion before the newest is whole: somebody must still answer."""
    kept.roll(a=Stage.LIVE, b=Stage.READY, c=Stage.BUILDING)
    kept.tail(B).fill()
    kept.roll(a=Stage.RETIRED, b=Stage.DRAINING, c=Stage.LIVE)
    assert kept.live == B
    kept.tail(C).fill()
    assert (kept.live, kept.routing.revision) == (C, 3)


def test_what_no_longer_streams_is_dropped_and_its_tail_stopped(kept: Kept) -> None:
    """Memory returns, and a retired topic is no longer asked for."""
    kept.roll(a=Stage.LIVE, b=Stage.BUILDING)
    kept.roll(a=Stage.LIVE, b=Stage.ABORTED)
    until(lambda: kept.tail(B).forgotten, what="the aborted bundle's tail to end, and its snapshots to be removed")
    assert not kept.tail(B).running
    assert set(kept.keeper.tails) == {A}
    kept.roll(a=Stage.DRAINING, c=Stage.LIVE)
    kept.tail(C).fill()
    kept.roll(a=Stage.RETIRED, c=Stage.LIVE)
    until(lambda: not kept.tail(A).running, what="the retired bundle's tail to end")
    assert (kept.live, set(kept.routing.held)) == (C, {C})


def test_a_rollback_waits_for_no_bundle_that_is_slow_to_leave(kept: Kept) -> None:
    """One that is aborted while an object store hangs, or its snapshot is written: every answer came from the bad one meanwhile."""
    kept.roll(a=Stage.DRAINING, b=Stage.LIVE, c=Stage.BUILDING)
    kept.tail(B).fill()
    kept.tail(C).may_end.clear()
    kept.roll(a=Stage.DRAINING, b=Stage.LIVE, c=Stage.ABORTED)
    kept.roll(a=Stage.LIVE, b=Stage.DRAINING)
    assert kept.live == A
    assert kept.tail(C).running
    kept.tail(C).may_end.set()
    kept.keeper.close()
    assert not kept.tail(C).running, "a node that stops leaves no thread behind"


def test_a_bundle_started_again_gets_an_index_of_its_new_topic(kept: Kept) -> None:
    """Abort and start may be folded in one breath; the old index holds offsets of a topic that is gone."""
    again = BundleStage(A, Stage.LIVE, salt="another start")
    first = kept.tail(A)
    kept.roll_entries(again)
    assert kept.tail(A) is not first
    until(lambda: not first.running, what="the first tail to end")
    assert kept.live is None


def test_a_bundle_started_again_while_it_leaves_keeps_its_new_snapshots(kept: Kept) -> None:
    """Its index may take minutes to end, while a registry hangs: what was removed then was the new rollout's, of the same id."""
    first, other = kept.tail(A), BundleStage(B, Stage.LIVE, salt="salt-b")
    first.may_end.clear()
    kept.roll_entries(other)
    kept.roll_entries(other, BundleStage(A, Stage.BUILDING, salt="another start"))
    first.may_end.set()
    until(lambda: not first.running, what="the first tail to end")
    kept.keeper.close()
    assert not first.forgotten


def test_what_answers_goes_on_until_another_log_has_a_live_bundle_of_its_own(kept: Kept) -> None:
    """An operator who lost the log of rollouts must not lose the answers with it, and the next rollout must come through."""
    kept.roll(a=Stage.LIVE, b=Stage.CANARY)
    kept.tail(B).fill()
    kept.begin_another_log()
    until(lambda: kept.tail(A).held, what="the topic of what answers to be left alone")
    assert (kept.live, kept.routing.revision, kept.routing.canaries) == (A, 0, ())
    assert kept.keeper.not_ready is None, "a balancer that looks elsewhere finds nobody"
    until(lambda: not kept.tail(B).running, what="the canary's tail to end")
    kept.roll(c=Stage.BUILDING)
    assert (kept.live, kept.routing.revision, set(kept.routing.held)) == (A, 1, {A})
    kept.roll(c=Stage.LIVE)
    assert (kept.live, kept.routing.revision) == (A, 1), "not yet whole here"
    kept.tail(C).fill()
    assert (kept.live, kept.routing.revision, set(kept.routing.held)) == (C, 2, {C})
    until(lambda: not kept.tail(A).running, what="the index that was kept to be given back")


def test_the_bundle_that_answers_may_be_started_again_on_another_log(kept: Kept) -> None:
    """It is what an operator does first; its topic is emptied for that, and its index must not follow."""
    first = kept.tail(A)
    for _ in range(2):
        kept.begin_another_log()
        kept.roll_entries(BundleStage(A, Stage.BUILDING, salt="another start"))
        until(lambda: first.held, what="the topic of what answers to be left alone")
        assert kept.routing.live is first.epoch
        assert not kept.tail(A).is_live
    kept.roll_entries(BundleStage(A, Stage.LIVE, salt="another start"))
    assert (kept.routing.live, kept.routing.revision) == (first.epoch, 1)
    again = kept.tail(A)
    again.fill()
    assert (kept.routing.live, kept.routing.revision, again.is_live) == (again.epoch, 2, True)
    until(lambda: not first.running, what="the index that was kept to be given back")


def test_a_log_that_is_read_again_changes_nothing(kept: Kept) -> None:
    """Its end may have been lost with a broker: what it still says is what it said."""
    kept.keeper.start_over()
    assert kept.live == A
    kept.keeper.fold(Rollout(HOME.name, 1, bundles=(BundleStage(A, Stage.LIVE, salt="salt-a"),)))
    kept.keeper.reconcile()
    assert (kept.live, kept.routing.revision, len(kept.made)) == (A, 1, 1)


def test_a_canary_is_routed_once_its_index_is_whole_and_only_with_a_usable_salt(kept: Kept) -> None:
    """A share of users sent to nothing would be a share of failures."""
    trial = BundleStage(B, Stage.CANARY, share_bp=10_000, salt="s")
    live = BundleStage(A, Stage.LIVE, salt="salt-a")
    kept.roll_entries(live, trial)
    assert kept.routing.choose("u").bundle == A
    assert kept.routing.revision == 1
    kept.tail(B).fill()
    assert kept.routing.choose("u").bundle == B
    assert kept.routing.revision == 2
    kept.roll_entries(live, replace(trial, salt="x" * 65))
    kept.tail(B).fill()
    assert kept.routing.choose("u").bundle == A


def test_a_node_that_joins_during_a_canary_answers_once_both_indices_are_whole_or_refused() -> None:
    """It would answer the canary's users from the live bundle, at a revision that is in no log."""
    live, trial = BundleStage(A, Stage.LIVE, salt="salt-a"), BundleStage(B, Stage.CANARY, share_bp=10_000, salt="s")
    joined, other = Kept(), Kept()
    for kept in (joined, other):
        kept.roll_entries(live, trial)
        kept.tail(A).fill()
        assert (kept.live, kept.keeper.not_ready) == (None, "is being filled")
        assert "canary" in kept.routing.waiting_for
    joined.tail(B).fill()
    assert (joined.live, joined.routing.revision, joined.keeper.not_ready) == (A, 1, None)
    assert joined.routing.choose("u").bundle == B
    other.tail(B).refuse("bundle b is corrupt")
    assert (other.live, other.keeper.not_ready) == (A, None), "one node's trouble with a trial takes no node away"


def test_a_canary_that_is_not_whole_here_keeps_no_answering_node_from_being_ready(kept: Kept) -> None:
    """It answers by its own revision until it is: it is behind, and says so."""
    kept.roll_entries(BundleStage(A, Stage.LIVE, salt="salt-a"), BundleStage(B, Stage.CANARY, share_bp=10_000, salt="s"))
    assert (kept.live, kept.routing.revision, kept.keeper.not_ready) == (A, 1, None)


def test_a_record_out_of_turn_changes_nothing(kept: Kept) -> None:
    """Two controllers may write; the first record of a revision counts, on every reader alike."""
    kept.keeper.fold(Rollout(HOME.name, 1, bundles=(BundleStage(B, Stage.LIVE),)))
    kept.keeper.fold(Rollout(HOME.name, 5, bundles=(BundleStage(C, Stage.LIVE),)))
    kept.keeper.reconcile()
    assert (kept.live, kept.routing.revision) == (A, 1)


def test_a_tail_that_could_not_be_started_is_started_the_next_time(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine may be out of threads for a moment; the bundle stayed `about to be loaded` on that node for ever."""

    def out_of_threads(_: FakeTail) -> None:
        raise RuntimeError("can't start new thread")

    kept.roll(a=Stage.LIVE, c=Stage.BUILDING)
    with monkeypatch.context() as patched:
        patched.setattr(FakeTail, "start", out_of_threads)
        with pytest.raises(RuntimeError):
            kept.roll(a=Stage.LIVE, b=Stage.BUILDING)
    until(lambda: not kept.tail(C).running, what="the bundle that left lets go of its memory")
    kept.keeper.reconcile()
    assert kept.tail(B).running
    assert kept.keeper.tails.keys() == {A, B}


def test_a_closed_keeper_starts_nothing_more(kept: Kept) -> None:
    """Records still arrive while the node stops."""
    kept.keeper.close()
    assert not kept.tail(A).running
    kept.roll(a=Stage.LIVE, b=Stage.BUILDING)
    assert len(kept.made) == 1
