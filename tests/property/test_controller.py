"""The real controller on logs in memory, killed at any write, among operators, zombies and failing nodes; judged by its history."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lab.history import Entry, History, judge
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
from schemas.surfaces import Surface, load_surfaces
from streams.canary.judge import Reading, Verdict
from streams.canary.sequential import Interval, Sums
from streams.controller.controller import Controller
from streams.controller.log import RolloutLog

SURFACE = "home-timeline"
BUNDLES = [letter * 16 for letter in "abcd"]
NODES = ["node:a", "node:b"]
EMBEDDER = "embedder:0"
UNDER_WAY = (Stage.REGISTERED, Stage.BUILDING, Stage.READY, Stage.CANARY)
# an operator's promotion may find the embedder's newest heartbeat ahead of the nodes' for so long
TURNS_MS = 3_000

bundles = st.sampled_from(BUNDLES)


class Killed(Exception):
    """The process is gone, before or after something that lasts."""


class Cluster:
    """What outlives every controller: both logs, as they were written."""

    def __init__(self) -> None:
        self.now_ms = 1_000_000
        self.entries: list[Entry] = []
        self.commands: list[RolloutCommand] = []
        self.writes_left: int | None = None
        self.dies_after_it = False

    def lasting(self, write: Callable[[], None]) -> None:
        """Do something that lasts; die before or after it when it is time to."""
        dies = self.writes_left == 0
        if self.writes_left is not None:
            self.writes_left -= 1
        if dies and not self.dies_after_it:
            raise Killed
        write()
        if dies:
            raise Killed

    def append(self, record: Rollout) -> None:
        """Write to `rollouts`."""
        self.entries.append(Entry(len(self.entries), self.now_ms, record))


class Journal:
    """See `streams.controller.controller.Journal`: reads on where it writes, begins, or must; a zombie is behind in between."""

    def __init__(self, cluster: Cluster) -> None:
        self.log = RolloutLog()
        self._cluster = cluster
        self._read = 0
        self.refresh()

    def refresh(self) -> None:
        """Read to the end."""
        for entry in self._cluster.entries[self._read :]:
            self.log.take(entry.rollout)
        self._read = len(self._cluster.entries)

    def catch_up(self) -> None:
        """See `Journal`."""
        self.refresh()

    def append(self, record: Rollout) -> None:
        """See `Journal`."""
        self._cluster.lasting(lambda: self._cluster.append(record))
        self.refresh()


class Topics:
    """See `streams.controller.controller.BundleTopics`: each making and deletion is a moment to die at."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def create_anew(self, bundle: str, surface: Surface) -> None:
        """See `BundleTopics`."""
        self._cluster.lasting(lambda: None)

    def delete(self, bundle: str) -> None:
        """See `BundleTopics`."""
        self._cluster.lasting(lambda: None)


class Told:
    """See `streams.controller.controller.Evidence`: says what it is told to."""

    def __init__(self) -> None:
        self.verdict = Verdict.WAIT

    def reading(self, state: Rollout, heard: Iterable[NodeStatus] = (), *, ramp: Sequence[int] = ()) -> Reading | None:
        """See `Evidence`."""
        return Reading(self.verdict, f"it is {self.verdict}", Sums(), Sums(), Interval(0.0, 0.0, 0.0))


class Rollouts(RuleBasedStateMachine):
    """One controller after the other, zombies of theirs, two operators who looked at different times, an embedder and two nodes."""

    def __init__(self) -> None:
        super().__init__()
        self.cluster, self.evidence = Cluster(), Told()
        self.committed = 0
        self.running = True
        self.seen = [0, 0]
        self.silent: set[str] = set()
        # by (instance, bundle), what is wrong and since when; nothing is wrong with what is not named
        self.troubles: dict[tuple[str, str], tuple[str, int]] = {}
        self.journal, self.controller = self._begin()
        self.zombies: list[Controller] = []

    def _begin(self) -> tuple[Journal, Controller]:
        journal = Journal(self.cluster)
        controller = Controller(
            journal,
            Topics(self.cluster),
            surfaces={SURFACE: load_surfaces()[SURFACE]},
            admit=lambda _: None,
            evidence=self.evidence,
            partitions=1,
            silence_ms=10_000,
            let_go_ms=1_000,
            let_go_at_most_ms=2_000,
            asked=self.cluster.commands,
        )
        return journal, controller

    @property
    def state(self) -> Rollout:
        """The rollout by the whole log."""
        return Journal(self.cluster).log.state(SURFACE)

    def _heard(self) -> list[NodeStatus]:
        return [self._status(instance) for instance in (EMBEDDER, *NODES) if instance not in self.silent]

    def _status(self, instance: str) -> NodeStatus:
        source = {"tweets": SourcePosition(1, self.cluster.now_ms)}
        wrong = {bundle: self.troubles.get((instance, bundle), ("", 0))[0] for bundle in BUNDLES}
        progress = tuple(
            Progress(
                SURFACE,
                bundle,
                0,
                source,
                embeddings_end=5,
                applied=5 - (what == "behind"),
                backfill_done=what not in ("holed", "refused"),
            )
            for bundle, what in wrong.items()
        )
        held = {bundle: 0.1 if what in ("holed", "refused") else 1.0 for bundle, what in wrong.items()}
        errors = tuple(f"{bundle}: it cannot be loaded" for bundle, what in wrong.items() if what == "refused")
        return NodeStatus(instance, self.cluster.now_ms, ready=True, progress=progress, coverage=held, recall=held, errors=errors)

    @initialize()
    def one_is_live_and_another_ready(self) -> None:
        """Begin where decisions are."""
        for number, bundle in enumerate(BUNDLES[:2]):
            self._send(CommandKind.START, bundle, automatic=not number)
            self._work()

    def _send(self, kind: CommandKind, bundle: str | None = None, *, expected: int | None = None, **details: Any) -> None:
        command_id = f"c{len(self.cluster.commands)}"
        command = RolloutCommand(command_id, SURFACE, kind, bundle=bundle, expected_revision=expected, **details)
        self.cluster.commands.append(command)

    @rule(bundle=bundles, automatic=st.booleans())
    def start(self, bundle: str, *, automatic: bool) -> None:
        """The schedule, or an operator, starts a bundle."""
        self._send(CommandKind.START, bundle, automatic=automatic)

    @precondition(lambda self: self.state.in_stage(*UNDER_WAY))
    @rule(automatic=st.booleans(), ramp_bp=st.sampled_from([(), (5_000,)]))
    def try_it_on_users(self, *, automatic: bool, ramp_bp: tuple[int, ...]) -> None:
        """An operator asks for a canary of what is under way."""
        bundle = self.state.in_stage(*UNDER_WAY)[0].bundle
        self._send(CommandKind.CANARY, bundle, share_bp=1_000, automatic=automatic, ramp_bp=ramp_bp, ramp_hold_s=len(ramp_bp))

    @precondition(lambda self: self.state.in_stage(*UNDER_WAY))
    @rule(kind=st.sampled_from([CommandKind.PROMOTE, CommandKind.PAUSE, CommandKind.RESUME, CommandKind.ABORT]))
    def decide(self, kind: CommandKind) -> None:
        """An operator decides on what is under way."""
        self._send(kind, self.state.in_stage(*UNDER_WAY)[0].bundle)

    @rule(kind=st.sampled_from(CommandKind), bundle=bundles, operator=st.integers(0, 1))
    def insist(self, kind: CommandKind, bundle: str, operator: int) -> None:
        """An operator asks for anything, of the revision that this operator saw last."""
        self._send(kind, bundle, expected=self.seen[operator], refresh="every=5s", share_bp=500)

    @rule(operator=st.integers(0, 1))
    def look(self, operator: int) -> None:
        """An operator looks at the surface."""
        self.seen[operator] = self.state.revision

    @rule(frozen=st.booleans())
    def freeze(self, *, frozen: bool) -> None:
        """An operator stops, or lets go on, what happens by itself."""
        self._send(CommandKind.FREEZE if frozen else CommandKind.UNFREEZE)

    @precondition(lambda self: self.state.in_stage(*UNDER_WAY))
    @rule(
        instances=st.sampled_from([(EMBEDDER,), *((node,) for node in NODES), (EMBEDDER, *NODES)]),
        what=st.sampled_from(["holed", "refused", "behind", ""]),
        hasty=st.booleans(),
    )
    def fail(self, instances: tuple[str, ...], what: str, *, hasty: bool) -> None:
        """Instances fall behind with what is under way, lose a part, or cannot load it; somebody may promote it all the same."""
        bundle = self.state.in_stage(*UNDER_WAY)[0].bundle
        for instance in instances:
            self.troubles[instance, bundle] = (what, self.cluster.now_ms)
        if hasty:
            self._send(CommandKind.PROMOTE, bundle)

    @rule(node=st.sampled_from(NODES), joins=st.booleans())
    def come_or_go(self, node: str, *, joins: bool) -> None:
        """A node falls silent, or comes with nothing but the live bundle."""
        if not joins:
            self.silent.add(node)
        elif node in self.silent:
            self.silent.discard(node)
            self.troubles.update(
                {(node, bundle): ("holed", self.cluster.now_ms) for bundle in BUNDLES if bundle != self.state.live}
            )

    @rule(verdict=st.sampled_from(Verdict))
    def read_the_evidence(self, verdict: Verdict) -> None:
        """The users of a canary have shown something."""
        self.evidence.verdict = verdict

    @rule(seconds=st.integers(1, 5))
    def wait(self, seconds: int) -> None:
        """Time passes."""
        self.cluster.now_ms += 1000 * seconds

    @rule(running=st.booleans())
    def run_or_rest(self, *, running: bool) -> None:
        """The controller's process is away for a while, and commands gather."""
        self.running = running

    @rule(writes=st.integers(0, 4), after=st.booleans())
    def die_soon(self, writes: int, *, after: bool) -> None:
        """Whoever controls is killed before or after one of the next writes."""
        self.cluster.writes_left, self.cluster.dies_after_it = writes, after

    @invariant()
    def it_goes_on(self) -> None:
        """The controller answers what it was not seen to answer and takes the steps that are due; another follows one that died."""
        if self.running:
            with suppress(Killed):
                self._work()
                return
            self.cluster.writes_left = None
            self.journal, self.controller = self._begin()

    @rule()
    def be_cut_off(self) -> None:
        """Another controller begins while this one believes it is the only one."""
        self.zombies.append(self.controller)
        self.journal, self.controller = self._begin()

    @precondition(lambda self: self.zombies)
    @rule(data=st.data())
    def be_a_zombie(self, data: st.DataObject) -> None:
        """One that was cut off goes on from what it remembers, with any of the commands."""
        zombie = data.draw(st.sampled_from(self.zombies))
        command = data.draw(st.sampled_from(self.cluster.commands))
        with suppress(Killed):
            with_flips_looked_at(self, lambda: zombie.answer(command, self._heard(), self.cluster.now_ms))
            with_flips_looked_at(self, lambda: zombie.step(self._heard(), self.cluster.now_ms))
            return
        self.cluster.writes_left = None
        self.zombies.remove(zombie)

    @rule(again=st.integers(1, 5))
    def redeliver(self, again: int) -> None:
        """The commit of some commands was lost."""
        self.committed = max(0, self.committed - again)

    def _work(self) -> None:
        with_flips_looked_at(self, self._answer_and_step)

    def _answer_and_step(self) -> None:
        self.journal.refresh()
        for command in self.cluster.commands[self.committed :]:
            self.controller.answer(command, self._heard(), self.cluster.now_ms)
        before = self.state
        self.controller.step(self._heard(), self.cluster.now_ms)
        self.committed = len(self.cluster.commands)
        if not before.frozen and not before.in_stage(*UNDER_WAY):
            assert self._promised() is None, f"the start of {self._promised()} was promised, and nothing keeps it waiting"
        for entry in self.state.in_stage(Stage.BUILDING, Stage.READY, Stage.CANARY):
            if entry.bundle in {one.bundle for one in before.in_stage(Stage.BUILDING, Stage.READY, Stage.CANARY)}:
                assert self._trouble(EMBEDDER, entry.bundle) != "refused", f"{entry.bundle} is {entry.state}; it cannot be embedded"
                refuse = {node for node in NODES if self._trouble(node, entry.bundle) == "refused"}
                assert not (heard := set(NODES) - self.silent) or not heard <= refuse, (
                    f"{entry.bundle} is {entry.state}; no node loads it"
                )

    def _trouble(self, instance: str, bundle: str) -> str:
        return self.troubles.get((instance, bundle), ("", 0))[0]

    def _promised(self) -> str | None:
        """Return the bundle whose automatic start was put off last, unless a rollout began since; by the log's own sentences."""
        starts = {command.command_id: command.bundle for command in self.cluster.commands}
        log, promised = RolloutLog(), None
        for entry in self.cluster.entries:
            record, known = entry.rollout, log.outcomes.get(entry.rollout.command_id)
            counts = log.take(record)
            if (
                counts
                and record.outcome is Outcome.ACCEPTED
                and any(one.salt == record.command_id for one in record.in_stage(Stage.REGISTERED))
            ):
                promised = None
            elif (
                known is None
                and record.outcome is Outcome.REFUSED
                and ("starts after it" in record.reason or "wait for" in record.reason)
            ):
                promised = starts[record.command_id]
        return promised

    def teardown(self) -> None:
        """The last controller answers what is left; a checker that shares no code with it reads what all of them wrote."""
        self.cluster.writes_left = None
        self._work()
        verdict = judge(History(tuple(self.cluster.entries), tuple(self.cluster.commands)))
        assert verdict.violations == ()


def with_flips_looked_at(machine: Rollouts, act: Callable[[], None]) -> None:
    """Do something, and assert that what goes live by it is held by every node in full; a rollback asks nobody."""
    before = machine.state
    try:
        act()
    finally:
        was = {entry.bundle: entry.state for entry in before.bundles}
        live = machine.state.live
        if live is not None and was.get(live) not in (Stage.LIVE, Stage.DRAINING):
            assert set(NODES) - machine.silent, f"{live} went live, and no node is heard of"
            for instance in {EMBEDDER, *NODES} - machine.silent:
                what, since_ms = machine.troubles.get((instance, live), ("", 0))
                in_turn = what == "behind" and (instance == EMBEDDER or machine.cluster.now_ms - since_ms < TURNS_MS)
                assert not what or in_turn, f"{live} went live, and {instance} is {what}"


TestController = Rollouts.TestCase
TestController.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
