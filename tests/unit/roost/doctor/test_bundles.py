"""Bundles on disk against their ids and against the rollouts."""

from pathlib import Path

import pytest

from roost.doctor.bundles import check_bundles
from roost.doctor.finding import Verdict
from schemas.bundle import CANDIDATE_TOWER
from schemas.records.control import BundleStage, CommandKind, Outcome, Rollout, RolloutCommand, Stage
from schemas.registry.folder import FolderRegistry
from schemas.rollout import STREAMING, answer
from tests.bundles import publish_bundle

HOME = "home-timeline"


def test_a_damaged_bundle_is_named_whether_or_not_it_is_live(tmp_path: Path) -> None:
    """A node would refuse it at its next start: before that is the time to know."""
    good, bad = publish_bundle(tmp_path, seed=1), publish_bundle(tmp_path, seed=2)
    tower = tmp_path / HOME / bad / CANDIDATE_TOWER
    tower.write_bytes(tower.read_bytes()[:-1])
    found = check_bundles(tmp_path, {})
    assert [(f.check, f.verdict) for f in found] == [(f"bundle {bad}", Verdict.WRONG), ("bundles", Verdict.OK)]
    assert found[0].fix == f"rm -r {tmp_path / HOME / bad}"
    assert found[0].sentence.startswith(CANDIDATE_TOWER), "what is wrong; which bundle it is stands before it"
    live = {HOME: Rollout(HOME, 1, bundles=(BundleStage(good, Stage.DRAINING), BundleStage(bad, Stage.LIVE)))}
    assert "or roost rollout rollback --surface home-timeline" in check_bundles(tmp_path, live)[0].fix


def test_no_bundle_is_to_be_removed_while_nobody_knows_which_are_in_use(tmp_path: Path) -> None:
    """Beside a broker that did not answer, `rm -r` was printed for the damaged bundle that was live."""
    bundle = publish_bundle(tmp_path)
    (tmp_path / HOME / bundle / CANDIDATE_TOWER).write_bytes(b"")
    (finding,) = check_bundles(tmp_path, None)
    assert (finding.check, finding.verdict) == (f"bundle {bundle}", Verdict.WRONG)
    assert "rm -r" not in finding.fix


def test_a_live_bundle_that_is_nowhere_is_named(tmp_path: Path) -> None:
    """The registry was mounted elsewhere, or somebody tidied up."""
    state = {HOME: Rollout(HOME, 1, bundles=(BundleStage("0" * 16, Stage.LIVE), BundleStage("1" * 16, Stage.RETIRED)))}
    found = check_bundles(tmp_path, state)
    assert [finding.check for finding in found if finding.verdict is Verdict.WRONG] == [f"bundle {'0' * 16}"]


@pytest.mark.parametrize("stage", STREAMING)
@pytest.mark.parametrize("other", [None, Stage.LIVE, Stage.DRAINING])
def test_the_controller_takes_the_command_that_is_printed(tmp_path: Path, stage: Stage, other: Stage | None) -> None:
    """An operator copies it while answers fail: a refusal would be all that he gets."""
    others = [] if other is None else [BundleStage(publish_bundle(tmp_path, seed=1), other)]
    state = Rollout(HOME, 1, bundles=(BundleStage("0" * 16, stage), *others))
    fix = next(finding.fix for finding in check_bundles(tmp_path, {HOME: state}) if "0" * 16 in finding.check)
    _, _, printed = fix.partition("roost rollout ")
    if not printed:
        assert stage is Stage.LIVE
        assert not state.in_stage(Stage.DRAINING), "there would be a way back"
        return
    kind, *rest = printed.split()
    bundle = rest[0] if rest[0] != "--surface" else None
    command = RolloutCommand("a", HOME, CommandKind(kind), bundle=bundle)
    assert answer(state, command, now_ms=0).outcome is Outcome.ACCEPTED


def test_no_way_back_is_shown_to_a_bundle_that_is_missing_or_damaged_too(tmp_path: Path) -> None:
    """A node that starts would have neither: the command that is printed must end the trouble, not change it."""
    damaged, older = publish_bundle(tmp_path, seed=1), publish_bundle(tmp_path, seed=2)
    tower = tmp_path / HOME / damaged / CANDIDATE_TOWER
    tower.write_bytes(tower.read_bytes()[:-1])
    for bundles in (("0" * 16, damaged), (damaged, "0" * 16)):
        live, draining = bundles
        # a rollback goes to the newest of them
        entries = (BundleStage(older, Stage.DRAINING), BundleStage(draining, Stage.DRAINING), BundleStage(live, Stage.LIVE))
        fixes = {found.check: found.fix for found in check_bundles(tmp_path, {HOME: Rollout(HOME, 1, bundles=entries)})}
        assert "rollback" not in fixes[f"bundle {live}"]
        assert f"roost rollout retire {draining}" in fixes[f"bundle {draining}"]


def test_it_says_how_many_bundles_it_has_looked_at(tmp_path: Path) -> None:
    """Every byte of every bundle is read: of a year's bundles that takes minutes."""
    for seed in (1, 2):
        publish_bundle(tmp_path, seed=seed)
    told: list[tuple[str, int, int]] = []
    check_bundles(tmp_path, {}, on_progress=lambda *how_far: told.append(how_far))
    assert told == [("bundles", done, 2) for done in range(3)]


def test_an_empty_registry_is_a_fresh_start(tmp_path: Path) -> None:
    """With the command that makes the first bundle."""
    (finding,) = check_bundles(tmp_path / "none", {})
    assert (finding.verdict, finding.fix) == (Verdict.NOTE, "roost train pretrain")


def test_a_registry_whose_disk_fails_costs_no_bundle(tmp_path: Path) -> None:
    """What is printed is copied and run: it must not remove what is whole. The kernel gives EIO here."""
    publish_bundle(tmp_path)

    class Failing(FolderRegistry):
        def read(self, path: str, most_bytes: int) -> bytes:
            return FolderRegistry(Path("/proc/self")).read("mem", most_bytes)

    (finding,) = check_bundles(Failing(tmp_path), {})
    assert (finding.check, "rm -r" in finding.fix) == ("bundles", False)
