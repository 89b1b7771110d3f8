"""The checker of recorded histories: silent on what the controller and nodes do, and loud on each planted violation."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from lab.history import Entry, History, Observed, judge
from lab.history.answer_rules import MAX_BEHIND_MS
from schemas.features.hashing import canary_bucket
from schemas.records.control import BundleStage, CommandKind, Outcome, Rollout, RolloutCommand, Stage
from schemas.rollout import advance, answer, fold, nothing_yet, reject
from schemas.surfaces import FILES_REFRESH

HOME = "home-timeline"
FIRST, SECOND, THIRD, NEVER = ("1" * 16, "2" * 16, "3" * 16, "f" * 16)


class Recorder:
    """A log as the controller writes it, a second a record, and commands as it was asked."""

    def __init__(self) -> None:
        self.state = nothing_yet(HOME)
        self.entries: list[Entry] = []
        self.commands: list[RolloutCommand] = []

    def append(self, record: Rollout) -> None:
        """Write a record and fold it."""
        self.entries.append(Entry(len(self.entries), 1_000 * (len(self.entries) + 1), record))
        self.state = fold(self.state, record)

    def ask(self, kind: CommandKind, bundle: str | None = None, **details: int | str) -> None:
        """Have a command answered."""
        command = RolloutCommand(f"c{len(self.commands)}", HOME, kind, bundle=bundle, **details)  # type: ignore[arg-type]
        self.commands.append(command)
        self.append(answer(self.state, command, now_ms=0))

    def build(self, bundle: str) -> None:
        """Take a bundle from its start to ready."""
        self.ask(CommandKind.START, bundle)
        for _ in range(2):
            step = advance(self.state, prepared={bundle}, at_parity={bundle}, now_ms=0)
            assert step is not None
            self.append(step)

    @property
    def now_ms(self) -> int:
        """When the last record was appended."""
        return self.entries[-1].append_ms


def recorded() -> tuple[Recorder, list[Observed]]:
    """Return a long sound history: rollouts, a canary, refusals, a lost command, an abort, a reject, rollbacks, a retirement."""
    log = Recorder()
    answers: list[Observed] = []

    def see() -> None:
        live = log.state.live
        canary = log.state.in_stage(Stage.CANARY)
        for n in range(20):
            user_id = f"u:{n}" if n else None
            sampled = bool(canary) and user_id is not None and canary_bucket(canary[0].salt, user_id) < canary[0].share_bp
            bundle = canary[0].bundle if sampled else live
            assert bundle is not None
            asked_ms = log.now_ms + 100 + 10 * n
            answers.append(
                Observed(f"n{n % 2}", HOME, f"r{len(answers)}", bundle, log.state.revision, asked_ms, asked_ms + 5, user_id)
            )

    log.build(FIRST)
    log.ask(CommandKind.PROMOTE, FIRST)
    see()
    log.build(SECOND)
    log.ask(CommandKind.CANARY, SECOND, share_bp=5_000)
    see()
    log.ask(CommandKind.PROMOTE, NEVER)
    log.ask(CommandKind.PROMOTE, SECOND, expected_revision=1)
    log.ask(CommandKind.PROMOTE, SECOND, expected_revision=log.state.revision)
    see()
    log.ask(CommandKind.ROLLBACK)
    see()
    log.build(THIRD)
    log.ask(CommandKind.ABORT, THIRD)
    log.ask(CommandKind.START, THIRD)
    log.append(reject(log.state, THIRD, "it yields NaN", now_ms=0))
    log.build(THIRD)
    log.ask(CommandKind.CONFIGURE, refresh="value=100/s")
    log.ask(CommandKind.CONFIGURE, refresh="hourly")
    log.ask(CommandKind.FREEZE)
    log.ask(CommandKind.PROMOTE, THIRD)
    see()
    log.ask(CommandKind.CONFIGURE, refresh=FILES_REFRESH)
    log.ask(CommandKind.RETIRE, FIRST)
    see()
    return log, answers


def history() -> History:
    """Return the sound history."""
    log, answers = recorded()
    return History(tuple(log.entries), tuple(log.commands), tuple(answers))


def rules(found: History) -> set[str]:
    """Return the names of the rules broken."""
    return {violation.rule for violation in judge(found).violations}


def changed(whole: History, at: int, **changes: object) -> History:
    """Return the history with one record of the log changed; negative counts from the end."""
    entries = list(whole.entries)
    entries[at] = replace(entries[at], rollout=replace(entries[at].rollout, **changes))  # type: ignore[arg-type]
    return replace(whole, entries=tuple(entries))


def where(whole: History, stage: Stage, bundle: str) -> int:
    """Return the place of the first record with a bundle in a stage."""
    return next(
        at
        for at, entry in enumerate(whole.entries)
        if any(named.bundle == bundle and named.state is stage for named in entry.rollout.bundles)
    )


def test_a_sound_history_breaks_no_rule() -> None:
    """A checker that cries wolf is switched off."""
    verdict = judge(history())
    assert verdict.violations == ()
    assert (verdict.sound, verdict.answers) == (True, 120)
    assert "no rule broken" in verdict.sentence()


def test_an_empty_log_is_no_proof() -> None:
    """A checker that read the wrong topic must not report success."""
    assert rules(History((), ())) == {"nothing recorded"}


def two_live(whole: History) -> History:
    """Leave the old bundle live beside the new one."""
    at = where(whole, Stage.DRAINING, FIRST)
    bundles = [replace(e, state=Stage.LIVE) if e.bundle == FIRST else e for e in whole.entries[at].rollout.bundles]
    return changed(whole, at, bundles=tuple(bundles))


def revision_gap(whole: History) -> History:
    """Lose a record."""
    return replace(whole, entries=whole.entries[:5] + whole.entries[6:])


def lost_winner(whole: History) -> History:
    """Let a second controller abort the canary first; ours goes on as if it had not happened."""
    at = where(whole, Stage.LIVE, SECOND)
    ours = whole.entries[at]
    before = whole.entries[where(whole, Stage.CANARY, SECOND)].rollout
    bundles = tuple(replace(e, state=Stage.ABORTED, share_bp=0) if e.bundle == SECOND else e for e in before.bundles)
    winner = replace(before, revision=ours.rollout.revision, command_id="", outcome=Outcome.ACCEPTED, bundles=bundles)
    entries = [*whole.entries[:at], Entry(ours.offset, ours.append_ms - 1, winner), *whole.entries[at:]]
    return replace(whole, entries=tuple(entries))


def stage_skipped(whole: History) -> History:
    """Go live straight from building."""
    at = where(whole, Stage.READY, FIRST)
    bundles = tuple(replace(e, state=Stage.LIVE) for e in whole.entries[at].rollout.bundles)
    return changed(whole, at, bundles=bundles)


def stale_winner(whole: History) -> History:
    """Accept a command that insisted on another revision."""
    at = where(whole, Stage.LIVE, SECOND)
    command_id = whole.entries[at].rollout.command_id
    commands = [replace(c, expected_revision=3) if c.command_id == command_id else c for c in whole.commands]
    return replace(whole, commands=tuple(commands))


def acted_twice(whole: History) -> History:
    """Act on one command again after a crash."""
    return changed(whole, where(whole, Stage.CANARY, SECOND), command_id="c0")


def never_asked(whole: History) -> History:
    """Act on a command that nobody sent."""
    return changed(whole, where(whole, Stage.CANARY, SECOND), command_id="nobody")


def never_answered(whole: History) -> History:
    """Leave an operator waiting."""
    return replace(whole, commands=(*whole.commands, RolloutCommand("lost", HOME, CommandKind.FREEZE)))


def forgotten(whole: History) -> History:
    """Forget an active bundle, and with it its index."""
    at = where(whole, Stage.READY, SECOND)
    return changed(whole, at, bundles=tuple(e for e in whole.entries[at].rollout.bundles if e.bundle != FIRST))


def salt_changed(whole: History) -> History:
    """Move every user of a canary to the other arm."""
    at = where(whole, Stage.CANARY, SECOND)
    bundles = tuple(replace(e, salt="other") if e.bundle == SECOND else e for e in whole.entries[at].rollout.bundles)
    return changed(whole, at, bundles=bundles)


def setting_forgotten(whole: History) -> History:
    """Lose a surface's refresh policy in the revision after the one that set it."""
    at = next(at for at, entry in enumerate(whole.entries) if entry.rollout.refresh and entry.rollout.frozen)
    return changed(whole, at, refresh=None)


def setting_misread(whole: History) -> History:
    """Set another policy than was asked for."""
    at = next(at for at, entry in enumerate(whole.entries) if entry.rollout.refresh)
    return changed(whole, at, refresh="value=1/s")


def setting_beside(whole: History) -> History:
    """Change a policy in the revision that moves a bundle."""
    return changed(whole, where(whole, Stage.CANARY, SECOND), refresh="threshold")


def edited(whole: History, at: int, bundle: str, **changes: object) -> History:
    """Return the history with one bundle of one record changed."""
    bundles = whole.entries[at].rollout.bundles
    return changed(whole, at, bundles=tuple(replace(e, **changes) if e.bundle == bundle else e for e in bundles))  # type: ignore[arg-type]


def named_twice(whole: History) -> History:
    """Name a building bundle a second time."""
    at = where(whole, Stage.BUILDING, FIRST)
    return changed(whole, at, bundles=whole.entries[at].rollout.bundles * 2)


def two_draining(whole: History) -> History:
    """Keep the bundle that drained draining beside the one that begins to: two indexes too many."""
    return edited(whole, where(whole, Stage.LIVE, THIRD), SECOND, state=Stage.DRAINING)


def two_canaries(whole: History) -> History:
    """Have a second canary: a user would be in both."""
    at = where(whole, Stage.CANARY, SECOND)
    return changed(whole, at, bundles=(*whole.entries[at].rollout.bundles, BundleStage(THIRD, Stage.CANARY, 1, "s")))


def four_bundles(whole: History) -> History:
    """Begin two more beside a live one and one that is built."""
    at = where(whole, Stage.BUILDING, SECOND)
    more = tuple(BundleStage(bundle, Stage.REGISTERED, salt="s") for bundle in (THIRD, NEVER))
    return changed(whole, at, bundles=(*whole.entries[at].rollout.bundles, *more))


def stage_of_tomorrow(whole: History) -> History:
    """Read a stage that a newer controller wrote."""
    return edited(whole, where(whole, Stage.BUILDING, FIRST), FIRST, state=Stage.UNKNOWN)


def canary_of_nobody(whole: History) -> History:
    """Have a canary that gets no user."""
    return edited(whole, where(whole, Stage.CANARY, SECOND), SECOND, share_bp=0)


def share_kept(whole: History) -> History:
    """Leave its share with what is no canary any more."""
    return edited(whole, where(whole, Stage.LIVE, SECOND), SECOND, share_bp=5_000)


def nothing_takes_its_place(whole: History) -> History:
    """Drain what is live and have nothing else go live."""
    return edited(whole, where(whole, Stage.CANARY, SECOND), FIRST, state=Stage.DRAINING)


def built_and_begun(whole: History) -> History:
    """Begin a bundle in the revision in which another is ready."""
    at = where(whole, Stage.READY, SECOND)
    begun = BundleStage(THIRD, Stage.REGISTERED, salt="s")
    return changed(whole, at, bundles=(*whole.entries[at].rollout.bundles, begun))


def begun_in_a_flip(whole: History) -> History:
    """Begin a bundle in the revision of a flip."""
    at = where(whole, Stage.LIVE, SECOND)
    begun = BundleStage(THIRD, Stage.REGISTERED, salt="s")
    return changed(whole, at, bundles=(*whole.entries[at].rollout.bundles, begun))


LOG_PLANTS: dict[str, Callable[[History], History]] = {
    "two live": two_live,
    "gap": revision_gap,
    "illegal step": lost_winner,
    "compare-and-set": stale_winner,
    "twice": acted_twice,
    "nobody asked": never_asked,
    "no outcome": never_answered,
    "vanished": forgotten,
    "salt": salt_changed,
    "setting": setting_forgotten,
}


@pytest.mark.parametrize("rule", LOG_PLANTS)
def test_each_violation_planted_in_the_log_is_found(rule: str) -> None:
    """A checker that was never seen to fail proves nothing."""
    assert rule in rules(LOG_PLANTS[rule](history()))


STATE_PLANTS: list[tuple[Callable[[History], History], str]] = [
    (named_twice, "bundle twice"),
    (two_draining, "two draining"),
    (two_canaries, "two canary"),
    (four_bundles, "too many bundles"),
    (stage_of_tomorrow, "unknown stage"),
    (canary_of_nobody, "share"),
    (share_kept, "share"),
    (nothing_takes_its_place, "nothing live"),
    (built_and_begun, "two steps"),
    (begun_in_a_flip, "two steps"),
]


@pytest.mark.parametrize(("plant", "rule"), STATE_PLANTS)
def test_each_state_and_step_that_may_not_be_is_found_by_the_rule_that_forbids_it(
    plant: Callable[[History], History], rule: str
) -> None:
    """Rules overlap: one that another covers today could be lost unseen, and with it what only it would find tomorrow."""
    assert rule in rules(plant(history()))


@pytest.mark.parametrize(("plant", "rule"), [(setting_misread, "setting"), (setting_beside, "two steps")])
def test_a_setting_that_nobody_asked_for_is_found(plant: Callable[[History], History], rule: str) -> None:
    """Embedders follow what the log says, whoever's error it is."""
    assert rule in rules(plant(history()))


def test_a_setting_that_changes_without_a_command_is_found_in_a_log_alone() -> None:
    """The controller changes no setting by itself; where commands were not kept, that is all there is to compare."""
    whole = replace(history(), commands=())
    at = where(whole, Stage.READY, SECOND)
    assert rules(whole) == set()
    assert "setting" in rules(changed(whole, at, refresh="threshold"))


def test_a_skipped_stage_is_found() -> None:
    """Building to live without parity is a mixed or half-empty answer."""
    assert "illegal step" in rules(stage_skipped(history()))


def test_a_zombie_s_record_that_came_second_is_harmless() -> None:
    """The log is the compare-and-set: whoever comes second does not count, and that is no violation."""
    whole = history()
    entry = whole.entries[4]
    zombie = Entry(99, entry.append_ms + 1, replace(entry.rollout, command_id="", reason="a zombie's", bundles=()))
    assert rules(replace(whole, entries=(*whole.entries[:5], zombie, *whole.entries[5:]))) == set()


def last(whole: History, **changes: object) -> History:
    """Return the history with its last answer changed."""
    return replace(whole, answers=(*whole.answers[:-1], replace(whole.answers[-1], **changes)))  # type: ignore[arg-type]


ANSWER_PLANTS: dict[str, dict[str, object]] = {
    "unknown epoch": {"bundle": NEVER},
    "ended epoch": {"bundle": FIRST},
    "mixed": {"fault": "it differs from its bundle by 0.3"},
    "unknown revision": {"revision": 999},
    "from the future": {"asked_ms": 1_000, "answered_ms": 1_005},
    "backwards": {"revision": 4, "bundle": FIRST},
}


@pytest.mark.parametrize("rule", ANSWER_PLANTS)
def test_each_violation_planted_in_the_answers_is_found(rule: str) -> None:
    """An answer of a retired epoch looks like any other to whoever gets it."""
    assert rule in rules(last(history(), **ANSWER_PLANTS[rule]))


def test_a_node_stuck_at_an_old_revision_is_found_and_one_that_is_a_moment_behind_is_not() -> None:
    """A node behind answers with its own epoch, for a moment; for ever is a fault."""
    whole = history()
    at = next(n for n, one in enumerate(whole.answers) if one.revision != whole.answers[0].revision) - 1
    old = whole.answers[at]
    following_ms = whole.entries[old.revision].append_ms
    late = replace(old, node="n9", asked_ms=following_ms + MAX_BEHIND_MS, answered_ms=following_ms + MAX_BEHIND_MS)
    assert rules(replace(whole, answers=(late,))) == set()
    stuck = replace(late, asked_ms=late.asked_ms + 1, answered_ms=late.answered_ms + 1)
    assert rules(replace(whole, answers=(stuck,))) == {"stuck"}


def test_an_answer_by_the_wrong_arm_is_found_pinned_ones_apart() -> None:
    """A user who sees both arms of a canary spoils the comparison, and may see a tweet vanish."""
    whole = history()
    at = next(n for n, one in enumerate(whole.answers) if one.bundle == SECOND)
    wrong = replace(whole.answers[at], bundle=FIRST, request_id="other", node="n9")
    assert rules(replace(whole, answers=(*whole.answers, wrong))) == {"wrong arm", "not sticky"}
    assert rules(replace(whole, answers=(*whole.answers, replace(wrong, pinned=True)))) == set()


def test_an_answer_by_a_bundle_that_drains_is_found_pinned_ones_apart() -> None:
    """It is as fresh as the live one's, and still not what the operator chose."""
    whole = history()
    at = next(n for n, one in enumerate(whole.answers) if (one.bundle, one.revision) == (SECOND, whole.answers[50].revision))
    wrong = replace(whole.answers[at], bundle=FIRST, user_id=None)
    assert rules(replace(whole, answers=(wrong,))) == {"wrong epoch"}
    assert rules(replace(whole, answers=(replace(wrong, pinned=True),))) == set()


def test_an_unreadable_record_is_a_violation() -> None:
    """The control plane has one writer; whatever else is in its log was not written by it."""
    assert rules(replace(history(), unreadable=("rollouts/3: not a record",))) == {"unreadable"}
