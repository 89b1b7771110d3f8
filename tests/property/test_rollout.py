"""Any commands in any order from any number of controllers: the rollout's invariants hold, and every log folds to one state."""

import random
from functools import reduce

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from schemas.codec import decode, encode
from schemas.records.control import ENDED, CommandKind, Outcome, Rollout, RolloutCommand, Stage
from schemas.rollout import MAX_BUNDLES, UNDER_WAY, advance, answer, fold, nothing_yet, ramp_due, ramped
from schemas.surfaces import FILES_REFRESH, refresh_fault

SURFACE = "home-timeline"
BUNDLES = [letter * 16 for letter in "abcde"]
ALLOWED: dict[Stage | None, set[Stage]] = {
    None: {Stage.REGISTERED},
    Stage.REGISTERED: {Stage.BUILDING, Stage.REJECTED, Stage.ABORTED},
    Stage.BUILDING: {Stage.READY, Stage.REJECTED, Stage.ABORTED},
    Stage.READY: {Stage.CANARY, Stage.LIVE, Stage.REJECTED, Stage.ABORTED},
    Stage.CANARY: {Stage.LIVE, Stage.REJECTED, Stage.ABORTED},
    Stage.LIVE: {Stage.DRAINING},
    Stage.DRAINING: {Stage.LIVE, Stage.RETIRED},
    **{stage: {Stage.REGISTERED} for stage in ENDED},
}

commands = st.builds(
    RolloutCommand,
    command_id=st.text("abc", min_size=1, max_size=4),
    surface=st.just(SURFACE),
    kind=st.sampled_from(CommandKind),
    bundle=st.none() | st.sampled_from(BUNDLES),
    expected_revision=st.none() | st.integers(0, 30),
    share_bp=st.none() | st.integers(-1, 10_001),
    automatic=st.booleans(),
    ramp_bp=st.lists(st.integers(0, 10_001), max_size=3).map(tuple),
    ramp_hold_s=st.integers(-1, 2),
    refresh=st.none() | st.sampled_from(["write-time", "every=5s", "value=0/s", "hourly", FILES_REFRESH]),
)


def check(state: Rollout) -> None:
    """Assert what must hold in every state."""
    active = [entry for entry in state.bundles if entry.state not in ENDED]
    assert len(state.in_stage(Stage.LIVE)) <= 1
    assert len(state.in_stage(Stage.DRAINING)) <= 1
    assert len(state.in_stage(Stage.CANARY)) <= 1
    assert len(active) <= MAX_BUNDLES
    assert len({entry.bundle for entry in state.bundles}) == len(state.bundles)
    assert not state.ramp_bp or state.in_stage(Stage.CANARY)
    assert all((entry.share_bp > 0) == (entry.state is Stage.CANARY) for entry in state.bundles)
    assert all(entry.state in UNDER_WAY for entry in state.bundles if entry.paused)
    assert state.refresh is None or not refresh_fault(state.refresh)


def check_step(old: Rollout, new: Rollout) -> None:
    """Assert that a step is one the contracts allow."""
    assert new.revision == old.revision + 1
    before = {entry.bundle: entry.state for entry in old.bundles}
    for entry in new.bundles:
        was = before.get(entry.bundle)
        assert entry.state == was or entry.state in ALLOWED[was], f"{was} to {entry.state}"
    gone = before.keys() - {entry.bundle for entry in new.bundles}
    assert all(before[bundle] in ENDED for bundle in gone)
    if old.live is not None:
        assert new.live is not None
    if new.refresh != old.refresh:
        assert (new.bundles, new.frozen, new.ramp_bp) == (old.bundles, old.frozen, old.ramp_bp)


class Rollouts(RuleBasedStateMachine):
    """Two controllers, one of them a zombie that answers from an old state, write one log."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[Rollout] = []
        self.state = nothing_yet(SURFACE)
        self.stale = self.state

    def _append(self, record: Rollout) -> None:
        self.log.append(record)
        self.state = fold(self.state, record)

    @rule(command=commands)
    def ask(self, command: RolloutCommand) -> None:
        """An operator asks the true controller."""
        old, record = self.state, answer(self.state, command, now_ms=len(self.log))
        self._append(record)
        if record.outcome is Outcome.ACCEPTED:
            check_step(old, record)
            assert self.state is record
            asked = command.kind is CommandKind.CONFIGURE
            assert record.refresh == ((None if command.refresh == FILES_REFRESH else command.refresh) if asked else old.refresh)
        else:
            assert record.reason
            assert self.state is old

    @rule(prepared=st.sets(st.sampled_from(BUNDLES)), at_parity=st.sets(st.sampled_from(BUNDLES)))
    def move_on(self, prepared: set[str], at_parity: set[str]) -> None:
        """The controller takes its own next step."""
        old, record = self.state, advance(self.state, prepared=prepared, at_parity=at_parity, now_ms=len(self.log))
        if record is not None:
            self._append(record)
            check_step(old, record)
            assert record.refresh == old.refresh

    @rule()
    def go_on_with_the_ramp(self) -> None:
        """The controller gives the canary its next share: never a smaller one."""
        old, canary = self.state, ramp_due(self.state, len(self.log))
        if canary is not None:
            self._append(ramped(old, canary.bundle, "held", now_ms=len(self.log)))
            check_step(old, self.state)
            assert self.state.in_stage(Stage.CANARY)[0].share_bp > canary.share_bp

    @rule(command=commands)
    def ask_the_zombie(self, command: RolloutCommand) -> None:
        """A controller that was cut off answers from the state it remembers."""
        before, behind = self.state, self.stale.revision < self.state.revision
        self._append(answer(self.stale, command, now_ms=len(self.log)))
        if behind:
            assert self.state is before

    @rule()
    def the_zombie_catches_up(self) -> None:
        """It reads the log again."""
        self.stale = self.state

    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        """The log's transport repeats a record."""
        if self.log:
            before = self.state
            self._append(data.draw(st.sampled_from(self.log)))
            assert self.state is before

    @invariant()
    def the_state_is_sound(self) -> None:
        """At most one live, one draining, one canary, three active."""
        check(self.state)

    def teardown(self) -> None:
        """Whoever reads the log, from bytes and with every record twice, gets the same state."""
        start = nothing_yet(SURFACE)
        again = [decode(Rollout, encode(record)) for record in self.log for _ in range(2)]
        assert reduce(fold, again, start) == reduce(fold, self.log, start) == self.state


TestRollouts = Rollouts.TestCase
TestRollouts.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


@given(st.lists(commands, max_size=25), st.randoms(use_true_random=False))
def test_refusing_never_changes_the_state(asked: list[RolloutCommand], rng: random.Random) -> None:
    """A refusal carries the state it refused at: whoever reads only the last record sees the truth."""
    state = nothing_yet(SURFACE)
    for command in asked:
        record = answer(state, command, now_ms=rng.randrange(10**6))
        if record.outcome is not Outcome.ACCEPTED:
            assert (record.revision, record.bundles, record.frozen) == (state.revision, state.bundles, state.frozen)
            assert record.refresh == state.refresh
        state = fold(state, record)
