"""The rollout board: what may be done at each stage, how far a bundle is, and what the log says happened."""

import pytest

from schemas.records.control import CommandKind, Outcome, Rollout, RolloutCommand, Stage
from schemas.rollout import answer
from serving.console.readings import Moment
from serving.console.views.rollouts import SurfaceBoard, board, find_action, history_lines, node_progress
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


def test_progress_tells_parity_only_when_backfill_coverage_and_offsets_agree() -> None:
    """The bar at 100 % while the backfill runs is the mistake an operator promotes on."""
    state = rollout(stage(LIVE, Stage.LIVE), stage(NEXT, Stage.BUILDING))
    for coverage, applied, backfilled, expected in ((1.0, 50, True, True), (1.0, 50, False, False), (0.9, 50, True, False)):
        beats = [embedder(bundles=(LIVE, NEXT), backfilled=backfilled), node(coverage={LIVE: 1.0, NEXT: coverage}, applied=applied)]
        (progress,) = node_progress(NEXT, [moment(state, beats=beats)])
        assert progress.at_parity is expected, (coverage, backfilled)
        assert progress.behind == 0


def test_the_time_to_go_is_worked_out_from_the_pace_of_the_last_half_minute() -> None:
    """From 20 % to 60 % in 10 s: the other 40 % take 10 s more."""
    moments = [
        moment(at_ms=at_ms, beats=[embedder(bundles=(NEXT,), at_ms=at_ms), node(coverage={NEXT: share}, at_ms=at_ms)])
        for at_ms, share in ((NOW_MS - 10_000, 0.2), (NOW_MS, 0.6))
    ]
    assert [one.eta for one in node_progress(NEXT, moments)] == ["about 10 s to go"]
    assert [one.eta for one in node_progress(NEXT, moments[1:])] == ["no estimate yet"]
    assert list(node_progress(NEXT, [])) == []


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


def test_an_empty_surface_offers_nothing_but_what_the_registry_holds() -> None:
    """The first minute of a new deployment."""
    shown = board([], HOME, FakeCatalog())
    assert (shown.revision, shown.bundles, shown.actions, shown.history) == (0, (), (), ())
    assert {one.action.kind for one in shown.unrolled} == {CommandKind.START}
