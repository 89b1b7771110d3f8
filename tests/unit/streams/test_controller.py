"""The rollout controller on a fake log and fake topics: commands, steps, parity, admission, zombies, restarts."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from schemas.bundle import CANDIDATE_TOWER, MANIFEST_NAME, Gate
from schemas.errors import Refused
from schemas.parity import progress_of
from schemas.records.control import (
    CommandKind,
    NodeStatus,
    Outcome,
    Progress,
    Rollout,
    RolloutCommand,
    SourcePosition,
    Stage,
)
from schemas.rollout import reject
from schemas.surfaces import Surface, load_surfaces
from streams.canary.judge import Reading, Verdict
from streams.canary.sequential import Interval, Sums
from streams.controller.admission import Admission
from streams.controller.controller import Controller
from streams.controller.log import RolloutLog
from tests.bundles import publish_bundle

HOME = "home-timeline"
OLD, NEW, THIRD = "0" * 16, "1" * 16, "2" * 16
NOW_MS = 1_700_000_000_000
PARTITIONS = 2


class FakeJournal:
    """The log as a list; `ahead_of_us` is written just before our next record, as a zombie would, and `unread` before we look."""

    def __init__(self, records: list[Rollout] | None = None) -> None:
        self.records = list(records or [])
        self.log = RolloutLog()
        self.ahead_of_us: Rollout | None = None
        self.unread: list[Rollout] = []
        for record in self.records:
            self.log.take(record)

    def catch_up(self) -> None:
        """See `Journal`."""
        unread, self.unread = self.unread, []
        for record in unread:
            self.append(record)

    def append(self, record: Rollout) -> None:
        """See `Journal`."""
        ahead, self.ahead_of_us = self.ahead_of_us, None
        for written in (ahead, record) if ahead is not None else (record,):
            self.records.append(written)
            self.log.take(written)


class FakeTopics:
    """The topics as a set; `created` counts lives."""

    def __init__(self) -> None:
        self.there: set[str] = set()
        self.created: list[str] = []

    def create_anew(self, bundle: str, surface: Surface) -> None:
        """See `BundleTopics`."""
        self.there.add(bundle)
        self.created.append(bundle)

    def delete(self, bundle: str) -> None:
        """See `BundleTopics`."""
        self.there.discard(bundle)


class FakeEvidence:
    """Says what the test says."""

    def __init__(self) -> None:
        self.verdict: Verdict | None = None
        self.ramps: dict[str, tuple[int, ...]] = {}

    def reading(self, state: Rollout, heard: Iterable[NodeStatus] = (), *, ramp: Sequence[int] = ()) -> Reading | None:
        """See `Evidence`."""
        self.ramps[state.surface] = tuple(ramp)
        if self.verdict is None:
            return None
        return Reading(self.verdict, f"it is {self.verdict}", Sums(), Sums(), Interval(0.0, 0.0, 0.0))


class Bench:
    """A controller with its fakes and a clock to turn."""

    def __init__(self) -> None:
        self.journal, self.topics, self.now_ms = FakeJournal(), FakeTopics(), NOW_MS
        self.admission: Admission | None = None
        self.heard: list[NodeStatus] = []
        self.evidence = FakeEvidence()
        self.commands: list[RolloutCommand] = []
        self.controller = self.start()

    def start(self) -> Controller:
        """Return a controller on what the log holds."""
        return Controller(
            self.journal,
            self.topics,
            surfaces=load_surfaces(),
            admit=self.admit,
            evidence=self.evidence,
            partitions=PARTITIONS,
            silence_ms=10_000,
            let_go_ms=5_000,
            let_go_at_most_ms=60_000,
            asked=self.commands,
        )

    def admit(self, command: RolloutCommand) -> None:
        """Let every bundle in, or ask the real admission."""
        if self.admission is not None:
            self.admission(command)

    def restart(self) -> None:
        """Come back with nothing but the logs and the cluster."""
        self.journal = FakeJournal(self.journal.records)
        self.controller = self.start()

    def ask(
        self,
        kind: CommandKind,
        bundle: str | None = None,
        *,
        command_id: str = "",
        surface: str = HOME,
        automatic: bool = False,
        expected: int | None = None,
        share_bp: int | None = None,
        ramp_bp: tuple[int, ...] = (),
    ) -> Rollout:
        """Have a command answered and return its outcome."""
        command_id = command_id or f"c{len(self.commands) + 1}"
        command = RolloutCommand(command_id, surface, kind, "ada", NOW_MS, bundle, expected, share_bp, automatic)
        command = replace(command, ramp_bp=ramp_bp, ramp_hold_s=60 if ramp_bp else 0)
        self.commands.append(command)
        self.controller.answer(command, self.heard_now(), self.now_ms)
        return self.journal.log.outcomes[command_id]

    def step(self, *, after_s: float = 0.0) -> dict[str, Stage]:
        """Let time pass, take the due steps, and return the stages."""
        self.now_ms += int(after_s * 1000)
        self.controller.step(self.heard_now(), self.now_ms)
        return self.stages()

    def heard_now(self) -> list[NodeStatus]:
        """Return the heartbeats as of this moment."""
        return [replace(status, time_ms=self.now_ms) for status in self.heard]

    def stages(self) -> dict[str, Stage]:
        """Return the stage of each bundle."""
        return {entry.bundle: entry.state for entry in self.journal.log.state(HOME).bundles}

    def hear(self, *bundles: str) -> None:
        """Have an embedder and a node report full parity of `bundles`."""
        self.heard = [embedder(*bundles), node("a", *bundles)]

    def make_live(self, bundle: str) -> None:
        """Roll a bundle out by itself."""
        self.hear(*(entry.bundle for entry in self.journal.log.state(HOME).bundles), bundle)
        assert self.ask(CommandKind.START, bundle, automatic=True).outcome is Outcome.ACCEPTED
        assert self.step()[bundle] is Stage.LIVE


def embedder(*bundles: str, end: int = 10, done: bool = True, append_ms: int = NOW_MS, partitions: int = PARTITIONS) -> NodeStatus:
    """Return an embedder's heartbeat."""
    source = {"tweets": SourcePosition(5, append_ms)}
    progress = tuple(
        Progress(HOME, bundle, p, source, embeddings_end=end, backfill_done=done) for bundle in bundles for p in range(partitions)
    )
    return NodeStatus("embedder:0", NOW_MS, ready=True, progress=progress)


def node(name: str, *bundles: str, applied: int = 10, coverage: float = 1.0, recall: float = 1.0) -> NodeStatus:
    """Return a node's heartbeat."""
    progress = tuple(Progress(HOME, bundle, p, applied=applied) for bundle in bundles for p in range(PARTITIONS))
    return NodeStatus(
        f"node:{name}",
        NOW_MS,
        ready=True,
        progress=progress,
        coverage=dict.fromkeys(bundles, coverage),
        recall=dict.fromkeys(bundles, recall),
    )


@pytest.fixture
def bench() -> Bench:
    """Return a controller before its first rollout."""
    return Bench()


def test_an_automatic_start_goes_through_all_stages_and_live(bench: Bench) -> None:
    """The loop closes without an operator."""
    assert bench.ask(CommandKind.START, NEW, automatic=True).outcome is Outcome.ACCEPTED
    assert bench.stages() == {NEW: Stage.REGISTERED}
    assert bench.step() == {NEW: Stage.BUILDING}
    assert bench.topics.there == {NEW}
    bench.hear(NEW)
    assert bench.step() == {NEW: Stage.LIVE}
    assert [record.revision for record in bench.journal.records] == [1, 2, 3, 4]


def test_a_start_by_hand_waits_at_ready_for_a_promotion(bench: Bench) -> None:
    """`ask` means ask."""
    bench.ask(CommandKind.START, NEW)
    bench.step()
    bench.hear(NEW)
    assert bench.step() == {NEW: Stage.READY}
    assert bench.step(after_s=60) == {NEW: Stage.READY}
    bench.ask(CommandKind.PROMOTE, NEW)
    assert bench.stages() == {NEW: Stage.LIVE}


def test_of_two_operators_with_one_revision_one_wins(bench: Bench) -> None:
    """The other gets exit code 4 and a sentence that says to look again."""
    first = bench.ask(CommandKind.START, NEW, expected=0)
    second = bench.ask(CommandKind.START, OLD, expected=0)
    assert (first.outcome, second.outcome) == (Outcome.ACCEPTED, Outcome.LOST)
    assert "revision 1, not 0" in second.reason
    assert bench.stages() == {NEW: Stage.REGISTERED}


def test_a_repeated_command_gets_its_first_outcome_and_no_second_record(bench: Bench) -> None:
    """Commands are redelivered after a crash, and clients retry."""
    first = bench.ask(CommandKind.START, NEW, command_id="same")
    written = len(bench.journal.records)
    bench.restart()
    assert bench.ask(CommandKind.START, NEW, command_id="same") == first
    assert len(bench.journal.records) == written


def test_a_zombie_that_wrote_the_revision_first_makes_our_command_lost(bench: Bench) -> None:
    """The log is the compare-and-set: our state is the log's, not what we meant it to be."""
    zombie = Rollout(HOME, 1, "z", reason="zombie", frozen=True)
    bench.journal.ahead_of_us = zombie
    ours = bench.ask(CommandKind.START, NEW)
    assert ours.outcome is Outcome.LOST
    assert "another controller" in ours.reason
    assert bench.journal.log.state(HOME) == zombie
    assert bench.ask(CommandKind.START, NEW).outcome is Outcome.ACCEPTED


def test_a_zombie_s_late_record_is_ignored_by_the_fold() -> None:
    """A controller that was paused for a minute and goes on writing changes nothing."""
    bench = Bench()
    bench.make_live(OLD)
    state = bench.journal.log.state(HOME)
    bench.journal.append(Rollout(HOME, state.revision, "z1", reason="an old revision"))
    bench.journal.append(Rollout(HOME, state.revision + 2, "z2", reason="from the future"))
    assert bench.journal.log.state(HOME) == state
    assert bench.journal.log.outcomes["z1"].outcome is Outcome.LOST


def test_a_restarted_controller_goes_on_at_every_step(bench: Bench) -> None:
    """Kill it wherever you like: the log is all it knows."""
    bench.ask(CommandKind.START, NEW, automatic=True)
    bench.restart()
    assert bench.step() == {NEW: Stage.BUILDING}
    bench.restart()
    bench.hear(NEW)
    assert bench.step() == {NEW: Stage.LIVE}
    bench.restart()
    assert bench.step() == {NEW: Stage.LIVE}
    assert bench.topics.created == [NEW]


def test_a_crash_between_topic_and_record_makes_the_topic_again(bench: Bench) -> None:
    """Nobody has written to it yet; what an earlier rollout left in it would bring deleted candidates back."""
    bench.ask(CommandKind.START, NEW)
    bench.topics.create_anew(NEW, load_surfaces()[HOME])
    bench.restart()
    bench.step()
    assert bench.topics.created == [NEW, NEW]


def test_a_controller_that_stood_still_neither_makes_nor_deletes_a_topic_that_another_one_has_filled(bench: Bench) -> None:
    """Its machine slept in the middle of a step: the log's compare-and-set does not bring back the embeddings that it deletes."""
    bench.ask(CommandKind.START, NEW)
    other = Bench()
    other.topics, other.journal = bench.topics, FakeJournal(bench.journal.records)
    other.controller = other.start()
    assert other.step() == {NEW: Stage.BUILDING}
    bench.journal.unread = other.journal.records[len(bench.journal.records) :]
    assert bench.step() == {NEW: Stage.BUILDING}
    assert bench.topics.created == [NEW]
    # once more, of a topic that is due to be deleted
    bench.ask(CommandKind.ABORT, NEW)
    other.journal = FakeJournal(bench.journal.records)
    other.controller = other.start()
    other.ask(CommandKind.START, NEW, command_id="again")
    assert other.step() == {NEW: Stage.BUILDING}
    bench.journal.unread = other.journal.records[len(bench.journal.records) :]
    assert bench.step(after_s=6) == {NEW: Stage.BUILDING}
    assert bench.topics.there == {NEW}
    assert bench.topics.created == [NEW, NEW]


def test_a_rollback_swaps_live_and_draining_in_one_record(bench: Bench) -> None:
    """One record is one moment: there is no time without a live bundle."""
    bench.make_live(OLD)
    bench.make_live(NEW)
    before = bench.journal.log.state(HOME).revision
    rolled = bench.ask(CommandKind.ROLLBACK)
    assert (rolled.revision, bench.stages()) == (before + 1, {OLD: Stage.LIVE, NEW: Stage.DRAINING})


def test_a_rollback_to_what_no_node_can_use_is_refused_with_the_reason(bench: Bench) -> None:
    """Its files are gone and every node started since: going back would leave a surface that answers without an answer."""
    bench.make_live(OLD)
    bench.make_live(NEW)
    bad = replace(node("a", NEW), errors=(f"{OLD}: manifest.json cannot be read",))
    bench.heard = [embedder(OLD, NEW), bad]
    refused = bench.ask(CommandKind.ROLLBACK)
    assert (refused.outcome, bench.stages()) == (Outcome.REFUSED, {OLD: Stage.DRAINING, NEW: Stage.LIVE})
    assert refused.reason == f"no node could answer from {OLD}, so {NEW} stays live: {OLD}: manifest.json cannot be read"
    bench.heard = [embedder(NEW), bad, node("b", OLD, NEW)]
    assert bench.ask(CommandKind.ROLLBACK).outcome is Outcome.ACCEPTED


def test_a_retired_bundle_s_topic_is_deleted_once_nodes_let_go(bench: Bench) -> None:
    """A node that still reads it would alarm; one that never lets go must not keep it for ever."""
    for bundle in (OLD, NEW, THIRD):
        bench.make_live(bundle)
    assert bench.stages()[OLD] is Stage.RETIRED
    assert bench.topics.there == {OLD, NEW, THIRD}
    bench.step(after_s=6)
    assert OLD in bench.topics.there, "the node still reports it"
    bench.hear(NEW, THIRD)
    bench.step(after_s=1)
    assert bench.topics.there == {NEW, THIRD}
    bench.ask(CommandKind.RETIRE, NEW)
    bench.step(after_s=59)
    assert NEW in bench.topics.there
    bench.step(after_s=1)
    assert bench.topics.there == {THIRD}


def test_an_aborted_bundle_may_start_again_on_an_empty_topic(bench: Bench) -> None:
    """Operators abort, mend and try again."""
    bench.ask(CommandKind.START, NEW)
    bench.step()
    bench.ask(CommandKind.ABORT, NEW)
    bench.step(after_s=6)
    assert bench.topics.there == set()
    bench.ask(CommandKind.START, NEW)
    assert bench.step(after_s=100) == {NEW: Stage.BUILDING}
    assert bench.topics.there == {NEW}
    bench.step(after_s=100)
    assert bench.topics.there == {NEW}


def test_an_automatic_start_waits_for_the_one_under_way_and_the_newest_starts(bench: Bench) -> None:
    """Fine-tunes may come faster than rollouts; the older of two waiting ones is out of date."""
    bench.ask(CommandKind.START, NEW, automatic=True)
    for bundle in (OLD, THIRD):
        assert bench.ask(CommandKind.START, bundle, automatic=True).outcome is Outcome.REFUSED
    bench.hear(NEW, THIRD)
    bench.step()
    assert bench.step() == {NEW: Stage.DRAINING, THIRD: Stage.LIVE}


def test_a_start_that_waits_outlives_restarts_and_a_freeze_and_begins_once(bench: Bench) -> None:
    """Its refusal promised it: the trainer sends a bundle once, and the next may be a day away."""
    bench.make_live(OLD)
    bench.ask(CommandKind.START, NEW)
    for bundle in ("3" * 16, THIRD, NEW):
        bench.ask(CommandKind.START, bundle, automatic=True)
    bench.ask(CommandKind.FREEZE)
    bench.ask(CommandKind.ABORT, NEW)
    bench.restart()
    assert THIRD not in bench.step()
    bench.ask(CommandKind.UNFREEZE)
    bench.restart()
    assert bench.step()[THIRD] is Stage.BUILDING
    bench.ask(CommandKind.ABORT, THIRD)
    bench.restart()
    assert bench.step()[THIRD] is Stage.ABORTED


def test_a_start_on_a_frozen_surface_waits_for_unfreeze(bench: Bench) -> None:
    """So says the sentence that it is refused with."""
    bench.ask(CommandKind.FREEZE)
    assert "wait for `roost rollout unfreeze`" in bench.ask(CommandKind.START, NEW, automatic=True).reason
    assert bench.step() == {}
    bench.ask(CommandKind.UNFREEZE)
    assert bench.step() == {NEW: Stage.BUILDING}


def test_a_start_that_waited_is_refused_once_when_its_bundle_is_bad_and_again_when_another_controller_was_first(
    bench: Bench, tmp_path: Path
) -> None:
    """A record that did not count has not begun it; a refusal is an answer, which a restart must not write again."""
    bench.ask(CommandKind.FREEZE)
    bench.ask(CommandKind.START, NEW, automatic=True)
    bench.ask(CommandKind.UNFREEZE)
    bench.journal.ahead_of_us = Rollout(HOME, bench.journal.log.state(HOME).revision + 1, "z", reason="zombie")
    assert bench.step() == {}
    bench.admission = Admission(tmp_path)
    assert bench.step() == {}
    written = len(bench.journal.records)
    assert "publish the bundle again" in bench.journal.records[-1].reason
    bench.restart()
    bench.step()
    assert len(bench.journal.records) == written


def test_a_start_that_waited_goes_on_waiting_while_the_registry_is_away(
    bench: Bench, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Refused then, the bundle of a whole training would be lost to an hour's outage of the object store."""
    bundles, away = tmp_path / "bundles", tmp_path / "away"
    bundle = publish_bundle(bundles)
    bench.admission = Admission(bundles)
    bench.ask(CommandKind.FREEZE)
    bench.ask(CommandKind.START, bundle, automatic=True)
    bench.ask(CommandKind.UNFREEZE)
    bundles.rename(away)
    written = len(bench.journal.records)
    for _ in range(4):
        assert bench.step(after_s=1.0) == {}
    assert len(bench.journal.records) == written
    assert caplog.text.count("goes on waiting") == 1, "a registry is not asked four times a second"
    bench.restart()
    assert bench.step() == {}
    away.rename(bundles)
    assert bench.step(after_s=10.0) == {bundle: Stage.BUILDING}


def test_a_start_by_hand_is_refused_at_once_while_the_registry_is_away(bench: Bench, tmp_path: Path) -> None:
    """Whoever asked is there to read why, and to ask again."""
    bench.admission = Admission(tmp_path / "away")
    assert "away" in bench.ask(CommandKind.START, NEW).reason
    assert bench.step(after_s=60.0) == {}


def test_a_frozen_surface_starts_nothing_by_itself(bench: Bench) -> None:
    """Freeze is what an operator reaches for first."""
    bench.ask(CommandKind.FREEZE)
    assert bench.ask(CommandKind.START, NEW, automatic=True).outcome is Outcome.REFUSED
    assert bench.ask(CommandKind.START, NEW).outcome is Outcome.ACCEPTED


def canaried(bench: Bench, *, automatic: bool) -> None:
    """Have NEW be the canary beside OLD."""
    bench.make_live(OLD)
    bench.ask(CommandKind.START, NEW)
    bench.hear(OLD, NEW)
    assert bench.step()[NEW] is Stage.READY
    assert bench.ask(CommandKind.CANARY, NEW, share_bp=1_000, automatic=automatic).outcome is Outcome.ACCEPTED


@pytest.mark.parametrize(
    ("verdict", "automatic", "stage"),
    [
        (None, True, Stage.CANARY),
        (Verdict.WAIT, True, Stage.CANARY),
        (Verdict.BETTER, True, Stage.LIVE),
        (Verdict.BETTER, False, Stage.CANARY),
        (Verdict.WORSE, True, Stage.ABORTED),
        (Verdict.WORSE, False, Stage.ABORTED),
        (Verdict.UNBALANCED, False, Stage.ABORTED),
    ],
)
def test_a_canary_ends_by_its_evidence(bench: Bench, verdict: Verdict | None, *, automatic: bool, stage: Stage) -> None:
    """Nobody watches at night: harm ends by itself, and what is better goes live where that was left to the test."""
    canaried(bench, automatic=automatic)
    bench.evidence.verdict = verdict
    assert bench.step()[NEW] is stage
    assert bench.stages()[OLD] is (Stage.DRAINING if stage is Stage.LIVE else Stage.LIVE)
    if stage is not Stage.CANARY:
        assert bench.journal.log.state(HOME).reason == f"it is {verdict}"
        assert bench.journal.log.state(HOME).actor == "controller"


def test_a_ramp_takes_its_shares_while_nothing_is_worse_and_promotes_only_at_the_last(bench: Bench) -> None:
    """The first shares are there to find harm among few users, not to promote what few have seen."""
    canaried(bench, automatic=True)
    bench.ask(CommandKind.CANARY, NEW, share_bp=100, ramp_bp=(500, 2_500), automatic=True)

    def share_after(seconds: float) -> int:
        assert bench.step(after_s=seconds)[NEW] is Stage.CANARY
        return bench.journal.log.state(HOME).in_stage(Stage.CANARY)[0].share_bp

    bench.evidence.verdict = None
    assert share_after(61) == 100, "nobody has looked yet"
    bench.evidence.verdict = Verdict.WAIT
    assert share_after(0) == 500
    assert "no harm at 1%, on to 5%" in bench.journal.log.state(HOME).reason
    bench.restart()
    bench.evidence.verdict = Verdict.BETTER
    assert share_after(59) == 500
    assert share_after(1) == 2_500
    assert bench.step()[NEW] is Stage.LIVE


def test_every_share_of_a_ramp_is_judged_as_one_of_all_its_shares_after_a_restart_too(bench: Bench) -> None:
    """Each at the whole alpha could abort an equal tower that much oftener; the last share's record names none of those before."""
    canaried(bench, automatic=True)

    def ramp() -> tuple[int, ...]:
        bench.step()
        return bench.evidence.ramps[HOME]

    assert ramp() == (1_000,)
    bench.now_ms += 1
    bench.ask(CommandKind.CANARY, NEW, share_bp=100, ramp_bp=(500, 2_500), automatic=True)
    assert ramp() == (100, 500, 2_500)
    bench.evidence.verdict = Verdict.WAIT
    for left in ((2_500,), ()):
        bench.step(after_s=61)
        assert bench.journal.log.state(HOME).ramp_bp == left
        bench.ask(CommandKind.PAUSE, NEW)
        bench.ask(CommandKind.RESUME, NEW)
        bench.ask(CommandKind.FREEZE)
        bench.ask(CommandKind.UNFREEZE)
        bench.restart()
        assert ramp() == (100, 500, 2_500)
    bench.now_ms += 1
    bench.ask(CommandKind.CANARY, NEW, share_bp=4_000, automatic=True)
    assert ramp() == (4_000,), "a share set by hand is a comparison that somebody asked for anew"


def test_a_ramp_that_does_harm_at_any_share_is_aborted(bench: Bench) -> None:
    """That is what small shares are for."""
    canaried(bench, automatic=True)
    bench.ask(CommandKind.CANARY, NEW, share_bp=100, ramp_bp=(500,), automatic=True)
    bench.evidence.verdict = Verdict.WORSE
    assert bench.step(after_s=61)[NEW] is Stage.ABORTED
    assert bench.journal.log.state(HOME).ramp_bp == ()


def test_a_paused_canary_is_left_alone_and_a_frozen_surface_promotes_none(bench: Bench) -> None:
    """An operator who looks into something must not have it taken away; freeze stops what goes forward, not what protects."""
    canaried(bench, automatic=True)
    bench.ask(CommandKind.PAUSE, NEW)
    bench.evidence.verdict = Verdict.WORSE
    assert bench.step()[NEW] is Stage.CANARY
    bench.ask(CommandKind.RESUME, NEW)
    bench.ask(CommandKind.FREEZE)
    bench.evidence.verdict = Verdict.BETTER
    assert bench.step()[NEW] is Stage.CANARY
    bench.evidence.verdict = Verdict.WORSE
    assert bench.step()[NEW] is Stage.ABORTED


def test_a_canary_that_cannot_be_used_is_rejected(bench: Bench) -> None:
    """A share of the users is answered from it, or from nothing, for as long as it stays."""
    for refusals in ((embedder(OLD, NEW), node("a", OLD)), (node("a", OLD, NEW), embedder(OLD, NEW))):
        bench = Bench()
        canaried(bench, automatic=True)
        refused = replace(refusals[1], errors=(f"{NEW}: a tower yields NaN",))
        bench.heard = [refusals[0], refused]
        assert bench.step() == {OLD: Stage.LIVE, NEW: Stage.REJECTED}
        assert bench.journal.log.state(HOME).reason == f"{NEW}: a tower yields NaN"


def test_a_better_canary_takes_no_further_users_before_every_node_is_at_parity(bench: Bench) -> None:
    """Whatever its users do, a node that holds a tenth of it would answer everybody from that tenth."""
    canaried(bench, automatic=True)
    bench.ask(CommandKind.CANARY, NEW, share_bp=100, ramp_bp=(500,), automatic=True)
    whole, holed = bench.heard, [embedder(OLD, NEW), node("a", OLD, NEW, coverage=0.1), node("b", OLD)]
    bench.evidence.verdict = Verdict.BETTER
    bench.heard = holed
    bench.step(after_s=61)
    assert bench.journal.log.state(HOME).ramp_bp == (500,)
    bench.heard = whole
    bench.step()
    assert bench.journal.log.state(HOME).ramp_bp == ()
    bench.heard = holed
    assert bench.step()[NEW] is Stage.CANARY
    bench.heard = whole
    assert bench.step()[NEW] is Stage.LIVE


@pytest.mark.parametrize("stage", [Stage.READY, Stage.CANARY])
@pytest.mark.parametrize(
    ("heard", "lack"),
    [
        ([], "no node is heard of"),
        ([("b", {"coverage": 0.1})], "node b owes coverage 99.99%"),
        ([("b", {"recall": 0.1})], "node b owes recall 0.95"),
        ([("b", {"applied": 9})], "node b owes all of its topic"),
    ],
)
def test_a_promotion_is_refused_until_every_node_is_at_parity(
    bench: Bench, stage: Stage, heard: list[tuple[str, dict[str, float]]], lack: str
) -> None:
    """An operator in a hurry must not flip everybody to half an index; the sentence says whose."""
    canaried(bench, automatic=False)
    if stage is Stage.READY:
        bench.ask(CommandKind.ABORT, NEW)
        bench.now_ms += 1
        bench.ask(CommandKind.START, NEW)
        assert bench.step(after_s=1)[NEW] is stage
    whole = bench.heard
    bench.heard = [embedder(OLD, NEW), *(node(name, OLD, NEW, **figures) for name, figures in heard)]  # type: ignore[arg-type]
    bench.step(after_s=4)
    refused = bench.ask(CommandKind.PROMOTE, NEW)
    assert (refused.outcome, bench.stages()[NEW]) == (Outcome.REFUSED, stage)
    assert refused.reason == f"{NEW} is not at parity on every live node: {lack}"
    bench.heard = whole
    bench.restart()
    assert bench.ask(CommandKind.PROMOTE, NEW).outcome is Outcome.ACCEPTED


def test_a_promotion_is_not_refused_because_heartbeats_take_turns(bench: Bench) -> None:
    """Under load the newest report of the embedder is ahead of the nodes' half of the time; nothing is missing then."""
    canaried(bench, automatic=False)
    bench.heard = [embedder(OLD, NEW, end=11), node("a", OLD, NEW)]
    bench.step(after_s=2.9)
    assert bench.ask(CommandKind.PROMOTE, NEW).outcome is Outcome.ACCEPTED


def test_a_fourth_bundle_is_refused(bench: Bench) -> None:
    """Each costs an index in every node's memory."""
    bench.make_live(OLD)
    bench.make_live(NEW)
    assert bench.ask(CommandKind.START, THIRD).outcome is Outcome.ACCEPTED
    refused = bench.ask(CommandKind.START, "3" * 16)
    assert refused.outcome is Outcome.REFUSED
    assert "already has 3 bundles" in refused.reason


def test_an_unknown_surface_is_refused_with_those_there_are(bench: Bench) -> None:
    """A typing mistake must not begin a surface."""
    refused = bench.ask(CommandKind.FREEZE, surface="home")
    assert refused.outcome is Outcome.REFUSED
    assert HOME in refused.reason
    assert "home" not in bench.journal.log.states


def test_a_bundle_that_the_embedder_cannot_load_is_rejected_with_its_reason(bench: Bench) -> None:
    """Else it would build for ever and hold the place of a good one."""
    bench.ask(CommandKind.START, NEW)
    bench.step()
    bench.heard = [NodeStatus("embedder:0", NOW_MS, ready=True, errors=(f"{NEW}: a tower yields NaN",)), node("a", NEW)]
    assert bench.step() == {NEW: Stage.REJECTED}
    assert bench.journal.log.state(HOME).reason == f"{NEW}: a tower yields NaN"


def test_a_bundle_that_another_controller_ended_is_not_rejected_again(bench: Bench) -> None:
    """An overtaken controller goes on by what the log says: ending, it would leave the others' commands to nobody."""
    bench.ask(CommandKind.START, NEW)
    bench.ask(CommandKind.START, THIRD)
    bench.step()
    bench.heard = [NodeStatus("embedder:0", NOW_MS, ready=True, errors=(f"{NEW}: NaN", f"{THIRD}: NaN"))]
    state = bench.journal.log.state(HOME)
    bench.journal.ahead_of_us = reject(state, THIRD, "by another controller", now_ms=NOW_MS)
    assert bench.step()[THIRD] is Stage.REJECTED
    assert bench.step() == {NEW: Stage.REJECTED, THIRD: Stage.REJECTED}


def test_one_node_s_complaint_rejects_nothing(bench: Bench) -> None:
    """A node with a full disk is that node's trouble."""
    bench.ask(CommandKind.START, NEW)
    bench.step()
    bad = NodeStatus("node:b", NOW_MS, ready=False, errors=(f"{NEW}: no space",))
    bench.heard = [embedder(NEW), node("a", NEW), bad]
    assert bench.step() == {NEW: Stage.BUILDING}


def parity(*statuses: NodeStatus, live: str | None = OLD, now_ms: int = NOW_MS) -> set[str]:
    """Return what is at parity while NEW is built beside `live`."""
    bench = Bench()
    if live is not None:
        bench.make_live(live)
    bench.ask(CommandKind.START, NEW)
    bench.step()
    found = progress_of(bench.journal.log.state(HOME), statuses, now_ms, partitions=PARTITIONS, silence_ms=10_000)
    return {progress.bundle for progress in found if progress.at_parity}


def test_parity_needs_every_condition_on_every_partition_for_every_live_node() -> None:
    """A bundle flipped too early answers with holes that no lag metric shows."""
    good = (embedder(OLD, NEW), node("a", OLD, NEW))
    assert parity(*good) == {NEW}
    assert parity() == set()
    assert parity(embedder(OLD, NEW)) == set(), "no node"
    assert parity(node("a", OLD, NEW)) == set(), "no embedder"
    assert parity(*good, node("b", OLD)) == set(), "one node has nothing of it"
    assert parity(*good, node("b", OLD, NEW, applied=9)) == set(), "one node is one record behind"
    assert parity(embedder(OLD, NEW, done=False), good[1]) == set(), "the backfill goes on"
    assert parity(embedder(OLD, NEW, partitions=1), good[1]) == set(), "nobody reports partition 1"


def test_a_node_that_misses_candidates_or_finds_too_few_holds_the_bundle_back() -> None:
    """Offsets agree whatever an index lost, or a damaged graph no longer finds."""
    good = (embedder(OLD, NEW), node("a", OLD, NEW))
    assert parity(*good, node("b", OLD, NEW, coverage=0.9999, recall=0.95)) == {NEW}
    assert parity(*good, node("b", OLD, NEW, coverage=0.99989)) == set()
    assert parity(*good, node("b", OLD, NEW, recall=0.949)) == set()
    assert parity(*good, replace(node("b", OLD, NEW), recall={})) == set(), "not measured yet"
    assert parity(*good, replace(node("b", OLD, NEW), coverage={})) == set(), "not measured yet"
    assert parity(*good, replace(node("b", OLD, NEW), coverage={NEW: float("nan")})) == set()
    assert parity(*good, replace(node("b", OLD, NEW, recall=0.0), time_ms=NOW_MS - 10_000)) == {NEW}, (
        "a silent node holds nothing back"
    )


def test_a_silent_node_leaves_the_quorum_and_a_silent_embedder_stops_everything() -> None:
    """A dead node must not block a rollout for ever; a dead embedder's last words prove nothing."""
    silent = replace(node("b", OLD), time_ms=NOW_MS - 10_000)
    assert parity(embedder(OLD, NEW), node("a", OLD, NEW), silent) == {NEW}
    assert parity(embedder(OLD, NEW), node("a", OLD, NEW), replace(silent, time_ms=NOW_MS - 9_999)) == set()
    assert parity(replace(embedder(OLD, NEW), time_ms=NOW_MS - 10_000), node("a", OLD, NEW)) == set()


def test_the_bundle_s_input_may_be_one_second_behind_the_live_one_s() -> None:
    """Parity is about now: a bundle built on yesterday's stream is not ready."""
    of_live, of_new = embedder(OLD), embedder(NEW, append_ms=NOW_MS - 1000)
    both = replace(of_live, progress=of_live.progress + of_new.progress)
    assert parity(both, node("a", OLD, NEW)) == {NEW}
    late = embedder(NEW, append_ms=NOW_MS - 1001)
    assert parity(replace(of_live, progress=of_live.progress + late.progress), node("a", OLD, NEW)) == set()
    assert parity(late, node("a", NEW), live=None) == {NEW}, "with no live bundle there is nothing to compare with"


def test_an_empty_corpus_is_at_parity_once_nodes_say_so() -> None:
    """The very first bundle may come before the first tweet."""
    assert parity(embedder(NEW, end=0), node("a", NEW, applied=0), live=None) == {NEW}
    assert parity(embedder(NEW, end=0), node("a"), live=None) == set()


def start(bundle: str, *, automatic: bool = False) -> RolloutCommand:
    """Return a start."""
    return RolloutCommand("c", HOME, CommandKind.START, "ada", NOW_MS, bundle, automatic=automatic)


def test_a_whole_bundle_is_admitted_and_a_broken_one_refused_in_a_sentence(tmp_path: Path) -> None:
    """Exit code 3 before any node loads it."""
    admission = Admission(tmp_path)
    bundle = publish_bundle(tmp_path)
    admission(start(bundle))
    with pytest.raises(Refused, match="cannot be read"):
        admission(start(NEW))
    tower = tmp_path / HOME / bundle / CANDIDATE_TOWER
    tower.write_bytes(tower.read_bytes()[:-1] + b"\x00")
    with pytest.raises(Refused, match="SHA-256"):
        admission(start(bundle))
    manifest = tmp_path / HOME / bundle / MANIFEST_NAME
    manifest.write_bytes(manifest.read_bytes() + b" ")
    with pytest.raises(Refused, match="manifest was altered"):
        admission(start(bundle))


def test_a_bundle_that_no_index_can_rank_is_refused(tmp_path: Path) -> None:
    """Served by cosine although trained for inner products, it would answer wrongly and raise no alarm."""
    with pytest.raises(Refused, match="train with --metric cosine"):
        Admission(tmp_path)(start(publish_bundle(tmp_path, metric="inner_product")))


def test_a_bundle_of_another_surface_is_refused(tmp_path: Path) -> None:
    """Moved by hand from one folder to another."""
    bundle = publish_bundle(tmp_path, surface="movies", dim=32)
    (tmp_path / "movies").rename(tmp_path / HOME)
    with pytest.raises(Refused, match="for surface 'movies'"):
        Admission(tmp_path)(start(bundle))


def test_failed_gates_stop_an_automatic_start_only(tmp_path: Path) -> None:
    """An operator may know better; the loop may not."""
    bundle = publish_bundle(tmp_path, gates=(Gate("auc", 0.4, 0.6, passed=False), Gate("mismatch", 0.1, 0.2, passed=True)))
    Admission(tmp_path)(start(bundle))
    with pytest.raises(Refused, match=r"auc is 0\.4, the limit is 0\.6"):
        Admission(tmp_path)(start(bundle, automatic=True))


def test_a_refused_admission_is_the_command_s_outcome(bench: Bench, tmp_path: Path) -> None:
    """The client must see the sentence, and the state must not move."""
    bench.admission = Admission(tmp_path)
    refused = bench.ask(CommandKind.START, NEW)
    assert refused.outcome is Outcome.REFUSED
    assert "publish the bundle again" in refused.reason
    assert bench.stages() == {}
