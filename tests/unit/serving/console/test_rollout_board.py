"""The rollout board: what may be done at each stage, how far a bundle is, and what the log says happened."""

import pytest

from schemas.parity import progress_of
from schemas.records.control import SILENCE_MS, CommandKind, Outcome, Rollout, RolloutCommand, Stage
from schemas.rollout import answer
from serving.console.readings import Moment
from serving.console.views.rollouts import SurfaceBoard, board, find_action, history_lines
from tests.console_fakes import HOME, LIVE, NEXT, NOW_MS, SPARE, FakeCatalog, embedder, manifest, moment, node, rollout, stage


def board_of(state: Rollout, *moments: Moment) -> SurfaceBoard:
    """Return the board of a state."""
    return board(moments or [moment(state)], HOME, FakeCatalog())


STATES = [
    rollout(stage(LIVE, Stage.LIVE)),
    rollout(stage(LIVE, Stage.LIVE), frozen=True),
    *(rollout(stage(LIVE, Stage.LIVE), stage(NEXT, state)) for state in (Stage.REGISTERED, Stage.BUILDING, Stage.READY)),
    rollout(stage(LIVE, Stage.LIVE), stage(NEXT, Stage.CANARY, share_bp=500)),
    rollout(stage(LIVE, Stage.LIVE), stage(NEXT, Stage.READY, paused=True)),
    rollout(stage(LIVE, Stage.DRAINING), stage(NEXT, Stage.LIVE)),
    rollout(stage(LIVE, Stage.LIVE), stage(NEXT, Stage.ABORTED)),
]


@pytest.mark.parametrize("state", STATES)
def test_every_button_is_a_command_the_controller_would_accept_now(state: Rollout) -> None:
    """A button that is always refused teaches people to distrust the page: the rules are asked, not copied."""
    shown = board_of(state)
    actions = [*shown.actions, *(a for card in shown.bundles for a in card.actions), *(one.action for one in shown.unrolled)]
    assert actions
    for action in actions:
        share = 100 if action.needs == "share" else None
        command = RolloutCommand("c1", HOME.name, action.kind, bundle=action.bundle, expected_revision=5, share_bp=share)
        assert answer(state, command, now_ms=NOW_MS).outcome is Outcome.ACCEPTED, action


def test_a_bundle_that_was_never_rolled_out_can_be_started_and_one_that_is_known_cannot() -> None:
    """The registry holds what the log does not name yet."""
    shown = board_of(rollout(stage(LIVE, Stage.LIVE)))
    assert [one.bundle for one in shown.unrolled] == [NEXT]
    assert find_action(shown, "start", NEXT) is not None
    assert find_action(shown, "start", LIVE) is None
    assert find_action(shown, "promote", LIVE) is None


def test_the_live_bundle_comes_first_and_ended_ones_apart() -> None:
    """What answers users now is what people look for."""
    shown = board_of(rollout(stage(NEXT, Stage.BUILDING), stage(SPARE, Stage.ABORTED), stage(LIVE, Stage.LIVE)))
    assert [card.bundle for card in shown.bundles] == [LIVE, NEXT]
    assert [card.bundle for card in shown.ended] == [SPARE]


def test_gates_and_metrics_come_from_the_manifest_and_a_missing_bundle_is_no_error() -> None:
    """Another machine's registry may not be mounted here; the board still works."""
    catalog = FakeCatalog({LIVE: manifest(passed=False, auc=0.7123, secret=1.0)})
    shown = board([moment(rollout(stage(LIVE, Stage.LIVE), stage(SPARE, Stage.BUILDING)))], HOME, catalog)
    live, spare = shown.bundles
    assert (live.gates_passed, len(live.gates)) == (1, 2)
    assert live.metrics == (("auc", "0.712"),)
    assert (spare.recipe, spare.gates) == ("", ())


def test_the_track_does_not_claim_a_canary_that_was_passed_by() -> None:
    """An automatic rollout goes from ready to live."""
    card = board_of(rollout(stage(LIVE, Stage.LIVE))).bundles[0]
    assert [(step.name, step.state) for step in card.track][2:6] == [
        ("ready", "done"),
        ("canary", ""),
        ("live", "now"),
        ("draining", ""),
    ]


CASES = [
    # coverage, recall, applied of 50, corpus written
    (1.0, 0.99, 50, True),
    (0.9999, 0.95, 50, True),
    (1.0, 0.99, 50, False),
    (0.9, 0.99, 50, True),
    (0.99989, 0.99, 50, True),
    (1.0, 0.94, 50, True),
    (1.0, None, 50, True),
    (1.0, 0.99, 41, True),
]


@pytest.mark.parametrize(("coverage", "recall", "applied", "written"), CASES)
def test_a_node_is_shown_at_parity_exactly_where_the_controller_finds_it_so(
    coverage: float, recall: float | None, applied: int, *, written: bool
) -> None:
    """A page that says so nine records early, or of a graph that finds too little, is what an operator promotes on."""
    state = rollout(stage(LIVE, Stage.LIVE), stage(NEXT, Stage.BUILDING))
    beats = [
        embedder(bundles=(LIVE, NEXT), backfilled=written),
        node(coverage={LIVE: 1.0, NEXT: coverage}, recall=recall, applied=applied),
    ]
    (bar,) = board_of(state, moment(state, beats=beats)).bundles[1].nodes
    (found,) = progress_of(state, [beat.status for beat in beats], NOW_MS, partitions=1, silence_ms=SILENCE_MS)
    assert bar.at_parity is found.at_parity
    assert (bar.says == "at parity") is bar.at_parity
    assert bar.behind == 50 - applied


def test_a_node_says_what_is_still_asked_and_how_long_it_takes() -> None:
    """75 % in the minute since the stage began: the rest takes 20 s more, as `roost rollout status` has it too."""
    state = rollout(stage(LIVE, Stage.LIVE), stage(NEXT, Stage.BUILDING))
    beats = [embedder(bundles=(LIVE, NEXT), backfilled=False), node(coverage={LIVE: 1.0, NEXT: 0.75}, recall=None, applied=41)]
    live, following = board_of(state, moment(state, beats=beats)).bundles
    assert [bar.says for bar in following.nodes] == [
        "about 20 s to go, still asked: coverage 99.99%, recall 0.95, all of its topic"
    ]
    assert following.backfill == "backfill done on 0 of 1 partitions; still asked: the corpus of every partition"
    assert [bar.says for bar in live.nodes] == [""], "it is past its gates"
    assert board_of(state, moment(state, beats=[])).bundles[1].backfill == "no embedder reports on it yet"


def test_complaints_about_a_bundle_stand_on_its_card() -> None:
    """A bundle that no node can load is rejected a moment later: the reason must be seen."""
    beats = [embedder(bundles=(LIVE, NEXT)), node(errors=(f"{NEXT}: its file is damaged", "something else"))]
    shown = board_of(STATES[3], moment(STATES[3], beats=beats))
    assert shown.bundles[1].complaints == (f"{NEXT}: its file is damaged",)


def test_history_says_what_each_record_changed_newest_first_and_what_was_refused() -> None:
    """The log holds states; people ask what happened."""
    log = [
        rollout(stage(LIVE, Stage.REGISTERED), revision=1, actor="ann"),
        rollout(stage(LIVE, Stage.LIVE), revision=2, reason="parity"),
        rollout(stage(LIVE, Stage.LIVE), revision=2, outcome=Outcome.REFUSED, reason="no draining bundle", actor="bob"),
        rollout(stage(LIVE, Stage.LIVE), revision=3, frozen=True, actor="ann"),
        rollout(stage(LIVE, Stage.LIVE), revision=4, frozen=True, refresh="value=100/s", actor="ann", reason="a storm"),
        rollout(stage(LIVE, Stage.LIVE), revision=5, frozen=True, actor="ann"),
    ]
    lines = list(history_lines(log, NOW_MS))
    assert [(line.revision, line.actor, line.refused) for line in lines] == [
        (5, "ann", False),
        (4, "ann", False),
        (3, "ann", False),
        (2, "bob", True),
        (2, "controller", False),
        (1, "ann", False),
    ]
    assert [line.sentence for line in lines] == [
        "refresh as the surfaces file says",
        "refresh value=100/s (a storm)",
        "frozen",
        "refused: no draining bundle",
        f"{LIVE}: registered to live (parity)",
        f"{LIVE} is registered",
    ]


def test_a_record_of_a_controller_that_came_too_late_is_told_as_of_no_effect() -> None:
    """The first record of a revision counts: the history said that a bundle went live which nobody ever answered from."""
    log = [
        rollout(stage(LIVE, Stage.LIVE), stage(NEXT, Stage.READY), revision=4),
        rollout(stage(LIVE, Stage.LIVE), stage(NEXT, Stage.REJECTED), revision=5),
        rollout(stage(LIVE, Stage.DRAINING), stage(NEXT, Stage.LIVE), revision=5),
        rollout(stage(LIVE, Stage.LIVE), stage(NEXT, Stage.REJECTED), revision=6, frozen=True),
    ]
    assert [line.sentence for line in history_lines(log, NOW_MS)][:3] == [
        "frozen",
        "of no effect: revision 5 was written before",
        f"{NEXT}: ready to rejected",
    ]


def test_an_empty_surface_offers_nothing_but_what_the_registry_holds() -> None:
    """The first minute of a new deployment."""
    shown = board([], HOME, FakeCatalog())
    assert (shown.revision, shown.bundles, shown.actions, shown.history) == (0, (), (), ())
    assert {one.action.kind for one in shown.unrolled} == {CommandKind.START}
