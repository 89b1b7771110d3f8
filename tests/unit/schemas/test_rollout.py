"""The rollout state machine: every command in every stage, the controller's own steps, and the log as compare-and-set."""

from dataclasses import replace

import pytest

from schemas.errors import Refused
from schemas.records.control import ENDED, BundleStage, CommandKind, Outcome, Rollout, RolloutCommand, Stage
from schemas.rollout import advance, answer, fold, nothing_yet, ramp_due, ramped, reject
from schemas.surfaces import FILES_REFRESH

SURFACE = "home-timeline"
A, B, C, D = (letter * 16 for letter in "abcd")
K, S = CommandKind, Stage
NOW_MS = 1_735_732_800_000


def state(*bundles: tuple[str, Stage], revision: int = 7, frozen: bool = False) -> Rollout:
    """Return a state with bundles in stages."""
    return Rollout(SURFACE, revision, frozen=frozen, bundles=tuple(BundleStage(bundle, stage) for bundle, stage in bundles))


def command(kind: CommandKind, bundle: str | None = B, **fields: object) -> RolloutCommand:
    """Return a command on the test's surface."""
    return RolloutCommand("c-1", SURFACE, kind, "ada", NOW_MS, bundle, **fields)  # type: ignore[arg-type]


def stages(rollout: Rollout) -> dict[str, Stage]:
    """Return the stage of each bundle."""
    return {entry.bundle: entry.state for entry in rollout.bundles}


# command -> stage of B before -> stage of B after; what is not named is refused. A is live throughout.
TABLE: dict[CommandKind, dict[Stage, Stage]] = {
    K.START: {S.RETIRED: S.REGISTERED, S.REJECTED: S.REGISTERED, S.ABORTED: S.REGISTERED},
    K.CANARY: {S.READY: S.CANARY, S.CANARY: S.CANARY},
    K.PROMOTE: {S.READY: S.LIVE, S.CANARY: S.LIVE},
    K.PAUSE: {stage: stage for stage in (S.REGISTERED, S.BUILDING, S.READY, S.CANARY)},
    K.RESUME: {stage: stage for stage in (S.REGISTERED, S.BUILDING, S.READY, S.CANARY)},
    K.ABORT: dict.fromkeys((S.REGISTERED, S.BUILDING, S.READY, S.CANARY), S.ABORTED),
    K.ROLLBACK: {S.DRAINING: S.LIVE},
    K.RETIRE: {S.DRAINING: S.RETIRED},
    K.FREEZE: {stage: stage for stage in S},
    K.UNFREEZE: {stage: stage for stage in S},
    K.CONFIGURE: {stage: stage for stage in S},
    K.UNKNOWN: {},
}
EVERY_CASE = [(kind, stage) for kind in K for stage in S if stage not in (S.UNKNOWN, S.LIVE)]


@pytest.mark.parametrize(("kind", "before"), EVERY_CASE)
def test_every_command_in_every_stage_does_what_the_table_says(kind: CommandKind, before: Stage) -> None:
    """The whole machine at a glance; a refusal changes nothing and says why in a sentence."""
    old = state((A, S.LIVE), (B, before))
    new = answer(old, command(kind, share_bp=500, refresh="every=30s"), now_ms=NOW_MS)
    assert (new.command_id, new.actor, new.time_ms) == ("c-1", "ada", NOW_MS)
    if before in TABLE[kind]:
        assert (new.outcome, new.revision) == (Outcome.ACCEPTED, 8)
        assert stages(new)[B] is TABLE[kind][before]
        assert fold(old, new) is new
    else:
        assert (new.outcome, new.revision) == (Outcome.REFUSED, 7)
        assert len(new.reason.split()) >= 4
        assert replace(new, command_id="", outcome=old.outcome, reason="", actor="", time_ms=0) == old
        assert fold(old, new) is old


@pytest.mark.parametrize("kind", list(K))
def test_the_live_bundle_is_moved_only_by_promoting_or_rolling_back_another(kind: CommandKind) -> None:
    """No command may leave a surface without an answer."""
    new = answer(state((A, S.LIVE)), command(kind, A, share_bp=500), now_ms=NOW_MS)
    assert new.live == A


@pytest.mark.parametrize("kind", [K.START, K.CANARY, K.PROMOTE, K.ABORT, K.RETIRE, K.PAUSE, K.RESUME])
def test_a_command_without_or_with_an_unknown_bundle_is_refused(kind: CommandKind) -> None:
    """A typing error must not hit another bundle."""
    old = state((A, S.LIVE), (B, S.READY), (C, S.DRAINING))
    for bundle in (None, D) if kind is not K.START else (None,):
        assert answer(old, command(kind, bundle, share_bp=500), now_ms=NOW_MS).outcome is Outcome.REFUSED


def test_promoting_retires_the_draining_and_drains_the_live() -> None:
    """Live, draining and one building always fit into three."""
    new = answer(state((A, S.LIVE), (B, S.READY), (C, S.DRAINING)), command(K.PROMOTE), now_ms=NOW_MS)
    assert stages(new) == {A: S.DRAINING, B: S.LIVE, C: S.RETIRED}


def test_the_first_bundle_goes_live_without_one_to_drain() -> None:
    """A new surface."""
    assert stages(answer(state((B, S.READY)), command(K.PROMOTE), now_ms=NOW_MS)) == {B: S.LIVE}


def test_rolling_back_twice_is_where_one_began() -> None:
    """An operator who changes their mind within a second must not lose a bundle."""
    old = state((A, S.LIVE), (B, S.DRAINING))
    once = answer(old, command(K.ROLLBACK, None), now_ms=NOW_MS)
    twice = answer(once, command(K.ROLLBACK, None), now_ms=NOW_MS)
    assert stages(once) == {A: S.DRAINING, B: S.LIVE}
    assert stages(twice) == stages(old)
    assert twice.revision == old.revision + 2


def test_a_rollback_to_a_bundle_that_is_not_draining_is_refused() -> None:
    """The operator thinks of another bundle than the machine."""
    old = state((A, S.LIVE), (B, S.DRAINING))
    assert answer(old, command(K.ROLLBACK, A), now_ms=NOW_MS).outcome is Outcome.REFUSED
    assert answer(old, command(K.ROLLBACK, B), now_ms=NOW_MS).outcome is Outcome.ACCEPTED
    assert answer(state((A, S.LIVE)), command(K.ROLLBACK, None), now_ms=NOW_MS).outcome is Outcome.REFUSED


def test_a_fourth_bundle_is_refused() -> None:
    """Each costs an index on every node."""
    full = state((A, S.LIVE), (B, S.READY), (C, S.DRAINING))
    refusal = answer(full, command(K.START, D), now_ms=NOW_MS)
    assert refusal.outcome is Outcome.REFUSED
    assert all(bundle in refusal.reason for bundle in (A, B, C))


def test_an_automatic_start_waits_while_frozen_or_while_another_is_under_way() -> None:
    """Operators freeze in an incident; the newest bundle starts later. A person's start goes through."""
    for old in (state((A, S.LIVE), frozen=True), state((A, S.LIVE), (C, S.BUILDING))):
        assert answer(old, command(K.START, automatic=True), now_ms=NOW_MS).outcome is Outcome.REFUSED
        assert answer(old, command(K.START), now_ms=NOW_MS).outcome is Outcome.ACCEPTED


@pytest.mark.parametrize(
    ("share_bp", "accepted"), [(None, False), (-1, False), (0, False), (1, True), (10_000, True), (10_001, False)]
)
def test_a_canary_needs_a_share_between_one_and_all(share_bp: int | None, accepted: bool) -> None:  # noqa: FBT001  a row of the table
    """Basis points: 500 is 5%."""
    new = answer(state((A, S.LIVE), (B, S.READY)), command(K.CANARY, share_bp=share_bp), now_ms=NOW_MS)
    assert (new.outcome is Outcome.ACCEPTED) is accepted
    if accepted:
        assert new.bundles[1].share_bp == share_bp


@pytest.mark.parametrize(
    ("share_bp", "ramp_bp", "hold_s", "sentence"),
    [
        (100, (500, 2_500), 60, ""),
        (100, (10_000,), 1, ""),
        (100, (100,), 60, "must grow"),
        (500, (2_500, 1_000), 60, "must grow"),
        (100, (10_001,), 60, "must grow"),
        (100, (500,), 0, "seconds"),
    ],
)
def test_a_ramp_s_shares_grow_and_each_is_kept_for_a_while(
    share_bp: int, ramp_bp: tuple[int, ...], hold_s: int, sentence: str
) -> None:
    """A smaller share would take users back out of the canary, and one that is not kept shows nothing."""
    asked = command(K.CANARY, share_bp=share_bp, ramp_bp=ramp_bp, ramp_hold_s=hold_s)
    new = answer(state((A, S.LIVE), (B, S.READY)), asked, now_ms=NOW_MS)
    assert sentence in new.reason
    assert (new.ramp_bp, new.ramp_hold_s) == (((), 0) if sentence else (ramp_bp, hold_s))


def test_a_ramp_goes_on_share_by_share_when_its_time_has_come_and_ends_with_the_canary() -> None:
    """By itself, at night too; not while somebody has paused it or frozen the surface."""
    asked = command(K.CANARY, share_bp=100, ramp_bp=(500, 2_500), ramp_hold_s=60)
    now = answer(state((A, S.LIVE), (B, S.READY)), asked, now_ms=NOW_MS)
    assert ramp_due(now, NOW_MS + 59_999) is None
    for hold in (replace(now, frozen=True), answer(now, command(K.PAUSE), now_ms=NOW_MS)):
        assert ramp_due(hold, NOW_MS + 60_000) is None
    due = ramp_due(now, NOW_MS + 60_000)
    assert due is not None
    second = ramped(now, due.bundle, "no harm", now_ms=NOW_MS + 60_000)
    assert (second.bundles[1].share_bp, second.bundles[1].since_ms, second.ramp_bp) == (500, NOW_MS + 60_000, (2_500,))
    assert second.bundles[1].salt == now.bundles[1].salt, "the users it had stay"
    assert ramp_due(second, NOW_MS + 119_999) is None
    last = ramped(second, B, "no harm", now_ms=NOW_MS + 120_000)
    assert (last.bundles[1].share_bp, last.ramp_bp) == (2_500, ())
    assert ramp_due(last, NOW_MS + 10**9) is None
    with pytest.raises(Refused):
        ramped(last, B, "once more", now_ms=NOW_MS)
    for ended in (answer(second, command(K.ABORT), now_ms=NOW_MS), answer(second, command(K.PROMOTE), now_ms=NOW_MS)):
        assert (ended.ramp_bp, ended.ramp_hold_s) == ((), 0)


def test_a_ramp_keeps_its_share_for_its_time_beside_what_is_live_now() -> None:
    """A flip begins the comparison anew: by the time since the share was given, the next one would be given on no evidence."""
    asked = command(K.CANARY, share_bp=100, ramp_bp=(500,), ramp_hold_s=60)
    now = answer(state((A, S.LIVE), (C, S.DRAINING), (B, S.READY)), asked, now_ms=NOW_MS)
    flipped = answer(now, command(K.ROLLBACK, C), now_ms=NOW_MS + 50_000)
    assert ramp_due(flipped, NOW_MS + 109_999) is None
    due = ramp_due(flipped, NOW_MS + 110_000)
    assert due is not None
    assert due.bundle == B


def test_a_canary_is_compared_with_a_live_bundle_and_is_the_only_one() -> None:
    """With two canaries a user would be in both by two hashes, and neither figure would mean anything."""
    alone = answer(state((B, S.READY)), command(K.CANARY, share_bp=500), now_ms=NOW_MS)
    second = answer(state((A, S.LIVE), (C, S.CANARY), (B, S.READY)), command(K.CANARY, share_bp=500), now_ms=NOW_MS)
    assert (alone.outcome, second.outcome) == (Outcome.REFUSED, Outcome.REFUSED)
    assert "promote instead" in alone.reason
    assert C in second.reason


def test_of_two_operators_one_wins_and_the_other_is_told() -> None:
    """Both looked at revision 7; the second acts on what is no longer so."""
    old = state((A, S.LIVE), (B, S.READY))
    first = fold(old, answer(old, command(K.PROMOTE, expected_revision=7), now_ms=NOW_MS))
    lost = answer(first, command(K.ABORT, expected_revision=7), now_ms=NOW_MS)
    assert first.live == B
    assert (lost.outcome, lost.revision) == (Outcome.LOST, 8)
    assert "revision 8, not 7" in lost.reason
    assert fold(first, lost) is first


def test_a_surfaces_refresh_policy_is_a_revision_that_every_later_one_keeps() -> None:
    """Whoever starts anew folds the log: a setting that one step forgot would be gone with the next restart."""
    configured = answer(state((A, S.LIVE), (B, S.READY)), command(K.CONFIGURE, None, refresh="value=100/s"), now_ms=NOW_MS)
    assert (configured.outcome, configured.revision, configured.refresh) == (Outcome.ACCEPTED, 8, "value=100/s")
    promoted = answer(configured, command(K.PROMOTE), now_ms=NOW_MS)
    assert promoted.refresh == "value=100/s"
    rejected = reject(answer(promoted, command(K.START, D), now_ms=NOW_MS), D, "it yields NaN", now_ms=NOW_MS)
    assert rejected.refresh == "value=100/s"
    assert answer(rejected, command(K.CONFIGURE, None, refresh=FILES_REFRESH), now_ms=NOW_MS).refresh is None


@pytest.mark.parametrize("refresh", [None, "", "hourly", "every=0s", "value=100", "value=1/s ", "every=30s\n"])
def test_a_refresh_policy_that_is_none_is_refused_with_those_there_are(refresh: str | None) -> None:
    """An embedder must never come upon one in the log."""
    old = state((A, S.LIVE))
    new = answer(old, command(K.CONFIGURE, None, refresh=refresh), now_ms=NOW_MS)
    assert (new.outcome, new.revision, new.refresh) == (Outcome.REFUSED, old.revision, None)
    assert "every=30s" in new.reason


def test_the_log_decides_not_the_writer() -> None:
    """A zombie controller writes the same revision later: the first in log order counts, on every reader."""
    old = state((A, S.LIVE), (B, S.READY))
    ours = answer(old, command(K.PROMOTE), now_ms=NOW_MS)
    zombie = answer(old, command(K.ABORT), now_ms=NOW_MS)
    assert fold(fold(old, ours), zombie) is ours
    assert fold(fold(old, zombie), ours) is zombie
    for record in (ours, old, replace(ours, revision=10), replace(ours, revision=0), replace(ours, revision=-1)):
        assert fold(ours, record) is ours


def test_a_record_of_another_surface_or_a_refusal_never_counts() -> None:
    """Surfaces share one partition, and a refusal only answers its command."""
    old = state((A, S.LIVE))
    for record in (
        replace(old, surface="who-to-follow", revision=8),
        replace(old, outcome=Outcome.REFUSED, revision=8),
        replace(old, outcome=Outcome.LOST, revision=8),
    ):
        assert fold(old, record) is old


def test_the_controller_moves_a_bundle_on_by_itself() -> None:
    """Registered until its topic exists, building until parity; a person decides what follows."""
    old = state((A, S.LIVE), (B, S.REGISTERED))
    assert advance(old, prepared=[], at_parity=[], now_ms=NOW_MS) is None
    building = advance(old, prepared=[B], at_parity=[], now_ms=NOW_MS)
    assert building is not None
    assert stages(building)[B] is S.BUILDING
    assert (building.revision, building.actor) == (8, "controller")
    assert advance(building, prepared=[B], at_parity=[], now_ms=NOW_MS) is None
    ready = advance(building, prepared=[B], at_parity=[B], now_ms=NOW_MS)
    assert ready is not None
    assert stages(ready)[B] is S.READY
    assert advance(ready, prepared=[B], at_parity=[B], now_ms=NOW_MS) is None


def test_an_automatic_bundle_goes_live_at_parity_unless_frozen_or_paused() -> None:
    """The loop closes by itself, and stops when told to."""
    ready = replace(state((A, S.LIVE)), bundles=(BundleStage(A, S.LIVE), BundleStage(B, S.READY, automatic=True)))
    live = advance(ready, prepared=[], at_parity=[B], now_ms=NOW_MS)
    assert live is not None
    assert stages(live) == {A: S.DRAINING, B: S.LIVE}
    assert advance(ready, prepared=[], at_parity=[], now_ms=NOW_MS) is None
    assert advance(replace(ready, frozen=True), prepared=[], at_parity=[B], now_ms=NOW_MS) is None
    paused = fold(ready, answer(ready, command(K.PAUSE), now_ms=NOW_MS))
    assert advance(paused, prepared=[], at_parity=[B], now_ms=NOW_MS) is None
    resumed = fold(paused, answer(paused, command(K.RESUME), now_ms=NOW_MS))
    assert advance(resumed, prepared=[], at_parity=[B], now_ms=NOW_MS) is not None


def test_a_paused_bundle_that_is_promoted_is_paused_no_more() -> None:
    """Otherwise it would come back from a rollback with a brake nobody sees."""
    paused = answer(state((A, S.LIVE), (B, S.READY)), command(K.PAUSE), now_ms=NOW_MS)
    assert paused.bundles[1].paused
    assert not answer(paused, command(K.PROMOTE), now_ms=NOW_MS).bundles[1].paused


@pytest.mark.parametrize("stage", list(S))
def test_only_a_bundle_under_way_can_be_rejected(stage: Stage) -> None:
    """A node's complaint about a file on disk must not take the live bundle away."""
    old = state((B, stage))
    if stage in (S.REGISTERED, S.BUILDING, S.READY, S.CANARY):
        rejected = reject(old, B, "no node can load it", now_ms=NOW_MS)
        assert (stages(rejected)[B], rejected.revision) == (S.REJECTED, 8)
    else:
        with pytest.raises(Refused, match="must be registered"):
            reject(old, B, "no node can load it", now_ms=NOW_MS)


def test_ended_bundles_are_forgotten_but_the_newest_eight() -> None:
    """A record must not grow with every fine-tune for ever."""
    current = nothing_yet(SURFACE)
    for number in range(20):
        for kind in (K.START, K.ABORT):
            current = fold(current, answer(current, command(kind, f"{number:016x}"), now_ms=NOW_MS))
    assert [entry.bundle for entry in current.bundles] == [f"{number:016x}" for number in range(12, 20)]
    assert current.revision == 40


def test_of_ended_bundles_those_that_ended_last_are_remembered_whenever_they_began() -> None:
    """Forgotten as it retires, a bundle that was live for long leaves a topic that the controller never deletes."""
    current = state((A, S.DRAINING), (B, S.LIVE), *((f"{number:016x}", S.ABORTED) for number in range(8)), (C, S.READY))
    after = answer(current, command(K.PROMOTE, C), now_ms=NOW_MS)
    assert stages(after)[A] is S.RETIRED
    assert len(after.in_stage(*ENDED)) == 8
